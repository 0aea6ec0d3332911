#include "agent/executor/executor.h"

#include "base/names.h"
#include "base/pb.h"

#define EXEC(x) HODEI__V1__EXECUTOR__EXECUTOR_##x
#define ENV_BASE 12 // variables that every job has

struct env_list {
    Hodei__V1__EnvVar **vars;
    size_t n;
};

// A job's own value wins over the platform's.
static void env_add(struct session *session, struct env_list *list, const Hodei__V1__Assignment *assignment,
                    const char *name, const char *value) {
    for (size_t i = 0; i < assignment->n_env; i++)
        if (strcmp(assignment->env[i]->name, name) == 0)
            return;
    Hodei__V1__EnvVar *var = HD_NEW(session->arena, Hodei__V1__EnvVar);
    *var = (Hodei__V1__EnvVar)HODEI__V1__ENV_VAR__INIT;
    var->name = (char *)(uintptr_t)name;
    var->value = (char *)(uintptr_t)value;
    list->vars[list->n++] = var;
}

static struct env_list env_of(struct session *session, const Hodei__V1__Assignment *assignment, const char *workspace) {
    struct env_list list = {HD_NEW_ARRAY(session->arena, assignment->n_env + ENV_BASE, Hodei__V1__EnvVar *), 0};
    env_add(session, &list, assignment, "PATH", session->env->path);
    env_add(session, &list, assignment, "HOME", session->env->home);
    env_add(session, &list, assignment, "CI", "true");
    env_add(session, &list, assignment, "HODEI", "true");
    env_add(session, &list, assignment, "HODEI_TENANT", assignment->tenant);
    env_add(session, &list, assignment, "HODEI_PIPELINE", assignment->pipeline);
    env_add(session, &list, assignment, "HODEI_RUN", assignment->run);
    env_add(session, &list, assignment, "HODEI_JOB", assignment->job);
    env_add(session, &list, assignment, "HODEI_ATTEMPT", hd_arena_printf(session->arena, "%u", assignment->number));
    env_add(session, &list, assignment, "HODEI_WORKER", session->worker);
    env_add(session, &list, assignment, "HODEI_WORKSPACE", workspace);
    env_add(session, &list, assignment, "HODEI_OUTPUT", hd_arena_printf(session->arena, "%s.output", workspace));
    for (size_t i = 0; i < assignment->n_env; i++)
        list.vars[list.n++] = assignment->env[i];
    return list;
}

static void shell_start(struct session *session, struct attempt *attempt, const Hodei__V1__Assignment *assignment) {
    struct hd_arena *arena = session->arena;
    Hodei__V1__ShimMessage *out = &session->fx.shim;
    Hodei__V1__ShimJob *job = HD_NEW(arena, Hodei__V1__ShimJob);
    *job = (Hodei__V1__ShimJob)HODEI__V1__SHIM_JOB__INIT;
    job->attempt = hd_arena_strdup(arena, attempt->text);
    job->workspace = hd_arena_printf(arena, "%s/%s/%s", session->env->state, HD_STATE_WORKSPACES, attempt->text);
    job->spool = hd_arena_printf(arena, "%s/%s/%s", session->env->state, HD_STATE_SPOOLS, attempt->text);
    job->steps = assignment->steps;
    job->n_steps = assignment->n_steps;
    struct env_list env = env_of(session, assignment, job->workspace);
    job->env = env.vars;
    job->n_env = env.n;
    job->timeout_ms = assignment->timeout_ms;
    job->grace_ms = assignment->cancel_grace_ms;
    job->context = assignment->context;
    job->exclusive = assignment->exclusive;
    job->resources = assignment->resources;
    job->outputs = assignment->outputs;
    job->n_outputs = assignment->n_outputs;
    HD_GROW(arena, out->jobs, out->n_jobs, session->fx.cap_jobs);
    out->jobs[out->n_jobs++] = job;
}

static void noop_end(struct session *session, struct attempt *attempt) {
    attempt->started = true;
    attempt->started_at_ms = attempt->ended_at_ms = session->now.wall_ms;
    session_end(session, attempt, HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_SUCCEEDED,
                HODEI__V1__CAUSE__CAUSE_UNSPECIFIED, NULL);
}

static void noop_start(struct session *session, struct attempt *attempt, const Hodei__V1__Assignment *assignment) {
    (void)assignment;
    noop_end(session, attempt);
}

const struct executor executors[] = {
    {EXEC(SHELL), shell_start, NULL},
    {EXEC(NOOP), noop_start, noop_end},
};
const size_t n_executors = sizeof(executors) / sizeof(executors[0]);

const struct executor *executor_of(Hodei__V1__Executor kind) {
    for (size_t i = 0; i < n_executors; i++)
        if (executors[i].kind == kind)
            return &executors[i];
    return NULL;
}
