// Schedules as users see them, and how they follow the versions of their pipeline.
#include "services/pipelines/schedules.h"

#include "adapter/zoneinfo.h"
#include "base/names.h"

#define NEXT_SHOWN 5
#define REASON_MAX 200

enum hd_status pip_clock_read(struct hd_ctx *cx, const struct pip_schedule *schedule, struct pip_clock *ret) {
    HD_TRY(hd_cron_parse(schedule->expr, &cx->err, &ret->cron));
    return hd_zoneinfo_read(cx, schedule->timezone, &ret->zone);
}

// --- following versions -----------------------------------------------------------------------------------------------

static const struct pip_schedule *find(const struct pip_schedule *list, size_t n,
                                       const Hodei__V1__CronTrigger *trigger) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].expr, trigger->expr) == 0 && strcmp(list[i].timezone, trigger->timezone) == 0)
            return &list[i];
    return NULL;
}

static enum hd_status make(struct hd_ctx *cx, const char *tenant, const char *pipeline,
                           const Hodei__V1__CronTrigger *trigger, const struct pip_schedule *old,
                           struct pip_schedule *ret) {
    struct pip_schedule schedule = {.id = hd_new_id(cx),
                                    .tenant = tenant,
                                    .pipeline = pipeline,
                                    .expr = trigger->expr,
                                    .timezone = trigger->timezone,
                                    .paused_reason = "",
                                    .last_error = "",
                                    .last_run = ""};
    bool fresh = !old || old->paused == PIP_PAUSED_BY_REFUSALS;
    struct pip_clock clock;

    if (old)
        schedule = *old;
    schedule.overlap = trigger->overlap;
    schedule.catch_up = trigger->catch_up;
    if (fresh) {
        HD_TRY(pip_clock_read(cx, &schedule, &clock));
        schedule.paused = PIP_RUNNING;
        schedule.paused_reason = "";
        schedule.refusals = 0;
        pip_tick_restart(&schedule, &clock, cx->now.wall_ms);
    }
    *ret = schedule;
    return HD_OK;
}

enum hd_status pip_schedules_apply(struct hd_ctx *cx, const char *tenant, const Hodei__V1__CompiledPipeline *pipeline) {
    struct pip_schedule *old, *wanted = HD_NEW_ARRAY(cx->arena, pipeline->n_cron, struct pip_schedule);
    size_t n_old, n_gone = 0;

    HD_TRY(pip_store_schedules(cx, tenant, pipeline->name, &old, &n_old));
    for (size_t i = 0; i < pipeline->n_cron; i++)
        HD_TRY(make(cx, tenant, pipeline->name, pipeline->cron[i], find(old, n_old, pipeline->cron[i]), &wanted[i]));
    struct hd_uuid *gone = HD_NEW_ARRAY(cx->arena, n_old, struct hd_uuid);
    for (size_t i = 0; i < n_old; i++) {
        size_t k = 0;
        while (k < pipeline->n_cron && !hd_uuid_eq(wanted[k].id, old[i].id))
            k++;
        if (k == pipeline->n_cron)
            gone[n_gone++] = old[i].id;
    }
    HD_TRY(pip_store_drop_schedules(cx, gone, n_gone));
    return pip_store_put_schedules(cx, wanted, pipeline->n_cron);
}

// --- as users see them ------------------------------------------------------------------------------------------------

static void fill_next(struct hd_ctx *cx, const struct pip_schedule *schedule, Hodei__V1__Schedule *ret) {
    int64_t at_ms = schedule->tick_ms;
    struct pip_clock clock;

    if (pip_clock_read(cx, schedule, &clock) != HD_OK) { // a zone that is gone: the next tick says so
        hd_err_clear(&cx->err);
        return;
    }
    ret->next_at_ms = HD_NEW_ARRAY(cx->arena, NEXT_SHOWN, int64_t);
    do
        ret->next_at_ms[ret->n_next_at_ms++] = at_ms;
    while (ret->n_next_at_ms < NEXT_SHOWN && hd_cron_next(&clock.cron, clock.zone, at_ms, &at_ms) == HD_OK);
}

static void fill(struct hd_ctx *cx, const struct pip_schedule *schedule, Hodei__V1__Schedule *ret) {
    struct hd_arena *arena = cx->arena;
    Hodei__V1__CronTrigger *trigger = (Hodei__V1__CronTrigger *)hd_pb_new(arena, &hodei__v1__cron_trigger__descriptor);
    char id[HD_UUID_TEXT];

    trigger->expr = hd_arena_strdup(arena, schedule->expr);
    trigger->timezone = hd_arena_strdup(arena, schedule->timezone);
    trigger->overlap = schedule->overlap;
    trigger->catch_up = schedule->catch_up;
    hd_uuid_format(schedule->id, id);
    ret->id = hd_arena_strdup(arena, id);
    ret->pipeline = hd_arena_strdup(arena, schedule->pipeline);
    ret->trigger = trigger;
    ret->paused = schedule->paused != PIP_RUNNING;
    ret->paused_reason = hd_arena_strdup(arena, schedule->paused_reason);
    ret->last_tick_at_ms = schedule->last_tick_ms;
    ret->last_outcome = schedule->last_outcome;
    ret->last_error = hd_arena_strdup(arena, schedule->last_error);
    ret->last_run = hd_arena_strdup(arena, schedule->last_run);
    if (!ret->paused && schedule->again_ms >= 0)
        fill_next(cx, schedule, ret);
}

// The token of a page is the id and the pipeline of the last schedule before it.
static bool page_read(struct hd_item *item, struct hd_uuid *ret_id, const char **ret_pipeline) {
    const Hodei__V1__ListSchedulesRequest *request = (const Hodei__V1__ListSchedulesRequest *)item->msg;
    const char *token = request->page_token;
    char id[HD_UUID_TEXT];

    *ret_pipeline = "";
    *ret_id = (struct hd_uuid){0};
    if (!*token)
        return true;
    bool valid = strlen(token) > HD_UUID_TEXT && token[HD_UUID_TEXT - 1] == '.' && hd_name_valid(token + HD_UUID_TEXT);
    hd_strlcpy(id, token, sizeof(id));
    if (!valid || hd_uuid_parse(id, ret_id) != HD_OK) {
        return hd_item_page_token_wrong(item);
    }
    *ret_pipeline = token + HD_UUID_TEXT;
    return true;
}

static enum hd_status list_one(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__ListSchedulesRequest *request = (const Hodei__V1__ListSchedulesRequest *)item->msg;
    Hodei__V1__ListSchedulesReply *reply = (Hodei__V1__ListSchedulesReply *)item->reply;
    unsigned size;
    struct pip_schedule *list;
    struct hd_uuid after_id;
    const char *after;
    size_t found;

    if (!pip_tenant_given(item) || !hd_item_page(item, request->page_size, &size) ||
        !page_read(item, &after_id, &after))
        return HD_OK;
    HD_TRY(pip_store_schedules_page(cx, item->principal, request->pipeline, after, after_id, size + 1, &list, &found));
    reply->n_schedules = found > size ? size : found;
    reply->schedules = HD_NEW_ARRAY(cx->arena, reply->n_schedules, Hodei__V1__Schedule *);
    for (size_t i = 0; i < reply->n_schedules; i++) {
        reply->schedules[i] = (Hodei__V1__Schedule *)hd_pb_new(cx->arena, &hodei__v1__schedule__descriptor);
        fill(cx, &list[i], reply->schedules[i]);
    }
    if (found > size)
        reply->next_page_token =
            hd_arena_printf(cx->arena, "%s.%s", reply->schedules[size - 1]->id, list[size - 1].pipeline);
    return HD_OK;
}

enum hd_status pip_list_schedules(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++)
        HD_TRY(list_one(cx, &items[i]));
    return HD_OK;
}

// --- pause and resume -------------------------------------------------------------------------------------------------

// *ret is NULL, with the item failed, where there is none.
static enum hd_status load(struct hd_ctx *cx, struct hd_item *item, const char *id, struct pip_schedule **ret) {
    struct hd_uuid uuid;
    size_t n = 0;

    *ret = NULL;
    if (!pip_tenant_given(item))
        return HD_OK;
    if (hd_uuid_parse(id, &uuid) != HD_OK) {
        hd_item_fail(item, HD_INVALID, "\"%.60s\" is not the id of a schedule", id);
        hd_err_field(&item->err, "id");
        return HD_OK;
    }
    HD_TRY(pip_store_schedule(cx, item->principal->tenant, uuid, ret, &n));
    if (n && item->principal->narrowed) {
        struct pip_version version;
        HD_TRY(pip_store_get(cx, item->principal, (*ret)->pipeline, 0, &version));
        n = version.found;
    }
    if (n)
        return HD_OK;
    *ret = NULL;
    hd_item_fail(item, HD_MISSING, "there is no schedule \"%.60s\"", id);
    hd_err_field(&item->err, "id");
    hd_err_hint(&item->err, "a schedule that a new version of its pipeline changed has a new id");
    return HD_OK;
}

static enum hd_status save(struct hd_ctx *cx, struct hd_item *item, const struct pip_schedule *schedule) {
    HD_TRY(pip_store_put_schedules(cx, schedule, 1));
    fill(cx, schedule, (Hodei__V1__Schedule *)item->reply);
    return HD_OK;
}

static enum hd_status pause_one(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__PauseScheduleRequest *request = (const Hodei__V1__PauseScheduleRequest *)item->msg;
    struct pip_schedule *schedule;

    if (strlen(request->reason) > REASON_MAX) {
        hd_item_fail(item, HD_INVALID, "reason has more than %d bytes", REASON_MAX);
        hd_err_field(&item->err, "reason");
        return HD_OK;
    }
    HD_TRY(load(cx, item, request->id, &schedule));
    if (!schedule)
        return HD_OK;
    pip_tick_pause(schedule, PIP_PAUSED_BY_USER,
                   hd_arena_printf(cx->arena, "by %s%s%s", item->principal->subject, *request->reason ? ": " : "",
                                   request->reason));
    return save(cx, item, schedule);
}

static enum hd_status resume_one(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__ResumeScheduleRequest *request = (const Hodei__V1__ResumeScheduleRequest *)item->msg;
    struct pip_schedule *schedule;
    struct pip_clock clock;

    HD_TRY(load(cx, item, request->id, &schedule));
    if (!schedule)
        return HD_OK;
    if (schedule->paused) {
        HD_TRY(pip_clock_read(cx, schedule, &clock));
        schedule->paused = PIP_RUNNING;
        schedule->paused_reason = "";
        schedule->refusals = 0;
        pip_tick_restart(schedule, &clock, cx->now.wall_ms);
    }
    return save(cx, item, schedule);
}

// One after another: of two with one key the second finds the answer of the first.
static enum hd_status command(struct hd_ctx *cx, struct hd_item *items, size_t n,
                              enum hd_status (*one)(struct hd_ctx *cx, struct hd_item *item)) {
    for (size_t i = 0; i < n; i++) {
        bool known = false;
        if (!pip_tenant_given(&items[i]))
            continue;
        HD_TRY(pip_command_known(cx, &items[i], &known));
        if (known)
            continue;
        HD_TRY(one(cx, &items[i]));
        if (items[i].err.status == HD_OK)
            HD_TRY(pip_command_keep(cx, &items[i], items[i].reply));
    }
    return HD_OK;
}

enum hd_status pip_pause_schedule(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    return command(cx, items, n, pause_one);
}

enum hd_status pip_resume_schedule(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    return command(cx, items, n, resume_one);
}
