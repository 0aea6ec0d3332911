#include "services/worker-registry/registry.h"

#include <openssl/evp.h>

#include "base/buf.h"

struct hd_metric registry_metrics[REG_M_COUNT] = {
    [REG_M_JOINS] = {"hodei_registry_joins_total", "result=\"ok\"", "Joins", HD_COUNTER, 0},
    [REG_M_JOINS_REFUSED] = {"hodei_registry_joins_total", "result=\"refused\"", "Joins", HD_COUNTER, 0},
    [REG_M_BEATS] = {"hodei_registry_heartbeats_total", "result=\"lease\"", "Heartbeats", HD_COUNTER, 0},
    [REG_M_BEATS_UNKNOWN] = {"hodei_registry_heartbeats_total", "result=\"rejoin\"", "Heartbeats", HD_COUNTER, 0},
    [REG_M_ONLINE] = {"hodei_registry_workers", "state=\"online\"", "Workers at the last sweep", HD_GAUGE, 0},
    [REG_M_SUSPECT] = {"hodei_registry_workers", "state=\"suspect\"", "Workers at the last sweep", HD_GAUGE, 0},
    [REG_M_LOST] = {"hodei_registry_sessions_lost_total", NULL, "Sessions that were lost", HD_COUNTER, 0},
    [REG_M_LOST_TOLD] = {"hodei_registry_sessions_lost_told_total", NULL,
                         "Lost sessions that the orchestrator has taken", HD_COUNTER, 0},
    [REG_M_ALARM] = {"hodei_registry_loss_alarm", NULL, "1: too many would be lost at once, so none is", HD_GAUGE, 0},
    [REG_M_STREAMS] = {"hodei_registry_work_streams_total", "result=\"made\"", "Work streams", HD_COUNTER, 0},
    [REG_M_STREAMS_FAILED] = {"hodei_registry_work_streams_total", "result=\"failed\"", "Work streams", HD_COUNTER, 0},
    [REG_M_ASKS_FAILED] = {"hodei_registry_asks_failed_total", NULL, "Questions to the orchestrator without an answer",
                           HD_COUNTER, 0},
};

struct registry *registry_new(const struct liveness_times *times, int64_t forget_ms, const char *token) {
    struct registry *self = hd_calloc(1, sizeof(*self));
    self->times = *times;
    self->forget_ms = forget_ms;
    self->has_token = *token != '\0';
    liveness_init(&self->live);
    if (!self->has_token || EVP_Digest(token, strlen(token), self->token_sha256, NULL, EVP_sha256(), NULL) == 1)
        return self;
    registry_release(self);
    return NULL;
}

void registry_attach(struct registry *self, struct hd_service *service) {
    self->service = service;
    hd_push_init(&self->push_lost, &registry_push_lost, service);
}

enum hd_status registry_init(struct hd_service *service, const struct hd_settings *settings, void **ret_self,
                             struct hd_err *err) {
    const char *token = hd_settings_text(settings, "join-token");
    struct liveness_times times = {
        .heartbeat_ms = hd_settings_int(settings, "heartbeat"),
        .lease_ms = hd_settings_int(settings, "lease-ttl"),
        .margin_ms = hd_settings_int(settings, "lease-margin"),
        .lost_percent_max = hd_settings_int(settings, "lost-percent-max"),
    };
    if (times.heartbeat_ms * 2 > times.lease_ms) {
        hd_err_set(err, HD_INVALID, "a lease of %lld ms ends before two heartbeats of %lld ms",
                   (long long)times.lease_ms, (long long)times.heartbeat_ms);
        hd_err_hint(err, "make lease-ttl at least twice heartbeat");
        return HD_INVALID;
    }
    struct registry *self = registry_new(&times, hd_settings_int(settings, "forget-after"), token);
    if (!self)
        return hd_err_set(err, HD_INTERNAL, "SHA-256 of the join token could not be computed");
    registry_attach(self, service);
    if (!self->has_token)
        hd_warn("no join token is set (HODEI_JOIN_TOKEN or --join-token-file): only tokens of the table join_tokens "
                "let workers in");
    *ret_self = self;
    return HD_OK;
}

void registry_release(void *self) {
    struct registry *registry = self;
    if (registry) {
        liveness_release(&registry->live);
        if (registry->service)
            hd_push_release(&registry->push_lost);
    }
    free(registry);
}

struct worker *workers_find(const struct workers *workers, const char *name) {
    size_t low = 0, high = workers->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int order = strcmp(name, workers->rows[mid].name);
        if (order == 0)
            return &workers->rows[mid];
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void registry_by_name(const char **names, size_t n, struct hd_arena *arena, struct workers *ret) {
    const char **sorted = hd_arena_memdup(arena, names, n * sizeof(*names));

    qsort(sorted, n, sizeof(*sorted), by_text);
    *ret = (struct workers){HD_NEW_ARRAY(arena, n + 1, struct worker), 0};
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(sorted[i], sorted[i - 1]) != 0)
            ret->rows[ret->n++] = (struct worker){.name = sorted[i],
                                                  .cordon = HODEI__V1__CORDON_MODE__CORDON_MODE_OPEN,
                                                  .cordon_actor = "",
                                                  .cordon_reason = "",
                                                  .unfit = ""};
}

struct lost_list lost_list_new(struct hd_arena *arena, size_t cap) {
    return (struct lost_list){HD_NEW_ARRAY(arena, cap + 1, const char *), HD_NEW_ARRAY(arena, cap + 1, struct hd_uuid),
                              HD_NEW_ARRAY(arena, cap + 1, int64_t), 0, cap};
}

struct registry_step worker_step(struct worker *worker, enum registry_event event, struct registry_facts facts,
                                 struct lost_list *lost) {
    struct registry_step step = registry_step(worker->state, event, facts);
    if (step.answer != REG_STEP)
        return step;
    if (step.row->loses_session && lost->n < lost->cap) {
        lost->workers[lost->n] = worker->name;
        lost->incarnations[lost->n] = worker->incarnation;
        lost->sessions[lost->n++] = worker->session;
    }
    worker->changed = worker->changed || worker->state != step.row->to;
    worker->state = step.row->to;
    worker->beat = true;
    return step;
}
