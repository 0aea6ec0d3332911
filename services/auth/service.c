// The tables of the service, where tests link them too.
#include "auth/migrations.h"
#include "hodei/v1/auth.pb-c.h"
#include "services/auth/auth.h"

static const struct hd_setting settings[] = {
    {"admin-token", HD_SET_TEXT, NULL, "token of the first administrator; put into the table at start, as its hash",
     .secret = true},
};

static const struct hd_rpc rpcs[] = {
    {"Authenticate", &hodei__v1__authenticate_request__descriptor, &hodei__v1__authenticate_reply__descriptor,
     auth_authenticate},
    {"WhoAmI", &hodei__v1__who_am_irequest__descriptor, &hodei__v1__who_am_ireply__descriptor, auth_who_am_i},
};

static const struct hd_timer timers[] = {
    {"seed", 60 * 60 * 1000, auth_seed},
};

#define N(table) (sizeof(table) / sizeof((table)[0]))

const struct hd_service_def auth_def = {
    .name = "auth",
    .about = "knows which token stands for whom",
    .settings = settings,
    .n_settings = N(settings),
    .rpcs = rpcs,
    .n_rpcs = N(rpcs),
    .timers = timers,
    .n_timers = N(timers),
    .metrics = auth_metrics,
    .n_metrics = AUTH_METRIC_COUNT,
    .sql = auth_sql,
    .n_sql = AUTH_SQL_COUNT,
    .migrations = hd_embedded_migrations,
    .n_migrations = N(hd_embedded_migrations),
    .init = auth_init,
    .release = auth_release,
};
