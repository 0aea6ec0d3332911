#include "services/scheduler/place.h"

#include <string.h>

#include "base/buf.h"

static bool has_label(const struct sch_worker *worker, const struct sch_label *label) {
    for (size_t i = 0; i < worker->n_labels; i++)
        if (hd_streq(worker->labels[i].key, label->key))
            return hd_streq(worker->labels[i].value, label->value);
    return false;
}

static bool has_executor(const struct sch_worker *worker, int executor) {
    if (executor == HODEI__V1__EXECUTOR__EXECUTOR_UNSPECIFIED)
        return true;
    return executor > 0 && executor < 32 && (worker->executors & (1u << executor));
}

bool sch_fits(const struct sch_worker *worker, const struct sch_needs *needs) {
    if (!has_executor(worker, needs->executor))
        return false;
    for (size_t i = 0; i < needs->n_labels; i++)
        if (!has_label(worker, &needs->labels[i]))
            return false;
    return true;
}

int64_t sch_free_slots(const struct sch_worker *worker, int64_t mono_ms) {
    if (worker->state != HODEI__V1__WORKER_STATE__WORKER_STATE_ONLINE || mono_ms < worker->full_until_mono_ms)
        return 0;
    return worker->used < worker->slots ? worker->slots - worker->used : 0;
}

// Compares free/slots without division; slots are capped, so nothing overflows.
static bool better(const struct sch_candidate *a, const struct sch_candidate *b) {
    int64_t share_a = a->free * b->worker->slots, share_b = b->free * a->worker->slots;
    if (share_a != share_b)
        return share_a > share_b;
    return a->free != b->free ? a->free > b->free : strcmp(a->worker->name, b->worker->name) < 0;
}

static void sift_down(struct sch_candidates *c, size_t pos) {
    struct sch_candidate moved = c->heap[pos];
    for (size_t child; (child = 2 * pos + 1) < c->n; pos = child) {
        if (child + 1 < c->n && better(&c->heap[child + 1], &c->heap[child]))
            child++;
        if (!better(&c->heap[child], &moved))
            break;
        c->heap[pos] = c->heap[child];
    }
    c->heap[pos] = moved;
}

void sch_candidates_find(struct hd_arena *arena, struct sch_worker *const *workers, size_t n,
                         const struct sch_needs *needs, int64_t mono_ms, struct sch_candidates *ret) {
    *ret = (struct sch_candidates){.heap = HD_NEW_ARRAY(arena, n, struct sch_candidate), .mono_ms = mono_ms};
    for (size_t i = 0; i < n; i++) {
        int64_t free = sch_free_slots(workers[i], mono_ms);
        if (free > 0 && sch_fits(workers[i], needs))
            ret->heap[ret->n++] = (struct sch_candidate){workers[i], free};
    }
    for (size_t i = ret->n / 2; i-- > 0;)
        sift_down(ret, i);
}

struct sch_worker *sch_candidates_best(struct sch_candidates *c) {
    while (c->n) {
        struct sch_candidate *top = &c->heap[0];
        int64_t free = sch_free_slots(top->worker, c->mono_ms);
        if (free == top->free)
            return top->worker;
        top->free = free;
        if (!free)
            *top = c->heap[--c->n];
        if (c->n)
            sift_down(c, 0);
    }
    return NULL;
}

// --- why a job waits ---

static const char *no_label(struct hd_arena *arena, const char *pool, struct sch_worker *const *workers, size_t n,
                            const struct sch_needs *needs) {
    for (size_t l = 0; l < needs->n_labels; l++) {
        bool found = false;
        for (size_t i = 0; i < n && !found; i++)
            found = has_label(workers[i], &needs->labels[l]);
        if (!found)
            return hd_arena_printf(arena, "no worker of pool \"%s\" has the label %s=%s", pool, needs->labels[l].key,
                                   needs->labels[l].value);
    }
    return hd_arena_printf(arena, "no worker of pool \"%s\" has all %zu labels that the job asks for at once", pool,
                           needs->n_labels);
}

static const char *executor_name(int executor) {
    switch (executor) {
    case HODEI__V1__EXECUTOR__EXECUTOR_SHELL:
        return "shell";
    case HODEI__V1__EXECUTOR__EXECUTOR_DOCKER:
        return "docker";
    case HODEI__V1__EXECUTOR__EXECUTOR_KUBERNETES:
        return "kubernetes";
    case HODEI__V1__EXECUTOR__EXECUTOR_NOOP:
        return "noop";
    default:
        return "unknown";
    }
}

const char *sch_explain(struct hd_arena *arena, const char *pool, struct sch_worker *const *workers, size_t n,
                        const struct sch_needs *needs, int64_t mono_ms) {
    struct sch_needs labels_only = {.labels = needs->labels, .n_labels = needs->n_labels};
    size_t with_executor = 0, with_labels = 0, fit = 0, online = 0;
    int64_t slots = 0, free_slots = 0;
    for (size_t i = 0; i < n; i++) {
        with_executor += has_executor(workers[i], needs->executor);
        with_labels += sch_fits(workers[i], &labels_only);
        if (!sch_fits(workers[i], needs))
            continue;
        fit++;
        online += workers[i]->state == HODEI__V1__WORKER_STATE__WORKER_STATE_ONLINE;
        slots += workers[i]->slots;
        free_slots += sch_free_slots(workers[i], mono_ms);
    }
    if (!n)
        return hd_arena_printf(arena, "pool \"%s\" has no worker", pool);
    if (!with_labels)
        return no_label(arena, pool, workers, n, needs);
    if (!with_executor)
        return hd_arena_printf(arena, "no worker of pool \"%s\" has the executor %s", pool,
                               executor_name(needs->executor));
    if (!fit)
        return hd_arena_printf(arena,
                               "no worker of pool \"%s\" has both the labels that the job asks for and the executor %s",
                               pool, executor_name(needs->executor));
    if (!online)
        return hd_arena_printf(arena, "none of the %zu workers of pool \"%s\" that fit is online", fit, pool);
    if (!free_slots)
        return hd_arena_printf(arena, "all %lld slots of the %zu workers of pool \"%s\" that fit are busy",
                               (long long)slots, fit, pool);
    return "it is being placed";
}
