// How many pipelines a tenant may have: quota's grants, kept here and held where a pipeline is made.
#include <inttypes.h>

#include "service/holder.h"
#include "services/pipelines/pipelines.h"

enum hd_status pip_put_grants(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++) {
        struct hd_grants grants = hd_grants_read(cx, &items[i], HD_QUOTA_PIPELINES);
        if (grants.n)
            HD_TRY(pip_store_put_grants(cx, grants.tenants, grants.versions, grants.limits, grants.n));
    }
    return HD_OK;
}

enum hd_status pip_get_usage(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++) {
        struct pip_used used;
        if (!hd_of_service(&items[i]))
            continue;
        HD_TRY(pip_store_used(cx, ((const Hodei__V1__GetUsageRequest *)items[i].msg)->tenant, &used));
        hd_usage_fill(cx, &items[i], HD_QUOTA_PIPELINES, used.limit, used.pipelines, false);
    }
    return HD_OK;
}

// The tenant, and where it is not the default one the project.
static size_t owners(struct hd_arena *arena, const char *tenant, const char *project, const char *ret[2]) {
    ret[0] = tenant;
    ret[1] = hd_arena_printf(arena, "%s/%s", tenant, project);
    return hd_streq(project, HD_PROJECT_DEFAULT) ? 1 : 2;
}

enum hd_status pip_quota_check(struct hd_ctx *cx, struct hd_item *item, const char *project, bool *ret) {
    const char *names[2];
    size_t n = owners(cx->arena, item->principal->tenant, project, names);
    struct pip_used used;

    *ret = true;
    for (size_t i = 0; i < n && *ret; i++) {
        HD_TRY(pip_store_used(cx, names[i], &used));
        *ret = hd_quota_room(used.limit, used.pipelines) > 0;
        if (*ret)
            continue;
        hd_item_fail(item, HD_LIMITED, "the %s has %" PRId64 " of its %" PRId64 " pipelines",
                     i ? hd_arena_printf(cx->arena, "project %s", project) : "tenant", used.pipelines, used.limit);
        hd_err_field(&item->err, "quota.%s", hd_quota_field(HD_QUOTA_PIPELINES));
        hd_err_hint(&item->err, "delete one, or have pipelines of the quota raised (hodei quota set)");
    }
    return HD_OK;
}

enum hd_status pip_quota_mark(struct hd_ctx *cx, const char *tenant, const char *project) {
    const char *names[2];
    size_t n = owners(cx->arena, tenant, project, names);

    for (size_t i = 0; i < n; i++) {
        struct pip_used used;
        HD_TRY(pip_store_used(cx, names[i], &used));
        uint32_t marks = hd_quota_mark(cx, names[i], HD_QUOTA_PIPELINES, used.limit, used.pipelines, used.marks);
        if (marks != used.marks)
            HD_TRY(pip_store_put_marks(cx, names[i], marks));
    }
    return HD_OK;
}
