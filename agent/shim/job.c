// The life of a job: steps in order, deadlines, the end.
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/shim/shim.h"
#include "base/resources.h"

#define STATE(x) HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_##x
#define CAUSE(x) HODEI__V1__CAUSE__CAUSE_##x
#define FINISH_AGAIN_MS 50 // a stray that is slow to die is looked at again

static uint64_t key_of(struct hd_uuid id) {
    return hd_hash(id.b, sizeof(id.b), 0);
}

struct job *shim_job(const struct shim *shim, const char *attempt) {
    struct hd_uuid id;
    struct job *job = hd_uuid_parse(attempt, &id) == HD_OK ? hd_map_get(&shim->jobs, key_of(id)) : NULL;
    return job && hd_uuid_eq(job->id, id) ? job : NULL;
}

void job_dirty(struct job *job) {
    if (job->dirty)
        return;
    job->dirty = true;
    job->next_dirty = job->shim->dirty;
    job->shim->dirty = job;
}

static void list_add(struct job_list *list, struct job *job) {
    job->next = NULL;
    job->prev = list->tail;
    *(list->tail ? &list->tail->next : &list->head) = job;
    list->tail = job;
}

static void list_remove(struct job_list *list, struct job *job) {
    *(job->prev ? &job->prev->next : &list->head) = job->next;
    *(job->next ? &job->next->prev : &list->tail) = job->prev;
    job->next = job->prev = NULL;
}

static char *copy(const char *text) {
    char *made = strdup(text);
    if (!made)
        abort();
    return made;
}

static void batch_put(struct batch *batch) {
    if (--batch->refs)
        return;
    hd_arena_release(&batch->arena);
    free(batch);
}

static void say(struct job *job, const char *text) {
    free(job->message);
    job->message = copy(text);
}

// --- the end ---------------------------------------------------------------------------------------------------------

static void release(struct job *job) {
    struct shim *shim = job->shim;
    if (job->spooled)
        (void)unlink(job->spool);
    spool_forgotten(job);
    hd_map_remove(&shim->jobs, key_of(job->id));
    job->next = shim->dead; // its events may still be in this turn's batch
    shim->dead = job;
}

void job_forget(struct job *job) {
    if (job->phase != PHASE_ENDED) {
        job->forget = true;
        return;
    }
    release(job);
}

static void end(struct job *job, Hodei__V1__AttemptState state, Hodei__V1__Cause cause) {
    struct shim *shim = job->shim;
    list_remove(job->phase == PHASE_WAITING ? &shim->waiting : &shim->active, job);
    job->phase = PHASE_ENDED;
    job->state = state;
    job->cause = cause;
    job->ended_at_ms = shim->now.wall_ms;
    pipe_close(&job->out[0]);
    pipe_close(&job->out[1]);
    spool_close(job);
    cgroup_usage(job);
    cgroup_leave(job);
    workspace_drop(job);
    job->spec = NULL;
    batch_put(HD_STEAL(job->batch));
    job_dirty(job);
    if (job->forget)
        release(job);
}

static void end_stopped(struct job *job) {
    switch (job->stop) {
    case STOP_TIMEOUT:
        end(job, STATE(TIMED_OUT), CAUSE(TIMEOUT));
        break;
    case STOP_CANCEL:
        end(job, STATE(CANCELLED), CAUSE(CANCELLED));
        break;
    case STOP_FENCE:
        end(job, STATE(LOST), CAUSE(WORKER_LOST));
        break;
    case STOP_PROCESSES:
        end(job, STATE(FAILED), CAUSE(PROCESSES));
        break;
    default: // its message says that the log could not be written
        end(job, STATE(FAILED), CAUSE(DISK_FULL));
        break;
    }
}

// --- steps -----------------------------------------------------------------------------------------------------------

// The definition's fault, that of what a step wrote, or a program that is not there: nothing more of the job runs.
static void end_broken(struct job *job, const struct hd_err *err, Hodei__V1__Cause cause) {
    say(job, err->text);
    spool_say(job, "%s", err->text);
    job->exit_code = job->signal = 0;
    end(job, STATE(FAILED), cause);
}

static void end_last(struct job *job) {
    struct hd_err err = {0};
    if (names_outputs(job, &err) != HD_OK && !job->failed)
        end_broken(job, &err, CAUSE(OUTPUTS));
    else if (job->failed)
        end(job, job->state, job->cause);
    else
        end(job, STATE(SUCCEEDED), CAUSE(UNSPECIFIED));
}

static void next_step(struct job *job) {
    struct shim *shim = job->shim;
    struct hd_err err = {0};
    bool wanted = false;
    Hodei__V1__Cause cause;
    for (; job->step < job->spec->n_steps && !wanted; job->step += !wanted) {
        const Hodei__V1__Step *looked = job->spec->steps[job->step];
        if (names_condition(job, looked, &wanted, &err) != HD_OK ||
            (!wanted && names_step_over(job, looked, "skipped", &err) != HD_OK)) {
            hd_err_wrap(&err, "step %zu", job->step + 1);
            end_broken(job, &err, CAUSE(EXPRESSION));
            return;
        }
    }
    if (!wanted) {
        end_last(job);
        return;
    }
    const Hodei__V1__Step *step = job->spec->steps[job->step];
    errno = 0;
    if (cgroup_renew(job, &err) != HD_OK) {
        end_broken(job, &err, start_cause());
        return;
    }
    if (step_spawn(job, step, &cause, &err) != HD_OK) {
        end_broken(job, &err, cause);
        return;
    }
    job->phase = PHASE_RUNNING;
    job->kill_ms = job->drain_ms = SHIM_NEVER;
    job->killed = job->reaped = false;
    job->step_deadline_ms = step->timeout_ms > 0 ? shim->now.mono_ms + step->timeout_ms : SHIM_NEVER;
    hd_map_put(&shim->pids, (uint64_t)job->pid, job);
    job_dirty(job); // its process is another one
}

static void begin(struct job *job) {
    struct shim *shim = job->shim;
    struct hd_err err = {0};
    assert(job->spec); // until it ends
    job->started_at_ms = shim->now.wall_ms;
    if (job->spec->timeout_ms > 0)
        job->deadline_ms = shim->now.mono_ms + job->spec->timeout_ms;
    errno = 0;
    if (workspace_make(job, &err) != HD_OK || cgroup_enter(job, &err) != HD_OK) {
        end_broken(job, &err, start_cause());
        return;
    }
    enum hd_status named = names_begin(job, &err);
    list_remove(&shim->waiting, job);
    list_add(&shim->active, job);
    job->phase = PHASE_RUNNING;
    job->started = true;
    job_dirty(job);
    if (named != HD_OK)
        end_broken(job, &err, CAUSE(EXPRESSION));
    else
        next_step(job);
}

void shim_start_waiting(struct shim *shim, unsigned most) {
    for (unsigned i = 0; i < most && shim->waiting.head; i++)
        begin(shim->waiting.head);
}

void shim_take(struct shim *shim, struct batch *batch, const Hodei__V1__ShimJob *spec) {
    struct hd_uuid id;
    struct job *job = shim_job(shim, spec->attempt);
    if (job) { // said again
        job_dirty(job);
        return;
    }
    if (hd_uuid_parse(spec->attempt, &id) != HD_OK || spec->workspace[0] != '/' || spec->spool[0] != '/')
        return;
    job = hd_calloc(1, sizeof(*job));
    *job = (struct job){.shim = shim,
                        .id = id,
                        .batch = batch,
                        .spec = spec,
                        .workspace = copy(spec->workspace),
                        .spool = copy(spec->spool),
                        .phase = PHASE_WAITING,
                        .deadline_ms = SHIM_NEVER,
                        .step_deadline_ms = SHIM_NEVER,
                        .kill_ms = SHIM_NEVER,
                        .drain_ms = SHIM_NEVER,
                        .spool_fd = -1};
    hd_uuid_format(id, job->attempt);
    job->out[0] = (struct job_pipe){.source.fd = -1, .job = job, .stream = 1};
    job->out[1] = (struct job_pipe){.source.fd = -1, .job = job, .stream = 2};
    batch->refs++;
    hd_map_put(&shim->jobs, key_of(id), job);
    list_add(&shim->waiting, job);
    struct hd_err err = {0};
    if (shim->jobs.n > SHIM_MAX_JOBS) {
        hd_err_set(&err, HD_LIMITED, "the shim holds %d jobs already", SHIM_MAX_JOBS);
        end_broken(job, &err, CAUSE(START_FAILED));
    } else if (shim->leave) {
        job->stop = STOP_CANCEL;
        end_stopped(job);
    }
}

// --- stopping --------------------------------------------------------------------------------------------------------

void job_stop(struct job *job, enum stop why) {
    struct shim *shim = job->shim;
    if (job->phase == PHASE_ENDED || (job->stop && job->stop != STOP_STEP))
        return;
    if (job->stop == STOP_STEP) { // it is being stopped already: only what comes of it changes
        job->stop = why;
        return;
    }
    job->stop = why;
    if (job->phase == PHASE_WAITING) {
        end_stopped(job);
        return;
    }
    pipes_resume(job);
    if (!job->pid)
        return;
    job_signal(job, SIGTERM);
    job->kill_ms = shim->now.mono_ms + (job->spec->grace_ms > 0 ? job->spec->grace_ms : 0);
}

void job_signal(struct job *job, int signal) {
    if (job->group)
        cgroup_signal(job, signal);
    else if (job->phase == PHASE_RUNNING)
        tree_signal(job->pid, signal);
    else
        (void)kill(-job->pid, signal); // it is unreaped: its group is still ours
}

static void kill_now(struct job *job) {
    job->killed = true;
    job->kill_ms = SHIM_NEVER;
    job_signal(job, SIGKILL);
}

// --- after the step's process ----------------------------------------------------------------------------------------

static void sweep(struct job *job) {
    if (job->phase != PHASE_DRAINING)
        return;
    job->phase = PHASE_SWEEPING;
    job->drain_ms = job->shim->now.mono_ms + FINISH_AGAIN_MS;
    pipe_close(&job->out[0]);
    pipe_close(&job->out[1]);
    if (!job->group || !cgroup_empty(job))
        job_signal(job, SIGKILL);
    job->finishing = true;
    job->next_finishing = job->shim->finishing;
    job->shim->finishing = job;
}

void job_drained(struct job *job) {
    if (job->phase == PHASE_DRAINING && job->out[0].source.fd < 0 && job->out[1].source.fd < 0)
        sweep(job);
}

void job_exited(struct job *job) {
    job->phase = PHASE_DRAINING;
    job->kill_ms = SHIM_NEVER;
    job->step_deadline_ms = SHIM_NEVER;
    job->killed = false;
    job->drain_ms = job->shim->now.mono_ms + SHIM_LINGER_MS;
    pipes_resume(job);
    for (unsigned i = 0; i < 2; i++)
        if (job->out[i].source.fd >= 0)
            pipe_read(&job->out[i], 4);
    job_drained(job);
}

void job_usage(struct job *job, const struct rusage *usage) {
    job->user_us += usage->ru_utime.tv_sec * INT64_C(1000000) + usage->ru_utime.tv_usec;
    job->system_us += usage->ru_stime.tv_sec * INT64_C(1000000) + usage->ru_stime.tv_usec;
    if (usage->ru_maxrss * INT64_C(1024) > job->max_rss_bytes)
        job->max_rss_bytes = usage->ru_maxrss * INT64_C(1024);
}

static void say_oom(struct job *job) {
    HD_AUTO_BUF struct hd_buf text = {0};
    hd_buf_adds(&text, "ended by the kernel for using more than its limit of ");
    hd_resource_format(HD_MEMORY_BYTES, job->spec->resources ? job->spec->resources->memory_bytes : 0, &text);
    hd_buf_adds(&text, " (resources.memory)");
    say(job, text.data);
    spool_say(job, "%s", text.data);
}

// The first step that fails, and may not, decides how the job ends; those after it run where their condition says so.
static void step_failed(struct job *job, int status) {
    char text[64];
    bool late = job->stop == STOP_STEP, oom = cgroup_oom(job);
    if (job->failed)
        return;
    job->failed = true;
    job->exit_code = !late && WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    job->signal = !late && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    job->state = late ? STATE(TIMED_OUT) : STATE(FAILED);
    job->cause = late ? CAUSE(TIMEOUT) : oom ? CAUSE(OOM) : job->signal ? CAUSE(SIGNAL) : CAUSE(EXIT_CODE);
    if (oom && !late) {
        say_oom(job);
        return;
    }
    snprintf(text, sizeof(text), job->signal ? "ended by signal %d" : "ended with exit code %d",
             job->signal ? job->signal : job->exit_code);
    if (!late) // else its message says so
        say(job, text);
}

static void step_over(struct job *job, int status) {
    const Hodei__V1__Step *step = job->spec->steps[job->step];
    bool failed = job->stop == STOP_STEP || !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    struct hd_err err = {0};
    if (failed && !step->continue_on_error)
        step_failed(job, status);
    job->stop = STOP_NONE;
    if (names_step_over(job, step, failed ? "failure" : "success", &err) != HD_OK && !job->failed) {
        hd_err_wrap(&err, "step %zu", job->step + 1);
        end_broken(job, &err, CAUSE(OUTPUTS));
        return;
    }
    job->step++;
    next_step(job);
}

// After the sweep: the step's own end decides what comes next.
void job_finish(struct job *job) {
    struct shim *shim = job->shim;
    if (!job->reaped) {
        struct rusage usage = {0};
        hd_map_remove(&shim->pids, (uint64_t)job->pid);
        while (wait4(job->pid, &job->status, 0, &usage) < 0 && errno == EINTR)
            ;
        job_usage(job, &usage);
    }
    job->pid = 0;
    job->drain_ms = SHIM_NEVER;
    if (job->stop && job->stop != STOP_STEP)
        end_stopped(job);
    else
        step_over(job, job->status);
}

// --- deadlines -------------------------------------------------------------------------------------------------------

static void time_out(struct job *job, int64_t timeout_ms, const char *what, enum stop stop) {
    char text[128];
    snprintf(text, sizeof(text), "%s ran longer than its timeout of %" PRId64 ".%03" PRId64 " s", what,
             timeout_ms / 1000, timeout_ms % 1000);
    say(job, text);
    spool_say(job, "%s", text);
    job->step_deadline_ms = SHIM_NEVER;
    if (stop == STOP_TIMEOUT)
        job->deadline_ms = SHIM_NEVER;
    job_stop(job, stop);
}

static void drain_over(struct job *job) {
    if (job->phase == PHASE_SWEEPING) { // the next sweep looks again
        job->drain_ms = job->shim->now.mono_ms + FINISH_AGAIN_MS;
        return;
    }
    if (job->killed) { // what left the group holds the pipes
        sweep(job);
        return;
    }
    job->killed = true;
    job->drain_ms = job->shim->now.mono_ms + SHIM_DRAIN_MS;
    job_signal(job, SIGKILL);
}

// What may not run beside a successor: without a lease somebody else may be started in its place.
static bool fenced(const struct shim *shim, const struct job *job) {
    return job->spec && job->spec->exclusive && shim->lease_until_ms && shim->now.mono_ms >= shim->lease_until_ms &&
           job->stop != STOP_FENCE;
}

static void fence(struct job *job) {
    say(job, "the lease of the worker ran out: it is killed, since its concurrency group lets nobody overlap");
    spool_say(job, "%s", job->message);
    job->stop = STOP_NONE; // whatever it was
    job_stop(job, STOP_FENCE);
    if (job->pid)
        kill_now(job);
}

void job_overran(struct job *job) {
    char text[128];
    if (job->stop == STOP_PROCESSES || !job->pid)
        return;
    snprintf(text, sizeof(text), "it had %" PRId64 " processes at once, and may have fewer than %" PRId64,
             job->processes, job->shim->host.processes_max);
    if (!job->stop || job->stop == STOP_STEP) {
        say(job, text);
        spool_say(job, "%s", text);
        job->stop = STOP_PROCESSES;
    }
    pipes_resume(job);
    kill_now(job); // what forks without end has no use for a grace
}

void shim_deadlines(struct shim *shim) {
    int64_t now = shim->now.mono_ms;
    for (struct job *job = shim->active.head, *next; job; job = next) {
        next = job->next;
        if (fenced(shim, job)) {
            fence(job);
            continue;
        }
        if (now >= job->step_deadline_ms && job->phase == PHASE_RUNNING)
            time_out(job, job->spec->steps[job->step]->timeout_ms, "the step", STOP_STEP);
        else if (now >= job->deadline_ms)
            time_out(job, job->spec->timeout_ms, "the job", STOP_TIMEOUT);
        if (now >= job->kill_ms && job->phase == PHASE_RUNNING)
            kill_now(job);
        if (now >= job->drain_ms && (job->phase == PHASE_DRAINING || job->phase == PHASE_SWEEPING))
            drain_over(job);
    }
}

int64_t shim_next_deadline(struct shim *shim) {
    int64_t due = SHIM_NEVER;
    for (const struct job *job = shim->active.head; job; job = job->next) {
        const int64_t kill_ms = job->phase == PHASE_RUNNING ? job->kill_ms : SHIM_NEVER;
        const int64_t times[] = {job->deadline_ms, job->step_deadline_ms, kill_ms, job->drain_ms};
        for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++)
            due = times[i] < due ? times[i] : due;
        if (shim->host.processes_max && shim->look_ms < due)
            due = shim->look_ms;
        if (job->spec && job->spec->exclusive && shim->lease_until_ms && job->stop != STOP_FENCE &&
            shim->lease_until_ms < due)
            due = shim->lease_until_ms;
    }
    return due;
}
