// Reads: GetRun with its wait, ListRuns, ListJobs.
#include "base/names.h"
#include "services/orchestrator/advance.h"
#include "services/orchestrator/orchestrator.h"
#include "services/orchestrator/view.h"

#define MAX_WAIT_MS 20000
#define JOBS_IN_RUN 1000
#define ACTIONS_IN_RUN 100

// --- GetRun -------------------------------------------------------------------------------------------------------------------
static bool get_check(struct hd_item *item, struct hd_uuid *ret) {
    const Hodei__V1__GetRunRequest *request = (const Hodei__V1__GetRunRequest *)item->msg;
    if (!orc_item_tenant(item) || !orc_item_id(item, "id", request->id, ret))
        return false;
    if (request->wait_ms >= 0 && request->wait_ms <= MAX_WAIT_MS)
        return true;
    hd_item_fail(item, HD_INVALID, "wait_ms is %lld, not 0 to %d", (long long)request->wait_ms, MAX_WAIT_MS);
    hd_err_field(&item->err, "wait_ms");
    return false;
}

static enum hd_status load_outputs(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws) {
    struct orc_job_ref *refs = HD_NEW_ARRAY(cx->arena, ws->jobs.n, struct orc_job_ref);
    size_t n = 0;
    for (size_t i = 0; i < ws->jobs.n; i++)
        if (orc_job_spec(ws->jobs.items[i])->n_outputs)
            refs[n++] = (struct orc_job_ref){ws->jobs.items[i]->run->id, ws->jobs.items[i]->idx};
    return n ? ORC_DO(cx, orc, outputs_load, ws, refs, n) : HD_OK;
}

static enum hd_status count_approvals(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws,
                                      const struct orc_run *run) {
    bool any = false;
    for (size_t i = 0; i < run->plan->n_jobs && !any; i++)
        any = run->plan->jobs[i]->approval != NULL;
    return any ? ORC_DO(cx, orc, approvals_count, ws, run->id) : HD_OK;
}

static enum hd_status add_actions(struct hd_ctx *cx, struct orchestrator *orc, struct hd_uuid id,
                                  Hodei__V1__Run *reply) {
    struct orc_done *list;
    size_t n;
    HD_TRY(ORC_DO(cx, orc, actions_list, id, ACTIONS_IN_RUN, &list, &n));
    reply->actions = HD_NEW_ARRAY(cx->arena, n, Hodei__V1__RunAction *);
    for (size_t i = 0; i < n; i++) {
        Hodei__V1__RunAction *to = reply->actions[reply->n_actions++] = HD_NEW(cx->arena, Hodei__V1__RunAction);
        *to = (Hodei__V1__RunAction)HODEI__V1__RUN_ACTION__INIT;
        to->at_ms = list[i].at_ms;
        to->actor = (char *)(uintptr_t)list[i].actor;
        to->action = (char *)(uintptr_t)list[i].action;
        to->job = (char *)(uintptr_t)list[i].job;
        to->reason = (char *)(uintptr_t)list[i].reason;
        to->result = (char *)(uintptr_t)list[i].result;
    }
    return HD_OK;
}

static enum hd_status get_one(struct hd_ctx *cx, struct orchestrator *orc, struct hd_item *item, struct orc_ws *ws,
                              struct hd_uuid id) {
    const Hodei__V1__GetRunRequest *request = (const Hodei__V1__GetRunRequest *)item->msg;
    struct orc_run *run = orc_item_run(item, ws, id, "id");
    if (!run)
        return HD_OK;
    bool same = *request->etag && strcmp(request->etag, orc_view_etag(cx->arena, run)) == 0;
    if (same && request->wait_ms > 0 && !orc_run_ended(run->state) && hd_item_park(cx, item, request->wait_ms))
        return HD_OK;
    Hodei__V1__Run *reply = (Hodei__V1__Run *)item->reply;
    orc_view_run(cx->arena, run, reply);
    HD_TRY(orc_plans(cx, orc, ws));
    HD_TRY(ORC_DO(cx, orc, jobs_page, ws, id, 0, JOBS_IN_RUN));
    HD_TRY(ORC_DO(cx, orc, attempts_page, ws, id, 0, JOBS_IN_RUN));
    HD_TRY(load_outputs(cx, orc, ws));
    HD_TRY(count_approvals(cx, orc, ws, run));
    struct orc_view_page page = {.run = run, .limit = JOBS_IN_RUN};
    orc_view_jobs(ws, &page);
    reply->jobs = page.jobs;
    reply->n_jobs = page.n;
    return add_actions(cx, orc, id, reply);
}

enum hd_status orc_get_run(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct orchestrator *orc = self;
    struct hd_uuid *ids = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid),
                   *wanted = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    size_t n_wanted = 0;
    struct orc_ws ws;
    orc_ws_init(&ws, cx->arena);
    orc_versions_trim(&orc->versions);
    for (size_t i = 0; i < n; i++)
        if (get_check(&items[i], &ids[i]))
            wanted[n_wanted++] = ids[i];
    if (n_wanted == 0)
        return HD_OK;
    HD_TRY(ORC_DO(cx, orc, runs_load, &ws, wanted, orc_uuids_unique(wanted, n_wanted), false));
    for (size_t i = 0; i < n; i++)
        if (items[i].err.status == HD_OK)
            HD_TRY(get_one(cx, orc, &items[i], &ws, ids[i]));
    return HD_OK;
}

// --- ListRuns -----------------------------------------------------------------------------------------------------------------
#define TIME_MAX_MS ((INT64_C(1) << 48) - 1) // of a UUIDv7

// A run's id begins with the time at which it was made.
static bool list_times(struct hd_item *item, struct orc_runs_query *ret) {
    const Hodei__V1__ListRunsRequest *request = (const Hodei__V1__ListRunsRequest *)item->msg;
    bool since_good = request->since_ms >= 0 && request->since_ms <= TIME_MAX_MS;
    if (!since_good || request->until_ms < 0 || request->until_ms > TIME_MAX_MS) {
        hd_item_fail(item, HD_INVALID, "a time is given in milliseconds since 1970");
        hd_err_field(&item->err, since_good ? "until_ms" : "since_ms");
        return false;
    }
    struct hd_uuid until = hd_uuid_from_ms(request->until_ms);
    ret->since = hd_uuid_from_ms(request->since_ms);
    if (request->until_ms && (hd_uuid_zero(ret->before) || hd_uuid_cmp(until, ret->before) < 0))
        ret->before = until;
    return true;
}

static bool list_states(struct hd_item *item, struct orc_runs_query *ret) {
    const Hodei__V1__ListRunsRequest *request = (const Hodei__V1__ListRunsRequest *)item->msg;
    _Static_assert(sizeof(*request->state) == sizeof(int32_t), "an enum is an int");
    for (size_t i = 0; i < request->n_state; i++) {
        const ProtobufCEnumDescriptor *states = &hodei__v1__run_state__descriptor;
        if (request->state[i] && protobuf_c_enum_descriptor_get_value(states, (int)request->state[i]))
            continue;
        hd_item_fail(item, HD_INVALID, "no run is ever in that state");
        hd_err_field(&item->err, "state");
        return false;
    }
    ret->states = (const int32_t *)request->state;
    ret->n_states = request->n_state;
    return true;
}

static bool list_check(struct hd_ctx *cx, struct hd_item *item, struct orc_runs_query *ret) {
    const Hodei__V1__ListRunsRequest *request = (const Hodei__V1__ListRunsRequest *)item->msg;
    *ret = (struct orc_runs_query){.tenant = orc_item_tenant(item),
                                   .pipeline = request->pipeline,
                                   .project = request->project,
                                   .parts = hd_parts_of(cx->arena, item->principal)};
    if (!ret->tenant || !hd_item_page(item, request->page_size, &ret->limit))
        return false;
    if (*request->page_token && hd_uuid_parse(request->page_token, &ret->before) != HD_OK)
        return hd_item_page_token_wrong(item);
    if (!list_times(item, ret) || !list_states(item, ret))
        return false;
    if (*request->project && !hd_token_valid(request->project)) {
        hd_item_fail(item, HD_INVALID, "project is not a name: [A-Za-z0-9_-], 1 to 64 bytes");
        hd_err_field(&item->err, "project");
        return false;
    }
    if (!*request->pipeline || hd_name_valid(request->pipeline))
        return true;
    hd_item_fail(item, HD_INVALID, "pipeline is not a name: [A-Za-z0-9._-], 1 to 128 bytes");
    hd_err_field(&item->err, "pipeline");
    return false;
}

enum hd_status orc_list_runs(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct orchestrator *orc = self;
    for (size_t i = 0; i < n; i++) {
        Hodei__V1__ListRunsReply *reply = (Hodei__V1__ListRunsReply *)items[i].reply;
        struct orc_runs_query query;
        struct orc_ws ws;
        if (!list_check(cx, &items[i], &query))
            continue;
        unsigned limit = query.limit++; // one more tells whether there is a next page
        orc_ws_init(&ws, cx->arena);
        HD_TRY(ORC_DO(cx, orc, runs_list, &ws, &query));
        size_t shown = ws.runs.n < limit ? ws.runs.n : limit;
        reply->runs = HD_NEW_ARRAY(cx->arena, shown, Hodei__V1__Run *);
        reply->n_runs = shown;
        for (size_t k = 0; k < shown; k++) {
            reply->runs[k] = HD_NEW(cx->arena, Hodei__V1__Run);
            *reply->runs[k] = (Hodei__V1__Run)HODEI__V1__RUN__INIT;
            orc_view_run(cx->arena, ws.runs.items[k], reply->runs[k]);
        }
        if (shown < ws.runs.n)
            reply->next_page_token = reply->runs[shown - 1]->id;
    }
    return HD_OK;
}

// --- ListJobs -----------------------------------------------------------------------------------------------------------------
static bool token_read(const char *token, uint32_t *ret) {
    int64_t from = 0;
    if (*token && (token[0] != 'j' || hd_parse_i64(token + 1, &from) != HD_OK || from < 0 || from > INT32_MAX))
        return false;
    *ret = (uint32_t)from;
    return true;
}

static enum hd_status list_jobs(struct hd_ctx *cx, struct orchestrator *orc, struct hd_item *item) {
    const Hodei__V1__ListJobsRequest *request = (const Hodei__V1__ListJobsRequest *)item->msg;
    Hodei__V1__ListJobsReply *reply = (Hodei__V1__ListJobsReply *)item->reply;
    struct orc_view_page page = {0};
    struct hd_uuid id;
    struct orc_ws ws;
    if (!orc_item_tenant(item) || !orc_item_id(item, "run", request->run, &id) ||
        !hd_item_page(item, request->page_size, &page.limit))
        return HD_OK;
    if (!token_read(request->page_token, &page.from)) {
        hd_item_page_token_wrong(item);
        return HD_OK;
    }
    orc_ws_init(&ws, cx->arena);
    HD_TRY(ORC_DO(cx, orc, runs_load, &ws, &id, 1, false));
    page.run = orc_item_run(item, &ws, id, "run");
    if (!page.run)
        return HD_OK;
    HD_TRY(orc_plans(cx, orc, &ws));
    HD_TRY(ORC_DO(cx, orc, jobs_page, &ws, id, page.from, page.limit));
    HD_TRY(ORC_DO(cx, orc, attempts_page, &ws, id, page.from, page.from + page.limit));
    HD_TRY(load_outputs(cx, orc, &ws));
    HD_TRY(count_approvals(cx, orc, &ws, page.run));
    orc_view_jobs(&ws, &page);
    reply->jobs = page.jobs;
    reply->n_jobs = page.n;
    if (page.n && page.from + page.n < page.run->rows)
        reply->next_page_token = hd_arena_printf(cx->arena, "j%zu", page.from + page.n);
    return HD_OK;
}

enum hd_status orc_list_jobs(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct orchestrator *orc = self;
    orc_versions_trim(&orc->versions);
    for (size_t i = 0; i < n; i++)
        HD_TRY(list_jobs(cx, orc, &items[i]));
    return HD_OK;
}
