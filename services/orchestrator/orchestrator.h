// The orchestrator: runs, jobs, attempts; admission, placement commits, results. It alone writes schema `orchestrator`.
//
// Reading order: machine (what may become what), ws (the rows of one transaction), advance (pure decisions over them), store (how
// rows come and go), handlers_*.c (load → decide → orc_finish), finish (settle, save, publish the difference).
//
// struct orchestrator holds nothing but its store and a cache of compiled versions, which never change: so replicas need not agree
// on anything, and a rollback has nothing to undo.
#ifndef ORC_ORCHESTRATOR_H
#define ORC_ORCHESTRATOR_H

#include "services/orchestrator/store.h"
#include "services/orchestrator/versions.h"

// What the scheduler said of a job lately: a few, for those who ask again.
#define ORC_VERDICTS 64
struct orc_verdict_kept {
    uint64_t key;
    int64_t at_mono_ms, estimate_ms;
    uint32_t position, queued;
    char reason[32], text[400];
};

struct orchestrator {
    const struct orc_store_ops *ops;
    void *store; // borrowed
    struct orc_versions versions;
    int64_t lease_ttl_ms;
    struct orc_verdict_kept verdicts[ORC_VERDICTS];
    size_t next_verdict;
    struct hd_service *service; // borrowed; NULL in tests: a kick is left to the timer
};

// For hd_service_main and, with orc_new's result as `self`, for hd_service_new.
extern const struct hd_service_def orc_def;
struct orchestrator *orc_new(const struct orc_store_ops *ops, void *store);
void orc_free(struct orchestrator *orc);

// Calls an operation of the store: ORC_DO(cx, orc, runs_load, ws, ids, n, true).
#define ORC_DO(cx, orc, op, ...) ((orc)->ops->op((cx), (orc)->store, __VA_ARGS__))

// Handlers, by file. Each takes struct orchestrator as self.
hd_handler orc_put_versions, orc_put_grants, orc_grants_answer; // handlers_defs.c
hd_handler orc_start_run;                                       // handlers_start.c
hd_handler orc_follow;                                          // handlers_follow.c
hd_handler orc_cancel_run;                                      // handlers_cancel.c
hd_handler orc_cancel_job, orc_retry_job, orc_mark_job_done, orc_skip_job, orc_approve_job, orc_reject_job,
    orc_pause_run, orc_resume_run, orc_set_run_priority, orc_rerun_run; // handlers_steer.c
hd_handler orc_get_run, orc_list_runs, orc_list_jobs;                   // handlers_read.c
hd_handler orc_explain_job, orc_verdicts_answer;                        // handlers_explain.c
hd_handler orc_lease_pool;                                              // handlers_pool.c
hd_handler orc_placed;                                                  // handlers_placed.c
hd_handler orc_reports;                                                 // handlers_reports.c
hd_handler orc_reconcile, orc_sessions_lost, orc_sweep;                 // handlers_workers.c

hd_handler orc_check_counters, orc_get_usage; // counters.c

enum orc_answer { ORC_ANSWER_GRANTS, ORC_ANSWER_VERDICTS };

enum orc_metric {
    ORC_M_RUNS_STARTED,
    ORC_M_RUNS_ENDED,
    ORC_M_JOBS_OFFERED,
    ORC_M_JOBS_PLACED,
    ORC_M_PLACEMENTS_STALE,
    ORC_M_JOBS_ENDED,
    ORC_M_REPORTS,
    ORC_M_REPORTS_STALE,
    ORC_M_ATTEMPTS_LOST,
    ORC_M_COUNTERS_CHECKED,
    ORC_M_COUNTERS_MENDED,
    ORC_M_STARTS_LIMITED,
    ORC_M_COUNT
};
// The tenant of a request, or NULL after failing the item.
const char *orc_item_tenant(struct hd_item *item);
// An id out of a request, or false after failing the item, naming the field.
bool orc_item_id(struct hd_item *item, const char *field, const char *text, struct hd_uuid *ret);
// The run, where it is in the working set and the principal may see it; else NULL after failing the item. What is out of somebody's
// part of the tenant is not there for him.
struct orc_run *orc_item_run(struct hd_item *item, const struct orc_ws *ws, struct hd_uuid id, const char *field);

// Runs the sweep in the next turn.
static inline void orc_kick(struct orchestrator *orc) {
    if (orc->service)
        hd_service_kick(orc->service, "sweep");
}

extern struct hd_metric orc_metrics[ORC_M_COUNT];
static inline void orc_count(enum orc_metric metric, int64_t n) {
    hd_metric_add(&orc_metrics[metric], n);
}

#endif
