// A machine: what is on its disk and in its shim outlives the agent.
#include "agent/shim/shim.h"
#include "agent/stream/journal.h"
#include "tests/sim/sim.h"

#define STATE(x) HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_##x
#define CAUSE(x) HODEI__V1__CAUSE__CAUSE_##x

static struct hd_now clock_of(const struct sim_worker *worker) {
    return (struct hd_now){worker->sim->now.wall_ms + worker->skew_ms, worker->sim->now.mono_ms};
}

// --- the shim --------------------------------------------------------------------------------------------------------

static struct shim_job *job_of(struct sim_worker *worker, const char *attempt) {
    for (size_t i = 0; i < SIM_SHIM_JOBS; i++)
        if (worker->jobs[i].used && hd_streq(worker->jobs[i].attempt, attempt))
            return &worker->jobs[i];
    return NULL;
}

static void start_job(struct sim_worker *worker, const char *attempt, bool exclusive) {
    struct sim *sim = worker->sim;
    size_t i = 0;
    if (job_of(worker, attempt)) // said again: the shim knows it
        return;
    while (i < SIM_SHIM_JOBS && worker->jobs[i].used)
        i++;
    if (i == SIM_SHIM_JOBS) {
        sim_fail(sim, "%s: its shim holds more than %d jobs", worker->name, SIM_SHIM_JOBS);
        return;
    }
    struct shim_job *job = &worker->jobs[i];
    *job = (struct shim_job){.used = true, .started_ms = sim->now.mono_ms, .exclusive = exclusive};
    hd_strlcpy(job->attempt, attempt, sizeof(job->attempt));
    job->end_ms = sim->now.mono_ms + sim_between(sim, 1, hd_rng_below(&sim->rng, 4) ? 300 : 20000);
    job->outcome = hd_rng_below(&sim->rng, 10) ? STATE(SUCCEEDED) : STATE(FAILED);
    if (peers_group(sim, attempt) && hd_rng_below(&sim->rng, 5) == 0)
        job->end_ms = sim->now.mono_ms + sim_between(sim, 20000, 60000); // longer than a worker is waited for
    if (peers_will_cancel(sim, attempt) && hd_rng_below(&sim->rng, 3) == 0)
        job->end_ms = INT64_MAX; // only a cancel ends it
    check_start(sim, worker, attempt);
}

// --- logs: frames of one size, each with its number ------------------------------------------------------------------

#define FRAME_BYTES (sizeof(struct spool_header) + SIM_FRAME_DATA)

static void write_log(struct sim_worker *worker, struct shim_job *job) {
    struct sim *sim = worker->sim;
    if (job->frames >= SIM_FRAMES || hd_rng_below(&sim->rng, 4))
        return;
    job->frames += (uint32_t)sim_between(sim, 1, hd_rng_below(&sim->rng, 20) ? 3 : 50);
    hd_map_put(&sim->written, check_key(job->attempt), (void *)(uintptr_t)job->frames);
}

// What the agent is told to be stored is, and is not asked for again.
static void log_acked(struct sim_worker *worker, const Hodei__V1__ShimLogAck *ack) {
    struct shim_job *job = job_of(worker, ack->attempt);
    if (ack->next_frame > peers_stored(worker->sim, ack->attempt) || ack->next_byte != ack->next_frame * FRAME_BYTES)
        sim_fail(worker->sim,
                 "the shim is told that the log of %s is stored up to frame %" PRIu64 ", byte %" PRIu64
                 ", and it is up to %" PRIu64,
                 ack->attempt, ack->next_frame, ack->next_byte, peers_stored(worker->sim, ack->attempt));
    if (job && ack->next_frame > job->acked_frame)
        job->acked_frame = (uint32_t)ack->next_frame;
}

static enum hd_status read_log(void *arg, const char *attempt, uint64_t from, void *ret, size_t len, size_t *ret_len) {
    struct sim_worker *worker = arg;
    const struct shim_job *job = job_of(worker, attempt);
    uint8_t *out = ret;
    *ret_len = 0;
    if (!job)
        return HD_MISSING;
    if (from < job->acked_frame * FRAME_BYTES || from % FRAME_BYTES)
        sim_fail(worker->sim, "the log of %s is read from byte %" PRIu64 ", and is stored up to frame %u", attempt,
                 from, job->acked_frame);
    for (uint64_t n = from / FRAME_BYTES; n < job->frames && *ret_len + FRAME_BYTES <= len; n++) {
        const struct spool_header header = {.stream = 1, .len = SIM_FRAME_DATA, .at_ms = 1};
        memcpy(out + *ret_len, &header, sizeof(header));
        memcpy(out + *ret_len + sizeof(header), &n, SIM_FRAME_DATA);
        *ret_len += FRAME_BYTES;
    }
    return HD_OK;
}

static void to_shim(void *arg, const Hodei__V1__ShimMessage *msg) {
    struct sim_worker *worker = arg;
    for (size_t i = 0; i < msg->n_log_acks; i++)
        log_acked(worker, msg->log_acks[i]);
    if (msg->lease_until_ms > worker->fence_ms)
        worker->fence_ms = msg->lease_until_ms;
    for (size_t i = 0; i < msg->n_jobs; i++)
        start_job(worker, msg->jobs[i]->attempt, msg->jobs[i]->exclusive);
    for (size_t i = 0; i < msg->n_cancels; i++) {
        struct shim_job *job = job_of(worker, msg->cancels[i]->attempt);
        if (!job || job->ended || job->cancelled)
            continue;
        job->cancelled = true;
        job->outcome = STATE(CANCELLED);
        job->end_ms = worker->sim->now.mono_ms + sim_between(worker->sim, 1, 500);
    }
    for (size_t i = 0; i < msg->n_forgets; i++) {
        struct shim_job *job = job_of(worker, msg->forgets[i]->attempt);
        if (job && job->ended)
            job->used = false;
    }
}

static Hodei__V1__ShimState *state_of(struct sim_worker *worker, struct hd_arena *arena, struct shim_job *job) {
    Hodei__V1__ShimState *state = HD_NEW(arena, Hodei__V1__ShimState);
    *state = (Hodei__V1__ShimState)HODEI__V1__SHIM_STATE__INIT;
    state->attempt = job->attempt;
    state->started = job->told_start = true;
    state->started_at_ms = clock_of(worker).wall_ms - (worker->sim->now.mono_ms - job->started_ms);
    state->ended = job->told_end = job->ended;
    state->log_frames = job->told_frames = job->frames;
    state->log_bytes = job->frames * FRAME_BYTES;
    state->acked_frame = job->acked_frame;
    state->acked_byte = job->acked_frame * FRAME_BYTES;
    if (job->ended) {
        state->state = (Hodei__V1__AttemptState)job->outcome;
        state->cause = job->outcome == STATE(CANCELLED) ? CAUSE(CANCELLED)
                       : job->outcome == STATE(LOST)    ? CAUSE(WORKER_LOST)
                       : job->outcome == STATE(FAILED)  ? CAUSE(EXIT_CODE)
                                                        : CAUSE(UNSPECIFIED);
        state->exit_code = job->outcome == STATE(FAILED);
        state->ended_at_ms = clock_of(worker).wall_ms;
    }
    return state;
}

static const Hodei__V1__ShimMessage *from_shim(void *arg, struct hd_arena *arena) {
    struct sim_worker *worker = arg;
    Hodei__V1__ShimMessage *msg = HD_NEW(arena, Hodei__V1__ShimMessage);
    *msg = (Hodei__V1__ShimMessage)HODEI__V1__SHIM_MESSAGE__INIT;
    msg->hello = !worker->hello_said;
    msg->states = HD_NEW_ARRAY(arena, SIM_SHIM_JOBS, Hodei__V1__ShimState *);
    for (size_t i = 0; i < SIM_SHIM_JOBS; i++) {
        struct shim_job *job = &worker->jobs[i];
        if (job->used &&
            (msg->hello || !job->told_start || job->frames != job->told_frames || (job->ended && !job->told_end)))
            msg->states[msg->n_states++] = state_of(worker, arena, job);
    }
    worker->hello_said = true;
    return msg->hello || msg->n_states ? msg : NULL;
}

static void end_jobs(struct sim_worker *worker) {
    for (size_t i = 0; i < SIM_SHIM_JOBS; i++) {
        struct shim_job *job = &worker->jobs[i];
        if (!job->used || job->ended)
            continue;
        write_log(worker, job);
        if (job->exclusive && worker->fence_ms && worker->sim->now.mono_ms >= worker->fence_ms) {
            sim_event(worker->sim, "%s: the lease is over, %s is killed", worker->name, job->attempt);
            job->outcome = STATE(LOST);
            job->end_ms = worker->sim->now.mono_ms;
        }
        if (job->end_ms > worker->sim->now.mono_ms)
            continue;
        job->ended = true;
        hd_map_put(&worker->sim->outcomes, check_key(job->attempt), (void *)(uintptr_t)job->outcome);
    }
}

// --- the agent -------------------------------------------------------------------------------------------------------

static enum hd_status record(void *arg, const void *data, size_t len, bool sync, struct hd_err *err) {
    struct sim_worker *worker = arg;
    (void)sync;
    if (sim_chance(worker->sim, 200))
        worker->full_until_ms = worker->sim->now.mono_ms + sim_between(worker->sim, 1, 20000);
    if (!worker->sim->quiet && worker->sim->now.mono_ms < worker->full_until_ms) {
        worker->behind = true;
        return hd_err_set(err, HD_UNAVAILABLE, "journal: the disk is full");
    }
    if (worker->behind) { // the whole, before anything else, as agent/process.c has it
        hd_buf_clear(&worker->journal);
        session_snapshot(&worker->agent->session, &worker->journal);
    }
    worker->behind = false;
    hd_buf_add(&worker->journal, data, len);
    return HD_OK;
}

static const char *token(void *arg, struct hd_arena *arena, struct hd_err *err) {
    (void)arg, (void)arena, (void)err;
    return SIM_TOKEN;
}

static void replay(void *arg, const Hodei__V1__JournalRecord *each) {
    session_replay(&((struct sim_worker *)arg)->agent->session, each);
}

static void start_agent(struct sim_worker *worker) {
    struct sim *sim = worker->sim;
    struct hd_err err = {0};
    const struct agent_def def = {.worker = worker->name,
                                  .session = worker->session,
                                  .slots = worker->slots,
                                  .capacity = worker->told,
                                  .executor = {.state = "/s", .path = "/bin", .home = "/h"},
                                  .connection = {.pool = "default", .token = token}};
    worker->bus = hd_bus_mem_new(sim->net, worker->name);
    const struct agent_env env = {worker->bus, &sim->rng, record, from_shim, to_shim, read_log, NULL, worker};
    worker->agent = hd_calloc(1, sizeof(*worker->agent));
    worker->hello_said = worker->behind = false;
    if (agent_init(worker->agent, &def, &env, clock_of(worker), &err) != HD_OK)
        sim_fail(sim, "%s: %s", worker->name, err.text);
    if (sim->mutant == MUTANT_JOURNAL)
        hd_buf_clear(&worker->journal);
    struct hd_arena arena;
    hd_arena_init(&arena);
    size_t read = journal_decode(&arena, (const uint8_t *)worker->journal.data, worker->journal.len, replay, worker);
    if (read != worker->journal.len)
        sim_fail(sim, "%s: its journal cannot be read beyond byte %zu", worker->name, read);
    hd_arena_release(&arena);
    sim_event(sim, "%s: agent starts", worker->name);
}

static void stop_agent(struct sim_worker *worker) {
    agent_release(worker->agent);
    free(HD_STEAL(worker->agent));
    worker->bus->ops->free(HD_STEAL(worker->bus));
}

void worker_crash(struct sim_worker *worker, bool machine) {
    struct sim *sim = worker->sim;
    if (!worker->agent)
        return;
    stop_agent(worker);
    worker->back_ms =
        sim->now.mono_ms + (hd_rng_below(&sim->rng, 4) ? sim_between(sim, 10, 3000) : sim_between(sim, 3000, 40000));
    sim_event(sim, "%s: %s for %" PRId64 " ms", worker->name, machine ? "the machine goes" : "the agent is killed",
              worker->back_ms - sim->now.mono_ms);
    worker->machine_gone |= machine;
    for (size_t i = 0; machine && i < SIM_SHIM_JOBS; i++) {
        if (worker->jobs[i].used) // what was not stored is gone
            hd_map_remove(&sim->written, check_key(worker->jobs[i].attempt));
        worker->jobs[i].used = false;
    }
}

void worker_init(struct sim *sim, size_t i) {
    struct sim_worker *worker = &sim->workers[i];
    worker->sim = sim;
    snprintf(worker->name, sizeof(worker->name), "w%zu", i + 1);
    worker->slots = (unsigned)sim_between(sim, 1, 4);
    worker->skew_ms = sim_skew(sim);
    worker->capacity.of[HD_CPU_MILLI] = sim_between(sim, SIM_CPU_MILLI, 2 * SIM_CPU_MILLI);
    worker->capacity.of[HD_MEMORY_BYTES] = sim_between(sim, 10, 20);
    worker->told = worker->capacity;
    if (sim->mutant == MUTANT_ROOM)
        hd_resources_add(&worker->told, &worker->capacity);
    worker->session = hd_uuid7(sim->now.wall_ms - 5000, &sim->rng);
    hd_uuid_format(worker->session, worker->session_text);
    start_agent(worker);
}

void worker_release(struct sim_worker *worker) {
    if (worker->agent)
        stop_agent(worker);
    hd_buf_release(&worker->journal);
}

void worker_turn(struct sim_worker *worker) {
    end_jobs(worker);
    if (worker->sim->now.mono_ms < worker->back_ms) // down, or cut off
        return;
    if (!worker->agent)
        start_agent(worker);
    agent_turn(worker->agent, clock_of(worker));
}
