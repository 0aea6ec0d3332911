#include "adapter/bus.h"
#include "base/names.h"
#include "service/holder.h"
#include "services/orchestrator/finish.h"

#define MAX_ITEMS 500

// One message under construction for each tenant.
struct event {
    struct event *next;
    const char *tenant;
    Hodei__V1__RunsChanged runs;
    Hodei__V1__JobsEnded jobs;
    Hodei__V1__JobsHeld held;
    size_t cap_runs, cap_jobs, cap_held;
};

static void send_runs(struct hd_ctx *cx, struct event *event) {
    if (event->runs.n_runs)
        hd_publish(cx, hd_subject_event(cx->arena, event->tenant, "run", "changed"), &event->runs.base);
    event->runs = (Hodei__V1__RunsChanged)HODEI__V1__RUNS_CHANGED__INIT;
    event->cap_runs = 0;
}

static void send_jobs(struct hd_ctx *cx, struct event *event) {
    if (event->jobs.n_jobs)
        hd_publish(cx, hd_subject_event(cx->arena, event->tenant, "job", "ended"), &event->jobs.base);
    event->jobs = (Hodei__V1__JobsEnded)HODEI__V1__JOBS_ENDED__INIT;
    event->cap_jobs = 0;
}

static void send_held(struct hd_ctx *cx, struct event *event) {
    if (event->held.n_jobs)
        hd_publish(cx, hd_subject_event(cx->arena, event->tenant, "job", "held"), &event->held.base);
    event->held = (Hodei__V1__JobsHeld)HODEI__V1__JOBS_HELD__INIT;
    event->cap_held = 0;
}

static struct event *event_for(struct hd_ctx *cx, struct event **list, const char *tenant) {
    struct event *event = *list;
    while (event && strcmp(event->tenant, tenant) != 0)
        event = event->next;
    if (event)
        return event;
    event = HD_NEW(cx->arena, struct event);
    *event = (struct event){.next = *list,
                            .tenant = tenant,
                            .runs = HODEI__V1__RUNS_CHANGED__INIT,
                            .jobs = HODEI__V1__JOBS_ENDED__INIT,
                            .held = HODEI__V1__JOBS_HELD__INIT};
    return *list = event;
}

static void add_run(struct hd_ctx *cx, struct event **list, const struct orc_run *run) {
    struct event *event = event_for(cx, list, run->tenant);
    Hodei__V1__RunChange *change = HD_NEW(cx->arena, Hodei__V1__RunChange);
    *change = (Hodei__V1__RunChange)HODEI__V1__RUN_CHANGE__INIT;
    change->id = orc_id_text(cx->arena, run->id);
    change->pipeline = (char *)run->pipeline;
    change->state = (Hodei__V1__RunState)run->state;
    change->at_ms = cx->now.wall_ms;
    HD_GROW(cx->arena, event->runs.runs, event->runs.n_runs, event->cap_runs);
    event->runs.runs[event->runs.n_runs++] = change;
    if (event->runs.n_runs == MAX_ITEMS)
        send_runs(cx, event);
}

static int64_t span(int64_t from, int64_t to) { // clocks of two machines
    return from && to > from ? to - from : 0;
}

static void add_job(struct hd_ctx *cx, struct event **list, const struct orc_ws *ws, const struct orc_job *job) {
    struct event *event = event_for(cx, list, job->run->tenant);
    const struct orc_attempt *attempt = job->attempts ? orc_ws_attempt(ws, job->attempt) : NULL;
    Hodei__V1__JobEnd *end = HD_NEW(cx->arena, Hodei__V1__JobEnd);
    *end = (Hodei__V1__JobEnd)HODEI__V1__JOB_END__INIT;
    end->run = orc_id_text(cx->arena, job->run->id);
    end->job = (char *)(uintptr_t)orc_job_name(cx->arena, job);
    end->pipeline = (char *)job->run->pipeline;
    end->state = (Hodei__V1__JobState)job->state;
    end->queued_ms = span(job->queued_ms, job->started_ms);
    int64_t started = 0, ended = 0;
    if (attempt)
        orc_attempt_times(attempt, &started, &ended);
    end->ran_ms = span(started, ended);
    HD_GROW(cx->arena, event->jobs.jobs, event->jobs.n_jobs, event->cap_jobs);
    event->jobs.jobs[event->jobs.n_jobs++] = end;
    if (event->jobs.n_jobs == MAX_ITEMS)
        send_jobs(cx, event);
}

static void add_held(struct hd_ctx *cx, struct event **list, const struct orc_ws *ws, const struct orc_job *job) {
    struct event *event = event_for(cx, list, job->run->tenant);
    const struct orc_attempt *attempt = orc_ws_attempt(ws, job->attempt);
    Hodei__V1__JobHeld *held = HD_NEW(cx->arena, Hodei__V1__JobHeld);
    *held = (Hodei__V1__JobHeld)HODEI__V1__JOB_HELD__INIT;
    held->run = orc_id_text(cx->arena, job->run->id);
    held->job = (char *)(uintptr_t)orc_job_name(cx->arena, job);
    held->pipeline = (char *)job->run->pipeline;
    held->worker = attempt ? (char *)attempt->worker : held->worker;
    held->since_ms = attempt ? attempt->gone_ms : 0;
    HD_GROW(cx->arena, event->held.jobs, event->held.n_jobs, event->cap_held);
    event->held.jobs[event->held.n_jobs++] = held;
    if (event->held.n_jobs == MAX_ITEMS)
        send_held(cx, event);
}

void orc_events(struct hd_ctx *cx, const struct orc_ws *ws) {
    struct event *list = NULL;
    for (size_t i = 0; i < ws->n_tenants; i++)
        if (ws->tenants[i]->crossed)
            hd_quota_tell(cx, ws->tenants[i]->name, &ws->tenants[i]->limit, &ws->tenants[i]->used,
                          ws->tenants[i]->crossed);
    for (size_t i = 0; i < ws->runs.n; i++) {
        const struct orc_run *run = ws->runs.items[i];
        if (run->locked && !run->duplicate && run->state != run->was) {
            add_run(cx, &list, run);
            orc_count(run->was == 0 ? ORC_M_RUNS_STARTED : ORC_M_RUNS_ENDED,
                      run->was == 0 || orc_run_ended(run->state));
        }
    }
    for (size_t i = 0; i < ws->jobs.n; i++)
        if (orc_job_ended(ws->jobs.items[i]->state) && !orc_job_ended(ws->jobs.items[i]->was) &&
            !(ws->jobs.items[i]->flags & ORC_KEPT))
            add_job(cx, &list, ws, ws->jobs.items[i]);
    for (size_t i = 0; i < ws->jobs.n; i++)
        if ((ws->jobs.items[i]->flags ^ ws->jobs.items[i]->was_flags) & ORC_WORKER_GONE && ws->jobs.items[i]->was)
            add_held(cx, &list, ws, ws->jobs.items[i]);
    for (; list; list = list->next) {
        send_held(cx, list);
        send_runs(cx, list);
        send_jobs(cx, list);
    }
}
