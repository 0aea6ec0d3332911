#include "service/holder.h"

#include "adapter/bus.h"
#include "base/names.h"

bool hd_of_service(struct hd_item *item) {
    if (!*item->principal->tenant && !*item->principal->subject)
        return true;
    hd_item_fail(item, HD_DENIED, "this is for services only");
    return false;
}

struct hd_grants hd_grants_read(struct hd_ctx *cx, struct hd_item *item, enum hd_quota_dim dim) {
    const Hodei__V1__PutGrantsRequest *request = (const Hodei__V1__PutGrantsRequest *)item->msg;
    size_t n = request->n_grants;
    struct hd_grants grants = {.tenants = HD_NEW_ARRAY(cx->arena, n, const char *),
                               .versions = HD_NEW_ARRAY(cx->arena, n, int64_t),
                               .limits = HD_NEW_ARRAY(cx->arena, n, int64_t)};

    if (!hd_of_service(item))
        return (struct hd_grants){0};
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__Grant *grant = request->grants[i];
        struct hd_quota limit = hd_quota_unlimited();
        hd_quota_read(&grant->base, &limit);
        if (!hd_quota_owner_valid(grant->tenant) || grant->version == 0 || grant->version > INT64_MAX ||
            limit.of[dim] < HD_QUOTA_UNLIMITED || limit.of[dim] > HD_QUOTA_MAX) {
            hd_item_fail(item, HD_INVALID, "grant of tenant %.100s: tenant, version or %s is not valid", grant->tenant,
                         hd_quota_field(dim));
            hd_err_field(&item->err, "grants[%zu]", i);
            return (struct hd_grants){0};
        }
        grants.tenants[i] = grant->tenant;
        grants.versions[i] = (int64_t)grant->version;
        grants.limits[i] = limit.of[dim];
    }
    grants.n = n;
    return grants;
}

void hd_usage_fill(struct hd_ctx *cx, struct hd_item *item, enum hd_quota_dim dim, int64_t limit, int64_t used,
                   bool full) {
    Hodei__V1__GetUsageReply *reply = (Hodei__V1__GetUsageReply *)item->reply;
    Hodei__V1__QuotaUsage *usage = (Hodei__V1__QuotaUsage *)hd_pb_new(cx->arena, &hodei__v1__quota_usage__descriptor);
    struct hd_quota limits = hd_quota_unlimited(), all = {{0}};
    char **name = HD_NEW_ARRAY(cx->arena, 1, char *);

    limits.of[dim] = limit;
    all.of[dim] = used;
    hd_quota_write(&all, &usage->base);
    uint32_t marks = hd_quota_marks(&limits, &all, 0) >> (2 * dim);
    name[0] = (char *)(uintptr_t)hd_quota_field(dim);
    if (marks & 2 || limit == 0 || full) {
        usage->reached = name;
        usage->n_reached = 1;
    } else if (marks & 1) {
        usage->near = name;
        usage->n_near = 1;
    }
    reply->tenant = hd_arena_strdup(cx->arena, ((const Hodei__V1__GetUsageRequest *)item->msg)->tenant);
    reply->usage = usage;
}

void hd_quota_tell(struct hd_ctx *cx, const char *tenant, const struct hd_quota *limit, const struct hd_quota *used,
                   uint32_t crossed) {
    Hodei__V1__QuotaCrossed event = HODEI__V1__QUOTA_CROSSED__INIT;

    event.marks = HD_NEW_ARRAY(cx->arena, 2 * HD_QUOTA_DIMS, Hodei__V1__QuotaMark *);
    for (unsigned i = 0; i < 2 * HD_QUOTA_DIMS; i++) {
        enum hd_quota_dim dim = (enum hd_quota_dim)(i / 2);
        if (!(crossed >> i & 1))
            continue;
        Hodei__V1__QuotaMark *mark = (Hodei__V1__QuotaMark *)hd_pb_new(cx->arena, &hodei__v1__quota_mark__descriptor);
        mark->limit = (char *)(uintptr_t)hd_quota_field(dim);
        mark->percent = i % 2 ? 100 : 80;
        mark->used = used->of[dim];
        mark->allowed = limit->of[dim];
        mark->at_ms = cx->now.wall_ms;
        event.marks[event.n_marks++] = mark;
    }
    if (event.n_marks == 0)
        return;
    size_t len = strcspn(tenant, "/");
    if (tenant[len])
        event.project = hd_arena_strdup(cx->arena, tenant + len + 1);
    tenant = hd_arena_strndup(cx->arena, tenant, len);
    hd_publish(cx, hd_subject_event(cx->arena, tenant, "quota", "crossed"), &event.base);
}

uint32_t hd_quota_mark(struct hd_ctx *cx, const char *tenant, enum hd_quota_dim dim, int64_t limit, int64_t used,
                       uint32_t before) {
    struct hd_quota limits = hd_quota_unlimited(), all = {{0}};

    limits.of[dim] = limit;
    all.of[dim] = used;
    uint32_t marks = hd_quota_marks(&limits, &all, before);
    hd_quota_tell(cx, tenant, &limits, &all, marks & ~before);
    return marks;
}
