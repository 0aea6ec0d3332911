#include "services/observability/observability.h"

// So long an event message can come again: redelivery takes minutes, an orchestrator that was away says its outbox once more.
#define EVENTS_KEPT_MS (INT64_C(24) * 60 * 60 * 1000)

struct hd_metric obs_metrics[OBS_M_COUNT] = {
    [OBS_M_STORED] = {"hodei_observability_log_chunks_total", "what=\"stored\"", "Log chunks by what became of them",
                      HD_COUNTER, 0},
    [OBS_M_KNOWN] = {"hodei_observability_log_chunks_total", "what=\"known\"", "Log chunks by what became of them",
                     HD_COUNTER, 0},
    [OBS_M_EARLY] = {"hodei_observability_log_chunks_total", "what=\"early\"", "Log chunks by what became of them",
                     HD_COUNTER, 0},
    [OBS_M_DROPPED] = {"hodei_observability_log_chunks_total", "what=\"dropped\"", "Log chunks by what became of them",
                       HD_COUNTER, 0},
    [OBS_M_REFUSED] = {"hodei_observability_log_messages_refused_total", NULL, "Log messages that were wrong",
                       HD_COUNTER, 0},
    [OBS_M_BYTES] = {"hodei_observability_log_bytes_total", NULL, "Bytes of log stored", HD_COUNTER, 0},
    [OBS_M_GAPS] = {"hodei_observability_log_gaps_total", NULL, "Gaps in logs: output that workers had to drop",
                    HD_COUNTER, 0},
    [OBS_M_GAP_BYTES] = {"hodei_observability_log_gap_bytes_total", NULL, "Bytes of output in those gaps", HD_COUNTER,
                         0},
    [OBS_M_CUT_BYTES] = {"hodei_observability_log_cut_bytes_total", NULL,
                         "Bytes of output that were over a tenant's quota", HD_COUNTER, 0},
    [OBS_M_DELETED] = {"hodei_observability_log_chunks_deleted_total", NULL, "Log chunks past their time", HD_COUNTER,
                       0},
    [OBS_M_EVENTS] = {"hodei_observability_events_total", "what=\"counted\"", "Messages of ended jobs", HD_COUNTER, 0},
    [OBS_M_EVENTS_AGAIN] = {"hodei_observability_events_total", "what=\"again\"", "Messages of ended jobs", HD_COUNTER,
                            0},
};

enum hd_status obs_init(struct hd_service *service, const struct hd_settings *settings, void **ret_self,
                        struct hd_err *err) {
    (void)err;
    struct observability *self = calloc(1, sizeof(*self));
    if (!self)
        abort();
    self->service = service;
    self->retention_ms = hd_settings_int(settings, "log-retention");
    *ret_self = self;
    return HD_OK;
}

void obs_release(void *self) {
    free(self);
}

enum hd_status obs_retention(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    const struct observability *obs = self;
    int64_t chunks;
    (void)items;
    (void)n;

    HD_TRY(obs_delete_old(cx, cx->now.wall_ms - obs->retention_ms, &chunks));
    HD_TRY(obs_forget_events(cx, cx->now.wall_ms - EVENTS_KEPT_MS));
    hd_metric_add(&obs_metrics[OBS_M_DELETED], chunks);
    if (chunks == OBS_DELETE_BITE)
        hd_service_kick(obs->service, "retention");
    return HD_OK;
}
