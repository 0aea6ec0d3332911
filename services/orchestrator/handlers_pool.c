// LeasePool: who leads a pool, and what its leader and the tables disagree about.
#include "base/map.h"
#include "base/names.h"
#include "services/orchestrator/finish.h"

#define READ_AT_ONCE 200000 // entries of a pool; beyond it nothing is concluded from absence
#define OFFER_AT_ONCE 5000  // the rest with the next call
#define SETTLED_MS 3000     // younger than this, a message about it may still be on its way

#define READY HODEI__V1__JOB_STATE__JOB_STATE_READY

// What the tables say of a pool, and an index of it by key. `keys` is released by its owner: it is not in the arena.
struct pool {
    const char *name;
    struct orc_pool_entry *entries;
    size_t n;
    bool whole;
    struct hd_map keys;
};

static bool contains(const uint64_t *keys, size_t n, uint64_t key) { // sorted
    size_t low = 0;
    while (low < n) {
        size_t middle = low + (n - low) / 2;
        if (keys[middle] == key)
            return true;
        if (keys[middle] < key)
            low = middle + 1;
        else
            n = middle;
    }
    return false;
}

static int key_order(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t *sorted(struct hd_ctx *cx, const uint64_t *keys, size_t n) {
    uint64_t *copy = hd_arena_memdup(cx->arena, keys, n * sizeof *keys);
    if (n > 1)
        qsort(copy, n, sizeof *copy, key_order);
    return copy;
}

// The tenants of the runs, for their weights.
static enum hd_status weigh(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws) {
    const char **names = HD_NEW_ARRAY(cx->arena, ws->runs.n, const char *);
    for (size_t i = 0; i < ws->runs.n; i++)
        names[i] = ws->runs.items[i]->tenant;
    return ORC_DO(cx, orc, tenants_read, ws, names, orc_texts_unique(names, ws->runs.n));
}

// Offers these entries; what is no longer READY under its key by now is left out.
static enum hd_status offer(struct hd_ctx *cx, struct orchestrator *orc, struct orc_out *out,
                            struct orc_pool_entry *const *entries, size_t n) {
    struct orc_ws ws;
    orc_ws_init(&ws, cx->arena);
    struct hd_uuid *ids = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    struct orc_job_ref *refs = HD_NEW_ARRAY(cx->arena, n, struct orc_job_ref);
    if (n == 0)
        return HD_OK;
    for (size_t i = 0; i < n; i++) {
        ids[i] = entries[i]->job.run;
        refs[i] = entries[i]->job;
    }
    HD_TRY(ORC_DO(cx, orc, runs_load, &ws, ids, orc_uuids_unique(ids, n), false));
    HD_TRY(orc_plans(cx, orc, &ws));
    HD_TRY(ORC_DO(cx, orc, jobs_load, &ws, refs, orc_refs_unique(refs, n)));
    HD_TRY(weigh(cx, orc, &ws));
    for (size_t i = 0; i < n; i++) { // best first
        const struct orc_job *job = orc_ws_job(&ws, entries[i]->job.run, entries[i]->job.idx);
        if (job && job->state == READY && job->key == entries[i]->key)
            orc_out_offer(out, cx, &ws, job);
    }
    return HD_OK;
}

// Names these places, with what they take up.
static enum hd_status hold(struct hd_ctx *cx, struct orchestrator *orc, struct orc_out *out, const struct pool *pool,
                           struct orc_pool_entry *const *entries, size_t n) {
    struct orc_ws ws;
    struct hd_uuid *ids = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    orc_ws_init(&ws, cx->arena);
    if (n == 0)
        return HD_OK;
    for (size_t i = 0; i < n; i++)
        ids[i] = entries[i]->job.run;
    HD_TRY(ORC_DO(cx, orc, runs_load, &ws, ids, orc_uuids_unique(ids, n), false));
    HD_TRY(orc_plans(cx, orc, &ws));
    for (size_t i = 0; i < n; i++)
        orc_out_held(out, cx, entries[i], pool->name, orc_ws_run(&ws, entries[i]->job.run));
    return HD_OK;
}

// A new leader knows nothing: all that is READY, as far as one call offers, and every live place.
static enum hd_status reset(struct hd_ctx *cx, struct orchestrator *orc, struct orc_out *out, const struct pool *pool,
                            uint64_t epoch) {
    struct orc_pool_entry **ready = HD_NEW_ARRAY(cx->arena, pool->n, struct orc_pool_entry *);
    struct orc_pool_entry **held = HD_NEW_ARRAY(cx->arena, pool->n, struct orc_pool_entry *);
    size_t n_ready = 0, n_held = 0;
    orc_out_reset(out, cx, pool->name, epoch);
    for (size_t i = 0; i < pool->n; i++) {
        if (pool->entries[i].state != READY)
            held[n_held++] = &pool->entries[i];
        else if (n_ready < OFFER_AT_ONCE)
            ready[n_ready++] = &pool->entries[i];
    }
    HD_TRY(hold(cx, orc, out, pool, held, n_held));
    return offer(cx, orc, out, ready, n_ready);
}

// Mends the difference between the leader's lists and the tables. What is younger than SETTLED_MS is left to the messages.
static enum hd_status reconcile(struct hd_ctx *cx, struct orchestrator *orc, struct orc_out *out,
                                const struct pool *pool, const Hodei__V1__LeasePoolRequest *request) {
    const uint64_t *waiting = sorted(cx, request->waiting, request->n_waiting);
    const uint64_t *placed = sorted(cx, request->placed, request->n_placed);
    struct orc_pool_entry **missing = HD_NEW_ARRAY(cx->arena, pool->n, struct orc_pool_entry *);
    struct orc_pool_entry **held = HD_NEW_ARRAY(cx->arena, pool->n, struct orc_pool_entry *);
    size_t n_missing = 0, n_held = 0;
    int64_t settled_ms = cx->now.wall_ms - SETTLED_MS;
    for (size_t i = 0; i < pool->n; i++) {
        struct orc_pool_entry *entry = &pool->entries[i];
        if (entry->since_ms > settled_ms)
            continue;
        if (entry->state != READY && !contains(placed, request->n_placed, entry->key))
            held[n_held++] = entry;
        else if (entry->state == READY && n_missing < OFFER_AT_ONCE &&
                 !contains(waiting, request->n_waiting, entry->key))
            missing[n_missing++] = entry;
    }
    for (size_t i = 0; i < request->n_waiting && pool->whole; i++)
        if (!hd_map_get(&pool->keys, waiting[i])) // neither READY nor placed
            orc_out_withdrawn(out, cx, pool->name, waiting[i]);
    for (size_t i = 0; i < request->n_placed && pool->whole; i++) {
        const struct orc_pool_entry *entry = hd_map_get(&pool->keys, placed[i]);
        if (!entry || entry->state == READY)
            orc_out_freed(out, cx, pool->name, placed[i], false);
    }
    HD_TRY(hold(cx, orc, out, pool, held, n_held));
    return offer(cx, orc, out, missing, n_missing);
}

static enum hd_status load_pool(struct hd_ctx *cx, struct orchestrator *orc, const char *name, struct pool *ret) {
    ret->name = name;
    HD_TRY(ORC_DO(cx, orc, pool_entries, name, READ_AT_ONCE, &ret->entries, &ret->n));
    ret->whole = ret->n < READ_AT_ONCE;
    for (size_t i = 0; i < ret->n; i++)
        hd_map_put(&ret->keys, ret->entries[i].key, &ret->entries[i]);
    return HD_OK;
}

static enum hd_status serve(struct hd_ctx *cx, struct orchestrator *orc, struct orc_out *out,
                            const Hodei__V1__LeasePoolRequest *request, Hodei__V1__LeasePoolReply *reply) {
    struct orc_lease lease = {.pool = request->pool, .holder = request->holder, .epoch = request->epoch};
    HD_TRY(ORC_DO(cx, orc, lease_take, &lease, orc->lease_ttl_ms, request->release));
    reply->pool = request->pool;
    reply->granted = lease.granted;
    reply->epoch = lease.epoch;
    reply->ttl_ms = lease.granted ? orc->lease_ttl_ms : 0;
    if (!lease.granted || (!lease.fresh && !request->reconcile))
        return HD_OK;
    struct pool pool = {0};
    enum hd_status status = load_pool(cx, orc, request->pool, &pool);
    if (status == HD_OK)
        status = lease.fresh ? reset(cx, orc, out, &pool, lease.epoch) : reconcile(cx, orc, out, &pool, request);
    hd_map_release(&pool.keys);
    return status;
}

enum hd_status orc_lease_pool(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct orchestrator *orc = self;
    orc_versions_trim(&orc->versions);
    for (size_t i = 0; i < n; i++) { // one after another: two may want the same pool
        const Hodei__V1__LeasePoolRequest *request = (const Hodei__V1__LeasePoolRequest *)items[i].msg;
        struct orc_out out = {0};
        if (!hd_token_valid(request->pool) || !hd_token_valid(request->holder)) {
            hd_item_fail(&items[i], HD_INVALID, "pool or holder is not a valid name");
            hd_err_field(&items[i].err, "%s", hd_token_valid(request->pool) ? "holder" : "pool");
            continue;
        }
        HD_TRY(serve(cx, orc, &out, request, (Hodei__V1__LeasePoolReply *)items[i].reply));
        orc_out_flush(cx, &out);
    }
    return HD_OK;
}
