// What follows from ends of jobs: in their matrix, for the jobs that need them, for the jobs of `finally`. Pure.
//
// A wave goes over the jobs of a working set that have ended and that nobody has been told of, and over those that wait for
// nothing any more. It says what it must see before it can go on: only what an ended job touches. The caller loads that and goes
// on, until nothing is wanted. So the order in which ends become known does not matter for what becomes of the jobs: each
// decides once, when all that it needs has ended.
#ifndef ORC_GRAPH_H
#define ORC_GRAPH_H

#include "services/orchestrator/advance.h"

struct orc_wave {
    struct orc_ws *ws;
    struct orc_chance *chance;
    struct orc_job **queue, **blocked;
    size_t head, n, cap, n_blocked, cap_blocked;
    // What it must see: jobs, with outputs where `outputs` says so.
    struct orc_job_ref *jobs, *outputs;
    size_t n_jobs, cap_jobs, n_outputs, cap_outputs;
};
void orc_wave_begin(struct orc_wave *wave, struct orc_ws *ws, struct orc_chance *chance);
// True: load `jobs` and `outputs`, and call it again.
bool orc_wave_run(struct orc_wave *wave);

// How an end counts for those that need it: one bit of NeedAccept; and the flags that it leaves on a job that accepts `accepts`.
uint32_t orc_end_mask(const struct orc_job *job);
// What the jobs before leave on those of finally, when the last of them has ended.
uint32_t orc_run_flags(const struct orc_run *run);
uint32_t orc_end_flags(const struct orc_job *ended, uint32_t accepts);

// decide.c: what a job whose needs have all ended becomes. Its needs are in the working set where its plan says that they are
// used (uses_needs), with their outputs.
enum orc_verdict { ORC_RUN_IT, ORC_SKIP_IT, ORC_BREAK_IT, ORC_EXPAND_IT };
enum orc_verdict orc_job_decide(struct orc_ws *ws, const struct orc_job *job, const struct hd_value **ret_matrix,
                                int *ret_cause, const char **ret_message);
// Names for expressions: inputs, run, needs, matrix.
const struct hd_value *orc_job_names(struct orc_ws *ws, const struct orc_job *job);
// The context of an assignment: the same as JSON; "" where the job does not use it.
const char *orc_job_context(struct orc_ws *ws, const struct orc_job *job);
// What expressions of this job see of others: jobs whose rows and outputs must be there. False: something is missing, and stands
// in the wave's lists.
bool orc_job_sees(struct orc_wave *wave, const struct orc_job *job);
// The labels that a worker must have; those of the plan where they hold no expressions. HD_INVALID: with the reason.
enum hd_status orc_job_labels(struct orc_ws *ws, const struct orc_job *job, struct hd_err *err,
                              Hodei__V1__Label ***ret) HD_MUST_USE;
// What a run is started with: the defaults and what the request gives, checked. HD_INVALID with the field.
enum hd_status orc_inputs(struct hd_arena *arena, const Hodei__V1__CompiledPipeline *plan,
                          const Hodei__V1__StartRunRequest *request, struct hd_err *err,
                          const struct hd_value **ret) HD_MUST_USE;

#endif
