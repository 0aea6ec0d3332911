#include "services/pipelines/tick.h"

#include "tests/unit/test.h"

#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

static struct hd_arena arena;

static struct pip_clock clock_of(const char *expr) {
    struct pip_clock clock = {.zone = &hd_zone_utc};
    struct hd_err err = {0};
    CHECK(hd_cron_parse(expr, &err, &clock.cron) == HD_OK);
    return clock;
}

static struct pip_schedule schedule_of(const struct pip_clock *clock, Hodei__V1__Overlap overlap, bool catch_up) {
    struct pip_schedule schedule = {.overlap = overlap, .catch_up = catch_up, .last_run = "", .last_error = ""};
    pip_tick_restart(&schedule, clock, 0);
    return schedule;
}

static const struct pip_answer_to started = {.run = "run"}, going = {.run_ended = false}, ended = {.run_ended = true},
                                  gone = {HD_MISSING, .text = "gone"}, away = {HD_UNAVAILABLE, .text = "away"},
                                  no = {HD_DENIED, .text = "no"};

// What is asked next, of a schedule that is due at its tick and has a last run, after these answers.
static enum pip_step after(struct pip_schedule *schedule, const struct pip_clock *clock,
                           const struct pip_answer_to *answer) {
    return pip_tick_answered(&arena, schedule, clock, answer, schedule->tick_ms + 1);
}

TEST(what_overlap_asks) {
    static const struct {
        Hodei__V1__Overlap overlap;
        const char *last_run;
        enum pip_step first;
        const struct pip_answer_to *answer;
        enum pip_step second;
        Hodei__V1__TickOutcome outcome; // where nothing more is asked
    } rows[] = {
        {HODEI__V1__OVERLAP__OVERLAP_SKIP, "", PIP_STEP_START, &started, PIP_STEP_DUE, 1},
        {HODEI__V1__OVERLAP__OVERLAP_SKIP, "r", PIP_STEP_LOOK, &going, PIP_STEP_DUE, 2},
        {HODEI__V1__OVERLAP__OVERLAP_SKIP, "r", PIP_STEP_LOOK, &ended, PIP_STEP_START, 0},
        {HODEI__V1__OVERLAP__OVERLAP_SKIP, "r", PIP_STEP_LOOK, &gone, PIP_STEP_START, 0},
        {HODEI__V1__OVERLAP__OVERLAP_SKIP, "r", PIP_STEP_LOOK, &no, PIP_STEP_DUE, 3},
        {HODEI__V1__OVERLAP__OVERLAP_QUEUE, "r", PIP_STEP_START, &started, PIP_STEP_DUE, 1},
        {HODEI__V1__OVERLAP__OVERLAP_QUEUE, "r", PIP_STEP_START, &gone, PIP_STEP_DUE, 3}, // the pipeline is
        {HODEI__V1__OVERLAP__OVERLAP_CANCEL, "", PIP_STEP_START, &started, PIP_STEP_DUE, 1},
        {HODEI__V1__OVERLAP__OVERLAP_CANCEL, "r", PIP_STEP_CANCEL, &ended, PIP_STEP_START, 0},
        {HODEI__V1__OVERLAP__OVERLAP_CANCEL, "r", PIP_STEP_CANCEL, &gone, PIP_STEP_START, 0},
    };
    struct pip_clock clock = clock_of("0 * * * *");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pip_schedule schedule = schedule_of(&clock, rows[i].overlap, false);
        schedule.last_run = rows[i].last_run;
        CHECK_INT(pip_tick_due(&schedule, &clock, HOUR - 1), PIP_STEP_DUE); // not yet
        CHECK_INT(pip_tick_due(&schedule, &clock, HOUR), rows[i].first);
        CHECK_INT(schedule.again_ms, HOUR + PIP_ASK_TIMEOUT_MS + 1000);
        CHECK_INT(after(&schedule, &clock, rows[i].answer), rows[i].second);
        CHECK_INT(schedule.last_outcome, rows[i].outcome);
        CHECK_INT(schedule.last_tick_ms, rows[i].outcome ? HOUR : 0);
        CHECK_INT(schedule.tick_ms, rows[i].outcome ? 2 * HOUR : HOUR);
    }
}

TEST(no_answer_asks_the_same_with_growing_pauses) {
    struct pip_clock clock = clock_of("0 0 * * *");
    struct pip_schedule schedule = schedule_of(&clock, HODEI__V1__OVERLAP__OVERLAP_QUEUE, false);
    int64_t now_ms = DAY, pause_ms = 1000;
    for (int i = 0; i < 9; i++) {
        CHECK_INT(pip_tick_due(&schedule, &clock, now_ms), PIP_STEP_START);
        CHECK_INT(pip_tick_answered(&arena, &schedule, &clock, &away, now_ms), PIP_STEP_DUE);
        CHECK_INT(schedule.tick_ms, DAY);
        CHECK_STR(schedule.last_error, "away");
        CHECK_INT(schedule.again_ms - now_ms, pause_ms);
        now_ms = schedule.again_ms;
        pause_ms = pause_ms * 2 > MINUTE ? MINUTE : pause_ms * 2;
    }
    CHECK_INT(schedule.refusals, 0);
    CHECK_INT(pip_tick_due(&schedule, &clock, now_ms), PIP_STEP_START);
    CHECK_INT(pip_tick_answered(&arena, &schedule, &clock, &started, now_ms), PIP_STEP_DUE);
    CHECK_STR(schedule.last_error, "");
    CHECK_INT(schedule.tries, 0);
}

TEST(missed_ticks) {
    static const struct {
        const char *expr;
        bool catch_up;
        int64_t now_ms, tick_ms;
        bool due;
    } rows[] = {
        {"0 * * * *", false, HOUR, HOUR, true},
        {"0 * * * *", false, 5 * HOUR - 1, 4 * HOUR, true},
        {"0 0 * * *", false, DAY + HOUR - 1, DAY, true},
        {"0 0 * * *", false, DAY + HOUR, 2 * DAY, false}, // older than an hour
        {"0 * * * *", true, 5 * HOUR, HOUR, true},
        {"0 0 * * *", true, 9 * DAY, DAY, true},
        {"0 0 * * *", true, 100 * DAY, DAY, true},
        {"0 0 * * *", true, 101 * DAY, 2 * DAY, true}, // the newest 100
        {"* * * * *", true, 365 * DAY, 365 * DAY - 99 * MINUTE, true},
        {"* * 1 1 *", true, 20 * DAY, DAY - 100 * MINUTE, true}, // none for long, before that many
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pip_clock clock = clock_of(rows[i].expr);
        struct pip_schedule schedule = schedule_of(&clock, HODEI__V1__OVERLAP__OVERLAP_QUEUE, rows[i].catch_up);
        CHECK_INT(pip_tick_due(&schedule, &clock, rows[i].now_ms), rows[i].due ? PIP_STEP_START : PIP_STEP_DUE);
        CHECK_INT(schedule.tick_ms, rows[i].tick_ms);
    }
}

TEST(ten_refusals_in_a_row_pause) {
    struct pip_clock clock = clock_of("* * * * *");
    struct pip_schedule schedule = schedule_of(&clock, HODEI__V1__OVERLAP__OVERLAP_QUEUE, false);
    for (int i = 1; i <= 20; i++) {
        bool fine = i == 10; // which starts the count anew
        CHECK_INT(pip_tick_due(&schedule, &clock, i * MINUTE), PIP_STEP_START);
        CHECK_INT(after(&schedule, &clock, fine ? &started : &no), PIP_STEP_DUE);
        CHECK_INT(schedule.paused, i == 20 ? PIP_PAUSED_BY_REFUSALS : PIP_RUNNING);
        CHECK_STR(schedule.last_error, fine ? "" : "no");
    }
    CHECK_STR(schedule.paused_reason, "10 runs in a row were refused; the last: no");
    CHECK_INT(schedule.again_ms, -1);
    CHECK_INT(pip_tick_due(&schedule, &clock, HOUR), PIP_STEP_DUE);
    hd_arena_release(&arena);
}

TEST(a_quota_that_is_used_up_pauses_nothing) {
    const struct pip_answer_to limited = {.status = HD_LIMITED, .text = "3 of 3"};
    struct pip_clock clock = clock_of("* * * * *");
    struct pip_schedule schedule = schedule_of(&clock, HODEI__V1__OVERLAP__OVERLAP_QUEUE, false);
    for (int i = 1; i <= 30; i++) {
        CHECK_INT(pip_tick_due(&schedule, &clock, i * MINUTE), PIP_STEP_START);
        CHECK_INT(after(&schedule, &clock, &limited), PIP_STEP_DUE);
        CHECK_INT(schedule.paused, PIP_RUNNING);
        CHECK_INT(schedule.last_outcome, HODEI__V1__TICK_OUTCOME__TICK_OUTCOME_REFUSED);
        CHECK_STR(schedule.last_error, "3 of 3");
    }
    hd_arena_release(&arena);
}

TEST(a_pause_while_something_is_asked) {
    struct pip_clock clock = clock_of("* * * * *");
    struct pip_schedule schedule = schedule_of(&clock, HODEI__V1__OVERLAP__OVERLAP_QUEUE, false);
    CHECK_INT(pip_tick_due(&schedule, &clock, MINUTE), PIP_STEP_START);
    pip_tick_pause(&schedule, PIP_PAUSED_BY_USER, "why");
    CHECK_INT(after(&schedule, &clock, &started), PIP_STEP_DUE);
    CHECK_STR(schedule.last_run, "run"); // it was too late for that one
    CHECK_INT(schedule.again_ms, -1);
    schedule = schedule_of(&clock, HODEI__V1__OVERLAP__OVERLAP_SKIP, false);
    schedule.last_run = "r";
    CHECK_INT(pip_tick_due(&schedule, &clock, MINUTE), PIP_STEP_LOOK);
    pip_tick_pause(&schedule, PIP_PAUSED_BY_USER, "why");
    CHECK_INT(after(&schedule, &clock, &ended), PIP_STEP_DUE); // and not for this one
    CHECK_INT(schedule.again_ms, -1);
    CHECK_STR(schedule.paused_reason, "why");
}

TEST_MAIN
