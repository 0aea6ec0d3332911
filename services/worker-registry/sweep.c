// Timers over all workers: who is silent, and whose row is old enough to go.
#include "services/worker-registry/registry.h"

static void note_alarm(struct registry *registry, const struct liveness_decision *decision, size_t live) {
    if (decision->alarm && !registry->alarm)
        hd_error("%zu of %zu workers are silent at once, so none is lost: is the network or NATS at fault? They are "
                 "lost when"
                 " fewer are silent, or with a higher lost-percent-max",
                 decision->silent, live);
    if (!decision->alarm && registry->alarm)
        hd_info("no longer too many workers to lose at once");
    registry->alarm = decision->alarm;
    hd_metric_set(&registry_metrics[REG_M_ALARM], decision->alarm);
}

static void note_counts(const struct liveness_row *rows, size_t n) {
    int64_t suspect = 0;
    for (size_t i = 0; i < n; i++)
        suspect += rows[i].suspect;
    hd_metric_set(&registry_metrics[REG_M_SUSPECT], suspect);
    hd_metric_set(&registry_metrics[REG_M_ONLINE], (int64_t)n - suspect);
}

// Carries out the verdicts on rows that are still as they were seen.
static enum hd_status carry_out(struct hd_ctx *cx, struct registry *registry, const struct liveness_row *rows, size_t n,
                                const enum liveness_verdict *verdicts) {
    const char **names = HD_NEW_ARRAY(cx->arena, n + 1, const char *);
    struct workers workers;
    size_t n_names = 0;

    for (size_t i = 0; i < n; i++)
        if (verdicts[i] != LIVENESS_ALIVE)
            names[n_names++] = rows[i].name;
    if (n_names == 0)
        return HD_OK;
    struct lost_list lost = lost_list_new(cx->arena, n_names);
    HD_TRY(registry_store(cx)->load(cx, names, n_names, &workers));
    for (size_t i = 0; i < n; i++) {
        struct worker *worker = verdicts[i] == LIVENESS_ALIVE ? NULL : workers_find(&workers, rows[i].name);
        if (!worker || worker->state == REG_NONE || worker->beats != rows[i].beats ||
            !hd_uuid_eq(worker->session, rows[i].session))
            continue;
        enum registry_event event = verdicts[i] == LIVENESS_EXPIRED ? REG_EXPIRED : REG_SILENT;
        struct registry_step step = worker_step(worker, event, (struct registry_facts){0}, &lost);
        if (step.answer == REG_STEP)
            hd_log(event == REG_EXPIRED ? HD_LOG_WARN : HD_LOG_INFO, &(struct hd_log_fields){.worker = worker->name},
                   event == REG_EXPIRED ? "worker is lost: %s" : "worker is silent: %s", step.row->note);
    }
    HD_TRY(registry_save(cx, &workers, &lost));
    if (lost.n)
        hd_service_kick(registry->service, "tell_lost");
    return HD_OK;
}

enum hd_status registry_sweep(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct registry *registry = self;
    struct liveness_row *rows;
    size_t n_rows;
    (void)items;
    (void)n;

    HD_TRY(registry_store(cx)->live(cx, &rows, &n_rows));
    // Before the commit, and rightly: that a count was read at this moment stays true whatever becomes of this transaction.
    liveness_observe(&registry->live, &registry->times, rows, n_rows, cx->bus->ops->connected(cx->bus),
                     cx->now.mono_ms);
    struct liveness_decision decision =
        liveness_decide(&registry->live, &registry->times, rows, n_rows, cx->now.mono_ms, cx->arena);
    note_alarm(registry, &decision, n_rows);
    note_counts(rows, n_rows);
    return carry_out(cx, registry, rows, n_rows, decision.verdicts);
}

enum hd_status registry_forget(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    const struct registry *registry = self;
    (void)items;
    (void)n;
    return registry_store(cx)->forget(cx, cx->now.wall_ms - registry->forget_ms);
}
