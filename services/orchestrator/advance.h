// Decisions over a working set: DAG advance, ends of attempts, skipping, admission. Pure: time and randomness are arguments.
//
// Each function changes states by machine.h alone and marks what it changed dirty. A refused event returns false and changes
// nothing, which is how messages that come twice, late or from the wrong session lose their effect.
#ifndef ORC_ADVANCE_H
#define ORC_ADVANCE_H

#include "services/orchestrator/ws.h"

#define ORC_MAX_LOSSES 3     // workers a job may lose before it fails
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

// The jobs of a new run from its plan: those without needs are QUEUED.
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
};
// Changes the attempt and its job, and what waits for the job as far as that is loaded: its direct dependents must be.
bool orc_attempt_change(struct orc_ws *ws, struct orc_attempt *attempt, const struct orc_attempt_news *news,
                        struct orc_chance *chance);
// The event of an attempt that ended in this state; false for a state that no report may have.
bool orc_attempt_event_of(int state, enum orc_attempt_event *ret);

// Skipping goes on below what was skipped: all jobs that are reached from jobs newly SKIPPED and not loaded. Then, when they are
// loaded, orc_skip does the same to each of them that still waits. Two steps, however deep the graph.
void orc_skip_reach(const struct orc_ws *ws, struct orc_job_ref **ret, size_t *ret_n);
void orc_skip(struct orc_ws *ws, const struct orc_job_ref *refs, size_t n, struct orc_chance *chance);

// Cancels all of a run's jobs, which must be loaded as far as they have not ended.
void orc_run_cancel(struct orc_ws *ws, struct orc_run *run, struct orc_chance *chance);

// Takes what changed in the working set since its load into the tenant's counters.
void orc_tenant_count(const struct orc_ws *ws, struct orc_tenant *tenant);
bool orc_tenant_touched(const struct orc_job *job);
// QUEUED → READY as far as the grant reaches: highest priority, then longest waiting. Adjusts the counters.
size_t orc_tenant_admit(struct orc_ws *ws, struct orc_tenant *tenant, struct orc_chance *chance);

// Everything that the code here relies on: indexes in range, edges known from both ends, no cycle, valid names.
enum hd_status orc_plan_check(struct hd_arena *arena, const Hodei__V1__CompiledPipeline *plan,
                              struct hd_err *err) HD_MUST_USE;

#endif
