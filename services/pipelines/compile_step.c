// Steps: what runs on the worker, in order.
#include <string.h>

#include "base/names.h"
#include "services/pipelines/compile_impl.h"
#include "services/pipelines/splice.h"

#define STEPS_MAX 1000

static pip_take take_id;
static const struct pip_range timeouts = {1, INT64_C(720) * 3600000};

#define TEMPLATE "{\"type\":[\"string\",\"number\",\"boolean\"]}"
static const struct pip_key step_rows[] = {
    {"id", take_id, offsetof(struct step, id),
     .schema = "{\"type\":\"string\",\"pattern\":\"^[A-Za-z_][A-Za-z0-9_-]*$\"}",
     .help = "by which later expressions name it: steps.<id>.outputs"},
    {"name", pip_take_text, offsetof(struct step, name), .help = "for people"},
    {"run", pip_take_run, offsetof(struct step, run), .help = "a script for the shell"},
    {"command", pip_take_argv, offsetof(struct step, command),
     .help = "the program itself and its arguments, without a shell"},
    {"shell", pip_take_text, offsetof(struct step, shell), .help = "default /bin/sh; called with -e -c"},
    {"workdir", pip_take_workdir, offsetof(struct step, workdir), .help = "relative to the workspace"},
    {"env", pip_take_env, offsetof(struct step, env), .help = "variables of this step"},
    {"if", pip_take_condition, offsetof(struct step, condition), .schema = "{\"type\":[\"string\",\"boolean\"]}",
     .help = "an expression; default success()"},
    {"timeout", pip_take_duration, offsetof(struct step, timeout_ms), &timeouts, .help = "for example 10m"},
    {"continue_on_error", pip_take_bool, offsetof(struct step, continue_on_error),
     .help = "its failure does not fail the job"},
};
const struct pip_keys pip_step_keys = {step_rows, sizeof(step_rows) / sizeof(*step_rows)};

static enum hd_status take_id(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                              void *field) {
    HD_TRY(pip_take_text(w, key, value, field));
    size_t n = strspn(value->text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    if (n == value->n && n <= PIP_NAME_MAX && !strchr("0123456789-", value->text[0]))
        return HD_OK;
    return pip_fail(w, value->at, "\"%.140s\" is not an id: letters, digits, '_' and '-', a letter or '_' first",
                    value->text);
}

// Relative to the workspace, and within it.
enum hd_status pip_take_workdir(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
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

// The field is struct step's.
enum hd_status pip_take_run(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value, void *field) {
    struct step *step = (struct step *)(void *)((char *)field - offsetof(struct step, run));
    struct hd_template t;
    (void)key;
    HD_TRY(pip_template(w, value, false, PIP_AT_STEP, &step->run, &t));
    if (value->n == 0)
        return pip_fail(w, value->at, "must not be empty");
    step->run_at = value->at;
    return HD_OK;
}

// The variables that carry the values of the script's expressions come after the step's own.
static enum hd_status splice(struct pip_walk *w, const struct step *in, Hodei__V1__Step *step) {
    struct hd_template t;
    struct pip_splice made;
    if (!strstr(in->run, "${{"))
        return HD_OK;
    HD_TRY(hd_template_parse(w->arena, in->run, strlen(in->run), w->err, &t));
    if (pip_splice(w->arena, &t, step->shell, w->err, &made) != HD_OK) {
        struct hd_err err = *w->err;
        pip_enter_key(w, "run");
        pip_fail(w, in->run_at, "%s", err.text);
        hd_err_hint(w->err, "%s", err.hint);
        hd_err_at(w->err, 1, err.column);
        pip_locate(w, in->run_at, in->run);
        return HD_INVALID;
    }
    Hodei__V1__EnvVar **env = HD_NEW_ARRAY(w->arena, step->n_env + made.n, Hodei__V1__EnvVar *);
    if (step->n_env)
        memcpy(env, step->env, step->n_env * sizeof(*env));
    for (size_t i = 0; i < made.n; i++) {
        Hodei__V1__EnvVar *var = HD_NEW(w->arena, Hodei__V1__EnvVar);
        hodei__v1__env_var__init(var);
        var->name = (char *)(uintptr_t)made.names[i];
        var->value = (char *)(uintptr_t)made.templates[i];
        var->template_ = true;
        env[step->n_env++] = var;
        HD_TRY(pip_spend(w, in->run_at, strlen(var->name) * 2 + strlen(var->value) + 16));
    }
    step->env = env;
    step->script = (char *)(uintptr_t)made.script;
    return HD_OK;
}

static enum hd_status make_step(struct pip_walk *w, const struct step *in, const struct step *defaults,
                                struct pip_at at, Hodei__V1__Step **ret) {
    Hodei__V1__Step *step = HD_NEW(w->arena, Hodei__V1__Step);
    char *shell = in->shell ? in->shell : defaults->shell, *workdir = in->workdir ? in->workdir : defaults->workdir;

    if (in->command.n && in->shell)
        return pip_fail(w, at, "shell goes with run; command starts the program itself");
    hodei__v1__step__init(step);
    if (in->id)
        step->id = in->id;
    if (in->name)
        step->name = in->name;
    if (in->condition)
        step->condition = in->condition;
    if (workdir)
        step->workdir = workdir;
    step->argv = in->command.args;
    step->n_argv = in->command.n;
    step->template_ = in->command.templates;
    step->env = in->env.vars;
    step->n_env = in->env.n;
    step->timeout_ms = in->timeout_ms;
    step->continue_on_error = in->continue_on_error;
    if (in->run) {
        step->script = in->run;
        step->shell = shell ? shell : "/bin/sh";
        HD_TRY(splice(w, in, step));
    }
    *ret = step;
    return pip_spend(w, at, 16 + (shell ? strlen(shell) : 8) + (workdir ? strlen(workdir) : 0));
}

static bool id_taken(const Hodei__V1__CompiledJob *job, size_t n, const char *id) {
    for (size_t i = 0; id && i < n; i++)
        if (strcmp(job->steps[i]->id, id) == 0)
            return true;
    return false;
}

static enum hd_status take_steps(struct compile *c, const struct pip_node *list, const struct step *defaults,
                                 Hodei__V1__CompiledJob *job) {
    struct pip_walk *w = &c->walk;
    pip_enter_key(w, "steps");
    HD_TRY(pip_expect(w, list, PIP_LIST));
    if (list->n == 0 || list->n > STEPS_MAX)
        return pip_fail(w, list->at, list->n ? "there are more than %d steps" : "there is no step", STEPS_MAX);
    job->steps = HD_NEW_ARRAY(w->arena, list->n, Hodei__V1__Step *);
    for (size_t i = 0; i < list->n; i++) {
        const struct pip_node *node = list->items[i];
        struct step *step = HD_NEW(w->arena, struct step); // expressions remember its env
        c->step = i;
        pip_enter_index(w, i);
        HD_TRY(pip_walk_map(w, node, pip_step_keys, step));
        if (!step->run == !step->command.n)
            return pip_fail(w, node->at,
                            step->run ? "a step has run or command, not both" : "a step needs run or command");
        if (id_taken(job, i, step->id))
            return pip_fail(w, node->at, "the id \"%s\" is taken by a step before", step->id);
        HD_TRY(make_step(w, step, defaults, node->at, &job->steps[i]));
        job->n_steps++;
        pip_leave(w);
    }
    c->step = SIZE_MAX;
    pip_leave(w);
    return HD_OK;
}

// A job has one of steps, run and command; without a process (noop) it may have none.
enum hd_status pip_take_work(struct compile *c, const struct job *in, struct pip_at at, Hodei__V1__CompiledJob *job) {
    struct pip_walk *w = &c->walk;
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
        return take_steps(c, in->steps, &in->step, job);
    struct step only = in->step;
    only.env = (struct pip_env){0}; // it is the job's
    if (only.command.n && only.shell == c->defaults.step.shell)
        only.shell = NULL; // it is meant for others
    job->steps = HD_NEW(w->arena, Hodei__V1__Step *);
    job->n_steps = 1;
    return make_step(w, &only, &only, at, &job->steps[0]);
}
