#include "services/orchestrator/orchestrator.h"

#include "base/names.h"
#include "hodei/v1/common.pb-c.h"
#include "hodei/v1/pipeline.pb-c.h"
#include "hodei/v1/quota.pb-c.h"
#include "hodei/v1/scheduler.pb-c.h"
#include "orchestrator/migrations.h"
#include "services/orchestrator/sql.h"

#define VERSIONS_BYTES (64u << 20)
#define LEASE_TTL_MS 3000

static const struct hd_setting settings[] = {
    {"lease-ttl", HD_SET_DURATION, "3s", "how long a scheduler leads a pool without renewing", .min = 500,
     .max = 60000},
    {"versions-bytes", HD_SET_INT, "67108864", "memory for compiled pipeline versions", .min = 1 << 20, .max = 1 << 30},
};

struct hd_metric orc_metrics[ORC_M_COUNT] = {
    [ORC_M_RUNS_STARTED] = {"hodei_orchestrator_runs_started_total", NULL, "Runs accepted.", HD_COUNTER},
    [ORC_M_RUNS_ENDED] = {"hodei_orchestrator_runs_ended_total", NULL, "Runs that have ended.", HD_COUNTER},
    [ORC_M_JOBS_OFFERED] = {"hodei_orchestrator_jobs_offered_total", NULL, "Times that a job became READY.",
                            HD_COUNTER},
    [ORC_M_JOBS_PLACED] = {"hodei_orchestrator_jobs_placed_total", NULL, "Attempts made.", HD_COUNTER},
    [ORC_M_PLACEMENTS_STALE] = {"hodei_orchestrator_placements_stale_total", NULL, "Placements refused.", HD_COUNTER},
    [ORC_M_JOBS_ENDED] = {"hodei_orchestrator_jobs_ended_total", NULL, "Jobs that have ended.", HD_COUNTER},
    [ORC_M_REPORTS] = {"hodei_orchestrator_reports_total", NULL, "Reports of agents.", HD_COUNTER},
    [ORC_M_REPORTS_STALE] = {"hodei_orchestrator_reports_stale_total", NULL, "Reports without effect.", HD_COUNTER},
    [ORC_M_ATTEMPTS_LOST] = {"hodei_orchestrator_attempts_lost_total", NULL, "Attempts that were lost.", HD_COUNTER},
    [ORC_M_COUNTERS_CHECKED] = {"hodei_orchestrator_counters_checked_total", NULL,
                                "Times that the counters of a tenant were compared with its jobs.", HD_COUNTER},
    [ORC_M_COUNTERS_MENDED] = {"hodei_orchestrator_counters_mended_total", NULL,
                               "Times that they were not what there is, and were mended.", HD_COUNTER},
    [ORC_M_STARTS_LIMITED] = {"hodei_orchestrator_starts_limited_total", NULL, "Starts refused by a quota.",
                              HD_COUNTER},
};

#define RPC(method, request, reply, handler)                                                                           \
    { #method, &hodei__v1__##request##__descriptor, &hodei__v1__##reply##__descriptor, handler }
// Those that keep to a principal's parts of the tenant.
#define PART(method, request, reply, handler)                                                                          \
    { #method, &hodei__v1__##request##__descriptor, &hodei__v1__##reply##__descriptor, handler, .narrow = true }
static const struct hd_rpc rpcs[] = {
    PART(StartRun, start_run_request, start_run_reply, orc_start_run),
    PART(GetRun, get_run_request, run, orc_get_run),
    PART(ListRuns, list_runs_request, list_runs_reply, orc_list_runs),
    PART(ListJobs, list_jobs_request, list_jobs_reply, orc_list_jobs),
    PART(CancelRun, cancel_run_request, cancel_run_reply, orc_cancel_run),
    PART(CancelJob, steer_request, steer_reply, orc_cancel_job),
    PART(RetryJob, steer_request, steer_reply, orc_retry_job),
    PART(MarkJobDone, steer_request, steer_reply, orc_mark_job_done),
    PART(SkipJob, steer_request, steer_reply, orc_skip_job),
    PART(ApproveJob, steer_request, steer_reply, orc_approve_job),
    PART(RejectJob, steer_request, steer_reply, orc_reject_job),
    PART(PauseRun, steer_request, steer_reply, orc_pause_run),
    PART(ResumeRun, steer_request, steer_reply, orc_resume_run),
    PART(SetRunPriority, steer_request, steer_reply, orc_set_run_priority),
    PART(RerunRun, steer_request, steer_reply, orc_rerun_run),
    PART(ExplainJob, explain_job_request, explain_job_reply, orc_explain_job),
    RPC(PutVersions, put_versions_request, empty, orc_put_versions),
    RPC(PutGrants, put_grants_request, empty, orc_put_grants),
    RPC(GetUsage, get_usage_request, get_usage_reply, orc_get_usage),
    RPC(LeasePool, lease_pool_request, lease_pool_reply, orc_lease_pool),
    RPC(Reconcile, reconcile_request, empty, orc_reconcile),
    RPC(SessionsLost, sessions_lost_request, empty, orc_sessions_lost),
};
static const struct hd_feed feeds[] = {
    {"FLOW", "orchestrator_placed", HD_SUBJECT_PLACED, &hodei__v1__placements__descriptor, orc_placed, 0},
    {"REPORTS", "orchestrator_reports", HD_SUBJECT_REPORT ".>", &hodei__v1__attempt_reports__descriptor, orc_reports,
     0},
};
static const struct hd_answer answers[] = {
    [ORC_ANSWER_GRANTS] = {"GetGrants", &hodei__v1__get_grants_reply__descriptor, orc_grants_answer},
    [ORC_ANSWER_VERDICTS] = {"ExplainJobs", &hodei__v1__explain_jobs_reply__descriptor, orc_verdicts_answer},
};
static const struct hd_timer timers[] = {
    {"sweep", 1000, orc_sweep},
    {"follow", 1000, orc_follow},
    {"counters", 60000, orc_check_counters},
};

struct orchestrator *orc_new(const struct orc_store_ops *ops, void *store) {
    struct orchestrator *orc = hd_calloc(1, sizeof *orc);
    *orc = (struct orchestrator){
        .ops = ops, .store = store, .versions.bound_bytes = VERSIONS_BYTES, .lease_ttl_ms = LEASE_TTL_MS};
    return orc;
}

void orc_free(struct orchestrator *orc) {
    if (!orc)
        return;
    orc_versions_release(&orc->versions);
    free(orc);
}

static enum hd_status init(struct hd_service *service, const struct hd_settings *values, void **ret_self,
                           struct hd_err *err) {
    (void)err;
    struct orchestrator *orc = orc_new(&orc_pg_store, NULL);
    orc->service = service;
    orc->lease_ttl_ms = hd_settings_int(values, "lease-ttl");
    orc->versions.bound_bytes = (size_t)hd_settings_int(values, "versions-bytes");
    *ret_self = orc;
    return HD_OK;
}

static void release(void *self) {
    orc_free(self);
}

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
const struct hd_service_def orc_def = {
    .name = "orchestrator",
    .about = "runs, jobs and attempts: decides what may start, commits where, and takes the results",
    .settings = settings,
    .n_settings = LEN(settings),
    .rpcs = rpcs,
    .n_rpcs = LEN(rpcs),
    .feeds = feeds,
    .n_feeds = LEN(feeds),
    .answers = answers,
    .n_answers = LEN(answers),
    .timers = timers,
    .n_timers = LEN(timers),
    .metrics = orc_metrics,
    .n_metrics = ORC_M_COUNT,
    .sql = orc_sql,
    .n_sql = ORC_SQL_COUNT,
    .migrations = hd_embedded_migrations,
    .n_migrations = LEN(hd_embedded_migrations),
    .init = init,
    .release = release,
};
