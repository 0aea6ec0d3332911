#include "services/pipelines/compile.h"

#include <stddef.h>
#include <string.h>

#include "base/buf.h"
#include "base/names.h"
#include "services/pipelines/compile_impl.h"
#include "services/pipelines/graph.h"
#include "services/pipelines/triggers.h"

#define CYCLE_SHOWN 12 // jobs of a cycle that are named; the rest is counted

#define ACCEPT(x) HODEI__V1__NEED_ACCEPT__NEED_ACCEPT_##x
#define ACCEPT_ALL (ACCEPT(SUCCESS) | ACCEPT(FAILURE) | ACCEPT(SKIPPED) | ACCEPT(CANCELLED))

struct need {
    char *job;
    int32_t when, optional;
    struct pip_at at;
};

// --- the tables -------------------------------------------------------------------------------------------------------

static pip_take take_version;
static const struct pip_range priorities = {-100, 100};
static const struct pip_range timeouts = {1, INT64_C(720) * 3600000};

static const struct pip_key pipeline_rows[] = {
    {"hodei", take_version, offsetof(struct pipeline, hodei), .required = true, .schema = "{\"const\":\"v1\"}",
     .help = "the version of the language"},
    {"name", pip_take_name, offsetof(struct pipeline, name), .required = true, .help = "of the pipeline"},
    {"inputs", pip_take_inputs, offsetof(struct pipeline, inputs),
     .schema = "{\"type\":\"object\",\"additionalProperties\":{\"$ref\":\"#/$defs/input\"}}",
     .help = "values that a run is started with"},
    {"env", pip_take_env, offsetof(struct pipeline, env), .help = "variables of all jobs"},
    {"priority", pip_take_int, offsetof(struct pipeline, priority), &priorities,
     .help = "of its jobs, unless they say otherwise"},
    {"timeout", pip_take_duration, offsetof(struct pipeline, timeout_ms), &timeouts, .help = "of a run"},
    {"queue_timeout", pip_take_duration, offsetof(struct pipeline, queue_timeout_ms), &timeouts,
     .help = "how long a job may wait to be started"},
    {"defaults", pip_take_node, offsetof(struct pipeline, defaults), .schema = "{\"$ref\":\"#/$defs/defaults\"}",
     .help = "what jobs that say nothing else have"},
    {"jobs", pip_take_node, offsetof(struct pipeline, jobs), .required = true,
     .schema = "{\"type\":\"object\",\"minProperties\":1,\"additionalProperties\":{\"$ref\":\"#/$defs/job\"}}",
     .help = "the graph"},
    {"finally", pip_take_node, offsetof(struct pipeline, finally),
     .schema = "{\"type\":\"object\",\"additionalProperties\":{\"$ref\":\"#/$defs/job\"}}",
     .help = "jobs that always run, after all others"},
    {"on", pip_take_node, offsetof(struct pipeline, on), .schema = "{\"$ref\":\"#/$defs/on\"}",
     .help = "when runs start by themselves"},
    {"concurrency", pip_take_concurrency, offsetof(struct pipeline, concurrency),
     .schema = "{\"$ref\":\"#/$defs/concurrency\"}", .help = "so many runs at a time of all that name the same group"},
};
const struct pip_keys pip_pipeline_keys = {pipeline_rows, sizeof(pipeline_rows) / sizeof(*pipeline_rows)};

static const struct pip_choice when_rows[] = {{"success", ACCEPT(SUCCESS), false},
                                              {"failure", ACCEPT(FAILURE), false},
                                              {"skipped", ACCEPT(SKIPPED), false},
                                              {"always", ACCEPT_ALL, false}};
static const struct pip_choices whens = {when_rows, 4};
static const struct pip_key need_rows[] = {
    {"job", pip_take_text, offsetof(struct need, job), .required = true, .help = "its name"},
    {"when", pip_take_choice, offsetof(struct need, when), &whens,
     .help = "which end of it is wanted; default success"},
    {"optional", pip_take_bool, offsetof(struct need, optional), .help = "it may be missing, or skipped"},
};
const struct pip_keys pip_need_keys = {need_rows, sizeof(need_rows) / sizeof(*need_rows)};

static enum hd_status take_version(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                                   void *field) {
    HD_TRY(pip_take_text(w, key, value, field));
    if (strcmp(value->text, "v1") == 0)
        return HD_OK;
    pip_fail(w, value->at, "there is no version \"%.60s\" of the language", value->text);
    hd_err_hint(w->err, "write hodei: v1");
    return HD_INVALID;
}

// --- names ------------------------------------------------------------------------------------------------------------

static int named_cmp(const void *a, const void *b) {
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static const struct named *find(const struct named *sorted, size_t n, const char *name) {
    struct named key = {.name = name};
    return n ? bsearch(&key, sorted, n, sizeof(*sorted), named_cmp) : NULL;
}

static enum hd_status unknown_need(struct compile *c, const struct need *need) {
    const char *near = NULL;
    unsigned best = 3;

    for (size_t i = 0; i < c->n_jobs; i++) {
        unsigned far = hd_edit_distance(need->job, c->jobs[i]->name, best);
        if (far < best) {
            best = far;
            near = c->jobs[i]->name;
        }
    }
    pip_fail(&c->walk, need->at, "there is no job \"%.140s\"", need->job);
    if (near)
        hd_err_hint(c->walk.err, "did you mean \"%s\"?", near);
    return HD_INVALID;
}

// What this end of an edge takes: what it says, else success; a condition that asks success() and its like decides itself, and
// a job of `finally` waits for the others and takes them as they are.
static uint32_t accepts(const struct compile *c, uint32_t index, uint32_t of, const struct need *need) {
    uint32_t mask = (uint32_t)need->when;
    if (!mask)
        mask = c->ins[index].condition_uses & HD_USES_STATUS || (index >= c->n_main && of < c->n_main)
                   ? ACCEPT_ALL
                   : ACCEPT(SUCCESS);
    return mask | (need->optional ? ACCEPT(SKIPPED) : 0);
}

static enum hd_status take_need(struct compile *c, uint32_t index, const struct pip_node *value) {
    struct pip_walk *w = &c->walk;
    Hodei__V1__CompiledJob *job = c->jobs[index];
    struct need need = {.at = value->at};

    if (value->kind == PIP_MAP)
        HD_TRY(pip_walk_map(w, value, pip_need_keys, &need));
    else
        HD_TRY(pip_text(w, value, false, &need.job));
    const struct named *row = find(c->job_names, c->n_jobs, need.job);
    if (!row && need.optional)
        return HD_OK;
    if (!row)
        return unknown_need(c, &need);
    if (row->index == index)
        return pip_fail(w, need.at, "the job \"%s\" needs itself", need.job);
    if (row->index >= c->n_main && index < c->n_main)
        return pip_fail(w, need.at, "the job \"%s\" is of finally, which runs after all others", need.job);
    if (c->needed_by[row->index] == index + 1)
        return pip_fail(w, need.at, "the job \"%s\" is named twice", need.job);
    c->needed_by[row->index] = index + 1;
    job->need_accepts[job->n_need_accepts++] = accepts(c, index, row->index, &need);
    job->needs[job->n_needs++] = row->index;
    return pip_spend(w, need.at, 10);
}

static enum hd_status take_needs(struct compile *c, uint32_t index) {
    struct pip_walk *w = &c->walk;
    const struct pip_node *list = c->ins[index].needs;

    if (!list)
        return HD_OK;
    pip_enter_key(w, index < c->n_main ? "jobs" : "finally");
    pip_enter_key(w, c->jobs[index]->name);
    pip_enter_key(w, "needs");
    HD_TRY(pip_expect(w, list, PIP_LIST));
    c->jobs[index]->need_accepts = HD_NEW_ARRAY(w->arena, list->n, uint32_t);
    c->jobs[index]->needs = HD_NEW_ARRAY(w->arena, list->n, uint32_t);
    for (size_t i = 0; i < list->n; i++) {
        pip_enter_index(w, i);
        HD_TRY(take_need(c, index, list->items[i]));
        pip_leave(w);
    }
    w->n_path -= 3;
    return HD_OK;
}

// --- the whole --------------------------------------------------------------------------------------------------------

static enum hd_status refuse_cycle(struct compile *c) {
    uint32_t *cycle;
    size_t n = pip_graph_cycle(c->walk.arena, c->jobs, c->n_jobs, &cycle), k = 0;
    HD_AUTO_BUF struct hd_buf names = {0};

    if (n == 0)
        return HD_OK;
    for (size_t i = 0; i < n; i++) {
        if (i < CYCLE_SHOWN || i + 1 == n)
            hd_buf_addf(&names, "%s → ", c->jobs[cycle[i]]->name);
        else if (i == CYCLE_SHOWN)
            hd_buf_addf(&names, "(%zu more) → ", n - CYCLE_SHOWN - 1);
    }
    const Hodei__V1__CompiledJob *first = c->jobs[cycle[0]];
    while (first->needs[k] != cycle[1])
        k++;
    pip_enter_key(&c->walk, cycle[0] < c->n_main ? "jobs" : "finally");
    pip_enter_key(&c->walk, first->name);
    pip_enter_key(&c->walk, "needs");
    pip_enter_index(&c->walk, k);
    pip_fail(&c->walk, c->ins[cycle[0]].needs->items[k]->at, "jobs need each other in a cycle: %s%s", names.data,
             first->name);
    hd_err_hint(c->walk.err, "each job waits for the next one named, so none could start; take one of the needs away");
    return HD_INVALID;
}

static enum hd_status take_map(struct compile *c, const char *key, const struct pip_node *map, uint32_t first) {
    struct pip_walk *w = &c->walk;
    pip_enter_key(w, key);
    for (uint32_t i = 0; i < map->n; i++) {
        pip_enter_key(w, map->entries[i].key);
        HD_TRY(pip_take_job(c, first + i, &map->entries[i]));
        c->job_names[first + i] = (struct named){c->jobs[first + i]->name, first + i};
        pip_leave(w);
    }
    pip_leave(w);
    return HD_OK;
}

// A name belongs to one job, and "<job>.<number>" to a job of that matrix.
static enum hd_status check_names(struct compile *c) {
    qsort(c->job_names, c->n_jobs, sizeof(*c->job_names), named_cmp);
    for (size_t i = 0; i < c->n_jobs; i++) {
        const char *name = c->job_names[i].name, *dot = strrchr(name, '.');
        const struct pip_node *map = c->job_names[i].index < c->n_main ? c->in.jobs : c->in.finally;
        uint32_t at =
            c->job_names[i].index < c->n_main ? c->job_names[i].index : c->job_names[i].index - (uint32_t)c->n_main;
        pip_enter_key(&c->walk, name);
        if (i && strcmp(name, c->job_names[i - 1].name) == 0)
            return pip_fail(&c->walk, map->entries[at].at, "the job \"%s\" stands in jobs and in finally", name);
        char *base = dot ? hd_arena_strndup(c->walk.arena, name, (size_t)(dot - name)) : NULL;
        const struct named *of = base ? find(c->job_names, c->n_jobs, base) : NULL;
        if (of && c->ins[of->index].matrix && dot[1] && strspn(dot + 1, "0123456789") == strlen(dot + 1))
            return pip_fail(&c->walk, map->entries[at].at, "\"%s\" is the name of a job of the matrix \"%s\"", name,
                            base);
        pip_leave(&c->walk);
    }
    return HD_OK;
}

static enum hd_status count_jobs(struct compile *c) {
    struct pip_walk *w = &c->walk;
    size_t more = c->in.finally ? c->in.finally->n : 0;
    pip_enter_key(w, "jobs");
    HD_TRY(pip_expect(w, c->in.jobs, PIP_MAP));
    if (c->in.jobs->n == 0)
        return pip_fail(w, c->in.jobs->at, "there is no job");
    if (c->in.jobs->n + more > PIP_JOBS_MAX)
        return pip_fail(w, c->in.jobs->at, "%zu jobs, more than %d", c->in.jobs->n + more, PIP_JOBS_MAX);
    pip_leave(w);
    c->n_main = c->in.jobs->n;
    c->n_jobs = c->expanded = c->n_main + more;
    return HD_OK;
}

static enum hd_status take_jobs(struct compile *c) {
    struct pip_walk *w = &c->walk;
    if (c->in.finally) {
        pip_enter_key(w, "finally");
        HD_TRY(pip_expect(w, c->in.finally, PIP_MAP));
        pip_leave(w);
    }
    HD_TRY(count_jobs(c));
    c->jobs = HD_NEW_ARRAY(w->arena, c->n_jobs, Hodei__V1__CompiledJob *);
    c->ins = HD_NEW_ARRAY(w->arena, c->n_jobs, struct job);
    c->needed_by = HD_NEW_ARRAY(w->arena, c->n_jobs, uint32_t);
    c->job_names = HD_NEW_ARRAY(w->arena, c->n_jobs, struct named);
    HD_TRY(take_map(c, "jobs", c->in.jobs, 0));
    if (c->in.finally)
        HD_TRY(take_map(c, "finally", c->in.finally, (uint32_t)c->n_main));
    HD_TRY(check_names(c));
    for (uint32_t i = 0; i < c->n_jobs; i++)
        HD_TRY(take_needs(c, i));
    pip_graph_link(w->arena, c->jobs, c->n_jobs);
    HD_TRY(refuse_cycle(c));
    return pip_check_expressions(c);
}

static enum hd_status take_defaults(struct compile *c) {
    pip_job_init(c, &c->defaults);
    if (!c->in.defaults)
        return HD_OK;
    pip_enter_key(&c->walk, "defaults");
    c->walk.defaults = true;
    HD_TRY(pip_walk_map(&c->walk, c->in.defaults, pip_job_keys, &c->defaults));
    c->walk.defaults = false;
    pip_leave(&c->walk);
    for (size_t i = 0; i < c->n_pending;
         i++) // what defaults say is looked at where a job takes it over: as the pipeline's
        c->pending[i].stage = c->pending[i].stage == PIP_AT_STEP ? PIP_AT_OUTER : c->pending[i].stage;
    return HD_OK;
}

enum hd_status pip_compile_with(struct hd_arena *arena, const char *source, size_t len, pip_zone_check *zones,
                                void *arg, struct hd_err *err, Hodei__V1__CompiledPipeline **ret) {
    struct compile *c = HD_NEW(arena, struct compile);
    const struct pip_node *root;

    c->walk = (struct pip_walk){
        .arena = arena, .err = err, .source = source, .source_len = len, .zones = zones, .zones_arg = arg};
    c->job = c->step = SIZE_MAX;
    HD_TRY(pip_yaml_parse(arena, source, len, err, &root));
    HD_TRY(pip_walk_map(&c->walk, root, pip_pipeline_keys, &c->in));
    HD_TRY(take_defaults(c));
    HD_TRY(take_jobs(c));

    Hodei__V1__CompiledPipeline *out = HD_NEW(arena, Hodei__V1__CompiledPipeline);
    hodei__v1__compiled_pipeline__init(out);
    out->name = c->in.name;
    out->jobs = c->jobs;
    out->n_jobs = c->n_jobs;
    out->n_main = (uint32_t)c->n_main;
    out->inputs = c->in.inputs.items;
    out->n_inputs = c->in.inputs.n;
    out->timeout_ms = c->in.timeout_ms;
    out->concurrency = c->in.concurrency;
    for (size_t i = 0; i < c->n_jobs; i++)
        out->has_groups |= c->jobs[i]->concurrency != NULL;
    HD_TRY(pip_take_triggers(&c->walk, c->in.on, out));
    *ret = out;
    return HD_OK;
}

enum hd_status pip_compile(struct hd_arena *arena, const char *source, size_t len, struct hd_err *err,
                           Hodei__V1__CompiledPipeline **ret) {
    return pip_compile_with(arena, source, len, NULL, NULL, err, ret);
}
