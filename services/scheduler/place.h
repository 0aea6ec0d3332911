// Which worker takes a job. Pure and deterministic.
//
// A worker fits when it has the executor and every label that is asked for; it has room when it is ONLINE and holds fewer
// places than slots. Among those the one with the greatest free share of its slots is taken (spread), then the one with
// more free slots, then by name.
#ifndef SCH_PLACE_H
#define SCH_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/uuid.h"
#include "hodei/v1/worker.pb-c.h"

struct sch_label {
    const char *key, *value;
};
struct sch_needs { // what a class of jobs requires
    int executor;
    struct sch_label *labels;
    size_t n_labels;
};

struct sch_pool;
struct sch_worker {
    char name[65];
    struct sch_pool *pool; // NULL: no longer in the fleet, or in it and not usable
    char session[HD_UUID_TEXT];
    Hodei__V1__WorkerState state;
    int64_t slots;
    int64_t used;       // places given, accepted or not
    uint32_t executors; // bit 1 << executor
    struct sch_label *labels;
    size_t n_labels;
    int64_t heartbeat_at_ms;
    int64_t full_until_mono_ms; // it refused a job: less room than it said
    uint64_t seen;              // fleet version that named it last
};

bool sch_fits(const struct sch_worker *worker, const struct sch_needs *needs);
int64_t sch_free_slots(const struct sch_worker *worker, int64_t mono_ms); // never negative

#define SCH_MAX_SLOTS 1000000 // of a worker; more is taken as this

// The workers of a pool that fit a class and have room, best first, while places are only being given: `free` is what a worker
// had when it was last looked at, so it is never too small, and the top is the best once its own is true.
struct sch_candidate {
    struct sch_worker *worker;
    int64_t free;
};
struct sch_candidates {
    struct sch_candidate *heap;
    size_t n;
    int64_t mono_ms;
};
void sch_candidates_find(struct hd_arena *arena, struct sch_worker *const *workers, size_t n,
                         const struct sch_needs *needs, int64_t mono_ms, struct sch_candidates *ret);
// The best one with room, or NULL. The caller raises its `used`.
struct sch_worker *sch_candidates_best(struct sch_candidates *candidates);

// Why a job of this class waits: one sentence that names the one thing to change.
const char *sch_explain(struct hd_arena *arena, const char *pool, struct sch_worker *const *workers, size_t n,
                        const struct sch_needs *needs, int64_t mono_ms);

#endif
