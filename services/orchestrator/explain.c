#include "services/orchestrator/explain.h"

#include <inttypes.h>

#include "base/buf.h"

#define JOB(x) HODEI__V1__JOB_STATE__JOB_STATE_##x
#define NAMED 3 // jobs that are named; the rest is counted

static struct orc_reason because(const char *reason, const char *text) {
    return (struct orc_reason){reason, text};
}

static struct orc_reason ended(struct hd_arena *arena, const struct orc_job *job) {
    static const char *const names[] = {"succeeded", "failed", "was cancelled", "was skipped", "timed out"};
    const char *how = names[job->state - JOB(SUCCEEDED)];
    return because("ended", *job->message ? hd_arena_printf(arena, "it %s: %s", how, job->message)
                                          : hd_arena_printf(arena, "it %s", how));
}

// Of a time in Unix milliseconds, in UTC, to the second: days since 0000-03-01 make years that end with the leap day.
static const char *time_text(struct hd_arena *arena, int64_t ms) {
    int64_t seconds = ms / 1000, days = seconds / 86400 + 719468, of_day = seconds % 86400;
    int64_t era = days / 146097, day = days % 146097, year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= 365 * year + year / 4 - year / 100;
    int64_t month = (5 * day + 2) / 153; // from March
    day -= (153 * month + 2) / 5;
    year += era * 400 + (month >= 10);
    return hd_arena_printf(
        arena, "%04" PRId64 "-%02" PRId64 "-%02" PRId64 " %02" PRId64 ":%02" PRId64 ":%02" PRId64 " UTC", year,
        month < 10 ? month + 3 : month - 9, day + 1, of_day / 3600, of_day / 60 % 60, of_day % 60);
}

const char *orc_gone_text(struct hd_arena *arena, const struct orc_attempt *attempt) {
    return hd_arena_printf(
        arena,
        "its worker %s is gone since %s: wait for it, or decide: cancel the job, retry it, or mark it "
        "as done",
        attempt->worker, time_text(arena, attempt->gone_ms));
}

static struct orc_reason live(const struct orc_ws *ws, const struct orc_job *job) {
    const struct orc_attempt *attempt = orc_ws_attempt(ws, job->attempt);
    const char *worker = attempt ? attempt->worker : "?";
    if (job->state == JOB(CANCELLING))
        return because(
            "stopping",
            hd_arena_printf(ws->arena, "it is being stopped on worker %s, which has not confirmed it yet", worker));
    if (attempt && attempt->gone_ms)
        return because("worker_gone", orc_gone_text(ws->arena, attempt));
    if (attempt && attempt->state == HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_ASSIGNED)
        return because("running", hd_arena_printf(ws->arena, "it is on its way to worker %s", worker));
    return because("running", hd_arena_printf(ws->arena, "it runs on worker %s, attempt %u", worker, job->attempts));
}

static struct orc_reason needs(const struct orc_ws *ws, const struct orc_job *job) {
    const Hodei__V1__CompiledJob *spec = orc_job_spec(job);
    HD_AUTO_BUF struct hd_buf names = {0};
    size_t open = 0, first = orc_plan_main(job->run->plan);
    for (size_t i = 0; i < spec->n_needs; i++) {
        const struct orc_job *need = orc_ws_job(ws, job->run->id, spec->needs[i]);
        if (!need || orc_job_ended(need->state))
            continue;
        if (open++ < NAMED)
            hd_buf_addf(&names, "%s%s", names.len ? ", " : "", orc_job_name(ws->arena, need));
    }
    if (open == 0 && job->spec >= first)
        return because("needs", hd_arena_printf(
                                    ws->arena, "it is of finally: it waits until the other jobs have ended, %u of them",
                                    job->run->main_left));
    if (open > NAMED)
        hd_buf_addf(&names, " and %zu more", open - NAMED);
    return because("needs", hd_arena_printf(ws->arena, "it waits for what it needs: %s", names.data ? names.data : ""));
}

static struct orc_reason group(const struct orc_ws *ws, const struct orc_job *job, const struct orc_circumstances *at,
                               bool of_run) {
    const struct orc_member *ahead = NULL;
    size_t before = 0, holding = 0;
    char id[HD_UUID_TEXT] = "";
    for (size_t i = 0; i < at->n_members; i++) {
        const struct orc_member *m = &at->members[i];
        bool me = hd_uuid_eq(m->run, job->run->id) && m->idx == (of_run ? ORC_NONE : job->idx);
        if (me)
            break;
        before++;
        ahead = m;
    }
    for (size_t i = 0; i < at->n_members; i++) {
        holding += at->members[i].state == ORC_MEMBER_HOLDING;
        if (at->members[i].state == ORC_MEMBER_HOLDING && !ahead)
            ahead = &at->members[i];
    }
    if (ahead)
        hd_uuid_format(ahead->run, id);
    const char *who = of_run ? "the run" : "it";
    return because(
        "group",
        hd_arena_printf(ws->arena,
                        "%s waits for its concurrency group %s: %zu of %lld slots are taken and %zu stand before it, "
                        "the nearest in run %s; wait for it, cancel it, or raise the limit",
                        who, at->group ? at->group : "", holding, (long long)at->capacity, before, id));
}

static struct orc_reason queued(const struct orc_ws *ws, const struct orc_job *job,
                                const struct orc_circumstances *at) {
    const Hodei__V1__Approval *approval = orc_job_spec(job)->approval;
    if (job->hold & ORC_HOLD_PAUSE)
        return because("paused", "the run is paused: resume it");
    if (job->hold & ORC_HOLD_APPROVAL)
        return because("approval",
                       hd_arena_printf(ws->arena, "it waits for approval: %zu of %u are there; approve or reject it",
                                       at->approvals, approval ? approval->count : 1));
    if (job->hold & ORC_HOLD_GROUP)
        return group(ws, job, at, false);
    if (job->hold & ORC_HOLD_BACKOFF)
        return because("backoff",
                       hd_arena_printf(ws->arena, "it failed and is tried again in %lld s (attempt %u)",
                                       (long long)((job->due_ms - at->now_ms + 999) / 1000), job->attempts + 1));
    if (!at->tenant || !at->tenant->granted)
        return because("quota", "the quota of the tenant is not known yet: the quota service has not answered");
    return because("quota", orc_quota_why(ws->arena, job, orc_quota_of(job, at->tenant, at->part)));
}

static struct orc_reason waiting(const struct orc_ws *ws, const struct orc_job *job,
                                 const struct orc_circumstances *at) {
    if (job->run->held)
        return group(ws, job, at, true);
    if (job->children)
        return because("matrix",
                       hd_arena_printf(ws->arena, "it became %u jobs, %u of which have not ended: %s.1 and so on",
                                       job->children, job->open_children, orc_job_spec(job)->name));
    if (job->parent != ORC_NONE)
        return because("matrix",
                       hd_arena_printf(ws->arena,
                                       "its matrix runs %u at a time: wait for one to end, or raise max_parallel",
                                       orc_job_spec(job)->matrix ? orc_job_spec(job)->matrix->max_parallel : 0));
    return needs(ws, job);
}

struct orc_reason orc_explain(const struct orc_ws *ws, const struct orc_job *job, const struct orc_circumstances *at) {
    if (orc_job_ended(job->state))
        return ended(ws->arena, job);
    if (orc_job_live(job->state))
        return live(ws, job);
    if (job->state == JOB(QUEUED))
        return queued(ws, job, at);
    if (job->state == JOB(WAITING))
        return waiting(ws, job, at);
    return because(
        "ready", hd_arena_printf(ws->arena,
                                 "it is offered to the workers of pool %s; the scheduler does not answer at the moment",
                                 job->pool));
}
