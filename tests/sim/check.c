// Invariants. They read the store's twin, which everybody shares, and what the shims did.
#include "tests/sim/sim.h"

#define JOB(x) HODEI__V1__JOB_STATE__JOB_STATE_##x
#define ATTEMPT(x) HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_##x
#define RUN(x) HODEI__V1__RUN_STATE__RUN_STATE_##x

#define PASSED_OVER_MS 300000 // the flood, twice, on one slot, and what makes a worker be kept free

uint64_t check_key(const char *attempt) {
    return hd_hash(attempt, strlen(attempt), 11);
}

static bool run_ended(int state) {
    return state == RUN(SUCCEEDED) || state == RUN(FAILED) || state == RUN(CANCELLED);
}

// --- at the start of a process ---------------------------------------------------------------------------------------

// What its jobs ask for together is never more than the worker has.
static void check_room(struct sim *sim, struct sim_worker *worker, const char *attempt,
                       const Hodei__V1__CompiledJob *spec) {
    struct hd_resources taken = {0};
    unsigned running = 0;
    for (size_t i = 0; i < SIM_SHIM_JOBS; i++) {
        struct shim_job *job = &worker->jobs[i];
        if (!job->used || job->ended)
            continue;
        if (spec && hd_streq(job->attempt, attempt))
            job->asks = hd_resources_read(spec->resources);
        hd_resources_add(&taken, &job->asks);
        running++;
    }
    if (running > worker->slots)
        sim_fail(sim, "%s runs %u jobs and has %u slots", worker->name, running, worker->slots);
    enum hd_resource lacks = hd_resources_short(&taken, &worker->capacity);
    if (lacks != HD_RESOURCES)
        sim_fail(sim, "%s has %" PRId64 " of resource %d, and its jobs have taken %" PRId64, worker->name,
                 worker->capacity.of[lacks], (int)lacks, taken.of[lacks]);
}

// Of a group no more run than it has slots, wherever they are, whatever is known of their workers.
static void check_slots(struct sim *sim, struct sim_worker *worker, const char *attempt) {
    const char *group = peers_group(sim, attempt);
    unsigned others = 0;
    for (size_t w = 0; w < sim->n_workers; w++)
        for (size_t i = 0; i < SIM_SHIM_JOBS; i++) {
            struct shim_job *job = &sim->workers[w].jobs[i];
            if (&sim->workers[w] == worker && hd_streq(job->attempt, attempt))
                job->group = group;
            else if (job->used && !job->ended && job->group == group && ++others == sim->group_slots)
                sim_fail(sim,
                         "attempt %s is started while %u others, one of them %s on %s, hold all slots of their group",
                         attempt, others, job->attempt, sim->workers[w].name);
        }
}

static size_t retries_of(const struct sim *sim, const struct orc_job *job) {
    char name[16];
    size_t n = 0;
    snprintf(name, sizeof(name), "j%u", job->idx);
    for (size_t i = 0; i < sim->mem->actions.n; i++) {
        const struct orc_done *done = sim->mem->actions.items[i];
        n += hd_uuid_eq(done->run, job->run->id) && hd_streq(done->action, "retry_job") && hd_streq(done->job, name);
    }
    return n;
}

// With on_worker_lost: hold another attempt than the first one is somebody's decision.
static void check_held(struct sim *sim, const struct orc_job *job) {
    size_t made = 0;
    for (size_t i = 0; i < sim->mem->all.attempts.n; i++)
        made +=
            sim->mem->all.attempts.items[i]->job == job && sim->mem->all.attempts.items[i]->state != ATTEMPT(REFUSED);
    if (made > 1 + retries_of(sim, job) + job->retries) // after failures, as its retry rule says
        sim_fail(sim, "job %u is to be held, and has %zu attempts that nobody decided", job->idx, made);
}

void check_start(struct sim *sim, struct sim_worker *worker, const char *attempt) {
    uint64_t key = check_key(attempt);
    uintptr_t starts = (uintptr_t)hd_map_get(&sim->starts, key) + 1;
    struct hd_uuid id;
    sim_event(sim, "%s: starts %s", worker->name, attempt);
    hd_map_put(&sim->starts, key, (void *)starts);
    if (starts > 1)
        sim_fail(sim, "attempt %s is started %u times", attempt, (unsigned)starts);
    const struct orc_attempt *row = hd_uuid_parse(attempt, &id) == HD_OK ? orc_ws_attempt(&sim->mem->all, id) : NULL;
    if (!row) {
        sim_fail(sim, "attempt %s is started, and the orchestrator has not committed it", attempt);
        return;
    }
    if (row->state == ATTEMPT(CANCELLED))
        sim_fail(sim, "attempt %s is started after its cancel was confirmed", attempt);
    if (row->state == ATTEMPT(LOST))
        sim_fail(sim, "attempt %s is started after it was taken for lost", attempt);
    const Hodei__V1__CompiledJob *spec = NULL;
    for (size_t i = 0; i < sim->n_pipelines; i++) {
        if (!hd_streq(sim->pipelines[i].name, row->job->run->pipeline))
            continue;
        spec = sim->pipelines[i].plan->jobs[row->job->idx];
        if (sim->pipelines[i].holds[row->job->idx])
            check_held(sim, row->job);
    }
    for (size_t i = 0; spec && i < spec->n_needs; i++) {
        const struct orc_job *need = orc_ws_job(&sim->mem->all, row->job->run->id, spec->needs[i]);
        if (!need || need->state != JOB(SUCCEEDED))
            sim_fail(sim, "attempt %s is started before job %u, which it needs, has succeeded", attempt,
                     spec->needs[i]);
    }
    check_room(sim, worker, attempt, spec);
    if (spec && spec->concurrency)
        check_slots(sim, worker, attempt);
}

// --- after each step -------------------------------------------------------------------------------------------------

// The end of anything never changes.
static void check_final(struct sim *sim, const char *what, const void *id, size_t len, int state, bool ended) {
    uint64_t key = hd_hash(id, len, (uint64_t)*what);
    int before = (int)(intptr_t)hd_map_get(&sim->ends, key);
    if (before && before != state)
        sim_fail(sim, "%s: its end was %d and is now %d", what, before, state);
    if (!before && ended)
        hd_map_put(&sim->ends, key, (void *)(intptr_t)state);
}

// It was killed with the lease of its worker.
static bool was_fenced(const struct sim *sim, const struct orc_attempt *attempt) {
    char text[HD_UUID_TEXT];
    hd_uuid_format(attempt->id, text);
    return (intptr_t)hd_map_get(&sim->outcomes, check_key(text)) == ATTEMPT(LOST);
}

// Nothing is taken from a worker that is there, and a worker whose machine has always been there forgets no result.
static void check_loss(struct sim *sim, const struct orc_attempt *attempt) {
    bool by_registry = attempt->cause == HODEI__V1__CAUSE__CAUSE_WORKER_LOST;
    char text[HD_UUID_TEXT];
    hd_uuid_format(attempt->id, text);
    if (was_fenced(sim, attempt))
        return;
    for (size_t i = 0; i < sim->n_workers; i++) {
        const struct sim_worker *worker = &sim->workers[i];
        struct worker known; // to the registry
        if (!hd_streq(worker->name, attempt->worker) || !registry_mem_find(sim->registry, worker->name, &known))
            continue;
        if (by_registry && known.state != REG_LOST && known.incarnation == attempt->incarnation)
            sim_fail(sim, "an attempt of job %u is lost, and %s, which it was placed on, was not", attempt->job->idx,
                     attempt->worker);
        if (!by_registry && !worker->machine_gone && hd_map_get(&sim->outcomes, check_key(text)))
            sim_fail(sim, "attempt %s has ended on %s, which has forgotten it", text, worker->name);
    }
}

static void check_attempts(struct sim *sim) {
    for (size_t i = 0; i < sim->mem->all.attempts.n; i++) {
        const struct orc_attempt *attempt = sim->mem->all.attempts.items[i];
        check_final(sim, "attempt", attempt->id.b, sizeof(attempt->id.b), attempt->state,
                    orc_attempt_ended(attempt->state));
        if (attempt->state == ATTEMPT(LOST))
            check_loss(sim, attempt);
        if (attempt->state != ATTEMPT(SUCCEEDED) && attempt->state != ATTEMPT(FAILED))
            continue;
        char text[HD_UUID_TEXT];
        hd_uuid_format(attempt->id, text);
        int outcome = (int)(intptr_t)hd_map_get(&sim->outcomes, check_key(text));
        if (outcome != attempt->state)
            sim_fail(sim, "attempt %s is %d in the store, and ended as %d", text, attempt->state, outcome);
    }
}

// Whether somebody has taken an end of a job of it back, which is a decision and no change of an end.
static bool steered(const struct sim *sim, const struct orc_run *run) {
    for (size_t i = 0; i < sim->mem->actions.n; i++) {
        const struct orc_done *done = sim->mem->actions.items[i];
        if (hd_uuid_eq(done->run, run->id) && !hd_streq(done->action, "cancel") &&
            !hd_streq(done->action, "cancel_job"))
            return true;
    }
    return false;
}

static const Hodei__V1__CompiledJob *sim_spec(const struct sim *sim, const struct orc_job *job) {
    for (size_t i = 0; i < sim->n_pipelines; i++)
        if (hd_streq(sim->pipelines[i].name, job->run->pipeline))
            return sim->pipelines[i].plan->jobs[job->idx];
    return NULL;
}

// Its counters say what there is, which is never above its limits. The clocks of replicas agree on the day here.
static void check_tenant(struct sim *sim, const struct orc_tenant *tenant) {
    struct hd_quota used = {0};
    for (size_t i = 0; i < sim->mem->all.jobs.n; i++) {
        const struct orc_job *job = sim->mem->all.jobs.items[i];
        if (!orc_tenant_counts(tenant, job->run))
            continue;
        if (job->state == JOB(READY) || orc_job_live(job->state)) {
            struct hd_quota asks = hd_quota_of_job(sim_spec(sim, job)->resources);
            hd_quota_add(&used, &asks, 1);
        }
        used.of[HD_QUOTA_QUEUED] += job->state == JOB(WAITING) || job->state == JOB(QUEUED);
    }
    for (size_t i = 0; i < sim->mem->all.runs.n; i++)
        used.of[HD_QUOTA_RUNS_DAY] += orc_tenant_counts(tenant, sim->mem->all.runs.items[i]);
    for (unsigned i = 0; i < HD_QUOTA_MINUTES_MONTH; i++) {
        const char *what = hd_quota_field((enum hd_quota_dim)i);
        if (tenant->used.of[i] != used.of[i])
            sim_fail(sim, "%s, %s: %" PRId64 " are used, and the counter says %" PRId64, tenant->name, what, used.of[i],
                     tenant->used.of[i]);
        // Over the limit of queued jobs nothing new is started; what is retried comes back all the same.
        if (tenant->granted && i != HD_QUOTA_QUEUED && tenant->limit.of[i] >= 0 && used.of[i] > tenant->limit.of[i])
            sim_fail(sim, "%s, %s: %" PRId64 " are used above the limit of %" PRId64, tenant->name, what, used.of[i],
                     tenant->limit.of[i]);
    }
}

// What quota takes for confirmed is what the orchestrator goes by.
static void check_limits(struct sim *sim) {
    struct quota_limit row;
    for (size_t i = 0; i <= SIM_TENANTS; i++) {
        if (!peers_limits_set(sim, i, &row) || !row.confirmed)
            continue;
        const struct orc_tenant *tenant = orc_ws_tenant(&sim->mem->all, row.tenant);
        bool same = tenant && tenant->granted;
        for (unsigned d = 0; same && d < HD_QUOTA_RUNS_DAY; d++)
            same = tenant->limit.of[d] == row.limit.of[d];
        if (!same)
            sim_fail(sim, "the limits of %s are confirmed, and the orchestrator has others", row.tenant);
    }
}

// By a loss or a refusal a job fails only where no other attempt is allowed.
static void check_failed(struct sim *sim, const struct orc_job *job) {
    const struct orc_attempt *attempt = orc_ws_attempt(&sim->mem->all, job->attempt);
    const Hodei__V1__CompiledJob *spec = sim_spec(sim, job);
    if (!attempt || !spec || steered(sim, job->run))
        return;
    if (attempt->state == ATTEMPT(REFUSED) && job->attempts < ORC_MAX_ATTEMPTS)
        sim_fail(sim, "job %u of %s has failed, for a worker refused it", job->idx, job->run->key);
    if (attempt->state != ATTEMPT(LOST))
        return;
    if (spec->on_worker_lost == HODEI__V1__ON_WORKER_LOST__ON_WORKER_LOST_REQUEUE && job->losses <= ORC_MAX_LOSSES)
        sim_fail(sim, "job %u of %s has failed after %u losses, and may be lost %d times", job->idx, job->run->key,
                 job->losses, ORC_MAX_LOSSES);
    if (spec->on_worker_lost == HODEI__V1__ON_WORKER_LOST__ON_WORKER_LOST_HOLD && !was_fenced(sim, attempt) &&
        attempt->cause == HODEI__V1__CAUSE__CAUSE_WORKER_LOST)
        sim_fail(sim, "job %u of %s is to be held for its worker, and has failed", job->idx, job->run->key);
}

// Every worker could hold any job, and none waits for long for who came before: so that is being passed over.
static void check_waiting(struct sim *sim, const struct orc_job *job) {
    int64_t now_ms = sim->now.wall_ms, quiet_ms = now_ms - (sim->now.mono_ms - sim->quiet_ms);
    int64_t since_ms = job->ready_ms > quiet_ms ? job->ready_ms : quiet_ms;
    if (sim->quiet && job->state == JOB(READY) && now_ms - since_ms > PASSED_OVER_MS)
        sim_fail(sim, "job %u of %s is ready for %" PRId64 " ms, and others are started", job->idx, job->run->key,
                 now_ms - since_ms);
}

static void check_jobs(struct sim *sim) {
    for (size_t i = 0; i < sim->mem->all.jobs.n; i++) {
        const struct orc_job *job = sim->mem->all.jobs.items[i];
        struct {
            struct hd_uuid run;
            uint32_t idx, zero;
        } key = {job->run->id, job->idx, 0};
        if (!steered(sim, job->run))
            check_final(sim, "job", &key, sizeof(key), job->state, orc_job_ended(job->state));
        check_waiting(sim, job);
        if (job->state == JOB(FAILED))
            check_failed(sim, job);
        if (run_ended(job->run->state) && !orc_job_ended(job->state))
            sim_fail(sim, "run %s has ended and its job %u has not", job->run->key, job->idx);
    }
    for (size_t i = 0; i < sim->mem->all.n_tenants; i++)
        check_tenant(sim, sim->mem->all.tenants[i]);
}

// A group has no more members in its slots than it has slots, and their jobs have not ended.
static void check_groups(struct sim *sim) {
    size_t holding[SIM_TENANTS] = {0};
    for (size_t i = 0; i < sim->mem->members.n; i++) {
        const struct mem_member *member = sim->mem->members.items[i];
        if (member->gone || member->m.state != ORC_MEMBER_HOLDING)
            continue;
        const struct orc_job *job = orc_ws_job(&sim->mem->all, member->m.run, member->m.idx);
        if (!job || orc_job_ended(job->state)) {
            sim_fail(sim, "job %u has ended and holds the slot of its group", member->m.idx);
            return;
        }
        for (size_t t = 0; t < SIM_TENANTS; t++)
            if (hd_streq(job->run->tenant, sim_tenants[t]) && ++holding[t] > sim->group_slots)
                sim_fail(sim, "%zu are in the %u slots of their group", holding[t], sim->group_slots);
    }
}

static void check_runs(struct sim *sim) {
    size_t started = 0; // a retry that comes after the end of its run makes another one
    for (size_t i = 0; i < sim->mem->all.runs.n; i++)
        started += hd_uuid_zero(sim->mem->all.runs.items[i]->rerun_of) &&
                   hd_uuid_zero(sim->mem->all.runs.items[i]->started_by);
    if (started > sim->n_runs + sim->again)
        sim_fail(sim, "%zu runs for %zu idempotency keys", started, sim->n_runs + sim->again);
    for (size_t i = 0; i < sim->mem->all.runs.n; i++) {
        const struct orc_run *run = sim->mem->all.runs.items[i];
        check_final(sim, "run", run->id.b, sizeof(run->id.b), run->state, run_ended(run->state));
    }
}

// What has not changed was right before. (A real PostgreSQL is looked at as a whole each time.)
void check_step(struct sim *sim) {
    uint64_t changes =
        sim->mem->base.changes + registry_mem_base(sim->registry)->changes + quota_mem_base(sim->quota)->changes;
    if (!sim->postgres && changes == sim->checked)
        return;
    sim->checked = changes;
    check_attempts(sim);
    check_jobs(sim);
    check_groups(sim);
    check_runs(sim);
    check_limits(sim);
}

// --- at the end ------------------------------------------------------------------------------------------------------

bool check_all_ended(const struct sim *sim) {
    for (size_t i = 0; i < sim->mem->follow_ups.n; i++)
        if (!((struct mem_follow_up *)sim->mem->follow_ups.items[i])->gone)
            return false;
    for (size_t i = 0; i < sim->mem->all.runs.n; i++)
        if (!run_ended(sim->mem->all.runs.items[i]->state))
            return false;
    return true;
}

static bool is_gone(const struct sim *sim, const char *worker) {
    for (size_t i = 0; i < sim->n_workers; i++)
        if (hd_streq(sim->workers[i].name, worker))
            return sim->workers[i].back_ms == INT64_MAX;
    return false;
}

// Of the log of an attempt whose end counts every frame is stored, unless its machine is gone. NULL: so it is.
static const struct orc_attempt *not_stored(const struct sim *sim, uint64_t *ret_written) {
    char text[HD_UUID_TEXT];
    for (size_t i = 0; i < sim->mem->all.attempts.n; i++) {
        const struct orc_attempt *attempt = sim->mem->all.attempts.items[i];
        hd_uuid_format(attempt->id, text);
        *ret_written = (uintptr_t)hd_map_get(&sim->written, check_key(text));
        if (orc_attempt_ended(attempt->state) && attempt->state != ATTEMPT(LOST) && !is_gone(sim, attempt->worker) &&
            peers_stored(sim, text) < *ret_written)
            return attempt;
    }
    return NULL;
}

bool check_all_stored(const struct sim *sim) {
    uint64_t written;
    return !not_stored(sim, &written);
}

// Each run that ended is followed once by every pipeline that listens to such an end.
static void check_followers(struct sim *sim, const struct orc_run *run) {
    uint32_t mask = run->state == RUN(SUCCEEDED) ? 1 : run->state == RUN(FAILED) ? 2 : 8;
    for (size_t i = 0; i < sim->n_pipelines; i++) {
        const Hodei__V1__CompiledPipeline *plan = sim->pipelines[i].plan;
        size_t found = 0;
        bool wanted = plan->n_on_pipeline && hd_streq(plan->on_pipeline[0]->name, run->pipeline) &&
                      plan->on_pipeline[0]->accepts & mask;
        for (size_t k = 0; k < sim->mem->all.runs.n; k++)
            found += hd_uuid_eq(sim->mem->all.runs.items[k]->started_by, run->id) &&
                     hd_streq(sim->mem->all.runs.items[k]->pipeline, plan->name);
        if (found != wanted)
            sim_fail(sim, "run %s of %s ended as %d, and %zu runs of %s follow it", run->key, run->pipeline, run->state,
                     found, plan->name);
    }
}

void check_end(struct sim *sim) {
    uint64_t written;
    const struct orc_attempt *attempt = not_stored(sim, &written);
    if (attempt) {
        char text[HD_UUID_TEXT];
        hd_uuid_format(attempt->id, text);
        sim_fail(sim, "of the log of attempt %s on %s %" PRIu64 " frames are stored, and %" PRIu64 " were written",
                 text, attempt->worker, peers_stored(sim, text), written);
    }
    for (size_t i = 0; i < sim->mem->all.runs.n; i++) {
        const struct orc_run *run = sim->mem->all.runs.items[i];
        if (!run_ended(run->state))
            sim_fail(sim, "run %s has not ended: state %d, %u of %u jobs", run->key, run->state, run->ended,
                     run->total);
        check_followers(sim, run);
    }
    for (size_t i = 0; i < sim->n_runs; i++) {
        const struct sim_run *run = &sim->runs[i];
        const struct orc_run *row = run->accepted ? orc_ws_run(&sim->mem->all, run->id) : NULL;
        if (!run->accepted)
            sim_fail(sim, "%s was never accepted", run->key);
        else if (!row)
            sim_fail(sim, "%s was accepted and is not there", run->key);
        else if (!run_ended(row->state))
            sim_fail(sim, "%s has not ended: state %d, %u of %u jobs", run->key, row->state, row->ended, row->total);
    }
    for (size_t i = 0; i < sim->mem->all.n_tenants; i++)
        if (sim->mem->all.tenants[i]->used.of[HD_QUOTA_JOBS] || sim->mem->all.tenants[i]->queued ||
            sim->mem->all.tenants[i]->parts)
            sim_fail(sim, "all runs have ended, and %" PRId64 " jobs of %s still count as admitted",
                     sim->mem->all.tenants[i]->used.of[HD_QUOTA_JOBS], sim->mem->all.tenants[i]->name);
    if (sim->mem->base.dead.n)
        sim_fail(sim, "%zu dead letters: %s", sim->mem->base.dead.n,
                 ((struct hd_mem_dead *)sim->mem->base.dead.items[0])->why);
}
