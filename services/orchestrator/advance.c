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
    job->due_ms = 0;
    run->dirty = run->amended = true;
    if (job->children) // its jobs count, and it does not
        return;
    bool failed = (job->state == JOB(FAILED) || job->state == JOB(TIMED_OUT)) && !(job->flags & ORC_ALLOWED);
    run->ended++;
    run->failed += failed;
    run->succeeded += !failed && job->state != JOB(CANCELLED);
}

// An end that somebody took back.
static void job_uncount_end(struct orc_job *job) {
    struct orc_run *run = job->run;
    bool cancelled = job->ended_state == JOB(CANCELLED);
    bool failed =
        (job->ended_state == JOB(FAILED) || job->ended_state == JOB(TIMED_OUT)) && !(job->flags & ORC_ALLOWED);
    run->dirty = run->amended = true;
    job->ended_ms = 0;
    job->cause = 0;
    job->message = "";
    if (!job->children) {
        run->ended--;
        run->failed -= failed;
        run->succeeded -= !failed && !cancelled;
    }
    job->flags &= ~(uint32_t)(ORC_ALLOWED | ORC_IN_GROUP);
    job->told = false;
}

static int64_t queue_deadline(const struct orc_job *job, int64_t now_ms) {
    int64_t limit_ms = job->run->plan ? orc_job_spec(job)->queue_timeout_ms : 0;
    return limit_ms ? now_ms + limit_ms : 0;
}

// What a job that becomes QUEUED waits for before quota. Its queue_timeout counts when nothing else holds it.
static void job_hold(struct orc_job *job, int64_t now_ms) {
    const Hodei__V1__Approval *approval = job->run->plan ? orc_job_spec(job)->approval : NULL;
    job->hold = job->run->paused ? ORC_HOLD_PAUSE : 0;
    if (job->run->plan && orc_job_spec(job)->concurrency && !(job->flags & ORC_IN_GROUP))
        job->hold |= ORC_HOLD_GROUP;
    if (approval && !(job->flags & ORC_APPROVED)) {
        job->hold |= ORC_HOLD_APPROVAL;
        job->due_ms = approval->timeout_ms ? now_ms + approval->timeout_ms : 0;
        return;
    }
    job->due_ms = job->hold ? 0 : queue_deadline(job, now_ms);
}

void orc_job_release(struct orc_job *job, enum orc_hold hold, int64_t now_ms) {
    if (!(job->hold & hold))
        return;
    job->hold &= ~(uint32_t)hold;
    job->dirty = true;
    if (hold != ORC_HOLD_PAUSE || job->hold == 0)
        job->due_ms = job->hold ? 0 : queue_deadline(job, now_ms);
}

bool orc_job_change(struct orc_job *job, enum orc_job_event event, unsigned facts, struct orc_chance *chance) {
    const struct orc_rule *rule = orc_machine_next(&orc_job_machine, job->state, event, facts);
    if (!rule)
        return false;
    job->ended_state = job->state;
    job->state = rule->to;
    job->dirty = true;
    if (rule->from != rule->to && orc_job_ended(rule->from))
        job_uncount_end(job);
    if (rule->to == JOB(QUEUED)) {
        job->queued_ms = chance->now_ms;
        job_hold(job, chance->now_ms);
    } else if (rule->to == JOB(READY)) {
        job->key = new_key(chance->rng);
        job->ready_ms = chance->now_ms;
    } else if (rule->to == JOB(ACTIVE)) {
        job->due_ms = 0;
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
    run->dirty = run->amended = true;
    run->due_ms = 0; // whatever it becomes, its time no longer counts
    if (orc_run_ended(rule->to))
        run->ended_ms = now_ms;
    return true;
}

void orc_run_settle(struct orc_run *run, int64_t now_ms) {
    if (orc_run_ended(run->state) || run->ended < run->total)
        return;
    unsigned facts =
        (run->succeeded == run->total ? ORC_ALL_SUCCEEDED : 0) | (run->failed ? ORC_SOME_FAILED : 0) |
        (run->cause == HODEI__V1__CAUSE__CAUSE_RUN_TIMEOUT || run->cause == HODEI__V1__CAUSE__CAUSE_GROUP_FULL
             ? ORC_OUT_OF_TIME
             : 0);
    orc_run_change(run, ORC_RUN_ALL_ENDED, facts, now_ms);
}

void orc_run_begin(struct orc_run *run, int64_t now_ms) {
    size_t n_main = orc_plan_main(run->plan);
    run->total = run->rows = (uint32_t)run->plan->n_jobs;
    run->main_left = n_main < run->plan->n_jobs ? (uint32_t)n_main : 0;
    run->due_ms = run->plan->timeout_ms ? now_ms + run->plan->timeout_ms : 0;
    run->held = run->plan->concurrency != NULL;
}

void orc_run_expand(struct orc_ws *ws, struct orc_run *run, struct orc_chance *chance) {
    const Hodei__V1__CompiledPipeline *plan = run->plan;
    size_t n_main = orc_plan_main(plan);
    orc_run_begin(run, chance->now_ms);
    for (uint32_t i = 0; i < plan->n_jobs; i++) {
        const Hodei__V1__CompiledJob *spec = plan->jobs[i];
        struct orc_job *job = orc_ws_add_job(ws, run, i);
        job->pool = spec->pool;
        job->priority = spec->priority;
        job->state = JOB(WAITING);
        job->deps_left = (uint32_t)spec->n_needs + (i >= n_main); // finally waits for all others together, too
        job->outputs = "";
        job->dirty = true;
    }
}

const char *orc_job_name(struct hd_arena *arena, const struct orc_job *job) {
    const char *name = orc_job_spec(job)->name;
    return job->ordinal ? hd_arena_printf(arena, "%s.%u", name, job->ordinal) : name;
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

void orc_attempt_times(const struct orc_attempt *attempt, int64_t *ret_started_ms, int64_t *ret_ended_ms) {
    int64_t started = attempt->started_ms, ended = attempt->ended_ms;
    int64_t first = attempt->assigned_ms, last = attempt->changed_ms > first ? attempt->changed_ms : first;
    int64_t ahead = ended > last ? ended - last : 0, behind = started && started < first ? first - started : 0;
    if (started)
        started += behind ? behind : -ahead;
    if (ended)
        ended = ahead ? last : ended + behind;
    started = !started ? 0 : started < first ? first : started > last ? last : started;
    *ret_started_ms = started;
    *ret_ended_ms = !ended ? 0 : ended > last ? last : ended < started ? started : ended;
}

static void note_start(const struct orc_attempt *attempt) {
    struct orc_job *job = attempt->job;
    int64_t started, ended;
    orc_attempt_times(attempt, &started, &ended);
    job->dirty |= job->started_ms == 0;
    job->started_ms = job->started_ms ? job->started_ms : started;
    job->run->started_ms = job->run->started_ms ? job->run->started_ms : started;
}

static void attempt_note(struct orc_attempt *attempt, const struct orc_attempt_news *news, int64_t now_ms) {
    attempt->changed_ms = now_ms;
    attempt->dirty = true;
    if (news->started_ms)
        attempt->started_ms = news->started_ms;
    if (orc_attempt_ended(attempt->state))
        attempt->ended_ms = news->ended_ms ? news->ended_ms : now_ms;
    if (news->started_ms)
        note_start(attempt);
    if (!orc_attempt_ended(attempt->state))
        return;
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

static void wait_to_retry(struct orc_job *job, const Hodei__V1__Retry *retry, int64_t now_ms) {
    int64_t delay_ms = orc_retry_delay_ms(retry, job->retries++);
    if (delay_ms <= 0)
        return;
    job->hold |= ORC_HOLD_BACKOFF;
    job->due_ms = now_ms + delay_ms;
}

// Whether its worker is waited for where it is gone. A job that is being cancelled is not: somebody has decided.
static bool is_waited_for(const struct orc_attempt *attempt) {
    const struct orc_job *job = attempt->job;
    return orc_job_spec(job)->on_worker_lost == HODEI__V1__ON_WORKER_LOST__ON_WORKER_LOST_HOLD &&
           job->state == JOB(ACTIVE) && hd_uuid_eq(job->attempt, attempt->id);
}

static void set_gone(struct orc_attempt *attempt, int64_t gone_ms) {
    struct orc_job *job = attempt->job;
    if (attempt->gone_ms == gone_ms)
        return;
    attempt->gone_ms = gone_ms;
    job->flags = (job->flags & ~(uint32_t)ORC_WORKER_GONE) | (gone_ms ? ORC_WORKER_GONE : 0);
    attempt->dirty = job->dirty = job->run->dirty = true;
}

bool orc_job_give_up(struct orc_ws *ws, struct orc_job *job, enum orc_job_event event, const char *message,
                     struct orc_chance *chance) {
    struct orc_attempt *attempt = orc_ws_attempt(ws, job->attempt);
    const struct orc_attempt_news news = {.cause = HODEI__V1__CAUSE__CAUSE_WORKER_LOST, .message = message};
    if (!(job->flags & ORC_WORKER_GONE) || !attempt || !orc_job_change(job, event, ORC_IS_HELD, chance))
        return false;
    attempt->state = orc_machine_next(&orc_attempt_machine, attempt->state, ORC_ATTEMPT_LOSE, 0)->to;
    attempt_note(attempt, &news, chance->now_ms);
    set_gone(attempt, 0);
    return true;
}

bool orc_attempt_change(struct orc_ws *ws, struct orc_attempt *attempt, const struct orc_attempt_news *news,
                        struct orc_chance *chance) {
    enum orc_attempt_event event = news->event;
    (void)ws;
    if (event == ORC_ATTEMPT_REFUSE && attempt->state == ATT(RUNNING))
        event = ORC_ATTEMPT_LOSE; // an agent that refuses what it has started no longer knows it
    if (event == ORC_ATTEMPT_GONE && !is_waited_for(attempt))
        event = ORC_ATTEMPT_LOSE;
    const struct orc_rule *rule =
        orc_machine_next(&orc_attempt_machine, attempt->state, event, attempt->gone_ms ? ORC_IS_HELD : 0);
    bool adopted =
        event == ORC_ATTEMPT_BACK && news->incarnation > attempt->incarnation && !orc_attempt_ended(attempt->state);
    if (adopted) {
        attempt->incarnation = news->incarnation;
        attempt->dirty = true;
    }
    if (!rule)
        return adopted;
    struct orc_job *job = attempt->job;
    if (event == ORC_ATTEMPT_GONE) {
        set_gone(attempt, attempt->gone_ms ? attempt->gone_ms : chance->now_ms);
        return true;
    }
    set_gone(attempt, 0); // whatever it says, it is there
    if (event == ORC_ATTEMPT_BACK)
        return true;
    attempt->state = rule->to;
    attempt_note(attempt, news, chance->now_ms);
    job->run->dirty = true;
    if (!orc_attempt_ended(attempt->state) || !hd_uuid_eq(job->attempt, attempt->id))
        return true;
    unsigned facts = 0;
    const Hodei__V1__CompiledJob *spec = orc_job_spec(job);
    if (spec->retry && spec->retry->avoid_worker && event != ORC_ATTEMPT_SUCCEED && event != ORC_ATTEMPT_REFUSE)
        job->avoid_worker = attempt->worker;
    if (event == ORC_ATTEMPT_LOSE) {
        if (spec->on_worker_lost == HODEI__V1__ON_WORKER_LOST__ON_WORKER_LOST_REQUEUE && job->losses < ORC_MAX_LOSSES)
            facts |= ORC_MAY_TRY_AGAIN;
        job->losses++;
    } else if (event == ORC_ATTEMPT_REFUSE && job->attempts < ORC_MAX_ATTEMPTS) {
        facts |= ORC_MAY_TRY_AGAIN;
    }
    bool failed = event == ORC_ATTEMPT_FAIL || event == ORC_ATTEMPT_TIME_OUT;
    bool again = failed && orc_retry_wanted(spec->retry, job->retries, news);
    if (failed || (event == ORC_ATTEMPT_LOSE && !facts))
        job->flags |= orc_failure_allowed(spec, news->exit_code) && !again ? ORC_ALLOWED : 0;
    if (!orc_job_change(job, job_event_of(event), facts | (again ? ORC_MAY_TRY_AGAIN : 0), chance))
        return true;
    if (news->outputs && *news->outputs && orc_job_ended(job->state)) {
        job->outputs = news->outputs;
        job->outputs_dirty = true;
    }
    if (job->state == JOB(QUEUED))
        wait_to_retry(job, spec->retry, chance->now_ms);
    return true;
}

bool orc_job_due(struct orc_job *job, struct orc_chance *chance) {
    if (!job->due_ms || job->due_ms > chance->now_ms)
        return false;
    job->due_ms = 0;
    job->dirty = true;
    if (job->hold & (ORC_HOLD_BACKOFF | ORC_HOLD_TOO_LARGE)) {
        orc_job_release(job, job->hold & ORC_HOLD_BACKOFF ? ORC_HOLD_BACKOFF : ORC_HOLD_TOO_LARGE, chance->now_ms);
        return true;
    }
    bool asked = job->hold & ORC_HOLD_APPROVAL;
    job->hold = 0;
    if (!orc_job_change(job, ORC_JOB_BREAK, 0, chance))
        return true;
    job->cause = asked ? HODEI__V1__CAUSE__CAUSE_APPROVAL_TIMEOUT : HODEI__V1__CAUSE__CAUSE_QUEUE_TIMEOUT;
    job->message = asked ? "nobody approved it in time" : "it waited longer than its queue_timeout";
    return true;
}

bool orc_job_spared(const struct orc_job *job) {
    return job->state == JOB(ACTIVE) && orc_job_spec(job)->uninterruptible;
}

void orc_run_cancel(struct orc_ws *ws, struct orc_run *run, unsigned how, struct orc_chance *chance) {
    size_t n_main = orc_plan_main(run->plan);
    orc_run_change(run, ORC_RUN_CANCEL, 0, chance->now_ms);
    run->held = run->paused = false; // so that what always runs last can
    for (size_t i = 0; i < ws->jobs.n; i++) {
        struct orc_job *job = ws->jobs.items[i];
        if (job->run != run || job->state == JOB(CANCELLING) || job->children ||
            (!(how & ORC_CANCEL_FINALLY) && job->spec >= n_main) || (how & ORC_CANCEL_SPARES && orc_job_spared(job)))
            continue;
        job->hold = 0;
        orc_job_change(job, ORC_JOB_CANCEL, 0, chance);
    }
}
