#include "services/orchestrator/view.h"

#include "services/orchestrator/explain.h"

#define MAX_REPLY_BYTES (600u << 10) // a message may have 1 MiB; the next page goes on

static char *id_text(struct hd_arena *arena, struct hd_uuid id) {
    char *text = hd_arena_alloc(arena, HD_UUID_TEXT);
    hd_uuid_format(id, text);
    return text;
}

char *orc_view_etag(struct hd_arena *arena, const struct orc_run *run) {
    return hd_arena_printf(arena, "%lld", (long long)run->revision);
}

void orc_view_run(struct hd_arena *arena, const struct orc_run *run, Hodei__V1__Run *ret) {
    ret->id = id_text(arena, run->id);
    ret->pipeline = (char *)run->pipeline;
    ret->version = run->version;
    ret->project = (char *)(uintptr_t)run->project;
    ret->state = (Hodei__V1__RunState)run->state;
    ret->created_at_ms = run->created_ms;
    ret->started_at_ms = run->started_ms;
    ret->ended_at_ms = run->ended_ms;
    ret->jobs_total = run->total;
    ret->jobs_ended = run->ended;
    ret->jobs_failed = run->failed;
    ret->etag = orc_view_etag(arena, run);
    ret->trigger = (char *)(uintptr_t)run->origin;
    ret->actor = (char *)(uintptr_t)run->actor;
    ret->cause = (Hodei__V1__Cause)run->cause;
    ret->paused = run->paused;
    ret->held = run->held;
    if (!hd_uuid_zero(run->started_by))
        ret->started_by = id_text(arena, run->started_by);
    if (!hd_uuid_zero(run->rerun_of))
        ret->rerun_of = id_text(arena, run->rerun_of);
}

static Hodei__V1__Attempt *attempt_view(struct hd_arena *arena, const struct orc_attempt *attempt) {
    Hodei__V1__Attempt *to = HD_NEW(arena, Hodei__V1__Attempt);
    *to = (Hodei__V1__Attempt)HODEI__V1__ATTEMPT__INIT;
    to->id = id_text(arena, attempt->id);
    to->number = attempt->number;
    to->state = (Hodei__V1__AttemptState)attempt->state;
    to->worker = (char *)attempt->worker;
    to->assigned_at_ms = attempt->assigned_ms;
    orc_attempt_times(attempt, &to->started_at_ms, &to->ended_at_ms);
    to->exit_code = attempt->exit_code;
    to->signal = attempt->signal;
    to->cause = (Hodei__V1__Cause)attempt->cause;
    to->message = (char *)attempt->message;
    to->log_frames = attempt->log_frames;
    to->gone_since_ms = attempt->gone_ms;
    if (orc_attempt_ended(attempt->state)) {
        to->usage = HD_NEW(arena, Hodei__V1__Usage);
        *to->usage = (Hodei__V1__Usage)HODEI__V1__USAGE__INIT;
        to->usage->user_ms = attempt->user_ms;
        to->usage->system_ms = attempt->system_ms;
        to->usage->max_rss_bytes = attempt->max_rss_bytes;
    }
    return to;
}

static void holds(struct hd_arena *arena, const struct orc_job *job, Hodei__V1__Job *to) {
    static const struct {
        uint32_t hold;
        const char *name;
    } rows[] = {{ORC_HOLD_PAUSE, "pause"},
                {ORC_HOLD_APPROVAL, "approval"},
                {ORC_HOLD_GROUP, "group"},
                {ORC_HOLD_BACKOFF, "backoff"}};
    to->waits_for = HD_NEW_ARRAY(arena, 5, char *);
    for (size_t i = 0; i < 4; i++)
        if (job->hold & rows[i].hold && !orc_job_ended(job->state))
            to->waits_for[to->n_waits_for++] = (char *)(uintptr_t)rows[i].name;
    if (job->flags & ORC_WORKER_GONE && orc_job_live(job->state))
        to->waits_for[to->n_waits_for++] = (char *)(uintptr_t) "worker";
}

static Hodei__V1__Job *job_view(struct hd_arena *arena, const struct orc_job *job) {
    const Hodei__V1__CompiledPipeline *plan = job->run->plan;
    const Hodei__V1__CompiledJob *spec = orc_job_spec(job);
    Hodei__V1__Job *to = HD_NEW(arena, Hodei__V1__Job);
    *to = (Hodei__V1__Job)HODEI__V1__JOB__INIT;
    to->name = (char *)(uintptr_t)orc_job_name(arena, job);
    to->state = (Hodei__V1__JobState)job->state;
    to->needs = HD_NEW_ARRAY(arena, spec->n_needs, char *);
    to->n_needs = spec->n_needs;
    for (size_t i = 0; i < spec->n_needs; i++)
        to->needs[i] = plan->jobs[spec->needs[i]]->name;
    to->queued_at_ms = job->queued_ms;
    to->started_at_ms = job->started_ms;
    to->ended_at_ms = job->ended_ms;
    to->matrix = (char *)(uintptr_t)job->matrix;
    if (job->parent != ORC_NONE)
        to->matrix_of = spec->name;
    to->matrix_jobs = job->children;
    to->failure_allowed = job->flags & ORC_ALLOWED;
    to->cause = (Hodei__V1__Cause)job->cause;
    to->message = (char *)(uintptr_t)job->message;
    to->retries = job->retries;
    to->approvals = job->approvals;
    to->kept = job->flags & ORC_KEPT;
    holds(arena, job, to);
    to->not_before_ms = job->hold & ORC_HOLD_BACKOFF ? job->due_ms : 0;
    if (job->outputs)
        to->outputs = (char *)(uintptr_t)job->outputs;
    return to;
}

static int by_number(const void *a, const void *b) {
    const Hodei__V1__Attempt *x = *(Hodei__V1__Attempt *const *)a, *y = *(Hodei__V1__Attempt *const *)b;
    return (x->number > y->number) - (x->number < y->number);
}

static void add_attempts(const struct orc_ws *ws, const struct orc_view_page *page, Hodei__V1__Job **views) {
    size_t *caps = HD_NEW_ARRAY(ws->arena, page->limit, size_t);
    for (size_t i = 0; i < ws->attempts.n; i++) {
        const struct orc_attempt *attempt = ws->attempts.items[i];
        uint32_t at = attempt->job->idx - page->from;
        if (attempt->job->run != page->run || attempt->job->idx < page->from || at >= page->limit || !views[at])
            continue;
        HD_GROW(ws->arena, views[at]->attempts, views[at]->n_attempts, caps[at]);
        views[at]->attempts[views[at]->n_attempts++] = attempt_view(ws->arena, attempt);
        if (attempt->gone_ms)
            views[at]->message = (char *)(uintptr_t)orc_gone_text(ws->arena, attempt);
    }
    for (size_t i = 0; i < page->limit; i++)
        if (views[i] && views[i]->n_attempts > 1)
            qsort(views[i]->attempts, views[i]->n_attempts, sizeof(Hodei__V1__Attempt *), by_number);
}

void orc_view_jobs(const struct orc_ws *ws, struct orc_view_page *page) {
    Hodei__V1__Job **views = HD_NEW_ARRAY(ws->arena, page->limit, Hodei__V1__Job *);
    for (size_t i = 0; i < ws->jobs.n; i++) {
        const struct orc_job *job = ws->jobs.items[i];
        if (job->run == page->run && job->idx >= page->from && job->idx - page->from < page->limit)
            views[job->idx - page->from] = job_view(ws->arena, job);
    }
    add_attempts(ws, page, views);
    size_t bytes = 0;
    for (page->n = 0; page->n < page->limit && views[page->n]; page->n++) {
        bytes += protobuf_c_message_get_packed_size(&views[page->n]->base);
        if (bytes > MAX_REPLY_BYTES && page->n > 0)
            break;
    }
    page->jobs = views;
}
