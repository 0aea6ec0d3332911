// What tenants use: GetUsage, and the proof that the counters say what there is.
//
// A counter changes in the transaction that changes the jobs, so one view of the tables always agrees with itself, whatever crashed:
// the check takes no lock. A difference is a bug, or a release before this one that knew fewer counters; it is mended under the
// tenant's lock, counted, and written to the log.
#include "base/log.h"
#include "hodei/v1/quota.pb-c.h"
#include "services/orchestrator/finish.h"

#define MENDED_AT_ONCE 100

// --- the check -------------------------------------------------------------------------------------------------------------------
struct truth { // of one tenant
    struct orc_usage says;
    struct hd_quota is;
    int64_t queued, parts;
};

static bool agrees(const struct truth *t) {
    return t->says.jobs == t->is.of[HD_QUOTA_JOBS] && t->says.cpu_milli == t->is.of[HD_QUOTA_CPU] &&
           t->says.memory_bytes == t->is.of[HD_QUOTA_MEMORY] && t->says.gpu == t->is.of[HD_QUOTA_GPU] &&
           t->says.pending == t->is.of[HD_QUOTA_QUEUED] && t->says.queued == t->queued && t->says.parts == t->parts;
}

// The compiled versions that the rows are of, as runs of a working set: they are found as those of real ones are.
static enum hd_status plans_of(struct hd_ctx *cx, struct orchestrator *orc, const struct orc_usage *rows, size_t n,
                               struct orc_run ***ret) {
    struct orc_run **runs = HD_NEW_ARRAY(cx->arena, n, struct orc_run *);
    struct orc_ws ws;
    orc_ws_init(&ws, cx->arena);
    for (size_t i = 0; i < n; i++) {
        const struct orc_run *before = i ? runs[i - 1] : NULL;
        if (!*rows[i].pipeline)
            continue;
        const char *tenant = hd_arena_strndup(cx->arena, rows[i].tenant, strcspn(rows[i].tenant, "/"));
        if (before && before->version == rows[i].version && strcmp(before->pipeline, rows[i].pipeline) == 0 &&
            strcmp(before->tenant, tenant) == 0) {
            runs[i] = runs[i - 1];
            continue;
        }
        runs[i] = orc_ws_add_run(&ws, hd_new_id(cx));
        runs[i]->tenant = tenant;
        runs[i]->pipeline = rows[i].pipeline;
        runs[i]->version = rows[i].version;
    }
    *ret = runs;
    return ws.runs.n ? orc_plans(cx, orc, &ws) : HD_OK;
}

static enum hd_status look(struct hd_ctx *cx, struct orchestrator *orc, const char **names, size_t n_names,
                           struct truth **ret, size_t *ret_n) {
    struct orc_usage *rows;
    struct orc_run **runs;
    size_t n, count = 0;
    HD_TRY(ORC_DO(cx, orc, usage_count, names, n_names, &rows, &n));
    HD_TRY(plans_of(cx, orc, rows, n, &runs));
    struct truth *all = HD_NEW_ARRAY(cx->arena, n, struct truth), *of = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!of || strcmp(of->says.tenant, rows[i].tenant) != 0) {
            of = &all[count++];
            of->says = rows[i];
        }
        if (!runs[i])
            continue;
        if (rows[i].spec >= runs[i]->plan->n_jobs)
            return hd_fail(cx, HD_INTERNAL, "pipeline %s version %u has no job %u", rows[i].pipeline, rows[i].version,
                           rows[i].spec);
        struct hd_quota asks = hd_quota_of_job(runs[i]->plan->jobs[rows[i].spec]->resources);
        hd_quota_add(&of->is, &asks, rows[i].is_counted);
        of->is.of[HD_QUOTA_QUEUED] += rows[i].is_pending;
        of->queued += rows[i].is_queued;
        of->parts += rows[i].is_parts;
    }
    *ret = all;
    *ret_n = count;
    return HD_OK;
}

static void mend(struct orc_tenant *tenant, const struct truth *t) {
    hd_log(HD_LOG_WARN, &(struct hd_log_fields){.tenant = tenant->name},
           "its counters said jobs %lld, cpu %lld, memory %lld, gpu %lld, pending %lld, queued %lld, and it has %lld, "
           "%lld, "
           "%lld, %lld, %lld, %lld: mended",
           (long long)t->says.jobs, (long long)t->says.cpu_milli, (long long)t->says.memory_bytes,
           (long long)t->says.gpu, (long long)t->says.pending, (long long)t->says.queued,
           (long long)t->is.of[HD_QUOTA_JOBS], (long long)t->is.of[HD_QUOTA_CPU], (long long)t->is.of[HD_QUOTA_MEMORY],
           (long long)t->is.of[HD_QUOTA_GPU], (long long)t->is.of[HD_QUOTA_QUEUED], (long long)t->queued);
    for (size_t i = 0; i <= HD_QUOTA_QUEUED; i++)
        tenant->used.of[i] = t->is.of[i];
    tenant->queued = t->queued;
    tenant->parts = t->parts;
    tenant->dirty = true;
    orc_count(ORC_M_COUNTERS_MENDED, 1);
}

enum hd_status orc_check_counters(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct orchestrator *orc = self;
    const char *names[MENDED_AT_ONCE];
    struct orc_out out = {0};
    struct truth *all;
    struct orc_ws ws;
    size_t count, wrong = 0;
    (void)items, (void)n;
    orc_versions_trim(&orc->versions);
    HD_TRY(look(cx, orc, NULL, 0, &all, &count));
    orc_count(ORC_M_COUNTERS_CHECKED, (int64_t)count);
    for (size_t i = 0; i < count && wrong < MENDED_AT_ONCE; i++)
        if (!agrees(&all[i]))
            names[wrong++] = all[i].says.tenant;
    if (wrong == 0)
        return HD_OK;
    orc_ws_init(&ws, cx->arena);
    HD_TRY(ORC_DO(cx, orc, tenants_load, &ws, names, orc_texts_unique(names, wrong)));
    HD_TRY(look(cx, orc, names, wrong, &all, &count)); // again: now nobody else changes them
    for (size_t i = 0; i < count; i++) {
        struct orc_tenant *tenant = orc_ws_tenant(&ws, all[i].says.tenant);
        if (tenant && !agrees(&all[i]))
            mend(tenant, &all[i]);
    }
    return orc_finish(cx, orc, &ws, &out);
}

// --- GetUsage --------------------------------------------------------------------------------------------------------------------
static Hodei__V1__QuotaUsage *usage_of(struct hd_ctx *cx, const struct orc_tenant *tenant) {
    Hodei__V1__QuotaUsage *usage = HD_NEW(cx->arena, Hodei__V1__QuotaUsage);
    uint32_t marks = tenant->granted ? hd_quota_marks(&tenant->limit, &tenant->used, 0) : 0;
    *usage = (Hodei__V1__QuotaUsage)HODEI__V1__QUOTA_USAGE__INIT;
    hd_quota_write(&tenant->used, &usage->base);
    usage->near = HD_NEW_ARRAY(cx->arena, HD_QUOTA_DIMS, char *);
    usage->reached = HD_NEW_ARRAY(cx->arena, HD_QUOTA_DIMS, char *);
    for (unsigned i = 0; i < HD_QUOTA_COUNTED; i++) {
        char *name = (char *)(uintptr_t)hd_quota_field((enum hd_quota_dim)i);
        uint32_t mark = marks >> (2 * i) & 3;
        if (mark & 2 || (tenant->granted && tenant->limit.of[i] == 0))
            usage->reached[usage->n_reached++] = name;
        else if (mark & 1)
            usage->near[usage->n_near++] = name;
    }
    return usage;
}

enum hd_status orc_get_usage(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct orchestrator *orc = self;
    const char **names = HD_NEW_ARRAY(cx->arena, n, const char *);
    struct orc_ws ws;
    orc_ws_init(&ws, cx->arena);
    for (size_t i = 0; i < n; i++)
        names[i] = ((const Hodei__V1__GetUsageRequest *)items[i].msg)->tenant;
    HD_TRY(ORC_DO(cx, orc, tenants_read, &ws, names, orc_texts_unique(names, n)));
    for (size_t i = 0; i < n; i++) {
        Hodei__V1__GetUsageReply *reply = (Hodei__V1__GetUsageReply *)items[i].reply;
        const char *name = ((const Hodei__V1__GetUsageRequest *)items[i].msg)->tenant;
        struct orc_tenant none = {.limit = hd_quota_unlimited()}, *tenant = orc_ws_tenant(&ws, name);
        if (*items[i].principal->tenant || *items[i].principal->subject) {
            hd_item_fail(&items[i], HD_DENIED, "usage is told to services only");
            continue;
        }
        if (tenant)
            orc_tenant_turn(tenant, cx->now.wall_ms);
        reply->tenant = hd_arena_strdup(cx->arena, name);
        reply->usage = usage_of(cx, tenant ? tenant : &none);
    }
    return HD_OK;
}
