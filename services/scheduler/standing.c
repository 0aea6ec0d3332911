// Where an offer stands in its pool's queue, without a change of the queue: the order in which jobs would start if what starts took
// as much as what runs.
#include "services/scheduler/explain.h"

struct band_count {
    int32_t priority;
    int64_t oldest_ms;
    size_t n;
};
struct group_count {
    const struct sch_group *group;
    size_t n;
};
struct counts {
    struct band_count *bands;
    size_t n_bands, cap_bands;
    struct group_count *groups; // of the offer's band
    size_t n_groups, cap_groups;
    size_t queued, own; // own: the tenant's jobs of this priority that are older
};

// Whether any worker could ever hold a job of the class as it is.
static bool may_run(const struct sch_fleet *fleet, const struct sch_class *class) {
    for (size_t i = 0; i < fleet->n; i++)
        if (sch_large_enough(fleet->workers[i], &class->asks) && sch_fits(fleet->workers[i], &class->selector->needs))
            return true;
    return false;
}

static struct band_count *band_of(struct hd_arena *arena, struct counts *counts, int32_t priority) {
    for (size_t i = 0; i < counts->n_bands; i++)
        if (counts->bands[i].priority == priority)
            return &counts->bands[i];
    HD_GROW(arena, counts->bands, counts->n_bands, counts->cap_bands);
    counts->bands[counts->n_bands] = (struct band_count){.priority = priority, .oldest_ms = INT64_MAX};
    return &counts->bands[counts->n_bands++];
}

static struct group_count *group_of(struct hd_arena *arena, struct counts *counts, const struct sch_group *group) {
    for (size_t i = 0; i < counts->n_groups; i++)
        if (counts->groups[i].group == group)
            return &counts->groups[i];
    HD_GROW(arena, counts->groups, counts->n_groups, counts->cap_groups);
    counts->groups[counts->n_groups] = (struct group_count){.group = group};
    return &counts->groups[counts->n_groups++];
}

static void count_lane(struct hd_arena *arena, const struct sch_lane *lane, const struct sch_offer *offer,
                       struct counts *counts) {
    const struct sch_offer *oldest = lane->offers.items[0];
    struct band_count *band = band_of(arena, counts, oldest->priority);
    band->n += lane->offers.n;
    band->oldest_ms = oldest->ready_at_ms < band->oldest_ms ? oldest->ready_at_ms : band->oldest_ms;
    counts->queued += lane->offers.n;
    if (oldest->priority == offer->priority)
        group_of(arena, counts, lane->group)->n += lane->offers.n;
    for (size_t i = 0; lane->group == offer->lane->group && i < lane->offers.n; i++)
        counts->own += sch_offer_older(lane->offers.items[i], offer);
}

static struct counts count(struct hd_arena *arena, const struct sch_fleet *fleet, const struct sch_queue *queue,
                           const struct sch_offer *offer) {
    struct counts counts = {0};
    for (const struct sch_class *class = queue->classes.first; class; class = class->behind) {
        if (class->blocked && !may_run(fleet, class))
            continue;
        for (size_t i = 0; i < class->n_spots; i++)
            count_lane(arena, class->spots[i].lane, offer, &counts);
    }
    return counts;
}

// The share of the tenant when `more` of its jobs have started, each as large as those that run.
static int64_t share_with(const struct sch_queue *queue, const struct sch_tenant *tenant, size_t more) {
    int64_t slot = (INT64_C(1) << 30) / (queue->slots > 0 ? queue->slots : 1) * SCH_WEIGHT_MAX / tenant->weight;
    int64_t each = tenant->live > 0 ? tenant->share / tenant->live : slot;
    return tenant->share + (int64_t)more * (each > 0 ? each : 1);
}

// How many jobs of a group start before its tenant's share reaches `share`.
static size_t before_share(const struct sch_queue *queue, const struct group_count *count, int64_t share) {
    size_t low = 0, high = count->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (share_with(queue, count->group->tenant, middle) < share)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct sch_standing sch_standing_of(struct hd_arena *arena, const struct sch_fleet *fleet,
                                    const struct sch_queue *queue, const struct sch_offer *offer, int64_t now_ms) {
    struct counts counts = count(arena, fleet, queue, offer);
    struct sch_standing standing = {.queued = counts.queued};
    const struct band_count *own = band_of(arena, &counts, offer->priority);
    int64_t rank = sch_band_rank(queue, own->priority, own->oldest_ms, now_ms);
    for (size_t i = 0; i < counts.n_bands; i++) {
        const struct band_count *band = &counts.bands[i];
        int64_t other = sch_band_rank(queue, band->priority, band->oldest_ms, now_ms);
        if (other > rank || (other == rank && band->priority > offer->priority))
            standing.higher += band->n;
    }
    int64_t share = share_with(queue, offer->tenant, counts.own);
    size_t others = 0;
    for (size_t i = 0; i < counts.n_groups; i++) {
        const struct group_count *group = &counts.groups[i];
        if (group->group == offer->lane->group)
            continue;
        size_t n = before_share(queue, group, share);
        others += n;
        standing.poorer += group->group->tenant->share < offer->tenant->share ? n : 0;
    }
    standing.position = 1 + standing.higher + counts.own + others;
    return standing;
}
