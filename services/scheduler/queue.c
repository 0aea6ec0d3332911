#include "services/scheduler/queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define SHARE_BITS 30

// --- ranks -----------------------------------------------------------------------------------------------------------

bool sch_offer_older(const void *a, const void *b) {
    const struct sch_offer *x = a, *y = b;
    return x->ready_at_ms != y->ready_at_ms ? x->ready_at_ms < y->ready_at_ms : x->key < y->key;
}

static bool age_before(const struct sch_age *a, const struct sch_age *b) {
    return a->ready_at_ms != b->ready_at_ms ? a->ready_at_ms < b->ready_at_ms : a->key < b->key;
}

static bool group_older(const void *a, const void *b) {
    return age_before(&((const struct sch_group *)a)->age, &((const struct sch_group *)b)->age);
}

static bool group_poorer(const void *a, const void *b) {
    const struct sch_tenant *x = ((const struct sch_group *)a)->tenant, *y = ((const struct sch_group *)b)->tenant;
    return x->share != y->share ? x->share < y->share : group_older(a, b);
}

static const struct sch_heap_kind of_offers = {sch_offer_older, offsetof(struct sch_offer, pos)};
static const struct sch_heap_kind by_share = {group_poorer, offsetof(struct sch_group, pos_share)};
static const struct sch_heap_kind by_age = {group_older, offsetof(struct sch_group, pos_age)};

int64_t sch_band_rank(const struct sch_queue *queue, int32_t priority, int64_t oldest_ms, int64_t now_ms) {
    int64_t step_ms = queue->rules ? queue->rules->ageing_ms : 0;
    return priority + (step_ms > 0 && now_ms > oldest_ms ? (now_ms - oldest_ms) / step_ms : 0);
}

bool sch_spot_before(const struct sch_queue *queue, const struct sch_spot *a, const struct sch_spot *b,
                     int64_t now_ms) {
    const struct sch_band *x = a->group->band, *y = b->group->band;
    int64_t x_rank = sch_band_rank(queue, x->priority, a->first.ready_at_ms, now_ms);
    int64_t y_rank = sch_band_rank(queue, y->priority, b->first.ready_at_ms, now_ms);
    int64_t x_share = a->group->tenant->share, y_share = b->group->tenant->share;
    if (x_rank != y_rank)
        return x_rank > y_rank;
    if (x->priority != y->priority)
        return x->priority > y->priority;
    return x_share != y_share ? x_share < y_share : age_before(&a->first, &b->first);
}

// --- shares ----------------------------------------------------------------------------------------------------------

// part/whole in 2^-30; what the pool does not have counts for nothing.
static int64_t fraction(int64_t part, int64_t whole) {
    if (whole <= 0)
        return 0;
    if (part >= whole)
        return INT64_C(1) << SHARE_BITS;
    while (whole >= INT64_C(1) << (62 - SHARE_BITS)) {
        part /= 2;
        whole /= 2;
    }
    return (part << SHARE_BITS) / whole;
}

static void count_share(const struct sch_queue *queue, struct sch_tenant *tenant) {
    int64_t share = queue->slots > 0 ? fraction(tenant->live, queue->slots) : tenant->live;
    for (size_t i = 0; i < HD_RESOURCES; i++) {
        int64_t one = fraction(tenant->taken.of[i], queue->capacity.of[i]);
        share = one > share ? one : share;
    }
    tenant->share = share * SCH_WEIGHT_MAX / tenant->weight;
}

static bool in_band(const struct sch_group *group) {
    return group->pos_share != SCH_HEAP_OUT;
}

static void share_moved(const struct sch_queue *queue, struct sch_tenant *tenant) {
    count_share(queue, tenant);
    for (struct sch_group *group = tenant->groups; group; group = group->next)
        if (in_band(group))
            sch_heap_moved(&group->band->by_share, &by_share, group);
}

// One more or one less live job of it.
static void tenant_live(const struct sch_queue *queue, struct sch_tenant *tenant, const struct hd_resources *asks,
                        int more) {
    tenant->live += more;
    if (more > 0)
        hd_resources_add(&tenant->taken, asks);
    else
        hd_resources_take(&tenant->taken, asks);
    share_moved(queue, tenant);
}

void sch_queue_capacity(struct sch_queue *queue, int64_t slots, const struct hd_resources *capacity) {
    size_t pos = 0;
    queue->slots = slots;
    queue->capacity = *capacity;
    for (struct sch_tenant *first; (first = hd_map_next(&queue->tenants, &pos, NULL));)
        for (struct sch_tenant *tenant = first; tenant; tenant = tenant->next)
            count_share(queue, tenant);
    for (struct sch_band *band = queue->bands; band; band = band->next)
        sch_heap_rebuild(&band->by_share, &by_share);
}

// --- tenants: found by the hash of their name, counted by the offers that name them ----------------------------------

static int64_t weight_of(const struct sch_rules *rules, const char *name) {
    for (size_t i = 0; rules && i < rules->n_weights; i++)
        if (strcmp(rules->weights[i].tenant, name) == 0)
            return rules->weights[i].weight;
    return 1;
}

static struct sch_tenant *tenant_get(struct sch_queue *queue, const char *name) {
    size_t size = strlen(name) + 1;
    uint64_t hash = hd_hash(name, size, 0);
    struct sch_tenant *first = hd_map_get(&queue->tenants, hash), *t = first;
    while (t && strcmp(t->name, name) != 0)
        t = t->next;
    if (!t) {
        t = hd_calloc(1, sizeof(*t) + size);
        memcpy(t->name, name, size);
        t->hash = hash;
        t->weight = weight_of(queue->rules, name);
        t->next = first;
        hd_map_put(&queue->tenants, hash, t);
    }
    t->refs++;
    return t;
}

// Limits come and go; what waits is put in order anew. What the settings say holds for tenants without a weight of their own.
static void tenant_weigh(struct sch_queue *queue, struct sch_tenant *tenant, uint32_t said) {
    int64_t weight = said > 1 ? said : weight_of(queue->rules, tenant->name);
    weight = weight < SCH_WEIGHT_MAX ? weight : SCH_WEIGHT_MAX;
    if (said == 0 || weight == tenant->weight)
        return;
    tenant->weight = weight;
    share_moved(queue, tenant);
}

static void tenant_put(struct sch_queue *queue, struct sch_tenant *tenant) {
    if (--tenant->refs)
        return;
    struct sch_tenant *first = hd_map_get(&queue->tenants, tenant->hash), **at = &first;
    while (*at != tenant)
        at = &(*at)->next;
    *at = tenant->next;
    if (first)
        hd_map_put(&queue->tenants, tenant->hash, first);
    else
        hd_map_remove(&queue->tenants, tenant->hash);
    free(tenant);
}

// --- bands, groups, lanes: made with the first offer, gone with the last one -----------------------------------------

static struct sch_band *band_get(struct sch_queue *queue, int32_t priority) {
    struct sch_band **at = &queue->bands, *band = *at;
    for (; band && band->priority > priority; band = *at)
        at = &band->next;
    if (band && band->priority == priority)
        return band;
    band = hd_calloc(1, sizeof(*band));
    band->priority = priority;
    band->next = *at;
    *at = band;
    return band;
}

static void band_free_if_empty(struct sch_queue *queue, struct sch_band *band) {
    struct sch_band **at = &queue->bands;
    if (band->n_groups)
        return;
    while (*at != band)
        at = &(*at)->next;
    *at = band->next;
    sch_heap_release(&band->by_share);
    sch_heap_release(&band->by_age);
    free(band);
}

static struct sch_group *group_get(struct sch_queue *queue, struct sch_tenant *tenant, int32_t priority) {
    struct sch_group *group = tenant->groups;
    while (group && group->band->priority != priority)
        group = group->next;
    if (group)
        return group;
    group = hd_calloc(1, sizeof(*group));
    group->tenant = tenant;
    group->band = band_get(queue, priority);
    group->band->n_groups++;
    group->pos_share = group->pos_age = SCH_HEAP_OUT;
    group->next = tenant->groups;
    tenant->groups = group;
    return group;
}

static void group_free_if_empty(struct sch_queue *queue, struct sch_group *group) {
    struct sch_group **at = &group->tenant->groups;
    if (group->n)
        return;
    while (*at != group)
        at = &(*at)->next;
    *at = group->next;
    group->band->n_groups--;
    band_free_if_empty(queue, group->band);
    free(group->entries);
    free(group);
}

static void group_close(struct sch_group *group) {
    sch_heap_remove(&group->band->by_share, &by_share, group);
    sch_heap_remove(&group->band->by_age, &by_age, group);
}

static void group_rank(struct sch_group *group, struct sch_lane *oldest, struct sch_age age) {
    group->oldest = oldest;
    group->age = age;
    if (in_band(group)) {
        sch_heap_moved(&group->band->by_share, &by_share, group);
        sch_heap_moved(&group->band->by_age, &by_age, group);
    } else {
        sch_heap_add(&group->band->by_share, &by_share, group);
        sch_heap_add(&group->band->by_age, &by_age, group);
    }
}

// An open lane of it begins with an offer of this age.
static void group_hears(struct sch_group *group, struct sch_lane *lane, struct sch_age age) {
    if (!in_band(group) || age_before(&age, &group->age))
        group_rank(group, lane, age);
}

// Whether its oldest open lane is known; else it is looked for, and the group stands elsewhere, or in no heap any more.
static bool group_settled(const struct sch_queue *queue, struct sch_group *group) {
    const bool *blocked = queue->classes.blocked;
    const struct sch_entry *oldest = NULL;
    if (group->oldest && !group->oldest->class->blocked)
        return true;
    for (size_t i = 0; i < group->n; i++)
        if (!blocked[group->entries[i].class_number] &&
            (!oldest || age_before(&group->entries[i].first, &oldest->first)))
            oldest = &group->entries[i];
    if (oldest)
        group_rank(group, oldest->lane, oldest->first);
    else
        group_close(group);
    return false;
}

// A copy of the list with room for twice as many.
static void *grown(void *list, size_t n, size_t size, size_t *cap) {
    *cap = n ? n * 2 : 4;
    void *more = hd_calloc(*cap, size);
    if (n)
        memcpy(more, list, n * size);
    free(list);
    return more;
}

static void lane_enter(struct sch_lane *lane, struct sch_class *class, struct sch_group *group) {
    if (group->n == group->cap)
        group->entries = grown(group->entries, group->n, sizeof(*group->entries), &group->cap);
    if (class->n_spots == class->cap_spots)
        class->spots = grown(class->spots, class->n_spots, sizeof(*class->spots), &class->cap_spots);
    lane->class = class;
    lane->group = group;
    lane->entry = group->n++;
    lane->spot = class->n_spots++;
    group->entries[lane->entry] = (struct sch_entry){.class_number = class->number, .lane = lane};
    class->spots[lane->spot] = (struct sch_spot){.group = group, .lane = lane};
}

static void lane_leave(const struct sch_lane *lane) {
    struct sch_group *group = lane->group;
    struct sch_class *class = lane->class;
    group->entries[lane->entry] = group->entries[--group->n];
    group->entries[lane->entry].lane->entry = lane->entry;
    class->spots[lane->spot] = class->spots[--class->n_spots];
    class->spots[lane->spot].lane->spot = lane->spot;
    if (group->oldest == lane)
        group->oldest = NULL;
    if (!group->n && in_band(group))
        group_close(group);
}

static uint64_t lane_hash(const struct sch_class *class, const struct sch_tenant *tenant, int32_t priority) {
    const uint64_t words[] = {class->hash, (uint64_t)(uintptr_t) class, tenant->hash, (uint64_t)priority};
    return hd_hash(words, sizeof(words), 3);
}

static struct sch_lane *lane_get(struct sch_queue *queue, struct sch_class *class, struct sch_tenant *tenant,
                                 int32_t priority) {
    uint64_t hash = lane_hash(class, tenant, priority);
    struct sch_lane *first = hd_map_get(&queue->lanes, hash), *lane = first;
    while (lane && (lane->class != class || lane->group->tenant != tenant || lane->group->band->priority != priority))
        lane = lane->next;
    if (lane)
        return lane;
    lane = hd_calloc(1, sizeof(*lane));
    lane->hash = hash;
    lane->next = first;
    hd_map_put(&queue->lanes, hash, lane);
    lane_enter(lane, class, group_get(queue, tenant, priority));
    return lane;
}

static void lane_free(struct sch_queue *queue, struct sch_lane *lane) {
    struct sch_lane *first = hd_map_get(&queue->lanes, lane->hash), **at = &first;
    while (*at != lane)
        at = &(*at)->next;
    *at = lane->next;
    if (first)
        hd_map_put(&queue->lanes, lane->hash, first);
    else
        hd_map_remove(&queue->lanes, lane->hash);
    lane_leave(lane);
    group_free_if_empty(queue, lane->group);
    sch_heap_release(&lane->offers);
    free(lane);
}

// Its first offer has changed.
static void lane_changed(struct sch_lane *lane) {
    const struct sch_offer *first = lane->offers.items[0];
    const struct sch_age age = {first->ready_at_ms, first->key};
    lane->group->entries[lane->entry].first = lane->class->spots[lane->spot].first = age;
    if (lane->group->oldest == lane && age_before(&lane->group->age, &age))
        lane->group->oldest = NULL; // another one may be older now
    else if (!lane->class->blocked)
        group_hears(lane->group, lane, age);
}

void sch_queue_block(struct sch_queue *queue, struct sch_class *class) {
    class->blocked = queue->classes.blocked[class->number] = true;
}

void sch_queue_open(struct sch_queue *queue, struct sch_class *class) {
    class->blocked = queue->classes.blocked[class->number] = false;
    for (size_t i = 0; i < class->n_spots; i++)
        group_hears(class->spots[i].group, class->spots[i].lane, class->spots[i].first);
}

// --- offers ----------------------------------------------------------------------------------------------------------

void sch_queue_release(struct sch_queue *queue) {
    sch_classes_release(&queue->classes);
    hd_map_release(&queue->tenants);
    hd_map_release(&queue->lanes);
    *queue = (struct sch_queue){.rules = queue->rules};
}

struct sch_offer *sch_queue_add(struct sch_queue *queue, const Hodei__V1__ReadyJob *job) {
    struct sch_offer *offer = hd_calloc(1, sizeof(*offer));
    offer->key = job->key;
    hd_strlcpy(offer->run, job->run, sizeof(offer->run));
    offer->job = job->job;
    offer->priority = job->priority;
    offer->ready_at_ms = job->ready_at_ms;
    offer->tenant = tenant_get(queue, job->tenant);
    tenant_weigh(queue, offer->tenant, job->weight);
    offer->class = sch_class_get(&queue->classes, job);
    offer->asks = offer->class->asks;
    offer->lane = lane_get(queue, offer->class, offer->tenant, offer->priority);
    sch_heap_add(&offer->lane->offers, &of_offers, offer);
    lane_changed(offer->lane);
    queue->waiting++;
    return offer;
}

struct sch_offer *sch_queue_add_live(struct sch_queue *queue, uint64_t key, const char *tenant,
                                     const struct hd_resources *asks) {
    struct sch_offer *offer = hd_calloc(1, sizeof(*offer));
    offer->key = key;
    offer->state = SCH_HELD;
    offer->asks = *asks;
    if (*tenant) {
        offer->tenant = tenant_get(queue, tenant);
        tenant_live(queue, offer->tenant, asks, 1);
    }
    return offer;
}

// The first group of a heap of its band that has an open lane, with its oldest one known. NULL: none has.
static struct sch_group *first_open(const struct sch_queue *queue, const struct sch_heap *heap) {
    while (heap->n)
        if (group_settled(queue, heap->items[0]))
            return heap->items[0];
    return NULL;
}

struct sch_offer *sch_queue_best(struct sch_queue *queue, int64_t now_ms) {
    const struct sch_band *best = NULL;
    int64_t best_rank = 0;
    for (const struct sch_band *band = queue->bands; band; band = band->next) {
        const struct sch_group *oldest = first_open(queue, &band->by_age);
        int64_t rank = oldest ? sch_band_rank(queue, band->priority, oldest->age.ready_at_ms, now_ms) : 0;
        if (oldest && (!best || rank > best_rank)) {
            best = band;
            best_rank = rank;
        }
    }
    return best ? first_open(queue, &best->by_share)->oldest->offers.items[0] : NULL;
}

// Out of its lane; a lane goes with its last offer.
static void leave_lane(struct sch_queue *queue, struct sch_offer *offer) {
    struct sch_lane *lane = HD_STEAL(offer->lane);
    sch_heap_remove(&lane->offers, &of_offers, offer);
    queue->waiting--;
    if (lane->offers.n)
        lane_changed(lane);
    else
        lane_free(queue, lane);
}

void sch_queue_take(struct sch_queue *queue, struct sch_offer *offer) {
    leave_lane(queue, offer);
    offer->state = SCH_PLACING;
    tenant_live(queue, offer->tenant, &offer->asks, 1);
}

void sch_queue_drop(struct sch_queue *queue, struct sch_offer *offer) {
    if (offer->state == SCH_WAITING)
        leave_lane(queue, offer);
    else if (offer->tenant)
        tenant_live(queue, offer->tenant, &offer->asks, -1);
    if (offer->tenant)
        tenant_put(queue, offer->tenant);
    if (offer->class)
        sch_class_put(&queue->classes, offer->class);
    free(offer);
}
