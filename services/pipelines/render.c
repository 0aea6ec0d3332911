#include "services/pipelines/render.h"

#include <string.h>

#include "base/expr.h"
#include "base/inputs.h"
#include "base/matrix.h"
#include "services/pipelines/compile.h"

#define EVALUATED_MAX (16u << 20) // bytes that all expressions of a plan together may make

static const char *const partial[] = {"env", "run", NULL};

struct render {
    struct hd_arena *arena, scratch; // of one job
    struct hd_err *err;
    const Hodei__V1__CompiledPipeline *pipeline;
    const char *only;
    const struct hd_value *inputs, *run;
    const char **skipped; // of each job of the definition: why it will not run; NULL: it may
    size_t budget;        // of evaluated text
    size_t work;          // texts with expressions that were read
    size_t total;         // jobs of the run
    size_t packed, cap;
    Hodei__V1__PipelinePlan *plan;
};

// What is known where a text stands.
struct place {
    const struct hd_value *matrix; // NULL: there is none, or it is not known
    struct hd_value *env;          // NULL: none
};

static enum hd_status failed(struct render *r, size_t job, const char *what) {
    enum hd_status status = r->err->status;
    const char *name = r->pipeline->jobs[job]->name;
    hd_err_wrap(r->err, "%s of the job \"%.100s\"", what, name);
    hd_err_field(r->err, "%s.%.100s", job < r->pipeline->n_main || !r->pipeline->n_main ? "jobs" : "finally", name);
    hd_err_at(r->err, 0, 0);
    return status;
}

// --- texts ----------------------------------------------------------------------------------------------------------------

static struct hd_scope scope_of(struct render *r, const struct place *at) {
    struct hd_value *names = hd_value_new(&r->scratch, HD_MAP, 4);
    hd_value_set(names, "inputs", r->inputs);
    hd_value_set(names, "run", r->run);
    if (at->matrix)
        hd_value_set(names, "matrix", at->matrix);
    if (at->env)
        hd_value_set(names, "env", at->env);
    return (struct hd_scope){.names = names, .budget = &r->budget};
}

// Each expression that is known by itself; *ret_known: there is no other.
static enum hd_status resolve(struct render *r, const struct place *at, const char *text, char **ret, bool *ret_known) {
    HD_AUTO_BUF struct hd_buf out = {0};
    struct hd_template t;
    struct hd_scope scope = scope_of(r, at);
    *ret_known = true;
    *ret = (char *)(uintptr_t)text; // protobuf-c's fields are not const; nobody writes through them
    if (!strstr(text, "${{"))
        return HD_OK;
    r->work += strlen(text);
    HD_TRY(hd_template_parse(&r->scratch, text, strlen(text), r->err, &t));
    for (size_t i = 0; i < t.n; i++) {
        const struct hd_template_part *part = &t.parts[i];
        const struct hd_value *value = &hd_value_null;
        if (part->text) {
            hd_buf_add(&out, part->text, part->len);
        } else if (hd_expr_known(&part->expr, scope.names, partial)) {
            HD_TRY(hd_expr_eval(&r->scratch, &part->expr, &scope, r->err, &value));
            hd_value_print(&out, value);
        } else {
            hd_buf_addf(&out, "${{%.*s}}", (int)part->expr.len, part->expr.source);
            *ret_known = false;
        }
    }
    *ret = hd_arena_strndup(r->arena, out.data ? out.data : "", out.len);
    return HD_OK;
}

// "true" or "false" where it is known, else as it is.
static enum hd_status resolve_condition(struct render *r, const struct place *at, const char *text, char **ret) {
    struct hd_expr expr;
    struct hd_scope scope = scope_of(r, at);
    const struct hd_value *value = &hd_value_null;
    *ret = (char *)(uintptr_t)text;
    if (!*text)
        return HD_OK;
    r->work += strlen(text);
    HD_TRY(hd_expr_parse(&r->scratch, text, strlen(text), NULL, r->err, &expr));
    if (!hd_expr_known(&expr, scope.names, partial))
        return HD_OK;
    HD_TRY(hd_expr_eval(&r->scratch, &expr, &scope, r->err, &value));
    if (value->kind != HD_BOOL)
        return hd_err_set(r->err, HD_INVALID, "it gives %s, not true or false", hd_kind_name(value->kind));
    *ret = hd_arena_strdup(r->arena, value->truth ? "true" : "false");
    return HD_OK;
}

// What a later variable sees: the newest value of this name, or none where that is not known.
static void put_env(struct hd_value *env, const char *name, const struct hd_value *value) {
    size_t i = 0;
    while (i < env->n && strcmp(env->names[i], name) != 0)
        i++;
    if (value && i < env->n) {
        env->items[i] = value;
    } else if (value) {
        hd_value_set(env, name, value);
    } else if (i < env->n) {
        env->n--;
        env->names[i] = env->names[env->n];
        env->items[i] = env->items[env->n];
    }
}

static enum hd_status resolve_env(struct render *r, struct place *at, Hodei__V1__EnvVar ***vars, size_t n) {
    Hodei__V1__EnvVar **out = HD_NEW_ARRAY(r->arena, n, Hodei__V1__EnvVar *);
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__EnvVar *var = (*vars)[i];
        bool known = true;
        out[i] = (*vars)[i];
        if (var->template_) {
            out[i] = HD_NEW(r->arena, Hodei__V1__EnvVar);
            *out[i] = *var;
            HD_TRY(resolve(r, at, var->value, &out[i]->value, &known));
            out[i]->template_ = !known;
        }
        put_env(at->env, var->name, known ? hd_value_text(&r->scratch, out[i]->value) : NULL);
    }
    *vars = out;
    return HD_OK;
}

// A variable that is hidden by a later one of its name is not shown.
static void drop_hidden(Hodei__V1__EnvVar **vars, size_t *n) {
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        size_t k = i + 1;
        while (k < *n && strcmp(vars[k]->name, vars[i]->name) != 0)
            k++;
        if (k == *n)
            vars[kept++] = vars[i];
    }
    *n = kept;
}

// --- one job --------------------------------------------------------------------------------------------------------------

static enum hd_status render_step(struct render *r, const struct place *of_job, const Hodei__V1__Step *in,
                                  Hodei__V1__Step **ret) {
    Hodei__V1__Step *step = HD_NEW(r->arena, Hodei__V1__Step);
    struct hd_value *env = hd_value_new(&r->scratch, HD_MAP, of_job->env->n + in->n_env);
    struct place at = {.matrix = of_job->matrix, .env = env};
    bool known;
    for (size_t i = 0; i < of_job->env->n; i++)
        hd_value_set(env, of_job->env->names[i], of_job->env->items[i]);
    *step = *in;
    HD_TRY(resolve_condition(r, of_job, in->condition, &step->condition));
    HD_TRY(resolve_env(r, &at, &step->env, step->n_env));
    drop_hidden(step->env, &step->n_env);
    if (in->template_) {
        step->argv = HD_NEW_ARRAY(r->arena, in->n_argv, char *);
        HD_TRY(resolve(r, &at, in->name, &step->name, &known));
        HD_TRY(resolve(r, &at, in->workdir, &step->workdir, &known));
        for (size_t i = 0; i < in->n_argv; i++)
            HD_TRY(resolve(r, &at, in->argv[i], &step->argv[i], &known));
    }
    *ret = step;
    return HD_OK;
}

static enum hd_status render_labels(struct render *r, const struct place *at, Hodei__V1__CompiledJob *spec) {
    Hodei__V1__Label **labels = HD_NEW_ARRAY(r->arena, spec->n_labels, Hodei__V1__Label *);
    bool known;
    for (size_t i = 0; i < spec->n_labels; i++) {
        labels[i] = HD_NEW(r->arena, Hodei__V1__Label);
        *labels[i] = *spec->labels[i];
        HD_TRY(resolve(r, at, spec->labels[i]->value, &labels[i]->value, &known));
    }
    spec->labels = labels;
    return HD_OK;
}

static enum hd_status render_group(struct render *r, const struct place *at, Hodei__V1__Concurrency **group) {
    bool known;
    if (!*group)
        return HD_OK;
    Hodei__V1__Concurrency *own = HD_NEW(r->arena, Hodei__V1__Concurrency);
    *own = **group;
    *group = own;
    return resolve(r, at, own->group, &own->group, &known);
}

static enum hd_status render_spec(struct render *r, const struct place *outer, Hodei__V1__CompiledJob *spec) {
    size_t n_outputs = spec->n_outputs;
    struct place at = {.matrix = outer->matrix, .env = hd_value_new(&r->scratch, HD_MAP, spec->n_env)};
    Hodei__V1__Step **steps = HD_NEW_ARRAY(r->arena, spec->n_steps, Hodei__V1__Step *);
    HD_TRY(render_labels(r, outer, spec));
    HD_TRY(render_group(r, outer, &spec->concurrency));
    HD_TRY(resolve_env(r, &at, &spec->env, spec->n_env));
    drop_hidden(spec->env, &spec->n_env);
    for (size_t i = 0; i < spec->n_steps; i++)
        HD_TRY(render_step(r, &at, spec->steps[i], &steps[i]));
    spec->steps = steps;
    struct hd_value *env =
        hd_value_new(&r->scratch, HD_MAP, at.env->n + n_outputs); // outputs are no variables to each other
    struct place after = {.matrix = at.matrix, .env = env};
    Hodei__V1__EnvVar **outputs = HD_NEW_ARRAY(r->arena, n_outputs, Hodei__V1__EnvVar *);
    for (size_t i = 0; i < at.env->n; i++)
        hd_value_set(env, at.env->names[i], at.env->items[i]);
    for (size_t i = 0; i < n_outputs; i++) {
        bool known;
        outputs[i] = HD_NEW(r->arena, Hodei__V1__EnvVar);
        *outputs[i] = *spec->outputs[i];
        HD_TRY(resolve(r, &after, outputs[i]->value, &outputs[i]->value, &known));
        outputs[i]->template_ = !known;
    }
    spec->outputs = outputs;
    return HD_OK;
}

static void add_needs(struct render *r, const Hodei__V1__CompiledJob *job, Hodei__V1__PlanJob *out) {
    static char *const names[] = {"success", "failure", "skipped", "cancelled"}; // by bit of NeedAccept
    out->needs = HD_NEW_ARRAY(r->arena, job->n_needs, Hodei__V1__PlanNeed *);
    out->n_needs = job->n_needs;
    for (size_t i = 0; i < job->n_needs; i++) {
        Hodei__V1__PlanNeed *need = out->needs[i] = HD_NEW(r->arena, Hodei__V1__PlanNeed);
        uint32_t mask = job->n_need_accepts ? job->need_accepts[i] : 1;
        hodei__v1__plan_need__init(need);
        need->job = r->pipeline->jobs[job->needs[i]]->name;
        need->when = HD_NEW_ARRAY(r->arena, 4, char *);
        for (unsigned bit = 0; bit < 4; bit++)
            if (mask & 1u << bit)
                need->when[need->n_when++] = names[bit];
    }
}

// Of a matrix that is known only its rules are left.
static Hodei__V1__Matrix *matrix_rules(struct render *r, const Hodei__V1__Matrix *matrix) {
    if (!matrix->max_parallel && !matrix->fail_fast)
        return NULL;
    Hodei__V1__Matrix *rules = HD_NEW(r->arena, Hodei__V1__Matrix);
    hodei__v1__matrix__init(rules);
    rules->max_parallel = matrix->max_parallel;
    rules->fail_fast = matrix->fail_fast;
    return rules;
}

// `values` NULL: it has no matrix, or one that is not known yet.
static enum hd_status add_job(struct render *r, size_t index, const char *condition, const struct hd_value *values,
                              size_t number) {
    const Hodei__V1__CompiledJob *job = r->pipeline->jobs[index];
    Hodei__V1__PlanJob *out = HD_NEW(r->arena, Hodei__V1__PlanJob);
    const struct place at = {.matrix = values};
    const char *name = values ? hd_arena_printf(r->arena, "%s.%zu", job->name, number) : job->name;
    if (*r->only && strcmp(r->only, job->name) != 0 && strcmp(r->only, name) != 0)
        return HD_OK;
    hodei__v1__plan_job__init(out);
    out->spec = HD_NEW(r->arena, Hodei__V1__CompiledJob);
    *out->spec = *job;
    out->name = (char *)(uintptr_t)name;
    out->last = r->pipeline->n_main && index >= r->pipeline->n_main;
    out->spec->condition = (char *)(uintptr_t)condition;
    out->spec->n_needs = out->spec->n_dependents = out->spec->n_need_accepts = 0;
    add_needs(r, job, out);
    out->skipped = r->skipped[index] != NULL;
    if (out->skipped)
        out->skipped_because = (char *)(uintptr_t)r->skipped[index];
    if (values) {
        HD_AUTO_BUF struct hd_buf json = {0};
        hd_value_write(&json, values);
        out->matrix = hd_arena_strndup(r->arena, json.data, json.len);
        out->matrix_of = job->name;
        out->spec->matrix = matrix_rules(r, job->matrix);
    } else if (job->matrix && *job->matrix->from) {
        out->matrix_from = job->matrix->from;
    }
    if (render_spec(r, &at, out->spec) != HD_OK)
        return failed(r, index, "an expression");
    hd_arena_reset(&r->scratch);
    r->packed += protobuf_c_message_get_packed_size(&out->base) + 4;
    if (r->packed > PIP_PLAN_MAX || r->work > 4 * PIP_PLAN_MAX) {
        hd_err_set(r->err, HD_LIMITED, "the plan becomes larger than %u MiB at the job \"%.100s\"", PIP_PLAN_MAX >> 20,
                   name);
        hd_err_hint(r->err, "ask for one job of it");
        return HD_LIMITED;
    }
    HD_GROW(r->arena, r->plan->jobs, r->plan->n_jobs, r->cap);
    r->plan->jobs[r->plan->n_jobs++] = out;
    return HD_OK;
}

// --- the matrix -----------------------------------------------------------------------------------------------------------

static enum hd_status json_of(struct render *r, const char *json, const struct hd_value **ret) {
    *ret = NULL;
    return *json ? hd_value_read(r->arena, json, strlen(json), r->err, ret) : HD_OK;
}

// *ret NULL: what it is made from is not known.
static enum hd_status expand(struct render *r, const Hodei__V1__Matrix *matrix, const struct hd_value **ret) {
    const struct hd_value *axes, *include, *exclude;
    *ret = NULL;
    HD_TRY(json_of(r, matrix->axes, &axes));
    HD_TRY(json_of(r, matrix->include, &include));
    HD_TRY(json_of(r, matrix->exclude, &exclude));
    if (!axes) {
        const struct place at = {0};
        struct hd_scope scope = scope_of(r, &at);
        struct hd_expr expr;
        HD_TRY(hd_expr_parse(r->arena, matrix->from, strlen(matrix->from), NULL, r->err, &expr));
        if (!hd_expr_known(&expr, scope.names, partial))
            return HD_OK;
        HD_TRY(hd_expr_eval(r->arena, &expr, &scope, r->err, &axes));
    }
    HD_TRY(hd_matrix_expand(r->arena, axes, include, exclude, r->err, ret));
    r->total += (*ret)->n - 1;
    if (r->total > PIP_JOBS_MAX)
        return hd_err_set(r->err, HD_INVALID, "with its %zu jobs the run would have more than %d", (*ret)->n,
                          PIP_JOBS_MAX);
    return HD_OK;
}

static enum hd_status render_job(struct render *r, size_t index, const char *condition) {
    const Hodei__V1__Matrix *matrix = r->pipeline->jobs[index]->matrix;
    const struct hd_value *all = NULL;
    if (matrix && !r->skipped[index] && expand(r, matrix, &all) != HD_OK)
        return failed(r, index, "the matrix");
    if (!all)
        return add_job(r, index, condition, NULL, 0);
    for (size_t i = 0; i < all->n; i++)
        HD_TRY(add_job(r, index, condition, all->items[i], i + 1));
    return HD_OK;
}

// --- what will not run ----------------------------------------------------------------------------------------------------

static bool takes_skipped(const Hodei__V1__CompiledJob *job, uint32_t need) {
    for (size_t i = 0; i < job->n_needs; i++)
        if (job->needs[i] == need)
            return job->n_need_accepts && job->need_accepts[i] & HODEI__V1__NEED_ACCEPT__NEED_ACCEPT_SKIPPED;
    return true;
}

// A condition that is known to be false skips its job, and that in turn each that does not take a skipped one.
static enum hd_status find_skipped(struct render *r, char **conditions) {
    const Hodei__V1__CompiledPipeline *p = r->pipeline;
    uint32_t *queue = HD_NEW_ARRAY(r->arena, p->n_jobs, uint32_t);
    size_t n = 0;
    for (size_t i = 0; i < p->n_jobs; i++) {
        const struct place at = {0};
        if (resolve_condition(r, &at, p->jobs[i]->condition, &conditions[i]) != HD_OK)
            return failed(r, i, "the condition");
        if (strcmp(conditions[i], "false") != 0)
            continue;
        r->skipped[i] = hd_arena_printf(r->arena, "its condition is false: %s", p->jobs[i]->condition);
        queue[n++] = (uint32_t)i;
    }
    for (size_t done = 0; done < n; done++) {
        const Hodei__V1__CompiledJob *job = p->jobs[queue[done]];
        for (size_t k = 0; k < job->n_dependents; k++) {
            uint32_t next = job->dependents[k];
            if (r->skipped[next] || takes_skipped(p->jobs[next], queue[done]))
                continue;
            r->skipped[next] = hd_arena_printf(r->arena, "it needs %s, which is skipped", job->name);
            queue[n++] = next;
        }
    }
    return HD_OK;
}

// --- the whole ------------------------------------------------------------------------------------------------------------

static void fill_inputs(struct render *r) {
    r->plan->inputs = HD_NEW_ARRAY(r->arena, r->inputs->n, Hodei__V1__EnvVar *);
    r->plan->n_inputs = r->inputs->n;
    for (size_t i = 0; i < r->inputs->n; i++) {
        HD_AUTO_BUF struct hd_buf json = {0};
        Hodei__V1__EnvVar *input = r->plan->inputs[i] = HD_NEW(r->arena, Hodei__V1__EnvVar);
        hodei__v1__env_var__init(input);
        hd_value_write(&json, r->inputs->items[i]);
        input->name = (char *)(uintptr_t)r->inputs->names[i];
        input->value = hd_arena_strndup(r->arena, json.data, json.len);
        r->packed += strlen(input->name) + json.len;
    }
}

static const struct hd_value *run_names(struct hd_arena *arena, const Hodei__V1__CompiledPipeline *pipeline) {
    struct hd_value *run = hd_value_new(arena, HD_MAP, 2);
    hd_value_set(run, "pipeline", hd_value_text(arena, pipeline->name));
    if (pipeline->version)
        hd_value_set(run, "version", hd_value_number(arena, pipeline->version));
    return run;
}

static enum hd_status render_all(struct render *r) {
    char **conditions = HD_NEW_ARRAY(r->arena, r->pipeline->n_jobs, char *);
    const struct place at = {0};
    HD_TRY(find_skipped(r, conditions));
    HD_TRY(render_group(r, &at, &r->plan->concurrency));
    for (size_t i = 0; i < r->pipeline->n_jobs; i++)
        HD_TRY(render_job(r, i, conditions[i]));
    if (*r->only && r->plan->n_jobs == 0)
        return hd_err_set(r->err, HD_MISSING, "the plan has no job \"%.100s\"", r->only);
    return HD_OK;
}

enum hd_status pip_render(struct hd_arena *arena, const Hodei__V1__CompiledPipeline *pipeline,
                          const Hodei__V1__RenderPipelineRequest *request, struct hd_err *err,
                          Hodei__V1__PipelinePlan **ret) {
    struct render r = {
        .arena = arena, .err = err, .pipeline = pipeline, .only = request->job, .total = pipeline->n_jobs};
    r.budget = EVALUATED_MAX;
    r.skipped = HD_NEW_ARRAY(arena, pipeline->n_jobs, const char *);
    r.run = run_names(arena, pipeline);
    HD_TRY(hd_inputs_read(arena, pipeline, request->inputs, request->n_inputs, err, &r.inputs));
    r.plan = HD_NEW(arena, Hodei__V1__PipelinePlan);
    hodei__v1__pipeline_plan__init(r.plan);
    r.plan->pipeline = pipeline->name;
    r.plan->version = pipeline->version;
    r.plan->timeout_ms = pipeline->timeout_ms;
    r.plan->concurrency = pipeline->concurrency;
    r.plan->cron = pipeline->cron;
    r.plan->n_cron = pipeline->n_cron;
    r.plan->on_pipeline = pipeline->on_pipeline;
    r.plan->n_on_pipeline = pipeline->n_on_pipeline;
    fill_inputs(&r);
    hd_arena_init(&r.scratch);
    enum hd_status status = render_all(&r);
    hd_arena_release(&r.scratch);
    if (status == HD_OK)
        *ret = r.plan;
    return status;
}
