// A worker that is kept free for a job that has waited long.
//
// Small jobs that come all the time would keep a worker from ever having room for a large one. So an offer that some worker could
// hold, and that has waited for rules.reserve_ms, has one reserved: nothing else is placed there until it has room for it. It is what
// batch systems do for the job at the head of the queue (D. Lifka, "The ANL/IBM SP scheduling system", JSSPP 1995), without its
// backfilling, since nobody says how long jobs take. One worker of a pool at a time, for the offer that the order would take first: so
// each has its turn, and little of the pool stands empty.
#include "services/scheduler/pool.h"

static struct sch_offer *waits(const struct sch_pool *pool) {
    struct sch_offer *offer = pool->reserved ? hd_map_get(&pool->offers, pool->reserved->reserved_for) : NULL;
    return offer && offer->state == SCH_WAITING ? offer : NULL;
}

static bool could_hold(const struct sch_worker *worker, const struct sch_class *class) {
    return sch_takes_work(worker) && sch_large_enough(worker, &class->asks) &&
           sch_fits(worker, &class->selector->needs);
}

// The one with the fewest jobs. As for any placement, the one to avoid only where there is no other, busy or silent as that may be.
static struct sch_worker *nearest(const struct sch_pool *pool, const struct sch_class *class) {
    const struct sch_needs *needs = &class->selector->needs;
    struct sch_worker *found = NULL, *avoided = NULL;
    bool others = false;
    for (size_t i = 0; i < pool->n_workers; i++) {
        struct sch_worker *worker = pool->workers[i];
        if (!sch_fits(worker, needs) || !sch_large_enough(worker, &class->asks))
            continue;
        others = others || !sch_avoided(worker, needs);
        if (!sch_takes_work(worker))
            continue;
        if (sch_avoided(worker, needs))
            avoided = worker;
        else if (!found || worker->used < found->used)
            found = worker;
    }
    return others ? found : avoided;
}

void sch_reserve_end(struct sch_pool *pool) {
    struct sch_worker *worker = HD_STEAL(pool->reserved);
    if (!worker)
        return;
    worker->reserved_for = 0;
    pool->dirty = true;
    sch_pool_touch(worker);
}

void sch_reserve_check(struct sch_pool *pool) {
    const struct sch_offer *offer = waits(pool);
    if (pool->reserved && (!offer || !could_hold(pool->reserved, offer->class)))
        sch_reserve_end(pool);
}

struct sch_offer *sch_reserve_take(struct sch_pool *pool, struct sch_worker **ret) {
    struct sch_offer *offer = waits(pool);
    if (!offer)
        return NULL;
    struct sch_worker as = *pool->reserved;
    as.reserved_for = 0;
    if (!sch_has_room(&as, &offer->asks))
        return NULL;
    *ret = pool->reserved;
    sch_reserve_end(pool);
    return offer;
}

bool sch_reserve_due(struct sch_pool *pool, int64_t now_ms) {
    int64_t reserve_ms = pool->queue.rules ? pool->queue.rules->reserve_ms : 0;
    const struct sch_spot *best = NULL;
    struct sch_worker *worker = NULL;
    sch_reserve_check(pool);
    if (pool->reserved || reserve_ms <= 0 || pool->unsorted)
        return false;
    for (const struct sch_class *class = pool->queue.classes.first; class; class = class->behind) {
        struct sch_worker *for_class = NULL;
        for (size_t i = 0; class->blocked && i < class->n_spots; i++) {
            const struct sch_spot *spot = &class->spots[i];
            if (now_ms - spot->first.ready_at_ms < reserve_ms ||
                (best && !sch_spot_before(&pool->queue, spot, best, now_ms)))
                continue;
            if (!for_class && !(for_class = nearest(pool, class)))
                break;
            best = spot;
            worker = for_class;
        }
    }
    if (!worker)
        return false;
    worker->reserved_for = best->first.key;
    pool->reserved = worker;
    sch_pool_touch(worker);
    return true;
}
