#include "services/scheduler/queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static bool older(const struct sch_offer *a, const struct sch_offer *b) {
    return a->ready_at_ms != b->ready_at_ms ? a->ready_at_ms < b->ready_at_ms : a->key < b->key;
}

// --- a lane is a binary heap by age ---

static void heap_set(struct sch_lane *lane, size_t pos, struct sch_offer *offer) {
    lane->heap[pos] = offer;
    offer->pos = pos;
}

static void heap_up(struct sch_lane *lane, size_t pos, struct sch_offer *offer) {
    for (; pos > 0 && older(offer, lane->heap[(pos - 1) / 2]); pos = (pos - 1) / 2)
        heap_set(lane, pos, lane->heap[(pos - 1) / 2]);
    heap_set(lane, pos, offer);
}

static void heap_down(struct sch_lane *lane, size_t pos, struct sch_offer *offer) {
    for (size_t child; (child = 2 * pos + 1) < lane->n; pos = child) {
        if (child + 1 < lane->n && older(lane->heap[child + 1], lane->heap[child]))
            child++;
        if (!older(lane->heap[child], offer))
            break;
        heap_set(lane, pos, lane->heap[child]);
    }
    heap_set(lane, pos, offer);
}

static void lane_add(struct sch_lane *lane, struct sch_offer *offer) {
    if (lane->n == lane->cap) {
        size_t cap = lane->cap ? lane->cap * 2 : 8;
        struct sch_offer **heap = hd_calloc(cap, sizeof(*heap));
        if (lane->n)
            memcpy(heap, lane->heap, lane->n * sizeof(*heap));
        free(lane->heap);
        lane->heap = heap;
        lane->cap = cap;
    }
    lane->n++;
    heap_up(lane, lane->n - 1, offer);
}

static void lane_remove(struct sch_lane *lane, struct sch_offer *offer) {
    assert(lane); // a waiting offer stands in one
    struct sch_offer *last = lane->heap[--lane->n];
    if (last == offer)
        return;
    if (offer->pos > 0 && older(last, lane->heap[(offer->pos - 1) / 2]))
        heap_up(lane, offer->pos, last);
    else
        heap_down(lane, offer->pos, last);
}

static struct sch_lane **lane_find(struct sch_class *class, const struct sch_tenant *tenant, int32_t priority) {
    struct sch_lane **at = &class->lanes;
    while (*at && ((*at)->tenant != tenant || (*at)->priority != priority))
        at = &(*at)->next;
    return at;
}

// --- tenants and classes: found by the hash of their text, counted by the offers that name them ---

static struct sch_tenant *tenant_get(struct sch_queue *queue, const char *name) {
    size_t size = strlen(name) + 1;
    uint64_t hash = hd_hash(name, size, 0);
    struct sch_tenant *first = hd_map_get(&queue->tenants, hash), *t = first;
    while (t && !hd_streq(t->name, name))
        t = t->next;
    if (!t) {
        t = hd_calloc(1, sizeof(*t) + size);
        memcpy(t->name, name, size);
        t->hash = hash;
        t->next = first;
        hd_map_put(&queue->tenants, hash, t);
    }
    t->refs++;
    return t;
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

static int label_order(const void *a, const void *b) {
    const Hodei__V1__Label *const *x = a, *const *y = b;
    int keys = strcmp((*x)->key, (*y)->key);
    return keys ? keys : strcmp((*x)->value, (*y)->value);
}

// Executor, then the sorted labels, each text with its NUL: equal bytes are equal requirements.
static void class_text(const Hodei__V1__ReadyJob *job, struct hd_buf *out) {
    const Hodei__V1__Label **labels = hd_calloc(job->n_labels, sizeof(*labels));
    if (job->n_labels)
        memcpy(labels, job->labels, job->n_labels * sizeof(*labels));
    qsort(labels, job->n_labels, sizeof(*labels), label_order);
    hd_buf_addc(out, (char)job->executor);
    for (size_t i = 0; i < job->n_labels; i++) {
        hd_buf_add(out, labels[i]->key, strlen(labels[i]->key) + 1);
        hd_buf_add(out, labels[i]->value, strlen(labels[i]->value) + 1);
    }
    free(labels);
}

static struct sch_class *class_new(const struct hd_buf *text, uint64_t hash, const Hodei__V1__ReadyJob *job) {
    struct sch_class *c = hd_calloc(1, sizeof(*c) + text->len);
    memcpy(c->text, text->data, text->len);
    c->text_len = text->len;
    c->hash = hash;
    c->needs.executor = (int)job->executor;
    c->needs.n_labels = job->n_labels;
    c->needs.labels = hd_calloc(job->n_labels, sizeof(*c->needs.labels));
    const char *at = c->text + 1;
    for (size_t i = 0; i < job->n_labels; i++) {
        c->needs.labels[i].key = at;
        at += strlen(at) + 1;
        c->needs.labels[i].value = at;
        at += strlen(at) + 1;
    }
    return c;
}

static struct sch_class *class_get(struct sch_queue *queue, const Hodei__V1__ReadyJob *job) {
    HD_AUTO_BUF struct hd_buf text = {0};
    class_text(job, &text);
    uint64_t hash = hd_hash(text.data, text.len, 1);
    struct sch_class *first = hd_map_get(&queue->classes, hash), *c = first;
    while (c && (c->text_len != text.len || memcmp(c->text, text.data, text.len) != 0))
        c = c->next;
    if (!c) {
        c = class_new(&text, hash, job);
        c->next = first;
        hd_map_put(&queue->classes, hash, c);
        c->before = queue->last;
        *(queue->last ? &queue->last->behind : &queue->first) = c;
        queue->last = c;
    }
    c->refs++;
    return c;
}

static void class_put(struct sch_queue *queue, struct sch_class *class) {
    if (--class->refs)
        return;
    struct sch_class *first = hd_map_get(&queue->classes, class->hash), **at = &first;
    while (*at != class)
        at = &(*at)->next;
    *at = class->next;
    if (first)
        hd_map_put(&queue->classes, class->hash, first);
    else
        hd_map_remove(&queue->classes, class->hash);
    *(class->before ? &class->before->behind : &queue->first) = class->behind;
    *(class->behind ? &class->behind->before : &queue->last) = class->before;
    free(class->needs.labels);
    free(class);
}

void sch_queue_release(struct sch_queue *queue) {
    hd_map_release(&queue->classes);
    hd_map_release(&queue->tenants);
    *queue = (struct sch_queue){0};
}

struct sch_offer *sch_queue_add(struct sch_queue *queue, const Hodei__V1__ReadyJob *job) {
    struct sch_offer *offer = hd_calloc(1, sizeof(*offer));
    offer->key = job->key;
    hd_strlcpy(offer->run, job->run, sizeof(offer->run));
    offer->job = job->job;
    offer->priority = job->priority;
    offer->ready_at_ms = job->ready_at_ms;
    offer->tenant = tenant_get(queue, job->tenant);
    offer->class = class_get(queue, job);
    struct sch_lane **at = lane_find(offer->class, offer->tenant, offer->priority);
    if (!*at) {
        *at = hd_calloc(1, sizeof(**at));
        (*at)->tenant = offer->tenant;
        (*at)->priority = offer->priority;
    }
    lane_add(*at, offer);
    queue->waiting++;
    return offer;
}

struct sch_offer *sch_queue_add_live(uint64_t key) {
    struct sch_offer *offer = hd_calloc(1, sizeof(*offer));
    offer->key = key;
    offer->state = SCH_HELD;
    return offer;
}

static bool better(const struct sch_offer *a, const struct sch_offer *b) {
    if (a->priority != b->priority)
        return a->priority > b->priority;
    if (a->tenant->live != b->tenant->live)
        return a->tenant->live < b->tenant->live;
    return older(a, b);
}

struct sch_offer *sch_queue_best(const struct sch_queue *queue) {
    struct sch_offer *best = NULL;
    for (const struct sch_class *c = queue->first; c; c = c->behind) {
        if (c->blocked)
            continue;
        for (const struct sch_lane *lane = c->lanes; lane; lane = lane->next)
            if (!best || better(lane->heap[0], best))
                best = lane->heap[0];
    }
    return best;
}

// Out of its lane; a lane goes with its last offer.
static void leave_lane(struct sch_queue *queue, struct sch_offer *offer) {
    struct sch_lane **at = lane_find(offer->class, offer->tenant, offer->priority), *lane = *at;
    lane_remove(lane, offer);
    queue->waiting--;
    if (lane->n)
        return;
    *at = lane->next;
    free(lane->heap);
    free(lane);
}

void sch_queue_take(struct sch_queue *queue, struct sch_offer *offer) {
    leave_lane(queue, offer);
    offer->state = SCH_PLACING;
    offer->tenant->live++;
}

void sch_queue_drop(struct sch_queue *queue, struct sch_offer *offer) {
    if (offer->state == SCH_WAITING)
        leave_lane(queue, offer);
    else if (offer->tenant)
        offer->tenant->live--;
    if (offer->tenant)
        tenant_put(queue, offer->tenant);
    if (offer->class)
        class_put(queue, offer->class);
    free(offer);
}
