#include "services/api-gateway/gateway.h"

#include <assert.h>

#include "base/pb.h"
#include "hodei/v1/run.pb-c.h"

#define WAIT_MAX_MS 20000
#define WAIT_SLICE_MS 2000 // a wait is made of such calls, so that stopping takes no longer
#define KEY_MAX 128

static enum hd_status problem_take(struct exchange *ex, const Hodei__V1__RpcReply *reply) {
    enum hd_status status = (unsigned)reply->status < HD_STATUS_COUNT ? (enum hd_status)reply->status : HD_INTERNAL;
    const Hodei__V1__Problem *problem = reply->problem;

    hd_err_set(&ex->err, status, "%s", problem && problem->text[0] ? problem->text : hd_status_info(status)->title);
    if (!problem)
        return status;
    hd_err_field(&ex->err, "%s", problem->field);
    hd_err_hint(&ex->err, "%s", problem->hint);
    hd_err_at(&ex->err, problem->line, problem->column);
    ex->err.retry_after_s = problem->retry_after_s > 0 ? problem->retry_after_s : 0;
    return status;
}

static enum hd_status no_answer(struct exchange *ex, enum hd_status status, const char *service) {
    if (status == HD_UNAVAILABLE) {
        hd_err_set(&ex->err, status, "the service \"%s\" does not answer now", service);
        hd_err_hint(&ex->err, "nothing was done; try again");
    } else if (status == HD_TIMEOUT) {
        hd_err_set(&ex->err, status, "the service \"%s\" did not answer in time; it may have done it", service);
        hd_err_hint(&ex->err, "look, or try again with the same Idempotency-Key");
    }
    return status;
}

static enum hd_status envelope_fill(struct exchange *ex, Hodei__V1__RpcRequest *envelope) {
    const char *key = mg_get_header(ex->conn, "Idempotency-Key");
    char client[64];

    if (key && (strlen(key) > KEY_MAX || !hd_utf8_valid(key, strlen(key)))) {
        hd_err_set(&ex->err, HD_INVALID, "the Idempotency-Key is longer than %d bytes, or not UTF-8", KEY_MAX);
        hd_err_field(&ex->err, "Idempotency-Key");
        return HD_INVALID;
    }
    if (key)
        envelope->idempotency_key = hd_arena_strdup(&ex->arena, key);
    envelope->principal = ex->principal;
    envelope->trace = ex->trace;
    exchange_client(ex, client);
    envelope->client = hd_arena_strdup(&ex->arena, client);
    return HD_OK;
}

enum hd_status bus_call(struct exchange *ex, const char *service, const char *rpc, const ProtobufCMessage *request,
                        const ProtobufCMessageDescriptor *reply, int64_t timeout_ms, ProtobufCMessage **ret) {
    Hodei__V1__RpcRequest envelope = HODEI__V1__RPC_REQUEST__INIT;
    HD_AUTO_FREE uint8_t *answer = NULL;
    ProtobufCMessage *unpacked;
    uint8_t *packed;
    size_t len, answer_len;

    HD_TRY(envelope_fill(ex, &envelope));
    envelope.timeout_ms = timeout_ms;
    hd_pb_pack(&ex->arena, request, &envelope.body.data, &envelope.body.len);
    hd_pb_pack(&ex->arena, &envelope.base, &packed, &len);
    enum hd_status status = hd_bus_nats_call(ex->gw->bus, hd_subject_rpc(&ex->arena, service, rpc), packed, len,
                                             timeout_ms, &ex->err, &answer, &answer_len);
    if (status != HD_OK)
        return no_answer(ex, status, service);
    HD_TRY(hd_pb_unpack(&ex->arena, &hodei__v1__rpc_reply__descriptor, answer, answer_len, &ex->err, &unpacked));
    const Hodei__V1__RpcReply *outer = (const void *)unpacked;
    if (outer->status != HODEI__V1__STATUS__STATUS_OK)
        return problem_take(ex, outer);
    return hd_pb_unpack(&ex->arena, reply, outer->body.data, outer->body.len, &ex->err, ret);
}

static const void *field_of(const ProtobufCMessage *msg, const char *name) {
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(msg->descriptor, name);

    assert(field);
    return (const char *)msg + field->offset;
}

enum hd_status run_seen(struct exchange *ex, const ProtobufCMessage *request) {
    Hodei__V1__ListJobsRequest one = HODEI__V1__LIST_JOBS_REQUEST__INIT;
    ProtobufCMessage *reply;

    if (!ex->match.route->of_run || !ex->principal->narrowed)
        return HD_OK;
    one.run = *(char *const *)field_of(request, "run");
    one.page_size = 1;
    HD_TRY(bus_call(ex, "orchestrator", "ListJobs", &one.base, &hodei__v1__list_jobs_reply__descriptor,
                    ex->gw->request_timeout_ms, &reply));
    ex->principal->narrowed = false;
    return HD_OK;
}

static bool unchanged(const struct route *route, const ProtobufCMessage *request, const ProtobufCMessage *reply) {
    const char *before = *(char *const *)field_of(request, route->waits_on);
    const char *after = *(char *const *)field_of(reply, route->waits_on);

    return strcmp(before, after) == 0;
}

static enum hd_status call_waiting(struct exchange *ex, ProtobufCMessage *request, int64_t *wait_ms,
                                   ProtobufCMessage **ret) {
    const struct route *route = ex->match.route;
    int64_t until = hd_now_read().mono_ms + *wait_ms;

    for (;;) {
        int64_t left = until - hd_now_read().mono_ms;
        *wait_ms = left < 0 ? 0 : left < WAIT_SLICE_MS ? left : WAIT_SLICE_MS;
        HD_TRY(bus_call(ex, route->service, route->rpc, request, route->reply, ex->gw->request_timeout_ms + *wait_ms,
                        ret));
        if (left <= WAIT_SLICE_MS || !unchanged(route, request, *ret) || atomic_load(&ex->gw->stopping))
            return HD_OK;
    }
}

enum hd_status route_call(struct exchange *ex, ProtobufCMessage *request, ProtobufCMessage **ret) {
    const struct route *route = ex->match.route;
    struct gateway *gw = ex->gw;
    int64_t *wait_ms = route->waits_on ? (int64_t *)(uintptr_t)field_of(request, "wait_ms") : NULL;

    if (!wait_ms || *wait_ms == 0)
        return bus_call(ex, route->service, route->rpc, request, route->reply, gw->request_timeout_ms, ret);
    if (*wait_ms < 0 || *wait_ms > WAIT_MAX_MS) {
        hd_err_set(&ex->err, HD_INVALID, "wait_ms is not in 0..%d", WAIT_MAX_MS);
        hd_err_field(&ex->err, "wait_ms");
        return HD_INVALID;
    }
    unsigned waits = atomic_fetch_add(&gw->waits, 1);
    if (waits >= gw->waits_max || atomic_load(&gw->stopping)) {
        *wait_ms = 0;
        hd_metric_add(&gateway_metrics[METRIC_WAITS_REFUSED], 1);
    }
    hd_metric_add(&gateway_metrics[METRIC_WAITS], 1);
    enum hd_status status = call_waiting(ex, request, wait_ms, ret);
    hd_metric_add(&gateway_metrics[METRIC_WAITS], -1);
    atomic_fetch_sub(&gw->waits, 1);
    return status;
}
