// Decisions over a working set: DAG advance, ends of attempts, skipping, admission. Pure: time and randomness are arguments.
//
// Each function changes states by machine.h alone and marks what it changed dirty. A refused event returns false and changes
// nothing, which is how messages that come twice, late or from the wrong session lose their effect.
#ifndef ORC_ADVANCE_H
#define ORC_ADVANCE_H

#include "services/orchestrator/ws.h"

#define ORC_MAX_LOSSES 3     // workers a job may lose before it fails
#define ORC_MAX_DEPTH 16     // runs in a row that were started by the end of another
#define ORC_MAX_ATTEMPTS 100 // so that a worker that refuses everything cannot go on for ever

// Where new offers get their key and time from.
struct orc_chance {
    int64_t now_ms;
    struct hd_rng *rng;
};

bool orc_job_change(struct orc_job *job, enum orc_job_event event, unsigned facts, struct orc_chance *chance);
bool orc_run_change(struct orc_run *run, enum orc_run_event event, unsigned facts, int64_t now_ms);
// Ends a run whose jobs have all ended.
void orc_run_settle(struct orc_run *run, int64_t now_ms);

// What a new run is counted by, from its plan: before it is inserted.
void orc_run_begin(struct orc_run *run, int64_t now_ms);
// The jobs of a new run from its plan, all WAITING: the wave decides which begin.
void orc_run_expand(struct orc_ws *ws, struct orc_run *run, struct orc_chance *chance);
// A READY job gets its attempt.
struct orc_attempt *orc_job_place(struct orc_ws *ws, struct orc_job *job, struct hd_uuid id, const char *worker,
                                  struct hd_uuid session, struct orc_chance *chance);

// What is known of an attempt: from its agent, or that it is lost.
struct orc_attempt_news {
    enum orc_attempt_event event;
    int64_t started_ms, ended_ms; // by the worker's clock, 0 where not known
    int32_t exit_code, signal;
    int cause;
    const char *message;
    int64_t user_ms, system_ms, max_rss_bytes;
    uint64_t log_frames;
    const char *outputs; // JSON, NULL: none
    int64_t incarnation; // of the worker's session, where it is back; 0: not known
};
// When it started and ended, for people: a worker's clock may be wrong by anything, so its times are shifted to lie between the assignment and
// when they were heard of; the time between the two stays. 0 where not known.
void orc_attempt_times(const struct orc_attempt *attempt, int64_t *ret_started_ms, int64_t *ret_ended_ms);
// Changes the attempt and its job; what follows for others is for the wave (graph.h).
bool orc_attempt_change(struct orc_ws *ws, struct orc_attempt *attempt, const struct orc_attempt_news *news,
                        struct orc_chance *chance);
// The event of an attempt that ended in this state; false for a state that no report may have.
bool orc_attempt_event_of(int state, enum orc_attempt_event *ret);

// Cancels a run's jobs, which must be loaded as far as they have not ended.
enum orc_cancel {
    ORC_CANCEL_FINALLY = 1, // those of finally too
    ORC_CANCEL_SPARES =
        2, // what has started and is not interruptible goes on: nobody asked, a later run takes its place
};
void orc_run_cancel(struct orc_ws *ws, struct orc_run *run, unsigned how, struct orc_chance *chance);
// It has started and says `interruptible: false`.
bool orc_job_spared(const struct orc_job *job);

// Somebody gives up a job that is held for a worker that is gone: its attempt is LOST, and the job does what the command says
// (ORC_JOB_RETRY, ORC_JOB_MARK). The attempt is in the working set. False: it is not held.
bool orc_job_give_up(struct orc_ws *ws, struct orc_job *job, enum orc_job_event event, const char *message,
                     struct orc_chance *chance);

// A job whose due_ms has come: a retry waits no longer, or it has waited too long to be started.
bool orc_job_due(struct orc_job *job, struct orc_chance *chance);

// A QUEUED job waits no longer for this.
void orc_job_release(struct orc_job *job, enum orc_hold hold, int64_t now_ms);

// retry.c
bool orc_retry_wanted(const Hodei__V1__Retry *retry, uint32_t done, const struct orc_attempt_news *news);
int64_t orc_retry_delay_ms(const Hodei__V1__Retry *retry, uint32_t done); // initial · factor^done, at most max
bool orc_failure_allowed(const Hodei__V1__CompiledJob *spec, int exit_code);

// By its name, among the jobs in the working set. NULL: none.
struct orc_job *orc_job_named(const struct orc_ws *ws, const struct orc_run *run, const char *name);
// "build", or "test.2" of a matrix.
const char *orc_job_name(struct hd_arena *arena, const struct orc_job *job);
static inline const Hodei__V1__CompiledJob *orc_job_spec(const struct orc_job *job) {
    return job->run->plan->jobs[job->spec];
}
// How many jobs are not of finally; they come first.
static inline size_t orc_plan_main(const Hodei__V1__CompiledPipeline *plan) {
    return plan->n_main ? plan->n_main : plan->n_jobs;
}
// A QUEUED job that waits for nothing but quota.
static inline bool orc_job_admissible(int state, uint32_t hold) {
    return state == HODEI__V1__JOB_STATE__JOB_STATE_QUEUED && hold == 0;
}

// admit.c. Takes what changed in the working set since its load into the tenant's counters.
void orc_tenant_count(const struct orc_ws *ws, struct orc_tenant *tenant, int64_t now_ms);
bool orc_tenant_touched(const struct orc_job *job);
// What of an attempt counts when it ends: how long it ran, by its worker, but no longer than it was ours.
int64_t orc_attempt_spent_ms(const struct orc_attempt *attempt, int64_t now_ms);
// A new day, or a new month, begins at 0.
void orc_tenant_turn(struct orc_tenant *tenant, int64_t now_ms);
struct hd_quota orc_job_asks(const struct orc_job *job);
// Whether a small job could be admitted.
bool orc_tenant_open(const struct orc_tenant *tenant);
// About how many could be admitted, at most `most`.
size_t orc_tenant_wanted(const struct orc_tenant *tenant, size_t most);
// QUEUED → READY as far as the grant of a tenant reaches, and those of its projects, whose rows are loaded: highest priority, then
// longest waiting, and nobody passes one of his project that does not fit yet; what is larger than the limit is put aside. Adjusts the counters.
size_t orc_tenant_admit(struct orc_ws *ws, struct orc_tenant *tenant, struct orc_chance *chance);
// What a tenant leaves of its concurrency limits, added to `spare`; and whether it waits for what is its own.
void orc_tenant_lend(const struct orc_tenant *tenant, struct hd_quota *spare, bool *waiting);
// The limits of a tenant that borrows what is spare.
struct hd_quota orc_tenant_borrow(const struct orc_tenant *tenant, const struct hd_quota *spare);
// Marks of limits that were crossed.
void orc_tenant_mark(struct orc_tenant *tenant, int64_t now_ms);
// Whether the limits let another run start, with what stands in the counters; adds it there. False: err says what is used up.
bool orc_start_allowed(struct hd_arena *arena, struct orc_tenant *tenant, const Hodei__V1__CompiledPipeline *plan,
                       int64_t now_ms, struct hd_err *err);
// The same for the counters as they are to be saved, under their lock: another replica may have been faster.
bool orc_tenant_within(struct hd_arena *arena, const struct orc_tenant *tenant, int64_t now_ms, struct hd_err *err);
// Whose limits keep it back: its project's where it has some that do, else the tenant's.
const struct orc_tenant *orc_quota_of(const struct orc_job *job, const struct orc_tenant *tenant,
                                      const struct orc_tenant *part);
// Why a job that waits for quota waits, as a sentence.
const char *orc_quota_why(struct hd_arena *arena, const struct orc_job *job, const struct orc_tenant *tenant);

// Everything that the code here relies on: indexes in range, edges known from both ends, no cycle, valid names.
enum hd_status orc_plan_check(struct hd_arena *arena, const Hodei__V1__CompiledPipeline *plan,
                              struct hd_err *err) HD_MUST_USE;

#endif
