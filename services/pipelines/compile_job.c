// One job: its table of keys, and what becomes of it.
#include <string.h>

#include "base/names.h"
#include "services/pipelines/compile_impl.h"

#define TIMEOUT_DEFAULT_MS 3600000
#define GRACE_DEFAULT_MS 10000

static pip_take take_pool;
static const struct pip_range priorities = {-100, 100};
static const struct pip_range timeouts = {1, INT64_C(720) * 3600000};
static const struct pip_range graces = {0, 3600000};
static const struct pip_choice executor_rows[] = {{"shell", HODEI__V1__EXECUTOR__EXECUTOR_SHELL, false},
                                                  {"noop", HODEI__V1__EXECUTOR__EXECUTOR_NOOP, false},
                                                  {"docker", .later = true},
                                                  {"kubernetes", .later = true}};
static const struct pip_choices executors = {executor_rows, 4};
static const struct pip_choice lost_rows[] = {{"requeue", HODEI__V1__ON_WORKER_LOST__ON_WORKER_LOST_REQUEUE, false},
                                              {"fail", HODEI__V1__ON_WORKER_LOST__ON_WORKER_LOST_FAIL, false},
                                              {"hold", HODEI__V1__ON_WORKER_LOST__ON_WORKER_LOST_HOLD, false}};
static const struct pip_choices on_worker_lost = {lost_rows, 3};

static const struct pip_key job_rows[] = {
    {"needs", pip_take_node, offsetof(struct job, needs), .no_default = true,
     .schema = "{\"type\":\"array\",\"items\":{\"anyOf\":[{\"type\":\"string\"},{\"$ref\":\"#/$defs/need\"}]}}",
     .help = "jobs that come first"},
    {"if", pip_take_condition, offsetof(struct job, condition), .no_default = true,
     .schema = "{\"type\":[\"string\",\"boolean\"]}", .help = "an expression; the job is skipped where it is false"},
    {"steps", pip_take_node, offsetof(struct job, steps), .no_default = true,
     .schema = "{\"type\":\"array\",\"minItems\":1,\"items\":{\"$ref\":\"#/$defs/step\"}}",
     .help = "what runs, in order"},
    {"run", pip_take_run, offsetof(struct job, step.run), .no_default = true,
     .help = "a script for the shell: the one step of the job"},
    {"command", pip_take_argv, offsetof(struct job, step.command), .no_default = true,
     .help = "the program itself and its arguments, without a shell"},
    {"env", pip_take_env, offsetof(struct job, step.env), .help = "variables of all its steps"},
    {"shell", pip_take_text, offsetof(struct job, step.shell), .help = "of run; default /bin/sh"},
    {"workdir", pip_take_workdir, offsetof(struct job, step.workdir), .help = "relative to the workspace"},
    {"labels", pip_take_labels, offsetof(struct job, labels), .help = "a worker must have all of them"},
    {"pool", take_pool, offsetof(struct job, pool), .help = "which workers; default \"default\""},
    {"executor", pip_take_choice, offsetof(struct job, executor), &executors, .help = "default shell"},
    {"timeout", pip_take_duration, offsetof(struct job, timeout_ms), &timeouts, .help = "of an attempt; default 1h"},
    {"queue_timeout", pip_take_duration, offsetof(struct job, queue_timeout_ms), &timeouts,
     .help = "how long it may wait to be started"},
    {"cancel_grace", pip_take_duration, offsetof(struct job, cancel_grace_ms), &graces,
     .help = "from TERM to KILL; default 10s"},
    {"on_worker_lost", pip_take_choice, offsetof(struct job, on_worker_lost), &on_worker_lost,
     .help = "default requeue"},
    {"priority", pip_take_int, offsetof(struct job, priority), &priorities, .help = "higher ones first"},
    {"matrix", pip_take_matrix, offsetof(struct job, matrix), .no_default = true,
     .schema = "{\"$ref\":\"#/$defs/matrix\"}", .help = "runs the job once for each combination of values"},
    {"retry", pip_take_retry, offsetof(struct job, retry), .schema = "{\"$ref\":\"#/$defs/retry\"}",
     .help = "tries a job that failed again"},
    {"allow_failure", pip_take_allow, offsetof(struct job, allow),
     .schema = "{\"anyOf\":[{\"type\":\"boolean\"},{\"$ref\":\"#/$defs/allow_failure\"}]}",
     .help = "its failure does not fail the run"},
    {"outputs", pip_take_outputs, offsetof(struct job, outputs), .no_default = true, .schema = "{\"type\":\"object\"}",
     .help = "what jobs that need it can read: needs.<job>.outputs"},
    {"approval", pip_take_approval, offsetof(struct job, approval), .schema = "{\"$ref\":\"#/$defs/approval\"}",
     .help = "somebody must agree before it starts"},
    {"interruptible", pip_take_bool, offsetof(struct job, interruptible),
     .help = "false: once it has started, neither a later run of its group nor fail_fast cancels it; default true"},
    {"concurrency", pip_take_concurrency, offsetof(struct job, concurrency),
     .schema = "{\"$ref\":\"#/$defs/concurrency\"}", .help = "so many at a time of all that name the same group"},
    {"resources", pip_take_resources, offsetof(struct job, resources), .schema = "{\"$ref\":\"#/$defs/resources\"}",
     .help = "what a worker must have free"},
    {"tolerations", pip_take_tolerations, offsetof(struct job, tolerations),
     .schema = "{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/toleration\"}}",
     .help = "taints of workers that do not keep it away"},
    {"image"},
    {"services"},
    {"secrets"},
    {"checkout"},
    {"cache"},
    {"artifacts"},
};
const struct pip_keys pip_job_keys = {job_rows, sizeof(job_rows) / sizeof(*job_rows)};

static enum hd_status take_pool(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                                void *field) {
    HD_TRY(pip_take_text(w, key, value, field));
    if (hd_token_valid(value->text))
        return HD_OK;
    return pip_fail(w, value->at, "\"%.100s\" is not the name of a pool: 1 to 64 letters, digits, '_' or '-'",
                    value->text);
}

void pip_job_init(struct compile *c, struct job *job) {
    *job = (struct job){.executor = HODEI__V1__EXECUTOR__EXECUTOR_SHELL,
                        .pool = "default",
                        .interruptible = true,
                        .priority = c->in.priority,
                        .queue_timeout_ms = c->in.queue_timeout_ms,
                        .timeout_ms = TIMEOUT_DEFAULT_MS,
                        .cancel_grace_ms = GRACE_DEFAULT_MS};
}

// --- env --------------------------------------------------------------------------------------------------------------

static bool in_env(const struct pip_env *env, const char *name) {
    for (size_t i = 0; i < env->n; i++)
        if (strcmp(env->vars[i]->name, name) == 0)
            return true;
    return false;
}

// The variables of the pipeline, then the job's, which win. One that is hidden stays where another may name it.
static enum hd_status merge_env(struct compile *c, const struct pip_env *env, struct pip_at at,
                                Hodei__V1__CompiledJob *job) {
    const struct pip_env *outer = &c->in.env;
    bool keep = outer->templates || env->templates;
    size_t bytes = 0;
    job->env = HD_NEW_ARRAY(c->walk.arena, outer->n + env->n, Hodei__V1__EnvVar *);
    for (size_t i = 0; i < outer->n; i++) {
        if (!keep && in_env(env, outer->vars[i]->name))
            continue;
        bytes += strlen(outer->vars[i]->name) + strlen(outer->vars[i]->value) + 8;
        job->env[job->n_env++] = outer->vars[i];
    }
    for (size_t i = 0; i < env->n; i++)
        job->env[job->n_env++] = env->vars[i];
    return pip_spend(&c->walk, at, bytes);
}

// The defaults' variables that the job does not set itself come first.
static void add_default_env(struct compile *c, struct job *in) {
    const struct pip_env *base = &c->defaults.step.env;
    struct pip_env *own = &in->step.env, all = {.templates = base->templates || own->templates};
    if (base->n == 0 || own->vars == base->vars)
        return;
    all.vars = HD_NEW_ARRAY(c->walk.arena, base->n + own->n, Hodei__V1__EnvVar *);
    for (size_t i = 0; i < base->n; i++)
        if (!in_env(own, base->vars[i]->name))
            all.vars[all.n++] = base->vars[i];
    size_t moved = all.n;
    for (size_t i = 0; i < own->n; i++)
        all.vars[all.n++] = own->vars[i];
    *own = all;
    for (size_t i = 0; i < c->n_pending; i++)
        if (c->pending[i].env == own)
            c->pending[i].env_index += moved;
}

// --- the job ------------------------------------------------------------------------------------------------------------

static bool uses_context(const Hodei__V1__CompiledJob *job) {
    for (size_t i = 0; i < job->n_env; i++)
        if (job->env[i]->template_)
            return true;
    for (size_t i = 0; i < job->n_steps; i++) {
        const Hodei__V1__Step *step = job->steps[i];
        if (step->template_ || *step->condition)
            return true;
        for (size_t k = 0; k < step->n_env; k++)
            if (step->env[k]->template_)
                return true;
    }
    return job->n_outputs > 0;
}

static void fill(const struct job *in, Hodei__V1__CompiledJob *job) {
    job->labels = in->labels.labels;
    job->n_labels = in->labels.n;
    job->pool = in->pool;
    job->resources = in->resources;
    job->tolerations = in->tolerations.list;
    job->n_tolerations = in->tolerations.n;
    job->executor = (Hodei__V1__Executor)in->executor;
    job->on_worker_lost = (Hodei__V1__OnWorkerLost)in->on_worker_lost;
    job->priority = in->priority;
    job->timeout_ms = in->timeout_ms;
    job->queue_timeout_ms = in->queue_timeout_ms;
    job->cancel_grace_ms = in->cancel_grace_ms;
    if (in->condition)
        job->condition = (char *)(uintptr_t)in->condition;
    job->matrix = in->matrix;
    job->retry = in->retry;
    job->approval = in->approval;
    job->concurrency = in->concurrency;
    job->uninterruptible = !in->interruptible;
    job->allow_failure = in->allow.any;
    job->allow_exit_codes = in->allow.codes;
    job->n_allow_exit_codes = in->allow.n_codes;
    job->outputs = in->outputs.vars;
    job->n_outputs = in->outputs.n;
}

enum hd_status pip_take_job(struct compile *c, uint32_t index, const struct pip_entry *entry) {
    struct pip_walk *w = &c->walk;
    struct job *in = &c->ins[index];
    Hodei__V1__CompiledJob *job = HD_NEW(w->arena, Hodei__V1__CompiledJob);

    if (!hd_name_valid(entry->key))
        return pip_fail(w, entry->at, "\"%.140s\" is not a name: 1 to %d letters, digits, '.', '_' or '-'", entry->key,
                        PIP_NAME_MAX);
    *in = c->defaults;
    c->job = index;
    HD_TRY(pip_walk_map(w, entry->value, pip_job_keys, in));
    if (in->matrix && strlen(entry->key) > PIP_NAME_MAX - 6)
        return pip_fail(w, entry->at, "the name of a job with a matrix has at most %d bytes", PIP_NAME_MAX - 6);
    hodei__v1__compiled_job__init(job);
    job->name = (char *)(uintptr_t)entry->key;
    c->jobs[index] = job;
    add_default_env(c, in);
    fill(in, job);
    HD_TRY(pip_spend(w, entry->at, strlen(entry->key) + 48));
    HD_TRY(pip_take_work(c, in, entry->at, job));
    HD_TRY(merge_env(c, &in->step.env, entry->at, job));
    job->uses_context = uses_context(job);
    c->job = SIZE_MAX;
    return HD_OK;
}
