// Why a job that is READY waits: one reason, and one sentence that names the one thing to change. Pure.
//
// What the workers are is looked at first (none, executor, labels, size, taints, silence); where some fit, all of them are busy, and
// then the queue says what goes first: jobs of higher priority, tenants with less of the pool, or simply older ones.
#ifndef SCH_EXPLAIN_H
#define SCH_EXPLAIN_H

#include "base/arena.h"
#include "hodei/v1/scheduler.pb-c.h"
#include "services/scheduler/queue.h"

// How many jobs a pool has started lately: in this minute and in the one before.
struct sch_rate {
    int64_t minute, now, before;
};
void sch_rate_add(struct sch_rate *rate, int64_t n, int64_t mono_ms);
// Until so many more have been started at this rate; 0: nothing to judge by.
int64_t sch_rate_estimate_ms(const struct sch_rate *rate, size_t n, int64_t mono_ms);

struct sch_fleet {
    const char *pool;
    struct sch_worker *const *workers;
    size_t n;
};
struct sch_verdict {
    Hodei__V1__PlaceReason reason;
    const char *text;
    size_t position, queued; // 0: it does not stand in the queue
    int64_t estimate_ms;     // 0: not known
};
// Of a class, by the workers alone: BUSY where some fit.
struct sch_verdict sch_explain_class(struct hd_arena *arena, const struct sch_fleet *fleet,
                                     const struct sch_needs *needs, const struct hd_resources *asks);
// Of an offer of the queue.
struct sch_verdict sch_explain_offer(struct hd_arena *arena, const struct sch_fleet *fleet,
                                     const struct sch_queue *queue, const struct sch_rate *rate,
                                     const struct sch_offer *offer, struct hd_now now);

// standing.c: what goes before an offer.
struct sch_standing {
    size_t position; // from 1
    size_t queued;   // offers for which there are workers, free or not
    size_t higher;   // go first by priority
    size_t poorer;   // go first since their tenants have less of the pool for their weight
};
struct sch_standing sch_standing_of(struct hd_arena *arena, const struct sch_fleet *fleet,
                                    const struct sch_queue *queue, const struct sch_offer *offer, int64_t now_ms);

#endif
