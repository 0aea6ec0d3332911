// How many pipelines a tenant may have: quota's grants, kept here and held where a pipeline is made.
#include "base/quota.h"

#include <inttypes.h>

#include "base/names.h"
#include "hodei/v1/quota.pb-c.h"
#include "services/pipelines/pipelines.h"

// Grants come from a service, for no tenant in particular.
static bool of_service(struct hd_item *item) {
    if (!*item->principal->tenant && !*item->principal->subject)
        return true;
    hd_item_fail(item, HD_DENIED, "this is for services only");
    return false;
}

static bool grants_valid(struct hd_item *item) {
    const Hodei__V1__PutGrantsRequest *request = (const Hodei__V1__PutGrantsRequest *)item->msg;
    for (size_t i = 0; i < request->n_grants; i++) {
        const Hodei__V1__Grant *grant = request->grants[i];
        if (hd_token_valid(grant->tenant) && grant->version > 0 && grant->version <= INT64_MAX &&
            grant->pipelines >= 0 && grant->pipelines <= HD_QUOTA_MAX)
            continue;
        hd_item_fail(item, HD_INVALID, "grant of tenant %.100s: tenant, version or pipelines is not valid",
                     grant->tenant);
        hd_err_field(&item->err, "grants[%zu]", i);
        return false;
    }
    return true;
}

enum hd_status pip_put_grants(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__PutGrantsRequest *request = (const Hodei__V1__PutGrantsRequest *)items[i].msg;
        size_t count = request->n_grants;
        if (!of_service(&items[i]) || !grants_valid(&items[i]) || count == 0)
            continue;
        const char **tenants = HD_NEW_ARRAY(cx->arena, count, const char *);
        int64_t *versions = HD_NEW_ARRAY(cx->arena, count, int64_t), *limits = HD_NEW_ARRAY(cx->arena, count, int64_t);
        for (size_t k = 0; k < count; k++) {
            struct hd_quota limit = hd_quota_unlimited();
            hd_quota_read(&request->grants[k]->base, &limit);
            tenants[k] = request->grants[k]->tenant;
            versions[k] = (int64_t)request->grants[k]->version;
            limits[k] = limit.of[HD_QUOTA_PIPELINES];
        }
        HD_TRY(pip_store_put_grants(cx, tenants, versions, limits, count));
    }
    return HD_OK;
}

static Hodei__V1__QuotaUsage *usage_of(struct hd_ctx *cx, int64_t count, int64_t most) {
    struct hd_quota limit = hd_quota_unlimited(), used = {{0}};
    Hodei__V1__QuotaUsage *usage = (Hodei__V1__QuotaUsage *)hd_pb_new(cx->arena, &hodei__v1__quota_usage__descriptor);
    char **name = HD_NEW_ARRAY(cx->arena, 1, char *);
    limit.of[HD_QUOTA_PIPELINES] = most;
    used.of[HD_QUOTA_PIPELINES] = usage->pipelines = count;
    uint32_t marks = hd_quota_marks(&limit, &used, 0) >> (2 * HD_QUOTA_PIPELINES);
    name[0] = (char *)(uintptr_t)hd_quota_field(HD_QUOTA_PIPELINES);
    if (marks & 2 || most == 0) {
        usage->reached = name;
        usage->n_reached = 1;
    } else if (marks & 1) {
        usage->near = name;
        usage->n_near = 1;
    }
    return usage;
}

enum hd_status pip_get_usage(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++) {
        const char *tenant = ((const Hodei__V1__GetUsageRequest *)items[i].msg)->tenant;
        Hodei__V1__GetUsageReply *reply = (Hodei__V1__GetUsageReply *)items[i].reply;
        int64_t used, limit;
        if (!of_service(&items[i]))
            continue;
        HD_TRY(pip_store_used(cx, tenant, &used, &limit));
        reply->tenant = hd_arena_strdup(cx->arena, tenant);
        reply->usage = usage_of(cx, used, limit);
    }
    return HD_OK;
}

enum hd_status pip_quota_check(struct hd_ctx *cx, struct hd_item *item, bool *ret) {
    int64_t used, limit;
    HD_TRY(pip_store_used(cx, item->principal->tenant, &used, &limit));
    *ret = hd_quota_room(limit, used) > 0;
    if (*ret)
        return HD_OK;
    hd_item_fail(item, HD_LIMITED, "the tenant has %" PRId64 " of its %" PRId64 " pipelines", used, limit);
    hd_err_field(&item->err, "quota.%s", hd_quota_field(HD_QUOTA_PIPELINES));
    hd_err_hint(&item->err, "delete one, or have pipelines of the quota raised (hodei quota set)");
    return HD_OK;
}
