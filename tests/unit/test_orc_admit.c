// Pure decisions of the orchestrator: admission, limits of tenants and projects, borrowing, marks.
#include "orc_run.h"

TEST(admission_takes_the_best_first) {
    struct fixture f;
    setup(&f, 5);
    f.plan->jobs[3]->priority = 10;
    start(&f);
    orc_ws_job(&f.ws, f.run->id, 2)->queued_ms = 500; // waits longest
    struct orc_tenant *tenant = orc_ws_add_tenant(&f.ws, "acme");
    tenant->granted = true;
    tenant->limit.of[HD_QUOTA_JOBS] = 3;
    tenant->used.of[HD_QUOTA_JOBS] = 1;
    orc_tenant_count(&f.ws, tenant, f.chance.now_ms);
    CHECK_INT(tenant->queued, 5);
    CHECK_INT(orc_tenant_admit(&f.ws, tenant, &f.chance), 2);
    CHECK_INT(state(&f, 3), JOB(READY));
    CHECK_INT(state(&f, 2), JOB(READY));
    CHECK_INT(state(&f, 0), JOB(QUEUED));
    CHECK_INT(tenant->used.of[HD_QUOTA_JOBS], 3);
    CHECK_INT(tenant->queued, 3);
    CHECK_INT(orc_tenant_admit(&f.ws, tenant, &f.chance), 0);
    tenant->limit.of[HD_QUOTA_JOBS] = 1; // a grant that shrank below what is used
    CHECK_INT(orc_tenant_admit(&f.ws, tenant, &f.chance), 0);
    hd_arena_release(&f.arena);
}

// Five jobs of the fixture's plan that ask for 100 bytes each, all QUEUED, and a tenant with that much memory.
static struct orc_tenant *start_limited(struct fixture *f, int64_t memory) {
    static Hodei__V1__Resources asks[5];
    setup(f, 5);
    for (size_t i = 0; i < 5; i++) {
        asks[i] = (Hodei__V1__Resources)HODEI__V1__RESOURCES__INIT;
        asks[i].memory_bytes = 100;
        f->plan->jobs[i]->resources = &asks[i];
    }
    start(f);
    struct orc_tenant *tenant = orc_ws_add_tenant(&f->ws, "acme");
    tenant->granted = true;
    tenant->limit.of[HD_QUOTA_JOBS] = 100;
    tenant->limit.of[HD_QUOTA_MEMORY] = memory;
    return tenant;
}

TEST(admission_stops_at_the_first_that_does_not_fit) {
    struct fixture f;
    struct orc_tenant *tenant = start_limited(&f, 350);
    f.plan->jobs[2]->resources->memory_bytes = 200; // the third; those behind it are smaller and wait all the same
    orc_tenant_count(&f.ws, tenant, 1000);
    CHECK_INT(tenant->used.of[HD_QUOTA_QUEUED], 5);
    CHECK_INT(tenant->used.of[HD_QUOTA_RUNS_DAY], 1);
    CHECK_INT(orc_tenant_admit(&f.ws, tenant, &f.chance), 2);
    CHECK_INT(state(&f, 2), JOB(QUEUED));
    CHECK_INT(state(&f, 3), JOB(QUEUED));
    CHECK_INT(tenant->used.of[HD_QUOTA_MEMORY], 200);
    CHECK_INT(tenant->used.of[HD_QUOTA_QUEUED], 3);
    const char *why = orc_quota_why(&f.arena, orc_ws_job(&f.ws, f.run->id, 2), tenant);
    CHECK_STR(why,
              "it asks for 200 B of memory, and jobs of the tenant have 200 B of memory of its 350 B of memory: wait "
              "for one to end, or raise the quota");
    CHECK(strstr(orc_quota_why(&f.arena, orc_ws_job(&f.ws, f.run->id, 3), tenant), "waits behind"));
    tenant->limit.of[HD_QUOTA_MEMORY] = HD_QUOTA_UNLIMITED;
    CHECK_INT(orc_tenant_admit(&f.ws, tenant, &f.chance), 3);
    hd_arena_release(&f.arena);
}

TEST(what_is_larger_than_the_limit_is_put_aside_and_hides_nobody) {
    struct fixture f;
    struct orc_tenant *tenant = start_limited(&f, 350);
    f.plan->jobs[0]->resources->memory_bytes = 351;
    orc_tenant_count(&f.ws, tenant, 1000);
    CHECK_INT(orc_tenant_admit(&f.ws, tenant, &f.chance), 3);
    struct orc_job *large = orc_ws_job(&f.ws, f.run->id, 0);
    CHECK(large->state == JOB(QUEUED) && large->hold == ORC_HOLD_TOO_LARGE && large->due_ms > f.chance.now_ms);
    CHECK_INT(tenant->queued, 1);
    CHECK(strstr(orc_quota_why(&f.arena, large, tenant), "can never start"));
    f.chance.now_ms = large->due_ms; // it is looked at again: the limit may be another by now
    CHECK(orc_job_due(large, &f.chance) && large->hold == 0 && large->due_ms == 0);
    hd_arena_release(&f.arena);
}

TEST(starts_are_refused_with_what_is_used_up) {
    struct fixture f;
    struct hd_err err = {0};
    struct orc_tenant *tenant = start_limited(&f, 350);
    tenant->limit.of[HD_QUOTA_RUNS_DAY] = 2;
    CHECK(orc_start_allowed(&f.arena, tenant, f.plan, 1000, &err));
    CHECK(orc_start_allowed(&f.arena, tenant, f.plan, 1000, &err));
    CHECK(!orc_start_allowed(&f.arena, tenant, f.plan, 1000, &err));
    CHECK_INT(err.status, HD_LIMITED);
    CHECK_STR(err.text, "the tenant has used 2 of its 2 runs a day, and this needs 1 more");
    CHECK_STR(err.field, "quota.runs_day");
    CHECK_INT(err.retry_after_s, 86399);
    CHECK(orc_start_allowed(&f.arena, tenant, f.plan, 86400000, &err)); // tomorrow
    tenant->limit.of[HD_QUOTA_QUEUED] = 19;                             // 15 are there
    CHECK(!orc_start_allowed(&f.arena, tenant, f.plan, 86400000, &err));
    CHECK_STR(err.field, "quota.queued_jobs");
    CHECK_INT(err.retry_after_s, 0);
    tenant->limit.of[HD_QUOTA_MINUTES_MONTH] = 0;
    tenant->limit.of[HD_QUOTA_QUEUED] = -1;
    CHECK(!orc_start_allowed(&f.arena, tenant, f.plan, 86400000, &err)); // 2 January 1970
    CHECK_STR(err.field, "quota.job_minutes_month");
    CHECK_INT(err.retry_after_s, 30 * 86400);
    tenant->limit.of[HD_QUOTA_MEMORY] = 99;
    CHECK(!orc_start_allowed(&f.arena, tenant, f.plan, 86400000, &err));
    CHECK_INT(err.status, HD_PRECONDITION);
    CHECK(strstr(err.text, "can never start: it asks for 100 B of memory, and the tenant may use 99 B"));
    hd_arena_release(&f.arena);
}

TEST(counters_under_their_lock_are_looked_at_again) {
    struct fixture f;
    struct hd_err err = {0};
    struct orc_tenant *tenant = start_limited(&f, 350);
    tenant->limit.of[HD_QUOTA_RUNS_DAY] = 7;
    tenant->used.of[HD_QUOTA_RUNS_DAY] = 7; // another replica was faster
    orc_tenant_count(&f.ws, tenant, 1000);
    CHECK(!orc_tenant_within(&f.arena, tenant, 1000, &err));
    CHECK_STR(err.text, "the tenant has used 7 of its 7 runs a day, and this needs 1 more");
    tenant->limit.of[HD_QUOTA_RUNS_DAY] = 8;
    CHECK(orc_tenant_within(&f.arena, tenant, 1000, &err));
    tenant->limit.of[HD_QUOTA_RUNS_DAY] = 1;
    tenant->started = 0; // a limit that shrank says nothing of what is there
    CHECK(orc_tenant_within(&f.arena, tenant, 1000, &err));
    hd_arena_release(&f.arena);
}

TEST(minutes_are_those_that_an_attempt_was_ours) {
    struct orc_attempt attempt = {.state = HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_SUCCEEDED,
                                  .was = HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING,
                                  .assigned_ms = 1000,
                                  .started_ms = 2000,
                                  .ended_ms = 5000};
    CHECK_INT(orc_attempt_spent_ms(&attempt, 6000), 3000);
    CHECK_INT(orc_attempt_spent_ms(&attempt, 3500), 2500); // its worker's clock says more than there was
    attempt.ended_ms = 1500;
    CHECK_INT(orc_attempt_spent_ms(&attempt, 6000), 0);
    attempt.ended_ms = 5000;
    attempt.was = attempt.state; // counted before
    CHECK_INT(orc_attempt_spent_ms(&attempt, 6000), 0);
}

TEST(a_mark_that_was_crossed_is_not_told_again_at_once) {
    struct orc_tenant tenant = {.tenant = "acme", .project = "", .granted = true, .limit = hd_quota_unlimited()};
    tenant.limit.of[HD_QUOTA_JOBS] = 1;
    tenant.used.of[HD_QUOTA_JOBS] = 1;
    orc_tenant_mark(&tenant, 100000);
    CHECK_INT(tenant.crossed, 3);
    for (int64_t now = 100001; now < 160000; now += 10000) {
        tenant.used.of[HD_QUOTA_JOBS] = 1 - tenant.used.of[HD_QUOTA_JOBS];
        orc_tenant_mark(&tenant, now);
        CHECK_INT(tenant.crossed, 0);
    }
    tenant.used.of[HD_QUOTA_JOBS] = 0;
    orc_tenant_mark(&tenant, 170000);
    CHECK_INT(tenant.marks, 0);
    tenant.used.of[HD_QUOTA_JOBS] = 1;
    orc_tenant_mark(&tenant, 170001);
    CHECK_INT(tenant.crossed, 3);
}

TEST(what_others_leave_is_lent_until_they_wait_for_it) {
    struct orc_tenant borrower = {.project = "", .granted = true, .limit = hd_quota_unlimited()}, owner = borrower;
    struct hd_quota spare = {{0}}, limit;
    bool waiting = false;
    borrower.limit.of[HD_QUOTA_JOBS] = 2;
    owner.limit.of[HD_QUOTA_JOBS] = 5;
    owner.used.of[HD_QUOTA_JOBS] = 1;
    orc_tenant_lend(&owner, &spare, &waiting);
    CHECK(!waiting && spare.of[HD_QUOTA_JOBS] == 4);
    limit = orc_tenant_borrow(&borrower, &spare);
    CHECK_INT(limit.of[HD_QUOTA_JOBS], 6);
    CHECK_INT(limit.of[HD_QUOTA_CPU], HD_QUOTA_UNLIMITED);
    owner.queued = 1;
    orc_tenant_lend(&owner, &spare, &waiting);
    CHECK(waiting);
    waiting = false;
    owner.used.of[HD_QUOTA_JOBS] = 5; // it waits for the end of its own
    orc_tenant_lend(&owner, &spare, &waiting);
    CHECK(!waiting);
    spare.of[HD_QUOTA_JOBS] = -3; // others borrow more than is left
    limit = orc_tenant_borrow(&borrower, &spare);
    CHECK_INT(limit.of[HD_QUOTA_JOBS], 2);
    owner.project = "web"; // what a project leaves is its tenant's
    owner.used.of[HD_QUOTA_JOBS] = 0;
    spare.of[HD_QUOTA_JOBS] = 0;
    orc_tenant_lend(&owner, &spare, &waiting);
    CHECK(!waiting && spare.of[HD_QUOTA_JOBS] == 0);
}

// Jobs of a project wait for its limits and for the tenant's, and keep back nobody else's.
TEST(a_project_is_held_to_its_own_limits) {
    struct fixture f;
    struct orc_tenant *tenant = start_limited(&f, 1000);
    struct orc_run *mine = f.run, *other;
    struct hd_err err;
    mine->project = "web";
    start(&f);
    other = f.run;
    for (uint32_t i = 0; i < 5; i++)
        orc_ws_job(&f.ws, other->id, i)->queued_ms = 5000; // after all of the project's
    struct orc_tenant *web = orc_ws_add_tenant(&f.ws, "acme/web"), *data = orc_ws_add_tenant(&f.ws, "acme/data");
    CHECK_STR(web->tenant, "acme");
    CHECK_STR(web->project, "web");
    CHECK(orc_ws_part(&f.ws, mine) == web && orc_ws_part(&f.ws, other) == NULL);
    CHECK_STR(orc_account(&f.arena, mine), "acme/web");
    CHECK_STR(orc_account(&f.arena, other), "acme");
    web->limit.of[HD_QUOTA_JOBS] = 2;
    for (size_t i = 0; i < f.ws.n_tenants; i++)
        orc_tenant_count(&f.ws, f.ws.tenants[i], 1000);
    CHECK_INT(tenant->queued, 10);
    CHECK_INT(tenant->parts, 5);
    CHECK_INT(web->queued, 5);
    CHECK_INT(web->used.of[HD_QUOTA_RUNS_DAY], 1);
    CHECK_INT(data->queued + data->parts, 0);
    tenant->limit.of[HD_QUOTA_JOBS] = 6;
    CHECK_INT(orc_tenant_admit(&f.ws, tenant, &f.chance), 6); // two of the project's, four of the other's
    CHECK_INT(web->used.of[HD_QUOTA_JOBS], 2);
    CHECK_INT(web->used.of[HD_QUOTA_MEMORY], 200);
    CHECK_INT(web->queued, 3);
    CHECK_INT(tenant->used.of[HD_QUOTA_JOBS], 6);
    CHECK_INT(tenant->queued, 4);
    CHECK_INT(tenant->parts, 3);
    const struct orc_job *waits = orc_ws_job(&f.ws, mine->id, 2);
    CHECK(orc_quota_of(waits, tenant, web) == web);
    CHECK(strstr(orc_quota_why(&f.arena, waits, web), "the project web has 2 of its 2 concurrent jobs admitted"));
    web->limit.of[HD_QUOTA_JOBS] = 10;
    CHECK(orc_quota_of(waits, tenant, web) == tenant);
    tenant->limit.of[HD_QUOTA_JOBS] = 100;
    web->limit.of[HD_QUOTA_MEMORY] = 50; // smaller than any of them
    CHECK_INT(orc_tenant_admit(&f.ws, tenant, &f.chance), 1);
    CHECK(orc_ws_job(&f.ws, mine->id, 2)->hold & ORC_HOLD_TOO_LARGE);
    CHECK_INT(tenant->queued + tenant->parts + web->queued, 0);
    CHECK(!orc_start_allowed(&f.arena, web, f.plan, 1000, &err));
    CHECK(strstr(err.text, "and the project web may use 50 B of memory in all"));
    hd_arena_release(&f.arena);
}

TEST(nothing_is_admitted_without_a_grant) {
    struct fixture f;
    setup(&f, 1);
    start(&f);
    struct orc_tenant *tenant = orc_ws_add_tenant(&f.ws, "acme");
    tenant->limit.of[HD_QUOTA_JOBS] = 100;
    CHECK_INT(orc_tenant_admit(&f.ws, tenant, &f.chance), 0);
    hd_arena_release(&f.arena);
}

TEST_MAIN
