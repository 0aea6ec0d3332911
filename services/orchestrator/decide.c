// What a job becomes when all that it needs has ended, and what its expressions see. Pure.
#include "base/expr.h"
#include "base/inputs.h"
#include "base/matrix.h"
#include "base/names.h"
#include "base/pb.h"
#include "services/orchestrator/graph.h"

#define JOB(x) HODEI__V1__JOB_STATE__JOB_STATE_##x
#define JOBS_MAX 10000 // of a run

enum hd_status orc_inputs(struct hd_arena *arena, const Hodei__V1__CompiledPipeline *plan,
                          const Hodei__V1__StartRunRequest *request, struct hd_err *err, const struct hd_value **ret) {
    return hd_inputs_read(arena, plan, request ? request->inputs : NULL, request ? request->n_inputs : 0, err, ret);
}

// --- names --------------------------------------------------------------------------------------------------------------------

static const struct hd_value *run_inputs(struct orc_ws *ws, struct orc_run *run) {
    ProtobufCMessage *msg = NULL;
    struct hd_err err;
    if (run->inputs)
        return run->inputs;
    if (run->request_len && hd_pb_unpack(ws->arena, &hodei__v1__start_run_request__descriptor, run->request,
                                         run->request_len, &err, &msg) != HD_OK)
        msg = NULL;
    if (orc_inputs(ws->arena, run->plan, (const Hodei__V1__StartRunRequest *)msg, &err, &run->inputs) != HD_OK)
        run->inputs = hd_value_new(ws->arena, HD_MAP, 0); // they were checked when the run was accepted
    return run->inputs;
}

static const struct hd_value *run_names(struct orc_ws *ws, const struct orc_run *run) {
    struct hd_value *map = hd_value_new(ws->arena, HD_MAP, 5);
    char *id = hd_arena_alloc(ws->arena, HD_UUID_TEXT);
    hd_uuid_format(run->id, id);
    hd_value_set(map, "id", hd_value_text(ws->arena, id));
    hd_value_set(map, "pipeline", hd_value_text(ws->arena, run->pipeline));
    hd_value_set(map, "version", hd_value_number(ws->arena, run->version));
    hd_value_set(map, "trigger", hd_value_text(ws->arena, run->origin));
    hd_value_set(map, "actor", hd_value_text(ws->arena, run->actor));
    return map;
}

static const char *result_name(const struct orc_job *job) {
    switch (job->state) {
    case JOB(SUCCEEDED):
        return "success";
    case JOB(SKIPPED):
        return "skipped";
    case JOB(CANCELLED):
        return "cancelled";
    default:
        return orc_job_ended(job->state) ? "failure" : "";
    }
}

static const struct hd_value *outputs_of(struct orc_ws *ws, const struct orc_job *job) {
    const struct hd_value *value = NULL;
    struct hd_err err;
    if (job->outputs && *job->outputs &&
        hd_value_read(ws->arena, job->outputs, strlen(job->outputs), &err, &value) == HD_OK)
        return value;
    return hd_value_new(ws->arena, HD_MAP, 0);
}

// Of a matrix: for each output a list, in the order of its jobs; what a job did not give is "".
static const struct hd_value *outputs_of_matrix(struct orc_ws *ws, const struct orc_job *parent) {
    const Hodei__V1__CompiledJob *spec = orc_job_spec(parent);
    struct hd_value *all = hd_value_new(ws->arena, HD_MAP, spec->n_outputs);
    struct hd_value **lists = HD_NEW_ARRAY(ws->arena, spec->n_outputs, struct hd_value *);
    for (size_t k = 0; k < spec->n_outputs; k++) {
        lists[k] = hd_value_new(ws->arena, HD_LIST, parent->children);
        hd_value_set(all, spec->outputs[k]->name, lists[k]);
    }
    for (size_t k = 0; k < spec->n_outputs; k++) {
        lists[k]->n = parent->children;
        for (uint32_t i = 0; i < parent->children; i++)
            lists[k]->items[i] = hd_value_text(ws->arena, "");
    }
    for (uint32_t i = 0; i < parent->children; i++) { // in a rerun they may stand in another order
        const struct orc_job *child = orc_ws_job(ws, parent->run->id, parent->first_child + i);
        const struct hd_value *own = child ? outputs_of(ws, child) : NULL;
        for (size_t k = 0; k < spec->n_outputs && own; k++) {
            const struct hd_value *value = hd_value_get(own, spec->outputs[k]->name);
            if (value && child->ordinal >= 1 && child->ordinal <= parent->children)
                lists[k]->items[child->ordinal - 1] = value;
        }
    }
    return all;
}

static const struct hd_value *needs_names(struct orc_ws *ws, const struct orc_job *job) {
    const Hodei__V1__CompiledJob *spec = orc_job_spec(job);
    struct hd_value *map = hd_value_new(ws->arena, HD_MAP, spec->n_needs);
    for (size_t i = 0; i < spec->n_needs && spec->uses_needs; i++) {
        const struct orc_job *need = orc_ws_job(ws, job->run->id, spec->needs[i]);
        struct hd_value *one = hd_value_new(ws->arena, HD_MAP, 2);
        if (!need)
            continue;
        hd_value_set(one, "result", hd_value_text(ws->arena, result_name(need)));
        hd_value_set(one, "outputs", need->children ? outputs_of_matrix(ws, need) : outputs_of(ws, need));
        hd_value_set(map, orc_job_spec(need)->name, one);
    }
    return map;
}

const struct hd_value *orc_job_names(struct orc_ws *ws, const struct orc_job *job) {
    struct hd_value *names = hd_value_new(ws->arena, HD_MAP, 4);
    const struct hd_value *matrix = NULL;
    struct hd_err err;
    hd_value_set(names, "inputs", run_inputs(ws, job->run));
    hd_value_set(names, "run", run_names(ws, job->run));
    hd_value_set(names, "needs", needs_names(ws, job));
    if (*job->matrix && hd_value_read(ws->arena, job->matrix, strlen(job->matrix), &err, &matrix) == HD_OK)
        hd_value_set(names, "matrix", matrix);
    return names;
}

const char *orc_job_context(struct orc_ws *ws, const struct orc_job *job) {
    HD_AUTO_BUF struct hd_buf json = {0};
    if (!orc_job_spec(job)->uses_context)
        return "";
    hd_value_write(&json, orc_job_names(ws, job));
    return hd_arena_strdup(ws->arena, json.data);
}

enum hd_status orc_job_labels(struct orc_ws *ws, const struct orc_job *job, struct hd_err *err,
                              Hodei__V1__Label ***ret) {
    const Hodei__V1__CompiledJob *spec = orc_job_spec(job);
    Hodei__V1__Label **labels = spec->labels;
    for (size_t i = 0; i < spec->n_labels; i++) {
        const char *value;
        if (!strstr(spec->labels[i]->value, "${{"))
            continue;
        struct hd_scope scope = {.names = orc_job_names(ws, job)};
        HD_TRY(hd_template_run(ws->arena, spec->labels[i]->value, &scope, err, &value));
        if (!hd_name_valid(value))
            return hd_err_set(err, HD_INVALID, "label %.100s becomes \"%.100s\", which cannot be the value of a label",
                              spec->labels[i]->key, value);
        if (labels == spec->labels) {
            labels = HD_NEW_ARRAY(ws->arena, spec->n_labels, Hodei__V1__Label *);
            memcpy(labels, spec->labels, spec->n_labels * sizeof(*labels));
        }
        labels[i] = HD_NEW(ws->arena, Hodei__V1__Label);
        *labels[i] = *spec->labels[i];
        labels[i]->value = (char *)(uintptr_t)value;
    }
    *ret = labels;
    return HD_OK;
}

// --- the decision -------------------------------------------------------------------------------------------------------------

static struct hd_scope scope_of(struct orc_ws *ws, const struct orc_job *job) {
    const struct orc_run *run = job->run;
    bool last = job->spec >= orc_plan_main(run->plan); // of finally: a skipped need does no harm
    bool cancelling = run->state == HODEI__V1__RUN_STATE__RUN_STATE_CANCELLING;
    struct hd_scope scope = {.names = orc_job_names(ws, job)};
    unsigned against = ORC_SAW_FAILURE | ORC_SAW_CANCEL | (last ? 0 : ORC_SAW_SKIP);
    scope.failure = job->flags & ORC_SAW_FAILURE;
    scope.cancelled = cancelling || (!last && job->flags & ORC_SAW_CANCEL);
    scope.success = !(job->flags & against) && !cancelling;
    return scope;
}

static enum orc_verdict broken(struct hd_arena *arena, const struct hd_err *err, const char *where, int *ret_cause,
                               const char **ret_message) {
    *ret_cause = HODEI__V1__CAUSE__CAUSE_EXPRESSION;
    *ret_message = hd_arena_printf(arena, "%s: %s", where, err->text);
    return ORC_BREAK_IT;
}

static enum hd_status json_of(struct hd_arena *arena, const char *json, struct hd_err *err,
                              const struct hd_value **ret) {
    *ret = NULL;
    return *json ? hd_value_read(arena, json, strlen(json), err, ret) : HD_OK;
}

static enum hd_status make_matrix(struct orc_ws *ws, const struct orc_job *job, struct hd_err *err,
                                  const struct hd_value **ret) {
    const Hodei__V1__Matrix *matrix = orc_job_spec(job)->matrix;
    const struct hd_value *axes, *include, *exclude;
    HD_TRY(json_of(ws->arena, matrix->axes, err, &axes));
    HD_TRY(json_of(ws->arena, matrix->include, err, &include));
    HD_TRY(json_of(ws->arena, matrix->exclude, err, &exclude));
    if (!axes) {
        struct hd_expr expr;
        struct hd_scope scope = scope_of(ws, job);
        HD_TRY(hd_expr_parse(ws->arena, matrix->from, strlen(matrix->from), NULL, err, &expr));
        HD_TRY(hd_expr_eval(ws->arena, &expr, &scope, err, &axes));
    }
    HD_TRY(hd_matrix_expand(ws->arena, axes, include, exclude, err, ret));
    if (job->run->total + (*ret)->n - 1 > JOBS_MAX)
        return hd_err_set(err, HD_INVALID, "with its %zu jobs the run would have more than %d", (*ret)->n, JOBS_MAX);
    return HD_OK;
}

enum orc_verdict orc_job_decide(struct orc_ws *ws, const struct orc_job *job, const struct hd_value **ret_matrix,
                                int *ret_cause, const char **ret_message) {
    const Hodei__V1__CompiledJob *spec = orc_job_spec(job);
    struct hd_err err = {0};
    if (job->flags & ORC_UNMET)
        return ORC_SKIP_IT;
    if (*spec->condition) {
        struct hd_expr expr;
        struct hd_scope scope = scope_of(ws, job);
        const struct hd_value *value = NULL;
        if (hd_expr_parse(ws->arena, spec->condition, strlen(spec->condition), NULL, &err, &expr) != HD_OK ||
            hd_expr_eval(ws->arena, &expr, &scope, &err, &value) != HD_OK)
            return broken(ws->arena, &err, "if", ret_cause, ret_message);
        if (value->kind != HD_BOOL) {
            hd_err_set(&err, HD_INVALID, "gives %s, not true or false", hd_kind_name(value->kind));
            return broken(ws->arena, &err, "if", ret_cause, ret_message);
        }
        if (!value->truth)
            return ORC_SKIP_IT;
    }
    if (!spec->matrix)
        return ORC_RUN_IT;
    if (make_matrix(ws, job, &err, ret_matrix) != HD_OK)
        return broken(ws->arena, &err, "matrix", ret_cause, ret_message);
    return ORC_EXPAND_IT;
}
