// The orchestrator's store, on the twin and on a real PostgreSQL: queues, tenants and projects with their counters, pools, lost sessions.
#include "tests/integration/orc_store.h"

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

TEST_MAIN
