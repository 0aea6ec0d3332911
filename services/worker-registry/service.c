// The tables of the service, where tests link them too.
#include "hodei/v1/flow.pb-c.h"
#include "services/worker-registry/registry.h"
#include "worker-registry/migrations.h"

#define MSG(name) &hodei__v1__##name##__descriptor
#define SECOND_MS 1000
#define HOUR_MS (60 * 60 * 1000)

static const struct hd_setting settings[] = {
    {"join-token", HD_SET_TEXT, NULL, "token that lets workers join", .secret = true},
    {"heartbeat", HD_SET_DURATION, "5s", "how often workers beat", .min = 100, .max = HOUR_MS},
    {"lease-ttl", HD_SET_DURATION, "15s", "how long a heartbeat lets a worker start work", .min = 200,
     .max = 24 * HOUR_MS},
    {"lease-margin", HD_SET_DURATION, "5s", "a worker is lost so long after its lease", .min = 100, .max = HOUR_MS},
    {"lost-percent-max", HD_SET_INT, "30", "when more workers than that would be lost at once, none is", .min = 1,
     .max = 100},
    {"forget-after", HD_SET_DURATION, "24h", "a lost worker is listed that long", .min = SECOND_MS,
     .max = 8760LL * HOUR_MS},
};

static const struct hd_rpc rpcs[] = {
    {"Join", MSG(join_request), MSG(join_reply), registry_join},
    {"Heartbeat", MSG(heartbeat_request), MSG(heartbeat_reply), registry_heartbeat},
    {"ListWorkers", MSG(list_workers_request), MSG(list_workers_reply), registry_list},
    {"GetWorker", MSG(get_worker_request), MSG(worker), registry_get},
    {"Cordon", MSG(steer_worker_request), MSG(worker), registry_cordon},
    {"Drain", MSG(steer_worker_request), MSG(worker), registry_drain},
    {"Uncordon", MSG(steer_worker_request), MSG(worker), registry_uncordon},
    {"GetFleet", MSG(get_fleet_request), MSG(fleet), registry_get_fleet},
};

static const struct hd_answer answers[] = {
    [REG_A_RECONCILE] = {"Reconcile", MSG(empty), registry_reconciled},
    [REG_A_LOST] = {"SessionsLost", MSG(empty), registry_lost_told},
};

static const struct hd_timer timers[] = {
    {"sweep", SECOND_MS, registry_sweep},
    {"streams", SECOND_MS, registry_streams},
    {"tell_lost", SECOND_MS, registry_tell_lost},
    {"forget", HOUR_MS, registry_forget},
};

#define N(table) (sizeof(table) / sizeof((table)[0]))

const struct hd_service_def registry_def = {
    .name = "worker-registry",
    .about = "knows the workers and which of them are there",
    .settings = settings,
    .n_settings = N(settings),
    .rpcs = rpcs,
    .n_rpcs = N(rpcs),
    .answers = answers,
    .n_answers = N(answers),
    .timers = timers,
    .n_timers = N(timers),
    .metrics = registry_metrics,
    .n_metrics = REG_M_COUNT,
    .sql = registry_sql,
    .n_sql = REGISTRY_SQL_COUNT,
    .migrations = hd_embedded_migrations,
    .n_migrations = N(hd_embedded_migrations),
    .init = registry_init,
    .release = registry_release,
    .after_commit = registry_after_commit,
};
