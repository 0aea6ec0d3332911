// CancelRun: what has not been placed ends at once; what has is stopped by its worker.
#include "services/orchestrator/finish.h"

struct cancel {
    struct hd_uuid id;
    const char *tenant; // NULL: the item has failed
};

enum hd_status orc_load_open(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws, struct hd_uuid *ids,
                             size_t n) {
    HD_TRY(orc_plans(cx, orc, ws));
    HD_TRY(ORC_DO(cx, orc, jobs_load_open, ws, ids, n));
    struct hd_uuid *attempts = HD_NEW_ARRAY(cx->arena, ws->jobs.n, struct hd_uuid);
    size_t n_attempts = 0;
    for (size_t i = 0; i < ws->jobs.n; i++)
        if (orc_job_live(ws->jobs.items[i]->state))
            attempts[n_attempts++] = ws->jobs.items[i]->attempt;
    return n_attempts ? ORC_DO(cx, orc, attempts_load, ws, attempts, n_attempts) : HD_OK;
}

static enum hd_status cancel_all(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws,
                                 const struct cancel *cancels, struct hd_item *items, size_t n) {
    struct orc_chance chance = orc_chance(cx);
    struct hd_uuid *open = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    size_t n_open = 0;
    for (size_t i = 0; i < n; i++) {
        if (!cancels[i].tenant)
            continue;
        const struct orc_run *run = orc_item_run(&items[i], ws, cancels[i].id, "id");
        if (!run)
            continue;
        if (orc_run_ended(run->state)) {
            hd_item_fail(&items[i], HD_PRECONDITION, "the run has ended: it %s",
                         run->state == HODEI__V1__RUN_STATE__RUN_STATE_SUCCEEDED ? "succeeded"
                         : run->state == HODEI__V1__RUN_STATE__RUN_STATE_FAILED  ? "failed"
                                                                                 : "was cancelled");
        } else {
            open[n_open++] = run->id;
        }
    }
    n_open = orc_uuids_unique(open, n_open);
    if (n_open == 0)
        return HD_OK;
    HD_TRY(orc_load_open(cx, orc, ws, open, n_open));
    for (size_t i = 0; i < n; i++) {
        struct orc_run *run = cancels[i].tenant && items[i].err.status == HD_OK ? orc_ws_run(ws, cancels[i].id) : NULL;
        const struct orc_done done = {.run = cancels[i].id,
                                      .at_ms = cx->now.wall_ms,
                                      .actor = items[i].principal->subject,
                                      .action = "cancel",
                                      .job = "",
                                      .reason = ((const Hodei__V1__CancelRunRequest *)items[i].msg)->reason,
                                      .result = ""};
        if (run && !orc_run_ended(run->state))
            HD_TRY(orc_audit(cx, orc, run, &done));
    }
    for (size_t i = 0; i < n_open; i++) { // said again, it stops the jobs of finally too
        struct orc_run *run = orc_ws_run(ws, open[i]);
        orc_run_cancel(ws, run, run->state == HODEI__V1__RUN_STATE__RUN_STATE_CANCELLING ? ORC_CANCEL_FINALLY : 0,
                       &chance);
    }
    struct orc_out out = {0};
    return orc_finish(cx, orc, ws, &out);
}

static enum hd_status cancel_batch(struct hd_ctx *cx, struct orchestrator *orc, struct hd_item *items, size_t n) {
    struct cancel *cancels = HD_NEW_ARRAY(cx->arena, n, struct cancel);
    struct hd_uuid *ids = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    size_t n_ids = 0;
    struct orc_ws ws;
    orc_ws_init(&ws, cx->arena);
    for (size_t i = 0; i < n; i++) {
        const char *tenant = orc_item_tenant(&items[i]);
        if (tenant &&
            orc_item_id(&items[i], "id", ((const Hodei__V1__CancelRunRequest *)items[i].msg)->id, &cancels[i].id)) {
            cancels[i].tenant = tenant;
            ids[n_ids++] = cancels[i].id;
        }
    }
    if (n_ids)
        HD_TRY(ORC_DO(cx, orc, runs_load, &ws, ids, orc_uuids_unique(ids, n_ids), true));
    HD_TRY(cancel_all(cx, orc, &ws, cancels, items, n));
    for (size_t i = 0; i < n; i++)
        if (items[i].err.status == HD_OK)
            ((Hodei__V1__CancelRunReply *)items[i].reply)->state =
                (Hodei__V1__RunState)orc_ws_run(&ws, cancels[i].id)->state;
    return HD_OK;
}

// Said again with its key, a cancel is answered as it was and stops nothing more.
static enum hd_status cancel_keyed(struct hd_ctx *cx, struct orchestrator *orc, struct hd_item *item) {
    struct orc_command_key key;
    struct hd_uuid id;
    struct orc_ws ws;
    bool known;
    if (!orc_item_tenant(item) || !orc_item_id(item, "id", ((const Hodei__V1__CancelRunRequest *)item->msg)->id, &id))
        return HD_OK;
    orc_ws_init(&ws, cx->arena);
    HD_TRY(ORC_DO(cx, orc, runs_load, &ws, &id, 1, true));
    if (!orc_item_run(item, &ws, id, "id"))
        return HD_OK;
    key = orc_command_key(cx, item, "cancel");
    HD_TRY(orc_command_known(cx, orc, item, &key, &known));
    if (known)
        return HD_OK;
    HD_TRY(cancel_batch(cx, orc, item, 1));
    return item->err.status == HD_OK ? orc_command_keep(cx, orc, item, &key) : HD_OK;
}

enum hd_status orc_cancel_run(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct orchestrator *orc = self;
    bool any = false;
    orc_versions_trim(&orc->versions);
    for (size_t i = 0; i < n; i++)
        any |= *items[i].idempotency_key != '\0';
    if (!any)
        return cancel_batch(cx, orc, items, n);
    for (size_t i = 0; i < n; i++)
        HD_TRY(*items[i].idempotency_key ? cancel_keyed(cx, orc, &items[i]) : cancel_batch(cx, orc, &items[i], 1));
    return HD_OK;
}
