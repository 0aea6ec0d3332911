// Leading a pool: a lease that the orchestrator keeps, timed from the moment of asking.
#include "base/buf.h"
#include "base/names.h"
#include "services/scheduler/scheduler.h"

// Shorter than the timer, so that an answer is always that of the last question.
#define ASK_TIMEOUT_MS 900

bool sch_leads(const struct sch_pool *pool, int64_t mono_ms) {
    return pool->leading && mono_ms < pool->until_mono_ms;
}

void sch_pool_forget(struct scheduler *scheduler, struct sch_pool *pool) {
    size_t pos = 0, n = 0;
    struct sch_offer **offers = hd_calloc(pool->offers.n, sizeof(struct sch_offer *));
    for (struct sch_offer *offer; (offer = hd_map_next(&pool->offers, &pos, NULL));)
        offers[n++] = offer;
    for (size_t i = 0; i < n; i++)
        sch_offer_drop(scheduler, pool, offers[i]);
    free(offers);
    pool->told = false;
}

static void consumer_name(const struct sch_pool *pool, char ret[96]) {
    snprintf(ret, 96, "sched_ready_%s", pool->name);
}

static void stop_leading(struct scheduler *scheduler, struct sch_pool *pool, const char *why) {
    char consumer[96];
    if (pool->leading)
        hd_info("no longer leading pool %s: %s", pool->name, why);
    pool->leading = false;
    pool->epoch = 0;
    sch_pool_forget(scheduler, pool);
    if (!pool->feed_open)
        return;
    consumer_name(pool, consumer);
    hd_service_feed_close(scheduler->service, consumer);
    pool->feed_open = false;
}

static enum hd_status start_leading(struct hd_ctx *cx, struct scheduler *scheduler, struct sch_pool *pool,
                                    uint64_t epoch) {
    char consumer[96], filter[128];
    if (pool->leading)
        sch_pool_forget(scheduler, pool); // by a new epoch: others may have led in between
    hd_info("leading pool %s, epoch %llu", pool->name, (unsigned long long)epoch);
    pool->leading = true;
    pool->epoch = epoch;
    pool->granted_mono_ms = cx->now.mono_ms;
    if (pool->feed_open)
        return HD_OK;
    consumer_name(pool, consumer);
    snprintf(filter, sizeof(filter), HD_SUBJECT_READY ".%s", pool->name);
    HD_TRY(hd_service_feed_open(scheduler->service, 0, "FLOW", consumer, filter, true, &cx->err));
    pool->feed_open = true;
    return HD_OK;
}

// --- asking ----------------------------------------------------------------------------------------------------------

static void list_keys(struct hd_ctx *cx, const struct sch_pool *pool, Hodei__V1__LeasePoolRequest *request) {
    size_t pos = 0;
    request->waiting = HD_NEW_ARRAY(cx->arena, pool->offers.n, uint64_t);
    request->placed = HD_NEW_ARRAY(cx->arena, pool->offers.n, uint64_t);
    for (const struct sch_offer *offer; (offer = hd_map_next(&pool->offers, &pos, NULL));) {
        if (offer->state == SCH_HELD)
            request->placed[request->n_placed++] = offer->key;
        else
            request->waiting[request->n_waiting++] = offer->key;
    }
    request->reconcile = true;
}

static void ask(struct hd_ctx *cx, struct scheduler *scheduler, struct sch_pool *pool, bool release) {
    Hodei__V1__LeasePoolRequest request = HODEI__V1__LEASE_POOL_REQUEST__INIT;
    request.pool = pool->name;
    request.holder = scheduler->holder;
    request.epoch = pool->leading ? pool->epoch : 0;
    request.release = release;
    if (!release && pool->leading && ++pool->asks % SCH_RECONCILE_EVERY == 0)
        list_keys(cx, pool, &request);
    hd_ask(cx, "orchestrator", "LeasePool", &request.base, SCH_A_LEASE, ASK_TIMEOUT_MS);
    pool->asked_mono_ms = cx->now.mono_ms;
}

enum hd_status sch_lease_due(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct scheduler *scheduler = self;
    int64_t led = 0;
    (void)items, (void)n;
    for (struct sch_pool *pool = scheduler->pools; pool; pool = pool->next) {
        if (pool->leading && !sch_leads(pool, cx->now.mono_ms))
            stop_leading(scheduler, pool, "the lease ran out");
        led += pool->leading;
        // Kicked for another pool: this one's question is still under way, or has just been answered.
        if (pool->asked_mono_ms && cx->now.mono_ms < pool->asked_mono_ms + ASK_TIMEOUT_MS)
            continue;
        if (pool->n_workers || pool->leading)
            ask(cx, scheduler, pool, false);
    }
    hd_metric_set(&sch_metrics[SCH_M_POOLS], led);
    return HD_OK;
}

enum hd_status sch_lease_answered(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct scheduler *scheduler = self;
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__LeasePoolReply *reply = (const Hodei__V1__LeasePoolReply *)items[i].msg;
        struct sch_pool *pool = reply ? sch_pool_find(scheduler, reply->pool) : NULL;
        if (!pool) // no answer: the lease runs on to its end
            continue;
        if (!reply->granted) {
            stop_leading(scheduler, pool, "another process has its lease");
            continue;
        }
        if (!pool->leading || pool->epoch != reply->epoch)
            HD_TRY(start_leading(cx, scheduler, pool, reply->epoch));
        pool->until_mono_ms = pool->asked_mono_ms + reply->ttl_ms;
    }
    return HD_OK;
}

void sch_stopping(struct hd_ctx *cx, void *self) {
    struct scheduler *scheduler = self;
    for (struct sch_pool *pool = scheduler->pools; pool; pool = pool->next)
        if (pool->leading)
            ask(cx, scheduler, pool, true);
}
