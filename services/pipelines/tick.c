#include "services/pipelines/tick.h"

#include "base/buf.h"

#define ANSWER_GRACE_MS 1000
#define AGAIN_MIN_MS 1000
#define AGAIN_MAX_MS 60000
#define HOUR_MS INT64_C(3600000)

// --- which tick -------------------------------------------------------------------------------------------------------

static void set_tick(struct pip_schedule *schedule, const struct pip_clock *clock, int64_t after_ms) {
    schedule->step = PIP_STEP_DUE;
    schedule->tag = 0;
    schedule->tries = 0;
    if (hd_cron_next(&clock->cron, clock->zone, after_ms, &schedule->tick_ms) != HD_OK)
        schedule->again_ms = -1;
    else
        schedule->again_ms = schedule->paused ? -1 : schedule->tick_ms;
}

void pip_tick_restart(struct pip_schedule *schedule, const struct pip_clock *clock, int64_t now_ms) {
    set_tick(schedule, clock, now_ms);
}

// The oldest of the newest `max` ticks in (from_ms, to_ms]; how many there are of those.
static size_t newest(const struct pip_clock *clock, int64_t from_ms, int64_t to_ms, size_t max, int64_t *ret_ms) {
    int64_t ring[PIP_MISSED_MAX], at_ms = from_ms;
    size_t n = 0;

    while (hd_cron_next(&clock->cron, clock->zone, at_ms, &at_ms) == HD_OK && at_ms <= to_ms)
        ring[n++ % max] = at_ms;
    if (n)
        *ret_ms = ring[n > max ? n % max : 0];
    return n < max ? n : max;
}

// Passes over ticks that were missed and are not made up for. True where one is left that is due.
static bool pass_over(struct pip_schedule *schedule, const struct pip_clock *clock, int64_t now_ms) {
    int64_t first_ms = schedule->tick_ms, oldest_ms = first_ms - 1, from_ms;

    if (first_ms > now_ms)
        return false;
    if (schedule->catch_up) {
        // Looks back further and further, so that a long outage of a schedule that ticks often costs little.
        int64_t back_ms = 2 * HOUR_MS;
        do {
            from_ms = now_ms - back_ms > oldest_ms ? now_ms - back_ms : oldest_ms;
            back_ms *= 2;
        } while (newest(clock, from_ms, now_ms, PIP_MISSED_MAX, &first_ms) < PIP_MISSED_MAX && from_ms > oldest_ms);
    } else {
        from_ms = now_ms - PIP_MISSED_AGE_MS > oldest_ms ? now_ms - PIP_MISSED_AGE_MS : oldest_ms;
        if (newest(clock, from_ms, now_ms, 1, &first_ms) == 0) {
            set_tick(schedule, clock, now_ms);
            return false;
        }
    }
    if (first_ms != schedule->tick_ms)
        set_tick(schedule, clock, first_ms - 1);
    return true;
}

// --- what to ask ------------------------------------------------------------------------------------------------------

static enum pip_step ask(struct pip_schedule *schedule, enum pip_step step, int64_t now_ms) {
    schedule->step = step;
    schedule->again_ms = now_ms + PIP_ASK_TIMEOUT_MS + ANSWER_GRACE_MS; // where the answer never reaches us
    return step;
}

enum pip_step pip_tick_due(struct pip_schedule *schedule, const struct pip_clock *clock, int64_t now_ms) {
    enum pip_step step = PIP_STEP_START;

    if (schedule->paused || !pass_over(schedule, clock, now_ms))
        return PIP_STEP_DUE;
    if (schedule->step != PIP_STEP_DUE)
        step = schedule->step;
    else if (*schedule->last_run && schedule->overlap == HODEI__V1__OVERLAP__OVERLAP_SKIP)
        step = PIP_STEP_LOOK;
    else if (*schedule->last_run && schedule->overlap == HODEI__V1__OVERLAP__OVERLAP_CANCEL)
        step = PIP_STEP_CANCEL;
    return ask(schedule, step, now_ms);
}

static enum pip_step finish(struct pip_schedule *schedule, const struct pip_clock *clock,
                            Hodei__V1__TickOutcome outcome, const char *error) {
    schedule->last_tick_ms = schedule->tick_ms;
    schedule->last_outcome = outcome;
    schedule->last_error = error;
    set_tick(schedule, clock, schedule->tick_ms);
    return PIP_STEP_DUE;
}

static enum pip_step try_again(struct pip_schedule *schedule, const char *error, int64_t now_ms) {
    int64_t pause_ms = AGAIN_MIN_MS << (schedule->tries < 6 ? schedule->tries : 6);

    schedule->tag = 0;
    schedule->tries++;
    schedule->last_error = error;
    schedule->again_ms = schedule->paused ? -1 : now_ms + (pause_ms < AGAIN_MAX_MS ? pause_ms : AGAIN_MAX_MS);
    return PIP_STEP_DUE;
}

void pip_tick_pause(struct pip_schedule *schedule, enum pip_paused why, const char *reason) {
    schedule->paused = why;
    schedule->paused_reason = reason;
    schedule->again_ms = -1;
}

static enum pip_step refused(struct hd_arena *arena, struct pip_schedule *schedule, const struct pip_clock *clock,
                             const struct pip_answer_to *answer) {
    const char *text = answer->text;
    finish(schedule, clock, HODEI__V1__TICK_OUTCOME__TICK_OUTCOME_REFUSED, text);
    if (answer->status == HD_LIMITED) // a quota that is used up is not for ever, and nothing is wrong with the schedule
        return PIP_STEP_DUE;
    if (++schedule->refusals >= PIP_REFUSED_MAX && !schedule->paused)
        pip_tick_pause(schedule, PIP_PAUSED_BY_REFUSALS,
                       hd_arena_printf(arena, "%d runs in a row were refused; the last: %s", schedule->refusals, text));
    return PIP_STEP_DUE;
}

static enum pip_step started(struct pip_schedule *schedule, const struct pip_clock *clock, const char *run) {
    schedule->refusals = 0;
    schedule->last_run = run;
    return finish(schedule, clock, HODEI__V1__TICK_OUTCOME__TICK_OUTCOME_STARTED, "");
}

enum pip_step pip_tick_answered(struct hd_arena *arena, struct pip_schedule *schedule, const struct pip_clock *clock,
                                const struct pip_answer_to *answer, int64_t now_ms) {
    bool gone = answer->status == HD_MISSING; // the last run: as good as ended

    if (answer->status == HD_UNAVAILABLE || answer->status == HD_TIMEOUT)
        return try_again(schedule, answer->text, now_ms);
    if (schedule->step == PIP_STEP_START && answer->status == HD_OK)
        return started(schedule, clock, answer->run);
    if (schedule->step == PIP_STEP_START || (answer->status != HD_OK && !gone))
        return refused(arena, schedule, clock, answer);
    if (schedule->paused) { // since the question was asked; nothing has been started
        schedule->tag = 0;
        return PIP_STEP_DUE;
    }
    if (schedule->step == PIP_STEP_LOOK && !gone && !answer->run_ended)
        return finish(schedule, clock, HODEI__V1__TICK_OUTCOME__TICK_OUTCOME_SKIPPED, "");
    return ask(schedule, PIP_STEP_START, now_ms);
}
