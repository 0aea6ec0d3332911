// The tables of the service, where tests link them too.
#include "auth/migrations.h"
#include "hodei/v1/auth.pb-c.h"
#include "services/auth/auth.h"

static const struct hd_setting settings[] = {
    {"admin-token", HD_SET_TEXT, NULL, "token of the first administrator; put into the table at start, as its hash",
     .secret = true},
    {"key-encryption-key", HD_SET_TEXT, NULL,
     "seals the private keys of access tokens in the database: 32 bytes in base64url; empty: they lie there open",
     .secret = true},
    {"key-rotation", HD_SET_DURATION, "720h", "a new key for access tokens after this time; 0: by hand only", .min = 0,
     .max = INT64_C(10) * 365 * 24 * 3600 * 1000},
    {"password-threads", HD_SET_INT, "2", "passwords checked at once; each takes 32 MiB and a processor", .min = 1,
     .max = 16},
    {"session-ttl", HD_SET_DURATION, "720h", "a session that is not refreshed for so long ends", .min = 60000,
     .max = INT64_C(10) * 365 * 24 * 3600 * 1000},
};

static const struct hd_rpc rpcs[] = {
    {"Authenticate", &hodei__v1__authenticate_request__descriptor, &hodei__v1__authenticate_reply__descriptor,
     auth_authenticate},
    {"WhoAmI", &hodei__v1__who_am_irequest__descriptor, &hodei__v1__who_am_ireply__descriptor, auth_who_am_i},
    {"GetJwks", &hodei__v1__get_jwks_request__descriptor, &hodei__v1__get_jwks_reply__descriptor, auth_get_jwks},
    {"ListSigningKeys", &hodei__v1__list_signing_keys_request__descriptor,
     &hodei__v1__list_signing_keys_reply__descriptor, auth_list_signing_keys},
    {"RotateSigningKey", &hodei__v1__rotate_signing_key_request__descriptor,
     &hodei__v1__list_signing_keys_reply__descriptor, auth_rotate_signing_key},
    {"CreateUser", &hodei__v1__create_user_request__descriptor, &hodei__v1__user__descriptor, auth_create_user},
    {"GetUser", &hodei__v1__get_user_request__descriptor, &hodei__v1__user__descriptor, auth_get_user},
    {"ListUsers", &hodei__v1__list_users_request__descriptor, &hodei__v1__list_users_reply__descriptor,
     auth_list_users},
    {"DisableUser", &hodei__v1__steer_user_request__descriptor, &hodei__v1__user__descriptor, auth_disable_user},
    {"EnableUser", &hodei__v1__steer_user_request__descriptor, &hodei__v1__user__descriptor, auth_enable_user},
    {"SetPassword", &hodei__v1__set_password_request__descriptor, &hodei__v1__user__descriptor, auth_set_password},
    {"DeleteUser", &hodei__v1__delete_user_request__descriptor, &hodei__v1__empty__descriptor, auth_delete_user},
    {"Login", &hodei__v1__login_request__descriptor, &hodei__v1__token_reply__descriptor, auth_login},
    {"Refresh", &hodei__v1__refresh_request__descriptor, &hodei__v1__token_reply__descriptor, auth_refresh},
    {"Logout", &hodei__v1__logout_request__descriptor, &hodei__v1__empty__descriptor, auth_logout},
    {"ListSessions", &hodei__v1__list_sessions_request__descriptor, &hodei__v1__list_sessions_reply__descriptor,
     auth_list_sessions},
    {"EndSession", &hodei__v1__end_session_request__descriptor, &hodei__v1__empty__descriptor, auth_end_session},
    {"EndSessions", &hodei__v1__end_sessions_request__descriptor, &hodei__v1__empty__descriptor, auth_end_sessions},
};

static const struct hd_timer timers[] = {
    {"seed", 60 * 60 * 1000, auth_seed},
    {"keys", 60 * 1000, auth_tend_keys},
    {"sweep", 10 * 60 * 1000, auth_sweep},
    {"derived", 60 * 60 * 1000, auth_derived},
};

static const struct hd_sql_table more_sql[] = {
    {auth_key_sql, AUTH_KEY_SQL_COUNT},
    {auth_user_sql, AUTH_USER_SQL_COUNT},
};

#define N(table) (sizeof(table) / sizeof((table)[0]))

const struct hd_service_def auth_def = {
    .name = "auth",
    .about = "users, sessions and tokens: who asks",
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
    .more_sql = more_sql,
    .n_more_sql = N(more_sql),
    .migrations = hd_embedded_migrations,
    .n_migrations = N(hd_embedded_migrations),
    .init = auth_init,
    .release = auth_release,
};
