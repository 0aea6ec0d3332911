// What the orchestrator tells the leader of a pool, and what the leader decides.
#include "base/buf.h"
#include "base/names.h"
#include "services/scheduler/scheduler.h"

#define PLACEMENTS_MAX 1000 // in one message

// --- offers in every state -------------------------------------------------------------------------------------------

static void sent_remove(struct sch_pool *pool, struct sch_offer *offer) {
    *(offer->sent_prev ? &offer->sent_prev->sent_next : &pool->sent_first) = offer->sent_next;
    *(offer->sent_next ? &offer->sent_next->sent_prev : &pool->sent_last) = offer->sent_prev;
    offer->sent_prev = offer->sent_next = NULL;
}

static void sent_append(struct sch_pool *pool, struct sch_offer *offer, int64_t mono_ms) {
    offer->sent_mono_ms = mono_ms;
    offer->sent_prev = pool->sent_last;
    *(pool->sent_last ? &pool->sent_last->sent_next : &pool->sent_first) = offer;
    pool->sent_last = offer;
}

static void give_place_back(struct scheduler *scheduler, struct sch_pool *pool, struct sch_offer *offer) {
    struct sch_worker *worker = HD_STEAL(offer->worker);
    if (!worker)
        return;
    sch_pool_take_back(worker, &offer->asks);
    pool->dirty = true;
    sch_worker_forget_if_gone(scheduler, worker);
}

void sch_offer_drop(struct scheduler *scheduler, struct sch_pool *pool, struct sch_offer *offer) {
    if (offer->state == SCH_PLACING)
        sent_remove(pool, offer);
    give_place_back(scheduler, pool, offer);
    hd_map_remove(&pool->offers, offer->key);
    sch_queue_drop(&pool->queue, offer);
}

static void put_on(struct scheduler *scheduler, struct sch_pool *pool, struct sch_offer *offer, const char *name) {
    if (offer->worker && hd_streq(offer->worker->name, name))
        return;
    give_place_back(scheduler, pool, offer);
    offer->worker = sch_worker_get(scheduler, name);
    if (offer->worker)
        sch_pool_give(offer->worker, &offer->asks);
}

// --- the feed --------------------------------------------------------------------------------------------------------

static void take_withdrawn(struct scheduler *scheduler, struct sch_pool *pool, const Hodei__V1__PoolFeed *feed) {
    for (size_t i = 0; i < feed->n_withdrawn; i++) {
        struct sch_offer *offer = hd_map_get(&pool->offers, feed->withdrawn[i]);
        if (offer && offer->state != SCH_HELD)
            sch_offer_drop(scheduler, pool, offer);
    }
}

static void take_freed(struct hd_ctx *cx, struct scheduler *scheduler, struct sch_pool *pool,
                       const Hodei__V1__PoolFeed *feed) {
    for (size_t i = 0; i < feed->n_freed; i++) {
        struct sch_offer *offer = hd_map_get(&pool->offers, feed->freed[i]->key);
        if (!offer)
            continue;
        if (feed->freed[i]->refused && offer->worker) {
            offer->worker->full_until_mono_ms = cx->now.mono_ms + SCH_FULL_MS;
            sch_pool_touch(offer->worker);
            hd_metric_add(&sch_metrics[SCH_M_REFUSED], 1);
        }
        sch_offer_drop(scheduler, pool, offer);
    }
}

static void take_results(struct hd_ctx *cx, struct scheduler *scheduler, struct sch_pool *pool,
                         const Hodei__V1__PoolFeed *feed) {
    for (size_t i = 0; i < feed->n_results; i++) {
        struct sch_offer *offer = hd_map_get(&pool->offers, feed->results[i]->key);
        bool accepted = feed->results[i]->accepted;
        hd_metric_add(&sch_metrics[accepted ? SCH_M_ACCEPTED : SCH_M_STALE], 1);
        if (!offer || offer->state != SCH_PLACING)
            continue;
        if (!accepted) { // it is not READY under this key; if it is under another, that one is offered
            sch_offer_drop(scheduler, pool, offer);
            continue;
        }
        sent_remove(pool, offer);
        offer->state = SCH_HELD;
        sch_rate_add(&pool->rate, 1, cx->now.mono_ms);
    }
}

static void take_held(struct scheduler *scheduler, struct sch_pool *pool, const Hodei__V1__PoolFeed *feed) {
    for (size_t i = 0; i < feed->n_held; i++) {
        const Hodei__V1__HeldPlace *held = feed->held[i];
        struct sch_offer *offer = held->key ? hd_map_get(&pool->offers, held->key) : NULL;
        if (!held->key)
            continue;
        if (!offer) {
            struct hd_resources asks = hd_resources_read(held->resources);
            offer = sch_queue_add_live(&pool->queue, held->key, held->tenant, &asks);
            hd_map_put(&pool->offers, held->key, offer);
        } else if (offer->state == SCH_WAITING) {
            sch_queue_take(&pool->queue, offer);
        } else if (offer->state == SCH_PLACING) {
            sent_remove(pool, offer);
        }
        offer->state = SCH_HELD;
        put_on(scheduler, pool, offer, held->worker);
    }
}

static void take_ready(struct sch_pool *pool, const Hodei__V1__PoolFeed *feed) {
    for (size_t i = 0; i < feed->n_ready; i++) {
        const Hodei__V1__ReadyJob *job = feed->ready[i];
        if (!job->key || strlen(job->run) >= HD_UUID_TEXT || hd_map_get(&pool->offers, job->key))
            continue;
        hd_map_put(&pool->offers, job->key, sch_queue_add(&pool->queue, job));
        hd_metric_add(&sch_metrics[SCH_M_OFFERS], 1);
        pool->dirty = true;
    }
}

// What comes before the reset was for an earlier leader and is forgotten with it.
enum hd_status sch_feed(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct scheduler *scheduler = self;
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__PoolFeed *feed = (const Hodei__V1__PoolFeed *)items[i].msg;
        struct sch_pool *pool = sch_pool_find(scheduler, feed->pool);
        if (!pool || !sch_leads(pool, cx->now.mono_ms) || (feed->reset && feed->epoch != pool->epoch))
            continue; // what the leader misses, reconciliation tells it
        if (feed->reset) {
            sch_pool_forget(scheduler, pool);
            pool->told = true;
            pool->dirty = true;
        }
        take_withdrawn(scheduler, pool, feed);
        take_freed(cx, scheduler, pool, feed);
        take_results(cx, scheduler, pool, feed);
        take_held(scheduler, pool, feed);
        take_ready(pool, feed);
    }
    sch_place_all(cx, scheduler);
    for (struct sch_pool *pool = scheduler->pools; pool; pool = pool->next)
        if (pool->told && sch_leads(pool, cx->now.mono_ms) && sch_reserve_due(pool, cx->now.wall_ms))
            hd_metric_add(&sch_metrics[SCH_M_RESERVED], 1);
    return HD_OK;
}

// --- placing ---------------------------------------------------------------------------------------------------------

struct batch {
    Hodei__V1__Placements msg;
    struct sch_pool *pool;
};

static void send(struct hd_ctx *cx, struct batch *batch) {
    if (!batch->msg.n_placements)
        return;
    hd_publish(cx, HD_SUBJECT_PLACED, &batch->msg.base);
    batch->msg.n_placements = 0;
}

static void say(struct hd_ctx *cx, struct scheduler *scheduler, struct batch *batch, struct sch_offer *offer) {
    Hodei__V1__Placement *placement = HD_NEW(cx->arena, Hodei__V1__Placement);
    hodei__v1__placement__init(placement);
    placement->key = offer->key;
    placement->run = offer->run;
    placement->job = offer->job;
    placement->worker = offer->worker->name;
    placement->session = offer->session;
    placement->incarnation = offer->incarnation;
    if (!batch->msg.placements) {
        batch->msg.pool = batch->pool->name;
        batch->msg.epoch = batch->pool->epoch;
        batch->msg.holder = scheduler->holder;
        batch->msg.placements = HD_NEW_ARRAY(cx->arena, PLACEMENTS_MAX, Hodei__V1__Placement *);
    }
    batch->msg.placements[batch->msg.n_placements++] = placement;
    sent_append(batch->pool, offer, cx->now.mono_ms);
    if (batch->msg.n_placements == PLACEMENTS_MAX)
        send(cx, batch);
}

static void place(struct hd_ctx *cx, struct scheduler *scheduler, struct sch_pool *pool) {
    struct batch batch = {.msg = HODEI__V1__PLACEMENTS__INIT, .pool = pool};
    sch_pool_reopen(pool);
    for (struct sch_offer *offer; (offer = sch_pool_next(pool, cx->now.wall_ms));) {
        say(cx, scheduler, &batch, offer);
        hd_metric_add(&sch_metrics[SCH_M_PLACED], 1);
    }
    send(cx, &batch);
}

void sch_place_all(struct hd_ctx *cx, struct scheduler *scheduler) {
    int64_t waiting = 0;
    for (struct sch_pool *pool = scheduler->pools; pool; pool = pool->next) {
        while (pool->dirty && pool->told &&
               sch_leads(pool, cx->now.mono_ms)) { // again where a reservation has ended by it
            pool->dirty = false;
            place(cx, scheduler, pool);
        }
        waiting += (int64_t)pool->queue.waiting;
    }
    hd_metric_set(&sch_metrics[SCH_M_WAITING], waiting);
}

static void resend(struct hd_ctx *cx, struct scheduler *scheduler, struct sch_pool *pool) {
    struct batch batch = {.msg = HODEI__V1__PLACEMENTS__INIT, .pool = pool};
    int64_t before = cx->now.mono_ms - SCH_RESEND_MS;
    for (struct sch_offer *offer; (offer = pool->sent_first) && offer->sent_mono_ms <= before;) {
        sent_remove(pool, offer);
        say(cx, scheduler, &batch, offer);
        hd_metric_add(&sch_metrics[SCH_M_RESENT], 1);
    }
    send(cx, &batch);
}

enum hd_status sch_tend(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct scheduler *scheduler = self;
    (void)items, (void)n;
    for (struct sch_pool *pool = scheduler->pools; pool; pool = pool->next) {
        if (!sch_leads(pool, cx->now.mono_ms))
            continue;
        if (!pool->told && cx->now.mono_ms >= pool->granted_mono_ms + SCH_UNTOLD_MS)
            pool->told = pool->dirty = true;
        resend(cx, scheduler, pool);
        for (size_t i = 0; i < pool->n_workers; i++) {
            struct sch_worker *worker = pool->workers[i];
            if (!worker->full_until_mono_ms || worker->full_until_mono_ms > cx->now.mono_ms)
                continue;
            worker->full_until_mono_ms = 0;
            sch_pool_touch(worker);
            pool->dirty = true;
        }
    }
    sch_place_all(cx, scheduler);
    for (struct sch_pool *pool = scheduler->pools; pool; pool = pool->next)
        if (pool->told && sch_leads(pool, cx->now.mono_ms) && sch_reserve_due(pool, cx->now.wall_ms))
            hd_metric_add(&sch_metrics[SCH_M_RESERVED], 1);
    return HD_OK;
}
