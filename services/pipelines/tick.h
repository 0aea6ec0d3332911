// What a schedule does next: which tick, and what the orchestrator is asked for it. Pure: the handlers carry it out.
//
// A schedule works on one tick at a time, the row's tick_ms, and goes through these steps:
//
//   DUE    nothing has been asked. overlap skip and there was a run → LOOK; overlap cancel → CANCEL; else START
//   LOOK   GetRun of the last run: still going → the tick is skipped; ended → START
//   CANCEL CancelRun of the last run → START, without waiting for its jobs to have stopped
//   START  StartRun with a key made of the schedule and the tick, so that it may be asked often and starts once
//
// No answer: the step is asked again, with growing pauses. Ticks that have been missed: with catch_up each is made up for, the
// newest 100 at most; without it only the newest, where it is not older than an hour. A tick that is passed over in this way
// counts as never asked, even if an answer may have been lost.
#ifndef HD_PIPELINES_TICK_H
#define HD_PIPELINES_TICK_H

#include "base/cron.h"
#include "base/uuid.h"
#include "hodei/v1/pipeline.pb-c.h"

#define PIP_MISSED_MAX 100
#define PIP_MISSED_AGE_MS INT64_C(3600000)
#define PIP_REFUSED_MAX 10 // in a row, then it pauses
#define PIP_ASK_TIMEOUT_MS 5000

enum pip_step { PIP_STEP_DUE, PIP_STEP_LOOK, PIP_STEP_CANCEL, PIP_STEP_START };
enum pip_paused { PIP_RUNNING, PIP_PAUSED_BY_USER, PIP_PAUSED_BY_REFUSALS };

struct pip_schedule { // a row; texts are borrowed
    struct hd_uuid id;
    const char *tenant, *pipeline, *expr, *timezone;
    Hodei__V1__Overlap overlap;
    bool catch_up;
    int64_t tick_ms;  // to be started next
    int64_t again_ms; // not looked at before; -1: never, while it is paused or has no tick left
    enum pip_step step;
    int64_t tag; // of the question under way, 0: none
    int32_t tries, refusals;
    enum pip_paused paused;
    const char *paused_reason;
    int64_t last_tick_ms;
    Hodei__V1__TickOutcome last_outcome;
    const char *last_error, *last_run;
};
struct pip_clock { // when it ticks
    struct hd_cron cron;
    const struct hd_zone *zone;
};
struct pip_answer_to { // a question of the schedule
    enum hd_status status;
    const char *text; // of a refusal
    const char *run;  // to START: its id
    bool run_ended;   // to LOOK
};

// Starts from the next tick after `now_ms`, for a new schedule and one that is resumed.
void pip_tick_restart(struct pip_schedule *schedule, const struct pip_clock *clock, int64_t now_ms);
// Its time has come. Returns the step to ask for, PIP_STEP_DUE for nothing.
enum pip_step pip_tick_due(struct pip_schedule *schedule, const struct pip_clock *clock, int64_t now_ms);
// The question of schedule->step is answered. Returns as above.
enum pip_step pip_tick_answered(struct hd_arena *arena, struct pip_schedule *schedule, const struct pip_clock *clock,
                                const struct pip_answer_to *answer, int64_t now_ms);
void pip_tick_pause(struct pip_schedule *schedule, enum pip_paused why, const char *reason);

#endif
