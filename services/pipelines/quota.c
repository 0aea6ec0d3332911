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

enum hd_status pip_quota_check(struct hd_ctx *cx, struct hd_item *item, bool *ret) {
    struct pip_used used;
    HD_TRY(pip_store_used(cx, item->principal->tenant, &used));
    *ret = hd_quota_room(used.limit, used.pipelines) > 0;
    if (*ret)
        return HD_OK;
    hd_item_fail(item, HD_LIMITED, "the tenant has %" PRId64 " of its %" PRId64 " pipelines", used.pipelines,
                 used.limit);
    hd_err_field(&item->err, "quota.%s", hd_quota_field(HD_QUOTA_PIPELINES));
    hd_err_hint(&item->err, "delete one, or have pipelines of the quota raised (hodei quota set)");
    return HD_OK;
}

enum hd_status pip_quota_mark(struct hd_ctx *cx, const char *tenant) {
    struct pip_used used;
    HD_TRY(pip_store_used(cx, tenant, &used));
    uint32_t marks = hd_quota_mark(cx, tenant, HD_QUOTA_PIPELINES, used.limit, used.pipelines, used.marks);
    return marks == used.marks ? HD_OK : pip_store_put_marks(cx, tenant, marks);
}
