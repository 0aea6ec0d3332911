// Which worker takes a job. Pure and deterministic.
//
// A worker *fits* a job by what it is: it has the executor, every label that is asked for, and no taint that the job does not
// tolerate. It has *room* by what it holds at the moment: it is ONLINE, neither people nor its agent keep work away, it has not just refused, and a slot and every amount that is
// asked for are free. Among those that fit and have room the pool's policy chooses (index.h).
#ifndef SCH_PLACE_H
#define SCH_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/resources.h"
#include "base/uuid.h"
#include "hodei/v1/worker.pb-c.h"

struct sch_pair { // a label, a taint or a toleration
    const char *key, *value;
};
struct sch_pairs {
    struct sch_pair *list;
    size_t n;
};
struct sch_needs { // of what a worker is; what it must have free is not in it
    int executor;
    struct sch_pairs labels;
    struct sch_pairs tolerations; // an empty value tolerates any
    const char *avoid;            // the name of a worker that is taken only where no other will ever do; NULL: none
};

struct sch_pool;
struct sch_worker {
    char name[65];
    struct sch_pool *pool; // NULL: no longer in the fleet, or in it and not usable
    size_t pos;            // in the pool's list
    char session[HD_UUID_TEXT];
    int64_t incarnation; // of the session
    Hodei__V1__WorkerState state;
    int64_t slots, used;                 // used: places given, accepted or not
    struct hd_resources capacity, taken; // taken: by those places
    uint32_t executors;                  // bit 1 << executor
    struct sch_pairs labels, taints;
    int64_t heartbeat_at_ms;
    bool cordoned;              // people keep new work away
    bool draining;              // and wait for its jobs to end
    char unfit[200];            // why its agent takes no work, cut off; "": it does
    int64_t full_until_mono_ms; // not 0: it refused a job, so it has less room than it said
    uint64_t seen;              // fleet version that named it last
    uint64_t reserved_for;      // key of the offer that it is kept free for; 0: none
};

#define SCH_MAX_SLOTS 1000000 // of a worker; more is taken as this

struct sch_room { // what is free
    int64_t slots;
    struct hd_resources amounts;
};

bool sch_has_executor(const struct sch_worker *worker, int executor);
bool sch_has_label(const struct sch_worker *worker, const struct sch_pair *label);
const struct sch_pair *sch_intolerable(const struct sch_worker *worker, const struct sch_pairs *tolerations); // or NULL
bool sch_fits(const struct sch_worker *worker, const struct sch_needs *needs); // `avoid` left aside
bool sch_avoided(const struct sch_worker *worker, const struct sch_needs *needs);

// ONLINE, and neither people nor its agent keep new work away.
bool sch_takes_work(const struct sch_worker *worker);
struct sch_room sch_room_of(const struct sch_worker *worker);
bool sch_has_room(const struct sch_worker *worker, const struct hd_resources *asks);
// Whether it could hold such a job with nothing else on it.
bool sch_large_enough(const struct sch_worker *worker, const struct hd_resources *asks);
void sch_give_place(struct sch_worker *worker, const struct hd_resources *asks);
void sch_take_place_back(struct sch_worker *worker, const struct hd_resources *asks);

// The order in which a pool's workers stand: those with fewer GPUs first, then smaller ones, then by name. So what is scarce is
// kept for the jobs that ask for it.
bool sch_worker_before(const struct sch_worker *a, const struct sch_worker *b);
void sch_workers_sort(struct sch_worker **workers, size_t n); // and says each its place

#endif
