// One behaviour suite for the orchestrator's store, run on the twin and on a real PostgreSQL; and, on PostgreSQL alone, what only
// two connections can show: locks, and a key that two take at once.
#include "tests/integration/orc_store.h"

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

static void states(struct fixture *f) {
    const char *tenant = fresh(f, "t");
    static const int all[] = {RUN(RUNNING), RUN(SUCCEEDED), RUN(FAILED), RUN(CANCELLED), RUN(FAILED), RUN(CANCELLING)};
    struct orc_ws ws;
    struct hd_uuid ids[6];
    begin(f);
    int64_t first_ms = f->cx.now.wall_ms + 10;
    for (int i = 0; i < 6; i++) {
        orc_ws_init(&ws, &f->arena);
        f->cx.now.wall_ms += 10;
        struct orc_run *run = add_run(f, &ws, tenant, "", 1);
        run->pipeline = i % 2 ? "odd" : "even";
        run->state = (Hodei__V1__RunState)all[i];
        ids[i] = run->id;
        OK(f, runs_insert, &ws);
    }
    static const struct {
        int32_t states[3];
        size_t n;
        const char *pipeline;
        int since, until, want; // since, until: of which run; 0: none
    } rows[] = {{.want = 63},
                {.states = {RUN(FAILED)}, .n = 1, .want = 20},
                {.states = {RUN(RUNNING), RUN(CANCELLING)}, .n = 2, .want = 33},
                {.states = {RUN(SUCCEEDED), RUN(CANCELLED), RUN(FAILED)}, .n = 3, .want = 30},
                {.states = {RUN(FAILED)}, .n = 1, .pipeline = "odd", .want = 0},
                {.states = {RUN(CANCELLED), RUN(FAILED)}, .n = 2, .pipeline = "odd", .want = 8},
                {.since = 2, .want = 60},
                {.since = 1, .until = 4, .want = 14},
                {.states = {RUN(FAILED), RUN(RUNNING)}, .n = 2, .since = 1, .until = 4, .want = 4},
                {.pipeline = "even", .since = 1, .want = 20}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct orc_runs_query query = {.tenant = tenant,
                                       .pipeline = rows[i].pipeline ? rows[i].pipeline : "",
                                       .project = "",
                                       .parts.all = true,
                                       .states = rows[i].states,
                                       .n_states = rows[i].n,
                                       .limit = 10};
        if (rows[i].since)
            query.since = hd_uuid_from_ms(first_ms + rows[i].since * 10);
        if (rows[i].until)
            query.before = hd_uuid_from_ms(first_ms + rows[i].until * 10);
        int found = 0;
        orc_ws_init(&ws, &f->arena);
        OK(f, runs_list, &ws, &query);
        for (size_t k = 0; k < ws.runs.n; k++)
            for (int at = 0; at < 6; at++)
                found |= hd_uuid_eq(ws.runs.items[k]->id, ids[at]) << at;
        CHECK_INT(found, rows[i].want);
        for (size_t k = 1; k < ws.runs.n; k++)
            CHECK(hd_uuid_cmp(ws.runs.items[k - 1]->id, ws.runs.items[k]->id) > 0);
    }
    commit(f);
}
TEST(runs_by_state_and_time) {
    both(states);
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
