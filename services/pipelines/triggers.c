#include "services/pipelines/triggers.h"

#include <stddef.h>
#include <string.h>

#include "base/cron.h"

struct triggers {
    const struct pip_node *cron, *manual, *pipeline;
};
struct after {
    char *name;
    int32_t when;
};
struct cron {
    char *expr, *timezone;
    int32_t overlap;
    bool catch_up;
};

static pip_take take_expr, take_timezone, take_bool;

static const struct pip_key trigger_rows[] = {
    {"cron", pip_take_node, offsetof(struct triggers, cron),
     .schema = "{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/cron\"}}", .help = "times"},
    {"manual", pip_take_node, offsetof(struct triggers, manual), .schema = "{}"}, // it is always possible
    {"push"},
    {"pull_request"},
    {"tag"},
    {"webhook"},
    {"pipeline", pip_take_node, offsetof(struct triggers, pipeline),
     .schema = "{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/after\"}}",
     .help = "ends of runs of other pipelines"},
};
const struct pip_keys pip_on_keys = PIP_KEYS(trigger_rows);

#define ACCEPT(x) HODEI__V1__NEED_ACCEPT__NEED_ACCEPT_##x
static const struct pip_choice when_rows[] = {
    {"success", ACCEPT(SUCCESS), false},
    {"failure", ACCEPT(FAILURE), false},
    {"always", ACCEPT(SUCCESS) | ACCEPT(FAILURE) | ACCEPT(CANCELLED), false},
};
static const struct pip_choices whens = {when_rows, 3};
static const struct pip_key after_rows[] = {
    {"name", pip_take_name, offsetof(struct after, name), .required = true, .help = "of the other pipeline"},
    {"when", pip_take_choice, offsetof(struct after, when), &whens, .help = "which ends count; default success"},
};
const struct pip_keys pip_after_keys = PIP_KEYS(after_rows);

static const struct pip_choice overlap_rows[] = {{"skip", HODEI__V1__OVERLAP__OVERLAP_SKIP},
                                                 {"queue", HODEI__V1__OVERLAP__OVERLAP_QUEUE},
                                                 {"cancel", HODEI__V1__OVERLAP__OVERLAP_CANCEL}};
static const struct pip_choices overlaps = {overlap_rows, 3};

static const struct pip_key cron_rows[] = {
    {"expr", take_expr, offsetof(struct cron, expr), .required = true},
    {"timezone", take_timezone, offsetof(struct cron, timezone)},
    {"overlap", pip_take_choice, offsetof(struct cron, overlap), &overlaps},
    {"catch_up", take_bool, offsetof(struct cron, catch_up), .schema = "{\"type\":\"boolean\"}"},
};
const struct pip_keys pip_cron_keys = PIP_KEYS(cron_rows);

static enum hd_status take_expr(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                                void *field) {
    struct hd_err err = {0};
    struct hd_cron cron;

    HD_TRY(pip_take_text(w, key, value, field));
    if (hd_cron_parse(value->text, &err, &cron) == HD_OK)
        return HD_OK;
    pip_fail(w, value->at, "%s", err.text);
    if (*err.hint)
        hd_err_hint(w->err, "%s", err.hint);
    return HD_INVALID;
}

static enum hd_status take_timezone(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                                    void *field) {
    HD_TRY(pip_take_text(w, key, value, field));
    if (hd_zone_name_valid(value->text)) {
        struct hd_err err = {0};
        if (!w->zones || w->zones(w->zones_arg, value->text, &err) == HD_OK)
            return HD_OK;
        pip_fail(w, value->at, "%s", err.text);
        w->err->status = err.status;
        hd_err_hint(w->err, "%s", err.hint);
        return err.status;
    }
    pip_fail(w, value->at, "\"%.80s\" is not a time zone", value->text);
    hd_err_hint(w->err, "write UTC or Area/City, for example Europe/Madrid");
    return HD_INVALID;
}

static enum hd_status take_bool(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                                void *field) {
    (void)key;
    HD_TRY(pip_expect(w, value, PIP_BOOL));
    *(bool *)field = strcmp(value->text, "true") == 0;
    return HD_OK;
}

// Two alike would tick as one, and could not be told apart when the next version is applied.
static enum hd_status refuse_twin(struct pip_walk *w, const Hodei__V1__CompiledPipeline *out, size_t n,
                                  struct pip_at at) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(out->cron[i]->expr, out->cron[n]->expr) == 0 &&
            strcmp(out->cron[i]->timezone, out->cron[n]->timezone) == 0)
            return pip_fail(w, at, "the same expression and time zone as in on.cron[%zu]", i);
    return HD_OK;
}

static enum hd_status take_cron(struct pip_walk *w, const struct pip_node *list, Hodei__V1__CompiledPipeline *out) {
    HD_TRY(pip_expect(w, list, PIP_LIST));
    if (list->n > PIP_CRON_MAX)
        return pip_fail(w, list->at, "%zu entries, more than %d", list->n, PIP_CRON_MAX);
    out->cron = HD_NEW_ARRAY(w->arena, list->n, Hodei__V1__CronTrigger *);
    for (size_t i = 0; i < list->n; i++) {
        struct cron in = {.timezone = "UTC"};
        Hodei__V1__CronTrigger *trigger = HD_NEW(w->arena, Hodei__V1__CronTrigger);
        hodei__v1__cron_trigger__init(trigger);
        pip_enter_index(w, i);
        HD_TRY(pip_walk_map(w, list->items[i], pip_cron_keys, &in));
        trigger->expr = in.expr;
        trigger->timezone = in.timezone;
        trigger->overlap = (Hodei__V1__Overlap)in.overlap;
        trigger->catch_up = in.catch_up;
        out->cron[i] = trigger;
        HD_TRY(refuse_twin(w, out, i, list->items[i]->at));
        out->n_cron = i + 1;
        pip_leave(w);
    }
    return HD_OK;
}

static enum hd_status take_after(struct pip_walk *w, const struct pip_node *list, Hodei__V1__CompiledPipeline *out) {
    HD_TRY(pip_expect(w, list, PIP_LIST));
    if (list->n > PIP_AFTER_MAX)
        return pip_fail(w, list->at, "%zu entries, more than %d", list->n, PIP_AFTER_MAX);
    out->on_pipeline = HD_NEW_ARRAY(w->arena, list->n, Hodei__V1__PipelineTrigger *);
    for (size_t i = 0; i < list->n; i++) {
        struct after in = {.when = ACCEPT(SUCCESS)};
        Hodei__V1__PipelineTrigger *trigger = HD_NEW(w->arena, Hodei__V1__PipelineTrigger);
        hodei__v1__pipeline_trigger__init(trigger);
        pip_enter_index(w, i);
        HD_TRY(pip_walk_map(w, list->items[i], pip_after_keys, &in));
        if (strcmp(in.name, out->name) == 0)
            return pip_fail(w, list->items[i]->at, "a pipeline cannot start itself: it would never end");
        for (size_t k = 0; k < i; k++)
            if (strcmp(out->on_pipeline[k]->name, in.name) == 0)
                return pip_fail(w, list->items[i]->at, "the same pipeline as in on.pipeline[%zu]", k);
        trigger->name = in.name;
        trigger->accepts = (uint32_t)in.when;
        out->on_pipeline[i] = trigger;
        out->n_on_pipeline = i + 1;
        pip_leave(w);
    }
    return HD_OK;
}

enum hd_status pip_take_triggers(struct pip_walk *w, const struct pip_node *on, Hodei__V1__CompiledPipeline *ret) {
    struct triggers in = {0};

    if (!on)
        return HD_OK;
    pip_enter_key(w, "on");
    HD_TRY(pip_walk_map(w, on, pip_on_keys, &in));
    if (in.cron) {
        pip_enter_key(w, "cron");
        HD_TRY(take_cron(w, in.cron, ret));
        pip_leave(w);
    }
    if (in.pipeline) {
        pip_enter_key(w, "pipeline");
        HD_TRY(take_after(w, in.pipeline, ret));
        pip_leave(w);
    }
    pip_leave(w);
    return HD_OK;
}
