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

#define RPC(method, request, reply, handle)                                                                            \
    { #method, &hodei__v1__##request##__descriptor, &hodei__v1__##reply##__descriptor, handle }

// clang-format off
static const struct hd_rpc rpcs[] = {
    RPC(Authenticate, authenticate_request, authenticate_reply, auth_authenticate),
    RPC(GetPolicyVersion, get_policy_version_request, get_policy_version_reply, auth_get_policy_version),
    RPC(RecordRefusals, record_refusals_request, empty, auth_record_refusals),
    RPC(WhoAmI, who_am_irequest, who_am_ireply, auth_who_am_i),
    RPC(ListPermissions, list_permissions_request, list_permissions_reply, auth_list_permissions),
    RPC(ListRoles, list_roles_request, list_roles_reply, auth_list_roles),
    RPC(PutRole, put_role_request, role, auth_put_role),
    RPC(DeleteRole, delete_role_request, empty, auth_delete_role),
    RPC(ListBindings, list_bindings_request, list_bindings_reply, auth_list_bindings),
    RPC(PutBinding, put_binding_request, binding, auth_put_binding),
    RPC(DeleteBinding, delete_binding_request, empty, auth_delete_binding),
    RPC(ListGroups, list_groups_request, list_groups_reply, auth_list_groups),
    RPC(AddGroupMember, change_group_request, empty, auth_change_group_add),
    RPC(RemoveGroupMember, change_group_request, empty, auth_change_group_remove),
    RPC(ListServiceAccounts, list_service_accounts_request, list_service_accounts_reply, auth_list_service_accounts),
    RPC(PutServiceAccount, put_service_account_request, service_account, auth_put_service_account),
    RPC(DeleteServiceAccount, delete_service_account_request, empty, auth_delete_service_account),
    RPC(ListTokens, list_tokens_request, list_tokens_reply, auth_list_tokens),
    RPC(CreateToken, create_token_request, create_token_reply, auth_create_token),
    RPC(RotateToken, rotate_token_request, create_token_reply, auth_rotate_token),
    RPC(RevokeToken, revoke_token_request, empty, auth_revoke_token),
    RPC(ListAudit, list_audit_request, list_audit_reply, auth_list_audit),
    RPC(ListTenants, list_tenants_request, list_tenants_reply, auth_list_tenants),
    RPC(CreateTenant, create_tenant_request, tenant, auth_create_tenant),
    RPC(SuspendTenant, steer_tenant_request, tenant, auth_suspend_tenant),
    RPC(ResumeTenant, steer_tenant_request, tenant, auth_resume_tenant),
    RPC(DeleteTenant, steer_tenant_request, tenant, auth_delete_tenant),
    RPC(UndeleteTenant, steer_tenant_request, tenant, auth_undelete_tenant),
    RPC(GetJwks, get_jwks_request, get_jwks_reply, auth_get_jwks),
    RPC(ListSigningKeys, list_signing_keys_request, list_signing_keys_reply, auth_list_signing_keys),
    RPC(RotateSigningKey, rotate_signing_key_request, list_signing_keys_reply, auth_rotate_signing_key),
    RPC(CreateUser, create_user_request, user, auth_create_user),
    RPC(GetUser, get_user_request, user, auth_get_user),
    RPC(ListUsers, list_users_request, list_users_reply, auth_list_users),
    RPC(DisableUser, steer_user_request, user, auth_disable_user),
    RPC(EnableUser, steer_user_request, user, auth_enable_user),
    RPC(SetPassword, set_password_request, user, auth_set_password),
    RPC(DeleteUser, delete_user_request, empty, auth_delete_user),
    RPC(Login, login_request, token_reply, auth_login),
    RPC(Refresh, refresh_request, token_reply, auth_refresh),
    RPC(Logout, logout_request, empty, auth_logout),
    RPC(ListSessions, list_sessions_request, list_sessions_reply, auth_list_sessions),
    RPC(EndSession, end_session_request, empty, auth_end_session),
    RPC(EndSessions, end_sessions_request, empty, auth_end_sessions),
};
// clang-format on

static const struct hd_timer timers[] = {
    {"seed", 60 * 60 * 1000, auth_seed},       {"purge", 10 * 1000, auth_purge},
    {"keys", 60 * 1000, auth_tend_keys},       {"sweep", 10 * 60 * 1000, auth_sweep},
    {"derived", 60 * 60 * 1000, auth_derived},
};

static const struct hd_sql_table more_sql[] = {
    {auth_key_sql, AUTH_KEY_SQL_COUNT},
    {auth_user_sql, AUTH_USER_SQL_COUNT},
};

#define N(table) (sizeof(table) / sizeof((table)[0]))

const struct hd_service_def auth_def = {
    .name = "auth",
    .about = "users, tokens, roles and tenants: who asks, and what he may",
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
