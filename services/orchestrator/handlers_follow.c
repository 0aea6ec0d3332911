// on.pipeline: the end of a run starts runs of the pipelines that listen to it. What is to be started is a row of the transaction that
// ended the run; a timer starts it, with a key that is made of both, and takes the row away in the same transaction. So each follows
// once, whoever is killed in between.
#include "base/log.h"
#include "base/names.h"
#include "services/orchestrator/finish.h"

#define AT_ONCE 100

#define RUN(x) HODEI__V1__RUN_STATE__RUN_STATE_##x
#define ACCEPT(x) HODEI__V1__NEED_ACCEPT__NEED_ACCEPT_##x

static uint32_t mask_of(int state) {
    return state == RUN(SUCCEEDED) ? ACCEPT(SUCCESS) : state == RUN(FAILED) ? ACCEPT(FAILURE) : ACCEPT(CANCELLED);
}

enum hd_status orc_follow_ends(struct hd_ctx *cx, struct orchestrator *orc, const struct orc_ws *ws) {
    struct orc_ended *ended = HD_NEW_ARRAY(cx->arena, ws->runs.n, struct orc_ended);
    size_t n = 0, added = 0;
    for (size_t i = 0; i < ws->runs.n; i++) {
        const struct orc_run *run = ws->runs.items[i];
        if (run->locked && !run->duplicate && orc_run_ended(run->state) && !orc_run_ended(run->was))
            ended[n++] = (struct orc_ended){run->id, run->tenant, run->pipeline, mask_of(run->state)};
    }
    if (n)
        HD_TRY(ORC_DO(cx, orc, follow_ups_add, ended, n, &added));
    if (added && orc->service)
        hd_service_kick(orc->service, "follow");
    return HD_OK;
}

// Nobody asked who could be told: a line in the log and an event.
static void give_up(struct hd_ctx *cx, const struct orc_run *by, const char *pipeline, const char *reason) {
    Hodei__V1__RunNotStarted event = HODEI__V1__RUN_NOT_STARTED__INIT;
    event.pipeline = (char *)(uintptr_t)pipeline;
    event.by = orc_id_text(cx->arena, by->id);
    event.reason = (char *)(uintptr_t)reason;
    hd_publish(cx, hd_subject_event(cx->arena, by->tenant, "run", "not_started"), &event.base);
    hd_log(HD_LOG_WARN, &(struct hd_log_fields){.tenant = by->tenant, .run = event.by},
           "the end of this run of pipeline %s does not start pipeline %s: %s", by->pipeline, pipeline, reason);
}

static void prepare(struct hd_ctx *cx, const struct orc_follow_up *follow_up, const struct orc_run *by,
                    struct hd_item *item, struct orc_origin *origin) {
    Hodei__V1__StartRunRequest *request = HD_NEW(cx->arena, Hodei__V1__StartRunRequest);
    Hodei__V1__StartRunReply *reply = HD_NEW(cx->arena, Hodei__V1__StartRunReply);
    Hodei__V1__Principal *principal = HD_NEW(cx->arena, Hodei__V1__Principal);
    *request = (Hodei__V1__StartRunRequest)HODEI__V1__START_RUN_REQUEST__INIT;
    *reply = (Hodei__V1__StartRunReply)HODEI__V1__START_RUN_REPLY__INIT;
    *principal = (Hodei__V1__Principal)HODEI__V1__PRINCIPAL__INIT;
    request->pipeline = (char *)(uintptr_t)follow_up->pipeline;
    principal->subject = hd_arena_printf(cx->arena, "pipeline:%s", by->pipeline);
    principal->tenant = (char *)(uintptr_t)by->tenant;
    *item = (struct hd_item){.msg = &request->base,
                             .reply = &reply->base,
                             .principal = principal,
                             .subject = "",
                             .trace = "",
                             .idempotency_key = hd_arena_printf(
                                 cx->arena, "pipeline.%s.%016llx", orc_id_text(cx->arena, by->id),
                                 (unsigned long long)hd_hash(follow_up->pipeline, strlen(follow_up->pipeline), 0))};
    *origin = (struct orc_origin){"pipeline", by->id, by->depth + 1};
}

static enum hd_status start_them(struct hd_ctx *cx, struct orchestrator *orc, const struct orc_ws *ws,
                                 const struct orc_follow_up *all, size_t n) {
    struct orc_follow_up *done = HD_NEW_ARRAY(cx->arena, n, struct orc_follow_up);
    struct hd_item *items = HD_NEW_ARRAY(cx->arena, n, struct hd_item);
    struct orc_origin *origins = HD_NEW_ARRAY(cx->arena, n, struct orc_origin);
    const struct orc_follow_up **of = HD_NEW_ARRAY(cx->arena, n, const struct orc_follow_up *);
    size_t n_done = 0, n_items = 0;
    for (size_t i = 0; i < n; i++) {
        const struct orc_run *by = orc_ws_run(ws, all[i].run);
        if (by && by->depth < ORC_MAX_DEPTH) {
            prepare(cx, &all[i], by, &items[n_items], &origins[n_items]);
            of[n_items++] = &all[i];
            continue;
        }
        if (by)
            give_up(
                cx, by, all[i].pipeline,
                hd_arena_printf(cx->arena,
                                "%d runs in a row were started by the end of another: look for a loop in on.pipeline",
                                ORC_MAX_DEPTH));
        done[n_done++] = all[i];
    }
    if (n_items)
        HD_TRY(orc_start_runs(cx, orc, items, n_items, origins));
    for (size_t i = 0; i < n_items; i++) {
        if (items[i].err.status == HD_UNAVAILABLE) // the next turn tries again
            continue;
        if (items[i].err.status != HD_OK)
            give_up(cx, orc_ws_run(ws, of[i]->run), of[i]->pipeline, items[i].err.text);
        done[n_done++] = *of[i];
    }
    return n_done ? ORC_DO(cx, orc, follow_ups_drop, done, n_done) : HD_OK;
}

enum hd_status orc_follow(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct orchestrator *orc = self;
    struct orc_follow_up *all;
    struct orc_ws ws;
    size_t count;
    (void)items, (void)n;
    orc_versions_trim(&orc->versions);
    HD_TRY(ORC_DO(cx, orc, follow_ups_take, AT_ONCE, &all, &count));
    if (count == 0)
        return HD_OK;
    struct hd_uuid *ids = HD_NEW_ARRAY(cx->arena, count, struct hd_uuid);
    for (size_t i = 0; i < count; i++)
        ids[i] = all[i].run;
    orc_ws_init(&ws, cx->arena);
    HD_TRY(ORC_DO(cx, orc, runs_load, &ws, ids, orc_uuids_unique(ids, count), false));
    HD_TRY(start_them(cx, orc, &ws, all, count));
    if (count == AT_ONCE && orc->service)
        hd_service_kick(orc->service, "follow");
    return HD_OK;
}
