// One step as a process: own group, pipes for its output, nothing else of ours.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/shim/shim.h"

#define LAST_BOUND 4 // times the processes that a job may have

struct command {
    char **argv, **envp;
    const char *program, *folder;
};

static const char *env_of(char *const *envp, const char *name) {
    size_t len = strlen(name);
    for (; *envp; envp++)
        if (strncmp(*envp, name, len) == 0 && (*envp)[len] == '=')
            return *envp + len + 1;
    return NULL;
}

// The step's own variables win over the job's, and those over ours.
static char **environment(const struct job *job, const Hodei__V1__Step *step) {
    struct hd_arena *arena = &job->shim->scratch;
    const Hodei__V1__ShimJob *spec = job->spec;
    char **list = HD_NEW_ARRAY(arena, spec->n_env + step->n_env + 2, char *);
    size_t n = 0;
    bool named = false;
    for (size_t i = 0; i < step->n_env; i++)
        named |= hd_streq(step->env[i]->name, SHIM_STEP_VARIABLE);
    for (size_t i = 0; i < spec->n_env; i++)
        named |= hd_streq(spec->env[i]->name, SHIM_STEP_VARIABLE);
    if (!named)
        list[n++] = hd_arena_printf(arena, SHIM_STEP_VARIABLE "=%s", step_name(job, step, arena));
    for (size_t i = 0; i < step->n_env; i++)
        list[n++] = hd_arena_printf(arena, "%s=%s", step->env[i]->name, step->env[i]->value);
    for (size_t i = 0; i < spec->n_env; i++) {
        bool own = false;
        for (size_t k = 0; k < step->n_env && !own; k++)
            own = hd_streq(step->env[k]->name, spec->env[i]->name);
        if (!own)
            list[n++] = hd_arena_printf(arena, "%s=%s", spec->env[i]->name, spec->env[i]->value);
    }
    list[n] = NULL;
    return list;
}

// The same for a job with expressions: all of it is one map by now.
static char **environment_of(struct hd_arena *arena, const struct hd_value *env) {
    char **list = HD_NEW_ARRAY(arena, env->n + 1, char *);
    for (size_t i = 0; i < env->n; i++)
        list[i] = hd_arena_printf(arena, "%s=%s", env->names[i], env->items[i]->text);
    return list;
}

static enum hd_status arguments_of(struct job *job, const Hodei__V1__Step *step, const struct hd_value *env,
                                   struct hd_err *err, char ***ret) {
    struct hd_arena *arena = &job->shim->scratch;
    char **argv = HD_NEW_ARRAY(arena, step->n_argv + 1, char *);
    for (size_t i = 0; i < step->n_argv; i++) {
        const char *text;
        HD_TRY(names_text(job, env, arena, step->argv[i], &text, err));
        argv[i] = (char *)(uintptr_t)text;
    }
    *ret = argv;
    return HD_OK;
}

static char **arguments(struct hd_arena *arena, const Hodei__V1__Step *step) {
    if (step->n_argv) {
        char **argv = HD_NEW_ARRAY(arena, step->n_argv + 1, char *);
        memcpy(argv, step->argv, step->n_argv * sizeof(char *));
        argv[step->n_argv] = NULL;
        return argv;
    }
    char **argv = HD_NEW_ARRAY(arena, 5, char *);
    argv[0] = *step->shell ? step->shell : (char *)(uintptr_t) "/bin/sh";
    argv[1] = (char *)(uintptr_t) "-e";
    argv[2] = (char *)(uintptr_t) "-c";
    argv[3] = step->script;
    argv[4] = NULL;
    return argv;
}

static bool is_program(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

// By the job's PATH, not ours. A name with a slash is taken as it is, relative to the folder of the step.
static const char *find_program(struct hd_arena *arena, const char *name, char *const *envp, const char *folder) {
    const char *path = env_of(envp, "PATH");
    if (strchr(name, '/') || !path)
        return name;
    for (const char *p = path; *p;) {
        size_t len = strcspn(p, ":");
        const char *found = *p == '/' ? hd_arena_printf(arena, "%.*s/%s", (int)len, p, name)
                                      : hd_arena_printf(arena, "%s/%.*s/%s", folder, (int)len, p, name);
        if (is_program(found))
            return found;
        p += len + (p[len] == ':');
    }
    return NULL;
}

// What its expressions give; the environment and the arguments as they are where it has none.
static enum hd_status evaluate(struct job *job, const Hodei__V1__Step *step, struct command *ret, struct hd_err *err) {
    struct hd_arena *arena = &job->shim->scratch;
    const struct hd_value *env;
    ret->argv = arguments(arena, step);
    if (!job->names) {
        ret->envp = environment(job, step);
        return HD_OK;
    }
    HD_TRY(names_env(job, step, arena, &env, err));
    ret->envp = environment_of(arena, env);
    return step->template_ ? arguments_of(job, step, env, err, &ret->argv) : HD_OK;
}

static enum hd_status prepare(struct job *job, const Hodei__V1__Step *step, struct command *ret, struct hd_err *err) {
    struct hd_arena *arena = &job->shim->scratch;
    ret->folder = *step->workdir ? hd_arena_printf(arena, "%s/%s", job->workspace, step->workdir) : job->workspace;
    if (!ret->argv[0] || !*ret->argv[0])
        return hd_err_set(err, HD_INVALID, "the command is empty");
    ret->program = find_program(arena, ret->argv[0], ret->envp, ret->folder);
    if (!ret->program)
        return hd_err_set(err, HD_INVALID, "cannot start %.200s: there is no such program in PATH", ret->argv[0]);
    return HD_OK;
}

// Jobs of another user may not write beside the workspace: their file is made for them.
static enum hd_status make_output_file(const struct job *job, struct hd_err *err) {
    const struct shim_host *host = &job->shim->host;
    char path[4200];
    if (!host->has_user)
        return HD_OK;
    snprintf(path, sizeof(path), "%s" SHIM_OUTPUT_SUFFIX, job->workspace);
    HD_AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && fchown(fd, host->uid, host->gid) == 0)
        return HD_OK;
    return hd_err_set(err, HD_UNAVAILABLE, "cannot make %.200s: %s", path, strerror(errno));
}

static enum hd_status open_pipe(struct job *job, unsigned which, int *ret_write, struct hd_err *err) {
    int ends[2];
    struct job_pipe *pipe = &job->out[which];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return hd_err_set(err, HD_UNAVAILABLE, "cannot make a pipe: %s", strerror(errno));
    *ret_write = ends[1];
    // Only our end: a job may not expect its own to be non-blocking.
    if (fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) {
        close(ends[0]);
        return hd_err_set(err, HD_UNAVAILABLE, "cannot set up a pipe: %s", strerror(errno));
    }
    pipe->source.ready = pipe_ready;
    pipe->paused = false;
    if (shim_watch(job->shim, &pipe->source, ends[0], EPOLLIN) != HD_OK) {
        close(ends[0]);
        return hd_err_set(err, HD_UNAVAILABLE, "cannot watch a pipe: %s", strerror(errno));
    }
    return HD_OK;
}

static enum hd_status why_not(const struct child *child, int failed, struct hd_err *err) {
    struct stat st;
    bool again = failed == EAGAIN || failed == ENOMEM;
    if (hd_streq(child->what, "its folder") && failed == ENOENT)
        return hd_err_set(err, HD_INVALID, "cannot start %.200s: the folder %.200s is not there", child->argv[0],
                          child->folder);
    if (hd_streq(child->what, "its folder") && failed == EACCES && child->shim->host.has_user)
        return hd_err_set(err, HD_INVALID,
                          "cannot start %.200s: the user of jobs may not enter the folder %.200s, or one above it",
                          child->argv[0], child->folder);
    if (*child->what)
        return hd_err_set(err, again ? HD_UNAVAILABLE : HD_INVALID, "cannot start %.200s: %s: %s", child->argv[0],
                          child->what, strerror(failed));
    char program[8400];
    bool whole = *child->program == '/';
    snprintf(program, sizeof(program), "%s%s%s", whole ? "" : child->folder, whole ? "" : "/", child->program);
    if (failed == ENOENT && stat(program, &st) == 0)
        return hd_err_set(err, HD_INVALID, "cannot start %.200s: what its first line (#!) names is not there",
                          child->argv[0]);
    return hd_err_set(err, again ? HD_UNAVAILABLE : HD_INVALID, "cannot start %.200s: %s", child->argv[0],
                      strerror(failed));
}

// What the job asks for of memory and no group limits.
static int64_t data_limit(const struct job *job) {
    const Hodei__V1__Resources *asks = job->spec->resources;
    return asks && !job->memory && !(job->group && job->shim->host.tree_limits) ? asks->memory_bytes : 0;
}

// The kernel counts all processes of a user, not those of a job: so many more than there are now. Root it does not count. It is the last bound,
// far enough beyond ours that a bomb is looked at before it has ended by this one, which would leave nothing to say but an exit code.
static int64_t process_limit(const struct job *job) {
    struct rlimit now;
    const struct shim_host *host = &job->shim->host;
    if (job->group || !host->processes_max || getrlimit(RLIMIT_NPROC, &now) != 0)
        return 0;
    int64_t most = tree_tasks() + LAST_BOUND * host->processes_max;
    return (rlim_t)most < now.rlim_max ? most : 0;
}

static enum hd_status start(struct job *job, const struct command *command, const int out[2], struct hd_err *err) {
    struct shim *shim = job->shim;
    struct child child = {.argv = command->argv,
                          .envp = command->envp,
                          .program = command->program,
                          .folder = command->folder,
                          .in = shim->null_fd,
                          .out = out[0],
                          .err = out[1],
                          .group_fd = job->group ? job->group->dir_fd : -1,
                          .shim = shim,
                          .data_bytes = data_limit(job),
                          .processes = process_limit(job)};
    HD_TRY(cgroup_procs(job, child.procs_fd, err));
    int failed = child_start(&child, shim->child_stack, sizeof(shim->child_stack), &job->pid);
    hd_close_fd(&child.procs_fd[0]);
    hd_close_fd(&child.procs_fd[1]);
    return failed ? why_not(&child, failed, err) : HD_OK;
}

Hodei__V1__Cause start_cause(void) {
    return errno == ENOSPC || errno == EDQUOT ? HODEI__V1__CAUSE__CAUSE_DISK_FULL
                                              : HODEI__V1__CAUSE__CAUSE_START_FAILED;
}

enum hd_status step_spawn(struct job *job, const Hodei__V1__Step *step, Hodei__V1__Cause *ret_cause,
                          struct hd_err *err) {
    struct command command;
    int ends[2] = {-1, -1};
    *ret_cause = HODEI__V1__CAUSE__CAUSE_EXPRESSION;
    HD_TRY(evaluate(job, step, &command, err));
    *ret_cause = HODEI__V1__CAUSE__CAUSE_START_FAILED;
    HD_TRY(prepare(job, step, &command, err));
    errno = 0;
    enum hd_status status = make_output_file(job, err);
    if (status == HD_OK)
        status = open_pipe(job, 0, &ends[0], err);
    if (status == HD_OK)
        status = open_pipe(job, 1, &ends[1], err);
    if (status == HD_OK)
        status = start(job, &command, ends, err);
    if (status != HD_OK)
        *ret_cause = start_cause();
    hd_close_fd(&ends[0]);
    hd_close_fd(&ends[1]);
    if (status == HD_OK)
        return HD_OK;
    job->pid = 0;
    pipe_close(&job->out[0]);
    pipe_close(&job->out[1]);
    return status;
}
