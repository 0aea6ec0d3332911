// ExplainJob. What a job waits for is in the tables, but for what keeps a READY one from a worker: that the leader of its pool is asked,
// and the request waits for the answer.
#include "base/names.h"
#include "hodei/v1/scheduler.pb-c.h"
#include "services/orchestrator/explain.h"
#include "services/orchestrator/finish.h"

#define ALL_JOBS 40000
#define WAIT_MS 1500
#define FRESH_MS 1000 // how long an answer of the scheduler is taken for true

static uint64_t verdict_key(const char *run, uint32_t job) {
    return hd_hash(run, strlen(run), job + 1u);
}

enum hd_status orc_verdicts_answer(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct orchestrator *orc = self;
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__ExplainJobsReply *reply = (const Hodei__V1__ExplainJobsReply *)items[i].msg;
        for (size_t k = 0; reply && k < reply->n_verdicts; k++) {
            const Hodei__V1__PlaceVerdict *from = reply->verdicts[k];
            struct orc_verdict_kept *to = &orc->verdicts[orc->next_verdict++ % ORC_VERDICTS];
            *to = (struct orc_verdict_kept){.key = verdict_key(from->run, from->job),
                                            .at_mono_ms = cx->now.mono_ms,
                                            .position = from->position,
                                            .queued = from->queued,
                                            .estimate_ms = from->estimate_ms};
            const char *name = hd_pb_enum_name(cx->arena, &hodei__v1__place_reason__descriptor, (int)from->reason);
            hd_strlcpy(to->reason, name ? name : "", sizeof(to->reason));
            hd_strlcpy(to->text, from->text, sizeof(to->text));
        }
    }
    return HD_OK;
}

static const struct orc_verdict_kept *fresh(const struct orchestrator *orc, uint64_t key, int64_t mono_ms) {
    for (size_t i = 0; i < ORC_VERDICTS; i++)
        if (orc->verdicts[i].key == key && orc->verdicts[i].at_mono_ms + FRESH_MS > mono_ms)
            return &orc->verdicts[i];
    return NULL;
}

static void ask(struct hd_ctx *cx, const struct orc_job *job) {
    Hodei__V1__ExplainJobsRequest request = HODEI__V1__EXPLAIN_JOBS_REQUEST__INIT;
    Hodei__V1__QueuedJob one = HODEI__V1__QUEUED_JOB__INIT, *list[] = {&one};
    one.run = orc_id_text(cx->arena, job->run->id);
    one.job = job->idx;
    request.pool = (char *)(uintptr_t)job->pool;
    request.jobs = list;
    request.n_jobs = 1;
    hd_ask(cx, "scheduler", "ExplainJobs", &request.base, ORC_ANSWER_VERDICTS, WAIT_MS);
}

// True where it waits for the scheduler's answer.
static bool ready_one(struct hd_ctx *cx, struct orchestrator *orc, struct hd_item *item, const struct orc_job *job,
                      Hodei__V1__ExplainJobReply *reply) {
    const struct orc_verdict_kept *kept =
        fresh(orc, verdict_key(orc_id_text(cx->arena, job->run->id), job->idx), cx->now.mono_ms);
    if (!kept) {
        if (!item->wait_until_mono_ms)
            ask(cx, job);
        return hd_item_park(cx, item, WAIT_MS);
    }
    reply->reason = hd_arena_strdup(cx->arena, kept->reason);
    reply->text = hd_arena_strdup(cx->arena, kept->text);
    reply->position = kept->position;
    reply->queued = kept->queued;
    reply->estimate_ms = kept->estimate_ms;
    return false;
}

static enum hd_status circumstances(struct hd_ctx *cx, struct orchestrator *orc, const struct orc_ws *ws,
                                    const struct orc_job *job, struct orc_circumstances *ret) {
    const char *names[] = {job->run->tenant, orc_account(cx->arena, job->run)}, **approvers;
    struct orc_job_ref ref = {job->run->id, job->run->held ? ORC_NONE : job->idx};
    struct orc_group group;
    struct orc_ws other;
    orc_ws_init(&other, ws->arena);
    *ret = (struct orc_circumstances){.now_ms = cx->now.wall_ms};
    if (job->hold & ORC_HOLD_APPROVAL)
        HD_TRY(ORC_DO(cx, orc, approvals_list, job, &approvers, &ret->approvals));
    if (job->hold & ORC_HOLD_GROUP || job->run->held) {
        HD_TRY(ORC_DO(cx, orc, groups_of, &ref, 1, &group));
        ret->group = group.name;
        if (*group.name)
            HD_TRY(ORC_DO(cx, orc, group_members, &group, false, &ret->members, &ret->n_members));
        orc_group_turns(ret->members, ret->n_members, group.capacity, group.by_ready);
        ret->capacity = group.capacity;
    }
    if (!orc_job_admissible(job->state, job->hold & ~(uint32_t)ORC_HOLD_TOO_LARGE))
        return HD_OK;
    HD_TRY(ORC_DO(cx, orc, tenants_read, &other, names, orc_texts_unique(names, 2)));
    ret->tenant = orc_ws_tenant(&other, job->run->tenant);
    ret->part = orc_in_project(job->run) ? orc_ws_part(&other, job->run) : NULL;
    return HD_OK;
}

static enum hd_status explain_one(struct hd_ctx *cx, struct orchestrator *orc, struct hd_item *item) {
    const Hodei__V1__ExplainJobRequest *request = (const Hodei__V1__ExplainJobRequest *)item->msg;
    Hodei__V1__ExplainJobReply *reply = (Hodei__V1__ExplainJobReply *)item->reply;
    struct orc_circumstances at;
    struct hd_uuid id;
    struct orc_ws ws;
    if (!orc_item_tenant(item) || !orc_item_id(item, "run", request->run, &id))
        return HD_OK;
    orc_ws_init(&ws, cx->arena);
    HD_TRY(ORC_DO(cx, orc, runs_load, &ws, &id, 1, false));
    struct orc_run *run = orc_item_run(item, &ws, id, "run");
    if (!run)
        return HD_OK;
    HD_TRY(orc_plans(cx, orc, &ws));
    HD_TRY(ORC_DO(cx, orc, jobs_page, &ws, id, 0, ALL_JOBS));
    const struct orc_job *job = orc_job_named(&ws, run, request->job);
    if (!job) {
        hd_item_fail(item, HD_MISSING, "the run has no job \"%.140s\"", request->job);
        hd_err_field(&item->err, "job");
        return HD_OK;
    }
    reply->state = (Hodei__V1__JobState)job->state;
    if (job->state == HODEI__V1__JOB_STATE__JOB_STATE_READY && ready_one(cx, orc, item, job, reply))
        return HD_OK;
    if (*reply->text)
        return HD_OK;
    if (orc_job_live(job->state))
        HD_TRY(ORC_DO(cx, orc, attempts_load, &ws, &job->attempt, 1));
    HD_TRY(circumstances(cx, orc, &ws, job, &at));
    struct orc_reason why = orc_explain(&ws, job, &at);
    reply->reason = (char *)(uintptr_t)why.reason;
    reply->text = (char *)(uintptr_t)why.text;
    return HD_OK;
}

enum hd_status orc_explain_job(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    orc_versions_trim(&((struct orchestrator *)self)->versions);
    for (size_t i = 0; i < n; i++)
        HD_TRY(explain_one(cx, self, &items[i]));
    return HD_OK;
}
