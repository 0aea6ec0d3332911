// The orchestrators on a real PostgreSQL, each on a thread of its own, interleaved statement by statement as the seed says: what a twin
// cannot show, locks and what other transactions see. One thread at a time is let on, until its next statement has been answered; a statement
// that is not answered soon waits for a lock of the other one, which is let on instead. All else of the simulator is as it is; what it looks at,
// sim->mem, is made anew from the tables after each commit.
#include <libpq-fe.h>
#include <pthread.h>

#include "service/migrations.h"
#include "service/service.h"
#include "tests/sim/sim.h"

#define BLOCKED_NS 1000000 // a statement that takes longer waits for a lock
#define SHIFT_MS 300       // of simulated time; a lease is ten times as long
#define N_THREADS SIM_REPLICAS

enum phase { DONE, WANTS, RUNS, ASKS }; // of a turn: over; waits to be let on; works; its statement is at the server
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    enum phase phase[N_THREADS];
    unsigned statements, blocked;
    bool committed;
} stage = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
static _Thread_local int self = -1;

static void go_to(enum phase phase) {
    pthread_mutex_lock(&stage.mutex);
    stage.phase[self] = phase;
    pthread_cond_broadcast(&stage.changed);
    while (phase == WANTS && stage.phase[self] == WANTS)
        pthread_cond_wait(&stage.changed, &stage.mutex);
    pthread_mutex_unlock(&stage.mutex);
}

static void before_statement(void) {
    if (self >= 0) {
        go_to(WANTS);
        go_to(ASKS);
    }
}
static void after_statement(void) {
    if (self >= 0)
        go_to(WANTS);
}

// By the linker's --wrap the calls of the runner and the store come here.
enum hd_status real_run(struct hd_ctx *cx, const struct hd_sql *sql, const struct hd_param *params, size_t n_params,
                        struct hd_rows *ret) __asm__("__real_hd_db_run");
enum hd_status stepped_run(struct hd_ctx *cx, const struct hd_sql *sql, const struct hd_param *params, size_t n_params,
                           struct hd_rows *ret) __asm__("__wrap_hd_db_run");
enum hd_status stepped_run(struct hd_ctx *cx, const struct hd_sql *sql, const struct hd_param *params, size_t n_params,
                           struct hd_rows *ret) {
    before_statement();
    enum hd_status status = real_run(cx, sql, params, n_params, ret);
    after_statement();
    stage.statements++;
    return status;
}
enum hd_status real_commit(struct hd_ctx *cx) __asm__("__real_hd_db_commit");
enum hd_status stepped_commit(struct hd_ctx *cx) __asm__("__wrap_hd_db_commit");
enum hd_status stepped_commit(struct hd_ctx *cx) {
    before_statement();
    enum hd_status status = real_commit(cx);
    after_statement();
    stage.committed = true;
    return status;
}

// --- the tables ------------------------------------------------------------------------------------------------------

static PGconn *eye;
static int64_t shifted_mono_ms;

static PGresult *ask(const char *sql) {
    PGresult *result = PQexec(eye, sql);
    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK) {
        fprintf(stderr, "%s: %s", sql, PQerrorMessage(eye));
        exit(2);
    }
    return result;
}
static void tell(const char *sql) {
    PQclear(ask(sql));
}

// --- turns -----------------------------------------------------------------------------------------------------------

struct turn {
    struct replica *replica;
    int number;
};
static void *turn_main(void *arg) {
    struct turn *turn = arg;
    self = turn->number;
    go_to(WANTS);
    replica_turn(turn->replica);
    go_to(DONE);
    return NULL;
}

static size_t count(enum phase phase) {
    size_t n = 0;
    for (int i = 0; i < N_THREADS; i++)
        n += stage.phase[i] == phase;
    return n;
}

// One of those that want to go on, as the seed says.
static void let_on(struct sim *sim) {
    size_t which = (size_t)hd_rng_below(&sim->rng, count(WANTS));
    for (int i = 0; i < N_THREADS; i++)
        if (stage.phase[i] == WANTS && which-- == 0) {
            stage.phase[i] = RUNS;
            pthread_cond_broadcast(&stage.changed);
            return;
        }
}

// Until nobody works and every statement is answered, or late: then it waits for a lock.
static void settle(void) {
    struct timespec until;
    int late = 0;
    while (count(RUNS))
        pthread_cond_wait(&stage.changed, &stage.mutex);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += BLOCKED_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (count(ASKS) && !late)
        late = pthread_cond_timedwait(&stage.changed, &stage.mutex, &until);
    stage.blocked += late && count(WANTS);
}

static void interleave(struct sim *sim) {
    pthread_mutex_lock(&stage.mutex);
    while (count(DONE) < N_THREADS) {
        settle();
        if (count(WANTS))
            let_on(sim);
    }
    pthread_mutex_unlock(&stage.mutex);
}

// Leases of pools run out by the database's clock, which knows nothing of simulated time.
static void shift_leases(struct sim *sim) {
    char sql[160];
    if (sim->now.mono_ms < shifted_mono_ms + SHIFT_MS)
        return;
    snprintf(sql, sizeof(sql), "UPDATE pool_leases SET expires_at = expires_at - interval '%" PRId64 " ms'",
             sim->now.mono_ms - shifted_mono_ms);
    shifted_mono_ms = sim->now.mono_ms;
    tell(sql);
}

void real_turns(struct sim *sim) {
    shift_leases(sim);
    struct turn turns[N_THREADS];
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) {
        stage.phase[i] = RUNS;
        turns[i] = (struct turn){&sim->replicas[i], i};
        if (pthread_create(&threads[i], NULL, turn_main, &turns[i]) != 0)
            abort();
    }
    interleave(sim);
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    if (stage.committed)
        real_look(sim);
    stage.committed = false;
}

// --- what is in them -------------------------------------------------------------------------------------------------

static int64_t number_at(const PGresult *result, int row, int column) {
    return strtoll(PQgetvalue(result, row, column), NULL, 10);
}
static struct hd_uuid uuid_at(const PGresult *result, int row, int column) {
    struct hd_uuid id = {0};
    if (!PQgetisnull(result, row, column) && hd_uuid_parse(PQgetvalue(result, row, column), &id) != HD_OK)
        abort();
    return id;
}

void real_open(const char *conninfo) {
    const struct hd_service_def *def = &orc_def;
    struct hd_db *db = hd_service_db_new(def, conninfo);
    struct hd_arena arena;
    hd_arena_init(&arena);
    struct hd_ctx cx = {.db = db, .arena = &arena, .now = hd_now_read()};
    if (hd_db_connect(&cx) != HD_OK) { // it makes the tables
        fprintf(stderr, "%s\n", cx.err.text);
        exit(2);
    }
    hd_db_free(db);
    hd_arena_release(&arena);
    eye = PQconnectdb(conninfo);
    if (PQstatus(eye) != CONNECTION_OK) {
        fprintf(stderr, "%s", PQerrorMessage(eye));
        exit(2);
    }
    tell("SET search_path = orchestrator; SET client_min_messages = warning");
}

void real_begin(struct sim *sim) {
    shifted_mono_ms = sim->now.mono_ms;
    tell("DO $$ DECLARE t text; BEGIN FOR t IN SELECT relname FROM pg_class WHERE relnamespace = "
         "'orchestrator'::regnamespace"
         " AND relkind = 'r' AND relname <> 'migrations' LOOP EXECUTE format('DELETE FROM orchestrator.%I', t); END "
         "LOOP;"
         " END $$");
    stage.committed = false;
}

static void look_at_runs(struct orc_mem *mem) {
    PGresult *rows =
        ask("SELECT id, tenant, pipeline, project, state, total, ended, rerun_of, started_by, idem_key FROM runs");
    for (int i = 0; i < PQntuples(rows); i++) {
        struct orc_run *run = orc_ws_add_run(&mem->all, uuid_at(rows, i, 0));
        run->tenant = hd_mem_text(&mem->base, PQgetvalue(rows, i, 1));
        run->pipeline = hd_mem_text(&mem->base, PQgetvalue(rows, i, 2));
        run->project = hd_mem_text(&mem->base, PQgetvalue(rows, i, 3));
        run->state = (int)number_at(rows, i, 4);
        run->total = (uint32_t)number_at(rows, i, 5);
        run->ended = (uint32_t)number_at(rows, i, 6);
        run->rerun_of = uuid_at(rows, i, 7);
        run->started_by = uuid_at(rows, i, 8);
        run->key = hd_mem_text(&mem->base, PQgetvalue(rows, i, 9));
    }
    PQclear(rows);
}

static void look_at_jobs(struct orc_mem *mem) {
    PGresult *rows = ask("SELECT run_id, idx, state, attempt, attempts, losses, retries, ready_ms FROM jobs");
    for (int i = 0; i < PQntuples(rows); i++) {
        struct orc_run *run = orc_ws_run(&mem->all, uuid_at(rows, i, 0));
        struct orc_job *job = orc_ws_add_job(&mem->all, run, (uint32_t)number_at(rows, i, 1));
        job->state = (int)number_at(rows, i, 2);
        job->attempt = uuid_at(rows, i, 3);
        job->attempts = (uint32_t)number_at(rows, i, 4);
        job->losses = (uint32_t)number_at(rows, i, 5);
        job->retries = (uint32_t)number_at(rows, i, 6);
        job->ready_ms = number_at(rows, i, 7);
    }
    PQclear(rows);
    rows = ask("SELECT id, run_id, idx, state, worker, session, incarnation, gone_ms, cause FROM attempts");
    for (int i = 0; i < PQntuples(rows); i++) {
        struct orc_job *job = orc_ws_job(&mem->all, uuid_at(rows, i, 1), (uint32_t)number_at(rows, i, 2));
        struct orc_attempt *attempt = orc_ws_add_attempt(&mem->all, uuid_at(rows, i, 0), job);
        attempt->state = (int)number_at(rows, i, 3);
        attempt->worker = hd_mem_text(&mem->base, PQgetvalue(rows, i, 4));
        attempt->session = uuid_at(rows, i, 5);
        attempt->incarnation = number_at(rows, i, 6);
        attempt->gone_ms = number_at(rows, i, 7);
        attempt->cause = (int)number_at(rows, i, 8);
    }
    PQclear(rows);
}

static void look_at_tenants(struct orc_mem *mem) {
    PGresult *rows = ask(
        "SELECT name, granted, job_limit, cpu_limit, memory_limit, gpu_limit, queued_limit, runs_limit, used, cpu_used,"
        " memory_used, gpu_used, pending, runs, queued, parts FROM tenants");
    static const enum hd_quota_dim dims[] = {HD_QUOTA_JOBS, HD_QUOTA_CPU,    HD_QUOTA_MEMORY,
                                             HD_QUOTA_GPU,  HD_QUOTA_QUEUED, HD_QUOTA_RUNS_DAY};
    for (int i = 0; i < PQntuples(rows); i++) {
        struct orc_tenant *tenant = orc_ws_add_tenant(&mem->all, hd_mem_text(&mem->base, PQgetvalue(rows, i, 0)));
        tenant->granted = *PQgetvalue(rows, i, 1) == 't';
        tenant->limit = hd_quota_unlimited();
        for (int k = 0; k < (int)(sizeof(dims) / sizeof(dims[0])); k++) {
            tenant->limit.of[dims[k]] = number_at(rows, i, 2 + k);
            tenant->used.of[dims[k]] = number_at(rows, i, 8 + k);
        }
        tenant->queued = number_at(rows, i, 14);
        tenant->parts = number_at(rows, i, 15);
    }
    PQclear(rows);
}

static void look_at_the_rest(struct orc_mem *mem) {
    PGresult *rows = ask("SELECT run_id, action, job FROM actions");
    for (int i = 0; i < PQntuples(rows); i++) {
        struct orc_done *done = HD_NEW(&mem->base.arena, struct orc_done);
        *done = (struct orc_done){.run = uuid_at(rows, i, 0),
                                  .action = hd_mem_text(&mem->base, PQgetvalue(rows, i, 1)),
                                  .job = hd_mem_text(&mem->base, PQgetvalue(rows, i, 2))};
        hd_mem_push(&mem->base, &mem->actions, done);
    }
    PQclear(rows);
    rows = ask("SELECT run_id, idx, state FROM group_members");
    for (int i = 0; i < PQntuples(rows); i++) {
        struct mem_member *member = HD_NEW(&mem->base.arena, struct mem_member);
        *member = (struct mem_member){.m = {.run = uuid_at(rows, i, 0),
                                            .idx = (uint32_t)number_at(rows, i, 1),
                                            .state = (int)number_at(rows, i, 2)}};
        hd_mem_push(&mem->base, &mem->members, member);
    }
    PQclear(rows);
    rows = ask("SELECT 1 FROM follow_ups");
    for (int i = 0; i < PQntuples(rows); i++)
        hd_mem_push(&mem->base, &mem->follow_ups, HD_NEW(&mem->base.arena, struct mem_follow_up));
    PQclear(rows);
    rows = ask("SELECT error FROM dead_letters");
    for (int i = 0; i < PQntuples(rows); i++) {
        struct hd_mem_dead *dead = HD_NEW(&mem->base.arena, struct hd_mem_dead);
        *dead = (struct hd_mem_dead){.why = hd_mem_text(&mem->base, PQgetvalue(rows, i, 0))};
        hd_mem_push(&mem->base, &mem->base.dead, dead);
    }
    PQclear(rows);
}

void real_look(struct sim *sim) {
    orc_mem_free(sim->mem);
    sim->mem = orc_mem_new();
    tell("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    look_at_runs(sim->mem);
    look_at_jobs(sim->mem);
    look_at_tenants(sim->mem);
    look_at_the_rest(sim->mem);
    tell("COMMIT");
}

void real_close(void) {
    printf("%u statements, %u times one waited for a lock of the other\n", stage.statements, stage.blocked);
    PQfinish(eye);
}
