// A pool: its workers, its queue, and the decision which offer goes to which worker. Pure; what is sent and heard is feed.c's.
//
// The list of workers changes by sch_pool_join and sch_pool_leave, what they have free by sch_pool_give, sch_pool_take_back and
// sch_pool_touch; the indexes of the selectors follow. After a change of the list they are built again when they are needed.
#ifndef SCH_POOL_H
#define SCH_POOL_H

#include "services/scheduler/explain.h"

struct sch_pool {
    struct sch_pool *next;
    char name[65];
    enum sch_policy policy;
    struct sch_queue queue;
    struct sch_rate rate;                     // of what was accepted
    struct hd_map offers;                     // by key, in every state
    struct sch_offer *sent_first, *sent_last; // placings, oldest first
    struct sch_worker **workers;              // of the fleet, in this pool; in their order unless `unsorted`
    size_t n_workers, cap_workers;
    struct sch_worker *reserved; // for one offer; NULL: none
    bool unsorted;
    uint64_t state; // of the list; indexes built for another are not valid
    bool leading;   // until until_mono_ms
    bool told;      // reset has come (or was waited for long enough): it may place
    bool feed_open;
    bool dirty; // something has come that may let a job be placed
    uint64_t epoch;
    int64_t until_mono_ms, asked_mono_ms, granted_mono_ms;
    unsigned asks;
};

void sch_pool_init(struct sch_pool *pool, const char *name, enum sch_policy policy, const struct sch_rules *rules);
void sch_pool_release(struct sch_pool *pool); // offers must be gone; workers are not its own
void sch_pool_join(struct sch_pool *pool, struct sch_worker *worker);
void sch_pool_leave(struct sch_worker *worker); // the pool that it is in, if any
// What the worker is has changed: its labels, executors, taints, capacity.
void sch_pool_changed(struct sch_pool *pool);
// What it has free has changed. The worker may be in no pool.
void sch_pool_touch(const struct sch_worker *worker);
void sch_pool_give(struct sch_worker *worker, const struct hd_resources *asks);
void sch_pool_take_back(struct sch_worker *worker, const struct hd_resources *asks);

// Before a series of sch_pool_next: classes that have room again come back into the order.
void sch_pool_reopen(struct sch_pool *pool);
// The best offer that has room is taken, with its worker and session set, and the place is given. NULL: nothing more can be placed.
struct sch_offer *sch_pool_next(struct sch_pool *pool, int64_t now_ms);
// reserve.c. The first: now and then, after all that can be placed has been; true where a worker was reserved. The second ends a
// reservation that is of no use any more. The third: the offer that has a worker reserved, which has room for it now; the reservation is
// over. NULL: none.
bool sch_reserve_due(struct sch_pool *pool, int64_t now_ms);
void sch_reserve_check(struct sch_pool *pool);
struct sch_offer *sch_reserve_take(struct sch_pool *pool, struct sch_worker **ret);
void sch_reserve_end(struct sch_pool *pool);

struct sch_verdict sch_pool_explain(struct hd_arena *arena, const struct sch_pool *pool, const struct sch_offer *offer,
                                    struct hd_now now);

#endif
