// Schedules: the cron triggers of each pipeline's newest version, and the runs that they start.
//
// A row is worked on by whoever has it locked. The timer takes those that are due and not locked, so that each tick is taken by one
// replica; the question to the orchestrator leaves after the commit, with a tag that finds the row again when the answer
// comes. Whatever is lost, the row's again_ms comes, and somebody asks again with the same key. Lock order: after rows of
// `pipelines`, by id.
#ifndef HD_PIPELINES_SCHEDULES_H
#define HD_PIPELINES_SCHEDULES_H

#include "services/pipelines/pipelines.h"
#include "services/pipelines/tick.h"

// schedules.c
hd_handler pip_list_schedules;  // ListSchedules
hd_handler pip_pause_schedule;  // PauseSchedule
hd_handler pip_resume_schedule; // ResumeSchedule
// Schedules become those of a new version: what keeps its expression and zone keeps its row; a pause after refusals ends.
enum hd_status pip_schedules_apply(struct hd_ctx *cx, const char *tenant,
                                   const Hodei__V1__CompiledPipeline *pipeline) HD_MUST_USE;
enum hd_status pip_clock_read(struct hd_ctx *cx, const struct pip_schedule *schedule,
                              struct pip_clock *ret) HD_MUST_USE;

// ticks.c
hd_handler pip_ticks_due; // timer
hd_handler pip_looked;    // answer of orchestrator.GetRun
hd_handler pip_cancelled; // answer of orchestrator.CancelRun
hd_handler pip_started;   // answer of orchestrator.StartRun

// store.c; all lock what they return, but for the list.
enum hd_status pip_store_due(struct hd_ctx *cx, unsigned limit, struct pip_schedule **ret, size_t *ret_n) HD_MUST_USE;
enum hd_status pip_store_asked(struct hd_ctx *cx, const int64_t *tags, size_t n, struct pip_schedule **ret,
                               size_t *ret_n) HD_MUST_USE;
enum hd_status pip_store_schedules(struct hd_ctx *cx, const char *tenant, const char *pipeline,
                                   struct pip_schedule **ret, size_t *ret_n) HD_MUST_USE;
enum hd_status pip_store_schedule(struct hd_ctx *cx, const char *tenant, struct hd_uuid id, struct pip_schedule **ret,
                                  size_t *ret_n) HD_MUST_USE; // one or none
// After a pipeline and id; pipeline "" is every one.
enum hd_status pip_store_schedules_page(struct hd_ctx *cx, const Hodei__V1__Principal *who, const char *pipeline,
                                        const char *after, struct hd_uuid after_id, uint32_t limit,
                                        struct pip_schedule **ret, size_t *ret_n) HD_MUST_USE;
enum hd_status pip_store_put_schedules(struct hd_ctx *cx, const struct pip_schedule *schedules, size_t n) HD_MUST_USE;
enum hd_status pip_store_drop_schedules(struct hd_ctx *cx, const struct hd_uuid *ids, size_t n) HD_MUST_USE;

#endif
