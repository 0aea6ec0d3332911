#include "services/scheduler/pool.h"

#include <stdlib.h>
#include <string.h>

void sch_pool_init(struct sch_pool *pool, const char *name, enum sch_policy policy, const struct sch_rules *rules) {
    *pool = (struct sch_pool){.policy = policy, .state = 1};
    hd_strlcpy(pool->name, name, sizeof(pool->name));
    pool->queue.rules = rules;
}

void sch_pool_release(struct sch_pool *pool) {
    sch_queue_release(&pool->queue);
    hd_map_release(&pool->offers);
    free(pool->workers);
    *pool = (struct sch_pool){0};
}

// --- the list --------------------------------------------------------------------------------------------------------

void sch_pool_changed(struct sch_pool *pool) {
    pool->unsorted = true;
    pool->dirty = true;
}

void sch_pool_leave(struct sch_worker *worker) {
    struct sch_pool *pool = worker->pool;
    if (!pool)
        return;
    if (pool->reserved == worker)
        sch_reserve_end(pool);
    worker->pool = NULL;
    struct sch_worker *last = pool->workers[--pool->n_workers];
    pool->workers[worker->pos] = last;
    last->pos = worker->pos;
    sch_pool_changed(pool);
}

void sch_pool_join(struct sch_pool *pool, struct sch_worker *worker) {
    if (worker->pool == pool)
        return;
    sch_pool_leave(worker);
    if (pool->n_workers == pool->cap_workers) {
        size_t cap = pool->cap_workers ? pool->cap_workers * 2 : 16;
        struct sch_worker **grown = hd_calloc(cap, sizeof(struct sch_worker *));
        if (pool->n_workers)
            memcpy(grown, pool->workers, pool->n_workers * sizeof(struct sch_worker *));
        free(pool->workers);
        pool->workers = grown;
        pool->cap_workers = cap;
    }
    worker->pos = pool->n_workers;
    worker->pool = pool;
    pool->workers[pool->n_workers++] = worker;
    sch_pool_changed(pool);
}

static void sort(struct sch_pool *pool) {
    int64_t slots = 0;
    struct hd_resources capacity = {0};
    sch_workers_sort(pool->workers, pool->n_workers);
    for (size_t i = 0; i < pool->n_workers; i++) {
        slots += pool->workers[i]->slots;
        hd_resources_add(&capacity, &pool->workers[i]->capacity);
    }
    sch_queue_capacity(&pool->queue, slots, &capacity);
    pool->state++;
    pool->unsorted = false;
}

// --- what is free ----------------------------------------------------------------------------------------------------

void sch_pool_touch(const struct sch_worker *worker) {
    const struct sch_pool *pool = worker->pool;
    if (!pool || pool->unsorted)
        return;
    for (struct sch_selector *s = pool->queue.classes.selectors; s; s = s->behind)
        if (s->built == pool->state)
            sch_index_update(&s->index, worker);
}

void sch_pool_give(struct sch_worker *worker, const struct hd_resources *asks) {
    sch_give_place(worker, asks);
    sch_pool_touch(worker);
}

void sch_pool_take_back(struct sch_worker *worker, const struct hd_resources *asks) {
    sch_take_place_back(worker, asks);
    sch_pool_touch(worker);
}

// --- deciding --------------------------------------------------------------------------------------------------------

static struct sch_worker *best_worker(const struct sch_pool *pool, const struct sch_class *class) {
    struct sch_selector *selector = class->selector;
    if (selector->built != pool->state) {
        sch_index_build(&selector->index, pool->workers, pool->n_workers, &selector->needs, pool->policy);
        selector->built = pool->state;
    }
    return sch_index_best(&selector->index, &class->asks);
}

void sch_pool_reopen(struct sch_pool *pool) {
    if (pool->unsorted)
        sort(pool);
    sch_reserve_check(pool);
    for (struct sch_class *class = pool->queue.classes.first; class; class = class->behind)
        if (class->blocked && (!class->n_spots || best_worker(pool, class)))
            sch_queue_open(&pool->queue, class);
}

static struct sch_offer *take(struct sch_pool *pool, struct sch_offer *offer, struct sch_worker *worker) {
    sch_queue_take(&pool->queue, offer);
    offer->worker = worker;
    hd_strlcpy(offer->session, worker->session, sizeof(offer->session));
    offer->incarnation = worker->incarnation;
    sch_pool_give(worker, &offer->asks);
    if (pool->reserved && pool->reserved->reserved_for == offer->key) // it has found another one
        sch_reserve_end(pool);
    return offer;
}

struct sch_offer *sch_pool_next(struct sch_pool *pool, int64_t now_ms) {
    struct sch_offer *offer;
    struct sch_worker *worker;
    if (pool->unsorted)
        sch_pool_reopen(pool);
    if (pool->reserved && (offer = sch_reserve_take(pool, &worker))) {
        take(pool, offer, worker);
        sch_pool_reopen(pool); // what room is left there is everybody's
        return offer;
    }
    while ((offer = sch_queue_best(&pool->queue, now_ms))) {
        if ((worker = best_worker(pool, offer->class)))
            return take(pool, offer, worker);
        sch_queue_block(&pool->queue, offer->class);
    }
    return NULL;
}

struct sch_verdict sch_pool_explain(struct hd_arena *arena, const struct sch_pool *pool, const struct sch_offer *offer,
                                    struct hd_now now) {
    const struct sch_fleet fleet = {pool->name, pool->workers, pool->n_workers};
    return sch_explain_offer(arena, &fleet, &pool->queue, &pool->rate, offer, now);
}
