#include "services/pipelines/compile.h"

#include <stddef.h>
#include <string.h>

#include "base/buf.h"
#include "base/names.h"
#include "services/pipelines/graph.h"
#include "services/pipelines/keys.h"
#include "services/pipelines/triggers.h"

#define CYCLE_SHOWN 12 // jobs of a cycle that are named; the rest is counted
#define TIMEOUT_DEFAULT_MS 3600000
#define GRACE_DEFAULT_MS 10000

// A step, and what a job says in its place or as the default of its steps.
struct step {
    char *name, *run, *shell, *workdir;
    struct pip_argv command;
    struct pip_env env;
    int64_t timeout_ms;
};
struct need {
    char *job;
    struct pip_at at;
};
struct job {
    struct step step;
    const struct pip_node *steps, *needs;
    struct pip_labels labels;
    char *pool;
    int32_t executor, on_worker_lost, priority;
    int64_t timeout_ms, cancel_grace_ms;
};
struct pipeline {
    char *hodei, *name;
    struct pip_env env;
    int32_t priority;
    const struct pip_node *jobs, *on;
};
struct named { // a name and where it stands in the list that it is from
    const char *name;
    uint32_t index;
};
struct compile {
    struct pip_walk walk;
    struct pipeline in;
    struct named *env_names, *job_names; // sorted
    uint32_t *env_overridden;            // by the job with this index + 1
    uint32_t *needed_by;                 // likewise
    Hodei__V1__CompiledJob **jobs;
    const struct pip_node **needs; // of each job, NULL: none
    size_t n_jobs;
};

// --- the tables -------------------------------------------------------------------------------------------------------

static pip_take take_version, take_workdir, take_pool;

static const struct pip_range priorities = {-100, 100};
static const struct pip_range timeouts = {1, INT64_C(720) * 3600000};
static const struct pip_range graces = {0, 3600000};
static const struct pip_choice executor_rows[] = {{"shell", HODEI__V1__EXECUTOR__EXECUTOR_SHELL},
                                                  {"noop", HODEI__V1__EXECUTOR__EXECUTOR_NOOP},
                                                  {"docker", .later = true},
                                                  {"kubernetes", .later = true}};
static const struct pip_choices executors = {executor_rows, 4};
static const struct pip_choice lost_rows[] = {{"requeue", HODEI__V1__ON_WORKER_LOST__ON_WORKER_LOST_REQUEUE},
                                              {"fail", HODEI__V1__ON_WORKER_LOST__ON_WORKER_LOST_FAIL},
                                              {"hold", .later = true}};
static const struct pip_choices on_worker_lost = {lost_rows, 3};

static const struct pip_key pipeline_keys[] = {
    {"hodei", take_version, offsetof(struct pipeline, hodei), .required = true},
    {"name", pip_take_name, offsetof(struct pipeline, name), .required = true},
    {"env", pip_take_env, offsetof(struct pipeline, env)},
    {"priority", pip_take_int, offsetof(struct pipeline, priority), &priorities},
    {"jobs", pip_take_node, offsetof(struct pipeline, jobs), .required = true},
    {"on", pip_take_node, offsetof(struct pipeline, on)},
    {"inputs"},
    {"defaults"},
    {"concurrency"},
    {"timeout"},
    {"queue_timeout"},
    {"finally"},
};

static const struct pip_key job_keys[] = {
    {"needs", pip_take_node, offsetof(struct job, needs)},
    {"steps", pip_take_node, offsetof(struct job, steps)},
    {"run", pip_take_text, offsetof(struct job, step.run)},
    {"command", pip_take_argv, offsetof(struct job, step.command)},
    {"env", pip_take_env, offsetof(struct job, step.env)},
    {"shell", pip_take_text, offsetof(struct job, step.shell)},
    {"workdir", take_workdir, offsetof(struct job, step.workdir)},
    {"labels", pip_take_labels, offsetof(struct job, labels)},
    {"pool", take_pool, offsetof(struct job, pool)},
    {"executor", pip_take_choice, offsetof(struct job, executor), &executors},
    {"timeout", pip_take_duration, offsetof(struct job, timeout_ms), &timeouts},
    {"cancel_grace", pip_take_duration, offsetof(struct job, cancel_grace_ms), &graces},
    {"on_worker_lost", pip_take_choice, offsetof(struct job, on_worker_lost), &on_worker_lost},
    {"priority", pip_take_int, offsetof(struct job, priority), &priorities},
    {"if"},
    {"resources"},
    {"image"},
    {"services"},
    {"matrix"},
    {"retry"},
    {"queue_timeout"},
    {"allow_failure"},
    {"approval"},
    {"interruptible"},
    {"concurrency"},
    {"secrets"},
    {"checkout"},
    {"cache"},
    {"artifacts"},
    {"outputs"},
};

static const struct pip_key step_keys[] = {
    {"name", pip_take_text, offsetof(struct step, name)},
    {"run", pip_take_text, offsetof(struct step, run)},
    {"command", pip_take_argv, offsetof(struct step, command)},
    {"shell", pip_take_text, offsetof(struct step, shell)},
    {"workdir", take_workdir, offsetof(struct step, workdir)},
    {"env", pip_take_env, offsetof(struct step, env)},
    {"timeout", pip_take_duration, offsetof(struct step, timeout_ms), &timeouts},
    {"id"},
    {"if"},
    {"continue_on_error"},
};

static const struct pip_key need_keys[] = {
    {"job", pip_take_text, offsetof(struct need, job), .required = true},
    {"when"},
    {"optional"},
};

// --- values with rules of their own -----------------------------------------------------------------------------------

static enum hd_status take_version(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                                   void *field) {
    HD_TRY(pip_take_text(w, key, value, field));
    if (strcmp(value->text, "v1") == 0)
        return HD_OK;
    pip_fail(w, value->at, "there is no version \"%.60s\" of the language", value->text);
    hd_err_hint(w->err, "write hodei: v1");
    return HD_INVALID;
}

// Relative to the workspace, and within it.
static enum hd_status take_workdir(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                                   void *field) {
    HD_TRY(pip_take_text(w, key, value, field));
    bool outside = value->text[0] == '/';
    for (const char *p = value->text; p && !outside; p = strchr(p, '/')) {
        p += *p == '/';
        outside = strncmp(p, "..", 2) == 0 && (p[2] == '\0' || p[2] == '/');
    }
    if (!outside)
        return HD_OK;
    pip_fail(w, value->at, "workdir must lie in the workspace");
    hd_err_hint(w->err, "name a folder relative to it, without \"..\", or use cd in run");
    return HD_INVALID;
}

static enum hd_status take_pool(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                                void *field) {
    HD_TRY(pip_take_text(w, key, value, field));
    if (hd_token_valid(value->text))
        return HD_OK;
    return pip_fail(w, value->at, "\"%.100s\" is not the name of a pool: 1 to 64 letters, digits, '_' or '-'",
                    value->text);
}

// --- steps ------------------------------------------------------------------------------------------------------------

static enum hd_status make_step(struct pip_walk *w, const struct step *in, const struct step *defaults,
                                struct pip_at at, Hodei__V1__Step **ret) {
    Hodei__V1__Step *step = HD_NEW(w->arena, Hodei__V1__Step);
    char *shell = in->shell ? in->shell : defaults->shell, *workdir = in->workdir ? in->workdir : defaults->workdir;

    if (in->command.n && in->shell)
        return pip_fail(w, at, "shell goes with run; command starts the program itself");
    hodei__v1__step__init(step);
    if (in->name)
        step->name = in->name;
    if (workdir)
        step->workdir = workdir;
    if (in->run) {
        step->script = in->run;
        step->shell = shell ? shell : "/bin/sh";
    }
    step->argv = in->command.args;
    step->n_argv = in->command.n;
    step->env = in->env.vars;
    step->n_env = in->env.n;
    step->timeout_ms = in->timeout_ms;
    *ret = step;
    return pip_spend(w, at, 16 + (shell ? strlen(shell) : 8) + (workdir ? strlen(workdir) : 0));
}

static enum hd_status take_steps(struct pip_walk *w, const struct pip_node *list, const struct step *defaults,
                                 Hodei__V1__CompiledJob *job) {
    pip_enter_key(w, "steps");
    HD_TRY(pip_expect(w, list, PIP_LIST));
    if (list->n == 0)
        return pip_fail(w, list->at, "there is no step");
    job->steps = HD_NEW_ARRAY(w->arena, list->n, Hodei__V1__Step *);
    job->n_steps = list->n;
    for (size_t i = 0; i < list->n; i++) {
        const struct pip_node *node = list->items[i];
        struct step step = {0};
        pip_enter_index(w, i);
        HD_TRY(pip_walk_map(w, node, PIP_KEYS(step_keys), &step));
        if (!step.run == !step.command.n)
            return pip_fail(w, node->at,
                            step.run ? "a step has run or command, not both" : "a step needs run or command");
        HD_TRY(make_step(w, &step, defaults, node->at, &job->steps[i]));
        pip_leave(w);
    }
    pip_leave(w);
    return HD_OK;
}

// A job has one of steps, run and command; without a process (noop) it may have none.
static enum hd_status take_work(struct pip_walk *w, const struct job *in, struct pip_at at,
                                Hodei__V1__CompiledJob *job) {
    int n = !!in->steps + !!in->step.run + !!in->step.command.n;

    if (n > 1)
        return pip_fail(w, at, "a job has one of steps, run and command, not several");
    if (n == 0 && job->executor == HODEI__V1__EXECUTOR__EXECUTOR_NOOP)
        return HD_OK;
    if (n == 0) {
        pip_fail(w, at, "a job needs steps, run or command");
        hd_err_hint(w->err, "for example run: make");
        return HD_INVALID;
    }
    if (in->steps)
        return take_steps(w, in->steps, &in->step, job);
    struct step only = in->step;
    only.env = (struct pip_env){0}; // it is the job's
    job->steps = HD_NEW(w->arena, Hodei__V1__Step *);
    job->n_steps = 1;
    return make_step(w, &only, &only, at, &job->steps[0]);
}

// --- names ------------------------------------------------------------------------------------------------------------

static int named_cmp(const void *a, const void *b) {
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static const struct named *find(const struct named *sorted, size_t n, const char *name) {
    struct named key = {.name = name};
    return n ? bsearch(&key, sorted, n, sizeof(*sorted), named_cmp) : NULL;
}

// The pipeline's variables that the job does not set itself, then the job's.
static enum hd_status merge_env(struct compile *c, uint32_t index, const struct pip_env *env, struct pip_at at) {
    const struct pip_env *outer = &c->in.env;
    Hodei__V1__CompiledJob *job = c->jobs[index];
    size_t bytes = 0, hidden = 0;

    for (size_t i = 0; i < env->n; i++) {
        const struct named *row = find(c->env_names, outer->n, env->vars[i]->name);
        if (row) {
            c->env_overridden[row->index] = index + 1;
            hidden++;
        }
    }
    for (size_t i = 0; i < outer->n; i++)
        bytes +=
            c->env_overridden[i] == index + 1 ? 0 : strlen(outer->vars[i]->name) + strlen(outer->vars[i]->value) + 8;
    HD_TRY(pip_spend(&c->walk, at, bytes));
    job->env = HD_NEW_ARRAY(c->walk.arena, outer->n - hidden + env->n, Hodei__V1__EnvVar *);
    for (size_t i = 0; i < outer->n; i++) {
        if (c->env_overridden[i] != index + 1)
            job->env[job->n_env++] = outer->vars[i];
    }
    for (size_t i = 0; i < env->n; i++)
        job->env[job->n_env++] = env->vars[i];
    return HD_OK;
}

// --- jobs -------------------------------------------------------------------------------------------------------------

static enum hd_status take_job(struct compile *c, uint32_t index, const struct pip_entry *entry) {
    struct pip_walk *w = &c->walk;
    struct job in = {.executor = HODEI__V1__EXECUTOR__EXECUTOR_SHELL,
                     .pool = "default",
                     .priority = c->in.priority,
                     .timeout_ms = TIMEOUT_DEFAULT_MS,
                     .cancel_grace_ms = GRACE_DEFAULT_MS};
    Hodei__V1__CompiledJob *job = HD_NEW(w->arena, Hodei__V1__CompiledJob);

    if (!hd_name_valid(entry->key))
        return pip_fail(w, entry->at, "\"%.140s\" is not a name: 1 to %d letters, digits, '.', '_' or '-'", entry->key,
                        PIP_NAME_MAX);
    HD_TRY(pip_walk_map(w, entry->value, PIP_KEYS(job_keys), &in));
    hodei__v1__compiled_job__init(job);
    job->name = (char *)(uintptr_t)entry->key;
    job->labels = in.labels.labels;
    job->n_labels = in.labels.n;
    job->pool = in.pool;
    job->executor = (Hodei__V1__Executor)in.executor;
    job->on_worker_lost = (Hodei__V1__OnWorkerLost)in.on_worker_lost;
    job->priority = in.priority;
    job->timeout_ms = in.timeout_ms;
    job->cancel_grace_ms = in.cancel_grace_ms;
    c->jobs[index] = job;
    c->needs[index] = in.needs;
    HD_TRY(pip_spend(w, entry->at, strlen(entry->key) + 48));
    HD_TRY(take_work(w, &in, entry->at, job));
    return merge_env(c, index, &in.step.env, entry->at);
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

static enum hd_status take_need(struct compile *c, uint32_t index, const struct pip_node *value) {
    struct pip_walk *w = &c->walk;
    Hodei__V1__CompiledJob *job = c->jobs[index];
    struct need need = {.at = value->at};

    if (value->kind == PIP_MAP)
        HD_TRY(pip_walk_map(w, value, PIP_KEYS(need_keys), &need));
    else
        HD_TRY(pip_text(w, value, false, &need.job));
    const struct named *row = find(c->job_names, c->n_jobs, need.job);
    if (!row)
        return unknown_need(c, &need);
    if (row->index == index)
        return pip_fail(w, need.at, "the job \"%s\" needs itself", need.job);
    if (c->needed_by[row->index] == index + 1)
        return pip_fail(w, need.at, "the job \"%s\" is named twice", need.job);
    c->needed_by[row->index] = index + 1;
    job->needs[job->n_needs++] = row->index;
    return pip_spend(w, need.at, 8);
}

static enum hd_status take_needs(struct compile *c, uint32_t index) {
    struct pip_walk *w = &c->walk;
    const struct pip_node *list = c->needs[index];

    if (!list)
        return HD_OK;
    pip_enter_key(w, c->jobs[index]->name);
    pip_enter_key(w, "needs");
    HD_TRY(pip_expect(w, list, PIP_LIST));
    c->jobs[index]->needs = HD_NEW_ARRAY(w->arena, list->n, uint32_t);
    for (size_t i = 0; i < list->n; i++) {
        pip_enter_index(w, i);
        HD_TRY(take_need(c, index, list->items[i]));
        pip_leave(w);
    }
    pip_leave(w);
    pip_leave(w);
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
    pip_enter_key(&c->walk, first->name);
    pip_enter_key(&c->walk, "needs");
    pip_enter_index(&c->walk, k);
    pip_fail(&c->walk, c->needs[cycle[0]]->items[k]->at, "jobs need each other in a cycle: %s%s", names.data,
             first->name);
    hd_err_hint(c->walk.err, "each job waits for the next one named, so none could start; take one of the needs away");
    return HD_INVALID;
}

static enum hd_status take_jobs(struct compile *c) {
    struct pip_walk *w = &c->walk;
    const struct pip_node *map = c->in.jobs;

    pip_enter_key(w, "jobs");
    HD_TRY(pip_expect(w, map, PIP_MAP));
    if (map->n == 0)
        return pip_fail(w, map->at, "there is no job");
    if (map->n > PIP_JOBS_MAX)
        return pip_fail(w, map->at, "%zu jobs, more than %d", map->n, PIP_JOBS_MAX);
    c->n_jobs = map->n;
    c->jobs = HD_NEW_ARRAY(w->arena, map->n, Hodei__V1__CompiledJob *);
    c->needs = HD_NEW_ARRAY(w->arena, map->n, const struct pip_node *);
    c->needed_by = HD_NEW_ARRAY(w->arena, map->n, uint32_t);
    c->job_names = HD_NEW_ARRAY(w->arena, map->n, struct named);
    for (uint32_t i = 0; i < map->n; i++) {
        pip_enter_key(w, map->entries[i].key);
        HD_TRY(take_job(c, i, &map->entries[i]));
        c->job_names[i] = (struct named){c->jobs[i]->name, i};
        pip_leave(w);
    }
    qsort(c->job_names, c->n_jobs, sizeof(*c->job_names), named_cmp);
    for (uint32_t i = 0; i < map->n; i++)
        HD_TRY(take_needs(c, i));
    pip_graph_link(w->arena, c->jobs, c->n_jobs);
    return refuse_cycle(c);
}

static void index_env(struct compile *c) {
    const struct pip_env *env = &c->in.env;

    c->env_names = HD_NEW_ARRAY(c->walk.arena, env->n, struct named);
    c->env_overridden = HD_NEW_ARRAY(c->walk.arena, env->n, uint32_t);
    for (uint32_t i = 0; i < env->n; i++)
        c->env_names[i] = (struct named){env->vars[i]->name, i};
    if (env->n)
        qsort(c->env_names, env->n, sizeof(*c->env_names), named_cmp);
}

enum hd_status pip_compile(struct hd_arena *arena, const char *source, size_t len, struct hd_err *err,
                           Hodei__V1__CompiledPipeline **ret) {
    struct compile *c = HD_NEW(arena, struct compile);
    const struct pip_node *root;

    c->walk = (struct pip_walk){.arena = arena, .err = err, .source = source, .source_len = len};
    HD_TRY(pip_yaml_parse(arena, source, len, err, &root));
    HD_TRY(pip_walk_map(&c->walk, root, PIP_KEYS(pipeline_keys), &c->in));
    Hodei__V1__CompiledPipeline *out = HD_NEW(arena, Hodei__V1__CompiledPipeline);
    hodei__v1__compiled_pipeline__init(out);
    HD_TRY(pip_take_triggers(&c->walk, c->in.on, out));
    index_env(c);
    HD_TRY(take_jobs(c));

    out->name = c->in.name;
    out->jobs = c->jobs;
    out->n_jobs = c->n_jobs;
    *ret = out;
    return HD_OK;
}
