#include <inttypes.h>

#include "base/map.h"
#include "base/names.h"
#include "base/scope.h"
#include "services/quota/quota.h"

#define PUSH_TIMEOUT_MS 2000
#define PUSH_MAX 1000

struct hd_metric quota_metrics[QUOTA_METRIC_COUNT] = {
    [QUOTA_M_SET] = {"hodei_quota_set_total", NULL, "limits set by users", HD_COUNTER},
    [QUOTA_M_PUSHED] = {"hodei_quota_pushed_total", NULL, "grants that the orchestrator has confirmed", HD_COUNTER},
    [QUOTA_M_PUSH_FAILED] = {"hodei_quota_push_failed_total", NULL, "requests to the orchestrator that failed",
                             HD_COUNTER},
};

static bool tenant_given(struct hd_item *item) {
    if (hd_token_valid(item->principal->tenant))
        return true;
    hd_item_fail(item, HD_DENIED, "the request stands for no tenant");
    return false;
}

const char *quota_owner(struct hd_arena *arena, const struct hd_item *item) {
    const char *project = item->msg->descriptor == &hodei__v1__get_quota_request__descriptor
                              ? ((const Hodei__V1__GetQuotaRequest *)item->msg)->project
                              : ((const Hodei__V1__SetQuotaRequest *)item->msg)->project;
    const char *tenant = item->principal->tenant;

    return *project ? hd_arena_printf(arena, "%s/%s", tenant, project) : tenant;
}

// False, with the item failed, where it is no project that can have limits.
static bool project_valid(struct hd_item *item, const char *project) {
    if (!*project || (hd_token_valid(project) && !hd_streq(project, HD_PROJECT_DEFAULT)))
        return true;
    if (hd_token_valid(project))
        hd_item_fail(item, HD_INVALID, "the project \"%s\" has the limits of its tenant alone", project);
    else
        hd_item_fail(item, HD_INVALID, "\"%.80s\" is not a name for a project", project);
    hd_err_field(&item->err, "project");
    return false;
}

// What the tenant or project has, or the default that it would get, as version 0.
static enum hd_status fill(struct hd_ctx *cx, const struct quota *self, struct hd_item *item) {
    const char *const tenants[] = {quota_owner(cx->arena, item)};
    const char *slash = strchr(tenants[0], '/');
    Hodei__V1__Quota *reply = (Hodei__V1__Quota *)item->reply;
    struct quota_limit *limits;
    size_t n;

    struct hd_quota none = hd_quota_unlimited();
    none.of[HD_QUOTA_JOBS] = slash ? QUOTA_JOBS_MAX : self->default_jobs;
    HD_TRY(quota_store(cx)->get(cx, tenants, 1, &limits, &n));
    reply->tenant = hd_arena_strdup(cx->arena, item->principal->tenant);
    if (slash)
        reply->project = hd_arena_strdup(cx->arena, slash + 1);
    hd_quota_write(n ? &limits[0].limit : &none, &reply->base);
    reply->borrow = n && limits[0].borrow;
    reply->weight = n ? (uint32_t)limits[0].weight : 1;
    reply->version = n ? limits[0].version : 0;
    reply->enforced = n && limits[0].confirmed;
    return HD_OK;
}

enum hd_status quota_get(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (tenant_given(&items[i]) &&
            project_valid(&items[i], ((const Hodei__V1__GetQuotaRequest *)items[i].msg)->project) &&
            !quota_usage_fill(cx, self, &items[i]))
            HD_TRY(fill(cx, self, &items[i]));
    }
    return HD_OK;
}

static struct quota_limit limit_of(struct hd_arena *arena, const struct hd_item *item) {
    const Hodei__V1__SetQuotaRequest *request = (const Hodei__V1__SetQuotaRequest *)item->msg;
    struct quota_limit limit = {.tenant = quota_owner(arena, item),
                                .limit = hd_quota_unlimited(),
                                .weight = request->weight ? request->weight : 1,
                                .borrow = request->borrow};
    hd_quota_read(item->msg, &limit.limit);
    return limit;
}

// What only a tenant as a whole can have.
static bool project_limits_valid(struct hd_item *item) {
    const Hodei__V1__SetQuotaRequest *request = (const Hodei__V1__SetQuotaRequest *)item->msg;
    const char *field = request->borrow ? "borrow" : request->weight > 1 ? "weight" : NULL;

    if (request->log_bytes_day_limit_case)
        field = "log_bytes_day";
    if (!*request->project || !field)
        return true;
    hd_item_fail(item, HD_INVALID, "%s is of a tenant, and a project has none of its own", field);
    hd_err_field(&item->err, "%s", field);
    return false;
}

static bool limit_valid(struct hd_ctx *cx, struct hd_item *item) {
    if (!tenant_given(item) || !project_valid(item, ((const Hodei__V1__SetQuotaRequest *)item->msg)->project) ||
        !project_limits_valid(item))
        return false;
    struct quota_limit limit = limit_of(cx->arena, item);
    for (unsigned i = 0; i < HD_QUOTA_DIMS; i++) {
        const char *field = hd_quota_field((enum hd_quota_dim)i);
        int64_t most = i == HD_QUOTA_JOBS ? QUOTA_JOBS_MAX : HD_QUOTA_MAX;
        bool missing = i != HD_QUOTA_JOBS && limit.limit.of[i] == HD_QUOTA_UNLIMITED;
        if (missing || (limit.limit.of[i] >= 0 && limit.limit.of[i] <= most))
            continue;
        hd_item_fail(item, HD_INVALID, "%s must be from 0 to %" PRId64, field, most);
        hd_err_field(&item->err, "%s", field);
        if (i != HD_QUOTA_JOBS)
            hd_err_hint(&item->err, "leave it out for no limit");
        return false;
    }
    if (limit.weight <= QUOTA_WEIGHT_MAX)
        return true;
    hd_item_fail(item, HD_INVALID, "weight must be from 1 to %d", QUOTA_WEIGHT_MAX);
    hd_err_field(&item->err, "weight");
    return false;
}

static enum hd_status set_one(struct hd_ctx *cx, const struct quota *self, struct hd_item *item) {
    const struct quota_limit limit = limit_of(cx->arena, item);
    bool stale;
    HD_TRY(quota_store(cx)->set(cx, &limit, ((const Hodei__V1__SetQuotaRequest *)item->msg)->if_version, &stale));
    if (!stale)
        return fill(cx, self, item);
    hd_item_fail(item, HD_CONFLICT, "the limits have been changed since they were read");
    hd_err_field(&item->err, "if_version");
    hd_err_hint(&item->err, "read them again and decide anew");
    return HD_OK;
}

// By tenant and project, which is the order of locks, then in the order they came.
static int item_cmp(const void *a, const void *b) {
    const struct hd_item *x = *(struct hd_item *const *)a, *y = *(struct hd_item *const *)b;
    int cmp = strcmp(x->principal->tenant, y->principal->tenant);
    if (!cmp)
        cmp = strcmp(((const Hodei__V1__SetQuotaRequest *)x->msg)->project,
                     ((const Hodei__V1__SetQuotaRequest *)y->msg)->project);
    return cmp ? cmp : (x > y) - (x < y);
}

enum hd_status quota_set(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct hd_item **valid = HD_NEW_ARRAY(cx->arena, n, struct hd_item *);
    struct quota *quota = self;
    size_t n_valid = 0;

    for (size_t i = 0; i < n; i++) {
        if (limit_valid(cx, &items[i]))
            valid[n_valid++] = &items[i];
    }
    if (n_valid == 0)
        return HD_OK;
    qsort(valid, n_valid, sizeof(struct hd_item *), item_cmp);
    for (size_t i = 0; i < n_valid; i++)
        HD_TRY(set_one(cx, quota, valid[i]));
    hd_metric_add(&quota_metrics[QUOTA_M_SET], (int64_t)n_valid);
    hd_service_kick(quota->service, QUOTA_PUSH_TIMER);
    hd_service_kick(quota->service, QUOTA_PUSH_PIPELINES_TIMER);
    hd_service_kick(quota->service, QUOTA_PUSH_LOGS_TIMER);
    return HD_OK;
}

static Hodei__V1__Grant **grants_of(struct hd_arena *arena, const struct quota_limit *limits, size_t n) {
    Hodei__V1__Grant **grants = HD_NEW_ARRAY(arena, n, Hodei__V1__Grant *);
    for (size_t i = 0; i < n; i++) {
        grants[i] = (Hodei__V1__Grant *)hd_pb_new(arena, &hodei__v1__grant__descriptor);
        grants[i]->tenant = hd_arena_strdup(arena, limits[i].tenant);
        grants[i]->version = limits[i].version;
        grants[i]->borrow = limits[i].borrow;
        grants[i]->weight = (uint32_t)limits[i].weight;
        hd_quota_write(&limits[i].limit, &grants[i]->base);
    }
    return grants;
}

// Only the orchestrator asks this, for no tenant in particular.
static bool grants_request_valid(struct hd_item *item) {
    const Hodei__V1__GetGrantsRequest *request = (const Hodei__V1__GetGrantsRequest *)item->msg;

    if (*item->principal->tenant || *item->principal->subject) {
        hd_item_fail(item, HD_DENIED, "grants are given to services only");
        return false;
    }
    if (request->n_tenants > QUOTA_TENANTS_MAX) {
        hd_item_fail(item, HD_INVALID, "%zu tenants, more than %d", request->n_tenants, QUOTA_TENANTS_MAX);
        hd_err_field(&item->err, "tenants");
        return false;
    }
    for (size_t i = 0; i < request->n_tenants; i++) {
        if (!hd_token_valid(request->tenants[i])) {
            hd_item_fail(item, HD_INVALID, "\"%.100s\" is not the name of a tenant", request->tenants[i]);
            hd_err_field(&item->err, "tenants[%zu]", i);
            return false;
        }
    }
    return true;
}

enum hd_status quota_get_grants(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    const struct quota *quota = self;

    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__GetGrantsRequest *request = (const Hodei__V1__GetGrantsRequest *)items[i].msg;
        Hodei__V1__GetGrantsReply *reply = (Hodei__V1__GetGrantsReply *)items[i].reply;
        const char *const *tenants = (const char *const *)request->tenants;
        struct quota_limit *limits;

        if (!grants_request_valid(&items[i]))
            continue;
        HD_TRY(quota_store(cx)->make(cx, tenants, request->n_tenants, quota->default_jobs));
        HD_TRY(quota_store(cx)->get(cx, tenants, request->n_tenants, &limits, &reply->n_grants));
        reply->grants = grants_of(cx->arena, limits, reply->n_grants);
    }
    return HD_OK;
}

// --- pushing to those who enforce ----------------------------------------------------------------------------------------

static enum hd_status load(struct hd_ctx *cx, enum quota_holder holder, unsigned skip, unsigned limit,
                           struct hd_push_keys *ret_keys, const ProtobufCMessage **ret_request) {
    Hodei__V1__PutGrantsRequest *request =
        (Hodei__V1__PutGrantsRequest *)hd_pb_new(cx->arena, &hodei__v1__put_grants_request__descriptor);
    struct quota_limit *limits;
    size_t n;

    HD_TRY(quota_store(cx)->unconfirmed(cx, holder, skip, limit, &limits, &n));
    struct hd_push_keys keys = {
        .n = n, .tenants = HD_NEW_ARRAY(cx->arena, n, const char *), .versions = HD_NEW_ARRAY(cx->arena, n, int64_t)};
    for (size_t i = 0; i < n; i++) {
        keys.tenants[i] = limits[i].tenant;
        keys.versions[i] = (int64_t)limits[i].version;
    }
    request->grants = grants_of(cx->arena, limits, n);
    request->n_grants = n;
    *ret_keys = keys;
    *ret_request = &request->base;
    return HD_OK;
}

// The functions of one holder.
#define HOLDER(name, holder, due, answered)                                                                            \
    static enum hd_status load_##name(struct hd_ctx *cx, unsigned skip, unsigned limit, struct hd_push_keys *ret_keys, \
                                      const ProtobufCMessage **ret_request) {                                          \
        return load(cx, holder, skip, limit, ret_keys, ret_request);                                                   \
    }                                                                                                                  \
    static enum hd_status confirm_##name(struct hd_ctx *cx, const struct hd_push_keys *keys) {                         \
        return quota_store(cx)->confirm(cx, holder, keys);                                                             \
    }                                                                                                                  \
    enum hd_status due(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {                               \
        (void)items, (void)n;                                                                                          \
        return hd_push_due(cx, &((struct quota *)self)->push[holder]);                                                 \
    }                                                                                                                  \
    enum hd_status answered(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {                          \
        return hd_push_answered(cx, &((struct quota *)self)->push[holder], items, n);                                  \
    }
HOLDER(orchestrator, QUOTA_ORCHESTRATOR, quota_push_due, quota_push_answered)
HOLDER(pipelines, QUOTA_PIPELINES, quota_push_pipelines_due, quota_push_pipelines_answered)
HOLDER(logs, QUOTA_LOGS, quota_push_logs_due, quota_push_logs_answered)

#define PUSH(to, name, answers, on_timer)                                                                              \
    {                                                                                                                  \
        .service = (to), .method = "PutGrants", .answer = (answers), .timer = (on_timer),                              \
        .timeout_ms = PUSH_TIMEOUT_MS, .max = PUSH_MAX, .load = load_##name, .confirm = confirm_##name,                \
        .confirmed = &quota_metrics[QUOTA_M_PUSHED], .failed = &quota_metrics[QUOTA_M_PUSH_FAILED]                     \
    }
static const struct hd_push_def push_defs[QUOTA_HOLDERS] = {
    [QUOTA_ORCHESTRATOR] = PUSH("orchestrator", orchestrator, QUOTA_A_PUSHED, QUOTA_PUSH_TIMER),
    [QUOTA_PIPELINES] = PUSH("pipelines", pipelines, QUOTA_A_PUSHED_PIPELINES, QUOTA_PUSH_PIPELINES_TIMER),
    [QUOTA_LOGS] = PUSH("observability", logs, QUOTA_A_PUSHED_LOGS, QUOTA_PUSH_LOGS_TIMER),
};

struct quota *quota_new(int64_t default_jobs) {
    struct quota *self = hd_calloc(1, sizeof(*self));
    self->default_jobs = default_jobs;
    return self;
}

void quota_attach(struct quota *self, struct hd_service *service) {
    self->service = service;
    for (size_t i = 0; i < QUOTA_HOLDERS; i++)
        hd_push_init(&self->push[i], &push_defs[i], service);
}

enum hd_status quota_init(struct hd_service *service, const struct hd_settings *settings, void **ret_self,
                          struct hd_err *err) {
    (void)err;
    struct quota *self = quota_new(hd_settings_int(settings, "default-concurrent-jobs"));
    quota_attach(self, service);
    *ret_self = self;
    return HD_OK;
}

void quota_release(void *self) {
    if (self) {
        for (size_t i = 0; i < QUOTA_HOLDERS; i++)
            hd_push_release(&((struct quota *)self)->push[i]);
        quota_usage_release(self);
    }
    free(self);
}
