// Attempts, sessions and reports of the agent (agent_twin.h).
#include "tests/unit/agent_twin.h"

TEST(joins_beats_and_keeps_its_lease) {
    struct world w;
    world_init(&w);
    CHECK(!connection_has_lease(&w.agent->connection, w.now.mono_ms));
    settle_down(&w);
    CHECK_INT(w.joins, 1);
    CHECK(connection_has_lease(&w.agent->connection, w.now.mono_ms));
    for (int i = 0; i < 60; i++)
        pass(&w, 1000);
    CHECK_INT(w.joins, 1);
    CHECK(w.beats >= 12 && w.beats <= 30);
    CHECK(connection_has_lease(&w.agent->connection, w.now.mono_ms));
    w.refuse_beats = true;
    for (int i = 0; i < 16; i++)
        pass(&w, 1000);
    CHECK(!connection_has_lease(&w.agent->connection, w.now.mono_ms));
    world_release(&w);
}

TEST(a_noop_is_recorded_reported_and_settled) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(NOOP));
    assign(&w, a);
    CHECK_INT(w.n_started, 0);
    CHECK_INT(w.syncs, 1);
    CHECK_INT(w.n_reports, 1);
    CHECK_INT(last_report(&w)->state, STATE(SUCCEEDED));
    CHECK_INT(last_report(&w)->started_at_ms, w.now.wall_ms);
    CHECK_STR(last_report(&w)->attempt, a->attempt);
    CHECK_INT(w.agent->session.attempts.n, 1);
    ack(&w, a->attempt, last_report(&w)->number, true, 0);
    CHECK_INT(w.agent->session.attempts.n, 0);
    pass(&w, 6000);
    CHECK_INT(w.n_reports, 1);
    world_release(&w);
}

TEST(redelivery_never_starts_twice) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    assign(&w, a);
    CHECK_INT(w.n_started, 1);
    shim_says(&w, false, shim_state(&w, a->attempt, true, STATE(SUCCEEDED)));
    assign(&w, a);
    ack(&w, a->attempt, 2, true, 0);
    CHECK_INT(w.n_forgotten, 1);
    assign(&w, a);
    CHECK_INT(w.n_started, 1);
    // After a restart it knows from the journal.
    agent_kill(&w);
    agent_start(&w);
    settle_down(&w);
    assign(&w, a);
    CHECK_INT(w.n_started, 1);
    CHECK_INT(last_report(&w)->state, STATE(LOST)); // the owner did not know of the end, so it is told
    world_release(&w);
}

TEST(what_was_assigned_before_a_loss_is_not_started) {
    struct world w;
    world_init(&w);
    w.incarnation = 7;
    settle_down(&w);
    Hodei__V1__Assignment *held = assignment(&w, new_id(&w), EXEC(SHELL)),
                          *late = assignment(&w, new_id(&w), EXEC(SHELL));
    Hodei__V1__Assignment *any = assignment(&w, new_id(&w), EXEC(SHELL));
    held->incarnation = late->incarnation = 7; // any: of a scheduler that knows no incarnations
    assign(&w, held);
    CHECK_INT(w.n_started, 1);
    w.rejoin = true;
    w.incarnation = 8;
    for (int i = 0; i < 7; i++)
        pass(&w, 1000);
    CHECK_INT(w.joins, 2);
    size_t before = w.n_reports;
    assign(&w, late);
    CHECK_INT(w.n_started, 1);
    CHECK_INT(w.n_reports, before + 1);
    CHECK_INT(last_report(&w)->state, STATE(REFUSED));
    CHECK(strstr(last_report(&w)->message, "taken for lost") != NULL);
    assign(&w, held); // it has it already
    assign(&w, any);
    CHECK_INT(w.n_started, 2);
    late->incarnation = 8; // not even then: it has refused it
    assign(&w, late);
    CHECK_INT(w.n_started, 2);
    world_release(&w);
}

TEST(tombstones_go_and_the_floor_stays) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(NOOP));
    assign(&w, a);
    ack(&w, a->attempt, 2, true, 0);
    for (int i = 0; i < 70; i++)
        pass(&w, 10000);
    Hodei__V1__Assignment *b = assignment(&w, new_id(&w), EXEC(NOOP));
    assign(&w, b);
    ack(&w, b->attempt, 2, true, 0);
    CHECK_INT(w.agent->session.n_stones, 1);
    size_t before = w.n_reports;
    assign(&w, a);
    CHECK_INT(w.n_reports, before + 1);
    CHECK_INT(last_report(&w)->state, STATE(REFUSED));
    CHECK(strstr(last_report(&w)->message, "too old") != NULL);
    world_release(&w);
}

TEST(a_cancel_that_comes_first_is_confirmed_and_holds) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    cancel(&w, a->attempt, false);
    CHECK_INT(w.n_reports, 1);
    CHECK_INT(last_report(&w)->state, STATE(CANCELLED));
    assign(&w, a);
    CHECK_INT(w.n_started, 0);
    ack(&w, a->attempt, 2, true, 0);
    assign(&w, a);
    CHECK_INT(w.n_started, 0);
    agent_kill(&w);
    agent_start(&w);
    settle_down(&w);
    assign(&w, a);
    CHECK_INT(w.n_started, 0);
    // One that is to be forgotten is not told of.
    Hodei__V1__Assignment *b = assignment(&w, new_id(&w), EXEC(SHELL));
    size_t before = w.n_reports;
    cancel(&w, b->attempt, true);
    CHECK_INT(w.n_reports, before);
    assign(&w, b);
    CHECK_INT(w.n_started, 0);
    world_release(&w);
}

TEST(a_running_job_is_cancelled_and_told) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    shim_says(&w, false, shim_state(&w, a->attempt, false, 0));
    CHECK_INT(w.n_reports, 0); // it may end at once
    pass(&w, SESSION_FOLD_MS);
    CHECK_INT(w.n_reports, 1);
    CHECK_INT(last_report(&w)->state, STATE(RUNNING));
    ack(&w, a->attempt, 1, false, 0);
    cancel(&w, a->attempt, false);
    CHECK_INT(w.n_cancelled, 1);
    shim_says(&w, false, shim_state(&w, a->attempt, true, STATE(CANCELLED)));
    CHECK_INT(w.n_reports, 2);
    CHECK_INT(last_report(&w)->state, STATE(CANCELLED));
    CHECK_INT(last_report(&w)->number, 2);
    ack(&w, a->attempt, 2, true, 0);
    CHECK_INT(w.n_forgotten, 1);
    CHECK_INT(w.agent->session.attempts.n, 0);
    world_release(&w);
}

TEST(decided_elsewhere_is_stopped_without_a_word) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    cancel(&w, a->attempt, true);
    CHECK_INT(w.n_cancelled, 1);
    shim_says(&w, false, shim_state(&w, a->attempt, true, STATE(CANCELLED)));
    pass(&w, 10000);
    CHECK_INT(w.n_reports, 0);
    CHECK_INT(w.n_forgotten, 1);
    CHECK_INT(w.agent->session.attempts.n, 0);
    world_release(&w);
}

TEST(without_a_lease_nothing_starts) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    w.refuse_beats = true;
    for (int i = 0; i < 20; i++)
        pass(&w, 1000);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(NOOP));
    assign(&w, a);
    CHECK_INT(w.n_reports, 0);
    CHECK_INT(w.agent->session.attempts.n, 0);
    w.refuse_beats = false;
    for (int i = 0; i < 20; i++)
        pass(&w, 1000);
    CHECK_INT(w.agent->session.attempts.n, 1); // it was not acknowledged, so it came again
    CHECK_INT(last_report(&w)->state, STATE(SUCCEEDED));
    world_release(&w);
}

// What keeps work away is told at once, and taken back at once.
TEST(why_it_takes_no_work_is_told) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    CHECK_STR(w.unfit, "");
    w.machine = "no disk";
    pass(&w, 10);
    CHECK_STR(w.unfit, "no disk");
    w.machine = "";
    pass(&w, 10);
    CHECK_STR(w.unfit, "");
    w.disk_full = true;
    assign(&w, assignment(&w, new_id(&w), EXEC(SHELL)));
    pass(&w, 10);
    CHECK_STR(w.unfit, "journal: full");
    w.disk_full = false;
    for (int i = 0; i < 4; i++)
        pass(&w, 1000);
    CHECK_STR(w.unfit, "");
    session_shim_gone(&w.agent->session);
    pass(&w, 1000);
    CHECK_STR(w.unfit, ""); // it may be back in a moment
    for (int i = 0; i < 8; i++)
        pass(&w, 1000);
    CHECK_STR(w.unfit, "its shim, which starts jobs, is not there");
    agent_stop(w.agent, false, w.now);
    pass(&w, 10);
    CHECK_STR(w.unfit, "its agent is being stopped");
    world_release(&w);
}

TEST(without_a_shim_nothing_starts) {
    struct world w;
    world_init(&w);
    pass(&w, 1);
    CHECK(connection_has_lease(&w.agent->connection, w.now.mono_ms));
    assign(&w, assignment(&w, new_id(&w), EXEC(SHELL)));
    CHECK_INT(w.n_started, 0);
    settle_down(&w);
    pass(&w, 1000);
    CHECK_INT(w.n_started, 1);
    world_release(&w);
}

TEST(what_does_not_fit_is_refused_unstarted) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    for (unsigned i = 0; i < w.slots; i++)
        assign(&w, assignment(&w, new_id(&w), EXEC(SHELL)));
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    CHECK_INT(w.n_started, 4);
    CHECK_INT(w.n_reports, 1);
    CHECK_INT(last_report(&w)->state, STATE(REFUSED));
    CHECK_INT(last_report(&w)->cause, CAUSE(NO_ROOM));
    shim_says(&w, false, shim_state(&w, w.started[0], true, STATE(SUCCEEDED)));
    assign(&w, a); // refused once, refused for ever
    CHECK_INT(w.n_started, 4);
    assign(&w, assignment(&w, new_id(&w), EXEC(SHELL)));
    CHECK_INT(w.n_started, 5);
    world_release(&w);
}

TEST(hostile_work_is_refused_or_passed_over) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    a->tenant = (char *)"a.b > *";
    assign(&w, a);
    CHECK_INT(last_report(&w)->state, STATE(FAILED));
    a = assignment(&w, new_id(&w), EXEC(DOCKER));
    assign(&w, a);
    CHECK_INT(last_report(&w)->cause, CAUSE(START_FAILED));
    size_t before = w.n_reports;
    a = assignment(&w, new_id(&w), EXEC(SHELL));
    a->session = (char *)RUN;
    assign(&w, a);
    a = assignment(&w, new_id(&w), EXEC(SHELL));
    a->attempt = (char *)"../../etc/passwd";
    assign(&w, a);
    w.peer->ops->publish(w.peer, "hodei.work.w1", "\xff\xff\xff", 3, "bad", 0);
    w.peer->ops->send(w.peer, "hodei.ack.w1", "\xff\xff\xff", 3);
    pass(&w, 1);
    CHECK_INT(w.n_reports, before);
    CHECK_INT(w.n_started, 0);
    world_release(&w);
}

TEST(reports_are_said_again_until_acknowledged) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    Hodei__V1__ShimState *end = shim_state(&w, a->attempt, true, STATE(FAILED));
    end->exit_code = 3;
    shim_says(&w, false, end);
    CHECK_INT(w.n_reports, 1); // start and end in one
    CHECK_INT(last_report(&w)->exit_code, 3);
    CHECK(last_report(&w)->started_at_ms != 0);
    pass(&w, 4000);
    CHECK_INT(w.n_reports, 1);
    pass(&w, 1100);
    CHECK_INT(w.n_reports, 2);
    // After a restart too, with the shim or without it.
    agent_kill(&w);
    agent_start(&w);
    settle_down(&w);
    CHECK_INT(w.n_reports, 3);
    CHECK_INT(last_report(&w)->state, STATE(FAILED));
    CHECK_INT(last_report(&w)->exit_code, 3);
    ack(&w, a->attempt, 2, true, 0);
    pass(&w, 20000);
    CHECK_INT(w.n_reports, 3);
    world_release(&w);
}

TEST(many_reports_make_one_message) {
    struct world w;
    world_init(&w);
    w.agent->session.slots = 100;
    settle_down(&w);
    Hodei__V1__Work work = HODEI__V1__WORK__INIT;
    Hodei__V1__Assignment *list[50];
    for (int i = 0; i < 50; i++)
        list[i] = assignment(&w, new_id(&w), EXEC(NOOP));
    work.assignments = list;
    work.n_assignments = 50;
    publish_work(&w, &work);
    pass(&w, 1);
    CHECK_INT(w.n_reports, 50);
    CHECK_INT(w.n_report_messages, 1);
    CHECK_INT(w.syncs, 1);
    world_release(&w);
}

TEST(a_restart_adopts_what_the_shim_has_and_loses_the_rest) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL)), *b = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    assign(&w, b);
    agent_kill(&w);
    agent_start(&w);
    CHECK_INT(w.agent->session.live, 2);
    shim_says(&w, true, shim_state(&w, a->attempt, false, 0));
    pass(&w, SESSION_FOLD_MS);
    CHECK_INT(w.agent->session.live, 1);
    bool lost = false;
    for (size_t i = 0; i < w.n_reports; i++)
        lost = lost || (w.reports[i]->state == STATE(LOST) && strcmp(w.reports[i]->attempt, b->attempt) == 0);
    CHECK(lost);
    assign(&w, b);
    assign(&w, a);
    CHECK_INT(w.n_started, 2); // before the restart
    shim_says(&w, false, shim_state(&w, a->attempt, true, STATE(SUCCEEDED)));
    CHECK_INT(last_report(&w)->state, STATE(SUCCEEDED));
    world_release(&w);
}

static void hello_of(struct world *w, uint64_t shim) {
    Hodei__V1__ShimMessage *hello = HD_NEW(&w->arena, Hodei__V1__ShimMessage);
    *hello = (Hodei__V1__ShimMessage)HODEI__V1__SHIM_MESSAGE__INIT;
    hello->hello = true;
    hello->shim = shim;
    w->says[w->n_says++] = hello;
    pass(w, 1);
}

// The agent was killed after it wrote an attempt down. The shim that it was for is there and has never heard of it: it never
// started, and may be placed anew. Of another shim nobody can say that.
TEST(what_never_reached_its_shim_is_refused_and_not_lost) {
    struct world w;
    world_init(&w);
    hello_of(&w, 77);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    CHECK_INT(w.n_started, 1);
    agent_kill(&w);
    agent_start(&w);
    hello_of(&w, 77);
    pass(&w, 1);
    CHECK_INT(last_report(&w)->state, STATE(REFUSED));
    CHECK_STR(last_report(&w)->attempt, a->attempt);
    assign(&w, a); // it comes again: it is known, and is not started
    CHECK_INT(w.n_started, 1);
    ack(&w, a->attempt, 2, true, 0);
    CHECK_INT(w.agent->session.attempts.n, 0);
    Hodei__V1__Assignment *b = assignment(&w, new_id(&w), EXEC(SHELL)), *c = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, b);
    agent_kill(&w);
    agent_start(&w);
    hello_of(&w, 78);
    pass(&w, 1);
    CHECK_INT(last_report(&w)->state, STATE(LOST));
    assign(&w, c); // one that the shim has named once did start
    shim_says(&w, false, shim_state(&w, c->attempt, false, 0));
    hello_of(&w, 78);
    pass(&w, 1);
    CHECK_INT(last_report(&w)->state, STATE(LOST));
    CHECK_STR(last_report(&w)->attempt, c->attempt);
    world_release(&w);
}

TEST(a_job_that_nobody_knows_is_stopped) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    shim_says(&w, false, shim_state(&w, "01900000-0000-7000-8000-000000000001", false, 0));
    CHECK_INT(w.n_cancelled, 1);
    shim_says(&w, false, shim_state(&w, "01900000-0000-7000-8000-000000000001", true, STATE(CANCELLED)));
    CHECK_INT(w.n_forgotten, 1);
    CHECK_INT(w.n_reports, 0);
    world_release(&w);
}

TEST(a_full_disk_takes_no_work_and_loses_none) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    w.disk_full = true;
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL)), *b = assignment(&w, new_id(&w), EXEC(NOOP));
    assign(&w, a);
    assign(&w, b);
    CHECK_INT(w.n_started, 0);
    CHECK_INT(w.n_reports, 0);
    CHECK_INT(w.agent->session.live, 0);
    CHECK_INT(w.agent->session.attempts.n, 0);
    w.disk_full = false;
    for (int i = 0; i < 4; i++)
        pass(&w, 1000);
    CHECK_INT(w.n_started, 1);
    CHECK_INT(w.n_reports, 1);
    world_release(&w);
}

// The work that could not be written down has gone elsewhere, and none comes to who says that it takes none.
TEST(a_disk_that_has_room_again_is_noticed) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    w.disk_full = true;
    assign(&w, assignment(&w, new_id(&w), EXEC(SHELL)));
    hd_memnet_wipe(w.net);
    pass(&w, 3000);
    CHECK_STR(w.unfit, "journal: full");
    w.disk_full = false;
    CHECK(agent_due_ms(w.agent) <= w.now.mono_ms + 1000);
    for (int i = 0; i < 2; i++)
        pass(&w, 1000);
    CHECK_STR(w.unfit, "");
    world_release(&w);
}

// What it would not know after a restart must not be said: that something was refused, or cancelled before it was started.
TEST(a_full_disk_lets_nothing_be_said_that_is_not_written_down) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *late = assignment(&w, new_id(&w), EXEC(SHELL)), *refused = assignment(&w, new_id(&w), 9);
    w.disk_full = true;
    cancel(&w, late->attempt, false);
    assign(&w, refused);
    for (int i = 0; i < 6; i++) // they come again, and again
        pass(&w, 1000);
    CHECK_INT(w.n_reports, 0);
    agent_kill(&w);
    w.disk_full = false;
    agent_start(&w);
    settle_down(&w);
    for (int i = 0; i < 4; i++)
        pass(&w, 1000);
    CHECK_INT(w.n_reports, 2);
    CHECK_INT(last_report(&w)->cause, CAUSE(START_FAILED)); // and not by the tombstone
    assign(&w, late);
    CHECK_INT(w.n_started, 0);
    world_release(&w);
}

// What was taken back leaves nothing behind: said again it has its own reason, and not that it was refused before.
TEST(what_could_not_be_written_down_is_decided_anew) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    w.disk_full = true;
    assign(&w, assignment(&w, new_id(&w), 9));
    CHECK_INT(w.n_reports, 0);
    CHECK_INT(w.agent->session.n_stones, 0);
    w.disk_full = false;
    for (int i = 0; i < 4; i++)
        pass(&w, 1000);
    CHECK_INT(w.n_reports, 1);
    CHECK_INT(last_report(&w)->state, STATE(FAILED));
    CHECK_INT(last_report(&w)->cause, CAUSE(START_FAILED));
    CHECK_INT(w.agent->session.n_stones, 1);
    world_release(&w);
}

// NATS has lost what it held: nothing arrives until the registry has made the stream again, so it is not left to the next heartbeat.
TEST(a_work_stream_that_is_gone_is_told_within_a_tenth_of_a_heartbeat) {
    struct hd_err err;
    struct world w;
    world_init(&w);
    settle_down(&w);
    pass(&w, 5000); // a heartbeat was just said
    unsigned beats = w.beats;
    CHECK(!w.stream_missing);
    hd_memnet_forget(w.net, "WORK_");
    for (int i = 0; i < 60; i++)
        pass(&w, 10);
    CHECK(w.stream_missing && w.beats > beats);
    CHECK_INT(w.peer->ops->ensure_work(w.peer, "w1", w.session_text, &err), HD_OK);
    assign(&w, assignment(&w, new_id(&w), EXEC(SHELL)));
    CHECK_INT(w.n_started, 1);
    pass(&w, 5000);
    CHECK(!w.stream_missing);
    world_release(&w);
}

TEST(stopping_takes_the_jobs_along) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    agent_stop(w.agent, true, w.now);
    CHECK_INT(w.n_cancelled, 1);
    shim_says(&w, false, shim_state(&w, a->attempt, true, STATE(CANCELLED)));
    CHECK_INT(last_report(&w)->state, STATE(LOST)); // so that it runs again elsewhere, or here later
    CHECK_INT(last_report(&w)->cause, CAUSE(WORKER_LOST));
    CHECK(!agent_idle(w.agent));
    ack(&w, a->attempt, 2, true, 0);
    CHECK(agent_idle(w.agent));
    assign(&w, assignment(&w, new_id(&w), EXEC(SHELL)));
    CHECK_INT(w.n_started, 1);
    world_release(&w);
}

TEST(the_snapshot_says_what_the_journal_said) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *run = assignment(&w, new_id(&w), EXEC(SHELL)),
                          *done = assignment(&w, new_id(&w), EXEC(NOOP)),
                          *gone = assignment(&w, new_id(&w), EXEC(NOOP)),
                          *never = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, run);
    assign(&w, done);
    assign(&w, gone);
    ack(&w, gone->attempt, 2, true, 0);
    cancel(&w, never->attempt, true);
    hd_buf_clear(&w.journal);
    session_snapshot(&w.agent->session, &w.journal);
    agent_kill(&w);
    agent_start(&w);
    CHECK_INT(w.agent->session.live, 1);
    CHECK_INT(w.agent->session.attempts.n, 2);
    CHECK_INT(w.agent->session.n_stones, 2);
    shim_says(&w, true, shim_state(&w, run->attempt, false, 0));
    assign(&w, run);
    assign(&w, done);
    assign(&w, gone);
    assign(&w, never);
    CHECK_INT(w.n_started, 1);
    world_release(&w);
}

TEST(distrust_refuses_all_that_is_older) {
    struct world w;
    world_init(&w);
    Hodei__V1__Assignment *old = assignment(&w, new_id(&w), EXEC(NOOP));
    session_distrust(&w.agent->session);
    settle_down(&w);
    assign(&w, old);
    CHECK_INT(last_report(&w)->state, STATE(REFUSED));
    pass(&w, 10);
    Hodei__V1__Assignment *young = assignment(&w, new_id(&w), EXEC(NOOP));
    assign(&w, young);
    CHECK_INT(last_report(&w)->state, STATE(SUCCEEDED));
    world_release(&w);
}

TEST_MAIN
