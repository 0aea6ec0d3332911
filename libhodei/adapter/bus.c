// What handlers say is packed at once and staged in the order said.
#include "adapter/bus.h"

#include "base/buf.h"
#include "base/pb.h"
#include "hodei/v1/common.pb-c.h"

static struct hd_staged *stage(struct hd_ctx *cx, enum hd_say say, const char *subject, const ProtobufCMessage *msg) {
    struct hd_bus *bus = cx->bus;
    struct hd_staged *staged = HD_NEW(cx->arena, struct hd_staged);
    uint8_t *data;
    staged->say = say;
    staged->subject = hd_arena_strdup(cx->arena, subject);
    hd_pb_pack(cx->arena, msg, &data, &staged->len);
    staged->data = data;
    if (bus->staged_last)
        bus->staged_last->next = staged;
    else
        bus->staged = staged;
    bus->staged_last = staged;
    bus->n_staged++;
    return staged;
}

void hd_publish(struct hd_ctx *cx, const char *subject, const ProtobufCMessage *msg) {
    stage(cx, HD_SAY_PUBLISH, subject, msg);
}

void hd_tell(struct hd_ctx *cx, const char *subject, const ProtobufCMessage *msg) {
    stage(cx, HD_SAY_TELL, subject, msg);
}

void hd_ask_with(struct hd_ctx *cx, const struct hd_asking *asking) {
    Hodei__V1__RpcRequest request = HODEI__V1__RPC_REQUEST__INIT;
    Hodei__V1__Principal principal = HODEI__V1__PRINCIPAL__INIT;
    uint8_t *body;
    hd_pb_pack(cx->arena, asking->msg, &body, &request.body.len);
    request.body.data = body;
    request.timeout_ms = asking->timeout_ms;
    request.trace = (char *)(uintptr_t)(cx->log.trace ? cx->log.trace : "");
    if (asking->idempotency_key)
        request.idempotency_key = (char *)(uintptr_t)asking->idempotency_key;
    if (asking->tenant) {
        principal.subject = (char *)(uintptr_t)asking->subject;
        principal.tenant = (char *)(uintptr_t)asking->tenant;
        request.principal = &principal;
    }
    struct hd_staged *staged =
        stage(cx, HD_SAY_ASK, hd_subject_rpc(cx->arena, asking->service, asking->method), &request.base);
    staged->answer_kind = asking->answer_kind;
    staged->timeout_ms = asking->timeout_ms;
    staged->tag = asking->tag;
}

void hd_ask(struct hd_ctx *cx, const char *service, const char *method, const ProtobufCMessage *msg, int answer_kind,
            int64_t timeout_ms) {
    hd_ask_with(
        cx,
        &(struct hd_asking){
            .service = service, .method = method, .msg = msg, .answer_kind = answer_kind, .timeout_ms = timeout_ms});
}

void hd_bus_unstage(struct hd_bus *bus) {
    bus->staged = bus->staged_last = NULL;
    bus->n_staged = 0;
}
