// The workers of a pool that fit one selector, as a tree over what they have free: finds the one to take, and is kept up to date
// place by place, in a logarithm of their number. Pure.
//
// The leaves are the workers in the pool's order (sch_worker_before); every node has the greatest free amount of each kind below it,
// so that whole branches without room are passed over.
//
//   pack    the first with room: machines fill up one after another, small ones first, and the rest stays empty for what is large,
//           or can be switched off (first fit)
//   spread  the one with the greatest free share, a worker's free share being the smallest of its slots', CPUs', memory's, disk's and
//           GPUs'; among equals the one with more free slots
//
// It must be built again when the pool's list has changed; amounts that change are told by sch_index_update.
#ifndef SCH_INDEX_H
#define SCH_INDEX_H

#include "services/scheduler/place.h"

enum sch_policy { SCH_PACK, SCH_SPREAD };

struct sch_node;
struct sch_index {
    enum sch_policy policy;
    struct sch_worker **workers; // that fit, without the one to avoid
    struct sch_worker *avoided;  // it fits too; NULL: it does not, or there is none
    size_t n;
    struct sch_node *nodes; // 1 is the root, n_leaves + i the i-th worker
    size_t n_leaves;        // a power of two
    uint32_t *leaf_of;      // by the worker's place in the pool: its number among those that fit
    uint64_t *fits;         // bits, by the worker's place: most updates are of workers that do not, and end here
};

void sch_index_build(struct sch_index *index, struct sch_worker *const *workers, size_t n,
                     const struct sch_needs *needs, enum sch_policy policy); // what was there is freed
void sch_index_release(struct sch_index *index);
void sch_index_update(struct sch_index *index, const struct sch_worker *worker);
// NULL: none has room. The one to avoid is taken only where no other is large enough; those that are and are busy are waited for.
struct sch_worker *sch_index_best(const struct sch_index *index, const struct hd_resources *asks);

#endif
