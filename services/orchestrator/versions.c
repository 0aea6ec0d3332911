#include "services/orchestrator/orchestrator.h"

#define PLAN_BUDGET_BYTES (256u << 20) // an unpacked version, whatever it says

struct orc_plan_entry {
    struct hd_arena arena;
    uint64_t key;
    const Hodei__V1__CompiledPipeline *plan;
    size_t bytes;
    bool mapped; // false: another version with the same hash took its place
    struct orc_plan_entry *newer, *older;
};

static uint64_t entry_key(const char *tenant, const char *name, uint32_t version) {
    return hd_hash(name, strlen(name), hd_hash(tenant, strlen(tenant), version));
}

static void unlink_entry(struct orc_versions *versions, struct orc_plan_entry *entry) {
    *(entry->newer ? &entry->newer->older : &versions->newest) = entry->older;
    *(entry->older ? &entry->older->newer : &versions->oldest) = entry->newer;
    entry->newer = entry->older = NULL;
}

static void link_newest(struct orc_versions *versions, struct orc_plan_entry *entry) {
    entry->older = versions->newest;
    *(versions->newest ? &versions->newest->newer : &versions->oldest) = entry;
    versions->newest = entry;
}

static void drop_oldest(struct orc_versions *versions) {
    struct orc_plan_entry *entry = versions->oldest;
    unlink_entry(versions, entry);
    if (entry->mapped)
        hd_map_remove(&versions->map, entry->key);
    versions->bytes -= entry->bytes;
    hd_arena_release(&entry->arena);
    free(entry);
}

void orc_versions_release(struct orc_versions *versions) {
    while (versions->oldest)
        drop_oldest(versions);
    hd_map_release(&versions->map);
}

void orc_versions_trim(struct orc_versions *versions) {
    while (versions->oldest && versions->bytes > versions->bound_bytes)
        drop_oldest(versions);
}

static const Hodei__V1__CompiledPipeline *find(struct orc_versions *versions, const struct orc_run *run) {
    struct orc_plan_entry *entry = hd_map_get(&versions->map, entry_key(run->tenant, run->pipeline, run->version));
    if (!entry || entry->plan->version != run->version || strcmp(entry->plan->name, run->pipeline) != 0 ||
        strcmp(entry->plan->tenant, run->tenant) != 0)
        return NULL;
    if (entry != versions->newest) {
        unlink_entry(versions, entry);
        link_newest(versions, entry);
    }
    return entry->plan;
}

static enum hd_status keep(struct hd_ctx *cx, struct orc_versions *versions, const struct orc_version *version) {
    struct orc_plan_entry *entry = hd_calloc(1, sizeof *entry);
    hd_arena_init(&entry->arena);
    entry->arena.budget_bytes = PLAN_BUDGET_BYTES;
    ProtobufCMessage *msg = NULL;
    enum hd_status status = hd_pb_unpack(&entry->arena, &hodei__v1__compiled_pipeline__descriptor, version->data,
                                         version->len, &cx->err, &msg);
    if (status != HD_OK) {
        hd_arena_release(&entry->arena);
        free(entry);
        hd_err_wrap(&cx->err, "stored pipeline %s version %u", version->name, version->version);
        return cx->err.status = HD_INTERNAL;
    }
    entry->plan = (const Hodei__V1__CompiledPipeline *)msg;
    entry->key = entry_key(version->tenant, version->name, version->version);
    entry->bytes = sizeof *entry + entry->arena.used_bytes;
    versions->bytes += entry->bytes;
    link_newest(versions, entry);
    entry->mapped = true;
    struct orc_plan_entry *other = hd_map_put(&versions->map, entry->key, entry);
    if (other) // it stays in the list, for runs that hold it, until it is trimmed
        other->mapped = false;
    return HD_OK;
}

enum hd_status orc_plans(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws) {
    struct orc_version *missing = HD_NEW_ARRAY(ws->arena, ws->runs.n, struct orc_version);
    size_t n = 0;
    for (size_t i = 0; i < ws->runs.n; i++) {
        struct orc_run *run = ws->runs.items[i];
        if (run->plan || (run->plan = find(&orc->versions, run)))
            continue;
        struct orc_version wanted = {.tenant = run->tenant, .name = run->pipeline, .version = run->version};
        size_t k = 0;
        while (k < n && (missing[k].version != wanted.version || strcmp(missing[k].name, wanted.name) != 0 ||
                         strcmp(missing[k].tenant, wanted.tenant) != 0))
            k++;
        if (k == n)
            missing[n++] = wanted;
    }
    if (n == 0)
        return HD_OK;
    HD_TRY(ORC_DO(cx, orc, versions_get, missing, n));
    for (size_t i = 0; i < n; i++) {
        if (!missing[i].found)
            return hd_fail(cx, HD_INTERNAL, "pipeline %s version %u of tenant %s is not stored", missing[i].name,
                           missing[i].version, missing[i].tenant);
        HD_TRY(keep(cx, &orc->versions, &missing[i]));
    }
    for (size_t i = 0; i < ws->runs.n; i++)
        if (!ws->runs.items[i]->plan && !(ws->runs.items[i]->plan = find(&orc->versions, ws->runs.items[i])))
            return hd_fail(cx, HD_INTERNAL, "compiled version of run is not in the cache");
    return HD_OK;
}
