// Everybody whom the simulator plays itself: users, pipelines and observability, on one bus, never crashing. They ask again until they are
// answered, as the real ones do.
#include "tests/sim/sim.h"

enum { ASK_VERSION = 0, ASK_START = 100, ASK_CANCEL = 200, ASK_DECIDE = 300, ASK_LIMITS = 400, ASK_LOST_LATE = 500 };
enum { TAKE_LOGS };
#define ASK_MS 2000
#define JOB_MS 3600000
#define FLOOD_MS 600000 // longer than anybody may be passed over (check.c)

// --- saying ----------------------------------------------------------------------------------------------------------

const char *const sim_tenants[SIM_TENANTS] = {"acme", "zeta"};

static void ask_of(struct sim *sim, const char *service, const char *method, const char *tenant, const char *key,
                   const ProtobufCMessage *body, int kind) {
    Hodei__V1__RpcRequest msg = HODEI__V1__RPC_REQUEST__INIT;
    Hodei__V1__Principal principal = HODEI__V1__PRINCIPAL__INIT;
    uint8_t *data;
    size_t len;
    principal.subject = (char *)(uintptr_t) "user";
    principal.tenant = (char *)(uintptr_t)tenant;
    if (*tenant)
        msg.principal = &principal;
    msg.idempotency_key = (char *)(uintptr_t)key;
    msg.timeout_ms = ASK_MS;
    hd_pb_pack(&sim->arena, body, &msg.body.data, &msg.body.len);
    hd_pb_pack(&sim->arena, &msg.base, &data, &len);
    sim->peer->ops->ask(sim->peer, hd_subject_rpc(&sim->arena, service, method), data, len, kind, 0, ASK_MS);
}

static void ask(struct sim *sim, const char *method, const char *tenant, const char *key, const ProtobufCMessage *body,
                int kind) {
    ask_of(sim, "orchestrator", method, tenant, key, body, kind);
}

// --- pipelines -------------------------------------------------------------------------------------------------------

static void add_edge(struct hd_arena *arena, Hodei__V1__CompiledPipeline *plan, uint32_t from, uint32_t to) {
    Hodei__V1__CompiledJob *first = plan->jobs[from], *second = plan->jobs[to];
    if (!first->dependents)
        first->dependents = HD_NEW_ARRAY(arena, SIM_JOBS, uint32_t);
    if (!second->needs)
        second->needs = HD_NEW_ARRAY(arena, SIM_JOBS, uint32_t);
    first->dependents[first->n_dependents++] = to;
    second->needs[second->n_needs++] = from;
}

static Hodei__V1__Resources *make_resources(struct sim *sim) {
    Hodei__V1__Resources *resources = HD_NEW(&sim->arena, Hodei__V1__Resources);
    *resources = (Hodei__V1__Resources)HODEI__V1__RESOURCES__INIT;
    resources->cpu_milli = sim_between(sim, 1, SIM_CPU_MILLI);
    resources->memory_bytes = sim_between(sim, 0, 10);
    return resources;
}

static Hodei__V1__Concurrency *make_concurrency(struct sim *sim) {
    Hodei__V1__Concurrency *rule = HD_NEW(&sim->arena, Hodei__V1__Concurrency);
    *rule = (Hodei__V1__Concurrency)HODEI__V1__CONCURRENCY__INIT;
    rule->group = (char *)(uintptr_t)SIM_GROUP;
    rule->limit = sim->group_slots;
    rule->order = hd_rng_below(&sim->rng, 2) ? HODEI__V1__CONCURRENCY__ORDER__ORDER_READY
                                             : HODEI__V1__CONCURRENCY__ORDER__ORDER_CREATED;
    return rule;
}

static Hodei__V1__Retry *make_retry(struct sim *sim) {
    Hodei__V1__Retry *retry = HD_NEW(&sim->arena, Hodei__V1__Retry);
    *retry = (Hodei__V1__Retry)HODEI__V1__RETRY__INIT;
    retry->limit = (uint32_t)sim_between(sim, 1, 3);
    retry->initial_ms = sim_between(sim, 0, 2000);
    retry->factor_milli = 2000;
    retry->max_ms = 4000;
    return retry;
}

static int make_on_worker_lost(struct sim *sim, bool *ret_holds) {
    uint64_t which = hd_rng_below(&sim->rng, 5);
    *ret_holds = which == 0;
    if (*ret_holds && sim->mutant != MUTANT_HOLD)
        return HODEI__V1__ON_WORKER_LOST__ON_WORKER_LOST_HOLD;
    return which == 1 ? HODEI__V1__ON_WORKER_LOST__ON_WORKER_LOST_FAIL
                      : HODEI__V1__ON_WORKER_LOST__ON_WORKER_LOST_REQUEUE;
}

static Hodei__V1__CompiledJob *make_job(struct sim *sim, uint32_t i) {
    struct hd_arena *arena = &sim->arena;
    Hodei__V1__CompiledJob *job = HD_NEW(arena, Hodei__V1__CompiledJob);
    *job = (Hodei__V1__CompiledJob)HODEI__V1__COMPILED_JOB__INIT;
    job->name = hd_arena_printf(arena, "j%u", i);
    job->pool = (char *)(uintptr_t) "default";
    job->executor = HODEI__V1__EXECUTOR__EXECUTOR_SHELL;
    job->steps = HD_NEW_ARRAY(arena, 1, Hodei__V1__Step *);
    job->steps[0] = HD_NEW(arena, Hodei__V1__Step);
    *job->steps[0] = (Hodei__V1__Step)HODEI__V1__STEP__INIT;
    job->steps[0]->script = (char *)(uintptr_t) "true";
    job->n_steps = 1;
    job->timeout_ms = JOB_MS;
    job->cancel_grace_ms = 1000;
    job->on_worker_lost = HODEI__V1__ON_WORKER_LOST__ON_WORKER_LOST_REQUEUE;
    return job;
}

static void make_pipeline(struct sim *sim, struct sim_pipeline *pipeline, size_t number) {
    struct hd_arena *arena = &sim->arena;
    Hodei__V1__CompiledPipeline *plan = HD_NEW(arena, Hodei__V1__CompiledPipeline);
    snprintf(pipeline->name, sizeof(pipeline->name), "p%zu", number);
    *plan = (Hodei__V1__CompiledPipeline)HODEI__V1__COMPILED_PIPELINE__INIT;
    pipeline->tenant = (unsigned)hd_rng_below(&sim->rng, SIM_TENANTS);
    plan->tenant = (char *)(uintptr_t)sim_tenants[pipeline->tenant];
    plan->name = pipeline->name;
    plan->version = 1;
    plan->project = (char *)(uintptr_t)(hd_rng_below(&sim->rng, 2) ? SIM_PROJECT : "default");
    plan->n_jobs = (size_t)sim_between(sim, 1, SIM_JOBS);
    plan->jobs = HD_NEW_ARRAY(arena, plan->n_jobs, Hodei__V1__CompiledJob *);
    for (uint32_t i = 0; i < plan->n_jobs; i++) {
        Hodei__V1__CompiledJob *job = plan->jobs[i] = make_job(sim, i);
        if (hd_rng_below(&sim->rng, 2))
            job->resources = make_resources(sim);
        if (hd_rng_below(&sim->rng, 4) == 0)
            job->retry = make_retry(sim);
        if (hd_rng_below(&sim->rng, 8) == 0)
            job->concurrency = make_concurrency(sim);
        plan->has_groups |= job->concurrency != NULL;
        job->on_worker_lost = (Hodei__V1__OnWorkerLost)make_on_worker_lost(sim, &pipeline->holds[i]);
        for (uint32_t k = 0; k < i; k++)
            if (hd_rng_below(&sim->rng, 3) == 0)
                add_edge(arena, plan, k, i);
    }
    if (number > 0 && pipeline->tenant == pipeline[-1].tenant &&
        hd_rng_below(&sim->rng, 2)) { // on.pipeline: the one before, so that no loop begins
        static const uint32_t masks[] = {1, 2, 1 | 2 | 8};
        plan->on_pipeline = HD_NEW_ARRAY(arena, 1, Hodei__V1__PipelineTrigger *);
        plan->on_pipeline[0] = HD_NEW(arena, Hodei__V1__PipelineTrigger);
        *plan->on_pipeline[0] = (Hodei__V1__PipelineTrigger)HODEI__V1__PIPELINE_TRIGGER__INIT;
        plan->on_pipeline[0]->name = sim->pipelines[number - 1].name;
        plan->on_pipeline[0]->accepts = masks[hd_rng_below(&sim->rng, 3)];
        plan->n_on_pipeline = 1;
    }
    pipeline->plan = plan;
}

// Many small jobs of one tenant, for as long as others have not ended: nobody may starve by it.
static void make_flood(struct sim *sim) {
    struct hd_arena *arena = &sim->arena;
    struct sim_pipeline *pipeline = &sim->pipelines[sim->n_pipelines];
    Hodei__V1__CompiledPipeline *plan;
    make_pipeline(sim, pipeline, sim->n_pipelines);
    plan = pipeline->plan;
    plan->project = (char *)(uintptr_t) "default";
    plan->n_on_pipeline = 0;
    plan->has_groups = false;
    plan->n_jobs = SIM_FLOOD_JOBS;
    plan->jobs = HD_NEW_ARRAY(arena, plan->n_jobs, Hodei__V1__CompiledJob *);
    for (uint32_t i = 0; i < plan->n_jobs; i++) {
        plan->jobs[i] = make_job(sim, i);
        plan->jobs[i]->resources = HD_NEW(arena, Hodei__V1__Resources);
        *plan->jobs[i]->resources = (Hodei__V1__Resources)HODEI__V1__RESOURCES__INIT;
        plan->jobs[i]->resources->cpu_milli = sim_between(sim, 1, SIM_CPU_MILLI / 2);
        pipeline->holds[i] = false;
    }
    for (size_t i = 0; i < sim->pipelines[0].plan->n_jobs;
         i++) // and others that a worker has room for when it is empty
        if (sim->pipelines[0].plan->jobs[i]->resources)
            sim->pipelines[0].plan->jobs[i]->resources->cpu_milli = SIM_CPU_MILLI;
    for (int i = 0; i < SIM_FLOOD; i++) {
        struct sim_run *run = &sim->runs[sim->n_runs++];
        *run = (struct sim_run){.flood = true, .pipeline = (int)sim->n_pipelines, .at_ms = sim->now.mono_ms + 500};
        snprintf(run->key, sizeof(run->key), "flood%d", i);
    }
    sim->n_pipelines++;
    sim->limits[pipeline->tenant] = hd_quota_unlimited();
    sim->limits[pipeline->tenant].of[HD_QUOTA_JOBS] = SIM_FLOOD * SIM_FLOOD_JOBS;
}

static bool others_ended(const struct sim *sim) {
    for (size_t i = 0; i < sim->mem->all.runs.n; i++) {
        const struct orc_run *run = sim->mem->all.runs.items[i];
        bool ended = run->state >= HODEI__V1__RUN_STATE__RUN_STATE_SUCCEEDED;
        if (!ended && !hd_streq(run->pipeline, sim->pipelines[sim->n_pipelines - 1].name))
            return false;
    }
    for (size_t i = 0; i < sim->n_runs; i++)
        if (!sim->runs[i].accepted && !sim->runs[i].flood)
            return false;
    return true;
}

static void flood_again(struct sim *sim) {
    if (sim->quiet && sim->now.mono_ms > sim->quiet_ms + FLOOD_MS)
        return;
    for (size_t i = 0; i < sim->n_runs; i++) {
        struct sim_run *run = &sim->runs[i];
        const struct orc_run *row = run->flood && run->accepted ? orc_ws_run(&sim->mem->all, run->id) : NULL;
        if (!row || row->state < HODEI__V1__RUN_STATE__RUN_STATE_SUCCEEDED || others_ended(sim))
            continue;
        run->accepted = false;
        snprintf(run->key, sizeof(run->key), "flood-%u", ++sim->again);
    }
}

// Each job fits into them alone. A start that is refused is tried again; one that should follow another run would be given up.
static void make_limits(struct sim *sim) {
    bool follows = false;
    for (size_t i = 0; i < sim->n_pipelines; i++)
        follows |= sim->pipelines[i].plan->n_on_pipeline > 0;
    for (size_t t = 0; t <= SIM_TENANTS; t++) {
        int64_t *of = sim->limits[t].of;
        sim->limits[t] = hd_quota_unlimited();
        of[HD_QUOTA_JOBS] = sim_between(sim, 1, t < SIM_TENANTS ? 12 : 6);
        if (hd_rng_below(&sim->rng, 2))
            of[HD_QUOTA_CPU] = sim_between(sim, SIM_CPU_MILLI, (t < SIM_TENANTS ? 3 : 2) * SIM_CPU_MILLI);
        if (t < SIM_TENANTS && hd_rng_below(&sim->rng, 2))
            of[HD_QUOTA_MEMORY] = sim_between(sim, 10, 30);
        if (t < SIM_TENANTS && !follows && hd_rng_below(&sim->rng, 2))
            of[HD_QUOTA_QUEUED] = sim_between(sim, SIM_JOBS, 2 * SIM_JOBS);
    }
}

void peers_init(struct sim *sim) {
    struct hd_err err;
    const struct hd_bus_ops *ops = sim->peer->ops;
    bool ok = ops->ensure_streams(sim->peer, &err) == HD_OK &&
              ops->feed_open(sim->peer, "LOGS", "observability_logs", "", true, 64, TAKE_LOGS, &err) == HD_OK;
    if (!ok)
        sim_fail(sim, "the peers cannot start");
    sim->group_slots = hd_rng_below(&sim->rng, 2) ? 1 : (unsigned)sim_between(sim, 2, 3);
    sim->n_pipelines = (size_t)sim_between(sim, 1, SIM_PIPELINES);
    for (size_t i = 0; i < sim->n_pipelines; i++)
        make_pipeline(sim, &sim->pipelines[i], i);
    make_limits(sim);
    sim->n_runs = (size_t)sim_between(sim, 1, SIM_RUNS);
    for (size_t i = 0; i < sim->n_runs; i++) {
        struct sim_run *run = &sim->runs[i];
        snprintf(run->key, sizeof(run->key), "key-%zu", i);
        run->pipeline = (int)hd_rng_below(&sim->rng, sim->n_pipelines);
        run->at_ms = sim->now.mono_ms + sim_between(sim, 500, 15000);
        if (hd_rng_below(&sim->rng, 4) == 0)
            run->cancel_at_ms = run->at_ms + sim_between(sim, 1, 8000);
    }
    if (hd_rng_below(&sim->rng, 8) == 0 &&
        !sim->postgres) // there each change is read as a whole, and it is the scheduler's matter
        make_flood(sim);
}

// --- what comes late, and limits ----------------------------------------------------------------------------------------

static void tell_lost_late(struct sim *sim, struct sim_worker *worker) {
    Hodei__V1__SessionsLostRequest request = HODEI__V1__SESSIONS_LOST_REQUEST__INIT;
    Hodei__V1__LostSession session = HODEI__V1__LOST_SESSION__INIT, *list[] = {&session};
    session.worker = worker->name;
    session.session = worker->session_text;
    session.incarnation = worker->before;
    request.sessions = list;
    request.n_sessions = 1;
    ask(sim, "SessionsLost", "", "", &request.base, ASK_LOST_LATE);
}

// A registry that was paused tells once more what it has told.
static void watch_workers(struct sim *sim) {
    for (size_t i = 0; i < sim->n_workers; i++) {
        struct sim_worker *worker = &sim->workers[i];
        struct worker known;
        if (!registry_mem_find(sim->registry, worker->name, &known))
            continue;
        if (known.incarnation != worker->incarnation) {
            worker->before = worker->incarnation;
            worker->incarnation = known.incarnation;
            sim_event(sim, "%s: incarnation %" PRId64, worker->name, worker->incarnation);
        }
        if (worker->before && known.state != REG_LOST && sim_chance(sim, 100))
            tell_lost_late(sim, worker);
    }
}

static const char *owner_of(size_t limits) {
    return limits < SIM_TENANTS ? sim_tenants[limits] : "acme/" SIM_PROJECT;
}

bool peers_limits_set(const struct sim *sim, size_t i, struct quota_limit *ret) {
    return quota_mem_find(sim->quota, owner_of(i), ret) &&
           memcmp(ret->limit.of, sim->limits[i].of, sizeof(ret->limit.of)) == 0;
}

// First wide ones, then those that are meant.
static void set_limits(struct sim *sim, size_t i) {
    Hodei__V1__SetQuotaRequest request = HODEI__V1__SET_QUOTA_REQUEST__INIT;
    struct quota_limit row;
    if (sim->limits_asked[i] || peers_limits_set(sim, i, &row))
        return;
    struct hd_quota wide = hd_quota_unlimited();
    wide.of[HD_QUOTA_JOBS] = 1000;
    hd_quota_write(quota_mem_find(sim->quota, owner_of(i), &row) ? &sim->limits[i] : &wide, &request.base);
    if (i == SIM_TENANTS)
        request.project = (char *)(uintptr_t)SIM_PROJECT;
    sim->limits_asked[i] = true;
    ask_of(sim, "quota", "SetQuota", sim_tenants[i % SIM_TENANTS], "", &request.base, ASK_LIMITS + (int)i);
}

// --- users -----------------------------------------------------------------------------------------------------------

// Somebody looks after a job that is held for a worker that is gone, sooner or later.
static void decide(struct sim *sim) {
    static const char *const methods[] = {"RetryJob", "MarkJobDone", "CancelJob"};
    for (size_t i = 0; i < sim->mem->all.jobs.n && !sim->decision_asked; i++) {
        const struct orc_job *job = sim->mem->all.jobs.items[i];
        const struct orc_attempt *attempt = orc_ws_attempt(&sim->mem->all, job->attempt);
        if (!attempt || !attempt->gone_ms || job->state != HODEI__V1__JOB_STATE__JOB_STATE_ACTIVE ||
            sim->now.wall_ms < attempt->gone_ms + 1000 + attempt->id.b[15] * 150)
            continue;
        Hodei__V1__SteerRequest request = HODEI__V1__STEER_REQUEST__INIT;
        const char *method = methods[hd_rng_below(&sim->rng, 3)];
        char run[HD_UUID_TEXT], key[24];
        hd_uuid_format(job->run->id, run);
        snprintf(key, sizeof(key), "decision-%u", sim->decided++);
        request.run = run;
        request.job = hd_arena_printf(&sim->arena, "j%u", job->idx);
        sim->decision_asked = true;
        sim_event(sim, "%s of %s in %s", method, request.job, run);
        ask(sim, method, job->run->tenant, key, &request.base, ASK_DECIDE);
    }
}

// Before that a run may end that nobody listens to yet.
static bool all_put(const struct sim *sim) {
    struct quota_limit row;
    for (size_t i = 0; i <= SIM_TENANTS; i++)
        if (!peers_limits_set(sim, i, &row) || !row.confirmed) // not known to who enforces them
            return false;
    for (size_t i = 0; i < sim->n_pipelines; i++)
        if (!sim->pipelines[i].put)
            return false;
    return true;
}

static const char *tenant_of(const struct sim *sim, const struct sim_run *run) {
    return sim_tenants[sim->pipelines[run->pipeline].tenant];
}

static void ask_what_is_due(struct sim *sim) {
    for (size_t i = 0; i <= SIM_TENANTS; i++)
        set_limits(sim, i);
    for (size_t i = 0; i < sim->n_pipelines; i++) {
        struct sim_pipeline *pipeline = &sim->pipelines[i];
        if (pipeline->put || pipeline->asked)
            continue;
        Hodei__V1__PutVersionsRequest request = HODEI__V1__PUT_VERSIONS_REQUEST__INIT;
        request.versions = &pipeline->plan;
        request.n_versions = 1;
        pipeline->asked = true;
        ask(sim, "PutVersions", "", "", &request.base, ASK_VERSION + (int)i);
    }
    flood_again(sim);
    for (size_t i = 0; i < sim->n_runs; i++) {
        struct sim_run *run = &sim->runs[i];
        if (!run->accepted && !run->asked && sim->now.mono_ms >= run->at_ms && all_put(sim)) {
            Hodei__V1__StartRunRequest request = HODEI__V1__START_RUN_REQUEST__INIT;
            request.pipeline = sim->pipelines[run->pipeline].name;
            run->asked = true;
            ask(sim, "StartRun", tenant_of(sim, run), run->key, &request.base, ASK_START + (int)i);
        }
        if (run->accepted && run->cancel_at_ms && sim->now.mono_ms >= run->cancel_at_ms && !run->cancel_asked &&
            !run->cancel_accepted) {
            char id[HD_UUID_TEXT];
            Hodei__V1__CancelRunRequest request = HODEI__V1__CANCEL_RUN_REQUEST__INIT;
            hd_uuid_format(run->id, id);
            request.id = id;
            run->cancel_asked = true;
            ask(sim, "CancelRun", tenant_of(sim, run), "", &request.base, ASK_CANCEL + (int)i);
        }
    }
}

static void start_answered(struct sim *sim, struct sim_run *run, const Hodei__V1__RpcReply *answer) {
    ProtobufCMessage *msg;
    struct hd_err err;
    struct hd_uuid id;
    if (hd_pb_unpack(&sim->arena, &hodei__v1__start_run_reply__descriptor, answer->body.data, answer->body.len, &err,
                     &msg) != HD_OK ||
        hd_uuid_parse(((Hodei__V1__StartRunReply *)msg)->id, &id) != HD_OK) {
        sim_fail(sim, "the answer to StartRun cannot be read");
        return;
    }
    run->id = id;
    run->accepted = true;
    sim_event(sim, "%s: accepted as %s", run->key, ((Hodei__V1__StartRunReply *)msg)->id);
}

static void take_answer(struct sim *sim, const struct hd_arrived *arrived) {
    int kind = arrived->table / 100 * 100, i = arrived->table % 100;
    const Hodei__V1__RpcReply *answer = NULL;
    ProtobufCMessage *msg;
    struct hd_err err;
    if (!arrived->failed &&
        hd_pb_unpack(&sim->arena, &hodei__v1__rpc_reply__descriptor, arrived->data, arrived->len, &err, &msg) == HD_OK)
        answer = (const Hodei__V1__RpcReply *)msg;
    bool ok = answer && answer->status == HODEI__V1__STATUS__STATUS_OK;
    if (answer && !ok && answer->problem && answer->status != HODEI__V1__STATUS__STATUS_UNAVAILABLE &&
        answer->status != HODEI__V1__STATUS__STATUS_TIMEOUT &&
        !(kind == ASK_START && answer->status == HODEI__V1__STATUS__STATUS_LIMITED) && kind != ASK_CANCEL &&
        kind != ASK_DECIDE)
        sim_fail(sim, "a request of kind %d is refused: %s", kind, answer->problem->text);
    if (kind == ASK_VERSION) {
        sim->pipelines[i].asked = false;
        sim->pipelines[i].put |= ok;
    } else if (kind == ASK_LIMITS) {
        sim->limits_asked[i] = false; // the twin says whether they are set
    } else if (kind == ASK_START) {
        sim->runs[i].asked = false;
        if (ok)
            start_answered(sim, &sim->runs[i], answer);
        else
            sim->runs[i].at_ms = sim->now.mono_ms + sim_between(sim, 10, 1000);
    } else if (kind == ASK_CANCEL) {
        sim->runs[i].cancel_asked = false;
        sim->runs[i].cancel_accepted |= ok || (answer && answer->status == HODEI__V1__STATUS__STATUS_PRECONDITION);
    } else if (kind == ASK_DECIDE) {
        sim->decision_asked = false; // refused where the worker came back in time, or is asked again
    }
}

// --- logs, as observability keeps them: in order, each frame once, acknowledged when it is stored --------------------

uint64_t peers_stored(const struct sim *sim, const char *attempt) {
    return (uintptr_t)hd_map_get(&sim->stored, check_key(attempt));
}

static void store_chunk(struct sim *sim, const Hodei__V1__LogChunk *chunk) {
    uint64_t next = peers_stored(sim, chunk->attempt);
    if (chunk->gap_frames)
        sim_fail(sim, "the log of %s has a gap, and no disk was full", chunk->attempt);
    for (size_t i = 0; i < chunk->n_frames; i++) {
        uint64_t number = UINT64_MAX;
        if (chunk->frames[i]->data.len == sizeof(number))
            memcpy(&number, chunk->frames[i]->data.data, sizeof(number));
        if (number != chunk->first_frame + i)
            sim_fail(sim, "frame %" PRIu64 " of the log of %s is %" PRIu64, chunk->first_frame + i, chunk->attempt,
                     number);
        next += chunk->first_frame + i == next;
    }
    hd_map_put(&sim->stored, check_key(chunk->attempt), (void *)(uintptr_t)next);
}

static void take_logs(struct sim *sim, const struct hd_arrived *arrived) {
    ProtobufCMessage *msg;
    struct hd_err err;
    if (hd_pb_unpack(&sim->arena, &hodei__v1__log_chunks__descriptor, arrived->data, arrived->len, &err, &msg) !=
        HD_OK) {
        sim_fail(sim, "chunks of logs cannot be read: %s", err.text);
        return;
    }
    if (sim_chance(sim, 20)) // it dies before it has stored them, and is started again
        return;
    const Hodei__V1__LogChunks *chunks = (const Hodei__V1__LogChunks *)msg;
    for (size_t i = 0; i < chunks->n_chunks; i++) {
        const Hodei__V1__LogChunk *chunk = chunks->chunks[i];
        Hodei__V1__Acks acks = HODEI__V1__ACKS__INIT;
        Hodei__V1__LogAck ack = HODEI__V1__LOG_ACK__INIT, *list = &ack;
        uint8_t *data;
        size_t len;
        store_chunk(sim, chunk);
        acks.session = chunk->session;
        ack.attempt = chunk->attempt;
        ack.next_frame = peers_stored(sim, chunk->attempt);
        acks.logs = &list;
        acks.n_logs = 1;
        hd_pb_pack(&sim->arena, &acks.base, &data, &len);
        sim->peer->ops->send(sim->peer, hd_subject(&sim->arena, HD_SUBJECT_ACK, chunk->worker), data, len);
    }
    sim->peer->ops->ack(sim->peer, arrived);
}

// --- the turn --------------------------------------------------------------------------------------------------------

void peers_turn(struct sim *sim) {
    struct hd_arrived arrived[32];
    size_t n = sim->peer->ops->receive(sim->peer, arrived, 32);
    for (size_t i = 0; i < n; i++) {
        if (arrived[i].kind == HD_ARRIVED_ANSWER)
            take_answer(sim, &arrived[i]);
        else if (arrived[i].kind == HD_ARRIVED_FEED)
            take_logs(sim, &arrived[i]);
        sim->peer->ops->done(sim->peer, &arrived[i]);
    }
    watch_workers(sim);
    decide(sim);
    ask_what_is_due(sim);
}

static const struct orc_attempt *row_of(const struct sim *sim, const char *attempt) {
    struct hd_uuid id;
    return hd_uuid_parse(attempt, &id) == HD_OK ? orc_ws_attempt(&sim->mem->all, id) : NULL;
}

const char *peers_group(const struct sim *sim, const char *attempt) {
    const struct orc_attempt *row = row_of(sim, attempt);
    for (size_t i = 0; row && i < sim->n_pipelines; i++)
        if (hd_streq(sim->pipelines[i].name, row->job->run->pipeline))
            return sim->pipelines[i].plan->jobs[row->job->idx]->concurrency ? sim_tenants[sim->pipelines[i].tenant]
                                                                            : NULL;
    return NULL;
}

bool peers_will_cancel(const struct sim *sim, const char *attempt) {
    const struct orc_attempt *row = row_of(sim, attempt);
    for (size_t i = 0; row && i < sim->n_runs; i++)
        if (sim->runs[i].accepted && hd_uuid_eq(sim->runs[i].id, row->job->run->id))
            return sim->runs[i].cancel_at_ms != 0;
    return false;
}

bool peers_done(const struct sim *sim) {
    for (size_t i = 0; i < sim->n_runs; i++)
        if (!sim->runs[i].accepted || (sim->runs[i].cancel_at_ms && !sim->runs[i].cancel_accepted))
            return false;
    return true;
}
