#include "services/api-gateway/routes.h"

#include "base/buf.h"
#include "base/pb.h"
#include "hodei/v1/auth.pb-c.h"
#include "hodei/v1/common.pb-c.h"
#include "hodei/v1/log.pb-c.h"
#include "hodei/v1/pipeline.pb-c.h"
#include "hodei/v1/quota.pb-c.h"
#include "hodei/v1/run.pb-c.h"
#include "hodei/v1/worker.pb-c.h"

#define MSG(name) &hodei__v1__##name##__descriptor

#define STEER(path, rpc, permission, success)                                                                          \
    { "POST", path, MSG(steer_request), MSG(steer_reply), "orchestrator", rpc, permission, success, BODY_OPTIONAL }

#define STEER_WORKER(command, rpc)                                                                                     \
    {                                                                                                                  \
        "POST", "/v1/workers/{name}:" command, MSG(steer_worker_request), MSG(worker), "worker-registry", rpc,         \
            "worker.write", 200, BODY_OPTIONAL                                                                         \
    }

#define AUTH(method, path, request, reply, rpc, permission, success, body)                                             \
    { method, path, MSG(request), MSG(reply), "auth", rpc, permission, success, body }

#define TENANT(verb, rpc)                                                                                              \
    {                                                                                                                  \
        "POST", "/v1/tenants/{name}:" verb, MSG(steer_tenant_request), MSG(tenant), "auth", rpc, "tenant.write", 200,  \
            BODY_OPTIONAL, .platform = true                                                                            \
    }

// clang-format off
const struct route gateway_routes[] = {
    {"GET", "/openapi.json", MSG(empty), MSG(empty), NULL, "GetDescription", NULL, 200, .open = true},
    {"POST", "/v1/pipelines", MSG(apply_pipeline_request), MSG(apply_pipeline_reply), "pipelines", "ApplyPipeline",
     "pipeline.write", 200, BODY_PIPELINE},
    {"POST", "/v1/pipelines:validate", MSG(apply_pipeline_request), MSG(apply_pipeline_reply), "pipelines", "ApplyPipeline",
     "pipeline.read", 200, BODY_PIPELINE, .dry_run = true, .id = "ValidatePipeline"},
    {"POST", "/v1/pipelines:render", MSG(render_pipeline_request), MSG(pipeline_plan), "pipelines", "RenderPipeline",
     "pipeline.read", 200, BODY_PIPELINE},
    {"GET", "/v1/pipelines:schema", MSG(empty), MSG(get_pipeline_schema_reply), "pipelines", "GetPipelineSchema", NULL, 200,
     .verbatim = "schema", .open = true},
    {"GET", "/v1/pipelines", MSG(list_pipelines_request), MSG(list_pipelines_reply), "pipelines", "ListPipelines",
     "pipeline.read", 200},
    {"GET", "/v1/pipelines/{name}", MSG(get_pipeline_request), MSG(pipeline), "pipelines", "GetPipeline", "pipeline.read", 200},
    {"DELETE", "/v1/pipelines/{name}", MSG(delete_pipeline_request), MSG(empty), "pipelines", "DeletePipeline",
     "pipeline.write", 204},
    {"GET", "/v1/pipelines/{name}/versions", MSG(list_pipeline_versions_request), MSG(list_pipeline_versions_reply), "pipelines",
     "ListPipelineVersions", "pipeline.read", 200},
    {"GET", "/v1/pipelines/{name}/diff", MSG(diff_pipeline_request), MSG(diff_pipeline_reply), "pipelines", "DiffPipeline",
     "pipeline.read", 200},
    {"GET", "/v1/schedules", MSG(list_schedules_request), MSG(list_schedules_reply), "pipelines", "ListSchedules", "pipeline.read", 200},
    {"POST", "/v1/schedules/{id}:pause", MSG(pause_schedule_request), MSG(schedule), "pipelines", "PauseSchedule",
     "pipeline.write", 200},
    {"POST", "/v1/schedules/{id}:resume", MSG(resume_schedule_request), MSG(schedule), "pipelines", "ResumeSchedule",
     "pipeline.write", 200},
    {"POST", "/v1/runs", MSG(start_run_request), MSG(start_run_reply), "orchestrator", "StartRun", "run.start", 201, BODY_JSON},
    {"GET", "/v1/runs", MSG(list_runs_request), MSG(list_runs_reply), "orchestrator", "ListRuns", "run.read", 200},
    {"GET", "/v1/runs/{id}", MSG(get_run_request), MSG(run), "orchestrator", "GetRun", "run.read", 200, .waits_on = "etag"},
    {"GET", "/v1/runs/{run}/jobs", MSG(list_jobs_request), MSG(list_jobs_reply), "orchestrator", "ListJobs", "run.read", 200},
    {"GET", "/v1/runs/{run}/jobs/{job}:explain", MSG(explain_job_request), MSG(explain_job_reply), "orchestrator", "ExplainJob",
     "run.read", 200},
    {"POST", "/v1/runs/{id}:cancel", MSG(cancel_run_request), MSG(cancel_run_reply), "orchestrator", "CancelRun",
     "run.cancel", 200, BODY_OPTIONAL},
    STEER("/v1/runs/{run}:pause", "PauseRun", "run.steer", 200),
    STEER("/v1/runs/{run}:resume", "ResumeRun", "run.steer", 200),
    STEER("/v1/runs/{run}:rerun", "RerunRun", "run.start", 201),
    STEER("/v1/runs/{run}:prioritize", "SetRunPriority", "run.steer", 200),
    STEER("/v1/runs/{run}/jobs/{job}:cancel", "CancelJob", "run.cancel", 200),
    STEER("/v1/runs/{run}/jobs/{job}:retry", "RetryJob", "run.steer", 200),
    STEER("/v1/runs/{run}/jobs/{job}:mark-done", "MarkJobDone", "run.steer", 200),
    STEER("/v1/runs/{run}/jobs/{job}:skip", "SkipJob", "run.steer", 200),
    STEER("/v1/runs/{run}/jobs/{job}:approve", "ApproveJob", "run.approve", 200),
    STEER("/v1/runs/{run}/jobs/{job}:reject", "RejectJob", "run.approve", 200),
    {"GET", "/v1/runs/{run}/logs", MSG(read_log_request), MSG(read_log_reply), "observability", "ReadLog", "log.read", 200,
     .waits_on = "cursor", .text = true, .of_run = true},
    {"GET", "/v1/workers", MSG(list_workers_request), MSG(list_workers_reply), "worker-registry", "ListWorkers",
     "worker.read", 200},
    {"GET", "/v1/workers/{name}", MSG(get_worker_request), MSG(worker), "worker-registry", "GetWorker", "worker.read", 200,
     .waits_on = "etag"},
    STEER_WORKER("cordon", "Cordon"),
    STEER_WORKER("drain", "Drain"),
    STEER_WORKER("uncordon", "Uncordon"),
    {"GET", "/v1/quota", MSG(get_quota_request), MSG(quota), "quota", "GetQuota", "quota.read", 200},
    {"PUT", "/v1/quota", MSG(set_quota_request), MSG(quota), "quota", "SetQuota", "quota.write", 200, BODY_JSON},
    {"GET", "/v1/projects/{project}/quota", MSG(get_quota_request), MSG(quota), "quota", "GetQuota", "quota.read", 200,
     .id = "GetProjectQuota"},
    {"PUT", "/v1/projects/{project}/quota", MSG(set_quota_request), MSG(quota), "quota", "SetQuota", "project.write", 200, BODY_JSON,
     .id = "SetProjectQuota"},
    {"GET", "/v1/stats/jobs", MSG(job_stats_request), MSG(job_stats_reply), "observability", "JobStats", "run.read", 200},
    {"GET", "/v1/whoami", MSG(who_am_irequest), MSG(who_am_ireply), "auth", "WhoAmI", NULL, 200},
    // who may do what
    {"GET", "/v1/permissions", MSG(list_permissions_request), MSG(list_permissions_reply), "auth", "ListPermissions", NULL, 200,
     .open = true},
    AUTH("GET", "/v1/roles", list_roles_request, list_roles_reply, "ListRoles", "role.read", 200, BODY_NONE),
    AUTH("PUT", "/v1/roles/{name}", put_role_request, role, "PutRole", "role.write", 200, BODY_JSON),
    AUTH("DELETE", "/v1/roles/{name}", delete_role_request, empty, "DeleteRole", "role.write", 204, BODY_NONE),
    AUTH("GET", "/v1/bindings", list_bindings_request, list_bindings_reply, "ListBindings", "role.read", 200, BODY_NONE),
    AUTH("POST", "/v1/bindings", put_binding_request, binding, "PutBinding", "role.write", 200, BODY_JSON),
    AUTH("DELETE", "/v1/bindings/{id}", delete_binding_request, empty, "DeleteBinding", "role.write", 204, BODY_NONE),
    AUTH("GET", "/v1/groups", list_groups_request, list_groups_reply, "ListGroups", "role.read", 200, BODY_NONE),
    AUTH("POST", "/v1/groups/{group}:add", change_group_request, empty, "AddGroupMember", "role.write", 204, BODY_JSON),
    AUTH("POST", "/v1/groups/{group}:remove", change_group_request, empty, "RemoveGroupMember", "role.write", 204, BODY_JSON),
    AUTH("GET", "/v1/service-accounts", list_service_accounts_request, list_service_accounts_reply, "ListServiceAccounts",
         "token.read", 200, BODY_NONE),
    AUTH("PUT", "/v1/service-accounts/{name}", put_service_account_request, service_account, "PutServiceAccount", "token.write", 200,
         BODY_OPTIONAL),
    AUTH("DELETE", "/v1/service-accounts/{name}", delete_service_account_request, empty, "DeleteServiceAccount", "token.write", 204,
         BODY_NONE),
    AUTH("GET", "/v1/tokens", list_tokens_request, list_tokens_reply, "ListTokens", "token.read", 200, BODY_NONE),
    AUTH("POST", "/v1/tokens", create_token_request, create_token_reply, "CreateToken", "token.write", 201, BODY_JSON),
    AUTH("POST", "/v1/tokens/{id}:rotate", rotate_token_request, create_token_reply, "RotateToken", "token.write", 201,
         BODY_OPTIONAL),
    AUTH("DELETE", "/v1/tokens/{id}", revoke_token_request, empty, "RevokeToken", "token.write", 204, BODY_NONE),
    AUTH("GET", "/v1/audit", list_audit_request, list_audit_reply, "ListAudit", "audit.read", 200, BODY_NONE),
    {"GET", "/v1/tenants", MSG(list_tenants_request), MSG(list_tenants_reply), "auth", "ListTenants", "tenant.read", 200,
     .platform = true},
    {"POST", "/v1/tenants", MSG(create_tenant_request), MSG(tenant), "auth", "CreateTenant", "tenant.write", 200, BODY_JSON,
     .platform = true},
    TENANT("suspend", "SuspendTenant"),
    TENANT("resume", "ResumeTenant"),
    TENANT("delete", "DeleteTenant"),
    TENANT("undelete", "UndeleteTenant"),
    // Users, sessions, keys of access tokens.
    {"GET", "/.well-known/jwks.json", MSG(get_jwks_request), MSG(get_jwks_reply), "auth", "GetJwks", NULL, 200,
     .verbatim = "jwks", .open = true},
    {"GET", "/v1/auth/keys", MSG(list_signing_keys_request), MSG(list_signing_keys_reply), "auth", "ListSigningKeys",
     "key.read", 200},
    {"POST", "/v1/auth/keys:rotate", MSG(rotate_signing_key_request), MSG(list_signing_keys_reply), "auth",
     "RotateSigningKey", "key.write", 200, BODY_OPTIONAL},
    {"POST", "/v1/login", MSG(login_request), MSG(token_reply), "auth", "Login", NULL, 200, BODY_JSON, .open = true},
    {"POST", "/v1/refresh", MSG(refresh_request), MSG(token_reply), "auth", "Refresh", NULL, 200, BODY_JSON, .open = true},
    {"POST", "/v1/logout", MSG(logout_request), MSG(empty), "auth", "Logout", NULL, 204, BODY_JSON, .open = true},
    {"GET", "/v1/sessions", MSG(empty), MSG(list_sessions_reply), "auth", "ListSessions", NULL, 200},
    {"DELETE", "/v1/sessions/{id}", MSG(end_session_request), MSG(empty), "auth", "EndSession", NULL, 204},
    {"POST", "/v1/users", MSG(create_user_request), MSG(user), "auth", "CreateUser", "user.write", 201, BODY_JSON},
    {"GET", "/v1/users", MSG(list_users_request), MSG(list_users_reply), "auth", "ListUsers", "user.read", 200},
    {"GET", "/v1/users/{name}", MSG(get_user_request), MSG(user), "auth", "GetUser", "user.read", 200},
    {"DELETE", "/v1/users/{name}", MSG(delete_user_request), MSG(empty), "auth", "DeleteUser", "user.write", 204},
    {"POST", "/v1/users/{name}:disable", MSG(steer_user_request), MSG(user), "auth", "DisableUser", "user.write", 200,
     BODY_OPTIONAL},
    {"POST", "/v1/users/{name}:enable", MSG(steer_user_request), MSG(user), "auth", "EnableUser", "user.write", 200,
     BODY_OPTIONAL},
    {"POST", "/v1/users/{name}:set-password", MSG(set_password_request), MSG(user), "auth", "SetPassword", "user.write",
     200, BODY_JSON},
    {"GET", "/v1/users/{user}/sessions", MSG(list_sessions_request), MSG(list_sessions_reply), "auth", "ListSessions",
     "user.read", 200, .id = "ListUserSessions"},
    {"DELETE", "/v1/users/{user}/sessions", MSG(end_sessions_request), MSG(empty), "auth", "EndSessions", "user.write",
     204},
};
// clang-format on
const size_t gateway_routes_len = sizeof(gateway_routes) / sizeof(gateway_routes[0]);

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// Percent-decodes into the arena; refuses broken escapes, NUL and what is not UTF-8.
static enum hd_status decode(struct hd_arena *arena, struct hd_str raw, bool plus_is_space, struct hd_err *err,
                             const char **ret) {
    char *out = hd_arena_alloc(arena, raw.len + 1);
    size_t n = 0;

    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.ptr[i];
        if (c == '%') {
            int hi = i + 1 < raw.len ? hex_digit(raw.ptr[i + 1]) : -1;
            int lo = i + 2 < raw.len ? hex_digit(raw.ptr[i + 2]) : -1;
            if (hi < 0 || lo < 0 || (hi == 0 && lo == 0))
                return hd_err_set(err, HD_INVALID, "the address has a bad percent escape in \"%.*s\"", (int)raw.len,
                                  raw.ptr);
            c = (char)(hi * 16 + lo);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        out[n++] = c;
    }
    out[n] = '\0';
    if (!hd_utf8_valid(out, n))
        return hd_err_set(err, HD_INVALID, "the address is not UTF-8");
    *ret = out;
    return HD_OK;
}

struct raw_match {
    struct hd_str names[ROUTE_PARAMS_MAX], values[ROUTE_PARAMS_MAX];
    size_t n;
};

static bool pattern_match(const char *pattern, const char *path, struct raw_match *ret) {
    ret->n = 0;
    while (*pattern) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        size_t name = strcspn(pattern, "}"), value = strcspn(path, "/:");
        if (value == 0 || ret->n == ROUTE_PARAMS_MAX)
            return false;
        ret->names[ret->n] = (struct hd_str){pattern + 1, name - 1};
        ret->values[ret->n++] = (struct hd_str){path, value};
        pattern += name + 1;
        path += value;
    }
    return *path == '\0';
}

static enum hd_status match_fill(struct hd_arena *arena, const struct route *route, const struct raw_match *raw,
                                 struct hd_err *err, struct route_match *ret) {
    struct route_match match = {.route = route, .n_params = raw->n};

    for (size_t i = 0; i < raw->n; i++) {
        match.params[i].field = hd_arena_strndup(arena, raw->names[i].ptr, raw->names[i].len);
        HD_TRY(decode(arena, raw->values[i], false, err, &match.params[i].value));
    }
    *ret = match;
    return HD_OK;
}

void route_missing(const char *path, struct hd_err *err) {
    hd_err_set(err, HD_MISSING, "there is nothing at %.200s", path);
    hd_err_hint(err, "addresses begin with /v1/, for example /v1/runs");
}

enum hd_status route_find(struct hd_arena *arena, const char *method, const char *path, struct hd_err *err,
                          struct route_match *ret, const char **ret_allow) {
    const char *allow = NULL;

    for (size_t i = 0; i < gateway_routes_len; i++) {
        const struct route *route = &gateway_routes[i];
        struct raw_match raw;
        if (!pattern_match(route->path, path, &raw))
            continue;
        if (hd_streq(route->method, method))
            return match_fill(arena, route, &raw, err, ret);
        allow = allow ? hd_arena_printf(arena, "%s, %s", allow, route->method) : route->method;
    }
    if (!allow) {
        route_missing(path, err);
        return HD_MISSING;
    }
    *ret_allow = allow;
    hd_err_set(err, HD_PRECONDITION, "%.20s is not possible at %.200s", method, path);
    hd_err_hint(err, "use %s", allow);
    return HD_PRECONDITION;
}

enum hd_status query_parse(struct hd_arena *arena, const char *text, struct hd_err *err, struct query *ret) {
    struct query query = {.n = 0};

    for (const char *p = text ? text : ""; *p;) {
        size_t len = strcspn(p, "&"), name = 0;
        while (name < len && p[name] != '=')
            name++;
        if (len > 0) {
            struct query_param *param = &query.params[query.n];
            if (query.n == QUERY_PARAMS_MAX)
                return hd_err_set(err, HD_INVALID, "more than %d query parameters", QUERY_PARAMS_MAX);
            HD_TRY(decode(arena, (struct hd_str){p, name}, true, err, &param->name));
            size_t skip = name < len ? name + 1 : name;
            HD_TRY(decode(arena, (struct hd_str){p + skip, len - skip}, true, err, &param->value));
            for (size_t i = 0; i < query.n; i++)
                if (hd_streq(query.params[i].name, param->name)) {
                    hd_err_set(err, HD_INVALID, "query parameter \"%.60s\" is given twice", param->name);
                    hd_err_field(err, "%.100s", param->name);
                    return HD_INVALID;
                }
            query.n++;
        }
        p += len + (p[len] == '&');
    }
    *ret = query;
    return HD_OK;
}

const char *query_take(struct query *query, const char *name) {
    for (size_t i = 0; i < query->n; i++)
        if (hd_streq(query->params[i].name, name)) {
            const char *value = query->params[i].value;
            query->params[i] = query->params[--query->n];
            return value;
        }
    return NULL;
}

static bool is_json(const struct route *route) {
    return route->body == BODY_JSON || route->body == BODY_OPTIONAL;
}

static bool in_path(const struct route_match *match, const char *field) {
    for (size_t i = 0; i < match->n_params; i++)
        if (hd_streq(match->params[i].field, field))
            return true;
    return false;
}

static enum hd_status unknown_param(struct hd_arena *arena, const struct route_match *match, const char *name,
                                    struct hd_err *err) {
    const ProtobufCMessageDescriptor *desc = match->route->request;
    const char *known = match->route->text ? "format" : NULL;

    for (unsigned i = 0; i < desc->n_fields && !is_json(match->route); i++)
        if (!in_path(match, desc->fields[i].name) && !hd_streq(desc->fields[i].name, "source"))
            known = known ? hd_arena_printf(arena, "%s, %s", known, desc->fields[i].name) : desc->fields[i].name;
    hd_err_set(err, HD_INVALID, "unknown query parameter \"%.60s\"", name);
    hd_err_field(err, "%.100s", name);
    if (known)
        hd_err_hint(err, "known here: %s", known);
    else
        hd_err_hint(err, "there are none here%s", is_json(match->route) ? ": put it into the body" : "");
    return HD_INVALID;
}

enum hd_status route_fill(struct hd_arena *arena, const struct route_match *match, const struct query *query,
                          ProtobufCMessage *msg, struct hd_err *err) {
    for (size_t i = 0; i < query->n; i++) {
        const char *name = query->params[i].name;
        if (is_json(match->route) || in_path(match, name) || hd_streq(name, "source"))
            return unknown_param(arena, match, name, err);
        enum hd_status status = hd_pb_set_text(arena, msg, name, query->params[i].value, err);
        if (status == HD_MISSING)
            return unknown_param(arena, match, name, err);
        HD_TRY(status);
    }
    for (size_t i = 0; i < match->n_params; i++)
        HD_TRY(hd_pb_set_text(arena, msg, match->params[i].field, match->params[i].value, err));
    return HD_OK;
}
