// The ticks of schedules: what is due is claimed, and the orchestrator is asked.
#include "base/map.h"
#include "hodei/v1/run.pb-c.h"
#include "services/pipelines/schedules.h"

#define DUE_MAX 100 // schedules claimed at once

// --- asking -----------------------------------------------------------------------------------------------------------

static const char *id_text(struct hd_arena *arena, struct hd_uuid id) {
    char text[HD_UUID_TEXT];
    hd_uuid_format(id, text);
    return hd_arena_strdup(arena, text);
}

static char *borrow(const char *text) {
    return (char *)(uintptr_t)text; // protobuf-c's fields are not const; it is packed at once
}

// The id stands for the pipeline, its expression and its zone.
static const char *tick_key(struct hd_arena *arena, const struct pip_schedule *schedule) {
    return hd_arena_printf(arena, "cron.%s.%lld", id_text(arena, schedule->id), (long long)schedule->tick_ms);
}

static void ask(struct hd_ctx *cx, struct pip_schedule *schedule, enum pip_step step) {
    Hodei__V1__GetRunRequest look = HODEI__V1__GET_RUN_REQUEST__INIT;
    Hodei__V1__CancelRunRequest cancel = HODEI__V1__CANCEL_RUN_REQUEST__INIT;
    Hodei__V1__StartRunRequest start = HODEI__V1__START_RUN_REQUEST__INIT;
    const struct {
        const char *method;
        const ProtobufCMessage *msg;
        enum pip_answer answer;
    } questions[] = {[PIP_STEP_LOOK] = {"GetRun", &look.base, PIP_A_LOOKED},
                     [PIP_STEP_CANCEL] = {"CancelRun", &cancel.base, PIP_A_CANCELLED},
                     [PIP_STEP_START] = {"StartRun", &start.base, PIP_A_STARTED}};

    look.id = cancel.id = borrow(schedule->last_run);
    start.pipeline = borrow(schedule->pipeline);
    schedule->tag = (int64_t)(hd_rng_next(cx->rng) >> 1 | 1);
    hd_ask_with(cx,
                &(struct hd_asking){.service = "orchestrator",
                                    .method = questions[step].method,
                                    .msg = questions[step].msg,
                                    .answer_kind = questions[step].answer,
                                    .timeout_ms = PIP_ASK_TIMEOUT_MS,
                                    .subject = "cron",
                                    .tenant = schedule->tenant,
                                    .idempotency_key = step == PIP_STEP_START ? tick_key(cx->arena, schedule) : NULL,
                                    .tag = (uint64_t)schedule->tag});
}

// --- due --------------------------------------------------------------------------------------------------------------

enum hd_status pip_ticks_due(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct pip_schedule *due;
    size_t n_due;

    (void)self;
    (void)items;
    (void)n;
    HD_TRY(pip_store_due(cx, DUE_MAX, &due, &n_due));
    for (size_t i = 0; i < n_due; i++) {
        struct pip_clock clock;
        if (pip_clock_read(cx, &due[i], &clock) != HD_OK) { // it was there when it was applied
            pip_tick_pause(&due[i], PIP_PAUSED_BY_REFUSALS, hd_arena_strdup(cx->arena, cx->err.text));
            hd_metric_add(&pip_metrics[PIP_M_PAUSED], 1);
            continue;
        }
        enum pip_step step = pip_tick_due(&due[i], &clock, cx->now.wall_ms);
        if (step != PIP_STEP_DUE)
            ask(cx, &due[i], step);
    }
    return pip_store_put_schedules(cx, due, n_due);
}

// --- answers ----------------------------------------------------------------------------------------------------------

static void count(const struct pip_schedule *before, const struct pip_schedule *after) {
    static const enum pip_metric of[] = {[HODEI__V1__TICK_OUTCOME__TICK_OUTCOME_STARTED] = PIP_M_TICK_STARTED,
                                         [HODEI__V1__TICK_OUTCOME__TICK_OUTCOME_SKIPPED] = PIP_M_TICK_SKIPPED,
                                         [HODEI__V1__TICK_OUTCOME__TICK_OUTCOME_REFUSED] = PIP_M_TICK_REFUSED};
    if (after->last_tick_ms != before->last_tick_ms)
        hd_metric_add(&pip_metrics[of[after->last_outcome]], 1);
    else if (after->tries > before->tries)
        hd_metric_add(&pip_metrics[PIP_M_TICK_UNANSWERED], 1);
    if (after->paused != before->paused)
        hd_metric_add(&pip_metrics[PIP_M_PAUSED], 1);
}

static struct pip_answer_to answer_of(const struct hd_item *item, enum pip_step step) {
    struct pip_answer_to answer = {.status = item->err.status, .text = item->err.text};

    if (step == PIP_STEP_CANCEL && answer.status == HD_PRECONDITION)
        answer.status = HD_OK; // it has ended meanwhile
    if (!item->msg)            // an answer that cannot be read has an error too
        return answer;
    if (step == PIP_STEP_START)
        answer.run = ((const Hodei__V1__StartRunReply *)item->msg)->id;
    if (step == PIP_STEP_LOOK)
        answer.run_ended = ((const Hodei__V1__Run *)item->msg)->state >= HODEI__V1__RUN_STATE__RUN_STATE_SUCCEEDED;
    return answer;
}

static enum hd_status take_answer(struct hd_ctx *cx, struct pipelines *self, struct pip_schedule *schedule,
                                  const struct hd_item *item) {
    struct pip_schedule before = *schedule;
    struct pip_answer_to answer = answer_of(item, schedule->step);
    struct pip_clock clock;

    HD_TRY(pip_clock_read(cx, schedule, &clock));
    enum pip_step next = pip_tick_answered(cx->arena, schedule, &clock, &answer, cx->now.wall_ms);
    if (next != PIP_STEP_DUE)
        ask(cx, schedule, next);
    count(&before, schedule);
    if (schedule->again_ms >= 0 && schedule->again_ms <= cx->now.wall_ms)
        hd_service_kick(self->service, PIP_TICKS_TIMER); // there is another to make up for
    return HD_OK;
}

// Answers to questions that have been asked again since find no row.
static enum hd_status answered(struct hd_ctx *cx, void *self, const struct hd_item *items, size_t n,
                               enum pip_step step) {
    int64_t *tags = HD_NEW_ARRAY(cx->arena, n, int64_t);
    struct pip_schedule *asked, *changed;
    size_t n_asked, n_changed = 0;

    for (size_t i = 0; i < n; i++)
        tags[i] = (int64_t)items[i].tag;
    HD_TRY(pip_store_asked(cx, tags, n, &asked, &n_asked));
    changed = HD_NEW_ARRAY(cx->arena, n_asked, struct pip_schedule);
    for (size_t i = 0; i < n_asked; i++) {
        size_t k = 0;
        while (tags[k] != asked[i].tag)
            k++;
        if (asked[i].step != step)
            continue;
        HD_TRY(take_answer(cx, self, &asked[i], &items[k]));
        changed[n_changed++] = asked[i];
    }
    return pip_store_put_schedules(cx, changed, n_changed);
}

enum hd_status pip_looked(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    return answered(cx, self, items, n, PIP_STEP_LOOK);
}

enum hd_status pip_cancelled(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    return answered(cx, self, items, n, PIP_STEP_CANCEL);
}

enum hd_status pip_started(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    return answered(cx, self, items, n, PIP_STEP_START);
}
