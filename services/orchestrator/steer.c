#include "services/orchestrator/steer.h"

#include "base/buf.h"

#define JOB(x) HODEI__V1__JOB_STATE__JOB_STATE_##x

const char *const orc_action_names[ORC_ACTIONS] = {"cancel_job",   "retry_job", "mark_done", "skip_job",
                                                   "approve",      "reject",    "pause",     "resume",
                                                   "set_priority", "rerun",     "cancel"};

struct orc_job *orc_job_named(const struct orc_ws *ws, const struct orc_run *run, const char *name) {
    for (size_t i = 0; i < ws->jobs.n; i++)
        if (ws->jobs.items[i]->run == run && strcmp(orc_job_name(ws->arena, ws->jobs.items[i]), name) == 0)
            return ws->jobs.items[i];
    return NULL;
}

static const char *state_name(int state) {
    static const char *const names[] = {"",          "waiting", "queued",    "ready",   "active",   "being cancelled",
                                        "succeeded", "failed",  "cancelled", "skipped", "timed out"};
    return state >= 0 && (size_t)state < sizeof(names) / sizeof(*names) ? names[state] : "";
}

static enum hd_status not_now(struct hd_err *err, const struct orc_command *command, const struct orc_job *job,
                              const char *hint) {
    hd_err_set(err, HD_PRECONDITION, "job %.140s is %s: %s is not possible", command->job, state_name(job->state),
               orc_action_names[command->action]);
    hd_err_hint(err, "%s", hint);
    return HD_PRECONDITION;
}

static const char *said(struct orc_ws *ws, const struct orc_command *command, const char *what) {
    return *command->reason ? hd_arena_printf(ws->arena, "%s by %s: %s", what, command->actor, command->reason)
                            : hd_arena_printf(ws->arena, "%s by %s", what, command->actor);
}

// --- the graph after an end was taken back --------------------------------------------------------------------------------

static void rebuild_one(struct orc_ws *ws, struct orc_job *job) {
    const Hodei__V1__CompiledJob *spec = orc_job_spec(job);
    size_t n_main = orc_plan_main(job->run->plan);
    uint32_t left = job->spec >= n_main && job->run->main_left > 0, flags = 0;
    for (size_t i = 0; i < spec->n_needs; i++) {
        const struct orc_job *need = orc_ws_job(ws, job->run->id, spec->needs[i]);
        uint32_t accepts = spec->n_need_accepts ? spec->need_accepts[i] : HODEI__V1__NEED_ACCEPT__NEED_ACCEPT_SUCCESS;
        if (!orc_job_ended(need->state)) {
            left++;
            continue;
        }
        flags |= orc_end_flags(need, accepts);
    }
    if (job->spec >= n_main && job->run->main_left == 0)
        flags |= orc_run_flags(job->run);
    const uint32_t saw = ORC_SAW_FAILURE | ORC_SAW_CANCEL | ORC_SAW_SKIP | ORC_UNMET;
    job->deps_left = left;
    job->flags = (job->flags & ~saw) | flags;
    job->dirty = true;
}

// Whether one of its needs is open again.
static bool waits_again(const struct orc_ws *ws, const struct orc_job *job) {
    const Hodei__V1__CompiledJob *spec = orc_job_spec(job);
    for (size_t i = 0; i < spec->n_needs; i++) {
        const struct orc_job *need = orc_ws_job(ws, job->run->id, spec->needs[i]);
        if (!orc_job_ended(need->state) || need->flags & ORC_MARKED)
            return true;
    }
    return false;
}

// Skipped jobs below what is open again wait again; in rounds, since the order of a definition is free.
static void reopen(struct orc_ws *ws, struct orc_run *run, struct orc_chance *chance) {
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = 0; i < run->plan->n_jobs; i++) {
            struct orc_job *job = orc_ws_job(ws, run->id, i);
            if (job->state == JOB(SKIPPED) && !(job->flags & ORC_MARKED) && waits_again(ws, job))
                changed |= orc_job_change(job, ORC_JOB_RESET, 0, chance);
        }
    }
}

void orc_rebuild(struct orc_ws *ws, struct orc_run *run, struct orc_chance *chance) {
    size_t n_main = orc_plan_main(run->plan);
    reopen(ws, run, chance);
    run->main_left = 0;
    for (uint32_t i = 0; i < n_main && n_main < run->plan->n_jobs; i++)
        run->main_left += !orc_job_ended(orc_ws_job(ws, run->id, i)->state);
    run->dirty = run->amended = true;
    for (uint32_t i = 0; i < run->plan->n_jobs; i++) {
        struct orc_job *job = orc_ws_job(ws, run->id, i);
        if (job->state == JOB(WAITING) && job->children == 0)
            rebuild_one(ws, job);
        job->told = orc_job_ended(job->state); // all that it means is counted
    }
}

// --- commands on a job ------------------------------------------------------------------------------------------------------

static void cancel_one(struct orc_ws *ws, struct orc_job *job, const struct orc_command *command,
                       struct orc_chance *chance) {
    if (!orc_job_change(job, ORC_JOB_CANCEL, 0, chance))
        return;
    job->hold = 0;
    job->cause = HODEI__V1__CAUSE__CAUSE_CANCELLED;
    job->message = said(ws, command, "cancelled");
}

static enum hd_status cancel_job(struct orc_ws *ws, struct orc_job *job, const struct orc_command *command,
                                 struct orc_chance *chance, struct hd_err *err) {
    if (orc_job_ended(job->state))
        return not_now(err, command, job, "it has ended");
    for (uint32_t i = 0; i < job->children; i++)
        cancel_one(ws, orc_ws_job(ws, job->run->id, job->first_child + i), command, chance);
    if (!job->children)
        cancel_one(ws, job, command, chance);
    return HD_OK;
}

static bool failed_state(const struct orc_job *job) {
    return job->state == JOB(FAILED) || job->state == JOB(TIMED_OUT) || job->state == JOB(CANCELLED);
}

static bool finally_began(const struct orc_ws *ws, const struct orc_run *run) {
    for (uint32_t i = (uint32_t)orc_plan_main(run->plan); i < run->plan->n_jobs; i++)
        if (orc_ws_job(ws, run->id, i)->state != JOB(WAITING))
            return true;
    return false;
}

// What the ended jobs of a matrix leave on their parent.
static void recount_children(struct orc_ws *ws, struct orc_job *parent) {
    parent->flags &= ~(uint32_t)(ORC_CHILD_FAILED | ORC_CHILD_CANCELLED | ORC_CHILD_ALLOWED);
    parent->dirty = true;
    for (uint32_t i = 0; i < parent->children; i++) {
        const struct orc_job *child = orc_ws_job(ws, parent->run->id, parent->first_child + i);
        if (child->state == JOB(FAILED) || child->state == JOB(TIMED_OUT))
            parent->flags |= child->flags & ORC_ALLOWED ? ORC_CHILD_ALLOWED : ORC_CHILD_FAILED;
        else if (child->state == JOB(CANCELLED))
            parent->flags |= ORC_CHILD_CANCELLED;
    }
}

// Retry and mark done: an end that did harm is taken back, and what follows from it.
static enum hd_status redo(struct orc_ws *ws, struct orc_job *job, const struct orc_command *command,
                           struct orc_chance *chance, struct hd_err *err) {
    struct orc_job *parent = job->parent == ORC_NONE ? NULL : orc_ws_job(ws, job->run->id, job->parent);
    bool mark = command->action == ORC_MARK_DONE;
    if (orc_job_give_up(ws, job, mark ? ORC_JOB_MARK : ORC_JOB_RETRY, said(ws, command, "given up"), chance)) {
        job->flags |= mark ? ORC_MARKED : 0;
        job->message = mark ? said(ws, command, "marked as done") : "";
        return HD_OK;
    }
    if (!failed_state(job))
        return not_now(err, command, job,
                       "it is for jobs that failed, timed out, were cancelled, or are held for a worker that is gone");
    if (job->run->state != HODEI__V1__RUN_STATE__RUN_STATE_RUNNING)
        return hd_err_set(err, HD_PRECONDITION, "the run is being cancelled");
    if (job->spec < orc_plan_main(job->run->plan) && finally_began(ws, job->run)) {
        hd_err_set(err, HD_PRECONDITION, "the jobs of finally have begun");
        hd_err_hint(err, "wait for the end of the run and do it then: it makes a new run that keeps the results");
        return HD_PRECONDITION;
    }
    if (job->children || (parent && orc_job_ended(parent->state))) {
        hd_err_set(err, HD_PRECONDITION, "the matrix of job %.140s has ended", command->job);
        hd_err_hint(err, "rerun it from failed when the run has ended");
        return HD_PRECONDITION;
    }
    orc_job_change(job, mark ? ORC_JOB_MARK : ORC_JOB_RETRY, 0, chance);
    job->flags |= mark ? ORC_MARKED : 0;
    if (mark)
        job->message = said(ws, command, "marked as done");
    if (parent) { // it still waits for its other jobs
        parent->open_children += !mark;
        recount_children(ws, parent);
        return HD_OK;
    }
    orc_rebuild(ws, job->run, chance);
    return HD_OK;
}

static enum hd_status skip_job(struct orc_ws *ws, struct orc_job *job, const struct orc_command *command,
                               struct orc_chance *chance, struct hd_err *err) {
    if (job->children || job->parent != ORC_NONE || !orc_job_change(job, ORC_JOB_SKIP, 0, chance))
        return not_now(err, command, job, "a job can be skipped before it starts");
    job->hold = 0;
    job->flags |= ORC_MARKED; // it stays skipped whatever happens before it
    job->cause = HODEI__V1__CAUSE__CAUSE_UNSPECIFIED;
    job->message = said(ws, command, "skipped");
    return HD_OK;
}

static bool may_approve(const Hodei__V1__Approval *approval, const char *actor) {
    for (size_t i = 0; i < approval->n_users; i++)
        if (strcmp(approval->users[i], actor) == 0)
            return true;
    return approval->n_users == 0;
}

static enum hd_status approve(struct orc_ws *ws, struct orc_job *job, const struct orc_command *command,
                              struct orc_chance *chance, struct hd_err *err) {
    const Hodei__V1__Approval *approval = orc_job_spec(job)->approval;
    if (!(job->hold & ORC_HOLD_APPROVAL) || job->state != JOB(QUEUED) || !approval)
        return not_now(err, command, job, "it waits for no approval");
    if (!may_approve(approval, command->actor)) {
        hd_err_set(err, HD_DENIED, "%.100s may not decide on job %.140s", command->actor, command->job);
        hd_err_hint(err, "its definition names who may: approval.users");
        return HD_DENIED;
    }
    if (command->action == ORC_REJECT) {
        job->hold = 0;
        orc_job_change(job, ORC_JOB_BREAK, 0, chance);
        job->cause = HODEI__V1__CAUSE__CAUSE_REJECTED;
        job->message = said(ws, command, "rejected");
        return HD_OK;
    }
    for (size_t i = 0; i < command->n_approvers; i++)
        if (strcmp(command->approvers[i], command->actor) == 0)
            return hd_err_set(err, HD_PRECONDITION, "%.100s has approved job %.140s already", command->actor,
                              command->job);
    job->dirty = true;
    if (command->n_approvers + 1 < approval->count)
        return HD_OK;
    job->flags |= ORC_APPROVED;
    orc_job_release(job, ORC_HOLD_APPROVAL, chance->now_ms);
    return HD_OK;
}

// --- commands on a run --------------------------------------------------------------------------------------------------------

static enum hd_status pause_run(struct orc_ws *ws, struct orc_run *run, bool pause, struct orc_chance *chance,
                                struct hd_err *err) {
    if (run->paused == pause)
        return hd_err_set(err, HD_PRECONDITION, pause ? "the run is paused already" : "the run is not paused");
    run->paused = pause;
    run->dirty = run->amended = true;
    for (size_t i = 0; i < ws->jobs.n; i++) {
        struct orc_job *job = ws->jobs.items[i];
        if (job->run != run)
            continue;
        if (!pause) {
            orc_job_release(job, ORC_HOLD_PAUSE, chance->now_ms);
        } else if (job->state == JOB(READY)) {
            orc_job_change(job, ORC_JOB_HOLD, 0, chance);
        } else if (job->state == JOB(QUEUED)) {
            job->hold |= ORC_HOLD_PAUSE;
            job->due_ms = job->hold & (ORC_HOLD_APPROVAL | ORC_HOLD_BACKOFF) ? job->due_ms : 0;
            job->dirty = true;
        }
    }
    return HD_OK;
}

static enum hd_status set_priority(struct orc_ws *ws, struct orc_run *run, const struct orc_command *command,
                                   struct orc_chance *chance, struct hd_err *err) {
    if (command->priority < -100 || command->priority > 100) {
        hd_err_set(err, HD_INVALID, "priority is %d, not -100 to 100", command->priority);
        hd_err_field(err, "priority");
        return HD_INVALID;
    }
    for (size_t i = 0; i < ws->jobs.n; i++) {
        struct orc_job *job = ws->jobs.items[i];
        if (job->run != run || orc_job_ended(job->state) || orc_job_live(job->state))
            continue;
        job->priority = command->priority;
        job->priority_dirty = job->dirty = true;
        orc_job_change(job, ORC_JOB_HOLD, 0, chance); // admission offers it again, in its new place
    }
    return HD_OK;
}

enum hd_status orc_steer(struct orc_ws *ws, struct orc_run *run, const struct orc_command *command,
                         struct orc_chance *chance, struct hd_err *err, struct orc_job **ret_job) {
    struct orc_job *job = NULL;
    if (command->action == ORC_PAUSE || command->action == ORC_RESUME)
        return pause_run(ws, run, command->action == ORC_PAUSE, chance, err);
    if (command->action == ORC_SET_PRIORITY)
        return set_priority(ws, run, command, chance, err);
    if (!(job = orc_job_named(ws, run, command->job))) {
        hd_err_set(err, HD_MISSING, "the run has no job \"%.140s\"", command->job);
        hd_err_field(err, "job");
        return HD_MISSING;
    }
    *ret_job = job;
    switch (command->action) {
    case ORC_CANCEL_JOB:
        return cancel_job(ws, job, command, chance, err);
    case ORC_RETRY_JOB:
    case ORC_MARK_DONE:
        return redo(ws, job, command, chance, err);
    case ORC_SKIP_JOB:
        return skip_job(ws, job, command, chance, err);
    default:
        return approve(ws, job, command, chance, err);
    }
}
