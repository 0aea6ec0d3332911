// The order of what waits in one pool. Pure.
//
// Offers are sorted into classes (what they require: executor and labels), a class into lanes (tenant and priority), a lane
// by age. The best offer of all classes that are not blocked is: highest priority, then the tenant with the fewest live jobs
// in this pool, then the oldest, then the lowest key. A class that fits nowhere is blocked as a whole, so that it costs nothing a
// job, until capacity grows.
//
// An offer is made by sch_queue_add, waits in its lane until sch_queue_take, counts as a live job of its tenant from
// then on, and is freed by sch_queue_drop; the queue owns it all the time. A place whose offer was never seen (after a
// reset) is an offer without a tenant, by sch_queue_add_live.
#ifndef SCH_QUEUE_H
#define SCH_QUEUE_H

#include "base/map.h"
#include "base/uuid.h"
#include "hodei/v1/flow.pb-c.h"
#include "services/scheduler/place.h"

struct sch_tenant {
    struct sch_tenant *next; // same hash
    uint64_t hash;
    size_t refs; // offers
    int64_t live;
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
    size_t pos;                // in the heap of its lane, while waiting
    struct sch_worker *worker; // while placing or held
    char session[HD_UUID_TEXT];
    int64_t sent_mono_ms;
    struct sch_offer *sent_prev, *sent_next; // placings by the time of sending
};

struct sch_lane {
    struct sch_lane *next;
    struct sch_tenant *tenant;
    int32_t priority;
    struct sch_offer **heap;
    size_t n, cap;
};
struct sch_class {
    struct sch_class *next;            // same hash
    struct sch_class *before, *behind; // all classes of the queue, in the order made
    uint64_t hash;
    size_t refs; // offers
    bool blocked;
    bool told; // it has been logged why it is blocked
    struct sch_lane *lanes;
    struct sch_needs needs;
    struct sch_candidates candidates; // valid in `turn`
    uint64_t turn;
    size_t text_len;
    char text[]; // canonical form; needs.labels point into it
};
struct sch_queue {
    struct hd_map classes, tenants; // by hash, chained
    struct sch_class *first, *last;
    size_t waiting;
};

void sch_queue_release(struct sch_queue *queue); // frees every class and tenant; offers must be gone
struct sch_offer *sch_queue_add(struct sch_queue *queue, const Hodei__V1__ReadyJob *job);
struct sch_offer *sch_queue_add_live(uint64_t key);
struct sch_offer *sch_queue_best(const struct sch_queue *queue); // NULL: nothing that is not blocked
void sch_queue_take(struct sch_queue *queue, struct sch_offer *offer);
void sch_queue_drop(struct sch_queue *queue, struct sch_offer *offer); // in any state; frees it

#endif
