// One behaviour suite for the orchestrator's store, run on the twin and on a real PostgreSQL; and, on PostgreSQL alone, what only
// two connections can show: locks, and a key that two take at once.
#include "adapter/db.h"
#include "orchestrator/migrations.h"
#include "services/orchestrator/sql.h"
#include "services/orchestrator/store.h"
#include "tests/integration/servers.h"

#define JOB(x) HODEI__V1__JOB_STATE__JOB_STATE_##x
#define ATT(x) HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_##x
#define RUNNING HODEI__V1__RUN_STATE__RUN_STATE_RUNNING

// --- a store with its transaction -------------------------------------------------------------------------------------------------
struct fixture {
    struct hd_arena arena;
    struct hd_rng rng;
    struct hd_ctx cx;
    const struct orc_store_ops *ops;
    struct orc_mem *mem; // NULL: PostgreSQL
};

static void open_pg(struct fixture *f) {
    static const struct hd_sql *const tables[] = {orc_sql};
    static const size_t lens[] = {ORC_SQL_COUNT};
    static const struct hd_db_def def = {.schema = "orchestrator",
                                         .tables = tables,
                                         .table_lens = lens,
                                         .n_tables = 1,
                                         .migrations = hd_embedded_migrations,
                                         .n_migrations =
                                             sizeof hd_embedded_migrations / sizeof hd_embedded_migrations[0]};
    f->ops = &orc_pg_store;
    f->cx.db = hd_db_new(servers_pg(), &def);
    enum hd_status status = hd_db_connect(&f->cx);
    if (status != HD_OK)
        printf("%s\n", f->cx.err.text);
    CHECK_INT(status, HD_OK);
}

static void setup(struct fixture *f, bool pg) {
    *f = (struct fixture){.ops = &orc_mem_store};
    hd_arena_init(&f->arena);
    hd_rng_seed_os(&f->rng);
    f->cx = (struct hd_ctx){.arena = &f->arena, .rng = &f->rng, .now = hd_now_read()};
    if (pg)
        open_pg(f);
    else
        f->mem = orc_mem_new();
}

static void teardown(struct fixture *f) {
    if (f->cx.db)
        hd_db_free(f->cx.db);
    orc_mem_free(f->mem);
    hd_arena_release(&f->arena);
}

static void begin(struct fixture *f) {
    f->cx.now = hd_now_read();
    CHECK_INT(f->mem ? orc_mem_tx.begin(&f->cx, f->mem) : hd_db_begin(&f->cx), HD_OK);
}
static void commit(struct fixture *f) {
    CHECK_INT(f->mem ? orc_mem_tx.commit(&f->cx, f->mem) : hd_db_commit(&f->cx), HD_OK);
}
static void rollback(struct fixture *f) {
    if (f->mem)
        orc_mem_tx.rollback(&f->cx, f->mem);
    else
        hd_db_rollback(&f->cx);
}
#define DO(f, op, ...) (f)->ops->op(&(f)->cx, (f)->mem, __VA_ARGS__)
#define OK(f, op, ...)                                                                                                 \
    do {                                                                                                               \
        enum hd_status ok_ = DO(f, op, __VA_ARGS__);                                                                   \
        if (ok_ != HD_OK)                                                                                              \
            printf("%s\n", (f)->cx.err.text);                                                                          \
        CHECK_INT(ok_, HD_OK);                                                                                         \
    } while (0)

// Names that no other test uses, since all share one schema.
static char *fresh(struct fixture *f, const char *prefix) {
    return hd_arena_printf(&f->arena, "%s-%llx", prefix, (unsigned long long)hd_rng_next(&f->rng));
}

static struct orc_run *add_run(struct fixture *f, struct orc_ws *ws, const char *tenant, const char *key,
                               uint32_t jobs) {
    struct orc_run *run = orc_ws_add_run(ws, hd_new_id(&f->cx));
    run->tenant = tenant;
    run->pipeline = "build";
    run->version = 3;
    run->state = RUNNING;
    run->created_ms = 111;
    run->revision = 1;
    run->key = key;
    run->fingerprint = 0xfedcba9876543210u;
    run->total = run->rows = jobs;
    return run;
}

static struct orc_job *add_job(struct orc_ws *ws, struct orc_run *run, uint32_t idx, const char *pool, int state) {
    struct orc_job *job = orc_ws_add_job(ws, run, idx);
    job->pool = pool;
    job->state = state;
    job->dirty = true;
    return job;
}

static void both(void (*suite)(struct fixture *f)) {
    for (int pg = 0; pg < 2; pg++) {
        struct fixture f;
        setup(&f, pg);
        suite(&f);
        teardown(&f);
    }
}

// --- the suite ------------------------------------------------------------------------------------------------------------------
static void versions(struct fixture *f) {
    const char *tenant = fresh(f, "t");
    const uint8_t data[] = {1, 0, 255};
    struct orc_version put[] = {
        {.tenant = tenant, .name = "p", .project = "default", .version = 1, .data = data, .len = 3},
        {.tenant = tenant, .name = "p", .project = "default", .version = 10, .data = data, .len = 2},
        {.tenant = tenant, .name = "p", .project = "default", .version = 2, .data = data, .len = 1}};
    begin(f);
    OK(f, versions_put, put, 3);
    OK(f, versions_put, put, 3); // again: no effect
    struct orc_version read[] = {{.tenant = tenant, .name = "p"}, {.tenant = "nobody", .name = "p"}};
    OK(f, versions_newest, read, 2);
    CHECK(read[0].found && !read[0].deleted && !read[1].found);
    CHECK_INT(read[0].version, 10);
    struct orc_version one = {.tenant = tenant, .name = "p", .version = 1};
    OK(f, versions_get, &one, 1);
    CHECK(one.found && one.len == 3 && memcmp(one.data, data, 3) == 0);
    struct orc_version tombstone = {
        .tenant = tenant, .name = "p", .project = "default", .version = 10, .deleted = true, .data = data};
    OK(f, versions_put, &tombstone, 1);
    OK(f, versions_newest, read, 1);
    CHECK(read[0].deleted);
    struct orc_version kept = {.tenant = tenant, .name = "p", .version = 10};
    OK(f, versions_get, &kept, 1);
    CHECK_INT(kept.len, 2); // runs of it go on
    commit(f);
}
TEST(versions) {
    both(versions);
}

static void keys(struct fixture *f) {
    const char *tenant = fresh(f, "t"), *other = fresh(f, "t");
    struct orc_ws ws;
    begin(f);
    orc_ws_init(&ws, &f->arena);
    struct orc_run *first = add_run(f, &ws, tenant, "k", 1), *second = add_run(f, &ws, tenant, "k", 1);
    struct orc_run *apart = add_run(f, &ws, other, "k", 1), *none = add_run(f, &ws, tenant, "", 1);
    struct orc_run *none2 = add_run(f, &ws, tenant, "", 1);
    OK(f, runs_insert, &ws);
    CHECK_INT(first->duplicate + second->duplicate, 1);
    CHECK(!apart->duplicate && !none->duplicate && !none2->duplicate);
    commit(f);
    const struct orc_run *kept = first->duplicate ? second : first;

    begin(f);
    orc_ws_init(&ws, &f->arena);
    struct orc_run *late = add_run(f, &ws, tenant, "k", 1);
    OK(f, runs_insert, &ws);
    CHECK(late->duplicate);
    struct orc_run_key read[] = {{.tenant = tenant, .key = "k"}, {.tenant = tenant, .key = "nope"}};
    OK(f, runs_by_key, read, 2);
    CHECK(read[0].found && !read[1].found);
    CHECK(hd_uuid_eq(read[0].run, kept->id));
    CHECK(read[0].fingerprint == kept->fingerprint);
    commit(f);
}
TEST(idempotency_keys) {
    both(keys);
}

static void round_trip(struct fixture *f) {
    const char *tenant = fresh(f, "t"), *pool = fresh(f, "p");
    const uint8_t request[] = {9, 0, 8};
    struct orc_ws ws;
    begin(f);
    orc_ws_init(&ws, &f->arena);
    struct orc_run *run = add_run(f, &ws, tenant, "", 2);
    run->request = request;
    run->request_len = 3;
    OK(f, runs_insert, &ws);
    add_job(&ws, run, 0, pool, JOB(READY))->key = UINT64_MAX;
    struct orc_job *waits = add_job(&ws, run, 1, pool, JOB(WAITING));
    waits->deps_left = 7;
    waits->priority = -100;
    OK(f, save, &ws);
    commit(f);
    struct hd_uuid id = run->id, attempt_id = hd_new_id(&f->cx), session = hd_new_id(&f->cx);

    begin(f); // change all that changes
    orc_ws_init(&ws, &f->arena);
    OK(f, runs_load, &ws, &id, 1, true);
    struct orc_job_ref refs[] = {{id, 1}, {id, 0}, {id, 5}};
    OK(f, jobs_load, &ws, refs, 3);
    CHECK_INT(ws.jobs.n, 2);
    struct orc_job *job = orc_ws_job(&ws, id, 0);
    run = orc_ws_run(&ws, id);
    CHECK_INT(run->revision, 1);
    run->dirty = job->dirty = true;
    run->ended = 1;
    run->succeeded = 4;
    run->failed = 5;
    run->started_ms = 6;
    run->ended_ms = 7;
    job->state = JOB(ACTIVE);
    job->attempts = 2;
    job->losses = 1;
    job->attempt = attempt_id;
    job->queued_ms = 11;
    job->ready_ms = 12;
    job->started_ms = 13;
    job->ended_ms = 14;
    job->avoid_worker = "w0";
    struct orc_attempt *attempt = orc_ws_add_attempt(&ws, attempt_id, job);
    *attempt = (struct orc_attempt){.id = attempt_id,
                                    .job = job,
                                    .number = 2,
                                    .state = ATT(ASSIGNED),
                                    .worker = "w1",
                                    .session = session,
                                    .key = UINT64_MAX,
                                    .assigned_ms = 21,
                                    .changed_ms = 22,
                                    .message = "",
                                    .dirty = true,
                                    .chain = attempt->chain};
    OK(f, save, &ws);
    commit(f);

    begin(f); // the attempt ends
    orc_ws_init(&ws, &f->arena);
    OK(f, runs_load, &ws, &id, 1, true);
    OK(f, jobs_load, &ws, refs, 2);
    OK(f, attempts_load, &ws, &attempt_id, 1);
    attempt = orc_ws_attempt(&ws, attempt_id);
    CHECK(attempt && attempt->key == UINT64_MAX && hd_uuid_eq(attempt->session, session));
    attempt->dirty = true;
    attempt->state = ATT(FAILED);
    attempt->changed_ms = 31;
    attempt->started_ms = 32;
    attempt->ended_ms = 33;
    attempt->exit_code = -1;
    attempt->signal = 9;
    attempt->cause = 2;
    attempt->message = "ended by signal 9";
    attempt->user_ms = 41;
    attempt->system_ms = 42;
    attempt->max_rss_bytes = INT64_MAX;
    attempt->log_frames = 44;
    OK(f, save, &ws);
    commit(f);

    begin(f);
    orc_ws_init(&ws, &f->arena);
    OK(f, runs_load, &ws, &id, 1, false);
    OK(f, jobs_page, &ws, id, 0, 10);
    OK(f, attempts_page, &ws, id, 0, 10);
    run = orc_ws_run(&ws, id);
    job = orc_ws_job(&ws, id, 0);
    waits = orc_ws_job(&ws, id, 1);
    attempt = orc_ws_attempt(&ws, attempt_id);
    CHECK(run && job && waits && attempt);
    CHECK_STR(run->pipeline, "build");
    CHECK_INT(run->version, 3);
    CHECK_INT(run->total * 1000 + run->ended * 100 + run->succeeded * 10 + run->failed, 2145);
    CHECK_INT(run->started_ms * 10 + run->ended_ms, 67);
    CHECK_INT(run->revision, 2);
    CHECK(run->request_len == 3 && memcmp(run->request, request, 3) == 0);
    CHECK(job->key == UINT64_MAX && hd_uuid_eq(job->attempt, attempt_id));
    CHECK_INT(job->attempts * 10 + job->losses, 21);
    CHECK_INT(job->queued_ms * 1000000 + job->ready_ms * 10000 + job->started_ms * 100 + job->ended_ms, 11121314);
    CHECK_STR(job->pool, pool);
    CHECK_STR(job->avoid_worker, "w0");
    CHECK_STR(waits->avoid_worker, "");
    CHECK_INT(waits->deps_left, 7);
    CHECK_INT(waits->priority, -100);
    CHECK_INT(attempt->changed_ms * 10000 + attempt->started_ms * 100 + attempt->ended_ms, 313233);
    CHECK_INT(attempt->assigned_ms, 21);
    CHECK_INT(attempt->exit_code, -1);
    CHECK_INT(attempt->signal * 10 + attempt->cause, 92);
    CHECK_STR(attempt->message, "ended by signal 9");
    CHECK_STR(attempt->worker, "w1");
    CHECK_INT(attempt->max_rss_bytes, INT64_MAX);
    CHECK_INT(attempt->user_ms * 10000 + attempt->system_ms * 100 + (int64_t)attempt->log_frames, 414244);
    commit(f);
}
TEST(rows_come_back_as_they_were_saved) {
    both(round_trip);
}

static void follow_ups(struct fixture *f) {
    const char *tenant = fresh(f, "t"), *other = fresh(f, "t");
    const uint8_t data[] = {1};
    struct orc_version put[] = {
        {.tenant = tenant, .name = "down", .project = "default", .version = 1, .data = data, .len = 1},
        {.tenant = tenant, .name = "gone", .project = "default", .version = 1, .data = data, .len = 1},
        {.tenant = other, .name = "down", .project = "default", .version = 1, .data = data, .len = 1}};
    const struct orc_listener listeners[] = {
        {tenant, "up", "down", 1, 1}, {tenant, "up", "gone", 1, 3}, {other, "up", "down", 1, 1}};
    struct hd_uuid ok = hd_new_id(&f->cx), bad = hd_new_id(&f->cx);
    const struct orc_ended ended[] = {{ok, tenant, "up", 1}, {bad, tenant, "up", 2}, {bad, tenant, "elsewhere", 1}};
    struct orc_follow_up *taken, mine[4];
    struct orc_version newer = {
        .tenant = tenant, .name = "down", .project = "default", .version = 2, .data = data, .len = 1};
    struct orc_version tombstone = {
        .tenant = tenant, .name = "gone", .project = "default", .version = 2, .deleted = true, .data = data, .len = 1};
    size_t added, n, n_mine = 0;
    begin(f);
    OK(f, versions_put, put, 3);
    OK(f, listeners_put, listeners, 3, put, 3);
    OK(f, follow_ups_add, ended, 3, &added);
    CHECK_INT(added, 3); // down and gone for the good end, gone for the bad one; nothing of another tenant
    OK(f, follow_ups_add, ended, 1, &added);
    CHECK_INT(added, 0);
    commit(f);

    begin(f);
    OK(f, follow_ups_take, 1000, &taken, &n);
    for (size_t i = 0; i < n; i++)
        if (hd_uuid_eq(taken[i].run, ok) || hd_uuid_eq(taken[i].run, bad))
            mine[n_mine++] = taken[i];
    CHECK_INT(n_mine, 3);
    OK(f, follow_ups_drop, mine, n_mine);
    OK(f, versions_put, &newer, 1); // it listens no longer
    OK(f, listeners_put, NULL, 0, &newer, 1);
    OK(f, versions_put, &tombstone, 1);
    OK(f, listeners_put, NULL, 0, &tombstone, 1);
    OK(f, listeners_put, listeners, 1, put, 1); // an old version that comes late says nothing
    OK(f, follow_ups_add, ended, 3, &added);
    CHECK_INT(added, 0);
    commit(f);

    struct orc_ws ws;
    begin(f);
    orc_ws_init(&ws, &f->arena);
    struct orc_run *run = add_run(f, &ws, tenant, "", 1);
    struct hd_uuid id = run->id;
    run->started_by = ok;
    run->depth = 5;
    run->origin = "pipeline";
    OK(f, runs_insert, &ws);
    orc_ws_init(&ws, &f->arena);
    OK(f, runs_load, &ws, &id, 1, false);
    CHECK(hd_uuid_eq(ws.runs.items[0]->started_by, ok));
    CHECK_INT(ws.runs.items[0]->depth, 5);
    commit(f);
}
TEST(what_follows_a_run) {
    both(follow_ups);
}

static void undone(struct fixture *f) {
    const char *tenant = fresh(f, "t"), *names[] = {tenant};
    struct orc_ws ws;
    begin(f);
    orc_ws_init(&ws, &f->arena);
    struct orc_run *run = add_run(f, &ws, tenant, "", 1);
    OK(f, runs_insert, &ws);
    add_job(&ws, run, 0, "p", JOB(QUEUED));
    OK(f, save, &ws);
    commit(f);
    struct hd_uuid id = run->id, gone;
    struct orc_job_ref ref = {id, 0};

    begin(f);
    orc_ws_init(&ws, &f->arena);
    OK(f, runs_load, &ws, &id, 1, true);
    OK(f, jobs_load, &ws, &ref, 1);
    OK(f, tenants_load, &ws, names, 1);
    orc_ws_tenant(&ws, tenant)->used.of[HD_QUOTA_JOBS] = 5;
    orc_ws_tenant(&ws, tenant)->dirty = true;
    ws.jobs.items[0]->state = JOB(CANCELLED);
    ws.jobs.items[0]->dirty = ws.runs.items[0]->dirty = true;
    OK(f, save, &ws);
    orc_ws_init(&ws, &f->arena);
    gone = add_run(f, &ws, tenant, "", 1)->id;
    OK(f, runs_insert, &ws);
    for (uint32_t i = 0; i < 100; i++) // the twin's index grows, and comes back
        add_job(&ws, ws.runs.items[0], i, "p", JOB(QUEUED));
    OK(f, save, &ws);
    rollback(f);

    begin(f);
    orc_ws_init(&ws, &f->arena);
    struct hd_uuid ids[] = {id, gone};
    OK(f, runs_load, &ws, ids, 2, false);
    CHECK_INT(ws.runs.n, 1);
    CHECK_INT(ws.runs.items[0]->revision, 1);
    struct orc_job_ref refs[] = {ref, {gone, 3}};
    OK(f, jobs_load, &ws, refs, 2);
    CHECK_INT(ws.jobs.n, 1);
    CHECK_INT(ws.jobs.items[0]->state, JOB(QUEUED));
    OK(f, tenants_load, &ws, names, 1);
    CHECK_INT(orc_ws_tenant(&ws, tenant)->used.of[HD_QUOTA_JOBS], 0);
    commit(f);
}
TEST(a_rollback_leaves_nothing) {
    both(undone);
}

static void lists(struct fixture *f) {
    const char *tenant = fresh(f, "t");
    struct orc_ws ws;
    struct hd_uuid ids[5];
    begin(f);
    for (int i = 0; i < 5; i++) {
        orc_ws_init(&ws, &f->arena);
        f->cx.now.wall_ms++; // ids rise
        struct orc_run *run = add_run(f, &ws, i == 2 ? fresh(f, "t") : tenant, "", 1);
        run->pipeline = i == 3 ? "deploy" : "build";
        run->project = i == 1 ? "web" : "default";
        ids[i] = run->id;
        OK(f, runs_insert, &ws);
    }
    orc_ws_init(&ws, &f->arena);
    struct orc_runs_query query = {.tenant = tenant, .pipeline = "", .project = "", .parts.all = true, .limit = 2};
    OK(f, runs_list, &ws, &query);
    CHECK_INT(ws.runs.n, 2);
    CHECK(hd_uuid_eq(ws.runs.items[0]->id, ids[4]) && hd_uuid_eq(ws.runs.items[1]->id, ids[3]));
    query.before = ids[3];
    orc_ws_init(&ws, &f->arena);
    OK(f, runs_list, &ws, &query);
    CHECK_INT(ws.runs.n, 2);
    CHECK(hd_uuid_eq(ws.runs.items[0]->id, ids[1]) && hd_uuid_eq(ws.runs.items[1]->id, ids[0]));
    orc_ws_init(&ws, &f->arena);
    query =
        (struct orc_runs_query){.tenant = tenant, .pipeline = "deploy", .project = "", .parts.all = true, .limit = 10};
    OK(f, runs_list, &ws, &query);
    CHECK_INT(ws.runs.n, 1);
    commit(f);
}
TEST(runs_newest_first_by_tenant) {
    both(lists);
}

static void parts(struct fixture *f) {
    const char *tenant = fresh(f, "t");
    static const char *const projects[] = {"default", "web", "web", "data"};
    struct orc_ws ws;
    struct hd_uuid ids[4];
    begin(f);
    for (int i = 0; i < 4; i++) {
        orc_ws_init(&ws, &f->arena);
        f->cx.now.wall_ms++;
        struct orc_run *run = add_run(f, &ws, tenant, "", 1);
        run->pipeline = i == 3 ? "etl" : i == 0 ? "build" : "site";
        run->project = projects[i];
        ids[i] = run->id;
        OK(f, runs_insert, &ws);
    }
    static const struct {
        const char *pipelines[2], *projects[2], *pipeline, *project;
        bool all;
        int want; // bits of those that are found
    } rows[] = {{.all = true, .project = "web", .want = 6},
                {.all = true, .project = "default", .want = 1},
                {.all = true, .project = "web", .pipeline = "build", .want = 0},
                {.projects = {"web"}, .want = 6},
                {.projects = {"default"}, .pipelines = {"etl"}, .want = 9},
                {.projects = {"web"}, .pipelines = {"site"}, .want = 6}, // each once
                {.projects = {"web", "data"}, .pipeline = "etl", .want = 8},
                {.pipelines = {"build"}, .project = "web", .want = 0},
                {.want = 0}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *some[4] = {rows[i].projects[0], rows[i].projects[1]}, *names[4] = {rows[i].pipelines[0]};
        struct orc_runs_query query = {
            .tenant = tenant,
            .pipeline = rows[i].pipeline ? rows[i].pipeline : "",
            .project = rows[i].project ? rows[i].project : "",
            .parts = {rows[i].all, some, names, (some[0] != NULL) + (some[1] != NULL), names[0] != NULL},
            .limit = 10};
        int found = 0;
        orc_ws_init(&ws, &f->arena);
        OK(f, runs_list, &ws, &query);
        for (size_t k = 0; k < ws.runs.n; k++)
            for (int at = 0; at < 4; at++)
                found |= hd_uuid_eq(ws.runs.items[k]->id, ids[at]) << at;
        CHECK_INT(found, rows[i].want);
        CHECK_INT(ws.runs.n, __builtin_popcount((unsigned)rows[i].want));
        CHECK(ws.runs.n == 0 || strcmp(ws.runs.items[0]->tenant, tenant) == 0);
    }
    orc_ws_init(&ws, &f->arena);
    struct orc_runs_query query = {.tenant = tenant, .pipeline = "", .project = "web", .limit = 1, .before = ids[2]};
    query.parts = (struct hd_parts){.all = true, .projects = (const char *[1]){NULL}};
    OK(f, runs_list, &ws, &query);
    CHECK(ws.runs.n == 1 && hd_uuid_eq(ws.runs.items[0]->id, ids[1]));
    CHECK_STR(ws.runs.items[0]->project, "web");
    commit(f);
}
TEST(runs_of_parts_of_a_tenant) {
    both(parts);
}

// Jobs of a project wait in a queue of their own, under a row of its own.
static void project_queue(struct fixture *f) {
    const char *tenant = fresh(f, "t"), *web = hd_arena_printf(&f->arena, "%s/web", tenant),
               *idle = hd_arena_printf(&f->arena, "%s/idle", tenant), *names[] = {tenant, idle, web}, **waiting;
    struct orc_usage *usage;
    struct orc_ws ws;
    size_t n;
    begin(f);
    orc_ws_init(&ws, &f->arena);
    struct orc_run *run = add_run(f, &ws, tenant, "", 1), *plain = add_run(f, &ws, tenant, "", 1);
    run->project = "web";
    OK(f, runs_insert, &ws);
    add_job(&ws, run, 0, "p", JOB(QUEUED));
    add_job(&ws, plain, 0, "p", JOB(QUEUED));
    OK(f, tenants_load, &ws, names, 3);
    struct orc_tenant *part = orc_ws_tenant(&ws, web);
    CHECK(part->granted && part->limit.of[HD_QUOTA_JOBS] == HD_QUOTA_UNLIMITED);
    CHECK_STR(part->project, "web");
    orc_ws_tenant(&ws, tenant)->queued = 2;
    orc_ws_tenant(&ws, tenant)->parts = part->queued = 1;
    orc_ws_tenant(&ws, tenant)->used.of[HD_QUOTA_QUEUED] = 2;
    part->used.of[HD_QUOTA_QUEUED] = 1;
    part->dirty = orc_ws_tenant(&ws, tenant)->dirty = true;
    OK(f, save, &ws);
    commit(f);
    begin(f);
    OK(f, parts_waiting, tenant, &waiting, &n);
    CHECK_INT(n, 1);
    CHECK_STR(waiting[0], web);
    for (int i = 0; i < 2; i++) {
        orc_ws_init(&ws, &f->arena);
        OK(f, jobs_queued, &ws, i ? web : tenant, 10);
        CHECK_INT(ws.jobs.n, 1);
        CHECK_STR(ws.jobs.items[0]->run->project, i ? "web" : "default");
    }
    OK(f, usage_count, names, 3, &usage, &n);
    int64_t pending[3] = {0}, parts_of[3] = {0};
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < 3; k++)
            if (strcmp(usage[i].tenant, names[k]) == 0) {
                pending[k] += usage[i].is_pending;
                parts_of[k] += usage[i].is_parts;
                CHECK_INT(usage[i].parts, k == 0);
            }
    CHECK(pending[0] == 2 && pending[1] == 0 && pending[2] == 1);
    CHECK(parts_of[0] == 1 && parts_of[1] == 0 && parts_of[2] == 0);
    commit(f);
}
TEST(a_project_has_a_queue_of_its_own) {
    both(project_queue);
}

static void approvals(struct fixture *f) {
    struct orc_ws ws;
    const char **who;
    size_t n;
    begin(f);
    orc_ws_init(&ws, &f->arena);
    struct orc_run *run = add_run(f, &ws, fresh(f, "t"), "", 3), *other = add_run(f, &ws, fresh(f, "t"), "", 1);
    OK(f, runs_insert, &ws);
    struct orc_job *two = add_job(&ws, run, 0, "p", JOB(QUEUED)), *none = add_job(&ws, run, 1, "p", JOB(QUEUED)),
                   *theirs = add_job(&ws, other, 0, "p", JOB(QUEUED));
    OK(f, approvals_add, two, "ann");
    OK(f, approvals_add, two, "bob");
    OK(f, approvals_add, two, "ann"); // the same person once
    OK(f, approvals_add, theirs, "ann");
    OK(f, approvals_list, two, &who, &n);
    CHECK_INT(n, 2);
    OK(f, approvals_count, &ws, run->id);
    CHECK_INT(two->approvals, 2);
    CHECK_INT(none->approvals, 0);
    CHECK_INT(theirs->approvals, 0);
    commit(f);
}
TEST(approvals_count_each_person_once) {
    both(approvals);
}

static void queued(struct fixture *f) {
    const char *tenant = fresh(f, "t");
    struct orc_ws ws;
    begin(f);
    orc_ws_init(&ws, &f->arena);
    struct orc_run *run = add_run(f, &ws, tenant, "", 6);
    OK(f, runs_insert, &ws);
    static const struct {
        int state, priority, queued_ms;
    } rows[] = {{JOB(QUEUED), 0, 50}, {JOB(QUEUED), 0, 40},  {JOB(READY), 100, 1},
                {JOB(QUEUED), 5, 90}, {JOB(WAITING), 90, 0}, {JOB(QUEUED), -5, 10}};
    for (uint32_t i = 0; i < 6; i++) {
        struct orc_job *job = add_job(&ws, run, i, "p", rows[i].state);
        job->priority = rows[i].priority;
        job->queued_ms = rows[i].queued_ms;
    }
    OK(f, save, &ws);
    commit(f);
    begin(f);
    orc_ws_init(&ws, &f->arena);
    OK(f, jobs_queued, &ws, tenant, 3);
    CHECK_INT(ws.jobs.n, 3);
    for (size_t i = 0; i < ws.jobs.n && i < 3; i++)
        CHECK_INT(ws.jobs.items[i]->idx, ((const int[]){3, 1, 0})[i]);
    CHECK(ws.runs.n == 1 && ws.runs.items[0]->locked);
    orc_ws_init(&ws, &f->arena);
    struct hd_uuid id = run->id;
    OK(f, runs_load, &ws, &id, 1, true);
    OK(f, jobs_load_open, &ws, &id, 1);
    CHECK_INT(ws.jobs.n, 6);
    commit(f);
}
TEST(queued_jobs_best_first) {
    both(queued);
}

static void tenants(struct fixture *f) {
    const char *a = fresh(f, "a"), *b = fresh(f, "b"), *c = fresh(f, "c"), *names[] = {a, b, c}, **waiting;
    struct orc_ws ws;
    size_t n;
    begin(f);
    orc_ws_init(&ws, &f->arena);
    OK(f, tenants_load, &ws, names, 3);
    CHECK(ws.n_tenants == 3 && !orc_ws_tenant(&ws, a)->granted);
    for (int i = 0; i < 3; i++) {
        struct orc_tenant *tenant = orc_ws_tenant(&ws, names[i]);
        tenant->dirty = true;
        tenant->queued = 1;
        tenant->granted = i > 0;
        tenant->version = 4;
        tenant->limit.of[HD_QUOTA_JOBS] = 10;
        tenant->regranted = i > 0;
        tenant->used.of[HD_QUOTA_JOBS] = i == 1 ? 10 : 9; // b is full
        tenant->job_ms = 150000;
        tenant->used.of[HD_QUOTA_MINUTES_MONTH] = 2;
        tenant->used.of[HD_QUOTA_RUNS_DAY] = 5;
        tenant->limit.of[HD_QUOTA_MEMORY] = INT64_C(1) << 40;
        tenant->weight = 7;
        tenant->marks = 9;
    }
    OK(f, save, &ws);
    commit(f);
    begin(f);
    OK(f, tenants_waiting, 1000, &waiting, &n);
    bool got[3] = {0};
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 3; k++)
            got[k] |= strcmp(waiting[i], names[k]) == 0;
    CHECK(got[0] && !got[1] && got[2]);
    orc_ws_init(&ws, &f->arena);
    OK(f, tenants_load, &ws, names, 3);
    CHECK_INT(orc_ws_tenant(&ws, b)->used.of[HD_QUOTA_JOBS] * 100 + orc_ws_tenant(&ws, b)->limit.of[HD_QUOTA_JOBS],
              1010);
    const struct orc_tenant *third = orc_ws_tenant(&ws, c);
    CHECK_INT(third->version, 4);
    CHECK(third->weight == 7 && third->marks == 9 && third->used.of[HD_QUOTA_RUNS_DAY] == 5 &&
          third->used.of[HD_QUOTA_MINUTES_MONTH] == 2 && third->limit.of[HD_QUOTA_MEMORY] == INT64_C(1) << 40 &&
          third->limit.of[HD_QUOTA_CPU] == HD_QUOTA_UNLIMITED);
    orc_ws_init(&ws, &f->arena);
    const char *more[] = {a, "nobody"};
    OK(f, tenants_read, &ws, more, 2);
    CHECK(ws.n_tenants == 1 && orc_ws_tenant(&ws, a)->used.of[HD_QUOTA_JOBS] == 9);
    commit(f);
}
TEST(tenants_and_their_counters) {
    both(tenants);
}

// Of each state one, of one run, beside what the counters say.
static void usage(struct fixture *f) {
    const char *tenant = fresh(f, "t"), *empty = fresh(f, "t"), *names[] = {tenant, empty};
    struct orc_usage *rows;
    struct orc_ws ws;
    size_t n;
    begin(f);
    orc_ws_init(&ws, &f->arena);
    struct orc_run *run = add_run(f, &ws, tenant, "", 4);
    OK(f, runs_insert, &ws);
    for (uint32_t i = 0; i < 4; i++) {
        struct orc_job *job = orc_ws_add_job(&ws, run, i);
        job->pool = "default";
        job->outputs = "";
        job->state = (int)i + 1; // WAITING, QUEUED, READY, ACTIVE
        job->dirty = true;
    }
    OK(f, tenants_load, &ws, names, 2);
    orc_ws_tenant(&ws, tenant)->used.of[HD_QUOTA_CPU] = 77;
    orc_ws_tenant(&ws, tenant)->dirty = true;
    OK(f, save, &ws);
    commit(f);
    begin(f);
    OK(f, usage_count, names, 2, &rows, &n);
    int64_t counted = 0, pending = 0, queued = 0, cpu = 0;
    bool none = false;
    for (size_t i = 0; i < n; i++) {
        counted += rows[i].is_counted;
        pending += rows[i].is_pending;
        queued += rows[i].is_queued;
        cpu = strcmp(rows[i].tenant, tenant) == 0 ? rows[i].cpu_milli : cpu;
        none |= strcmp(rows[i].tenant, empty) == 0 && !*rows[i].pipeline;
    }
    CHECK(counted == 2 && pending == 2 && queued == 1 && cpu == 77 && none);
    OK(f, usage_count, NULL, 0, &rows, &n);
    CHECK(n >= 5);
    struct hd_quota all, rest;
    bool waiting;
    orc_ws_init(&ws, &f->arena);
    OK(f, tenants_load, &ws, names, 1);
    struct orc_tenant *lender = orc_ws_tenant(&ws, tenant);
    lender->granted = lender->regranted = lender->dirty = true;
    lender->limit.of[HD_QUOTA_JOBS] = 10;
    lender->limit.of[HD_QUOTA_GPU] = 3;
    lender->used.of[HD_QUOTA_JOBS] = 4;
    OK(f, save, &ws);
    OK(f, tenants_spare, names, 1, &rest, &waiting);
    OK(f, tenants_spare, names + 1, 1, &all, &waiting);
    CHECK_INT(all.of[HD_QUOTA_JOBS] - rest.of[HD_QUOTA_JOBS], 6);
    CHECK_INT(all.of[HD_QUOTA_GPU] - rest.of[HD_QUOTA_GPU], 3);
    CHECK_INT(all.of[HD_QUOTA_MEMORY], rest.of[HD_QUOTA_MEMORY]);
    lender->queued = 1;
    lender->dirty = true;
    OK(f, save, &ws);
    OK(f, tenants_spare, names + 1, 1, &all, &waiting);
    CHECK(waiting);
    commit(f);
}
TEST(what_is_used_is_counted_beside_the_counters) {
    both(usage);
}

static void leases(struct fixture *f) {
    const char *pool = fresh(f, "p");
    begin(f);
    struct orc_lease a = {.pool = pool, .holder = "a"}, b = {.pool = pool, .holder = "b"};
    OK(f, lease_take, &a, 60000, false);
    CHECK(a.granted && a.fresh);
    uint64_t first = a.epoch;
    OK(f, lease_take, &b, 60000, false);
    CHECK(!b.granted && b.epoch == first);
    OK(f, lease_take, &a, 60000, false); // keeps it
    CHECK(a.granted && !a.fresh && a.epoch == first);
    a.epoch = 0; // lost its memory
    OK(f, lease_take, &a, 60000, false);
    CHECK(a.granted && a.fresh && a.epoch == first + 1);
    OK(f, lease_take, &a, 60000, true); // lets it go
    CHECK(!a.granted);
    b.epoch = 0;
    OK(f, lease_take, &b, 0, false); // runs out at once
    CHECK(b.granted && b.epoch == first + 2);
    commit(f);
    begin(f);
    a.epoch = 0;
    OK(f, lease_take, &a, 60000, false);
    CHECK(a.granted && a.fresh && a.epoch == first + 3);
    struct orc_lease held[] = {{.pool = pool}, {.pool = fresh(f, "p")}};
    OK(f, leases_hold, held, 2);
    CHECK(held[0].epoch == first + 3 && strcmp(held[0].holder, "a") == 0);
    CHECK(held[1].epoch == 0);
    commit(f);
}
TEST(leases_of_pools) {
    both(leases);
}

// A tenant with many jobs and one with a single younger one: the first few of the pool are of both.
static void pool_turns(struct fixture *f) {
    const char *pool = fresh(f, "p"), *crowd = fresh(f, "t"), *other = fresh(f, "t");
    static const int64_t ready_ms[] = {30, 10, 20, 40, 50}, keys[] = {11, 12, 13, 14, 15};
    struct orc_pool_entry *entries;
    struct orc_ws ws;
    size_t n;
    begin(f);
    orc_ws_init(&ws, &f->arena);
    struct orc_run *runs[] = {add_run(f, &ws, crowd, "", 5), add_run(f, &ws, other, "", 1)};
    OK(f, runs_insert, &ws);
    for (uint32_t i = 0; i < 6; i++) {
        struct orc_job *job = add_job(&ws, runs[i / 5], i % 5, pool, JOB(READY));
        job->key = i < 5 ? (uint64_t)keys[i] : 99;
        job->ready_ms = i < 5 ? ready_ms[i] : 60;
        job->priority = i == 4 ? 1 : 0;
    }
    OK(f, save, &ws);
    OK(f, pool_entries, pool, 4, &entries, &n);
    CHECK_INT(n, 4);
    CHECK(entries[0].key == 15 && entries[1].key == 12 && entries[2].key == 99 && entries[3].key == 13);
    commit(f);
}
TEST(a_pool_is_read_in_turns) {
    both(pool_turns);
}

static void sessions(struct fixture *f) {
    const char *tenant = fresh(f, "t"), *pool = fresh(f, "p");
    struct hd_uuid lost = hd_new_id(&f->cx), fine = hd_new_id(&f->cx), ask[] = {lost, fine};
    struct orc_attempt_ref *refs;
    struct orc_pool_entry *entries;
    struct orc_ws ws;
    size_t n;
    begin(f);
    orc_ws_init(&ws, &f->arena);
    struct orc_run *run = add_run(f, &ws, tenant, "", 4);
    OK(f, runs_insert, &ws);
    for (uint32_t i = 0; i < 4; i++) { // 0: live and lost, 1: live, 2: ended in the lost session, 3: ready
        struct orc_job *job = add_job(&ws, run, i, pool, i == 2 ? JOB(FAILED) : i == 3 ? JOB(READY) : JOB(ACTIVE));
        job->key = i + 1;
        job->ready_ms = 77;
        if (i == 3)
            continue;
        struct orc_attempt *attempt = orc_ws_add_attempt(&ws, hd_new_id(&f->cx), job);
        attempt->state = i == 2 ? ATT(FAILED) : ATT(RUNNING);
        attempt->session = i == 1 ? fine : lost;
        attempt->incarnation = 5;
        attempt->worker = "w";
        attempt->changed_ms = 88;
        attempt->dirty = true;
        job->attempt = attempt->id;
    }
    OK(f, save, &ws);
    OK(f, pool_entries, pool, 100, &entries, &n);
    CHECK_INT(n, 3);
    CHECK(entries[0].key == 4 && entries[0].since_ms == 77 && *entries[0].worker == 0);
    CHECK(entries[1].since_ms == 88 && strcmp(entries[1].worker, "w") == 0);
    OK(f, attempts_find_live, &lost, 1, &refs, &n);
    CHECK(n == 1 && refs[0].job.idx == 0 && hd_uuid_eq(refs[0].job.run, run->id));
    struct hd_uuid found = refs[0].id;
    OK(f, attempts_find, &found, 1, &refs, &n);
    CHECK(n == 1 && hd_uuid_eq(refs[0].id, found));
    struct orc_life life = {lost, 4}, *gone; // up to it: what was placed with a later one goes on
    OK(f, sessions_lose, &life, 1);
    OK(f, attempts_orphaned, 100000, &refs, &n);
    for (size_t i = 0; i < n; i++)
        CHECK(!hd_uuid_eq(refs[i].id, found));
    life.incarnation = 7;
    OK(f, sessions_lose, &life, 1);
    OK(f, sessions_lose, &life, 1);
    life.incarnation = 6; // told again, late
    OK(f, sessions_lose, &life, 1);
    OK(f, sessions_lost, ask, 2, &gone, &n);
    CHECK(n == 1 && hd_uuid_eq(gone[0].session, lost) && gone[0].incarnation == 7);
    OK(f, attempts_orphaned, 100000, &refs, &n);
    bool seen = false;
    for (size_t i = 0; i < n; i++)
        seen |= hd_uuid_eq(refs[i].id, found);
    CHECK(seen);
    struct orc_job_ref first = {run->id, 0};
    struct hd_uuid run_id = run->id;
    for (int cancelled = 0; cancelled < 2;
         cancelled++) { // one that is held is left alone, unless it is to be cancelled
        orc_ws_init(&ws, &f->arena);
        OK(f, runs_load, &ws, &run_id, 1, true);
        OK(f, jobs_load, &ws, &first, 1);
        OK(f, attempts_load, &ws, &found, 1);
        ws.attempts.items[0]->gone_ms = 99;
        ws.attempts.items[0]->dirty = ws.jobs.items[0]->dirty = true;
        ws.jobs.items[0]->flags |= ORC_WORKER_GONE;
        ws.jobs.items[0]->state = cancelled ? JOB(CANCELLING) : JOB(ACTIVE);
        OK(f, save, &ws);
        orc_ws_init(&ws, &f->arena);
        OK(f, runs_load, &ws, &run_id, 1, false);
        OK(f, jobs_load, &ws, &first, 1);
        OK(f, attempts_load, &ws, &found, 1);
        CHECK_INT(ws.attempts.items[0]->gone_ms, 99);
        CHECK_INT(ws.attempts.items[0]->incarnation, 5);
        CHECK(ws.jobs.items[0]->was_flags & ORC_WORKER_GONE);
        OK(f, attempts_orphaned, 100000, &refs, &n);
        seen = false;
        for (size_t i = 0; i < n; i++)
            seen |= hd_uuid_eq(refs[i].id, found);
        CHECK_INT(seen, cancelled);
    }
    int64_t before = f->cx.now.wall_ms, after = before + 1;
    life.incarnation = 7; // the same that was lost, whenever it was seen
    OK(f, sessions_revive, &life, &after, 1);
    life.incarnation = 0; // not known, and seen before it was lost: no effect
    OK(f, sessions_revive, &life, &before, 1);
    OK(f, sessions_lost, &lost, 1, &gone, &n);
    CHECK_INT(n, 1);
    life.incarnation = 8;
    OK(f, sessions_revive, &life, &before, 1);
    OK(f, sessions_lost, &lost, 1, &gone, &n);
    CHECK_INT(n, 0);
    life.incarnation = 7;
    OK(f, sessions_lose, &life, 1);
    life.incarnation = 0;
    OK(f, sessions_revive, &life, &after, 1);
    OK(f, sessions_lost, &lost, 1, &gone, &n);
    CHECK_INT(n, 0);
    commit(f);
}
TEST(sessions_and_pools) {
    both(sessions);
}

// --- what only two connections show -----------------------------------------------------------------------------------------------
TEST(a_key_taken_by_two_at_once) {
    struct fixture a, b;
    struct orc_ws ws;
    setup(&a, true);
    setup(&b, true);
    const char *tenant = fresh(&a, "t");
    begin(&a);
    orc_ws_init(&ws, &a.arena);
    add_run(&a, &ws, tenant, "k", 1);
    OK(&a, runs_insert, &ws);
    b.cx.now = hd_now_read();
    b.cx.deadline_mono_ms = b.cx.now.mono_ms + 100;
    CHECK_INT(hd_db_begin(&b.cx), HD_OK);
    orc_ws_init(&ws, &b.arena);
    struct orc_run *second = add_run(&b, &ws, tenant, "k", 1);
    CHECK_INT(DO(&b, runs_insert, &ws), HD_TIMEOUT); // waits for what the first becomes
    hd_db_rollback(&b.cx);
    commit(&a);
    b.cx.deadline_mono_ms = 0;
    begin(&b);
    OK(&b, runs_insert, &ws);
    CHECK(second->duplicate);
    commit(&b);
    teardown(&a);
    teardown(&b);
}

TEST(admission_passes_over_what_another_holds) {
    struct fixture a, b;
    struct orc_ws ws, other;
    setup(&a, true);
    setup(&b, true);
    const char *tenant = fresh(&a, "t");
    begin(&a);
    orc_ws_init(&ws, &a.arena);
    struct orc_run *run = add_run(&a, &ws, tenant, "", 1), *free_run = add_run(&a, &ws, tenant, "", 1);
    OK(&a, runs_insert, &ws);
    add_job(&ws, run, 0, "p", JOB(QUEUED));
    add_job(&ws, free_run, 0, "p", JOB(QUEUED));
    OK(&a, save, &ws);
    commit(&a);
    struct hd_uuid id = run->id;
    begin(&a);
    orc_ws_init(&ws, &a.arena);
    OK(&a, runs_load, &ws, &id, 1, true);
    begin(&b);
    orc_ws_init(&other, &b.arena);
    OK(&b, jobs_queued, &other, tenant, 10);
    CHECK_INT(other.jobs.n, 1);
    CHECK(hd_uuid_eq(other.runs.items[0]->id, free_run->id));
    commit(&b);
    commit(&a);
    teardown(&a);
    teardown(&b);
}

TEST(a_placement_holds_the_lease) {
    struct fixture a, b;
    setup(&a, true);
    setup(&b, true);
    const char *pool = fresh(&a, "p");
    struct orc_lease lease = {.pool = pool, .holder = "a"}, other = {.pool = pool, .holder = "b"};
    begin(&a);
    OK(&a, lease_take, &lease, 0, false);
    commit(&a);
    begin(&a);
    OK(&a, leases_hold, &lease, 1);
    b.cx.now = hd_now_read();
    b.cx.deadline_mono_ms = b.cx.now.mono_ms + 100;
    CHECK_INT(hd_db_begin(&b.cx), HD_OK);
    CHECK_INT(DO(&b, lease_take, &other, 1000, false), HD_TIMEOUT);
    hd_db_rollback(&b.cx);
    commit(&a);
    teardown(&a);
    teardown(&b);
}

TEST_MAIN
