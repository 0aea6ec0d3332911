#include "services/orchestrator/advance.h"

#define JOB(x) HODEI__V1__JOB_STATE__JOB_STATE_##x
#define ATT(x) HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_##x

static uint64_t new_key(struct hd_rng *rng) {
    uint64_t key;
    do
        key = hd_rng_next(rng);
    while (key == 0);
    return key;
}

static void job_count_end(struct orc_job *job, int64_t now_ms) {
    struct orc_run *run = job->run;
    job->ended_ms = now_ms;
    run->ended++;
    run->succeeded += job->state == JOB(SUCCEEDED);
    run->failed += job->state == JOB(FAILED) || job->state == JOB(TIMED_OUT);
    run->dirty = true;
}

bool orc_job_change(struct orc_job *job, enum orc_job_event event, unsigned facts, struct orc_chance *chance) {
    const struct orc_rule *rule = orc_machine_next(&orc_job_machine, job->state, event, facts);
    if (!rule)
        return false;
    job->state = rule->to;
    job->dirty = true;
    if (rule->to == JOB(QUEUED)) {
        job->queued_ms = chance->now_ms;
    } else if (rule->to == JOB(READY)) {
        job->key = new_key(chance->rng);
        job->ready_ms = chance->now_ms;
    } else if (orc_job_ended(rule->to)) {
        job_count_end(job, chance->now_ms);
    }
    return true;
}

bool orc_run_change(struct orc_run *run, enum orc_run_event event, unsigned facts, int64_t now_ms) {
    const struct orc_rule *rule = orc_machine_next(&orc_run_machine, run->state, event, facts);
    if (!rule)
        return false;
    run->state = rule->to;
    run->dirty = true;
    if (orc_run_ended(rule->to))
        run->ended_ms = now_ms;
    return true;
}

void orc_run_settle(struct orc_run *run, int64_t now_ms) {
    if (orc_run_ended(run->state) || run->ended < run->total)
        return;
    unsigned facts = (run->succeeded == run->total ? ORC_ALL_SUCCEEDED : 0) | (run->failed ? ORC_SOME_FAILED : 0);
    orc_run_change(run, ORC_RUN_ALL_ENDED, facts, now_ms);
}

void orc_run_expand(struct orc_ws *ws, struct orc_run *run, struct orc_chance *chance) {
    run->total = (uint32_t)run->plan->n_jobs;
    for (uint32_t i = 0; i < run->total; i++) {
        const Hodei__V1__CompiledJob *spec = run->plan->jobs[i];
        struct orc_job *job = orc_ws_add_job(ws, run, i);
        job->pool = spec->pool;
        job->priority = spec->priority;
        job->state = JOB(WAITING);
        job->deps_left = (uint32_t)spec->n_needs;
        job->dirty = true;
        if (job->deps_left == 0)
            orc_job_change(job, ORC_JOB_NEEDS_MET, 0, chance);
    }
}

struct orc_attempt *orc_job_place(struct orc_ws *ws, struct orc_job *job, struct hd_uuid id, const char *worker,
                                  struct hd_uuid session, struct orc_chance *chance) {
    if (!orc_job_change(job, ORC_JOB_PLACE, 0, chance))
        return NULL;
    struct orc_attempt *attempt = orc_ws_add_attempt(ws, id, job);
    attempt->number = ++job->attempts;
    attempt->state = ATT(ASSIGNED);
    attempt->worker = worker;
    attempt->session = session;
    attempt->key = job->key;
    attempt->assigned_ms = attempt->changed_ms = chance->now_ms;
    attempt->dirty = true;
    job->attempt = id;
    return attempt;
}

bool orc_attempt_event_of(int state, enum orc_attempt_event *ret) {
    static const struct {
        int state;
        enum orc_attempt_event event;
    } rows[] = {
        {ATT(RUNNING), ORC_ATTEMPT_START},  {ATT(SUCCEEDED), ORC_ATTEMPT_SUCCEED},  {ATT(FAILED), ORC_ATTEMPT_FAIL},
        {ATT(CANCELLED), ORC_ATTEMPT_STOP}, {ATT(TIMED_OUT), ORC_ATTEMPT_TIME_OUT}, {ATT(LOST), ORC_ATTEMPT_LOSE},
        {ATT(REFUSED), ORC_ATTEMPT_REFUSE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].state == state) {
            *ret = rows[i].event;
            return true;
        }
    }
    return false;
}

// Tells the direct dependents of a job that has just ended.
static void job_wake(struct orc_ws *ws, const struct orc_job *job, struct orc_chance *chance) {
    const Hodei__V1__CompiledJob *spec = job->run->plan->jobs[job->idx];
    for (size_t i = 0; i < spec->n_dependents; i++) {
        struct orc_job *next = orc_ws_job(ws, job->run->id, spec->dependents[i]);
        if (!next || next->state != JOB(WAITING))
            continue;
        if (job->state != JOB(SUCCEEDED)) {
            orc_job_change(next, ORC_JOB_NEED_UNMET, 0, chance);
            continue;
        }
        next->deps_left -= next->deps_left > 0;
        next->dirty = true;
        if (next->deps_left == 0)
            orc_job_change(next, ORC_JOB_NEEDS_MET, 0, chance);
    }
}

static void attempt_note(struct orc_attempt *attempt, const struct orc_attempt_news *news, int64_t now_ms) {
    struct orc_job *job = attempt->job;
    attempt->changed_ms = now_ms;
    attempt->dirty = true;
    if (news->started_ms) {
        attempt->started_ms = news->started_ms;
        job->dirty |= job->started_ms == 0;
        job->started_ms = job->started_ms ? job->started_ms : news->started_ms;
        job->run->started_ms = job->run->started_ms ? job->run->started_ms : news->started_ms;
    }
    if (!orc_attempt_ended(attempt->state))
        return;
    attempt->ended_ms = news->ended_ms ? news->ended_ms : now_ms;
    attempt->exit_code = news->exit_code;
    attempt->signal = news->signal;
    attempt->cause = news->cause;
    attempt->message = news->message ? news->message : "";
    attempt->user_ms = news->user_ms;
    attempt->system_ms = news->system_ms;
    attempt->max_rss_bytes = news->max_rss_bytes;
    attempt->log_frames = news->log_frames;
}

static enum orc_job_event job_event_of(enum orc_attempt_event event) {
    static const enum orc_job_event events[ORC_ATTEMPT_EVENTS] = {
        [ORC_ATTEMPT_SUCCEED] = ORC_JOB_SUCCEED, [ORC_ATTEMPT_FAIL] = ORC_JOB_FAIL,
        [ORC_ATTEMPT_STOP] = ORC_JOB_STOP,       [ORC_ATTEMPT_TIME_OUT] = ORC_JOB_TIME_OUT,
        [ORC_ATTEMPT_LOSE] = ORC_JOB_LOSE,       [ORC_ATTEMPT_REFUSE] = ORC_JOB_REFUSE,
    };
    return events[event];
}

bool orc_attempt_change(struct orc_ws *ws, struct orc_attempt *attempt, const struct orc_attempt_news *news,
                        struct orc_chance *chance) {
    enum orc_attempt_event event = news->event;
    if (event == ORC_ATTEMPT_REFUSE && attempt->state == ATT(RUNNING))
        event = ORC_ATTEMPT_LOSE; // an agent that refuses what it has started no longer knows it
    const struct orc_rule *rule = orc_machine_next(&orc_attempt_machine, attempt->state, event, 0);
    if (!rule)
        return false;
    struct orc_job *job = attempt->job;
    attempt->state = rule->to;
    attempt_note(attempt, news, chance->now_ms);
    job->run->dirty = true;
    if (!orc_attempt_ended(attempt->state) || !hd_uuid_eq(job->attempt, attempt->id))
        return true;
    unsigned facts = 0;
    if (event == ORC_ATTEMPT_LOSE) {
        const Hodei__V1__CompiledJob *spec = job->run->plan->jobs[job->idx];
        if (spec->on_worker_lost == HODEI__V1__ON_WORKER_LOST__ON_WORKER_LOST_REQUEUE && job->losses < ORC_MAX_LOSSES)
            facts |= ORC_MAY_TRY_AGAIN;
        job->losses++;
    } else if (event == ORC_ATTEMPT_REFUSE && job->attempts < ORC_MAX_ATTEMPTS) {
        facts |= ORC_MAY_TRY_AGAIN;
    }
    if (orc_job_change(job, job_event_of(event), facts, chance) && orc_job_ended(job->state))
        job_wake(ws, job, chance);
    return true;
}

static bool newly_skipped(const struct orc_job *job) {
    return job->state == JOB(SKIPPED) && job->was != JOB(SKIPPED);
}

// One walk over the graph of a run, from its jobs that were skipped just now.
struct reach {
    const struct orc_ws *ws;
    const struct orc_run *run;
    bool *seen;
    uint32_t *stack;
    size_t depth;
    struct orc_job_ref *refs;
    size_t n, cap;
};

static void reach_below(struct reach *reach, uint32_t idx) {
    const Hodei__V1__CompiledJob *spec = reach->run->plan->jobs[idx];
    for (size_t i = 0; i < spec->n_dependents; i++) {
        uint32_t next = spec->dependents[i];
        if (reach->seen[next])
            continue;
        reach->seen[next] = true;
        reach->stack[reach->depth++] = next;
    }
}

static void reach_run(struct reach *reach) {
    struct hd_arena *arena = reach->ws->arena;
    size_t total = reach->run->plan->n_jobs;
    reach->seen = HD_NEW_ARRAY(arena, total, bool);
    reach->stack = HD_NEW_ARRAY(arena, total, uint32_t);
    for (size_t i = 0; i < reach->ws->jobs.n; i++)
        if (reach->ws->jobs.items[i]->run == reach->run && newly_skipped(reach->ws->jobs.items[i]))
            reach_below(reach, reach->ws->jobs.items[i]->idx);
    while (reach->depth > 0) {
        uint32_t idx = reach->stack[--reach->depth];
        HD_GROW(arena, reach->refs, reach->n, reach->cap);
        reach->refs[reach->n++] = (struct orc_job_ref){reach->run->id, idx};
        reach_below(reach, idx);
    }
}

void orc_skip_reach(const struct orc_ws *ws, struct orc_job_ref **ret, size_t *ret_n) {
    struct reach reach = {.ws = ws};
    const struct orc_run *done = NULL; // jobs of one run mostly stand together
    for (size_t i = 0; i < ws->jobs.n; i++) {
        const struct orc_job *job = ws->jobs.items[i];
        if (!newly_skipped(job) || job->run == done)
            continue;
        done = reach.run = job->run;
        reach_run(&reach);
    }
    *ret = reach.refs;
    *ret_n = orc_refs_unique(reach.refs, reach.n);
}

void orc_skip(struct orc_ws *ws, const struct orc_job_ref *refs, size_t n, struct orc_chance *chance) {
    for (size_t i = 0; i < n; i++) {
        struct orc_job *job = orc_ws_job(ws, refs[i].run, refs[i].idx);
        if (job)
            orc_job_change(job, ORC_JOB_NEED_UNMET, 0, chance);
    }
}

void orc_run_cancel(struct orc_ws *ws, struct orc_run *run, struct orc_chance *chance) {
    orc_run_change(run, ORC_RUN_CANCEL, 0, chance->now_ms);
    for (size_t i = 0; i < ws->jobs.n; i++)
        if (ws->jobs.items[i]->run == run && ws->jobs.items[i]->state != JOB(CANCELLING))
            orc_job_change(ws->jobs.items[i], ORC_JOB_CANCEL, 0, chance);
}
