// Definitions and limits that flow down: compiled versions from pipelines, grants from quota.
#include "base/names.h"
#include "hodei/v1/pipeline.pb-c.h"
#include "hodei/v1/quota.pb-c.h"
#include "services/orchestrator/finish.h"

#define MAX_CONCURRENT_JOBS 1000000
#define MAX_WEIGHT 1000

struct listening {
    struct orc_listener *items;
    size_t n, cap;
};

static void listen(struct hd_ctx *cx, const Hodei__V1__CompiledPipeline *plan, struct listening *all) {
    for (size_t i = 0; i < plan->n_on_pipeline && !plan->deleted; i++) {
        HD_GROW(cx->arena, all->items, all->n, all->cap);
        all->items[all->n++] = (struct orc_listener){plan->tenant, plan->on_pipeline[i]->name, plan->name,
                                                     plan->version, plan->on_pipeline[i]->accepts};
    }
}

enum hd_status orc_put_versions(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct orchestrator *orc = self;
    struct orc_version *versions = NULL;
    struct listening listening = {0};
    size_t n_versions = 0, cap = 0;
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__PutVersionsRequest *request = (const Hodei__V1__PutVersionsRequest *)items[i].msg;
        size_t before = n_versions, listened = listening.n;
        for (size_t k = 0; k < request->n_versions; k++) {
            const Hodei__V1__CompiledPipeline *plan = request->versions[k];
            if (orc_plan_check(cx->arena, plan, &items[i].err) != HD_OK) {
                n_versions = before;
                listening.n = listened;
                break;
            }
            listen(cx, plan, &listening);
            struct orc_version version = {
                .tenant = plan->tenant,
                .name = plan->name,
                .project = *plan->project ? plan->project : HD_PROJECT_DEFAULT, // of a release before there were any
                .version = plan->version,
                .deleted = plan->deleted};
            uint8_t *data;
            hd_pb_pack(cx->arena, &plan->base, &data, &version.len);
            version.data = data;
            HD_GROW(cx->arena, versions, n_versions, cap);
            versions[n_versions++] = version;
        }
    }
    if (n_versions == 0)
        return HD_OK;
    HD_TRY(ORC_DO(cx, orc, versions_put, versions, n_versions));
    return ORC_DO(cx, orc, listeners_put, listening.items, listening.n, versions, n_versions);
}

static const char *grant_wrong(const Hodei__V1__Grant *grant) {
    if (!hd_quota_owner_valid(grant->tenant))
        return "tenant";
    if (grant->version == 0)
        return "version";
    if (grant->concurrent_jobs < 0 || grant->concurrent_jobs > MAX_CONCURRENT_JOBS)
        return "concurrent_jobs";
    if (grant->weight > MAX_WEIGHT)
        return "weight";
    struct hd_quota limits = hd_quota_unlimited();
    hd_quota_read(&grant->base, &limits);
    for (size_t i = 0; i < HD_QUOTA_DIMS; i++)
        if (limits.of[i] < HD_QUOTA_UNLIMITED || limits.of[i] > HD_QUOTA_MAX)
            return hd_quota_field((enum hd_quota_dim)i);
    return NULL;
}

// A grant that comes late, after its successor, has no effect.
static enum hd_status take_grants(struct hd_ctx *cx, struct orchestrator *orc, Hodei__V1__Grant *const *grants,
                                  size_t n) {
    struct orc_ws ws;
    struct orc_out out = {0};
    const char **names = HD_NEW_ARRAY(cx->arena, 2 * n, const char *);
    orc_ws_init(&ws, cx->arena);
    for (size_t i = 0; i < n; i++) { // whoever holds a project holds its tenant
        names[2 * i] = grants[i]->tenant;
        names[2 * i + 1] = hd_arena_strndup(cx->arena, grants[i]->tenant, strcspn(grants[i]->tenant, "/"));
    }
    HD_TRY(ORC_DO(cx, orc, tenants_load, &ws, names, orc_texts_unique(names, 2 * n)));
    for (size_t i = 0; i < n; i++) {
        struct orc_tenant *tenant = orc_ws_tenant(&ws, grants[i]->tenant);
        if (tenant->granted && tenant->version >= grants[i]->version)
            continue;
        tenant->granted = tenant->regranted = true;
        tenant->version = grants[i]->version;
        tenant->limit = hd_quota_unlimited();
        hd_quota_read(&grants[i]->base, &tenant->limit);
        tenant->borrow = grants[i]->borrow;
        tenant->weight = grants[i]->weight ? grants[i]->weight : 1;
    }
    return orc_finish(cx, orc, &ws, &out);
}

enum hd_status orc_put_grants(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    Hodei__V1__Grant **grants = NULL;
    size_t n_grants = 0, cap = 0;
    orc_versions_trim(&((struct orchestrator *)self)->versions);
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__PutGrantsRequest *request = (const Hodei__V1__PutGrantsRequest *)items[i].msg;
        size_t before = n_grants;
        for (size_t k = 0; k < request->n_grants; k++) {
            const char *wrong = grant_wrong(request->grants[k]);
            if (wrong) {
                hd_item_fail(&items[i], HD_INVALID, "grant of tenant %s: %s is not valid", request->grants[k]->tenant,
                             wrong);
                hd_err_field(&items[i].err, "grants[%zu].%s", k, wrong);
                n_grants = before;
                break;
            }
            HD_GROW(cx->arena, grants, n_grants, cap);
            grants[n_grants++] = request->grants[k];
        }
    }
    return n_grants ? take_grants(cx, self, grants, n_grants) : HD_OK;
}

// Quota's answer to a question of orc_finish; a failed one is asked again by the sweep.
enum hd_status orc_grants_answer(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    Hodei__V1__Grant **grants = NULL;
    size_t n_grants = 0, cap = 0;
    orc_versions_trim(&((struct orchestrator *)self)->versions);
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__GetGrantsReply *reply = (const Hodei__V1__GetGrantsReply *)items[i].msg;
        for (size_t k = 0; reply && k < reply->n_grants; k++) {
            if (grant_wrong(reply->grants[k]))
                continue;
            HD_GROW(cx->arena, grants, n_grants, cap);
            grants[n_grants++] = reply->grants[k];
        }
    }
    return n_grants ? take_grants(cx, self, grants, n_grants) : HD_OK;
}
