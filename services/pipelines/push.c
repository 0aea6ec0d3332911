#include "base/map.h"
#include "services/pipelines/pipelines.h"

#define PUSH_TIMEOUT_MS 2000
#define PUSH_MAX 100
#define PUSH_MAX_BYTES (3 << 20) // with its envelope it stays below what a message may have

struct hd_metric pip_metrics[PIP_METRIC_COUNT] = {
    [PIP_M_APPLIED] = {"hodei_pipelines_applied_total", "result=\"changed\"", "definitions applied", HD_COUNTER},
    [PIP_M_UNCHANGED] = {"hodei_pipelines_applied_total", "result=\"unchanged\"", "definitions applied", HD_COUNTER},
    [PIP_M_REFUSED] = {"hodei_pipelines_applied_total", "result=\"invalid\"", "definitions applied", HD_COUNTER},
    [PIP_M_DELETED] = {"hodei_pipelines_deleted_total", NULL, "pipelines deleted", HD_COUNTER},
    [PIP_M_PUSHED] = {"hodei_pipelines_pushed_total", NULL, "versions that the orchestrator has confirmed", HD_COUNTER},
    [PIP_M_PUSH_FAILED] = {"hodei_pipelines_push_failed_total", NULL, "requests to the orchestrator that failed",
                           HD_COUNTER},
};

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

enum hd_status pip_init(struct hd_service *service, const struct hd_settings *settings, void **ret_self,
                        struct hd_err *err) {
    struct pipelines *self = hd_calloc(1, sizeof(*self));

    (void)settings;
    (void)err;
    self->service = service;
    hd_push_init(&self->push, &push_def, service);
    *ret_self = self;
    return HD_OK;
}

void pip_release(void *self) {
    if (self)
        hd_push_release(&((struct pipelines *)self)->push);
    free(self);
}
