#include "services/scheduler/index.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"

#define SHARE_WHOLE 4096 // times the greatest amount it stays far below 2^63

struct sch_node { // the greatest of what is below
    int64_t slots;
    struct hd_resources free;
    int64_t rank; // for spread
};

// --- leaves ----------------------------------------------------------------------------------------------------------

static int64_t rank_of(const struct sch_worker *worker, const struct sch_room *room) {
    int64_t share = worker->slots > 0 ? room->slots * SHARE_WHOLE / worker->slots : 0;
    for (size_t i = 0; i < HD_RESOURCES; i++) {
        if (worker->capacity.of[i] == 0)
            continue;
        int64_t one = room->amounts.of[i] * SHARE_WHOLE / worker->capacity.of[i];
        share = one < share ? one : share;
    }
    return share * (SCH_MAX_SLOTS + 1) + room->slots;
}

static struct sch_node leaf(const struct sch_worker *worker) {
    struct sch_room room = sch_room_of(worker);
    return (struct sch_node){room.slots, room.amounts, room.slots ? rank_of(worker, &room) : 0};
}

static void join(struct sch_node *to, const struct sch_node *a, const struct sch_node *b) {
    to->slots = a->slots > b->slots ? a->slots : b->slots;
    to->rank = a->rank > b->rank ? a->rank : b->rank;
    for (size_t i = 0; i < HD_RESOURCES; i++)
        to->free.of[i] = a->free.of[i] > b->free.of[i] ? a->free.of[i] : b->free.of[i];
}

void sch_index_build(struct sch_index *index, struct sch_worker *const *workers, size_t n,
                     const struct sch_needs *needs, enum sch_policy policy) {
    sch_index_release(index);
    index->policy = policy;
    index->workers = hd_calloc(n + 1, sizeof(struct sch_worker *));
    index->leaf_of = hd_calloc(n + 1, sizeof(*index->leaf_of));
    index->fits = hd_calloc(n / 64 + 1, sizeof(*index->fits));
    for (size_t i = 0; i < n; i++) {
        if (!sch_fits(workers[i], needs))
            continue;
        if (sch_avoided(workers[i], needs)) {
            index->avoided = workers[i];
            continue;
        }
        index->leaf_of[i] = (uint32_t)index->n;
        index->fits[i / 64] |= UINT64_C(1) << i % 64;
        index->workers[index->n++] = workers[i];
    }
    for (index->n_leaves = 1; index->n_leaves < index->n;)
        index->n_leaves *= 2;
    index->nodes = hd_calloc(2 * index->n_leaves, sizeof(*index->nodes));
    for (size_t i = 0; i < index->n; i++)
        index->nodes[index->n_leaves + i] = leaf(index->workers[i]);
    for (size_t i = index->n_leaves; i-- > 1;)
        join(&index->nodes[i], &index->nodes[2 * i], &index->nodes[2 * i + 1]);
}

void sch_index_release(struct sch_index *index) {
    free(index->workers);
    free(index->leaf_of);
    free(index->fits);
    free(index->nodes);
    *index = (struct sch_index){0};
}

void sch_index_update(struct sch_index *index, const struct sch_worker *worker) {
    if (!(index->fits[worker->pos / 64] >> worker->pos % 64 & 1))
        return;
    size_t at = index->n_leaves + index->leaf_of[worker->pos];
    index->nodes[at] = leaf(worker);
    while ((at /= 2))
        join(&index->nodes[at], &index->nodes[2 * at], &index->nodes[2 * at + 1]);
}

// --- choosing --------------------------------------------------------------------------------------------------------

static bool covers(const struct sch_node *node, const struct hd_resources *asks) {
    return node->slots > 0 && hd_resources_short(asks, &node->free) == HD_RESOURCES;
}

// From the left; a branch may cover an ask that no leaf of it does, so the way goes on behind it.
static size_t first_fit(const struct sch_index *index, const struct hd_resources *asks) {
    for (size_t at = 1; at;) {
        if (!covers(&index->nodes[at], asks)) {
            while (at & 1) // a right child, or the root: up
                at /= 2;
            at += at > 0;
        } else if (at >= index->n_leaves) {
            return at;
        } else {
            at *= 2;
        }
    }
    return 0;
}

#define WAY_MAX 64 // branches that wait: one a level

// The better branch first; what cannot be better than the best one found is not looked at.
static size_t greatest_share(const struct sch_index *index, const struct hd_resources *asks) {
    size_t way[WAY_MAX], n = 0, best = 0;
    way[n++] = 1;
    while (n) {
        size_t at = way[--n];
        const struct sch_node *node = &index->nodes[at];
        if ((best && node->rank <= index->nodes[best].rank) || !covers(node, asks))
            continue;
        if (at >= index->n_leaves) {
            best = at;
            continue;
        }
        bool right = index->nodes[2 * at + 1].rank > index->nodes[2 * at].rank;
        way[n++] = 2 * at + !right;
        way[n++] = 2 * at + right;
    }
    return best;
}

static bool only_the_avoided(const struct sch_index *index, const struct hd_resources *asks) {
    size_t i = 0;
    while (i < index->n && !sch_large_enough(index->workers[i], asks))
        i++;
    return index->avoided && i == index->n;
}

struct sch_worker *sch_index_best(const struct sch_index *index, const struct hd_resources *asks) {
    if (only_the_avoided(index, asks))
        return sch_has_room(index->avoided, asks) ? index->avoided : NULL;
    if (!index->n)
        return NULL;
    size_t at = index->policy == SCH_SPREAD ? greatest_share(index, asks) : first_fit(index, asks);
    return at ? index->workers[at - index->n_leaves] : NULL;
}
