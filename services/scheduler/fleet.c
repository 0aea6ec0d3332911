// The fleet: a copy of what the registry knows, by version.
#include "base/buf.h"
#include "base/names.h"
#include "services/scheduler/scheduler.h"

#define ASK_TIMEOUT_MS 1800

static uint64_t name_key(const char *name) {
    return hd_hash(name, strlen(name), 2);
}

struct sch_worker *sch_worker_get(struct scheduler *scheduler, const char *name) {
    if (!hd_token_valid(name))
        return NULL;
    struct sch_worker *worker = hd_map_get(&scheduler->workers, name_key(name));
    if (worker)
        return hd_streq(worker->name, name) ? worker : NULL;
    worker = hd_calloc(1, sizeof(*worker));
    hd_strlcpy(worker->name, name, sizeof(worker->name));
    hd_map_put(&scheduler->workers, name_key(name), worker);
    return worker;
}

struct sch_pool *sch_pool_find(const struct scheduler *scheduler, const char *name) {
    struct sch_pool *pool = scheduler->pools;
    while (pool && !hd_streq(pool->name, name))
        pool = pool->next;
    return pool;
}

static struct sch_pool *pool_get(struct scheduler *scheduler, const char *name) {
    struct sch_pool *pool = sch_pool_find(scheduler, name), **at = &scheduler->pools;
    if (pool)
        return pool;
    pool = hd_calloc(1, sizeof(*pool));
    sch_pool_init(pool, name, sch_policy_of(scheduler, name), &scheduler->rules);
    while (*at)
        at = &(*at)->next;
    *at = pool;
    if (scheduler->service)
        hd_service_kick(scheduler->service, SCH_TIMER_LEASE);
    return pool;
}

// Each text behind its key; one block for all of them.
static void free_pairs(struct sch_pairs *pairs) {
    for (size_t i = 0; i < pairs->n; i++)
        free((void *)(uintptr_t)pairs->list[i].key); // the value stands behind it
    free(pairs->list);
    *pairs = (struct sch_pairs){0};
}

static void add_pair(struct sch_pairs *pairs, const char *key, const char *value) {
    size_t key_size = strlen(key) + 1, value_size = strlen(value) + 1;
    char *text = hd_calloc(1, key_size + value_size);
    memcpy(text, key, key_size);
    memcpy(text + key_size, value, value_size);
    pairs->list[pairs->n++] = (struct sch_pair){text, text + key_size};
}

void sch_worker_free(struct sch_worker *worker) {
    free_pairs(&worker->labels);
    free_pairs(&worker->taints);
    free(worker);
}

static void take_pairs(struct sch_worker *worker, const Hodei__V1__Worker *from) {
    free_pairs(&worker->labels);
    free_pairs(&worker->taints);
    worker->labels.list = hd_calloc(from->n_labels + 1, sizeof(struct sch_pair));
    for (size_t i = 0; i < from->n_labels; i++)
        add_pair(&worker->labels, from->labels[i]->key, from->labels[i]->value);
    worker->taints.list = hd_calloc(from->n_taints + 1, sizeof(struct sch_pair));
    for (size_t i = 0; i < from->n_taints; i++)
        add_pair(&worker->taints, from->taints[i]->key, from->taints[i]->value);
}

// One that is LOST, or no longer named, is kept as long as places on it count.
void sch_worker_forget_if_gone(struct scheduler *scheduler, struct sch_worker *worker) {
    if (worker->pool || worker->used)
        return;
    hd_map_remove(&scheduler->workers, name_key(worker->name));
    sch_worker_free(worker);
}

static void take_worker(struct scheduler *scheduler, const Hodei__V1__Worker *from) {
    struct sch_worker *worker = sch_worker_get(scheduler, from->name);
    if (!worker || !hd_token_valid(from->pool))
        return;
    if (!hd_streq(worker->session, from->session) ||
        worker->incarnation != from->incarnation) // what it refused was another's
        worker->full_until_mono_ms = 0;
    worker->incarnation = from->incarnation;
    hd_strlcpy(worker->session, from->session, sizeof(worker->session));
    worker->state = from->state;
    worker->slots = from->slots < SCH_MAX_SLOTS ? from->slots : SCH_MAX_SLOTS;
    Hodei__V1__CordonMode mode = from->cordon ? from->cordon->mode : HODEI__V1__CORDON_MODE__CORDON_MODE_OPEN;
    worker->cordoned =
        mode > HODEI__V1__CORDON_MODE__CORDON_MODE_OPEN; // what a newer registry adds keeps work away too
    worker->draining = mode > HODEI__V1__CORDON_MODE__CORDON_MODE_CORDONED;
    hd_strlcpy(worker->unfit, from->unfit, sizeof(worker->unfit));
    worker->heartbeat_at_ms = from->heartbeat_at_ms;
    worker->seen = scheduler->fleet_seen;
    worker->executors = 0;
    for (size_t i = 0; i < from->n_executors; i++)
        if (from->executors[i] > 0 && (unsigned)from->executors[i] < 32)
            worker->executors |= 1u << from->executors[i];
    worker->capacity = hd_resources_read(from->capacity);
    take_pairs(worker, from);
    struct sch_pool *before = worker->pool;
    if (from->state == HODEI__V1__WORKER_STATE__WORKER_STATE_LOST)
        sch_pool_leave(worker);
    else
        sch_pool_join(pool_get(scheduler, from->pool), worker);
    if (worker->pool && worker->pool == before)
        sch_pool_changed(before);
    sch_worker_forget_if_gone(scheduler, worker);
}

static void take_list(struct scheduler *scheduler, const Hodei__V1__Fleet *fleet, bool whole) {
    scheduler->fleet_version = fleet->version;
    scheduler->fleet_seen += whole;
    for (size_t i = 0; i < fleet->n_workers; i++)
        take_worker(scheduler, fleet->workers[i]);
    if (!whole)
        return;
    for (struct sch_pool *pool = scheduler->pools; pool; pool = pool->next)
        for (size_t i = pool->n_workers; i-- > 0;) {
            struct sch_worker *worker = pool->workers[i];
            if (worker->seen == scheduler->fleet_seen)
                continue;
            sch_pool_leave(worker);
            sch_worker_forget_if_gone(scheduler, worker);
        }
}

// --- handlers --------------------------------------------------------------------------------------------------------

enum hd_status sch_fleet_due(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct scheduler *scheduler = self;
    (void)items, (void)n;
    if (scheduler->fleet_asked_mono_ms && cx->now.mono_ms < scheduler->fleet_asked_mono_ms + ASK_TIMEOUT_MS)
        return HD_OK;
    Hodei__V1__GetFleetRequest request = HODEI__V1__GET_FLEET_REQUEST__INIT;
    request.version = scheduler->fleet_version;
    hd_ask(cx, "worker-registry", "GetFleet", &request.base, SCH_A_FLEET, ASK_TIMEOUT_MS);
    scheduler->fleet_asked_mono_ms = cx->now.mono_ms;
    return HD_OK;
}

enum hd_status sch_fleet_answered(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct scheduler *scheduler = self;
    scheduler->fleet_asked_mono_ms = 0;
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__Fleet *fleet = (const Hodei__V1__Fleet *)items[i].msg;
        if (fleet && fleet->version && fleet->version != scheduler->fleet_version)
            take_list(scheduler, fleet, true);
    }
    hd_metric_set(&sch_metrics[SCH_M_WORKERS], (int64_t)scheduler->workers.n);
    sch_place_all(cx, scheduler);
    return HD_OK;
}

enum hd_status sch_fleet_changed(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct scheduler *scheduler = self;
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__Fleet *fleet = (const Hodei__V1__Fleet *)items[i].msg;
        if (fleet->version <= scheduler->fleet_version)
            continue;
        if (fleet->previous == scheduler->fleet_version && fleet->previous)
            take_list(scheduler, fleet, false);
        else
            hd_service_kick(scheduler->service, SCH_TIMER_FLEET); // a gap
    }
    sch_place_all(cx, scheduler);
    return HD_OK;
}
