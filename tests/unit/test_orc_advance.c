// Pure decisions of the orchestrator: graphs, ends of attempts, the check of compiled versions.
#include "orc_run.h"
#include "services/orchestrator/explain.h"
#include "services/orchestrator/steer.h"

TEST(diamond_advances) {
    struct fixture f;
    setup(&f, 4);
    plan_edge(&f.arena, f.plan, 1, 0);
    plan_edge(&f.arena, f.plan, 2, 0);
    plan_edge(&f.arena, f.plan, 3, 1);
    plan_edge(&f.arena, f.plan, 3, 2);
    start(&f);
    CHECK_INT(state(&f, 0), JOB(QUEUED));
    CHECK_INT(state(&f, 1), JOB(WAITING));
    finish(&f, 0, ORC_ATTEMPT_SUCCEED);
    CHECK_INT(state(&f, 1), JOB(QUEUED));
    CHECK_INT(state(&f, 3), JOB(WAITING));
    finish(&f, 1, ORC_ATTEMPT_SUCCEED);
    CHECK_INT(orc_ws_job(&f.ws, f.run->id, 3)->deps_left, 1);
    finish(&f, 2, ORC_ATTEMPT_SUCCEED);
    finish(&f, 3, ORC_ATTEMPT_SUCCEED);
    orc_run_settle(f.run, 2000);
    CHECK_INT(f.run->state, RUN(SUCCEEDED));
    CHECK_INT(f.run->ended_ms, 2000);
    CHECK_INT(f.run->started_ms, 1000);
    hd_arena_release(&f.arena);
}

static void check_times(struct orc_attempt attempt, int64_t started, int64_t ended) {
    int64_t shown_start, shown_end;
    orc_attempt_times(&attempt, &shown_start, &shown_end);
    CHECK_INT(shown_start, started);
    CHECK_INT(shown_end, ended);
}

// Assigned at 1000, heard of at 2000, ran for 300 by the worker's clock, whatever that is.
TEST(times_of_a_wrong_clock_are_shifted) {
    struct orc_attempt at = {.assigned_ms = 1000, .changed_ms = 2000};
    check_times(at, 0, 0);
    at.started_ms = 1500;
    check_times(at, 1500, 0);
    at.ended_ms = 1800;
    check_times(at, 1500, 1800);
    at.started_ms -= 3600000, at.ended_ms -= 3600000;
    check_times(at, 1000, 1300);
    at.started_ms += 7200000, at.ended_ms += 7200000;
    check_times(at, 1700, 2000);
    at.ended_ms = 0; // it runs
    check_times(at, 2000, 0);
    at.started_ms = 1500, at.ended_ms = 2000; // lost: that is our clock
    check_times(at, 1500, 2000);
    at.started_ms -= 3600000;
    check_times(at, 1000, 2000);
    at.started_ms = INT64_MAX, at.ended_ms = 1;
    check_times(at, 2000, 2000);
    at.started_ms = 1, at.ended_ms = INT64_MAX;
    check_times(at, 1000, 2000);
}

TEST(failure_skips_everything_below) {
    struct fixture f;
    setup(&f, 6); // 0 → 1 → 2 → 3, 4 → 3; 5 stands alone
    plan_edge(&f.arena, f.plan, 1, 0);
    plan_edge(&f.arena, f.plan, 2, 1);
    plan_edge(&f.arena, f.plan, 3, 2);
    plan_edge(&f.arena, f.plan, 3, 4);
    start(&f);
    finish(&f, 0, ORC_ATTEMPT_FAIL);
    CHECK_INT(state(&f, 1), JOB(SKIPPED));
    CHECK_INT(state(&f, 2), JOB(SKIPPED));
    CHECK_INT(state(&f, 3), JOB(WAITING)); // decides when all that it needs has ended
    finish(&f, 4, ORC_ATTEMPT_SUCCEED);
    CHECK_INT(state(&f, 3), JOB(SKIPPED));
    orc_run_settle(f.run, 2000);
    CHECK_INT(f.run->state, RUN(RUNNING));
    finish(&f, 5, ORC_ATTEMPT_SUCCEED);
    orc_run_settle(f.run, 2000);
    CHECK_INT(f.run->state, RUN(FAILED));
    CHECK_INT(f.run->ended, 6);
    CHECK_INT(f.run->failed, 1);
    hd_arena_release(&f.arena);
}

TEST(lost_attempts_are_made_again_three_times) {
    struct fixture f;
    setup(&f, 1);
    start(&f);
    uint64_t key = 0;
    for (int i = 0; i < ORC_MAX_LOSSES; i++) {
        finish(&f, 0, ORC_ATTEMPT_LOSE);
        CHECK_INT(state(&f, 0), JOB(READY));
        CHECK(orc_ws_job(&f.ws, f.run->id, 0)->key != key); // each offer has its own
        key = orc_ws_job(&f.ws, f.run->id, 0)->key;
    }
    finish(&f, 0, ORC_ATTEMPT_LOSE);
    CHECK_INT(state(&f, 0), JOB(FAILED));
    CHECK_INT(orc_ws_job(&f.ws, f.run->id, 0)->attempts, 4);
    hd_arena_release(&f.arena);
}

TEST(lost_with_fail_starts_no_other) {
    struct fixture f;
    setup(&f, 1);
    f.plan->jobs[0]->on_worker_lost = HODEI__V1__ON_WORKER_LOST__ON_WORKER_LOST_FAIL;
    start(&f);
    finish(&f, 0, ORC_ATTEMPT_LOSE);
    CHECK_INT(state(&f, 0), JOB(FAILED));
    hd_arena_release(&f.arena);
}

TEST(the_next_attempt_avoids_the_worker_where_the_rule_says_so) {
    struct fixture f;
    Hodei__V1__Retry retry = HODEI__V1__RETRY__INIT;
    setup(&f, 2);
    retry.limit = 2;
    retry.avoid_worker = true;
    f.plan->jobs[0]->retry = &retry;
    start(&f);
    finish(&f, 0, ORC_ATTEMPT_REFUSE);
    CHECK_STR(orc_ws_job(&f.ws, f.run->id, 0)->avoid_worker, ""); // it did not run there
    finish(&f, 0, ORC_ATTEMPT_FAIL);
    CHECK_INT(state(&f, 0), JOB(QUEUED));
    CHECK_STR(orc_ws_job(&f.ws, f.run->id, 0)->avoid_worker, "w");
    finish(&f, 1, ORC_ATTEMPT_LOSE);
    CHECK_STR(orc_ws_job(&f.ws, f.run->id, 1)->avoid_worker, "");
    hd_arena_release(&f.arena);
}

// One job that runs on a worker that is gone.
static struct orc_attempt *held(struct fixture *f) {
    setup(f, 2);
    plan_edge(&f->arena, f->plan, 1, 0);
    f->plan->jobs[0]->on_worker_lost = HODEI__V1__ON_WORKER_LOST__ON_WORKER_LOST_HOLD;
    start(f);
    finish(f, 0, ORC_ATTEMPT_START);
    struct orc_attempt *attempt = f->ws.attempts.items[0];
    const struct orc_attempt_news gone = {.event = ORC_ATTEMPT_GONE, .message = "the worker was lost"};
    f->chance.now_ms = 1700000000000;
    CHECK(orc_attempt_change(&f->ws, attempt, &gone, &f->chance));
    f->chance.now_ms = 1800000000000;
    CHECK(orc_attempt_change(&f->ws, attempt, &gone, &f->chance)); // said again
    CHECK_INT(attempt->gone_ms, 1700000000000);
    CHECK_INT(attempt->state, ATT(RUNNING));
    CHECK_INT(state(f, 0), JOB(ACTIVE));
    CHECK(orc_ws_job(&f->ws, f->run->id, 0)->flags & ORC_WORKER_GONE);
    return attempt;
}

static bool is_held(struct fixture *f) {
    return orc_ws_job(&f->ws, f->run->id, 0)->flags & ORC_WORKER_GONE || f->ws.attempts.items[0]->gone_ms;
}

TEST(held_jobs_take_what_comes_back) {
    struct fixture f;
    struct orc_attempt *attempt = held(&f);
    const struct orc_attempt_news done = {.event = ORC_ATTEMPT_SUCCEED};
    CHECK(orc_attempt_change(&f.ws, attempt, &done, &f.chance));
    advance(&f);
    CHECK(!is_held(&f));
    CHECK_INT(attempt->state, ATT(SUCCEEDED));
    CHECK_INT(state(&f, 0), JOB(SUCCEEDED));
    CHECK_INT(state(&f, 1), JOB(QUEUED));
    hd_arena_release(&f.arena);

    attempt = held(&f);
    const struct orc_attempt_news back = {.event = ORC_ATTEMPT_BACK}, lost = {.event = ORC_ATTEMPT_LOSE};
    CHECK(orc_attempt_change(&f.ws, attempt, &back, &f.chance));
    CHECK(!is_held(&f));
    CHECK(!orc_attempt_change(&f.ws, attempt, &back, &f.chance)); // it was not gone
    CHECK_INT(state(&f, 0), JOB(ACTIVE));
    const struct orc_attempt_news later = {.event = ORC_ATTEMPT_BACK, .incarnation = 7};
    CHECK(orc_attempt_change(&f.ws, attempt, &later, &f.chance)); // it is that incarnation's from now on
    CHECK_INT(attempt->incarnation, 7);
    CHECK(!orc_attempt_change(&f.ws, attempt, &later, &f.chance));
    CHECK(orc_attempt_change(&f.ws, attempt, &lost, &f.chance)); // its worker no longer knows it: nothing to wait for
    CHECK_INT(state(&f, 0), JOB(FAILED));
    hd_arena_release(&f.arena);
}

static enum hd_status steer(struct fixture *f, enum orc_action action, struct hd_err *err) {
    struct orc_job *job;
    const struct orc_command command = {.action = action, .job = "job0", .actor = "ann", .reason = "it burned"};
    *err = (struct hd_err){0};
    return orc_steer(&f->ws, f->run, &command, &f->chance, err, &job);
}

TEST(held_jobs_wait_for_a_decision) {
    static const struct {
        enum orc_action action;
        int state;
    } rows[] = {{ORC_RETRY_JOB, JOB(QUEUED)}, {ORC_MARK_DONE, JOB(SUCCEEDED)}, {ORC_CANCEL_JOB, JOB(CANCELLING)}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct fixture f;
        struct hd_err err;
        struct orc_attempt *attempt = held(&f);
        const struct orc_attempt_news gone = {.event = ORC_ATTEMPT_GONE}, done = {.event = ORC_ATTEMPT_SUCCEED};
        CHECK_INT(steer(&f, rows[i].action, &err), HD_OK);
        CHECK_INT(state(&f, 0), rows[i].state);
        if (rows[i].action == ORC_CANCEL_JOB) { // the sweep finds it
            CHECK(is_held(&f));
            CHECK(orc_attempt_change(&f.ws, attempt, &gone, &f.chance));
            CHECK_INT(state(&f, 0), JOB(CANCELLED));
        } else {
            CHECK_STR(attempt->message, "given up by ann: it burned");
        }
        advance(&f);
        CHECK(!is_held(&f));
        CHECK_INT(attempt->state, ATT(LOST));
        CHECK(!orc_attempt_change(&f.ws, attempt, &done, &f.chance)); // refused from then on
        CHECK_INT(state(&f, 1), rows[i].action == ORC_MARK_DONE    ? JOB(QUEUED)
                                : rows[i].action == ORC_CANCEL_JOB ? JOB(SKIPPED)
                                                                   : JOB(WAITING));
        hd_arena_release(&f.arena);
    }
}

TEST(a_job_that_runs_is_not_given_up) {
    struct fixture f;
    struct hd_err err;
    struct orc_attempt *attempt = held(&f);
    const struct orc_attempt_news back = {.event = ORC_ATTEMPT_BACK};
    CHECK(orc_attempt_change(&f.ws, attempt, &back, &f.chance));
    CHECK_INT(steer(&f, ORC_RETRY_JOB, &err), HD_PRECONDITION);
    CHECK_STR(err.text, "job job0 is active: retry_job is not possible");
    CHECK_INT(steer(&f, ORC_MARK_DONE, &err), HD_PRECONDITION);
    CHECK_INT(attempt->state, ATT(RUNNING));
    hd_arena_release(&f.arena);
}

TEST(explain_says_that_the_worker_is_gone) {
    struct fixture f;
    held(&f);
    const struct orc_circumstances at = {.now_ms = 0};
    const struct orc_reason got = orc_explain(&f.ws, orc_ws_job(&f.ws, f.run->id, 0), &at);
    CHECK_STR(got.reason, "worker_gone");
    CHECK_STR(got.text, "its worker w is gone since 2023-11-14 22:13:20 UTC: wait for it, or decide: cancel the job, "
                        "retry it, or mark it as done");
    f.ws.attempts.items[0]->gone_ms = 951868799000; // the last second of a leap day
    CHECK(strstr(orc_gone_text(&f.arena, f.ws.attempts.items[0]), "2000-02-29 23:59:59 UTC") != NULL);
    f.ws.attempts.items[0]->gone_ms = 4107542400000;
    CHECK(strstr(orc_gone_text(&f.arena, f.ws.attempts.items[0]), "2100-03-01 00:00:00 UTC") != NULL);
    hd_arena_release(&f.arena);
}

TEST(only_jobs_that_say_so_are_held) {
    struct fixture f;
    setup(&f, 1);
    start(&f);
    finish(&f, 0, ORC_ATTEMPT_GONE);
    CHECK_INT(state(&f, 0), JOB(READY));
    hd_arena_release(&f.arena);
}

TEST(refusals_are_bounded) {
    struct fixture f;
    setup(&f, 1);
    start(&f);
    for (int i = 1; i < ORC_MAX_ATTEMPTS; i++) {
        finish(&f, 0, ORC_ATTEMPT_REFUSE);
        CHECK_INT(state(&f, 0), JOB(READY));
    }
    finish(&f, 0, ORC_ATTEMPT_REFUSE);
    CHECK_INT(state(&f, 0), JOB(FAILED));
    hd_arena_release(&f.arena);
}

TEST(refusal_after_start_is_a_loss) {
    struct fixture f;
    setup(&f, 1);
    f.plan->jobs[0]->on_worker_lost = HODEI__V1__ON_WORKER_LOST__ON_WORKER_LOST_FAIL;
    start(&f);
    finish(&f, 0, ORC_ATTEMPT_START);
    struct orc_attempt *attempt = f.ws.attempts.items[0];
    struct orc_attempt_news refused = {.event = ORC_ATTEMPT_REFUSE};
    CHECK(orc_attempt_change(&f.ws, attempt, &refused, &f.chance));
    CHECK_INT(attempt->state, ATT(LOST));
    CHECK_INT(state(&f, 0), JOB(FAILED));
    hd_arena_release(&f.arena);
}

TEST(an_end_never_changes) {
    struct fixture f;
    setup(&f, 1);
    start(&f);
    finish(&f, 0, ORC_ATTEMPT_SUCCEED);
    struct orc_attempt *attempt = f.ws.attempts.items[0];
    for (int event = 0; event < ORC_ATTEMPT_EVENTS; event++) {
        struct orc_attempt_news news = {.event = event, .exit_code = 9};
        CHECK(!orc_attempt_change(&f.ws, attempt, &news, &f.chance));
    }
    CHECK_INT(attempt->exit_code, 0);
    CHECK_INT(state(&f, 0), JOB(SUCCEEDED));
    CHECK_INT(f.run->ended, 1);
    hd_arena_release(&f.arena);
}

TEST(news_of_an_old_attempt_leave_the_job_alone) {
    struct fixture f;
    setup(&f, 1);
    start(&f);
    finish(&f, 0, ORC_ATTEMPT_START);
    struct orc_job *job = orc_ws_job(&f.ws, f.run->id, 0);
    job->attempt = (struct hd_uuid){{9}}; // another is current
    struct orc_attempt_news news = {.event = ORC_ATTEMPT_FAIL};
    CHECK(orc_attempt_change(&f.ws, f.ws.attempts.items[0], &news, &f.chance));
    CHECK_INT(job->state, JOB(ACTIVE));
    hd_arena_release(&f.arena);
}

TEST(cancel_at_every_point) {
    struct fixture f;
    setup(&f, 4);
    plan_edge(&f.arena, f.plan, 1, 0); // 0 active, 1 waiting, 2 queued, 3 ready
    start(&f);
    finish(&f, 0, ORC_ATTEMPT_START);
    CHECK(orc_job_change(orc_ws_job(&f.ws, f.run->id, 3), ORC_JOB_ADMIT, 0, &f.chance));
    orc_run_cancel(&f.ws, f.run, 0, &f.chance);
    CHECK_INT(state(&f, 0), JOB(CANCELLING));
    for (uint32_t i = 1; i < 4; i++)
        CHECK_INT(state(&f, i), JOB(CANCELLED));
    orc_run_settle(f.run, 2000);
    CHECK_INT(f.run->state, RUN(CANCELLING));
    struct orc_attempt_news news = {.event = ORC_ATTEMPT_STOP};
    CHECK(orc_attempt_change(&f.ws, f.ws.attempts.items[0], &news, &f.chance));
    orc_run_settle(f.run, 2000);
    CHECK_INT(state(&f, 0), JOB(CANCELLED));
    CHECK_INT(f.run->state, RUN(CANCELLED));
    CHECK_INT(f.run->ended, 4);
    hd_arena_release(&f.arena);
}

TEST(what_is_not_interruptible_is_spared_once_it_has_started) {
    struct fixture f;
    setup(&f, 4); // 0 runs and is spared, 1 runs, 2 has not started, 3 needs 0
    plan_edge(&f.arena, f.plan, 3, 0);
    f.plan->jobs[0]->uninterruptible = f.plan->jobs[2]->uninterruptible = true;
    start(&f);
    finish(&f, 0, ORC_ATTEMPT_START);
    finish(&f, 1, ORC_ATTEMPT_START);
    orc_run_cancel(&f.ws, f.run, ORC_CANCEL_SPARES, &f.chance);
    CHECK_INT(state(&f, 0), JOB(ACTIVE));
    CHECK_INT(state(&f, 1), JOB(CANCELLING));
    CHECK_INT(state(&f, 2), JOB(CANCELLED));
    CHECK_INT(state(&f, 3), JOB(CANCELLED));
    orc_run_cancel(&f.ws, f.run, 0, &f.chance); // somebody who asks is obeyed
    CHECK_INT(state(&f, 0), JOB(CANCELLING));
    hd_arena_release(&f.arena);
}

static enum hd_status check(struct fixture *f, struct hd_err *err) {
    *err = (struct hd_err){0};
    return orc_plan_check(&f->arena, f->plan, err);
}

TEST(bad_plans_are_refused) {
    struct fixture f;
    struct hd_err err;
    setup(&f, 3);
    plan_edge(&f.arena, f.plan, 1, 0);
    plan_edge(&f.arena, f.plan, 2, 1);
    CHECK_INT(check(&f, &err), HD_OK);
    f.plan->jobs[2]->on_worker_lost = (Hodei__V1__OnWorkerLost)3;
    CHECK_INT(check(&f, &err), HD_INVALID);
    CHECK_STR(err.field, "jobs[2].on_worker_lost");
    f.plan->jobs[2]->on_worker_lost = HODEI__V1__ON_WORKER_LOST__ON_WORKER_LOST_FAIL;
    f.plan->jobs[2]->pool = hd_arena_strdup(&f.arena, "a.>");
    CHECK_INT(check(&f, &err), HD_INVALID);
    CHECK_STR(err.field, "jobs[2].pool");
    f.plan->jobs[2]->pool = f.plan->jobs[0]->pool;
    plan_edge(&f.arena, f.plan, 0, 2); // a cycle
    CHECK_INT(check(&f, &err), HD_INVALID);
    hd_arena_release(&f.arena);

    setup(&f, 2);
    plan_push(&f.arena, &f.plan->jobs[1]->needs, &f.plan->jobs[1]->n_needs, 0); // an edge known at one end only
    CHECK_INT(check(&f, &err), HD_INVALID);
    f.plan->jobs[1]->needs[0] = 2;
    CHECK_INT(check(&f, &err), HD_INVALID);
    CHECK_STR(err.field, "jobs[1].needs");
    hd_arena_release(&f.arena);
}

TEST(large_graphs) { // 1 → 9,998 → 1: a fan-out and a join
    struct fixture f;
    const uint32_t wide = 9998;
    setup(&f, wide + 2);
    Hodei__V1__CompiledJob *first = f.plan->jobs[0], *last = f.plan->jobs[wide + 1];
    first->dependents = HD_NEW_ARRAY(&f.arena, wide, uint32_t);
    last->needs = HD_NEW_ARRAY(&f.arena, wide, uint32_t);
    first->n_dependents = last->n_needs = wide;
    for (uint32_t i = 1; i <= wide; i++) {
        first->dependents[i - 1] = last->needs[i - 1] = i;
        plan_push(&f.arena, &f.plan->jobs[i]->needs, &f.plan->jobs[i]->n_needs, 0);
        plan_push(&f.arena, &f.plan->jobs[i]->dependents, &f.plan->jobs[i]->n_dependents, wide + 1);
    }
    struct hd_err err = {0};
    CHECK_INT(orc_plan_check(&f.arena, f.plan, &err), HD_OK);
    start(&f);
    finish(&f, 0, ORC_ATTEMPT_SUCCEED);
    for (uint32_t i = 1; i <= wide; i++)
        finish(&f, i, i == 17 ? ORC_ATTEMPT_TIME_OUT : ORC_ATTEMPT_SUCCEED);
    CHECK_INT(state(&f, wide + 1), JOB(SKIPPED));
    orc_run_settle(f.run, 2000);
    CHECK_INT(f.run->state, RUN(FAILED));
    CHECK_INT(f.run->succeeded, wide + 1); // the skipped one did no harm
    hd_arena_release(&f.arena);
}

TEST_MAIN
