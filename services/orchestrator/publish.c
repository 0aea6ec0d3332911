#include "adapter/bus.h"
#include "base/names.h"
#include "services/orchestrator/finish.h"

#define MAX_ITEMS 500
#define MAX_BYTES (256u << 10) // far below what a message may have; one item alone may be more

struct orc_feed {
    struct orc_feed *next;
    Hodei__V1__PoolFeed msg;
    size_t items, bytes;
    size_t cap_ready, cap_results, cap_held, cap_freed, cap_withdrawn;
};
struct orc_work {
    struct orc_work *next;
    const char *worker;
    Hodei__V1__Work msg;
    size_t items, bytes;
    size_t cap_assignments, cap_cancels;
};

char *orc_id_text(struct hd_arena *arena, struct hd_uuid id) {
    char *text = hd_arena_alloc(arena, HD_UUID_TEXT);
    hd_uuid_format(id, text);
    return text;
}

// --- feeds of pools -------------------------------------------------------------------------------------------------------------
static void feed_send(struct hd_ctx *cx, struct orc_feed *feed) {
    if (feed->items == 0 && !feed->msg.reset)
        return;
    hd_publish(cx, hd_subject(cx->arena, HD_SUBJECT_READY, feed->msg.pool), &feed->msg.base);
    char *pool = feed->msg.pool;
    struct orc_feed *next = feed->next;
    *feed = (struct orc_feed){.next = next, .msg = HODEI__V1__POOL_FEED__INIT};
    feed->msg.pool = pool;
}

static struct orc_feed *feed_for(struct orc_out *out, struct hd_ctx *cx, const char *pool, size_t bytes) {
    struct orc_feed *feed = out->feeds;
    while (feed && strcmp(feed->msg.pool, pool) != 0)
        feed = feed->next;
    if (!feed) {
        feed = HD_NEW(cx->arena, struct orc_feed);
        *feed = (struct orc_feed){.next = out->feeds, .msg = HODEI__V1__POOL_FEED__INIT};
        feed->msg.pool = hd_arena_strdup(cx->arena, pool);
        out->feeds = feed;
    }
    if (feed->items >= MAX_ITEMS || feed->bytes + bytes > MAX_BYTES)
        feed_send(cx, feed);
    feed->items++;
    feed->bytes += bytes;
    return feed;
}

// Appends to a repeated field of a message under construction.
#define ADD(cx, owner, field, item)                                                                                    \
    do {                                                                                                               \
        HD_GROW((cx)->arena, (owner)->msg.field, (owner)->msg.n_##field, (owner)->cap_##field);                        \
        (owner)->msg.field[(owner)->msg.n_##field++] = (item);                                                         \
    } while (0)

void orc_out_reset(struct orc_out *out, struct hd_ctx *cx, const char *pool, uint64_t epoch) {
    struct orc_feed *feed = feed_for(out, cx, pool, 0);
    feed->items--;
    feed->msg.reset = true;
    feed->msg.epoch = epoch;
}

void orc_out_offer(struct orc_out *out, struct hd_ctx *cx, struct orc_ws *ws, const struct orc_job *job) {
    const Hodei__V1__CompiledJob *spec = orc_job_spec(job);
    Hodei__V1__Label **labels = spec->labels;
    if (orc_job_labels(ws, job, NULL, &labels) != HD_OK)
        labels = spec->labels; // they were right when its needs were met
    Hodei__V1__ReadyJob *ready = HD_NEW(cx->arena, Hodei__V1__ReadyJob);
    *ready = (Hodei__V1__ReadyJob)HODEI__V1__READY_JOB__INIT;
    ready->key = job->key;
    ready->run = orc_id_text(cx->arena, job->run->id);
    ready->job = job->idx;
    ready->tenant = (char *)job->run->tenant;
    const struct orc_tenant *tenant = orc_ws_tenant(ws, job->run->tenant);
    ready->weight = tenant ? tenant->weight : 0;
    ready->priority = job->priority;
    ready->ready_at_ms = job->ready_ms;
    ready->labels = labels; // borrowed: packed before the plan can go
    ready->n_labels = spec->n_labels;
    ready->executor = spec->executor;
    ready->resources = spec->resources;
    ready->tolerations = spec->tolerations;
    ready->n_tolerations = spec->n_tolerations;
    ready->avoid_worker = (char *)(uintptr_t)job->avoid_worker;
    struct orc_feed *feed = feed_for(out, cx, job->pool, protobuf_c_message_get_packed_size(&ready->base));
    ADD(cx, feed, ready, ready);
}

void orc_out_result(struct orc_out *out, struct hd_ctx *cx, const char *pool, uint64_t key, bool accepted) {
    Hodei__V1__PlacementResult *result = HD_NEW(cx->arena, Hodei__V1__PlacementResult);
    *result = (Hodei__V1__PlacementResult)HODEI__V1__PLACEMENT_RESULT__INIT;
    result->key = key;
    result->accepted = accepted;
    struct orc_feed *feed = feed_for(out, cx, pool, 16);
    ADD(cx, feed, results, result);
}

void orc_out_held(struct orc_out *out, struct hd_ctx *cx, const struct orc_pool_entry *entry, const char *pool,
                  const struct orc_run *run) {
    Hodei__V1__HeldPlace *held = HD_NEW(cx->arena, Hodei__V1__HeldPlace);
    *held = (Hodei__V1__HeldPlace)HODEI__V1__HELD_PLACE__INIT;
    held->key = entry->key;
    held->worker = (char *)entry->worker;
    if (run && run->plan && entry->job.idx < run->plan->n_jobs) {
        held->tenant = (char *)run->tenant;
        held->resources = run->plan->jobs[entry->job.idx]->resources;
    }
    struct orc_feed *feed = feed_for(out, cx, pool, protobuf_c_message_get_packed_size(&held->base));
    ADD(cx, feed, held, held);
}

void orc_out_freed(struct orc_out *out, struct hd_ctx *cx, const char *pool, uint64_t key, bool refused) {
    Hodei__V1__FreedPlace *freed = HD_NEW(cx->arena, Hodei__V1__FreedPlace);
    *freed = (Hodei__V1__FreedPlace)HODEI__V1__FREED_PLACE__INIT;
    freed->key = key;
    freed->refused = refused;
    struct orc_feed *feed = feed_for(out, cx, pool, 16);
    ADD(cx, feed, freed, freed);
}

void orc_out_withdrawn(struct orc_out *out, struct hd_ctx *cx, const char *pool, uint64_t key) {
    struct orc_feed *feed = feed_for(out, cx, pool, 8);
    ADD(cx, feed, withdrawn, key);
}

// --- work streams -----------------------------------------------------------------------------------------------------------------
static void work_send(struct hd_ctx *cx, struct orc_work *work) {
    if (work->items == 0)
        return;
    hd_publish(cx, hd_subject(cx->arena, HD_SUBJECT_WORK, work->worker), &work->msg.base);
    *work = (struct orc_work){.next = work->next, .worker = work->worker, .msg = HODEI__V1__WORK__INIT};
}

static struct orc_work *work_for(struct orc_out *out, struct hd_ctx *cx, const char *worker, size_t bytes) {
    struct orc_work *work = out->works;
    while (work && strcmp(work->worker, worker) != 0)
        work = work->next;
    if (!work) {
        work = HD_NEW(cx->arena, struct orc_work);
        *work = (struct orc_work){.next = out->works, .worker = worker, .msg = HODEI__V1__WORK__INIT};
        out->works = work;
    }
    if (work->items >= MAX_ITEMS || (work->items && work->bytes + bytes > MAX_BYTES))
        work_send(cx, work);
    work->items++;
    work->bytes += bytes;
    return work;
}

// The job's environment with the run's on top.
static void env_merge(struct hd_ctx *cx, const struct orc_run *run, const Hodei__V1__CompiledJob *spec,
                      Hodei__V1__Assignment *to) {
    ProtobufCMessage *msg = NULL;
    to->env = spec->env;
    to->n_env = spec->n_env;
    if (run->request_len == 0 || hd_pb_unpack(cx->arena, &hodei__v1__start_run_request__descriptor, run->request,
                                              run->request_len, NULL, &msg) != HD_OK)
        return;
    const Hodei__V1__StartRunRequest *request = (const Hodei__V1__StartRunRequest *)msg;
    to->env = HD_NEW_ARRAY(cx->arena, spec->n_env + request->n_env, Hodei__V1__EnvVar *);
    to->n_env = 0;
    for (size_t i = 0; i < spec->n_env; i++) {
        size_t k = 0;
        while (k < request->n_env && strcmp(request->env[k]->name, spec->env[i]->name) != 0)
            k++;
        if (k == request->n_env)
            to->env[to->n_env++] = spec->env[i];
    }
    for (size_t k = 0; k < request->n_env; k++)
        to->env[to->n_env++] = request->env[k];
}

void orc_out_assign(struct orc_out *out, struct hd_ctx *cx, struct orc_ws *ws, const struct orc_attempt *attempt) {
    const struct orc_run *run = attempt->job->run;
    const Hodei__V1__CompiledJob *spec = orc_job_spec(attempt->job);
    Hodei__V1__Assignment *to = HD_NEW(cx->arena, Hodei__V1__Assignment);
    *to = (Hodei__V1__Assignment)HODEI__V1__ASSIGNMENT__INIT;
    to->attempt = orc_id_text(cx->arena, attempt->id);
    to->session = orc_id_text(cx->arena, attempt->session);
    to->incarnation = attempt->incarnation;
    to->tenant = (char *)run->tenant;
    to->run = orc_id_text(cx->arena, run->id);
    to->job = (char *)(uintptr_t)orc_job_name(cx->arena, attempt->job);
    to->context = (char *)(uintptr_t)orc_job_context(ws, attempt->job);
    to->outputs = spec->outputs;
    to->n_outputs = spec->n_outputs;
    to->exclusive = spec->concurrency || run->plan->concurrency;
    to->job_index = attempt->job->idx;
    to->number = attempt->number;
    to->executor = spec->executor;
    to->steps = spec->steps;
    to->n_steps = spec->n_steps;
    env_merge(cx, run, spec, to);
    to->timeout_ms = spec->timeout_ms;
    to->cancel_grace_ms = spec->cancel_grace_ms;
    to->pipeline = (char *)run->pipeline;
    to->resources = spec->resources;
    struct orc_work *work = work_for(out, cx, attempt->worker, protobuf_c_message_get_packed_size(&to->base));
    ADD(cx, work, assignments, to);
}

void orc_out_cancel(struct orc_out *out, struct hd_ctx *cx, const char *worker, const char *attempt, bool forget) {
    Hodei__V1__CancelAttempt *cancel = HD_NEW(cx->arena, Hodei__V1__CancelAttempt);
    *cancel = (Hodei__V1__CancelAttempt)HODEI__V1__CANCEL_ATTEMPT__INIT;
    cancel->attempt = (char *)attempt;
    cancel->forget = forget;
    struct orc_work *work = work_for(out, cx, worker, HD_UUID_TEXT + 8);
    ADD(cx, work, cancels, cancel);
}

void orc_out_flush(struct hd_ctx *cx, struct orc_out *out) {
    for (struct orc_feed *feed = out->feeds; feed; feed = feed->next)
        feed_send(cx, feed);
    for (struct orc_work *work = out->works; work; work = work->next)
        work_send(cx, work);
}

// --- what the difference of the rows says -----------------------------------------------------------------------------------------
static void job_diff(struct hd_ctx *cx, struct orc_ws *ws, const struct orc_job *job, struct orc_out *out) {
    const int ready = HODEI__V1__JOB_STATE__JOB_STATE_READY, cancelling = HODEI__V1__JOB_STATE__JOB_STATE_CANCELLING;
    if (job->state == ready && (job->was != ready || job->was_key != job->key)) {
        orc_out_offer(out, cx, ws, job);
        orc_count(ORC_M_JOBS_OFFERED, 1);
    }
    if (job->was == ready &&
        (orc_job_ended(job->state) || job->state == HODEI__V1__JOB_STATE__JOB_STATE_QUEUED || job->key != job->was_key))
        orc_out_withdrawn(out, cx, job->pool, job->was_key);
    if (job->state == cancelling && job->was != cancelling) {
        const struct orc_attempt *attempt = orc_ws_attempt(ws, job->attempt);
        if (attempt)
            orc_out_cancel(out, cx, attempt->worker, orc_id_text(cx->arena, attempt->id), false);
    }
    orc_count(ORC_M_JOBS_ENDED, orc_job_ended(job->state) && !orc_job_ended(job->was));
}

static void attempt_diff(struct hd_ctx *cx, struct orc_ws *ws, const struct orc_attempt *attempt, struct orc_out *out) {
    const char *pool = attempt->job->pool;
    if (attempt->was == 0) {
        orc_out_assign(out, cx, ws, attempt);
        orc_out_result(out, cx, pool, attempt->key, true);
        orc_count(ORC_M_JOBS_PLACED, 1);
    } else if (orc_attempt_ended(attempt->state) && !orc_attempt_ended(attempt->was)) {
        orc_out_freed(out, cx, pool, attempt->key, attempt->state == HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_REFUSED);
        orc_count(ORC_M_ATTEMPTS_LOST, attempt->state == HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_LOST);
    }
}

void orc_out_diff(struct hd_ctx *cx, struct orc_ws *ws, struct orc_out *out) {
    for (size_t i = 0; i < ws->attempts.n; i++)
        if (ws->attempts.items[i]->dirty)
            attempt_diff(cx, ws, ws->attempts.items[i], out);
    for (size_t i = 0; i < ws->jobs.n; i++)
        if (ws->jobs.items[i]->dirty && !ws->jobs.items[i]->run->duplicate)
            job_diff(cx, ws, ws->jobs.items[i], out);
}
