#include "base/map.h"
#include "services/pipelines/pipelines.h"

#define PUSH_TIMEOUT_MS 2000
#define PUSH_MAX 100
#define PUSH_MAX_BYTES (3 << 20) // with its envelope it stays below what a message may have

static enum hd_status load(struct hd_ctx *cx, unsigned skip, unsigned limit, struct hd_push_keys *ret_keys,
                           const ProtobufCMessage **ret_request) {
    Hodei__V1__PutVersionsRequest *request =
        (Hodei__V1__PutVersionsRequest *)hd_pb_new(cx->arena, &hodei__v1__put_versions_request__descriptor);
    struct hd_bytes *compiled;

    HD_TRY(pip_store_unconfirmed(cx, skip, limit, PUSH_MAX_BYTES, ret_keys, &compiled));
    request->n_versions = ret_keys->n;
    request->versions = HD_NEW_ARRAY(cx->arena, ret_keys->n, Hodei__V1__CompiledPipeline *);
    for (size_t i = 0; i < ret_keys->n; i++) {
        ProtobufCMessage *msg;
        HD_TRY(hd_pb_unpack(cx->arena, &hodei__v1__compiled_pipeline__descriptor, compiled[i].data, compiled[i].len,
                            &cx->err, &msg));
        request->versions[i] = (Hodei__V1__CompiledPipeline *)msg;
    }
    *ret_request = &request->base;
    return HD_OK;
}

static const struct hd_push_def push_def = {
    .service = "orchestrator",
    .method = "PutVersions",
    .answer = PIP_A_PUSHED,
    .timer = PIP_PUSH_TIMER,
    .timeout_ms = PUSH_TIMEOUT_MS,
    .max = PUSH_MAX,
    .load = load,
    .confirm = pip_store_confirm,
    .confirmed = &pip_metrics[PIP_M_PUSHED],
    .failed = &pip_metrics[PIP_M_PUSH_FAILED],
};

enum hd_status pip_push_due(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)items;
    (void)n;
    return hd_push_due(cx, &((struct pipelines *)self)->push);
}

enum hd_status pip_push_answered(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    return hd_push_answered(cx, &((struct pipelines *)self)->push, items, n);
}

struct pipelines *pip_new(void) {
    return hd_calloc(1, sizeof(struct pipelines));
}

void pip_attach(struct pipelines *self, struct hd_service *service) {
    self->service = service;
    hd_push_init(&self->push, &push_def, service);
}

void pip_release(void *self) {
    if (self)
        hd_push_release(&((struct pipelines *)self)->push);
    free(self);
}
