// The order of what waits in one pool. Pure.
//
//   1. Priority, with ageing. The offers of one priority are a *band*. A band's rank is its priority plus one for every `ageing_ms`
//      that its oldest offer has waited; the band of the highest rank is served, among equals the one of the higher priority. So a
//      band that is passed over rises until it is served, and nothing starves. (Of J. R. Jackson's dynamic priorities, "Some problems in
//      queueing with dynamic priorities", Naval Research Logistics Quarterly 7, 1960: arrival plus an urgency; here for bands and not
//      for single jobs, so that a tenant's long backlog does not overtake, by age alone, what its fair share holds back.)
//   2. Within a band, weighted fair share between tenants: the one with the smallest share of the pool for its weight. A share is
//      the greatest of its shares of slots, CPUs, memory, disk and GPUs (A. Ghodsi et al., "Dominant Resource Fairness", NSDI 2011).
//   3. Then age, then the lowest key.
//
// Offers lie in lanes (class, tenant, priority) by age; a tenant's lanes of one priority are a group; a band has its groups by share
// and by age. A class for which no worker has room is blocked: its lanes are passed over, and it costs nothing until capacity
// grows (or a worker is kept free for it: reserve.c). A step costs a logarithm of what waits, besides the bands and the lanes of one group; it never looks at the jobs of a
// class one by one.
//
// An offer is made by sch_queue_add, waits in its lane until sch_queue_take, counts as a live job of its tenant from then
// on, and is freed by sch_queue_drop; the queue owns it all the time. A place whose offer was never seen (after a reset) is an
// offer without a class, by sch_queue_add_live.
#ifndef SCH_QUEUE_H
#define SCH_QUEUE_H

#include "base/uuid.h"
#include "services/scheduler/class.h"
#include "services/scheduler/heap.h"

#define SCH_WEIGHT_MAX 1000

struct sch_weight {
    const char *tenant;
    int64_t weight; // 1..SCH_WEIGHT_MAX; a tenant that is not listed has 1
};
struct sch_rules {
    int64_t ageing_ms;  // 0: no ageing
    int64_t reserve_ms; // who has waited so long has a worker kept free for it (reserve.c); 0: never
    struct sch_weight *weights;
    size_t n_weights;
};

struct sch_group;
struct sch_tenant {
    struct sch_tenant *next; // same hash
    uint64_t hash;
    size_t refs; // offers
    int64_t live, weight;
    struct hd_resources taken; // by its live jobs
    int64_t share;
    struct sch_group *groups;
    char name[];
};

enum sch_offer_state {
    SCH_WAITING, // in its lane
    SCH_PLACING, // published, no answer yet
    SCH_HELD     // accepted: a live attempt
};
struct sch_offer {
    uint64_t key;
    enum sch_offer_state state;
    char run[HD_UUID_TEXT];
    uint32_t job;
    int32_t priority;
    int64_t ready_at_ms;
    struct sch_tenant *tenant; // NULL: not known
    struct sch_class *class;   // NULL: not known
    struct hd_resources asks;
    struct sch_lane *lane;     // while waiting
    size_t pos;                // in it
    struct sch_worker *worker; // while placing or held
    char session[HD_UUID_TEXT];
    int64_t incarnation;
    int64_t sent_mono_ms;
    struct sch_offer *sent_prev, *sent_next; // placings by the time of sending
};

struct sch_band;
struct sch_lane {          // offers of one class, tenant and priority
    struct sch_lane *next; // same hash
    uint64_t hash;
    struct sch_class *class;
    struct sch_group *group;
    struct sch_heap offers;
    size_t spot, entry; // in its class, in its group
};
struct sch_entry {        // a lane of a group, with what is looked at when the oldest open one is looked for
    struct sch_age first; // of its offers
    uint32_t class_number;
    struct sch_lane *lane;
};
struct sch_group {          // lanes of one tenant and priority
    struct sch_group *next; // of the tenant
    struct sch_tenant *tenant;
    struct sch_band *band;
    struct sch_entry *entries;
    size_t n, cap;
    // The oldest lane whose class is not blocked; NULL: to be looked for. It is not valid either when its class has been blocked
    // since. No open lane is older than `age` in any case, so a group in a heap can only turn out to be younger than it stands.
    struct sch_lane *oldest;
    struct sch_age age;
    size_t pos_share, pos_age; // in its band; SCH_HEAP_OUT: all its lanes are blocked
};
struct sch_band { // groups of one priority
    struct sch_band *next;
    int32_t priority;
    size_t n_groups; // blocked ones included
    struct sch_heap by_share, by_age;
};
struct sch_queue {
    const struct sch_rules *rules; // borrowed; NULL: no ageing, equal weights
    struct sch_classes classes;
    struct hd_map tenants, lanes; // by hash, chained
    struct sch_band *bands;       // highest first
    int64_t slots;                // of the pool
    struct hd_resources capacity; // of the pool
    size_t waiting;
};

void sch_queue_release(struct sch_queue *queue); // offers must be gone
struct sch_offer *sch_queue_add(struct sch_queue *queue, const Hodei__V1__ReadyJob *job);
// A place that is held already. `tenant` empty: not known.
struct sch_offer *sch_queue_add_live(struct sch_queue *queue, uint64_t key, const char *tenant,
                                     const struct hd_resources *asks);
struct sch_offer *sch_queue_best(struct sch_queue *queue, int64_t now_ms); // NULL: nothing that is not blocked
void sch_queue_take(struct sch_queue *queue, struct sch_offer *offer);
void sch_queue_drop(struct sch_queue *queue, struct sch_offer *offer);  // in any state; frees it
void sch_queue_block(struct sch_queue *queue, struct sch_class *class); // its offers leave the order
void sch_queue_open(struct sch_queue *queue, struct sch_class *class);  // and come back
// What the pool has in all: shares are of that.
void sch_queue_capacity(struct sch_queue *queue, int64_t slots, const struct hd_resources *capacity);

// The order, of two lanes by their first offers, whether their classes are blocked or not.
bool sch_spot_before(const struct sch_queue *queue, const struct sch_spot *a, const struct sch_spot *b, int64_t now_ms);
bool sch_offer_older(const void *a, const void *b); // of two offers
int64_t sch_band_rank(const struct sch_queue *queue, int32_t priority, int64_t oldest_ms, int64_t now_ms);

#endif
