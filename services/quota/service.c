// The tables of the service, where tests link them too.
#include "hodei/v1/common.pb-c.h"
#include "quota/migrations.h"
#include "services/quota/quota.h"

#define MSG(name) &hodei__v1__##name##__descriptor

static const struct hd_setting settings[] = {
    {"default-concurrent-jobs", HD_SET_INT, "500", "jobs at once of a tenant for which nothing has been set", .min = 0,
     .max = QUOTA_JOBS_MAX},
};

static const struct hd_rpc rpcs[] = {
    {"GetQuota", MSG(get_quota_request), MSG(quota), quota_get},
    {"SetQuota", MSG(set_quota_request), MSG(quota), quota_set},
    {"GetGrants", MSG(get_grants_request), MSG(get_grants_reply), quota_get_grants},
};

static const struct hd_answer answers[] = {
    [QUOTA_A_PUSHED] = {"pushed", MSG(empty), quota_push_answered},
    [QUOTA_A_PUSHED_PIPELINES] = {"pushed-pipelines", MSG(empty), quota_push_pipelines_answered},
    [QUOTA_A_PUSHED_LOGS] = {"pushed-logs", MSG(empty), quota_push_logs_answered},
    [QUOTA_A_USAGE] = {"GetUsage", MSG(get_usage_reply), quota_usage_answered},
};

static const struct hd_timer timers[] = {
    {QUOTA_PUSH_TIMER, 1000, quota_push_due},
    {QUOTA_PUSH_PIPELINES_TIMER, 1000, quota_push_pipelines_due},
    {QUOTA_PUSH_LOGS_TIMER, 1000, quota_push_logs_due},
};

#define N(table) (sizeof(table) / sizeof((table)[0]))

const struct hd_service_def quota_def = {
    .name = "quota",
    .about = "keeps the limits of tenants and grants them to the orchestrator",
    .settings = settings,
    .n_settings = N(settings),
    .rpcs = rpcs,
    .n_rpcs = N(rpcs),
    .answers = answers,
    .n_answers = N(answers),
    .timers = timers,
    .n_timers = N(timers),
    .metrics = quota_metrics,
    .n_metrics = QUOTA_METRIC_COUNT,
    .sql = quota_sql,
    .n_sql = QUOTA_SQL_COUNT,
    .migrations = hd_embedded_migrations,
    .n_migrations = N(hd_embedded_migrations),
    .init = quota_init,
    .release = quota_release,
};
