// The shim: the parent of a worker's jobs. One thread, one loop; it outlives the agent that started it.
//
// It spawns the steps of each job in order, keeps pipes, deadlines, spool files and exit statuses, and says what becomes of
// them to the one agent that is connected. All memory of a job is its struct; the job's specification lives in the arena of
// the message that brought it, shared by the jobs of that message and dropped at the end of the last of them.
//
//   WAITING → RUNNING ⇄ DRAINING → SWEEPING → ENDED → forgotten
//
// RUNNING: the step's process lives. DRAINING: it has ended, and its pipes are not at their end, nor is time up. SWEEPING:
// descendants that still live are killed. Then the next step, or the end.
//
// Which processes are a job's is exact where it has a control group. Where there is none, they are its process group and what
// left it and came to us, since we are their subreaper; then the step's process stays unreaped until the sweep, so that its
// process group stays ours.
#ifndef HD_AGENT_SHIM_SHIM_H
#define HD_AGENT_SHIM_SHIM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"
#include "base/uuid.h"
#include "base/value.h"
#include "hodei/v1/shim.pb-c.h"

#define SHIM_MAX_JOBS 8192           // records, ended ones included; their states fit into one hello
#define SHIM_FRAME_DATA (32u << 10)  // of one LogFrame
#define SHIM_SPOOL_AHEAD (16u << 20) // bytes of log that may wait for acknowledgement before a job is not read from
#define SHIM_LINGER_MS 250           // what outlives its step may write that long before it is killed
#define SHIM_DRAIN_MS 2000           // what left the group may hold the pipes that long after that
#define SHIM_IDLE_MS 60000           // with no agent and no job the shim ends
#define SHIM_LOOK_MS 100             // how often a growing number of processes is looked at
#define SHIM_FRESH_MAX 64   // workspaces, and control groups, that were left as they were made, for the next jobs
#define SHIM_FRESH_MS 1000  // without a job they go
#define SHIM_STUCK_ROUNDS 7 // after so many a group that cannot be removed no longer keeps the shim from ending
#define SHIM_NEVER INT64_MAX
#define SHIM_OUTPUTS_MAX (1 << 20) // bytes of a job's outputs
#define SHIM_STEP_VARIABLE "HODEI_STEP"
#define SHIM_OUTPUT_SUFFIX ".output" // HODEI_OUTPUT is this beside the workspace

// Something in the epoll set; the first member of what it stands for.
struct source {
    void (*ready)(struct source *source, uint32_t events);
    int fd; // -1: closed; late events are ignored
};

// In a spool file, before each frame's data. Written by the shim and read by the agent on the same machine.
struct spool_header {
    uint8_t stream;
    uint8_t zero[3];
    uint32_t len;
    int64_t at_ms;
};

enum phase { PHASE_WAITING, PHASE_RUNNING, PHASE_DRAINING, PHASE_SWEEPING, PHASE_ENDED };
enum stop {
    STOP_NONE,
    STOP_TIMEOUT,
    STOP_CANCEL,
    STOP_SPOOL,
    STOP_STEP, // the step took too long
    STOP_FENCE,
    STOP_PROCESSES // it has too many
};

// What the agent has told of the machine (ShimHost); owned.
struct shim_host {
    bool told;
    bool has_user; // jobs run as uid, gid, groups
    uid_t uid;
    gid_t gid;
    gid_t *groups;
    size_t n_groups;
    // Folders for control groups, "" where there are none: of version 2, and of controllers of version 1.
    char *tree, *memory, *cpu;
    bool tree_limits;      // the controllers memory, cpu and pids are in `tree`
    int64_t processes_max; // of one job; 0: any number
    Hodei__V1__ShimHost__Keep keep;
    unsigned kept_max;
};

struct spool_mark { // where a frame begins
    uint64_t frame, byte;
};
struct backlog {              // what of a job's log waits to be stored (bound.c)
    struct spool_mark *marks; // every SPOOL_PIECE, oldest at `first`: where it can be cut off
    size_t first, n, cap;
    uint64_t dropped_frame, dropped_byte; // everything below is gone, stored or not
    uint64_t counted;                     // bytes of it in shim->spools.bytes
};
struct spools {
    uint64_t bytes, max_bytes; // of all jobs; max 0: not told
    bool was_cut, paused;      // the lease was over; a pipe may be paused for the bound
    bool no_holes;             // the file system cannot give back a part of a file
};

struct batch { // the message that a job came with
    struct hd_arena arena;
    unsigned refs;
};

struct job_pipe {
    struct source source;
    struct job *job;
    uint8_t stream; // of LogFrame
    bool paused;
};

struct job_list {
    struct job *head, *tail;
};

// A control group of version 2, which holds the processes of one job at a time.
struct group {
    struct group *next; // in shim->groups
    char name[HD_UUID_TEXT + 8];
    int dir_fd, events_fd, stat_fd;
    bool killed;
    int64_t user_us, system_us; // what it had used before this job
};

struct job {
    struct shim *shim;
    struct job *next, *prev; // in shim->waiting or shim->active, by phase
    struct job *next_finishing;
    struct job *next_dirty;
    struct hd_uuid id;
    char attempt[HD_UUID_TEXT];
    struct batch *batch; // NULL once it has ended
    const Hodei__V1__ShimJob *spec;
    char *workspace, *spool;

    enum phase phase;
    bool dirty, finishing, forget, started;
    size_t step;
    pid_t pid; // of the step, 0: none; also its process group
    bool reaped;
    int status;          // once it is reaped
    struct group *group; // NULL: none
    unsigned groups_had;
    int64_t tree_user_us, tree_system_us; // that its groups have used
    char *memory, *cpu;                   // folders of its groups of version 1; NULL: none
    int64_t oom_kills;                    // in its group so far
    int64_t processes;                    // when they were counted last
    int64_t processes_peak;               // 0: not known
    struct job_pipe out[2];
    enum stop stop;
    bool killed;
    int64_t deadline_ms, step_deadline_ms, kill_ms, drain_ms; // monotonic; SHIM_NEVER: none

    int spool_fd;
    bool spooled; // there is a file
    uint64_t log_frames, log_bytes, acked_frame, acked_byte, punched_byte;
    struct backlog backlog;

    Hodei__V1__AttemptState state; // at the end
    Hodei__V1__Cause cause;
    int exit_code, signal;
    bool failed; // a step did: state, cause and the rest are of the first one
    char *message;
    struct names *names;         // NULL: it uses no expressions
    Hodei__V1__EnvVar **outputs; // at the end; in names
    size_t n_outputs;
    int64_t started_at_ms, ended_at_ms;
    int64_t user_us, system_us, max_rss_bytes;
};

struct agent_process {          // started by the shim as the first process of a container (init.c)
    char **argv, **env;         // argv NULL: an agent has started us; env owned
    pid_t pid;                  // 0: it does not run
    int64_t since_ms, again_ms; // monotonic: of its start, of the next
    unsigned failures;
    bool leaving; // it was told to, and is not started again
    int code;     // to end with
};

struct shim {
    struct source listener, signals, conn; // conn.fd -1: no agent
    int epoll_fd, null_fd;
    struct hd_buf in, out;
    bool conn_wants_out;
    struct hd_now now;
    struct hd_arena scratch; // of the turn
    struct hd_map jobs;      // by attempt
    struct hd_map pids;      // leaders of running and draining steps
    struct job_list waiting, active;
    struct job *finishing, *dirty; // lists, taken at the end of the turn
    struct job *dead;    // to free at the end of the turn, since its events may still be in the batch; by `next`
    struct hd_buf trash; // workspaces to remove, NUL-separated
    char *fresh[SHIM_FRESH_MAX];
    size_t n_fresh;
    int64_t busy_ms;      // monotonic: when a job was last there
    pid_t remover;        // process that removes the first of them; 0: none
    struct group *groups; // not in use
    unsigned n_groups;
    struct hd_buf stuck_groups;  // folders of groups that could not be removed yet, NUL-separated
    int64_t stuck_ms;            // when they are tried again
    unsigned stuck_rounds;       // in which one stayed
    int64_t look_ms, tasks_seen; // monotonic; tasks of the machine when processes were counted
    bool look_closely;           // a job was near its bound
    int64_t idle_since_ms;
    int64_t lease_until_ms; // monotonic, of the worker; 0: not told
    struct spools spools;
    uint64_t id; // random
    bool reap, shutdown;
    bool leave; // by a signal: ends with its last process, whoever still wants its results
    struct shim_host host;
    struct agent_process agent;
    const char *state;   // absolute path; borrowed
    struct rlimit files; // descriptors that jobs may have
    int nice;            // of jobs
    char *work, *kept;   // folders of workspaces, and of those that are kept, with a slash at the end
    uint8_t frame[sizeof(struct spool_header) + SHIM_FRAME_DATA];
    uint8_t child_stack[64u << 10] __attribute__((aligned(64)));
};

// shim.c: the loop.
enum hd_status shim_init(struct shim *shim, const char *dir, int listen_fd, struct hd_err *err) HD_MUST_USE;
void shim_release(struct shim *shim);
void shim_run(struct shim *shim);
void shim_stop_all(struct shim *shim); // it ends with its last job
enum hd_status shim_watch(struct shim *shim, struct source *source, int fd, uint32_t events) HD_MUST_USE;

// host.c: what it is told of the machine.
void host_take(struct shim *shim, const Hodei__V1__ShimHost *told);
void host_init(struct shim_host *host);
void host_release(struct shim_host *host);
// init.c: the agent, where it is ours to start.
enum hd_status init_listen(const char *state, struct hd_err *err, int *ret_fd) HD_MUST_USE;
void init_begin(struct shim *shim, char **argv); // argv borrowed, the program first
void init_release(struct shim *shim);
void init_tend(struct shim *shim);
bool init_reaped(struct shim *shim, pid_t pid, int status); // false: it was not the agent
bool init_signal(struct shim *shim, int signal);            // false: it is for us
int64_t init_due(const struct shim *shim);                  // monotonic

// wire.c: the agent's connection.
void wire_accept(struct source *source, uint32_t events);
void wire_ready(struct source *source, uint32_t events);
void wire_announce(struct shim *shim); // what changed, if an agent listens and has room
void wire_close(struct shim *shim);

// job.c: the life of a job.
struct job *shim_job(const struct shim *shim, const char *attempt);
void shim_take(struct shim *shim, struct batch *batch, const Hodei__V1__ShimJob *spec);
void shim_start_waiting(struct shim *shim, unsigned most);
void shim_deadlines(struct shim *shim);        // carries out what is due
int64_t shim_next_deadline(struct shim *shim); // monotonic
void job_stop(struct job *job, enum stop why);
void job_exited(struct job *job); // the step's process has ended
void job_usage(struct job *job, const struct rusage *usage);
void job_signal(struct job *job, int signal); // all its processes
void job_drained(struct job *job);            // a pipe came to its end
void job_finish(struct job *job);             // after the sweep
void job_overran(struct job *job);            // it has too many processes
void job_forget(struct job *job);
void job_dirty(struct job *job);

// child.c: from the clone to the exec.
struct child {
    char **argv, **envp;
    const char *program, *folder;
    int in, out, err;        // its standard descriptors
    int group_fd;            // it starts in this control group; -1: ours
    int procs_fd[2];         // cgroup.procs of version 1 that it enters; -1: none
    const struct shim *shim; // user, limits
    int64_t data_bytes;      // RLIMIT_DATA; 0: as ours
    int64_t processes;       // RLIMIT_NPROC: of all that the user has; 0: as ours
    int failed;              // errno of what did not work; 0: it runs
    const char *what;        // and what that was
};
// 0, or errno; child->what is set then.
int child_start(struct child *child, void *stack, size_t stack_size, pid_t *ret_pid);

// cgroup.c: control groups. Those of version 2 are used again where they carry no limits.
void cgroups_init(struct shim *shim);
void cgroups_release(struct shim *shim);
void cgroups_tidy(struct shim *shim);
enum hd_status cgroup_enter(struct job *job, struct hd_err *err) HD_MUST_USE; // at its start
enum hd_status cgroup_renew(struct job *job, struct hd_err *err) HD_MUST_USE; // before a step
void cgroup_leave(struct job *job);                                           // at its end; nothing lives in it
enum hd_status cgroup_procs(const struct job *job, int ret_fds[2], struct hd_err *err) HD_MUST_USE;
bool cgroup_empty(const struct job *job);
void cgroup_kill(const struct job *job);
void cgroup_signal(const struct job *job, int signal);
int64_t cgroup_count(const struct job *job); // processes; what the controller counts where there is one
void cgroup_usage(struct job *job);          // of what is in it now, added up
bool cgroup_oom(struct job *job);            // something was killed for memory since the last call

// spawn.c: why something cannot be started, by the errno of what was tried last.
Hodei__V1__Cause start_cause(void);
// One process; *ret_cause says why where it cannot be started.
enum hd_status step_spawn(struct job *job, const Hodei__V1__Step *step, Hodei__V1__Cause *ret_cause,
                          struct hd_err *err) HD_MUST_USE;

// names.c: expressions. `env` is a map of texts; errors are the definition's, or of what a step wrote.
const char *step_name(const struct job *job, const Hodei__V1__Step *step, struct hd_arena *arena); // its id or number
enum hd_status names_begin(struct job *job, struct hd_err *err) HD_MUST_USE;
void names_release(struct job *job);
enum hd_status names_env(struct job *job, const Hodei__V1__Step *step, struct hd_arena *arena,
                         const struct hd_value **ret, struct hd_err *err) HD_MUST_USE;
enum hd_status names_text(struct job *job, const struct hd_value *env, struct hd_arena *arena, const char *text,
                          const char **ret, struct hd_err *err) HD_MUST_USE;
enum hd_status names_condition(struct job *job, const Hodei__V1__Step *step, bool *ret, struct hd_err *err) HD_MUST_USE;
enum hd_status names_step_over(struct job *job, const Hodei__V1__Step *step, const char *result,
                               struct hd_err *err) HD_MUST_USE;
enum hd_status names_outputs(struct job *job, struct hd_err *err) HD_MUST_USE;

// spool.c: output.
void pipe_ready(struct source *source, uint32_t events);
bool pipe_read(struct job_pipe *pipe, unsigned frames); // true: more may be there
void pipes_resume(struct job *job);
void pipe_close(struct job_pipe *pipe);
enum hd_status spool_add(struct job *job, uint8_t stream, const void *data, size_t len) HD_MUST_USE;
void spool_say(struct job *job, const char *fmt, ...) HD_PRINTF(2, 3); // a line of the platform's own
void spool_acked(struct job *job, uint64_t frame, uint64_t byte);
void spool_close(struct job *job);

// bound.c: what the spools may take.
#define SPOOL_PIECE (1u << 20)               // is dropped, or given back to the disk, at once
bool spool_full(const struct job *job);      // nothing more is read from it for now
void spool_grew(struct job *job);            // after each frame
void spool_shrank(struct job *job);          // after an acknowledgement
void spool_forgotten(struct job *job);       // the record goes
void spools_tend(struct shim *shim);         // once a turn
int64_t spools_due(const struct shim *shim); // monotonic: when the lease ends, where that matters

// tree.c: processes that belong to a job.
void tree_signal(pid_t leader, int signal); // its group and all its descendants
void tree_reap(struct shim *shim);          // finds leaders that have ended, and reaps everybody else
void tree_sweep(struct shim *shim);         // ends the jobs in shim->finishing whose stray descendants are gone
void tree_kill_leftovers(const char *work); // of a shim that died: by the HODEI_WORKSPACE in their environment
int64_t tree_tasks(void);                   // of the whole machine; 0: not known
void tree_look(struct shim *shim);          // stops jobs with too many processes

// remove.c: workspaces.
enum hd_status workspace_make(const struct job *job, struct hd_err *err) HD_MUST_USE;
void workspaces_drop_fresh(struct shim *shim);
void workspace_drop(struct job *job); // keeps it or has it removed, by the rule
bool remove_some(const char *path, unsigned entries,
                 int64_t file_max); // true: there is more to remove. Never follows links.
int remove_all(const char *path);   // a process of its own; its exit code
void trash_add(struct shim *shim, const char *path);
void trash_some(struct shim *shim);
bool trash_reap(struct shim *shim, pid_t pid, int status); // false: it was not the remover

#endif
