// The tables of the service, where tests link them too.
#include "auth/migrations.h"
#include "hodei/v1/auth.pb-c.h"
#include "services/auth/auth.h"

static const struct hd_setting settings[] = {
    {"admin-token", HD_SET_TEXT, NULL, "token of the first administrator; put into the table at start, as its hash",
     .secret = true},
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
};
// clang-format on

static const struct hd_timer timers[] = {
    {"seed", 60 * 60 * 1000, auth_seed},
    {"purge", 10 * 1000, auth_purge},
};

#define N(table) (sizeof(table) / sizeof((table)[0]))

const struct hd_service_def auth_def = {
    .name = "auth",
    .about = "knows which token stands for whom, who may do what, and what was done",
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
