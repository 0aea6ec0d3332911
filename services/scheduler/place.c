#include "services/scheduler/place.h"

#include <stdlib.h>
#include <string.h>

bool sch_has_label(const struct sch_worker *worker, const struct sch_pair *label) {
    for (size_t i = 0; i < worker->labels.n; i++)
        if (strcmp(worker->labels.list[i].key, label->key) == 0)
            return strcmp(worker->labels.list[i].value, label->value) == 0;
    return false;
}

bool sch_has_executor(const struct sch_worker *worker, int executor) {
    if (executor == HODEI__V1__EXECUTOR__EXECUTOR_UNSPECIFIED)
        return true;
    return executor > 0 && executor < 32 && (worker->executors & (1u << executor));
}

static bool tolerated(const struct sch_pair *taint, const struct sch_pairs *tolerations) {
    for (size_t i = 0; i < tolerations->n; i++)
        if (strcmp(tolerations->list[i].key, taint->key) == 0 &&
            (!*tolerations->list[i].value || strcmp(tolerations->list[i].value, taint->value) == 0))
            return true;
    return false;
}

const struct sch_pair *sch_intolerable(const struct sch_worker *worker, const struct sch_pairs *tolerations) {
    for (size_t i = 0; i < worker->taints.n; i++)
        if (!tolerated(&worker->taints.list[i], tolerations))
            return &worker->taints.list[i];
    return NULL;
}

bool sch_fits(const struct sch_worker *worker, const struct sch_needs *needs) {
    if (!sch_has_executor(worker, needs->executor))
        return false;
    for (size_t i = 0; i < needs->labels.n; i++)
        if (!sch_has_label(worker, &needs->labels.list[i]))
            return false;
    return !sch_intolerable(worker, &needs->tolerations);
}

bool sch_avoided(const struct sch_worker *worker, const struct sch_needs *needs) {
    return needs->avoid && strcmp(worker->name, needs->avoid) == 0;
}

// --- room ------------------------------------------------------------------------------------------------------------

bool sch_takes_work(const struct sch_worker *worker) {
    return worker->state == HODEI__V1__WORKER_STATE__WORKER_STATE_ONLINE && !worker->cordoned && !*worker->unfit;
}

struct sch_room sch_room_of(const struct sch_worker *worker) {
    if (!sch_takes_work(worker) || worker->full_until_mono_ms || worker->reserved_for || worker->used >= worker->slots)
        return (struct sch_room){0};
    return (struct sch_room){worker->slots - worker->used, hd_resources_left(&worker->capacity, &worker->taken)};
}

bool sch_has_room(const struct sch_worker *worker, const struct hd_resources *asks) {
    struct sch_room room = sch_room_of(worker);
    return room.slots > 0 && hd_resources_short(asks, &room.amounts) == HD_RESOURCES;
}

bool sch_large_enough(const struct sch_worker *worker, const struct hd_resources *asks) {
    return worker->slots > 0 && hd_resources_short(asks, &worker->capacity) == HD_RESOURCES;
}

void sch_give_place(struct sch_worker *worker, const struct hd_resources *asks) {
    worker->used++;
    hd_resources_add(&worker->taken, asks);
}

void sch_take_place_back(struct sch_worker *worker, const struct hd_resources *asks) {
    hd_resources_take(&worker->taken, asks);
    if (--worker->used == 0)
        worker->taken = (struct hd_resources){0};
}

// --- the order of a pool ---------------------------------------------------------------------------------------------

bool sch_worker_before(const struct sch_worker *a, const struct sch_worker *b) {
    static const enum hd_resource scarce_first[] = {HD_GPU, HD_CPU_MILLI, HD_MEMORY_BYTES};
    for (size_t i = 0; i < sizeof(scarce_first) / sizeof(scarce_first[0]); i++) {
        int64_t x = a->capacity.of[scarce_first[i]], y = b->capacity.of[scarce_first[i]];
        if (x != y)
            return x < y;
    }
    return a->slots != b->slots ? a->slots < b->slots : strcmp(a->name, b->name) < 0;
}

static int worker_order(const void *a, const void *b) {
    const struct sch_worker *x = *(struct sch_worker *const *)a, *y = *(struct sch_worker *const *)b;
    return sch_worker_before(x, y) ? -1 : sch_worker_before(y, x);
}

void sch_workers_sort(struct sch_worker **workers, size_t n) {
    if (n)
        qsort(workers, n, sizeof(*workers), worker_order);
    for (size_t i = 0; i < n; i++)
        workers[i]->pos = i;
}
