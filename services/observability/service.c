// The tables of the service, where tests link them too.
#include "hodei/v1/common.pb-c.h"
#include "hodei/v1/quota.pb-c.h"
#include "hodei/v1/run.pb-c.h"
#include "observability/migrations.h"
#include "services/observability/observability.h"

#define MSG(name) &hodei__v1__##name##__descriptor
#define DAY_MS (INT64_C(24) * 60 * 60 * 1000)

static const struct hd_setting settings[] = {
    {"log-retention", HD_SET_DURATION, "720h", "logs are kept that long", .min = 1000, .max = 36500 * DAY_MS},
};

static const struct hd_rpc rpcs[] = {
    {"ReadLog", MSG(read_log_request), MSG(read_log_reply), obs_read_log},
    {"JobStats", MSG(job_stats_request), MSG(job_stats_reply), obs_job_stats},
    {"PutGrants", MSG(put_grants_request), MSG(empty), obs_put_grants},
    {"GetUsage", MSG(get_usage_request), MSG(get_usage_reply), obs_get_usage},
};

// A log message has up to 1 MiB, so few are asked for at once.
static const struct hd_feed feeds[] = {
    {"LOGS", "observability_logs", HD_SUBJECT_LOG ".>", MSG(log_chunks), obs_store_logs, 64},
    {"EVENTS", "observability_events", HD_SUBJECT_EVENT ".*.job.ended", MSG(jobs_ended), obs_count_jobs, 256},
};

static const struct hd_timer timers[] = {
    {"retention", 60 * 1000, obs_retention},
};

#define N(table) (sizeof(table) / sizeof((table)[0]))

const struct hd_service_def obs_def = {
    .name = "observability",
    .about = "stores what jobs write, and counts how they fare",
    .settings = settings,
    .n_settings = N(settings),
    .rpcs = rpcs,
    .n_rpcs = N(rpcs),
    .feeds = feeds,
    .n_feeds = N(feeds),
    .timers = timers,
    .n_timers = N(timers),
    .metrics = obs_metrics,
    .n_metrics = OBS_M_COUNT,
    .sql = obs_sql,
    .n_sql = OBS_SQL_COUNT,
    .migrations = hd_embedded_migrations,
    .n_migrations = N(hd_embedded_migrations),
    .init = obs_init,
    .release = obs_release,
};
