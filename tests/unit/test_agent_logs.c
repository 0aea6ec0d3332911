// What the agent does with the logs of its attempts (agent_twin.h).
#include "tests/unit/agent_twin.h"

static void spool_put(struct world *w, const char *text) {
    struct spool_header header = {.stream = 1, .len = (uint32_t)strlen(text), .at_ms = WALL};
    hd_buf_add(&w->spool, &header, sizeof(header));
    hd_buf_add(&w->spool, text, strlen(text));
}

static Hodei__V1__ShimState *with_log(const struct world *w, Hodei__V1__ShimState *state, uint64_t frames) {
    state->log_frames = frames;
    state->log_bytes = w->spool.len;
    return state;
}

TEST(logs_arrive_whole_and_are_kept_until_stored) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    spool_put(&w, "one ");
    spool_put(&w, "two ");
    shim_says(&w, false, with_log(&w, shim_state(&w, a->attempt, false, 0), 2));
    CHECK_STR(w.log, "one two ");
    spool_put(&w, "three");
    shim_says(&w, false, with_log(&w, shim_state(&w, a->attempt, true, STATE(SUCCEEDED)), 3));
    CHECK_STR(w.log, "one two three");
    CHECK_INT(last_report(&w)->log_frames, 3);
    ack(&w, a->attempt, 2, true, 0);
    CHECK_INT(w.agent->session.attempts.n, 1); // its log is not stored yet
    ack(&w, a->attempt, 0, false, 2);
    CHECK_INT(w.log_acked, 2);
    // What was sent and not stored goes again.
    w.log_frames = 2;
    w.log_len = 8;
    memset(w.log + 8, 0, 8);
    for (int i = 0; i < 11; i++)
        pass(&w, 1000);
    CHECK_STR(w.log, "one two three");
    ack(&w, a->attempt, 0, false, 3);
    CHECK_INT(w.agent->session.attempts.n, 0);
    CHECK_INT(w.n_forgotten, 1);
    world_release(&w);
}

TEST(logs_go_on_where_they_were_after_a_restart) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    spool_put(&w, "one ");
    uint64_t first = w.spool.len;
    shim_says(&w, false, with_log(&w, shim_state(&w, a->attempt, false, 0), 1));
    ack(&w, a->attempt, 0, false, 1);
    agent_kill(&w);
    spool_put(&w, "two");
    agent_start(&w);
    Hodei__V1__ShimState *state = with_log(&w, shim_state(&w, a->attempt, true, STATE(SUCCEEDED)), 2);
    state->acked_frame = 1;
    state->acked_byte = first;
    shim_says(&w, true, state);
    pass(&w, 1);
    CHECK_STR(w.log, "one two");
    world_release(&w);
}

// The shim had to drop what nobody could take: the reader sees a gap of that size in its place, and nothing else is missing.
TEST(what_was_dropped_goes_as_a_gap) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    spool_put(&w, "one ");
    shim_says(&w, false, with_log(&w, shim_state(&w, a->attempt, false, 0), 1));
    spool_put(&w, "two ");
    spool_put(&w, "three");
    size_t kept = w.spool.len;
    spool_put(&w, "four");
    memset(w.spool.data, 0, kept); // dropped, and the state that says so is still on its way
    Hodei__V1__ShimState *state = with_log(&w, shim_state(&w, a->attempt, false, 0), 4);
    shim_says(&w, false, state);
    CHECK_STR(w.log, "one ");
    state->dropped_frame = 3;
    state->dropped_byte = kept;
    shim_says(&w, false, state);
    CHECK_STR(w.log, "one [9]four");
    ack(&w, a->attempt, 0, false, 1);
    for (int i = 0; i < 11; i++) // what was not acknowledged goes again: the gap too
        pass(&w, 1000);
    CHECK_STR(w.log, "one [9]four");
    CHECK_INT(w.log_acked, 1);
    ack(&w, a->attempt, 0, false, 4);
    CHECK_INT(w.log_acked, 4);
    world_release(&w);
}

// Chunks that went may be stored though their acknowledgement was lost, and were dropped since: a gap never reaches across their
// ends, so that whoever has some of them knows exactly what is missing.
TEST(a_gap_ends_where_the_owner_may_be) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    spool_put(&w, "stored ");
    shim_says(&w, false, with_log(&w, shim_state(&w, a->attempt, false, 0), 1));
    CHECK_STR(w.log, "stored ");
    spool_put(&w, "gone");
    size_t kept = w.spool.len;
    spool_put(&w, "here");
    memset(w.spool.data, 0, kept);
    Hodei__V1__ShimState *state = with_log(&w, shim_state(&w, a->attempt, false, 0), 3);
    w.now.mono_ms += 6000; // too long without an acknowledgement: all goes again
    state->dropped_frame = 2;
    state->dropped_byte = kept;
    shim_says(&w, false, state);
    for (int i = 0; i < 11; i++)
        pass(&w, 1000);
    CHECK_STR(w.log, "stored [4]here");
    world_release(&w);
}

// What was dropped before an agent that starts again could send it is told by the shim's hello.
TEST(a_gap_is_known_after_a_restart) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    agent_kill(&w);
    spool_put(&w, "gone");
    size_t kept = w.spool.len;
    spool_put(&w, "here");
    memset(w.spool.data, 0, kept);
    agent_start(&w);
    Hodei__V1__ShimState *state = with_log(&w, shim_state(&w, a->attempt, true, STATE(SUCCEEDED)), 2);
    state->dropped_frame = 1;
    state->dropped_byte = kept;
    shim_says(&w, true, state);
    pass(&w, 1);
    CHECK_STR(w.log, "[4]here");
    world_release(&w);
}

// The shim is gone and cannot say how much it has dropped: what is there up to the hole is sent, and the attempt is settled.
TEST(a_hole_in_the_log_of_a_lost_job_ends_it) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    spool_put(&w, "first");
    size_t first = w.spool.len;
    spool_put(&w, "gone");
    memset(w.spool.data + first, 0, w.spool.len - first);
    agent_kill(&w);
    agent_start(&w);
    settle_down(&w);
    pass(&w, 1);
    CHECK_STR(w.log, "first");
    ack(&w, a->attempt, 2, true, 0);
    ack(&w, a->attempt, 0, false, 1);
    pass(&w, 1);
    CHECK_INT(w.agent->session.attempts.n, 0);
    world_release(&w);
}

TEST(the_log_of_a_lost_job_is_sent_from_its_file) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    spool_put(&w, "last ");
    spool_put(&w, "words");
    hd_buf_adds(&w.spool, "torn");
    agent_kill(&w);
    agent_start(&w);
    settle_down(&w); // a new shim: it knows nothing
    pass(&w, 1);
    CHECK_STR(w.log, "last words");
    CHECK_INT(last_report(&w)->state, STATE(LOST));
    ack(&w, a->attempt, 2, true, 0);
    CHECK_INT(w.agent->session.attempts.n, 1);
    ack(&w, a->attempt, 0, false, 2);
    pass(&w, 1);
    CHECK_INT(w.agent->session.attempts.n, 0);
    world_release(&w);
}

TEST_MAIN
