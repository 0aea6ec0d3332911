// Commands of people on runs and jobs. Each is checked, carried out, written down with who and why, and told, in one transaction;
// with an idempotency key its answer is kept for a day.
#include "adapter/bus.h"
#include "base/names.h"
#include "services/orchestrator/finish.h"
#include "services/orchestrator/steer.h"

#define REASON_MAX 1000
#define ALL_JOBS 40000 // rows of a run: parents of matrices count too

struct steering {
    struct hd_item *item;
    const Hodei__V1__SteerRequest *request;
    struct orc_command command;
    struct hd_uuid id;
    struct orc_command_key key;
    struct orc_ws ws;
    struct orc_run *run, *made;
    struct orc_job *job;
};

static bool check(struct hd_ctx *cx, struct hd_item *item, enum orc_action action, struct steering *s) {
    const Hodei__V1__SteerRequest *request = (const Hodei__V1__SteerRequest *)item->msg;
    *s = (struct steering){.item = item, .request = request};
    if (!orc_item_tenant(item) || !orc_item_id(item, "run", request->run, &s->id))
        return false;
    if (strlen(request->reason) > REASON_MAX) {
        hd_item_fail(item, HD_INVALID, "the reason has more than %d bytes", REASON_MAX);
        hd_err_field(&item->err, "reason");
        return false;
    }
    s->command = (struct orc_command){.action = action,
                                      .job = request->job,
                                      .actor = item->principal->subject,
                                      .reason = request->reason,
                                      .priority = request->priority,
                                      .from = (int)request->from};
    s->key = orc_command_key(cx, item, orc_action_names[action]);
    return true;
}

// The run with all its jobs, and the attempts that a cancel must reach.
static enum hd_status load(struct hd_ctx *cx, struct orchestrator *orc, struct steering *s) {
    struct hd_uuid id = s->id;
    orc_ws_init(&s->ws, cx->arena);
    HD_TRY(ORC_DO(cx, orc, runs_load, &s->ws, &id, 1, true));
    s->run = orc_item_run(s->item, &s->ws, s->id, "run");
    if (!s->run)
        return HD_OK;
    HD_TRY(orc_plans(cx, orc, &s->ws));
    HD_TRY(ORC_DO(cx, orc, jobs_page, &s->ws, s->id, 0, ALL_JOBS));
    struct hd_uuid *attempts = HD_NEW_ARRAY(cx->arena, s->ws.jobs.n, struct hd_uuid);
    size_t n = 0;
    for (size_t i = 0; i < s->ws.jobs.n; i++)
        if (orc_job_live(s->ws.jobs.items[i]->state))
            attempts[n++] = s->ws.jobs.items[i]->attempt;
    return n ? ORC_DO(cx, orc, attempts_load, &s->ws, attempts, n) : HD_OK;
}

// --- a new run out of one that has ended ------------------------------------------------------------------------------------------
static enum hd_status load_outputs(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws) {
    struct orc_job_ref *refs = HD_NEW_ARRAY(cx->arena, ws->jobs.n, struct orc_job_ref);
    size_t n = 0;
    for (size_t i = 0; i < ws->jobs.n; i++)
        if (orc_job_spec(ws->jobs.items[i])->n_outputs)
            refs[n++] = (struct orc_job_ref){ws->jobs.items[i]->run->id, ws->jobs.items[i]->idx};
    return n ? ORC_DO(cx, orc, outputs_load, ws, refs, n) : HD_OK;
}

static struct orc_run *new_run(struct hd_ctx *cx, struct steering *s) {
    struct orc_run *run = orc_ws_add_run(&s->ws, hd_new_id(cx));
    run->tenant = s->run->tenant;
    run->pipeline = s->run->pipeline;
    run->project = s->run->project;
    run->version = s->run->version;
    run->plan = s->run->plan;
    run->request = s->run->request;
    run->request_len = s->run->request_len;
    run->state = orc_run_machine.first;
    run->created_ms = cx->now.wall_ms;
    run->revision = 1;
    run->origin = "rerun";
    run->actor = s->command.actor;
    run->rerun_of = s->run->id;
    return run;
}

static enum hd_status rerun(struct hd_ctx *cx, struct orchestrator *orc, struct steering *s) {
    struct orc_version newest = {.tenant = s->run->tenant, .name = s->run->pipeline};
    struct orc_chance chance = orc_chance(cx);
    HD_TRY(ORC_DO(cx, orc, versions_newest, &newest, 1));
    if (newest.deleted)
        return hd_item_fail(s->item, HD_PRECONDITION, "pipeline %s has been deleted", s->run->pipeline);
    HD_TRY(load_outputs(cx, orc, &s->ws));
    s->made = new_run(cx, s);
    HD_TRY(orc_rerun(&s->ws, s->run, s->made, &s->command, &chance, &s->item->err));
    HD_TRY(ORC_DO(cx, orc, runs_insert, &s->ws));
    s->made->amended = s->made->dirty = true; // with what it has kept
    return HD_OK;
}

// --- any command --------------------------------------------------------------------------------------------------------------------
static enum hd_status decide(struct hd_ctx *cx, struct orchestrator *orc, struct steering *s) {
    struct orc_chance chance = orc_chance(cx);
    enum orc_action action = s->command.action;
    bool ended = orc_run_ended(s->run->state),
         again = action == ORC_RERUN || action == ORC_RETRY_JOB || action == ORC_MARK_DONE;
    if (action == ORC_RERUN && !ended) {
        hd_item_fail(s->item, HD_PRECONDITION, "the run has not ended");
        hd_err_hint(&s->item->err, "wait for its end, or cancel it; a single job can be retried meanwhile");
        return HD_PRECONDITION;
    }
    if (ended && !again)
        return hd_item_fail(s->item, HD_PRECONDITION, "the run has ended");
    if (action == ORC_RETRY_JOB && ended)
        s->command.from = HODEI__V1__STEER_REQUEST__FROM__FROM_JOB;
    if (ended)
        return rerun(cx, orc, s);
    struct orc_job *job = *s->command.job ? orc_job_named(&s->ws, s->run, s->command.job) : NULL;
    if (job && (action == ORC_APPROVE || action == ORC_REJECT))
        HD_TRY(ORC_DO(cx, orc, approvals_list, job, &s->command.approvers, &s->command.n_approvers));
    HD_TRY(orc_steer(&s->ws, s->run, &s->command, &chance, &s->item->err, &s->job));
    return action == ORC_APPROVE ? ORC_DO(cx, orc, approvals_add, s->job, s->command.actor) : HD_OK;
}

static void tell(struct hd_ctx *cx, const struct orc_run *run, const struct orc_done *done) {
    Hodei__V1__RunSteered event = HODEI__V1__RUN_STEERED__INIT;
    Hodei__V1__RunAction action = HODEI__V1__RUN_ACTION__INIT;
    action.at_ms = done->at_ms;
    action.actor = (char *)(uintptr_t)done->actor;
    action.action = (char *)(uintptr_t)done->action;
    action.job = (char *)(uintptr_t)done->job;
    action.reason = (char *)(uintptr_t)done->reason;
    action.result = (char *)(uintptr_t)done->result;
    event.run = orc_id_text(cx->arena, run->id);
    event.pipeline = (char *)(uintptr_t)run->pipeline;
    event.action = &action;
    hd_publish(cx, hd_subject_event(cx->arena, run->tenant, "run", "steered"), &event.base);
}

enum hd_status orc_audit(struct hd_ctx *cx, struct orchestrator *orc, struct orc_run *run,
                         const struct orc_done *done) {
    HD_TRY(ORC_DO(cx, orc, actions_add, done));
    run->dirty = run->was != 0; // what people did is part of its content
    tell(cx, run, done);
    return HD_OK;
}

static enum hd_status answer(struct hd_ctx *cx, struct orchestrator *orc, struct steering *s) {
    const struct orc_run *run = s->made ? s->made : s->run;
    Hodei__V1__SteerReply *reply = (Hodei__V1__SteerReply *)s->item->reply;
    reply->run = orc_id_text(cx->arena, run->id);
    reply->state = (Hodei__V1__RunState)run->state;
    if (s->job)
        reply->job_state = (Hodei__V1__JobState)s->job->state;
    return orc_command_keep(cx, orc, s->item, &s->key);
}

static enum hd_status steer_one(struct hd_ctx *cx, struct orchestrator *orc, struct steering *s) {
    struct orc_out out = {0};
    bool known;
    HD_TRY(load(cx, orc, s)); // the lock first: of two with one key the second finds the answer
    if (s->item->err.status != HD_OK)
        return HD_OK;
    HD_TRY(orc_command_known(cx, orc, s->item, &s->key, &known));
    if (known)
        return HD_OK;
    enum hd_status status = decide(cx, orc, s);
    if (s->item->err.status != HD_OK) // refused, and nothing is written
        return HD_OK;
    HD_TRY(status);
    const struct orc_done done = {.run = s->run->id,
                                  .at_ms = cx->now.wall_ms,
                                  .actor = s->command.actor,
                                  .action = orc_action_names[s->command.action],
                                  .job = s->command.job,
                                  .reason = s->command.reason,
                                  .result = s->made ? orc_id_text(cx->arena, s->made->id) : ""};
    HD_TRY(orc_audit(cx, orc, s->run, &done));
    HD_TRY(orc_finish(cx, orc, &s->ws, &out));
    return answer(cx, orc, s);
}

static enum hd_status steer(struct hd_ctx *cx, struct orchestrator *orc, struct hd_item *items, size_t n,
                            enum orc_action action) {
    orc_versions_trim(&orc->versions);
    for (size_t i = 0; i < n; i++) { // one after another: the second of two that conflict sees what the first did
        struct steering s;
        if (check(cx, &items[i], action, &s))
            HD_TRY(steer_one(cx, orc, &s));
    }
    return HD_OK;
}

#define STEER(name, action)                                                                                            \
    enum hd_status name(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {                              \
        return steer(cx, self, items, n, action);                                                                      \
    }
STEER(orc_cancel_job, ORC_CANCEL_JOB)
STEER(orc_retry_job, ORC_RETRY_JOB)
STEER(orc_mark_job_done, ORC_MARK_DONE)
STEER(orc_skip_job, ORC_SKIP_JOB)
STEER(orc_approve_job, ORC_APPROVE)
STEER(orc_reject_job, ORC_REJECT)
STEER(orc_pause_run, ORC_PAUSE)
STEER(orc_resume_run, ORC_RESUME)
STEER(orc_set_run_priority, ORC_SET_PRIORITY)
STEER(orc_rerun_run, ORC_RERUN)
