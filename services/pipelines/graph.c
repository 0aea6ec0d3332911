#include "services/pipelines/graph.h"

void pip_graph_link(struct hd_arena *arena, Hodei__V1__CompiledJob **jobs, size_t n) {
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < jobs[i]->n_needs; k++)
            jobs[jobs[i]->needs[k]]->n_dependents++;
    }
    for (size_t i = 0; i < n; i++) {
        jobs[i]->dependents = HD_NEW_ARRAY(arena, jobs[i]->n_dependents, uint32_t);
        jobs[i]->n_dependents = 0;
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < jobs[i]->n_needs; k++) {
            Hodei__V1__CompiledJob *need = jobs[jobs[i]->needs[k]];
            need->dependents[need->n_dependents++] = (uint32_t)i;
        }
    }
}

// Takes away jobs whose needs are all gone until none is left to take; *ret_open counts what each of the rest still needs.
static size_t peel(struct hd_arena *arena, Hodei__V1__CompiledJob **jobs, size_t n, uint32_t **ret_open) {
    uint32_t *open = HD_NEW_ARRAY(arena, n, uint32_t), *queue = HD_NEW_ARRAY(arena, n, uint32_t);
    size_t head = 0, tail = 0;

    for (size_t i = 0; i < n; i++) {
        open[i] = (uint32_t)jobs[i]->n_needs;
        if (!open[i])
            queue[tail++] = (uint32_t)i;
    }
    while (head < tail) {
        const Hodei__V1__CompiledJob *job = jobs[queue[head++]];
        for (size_t k = 0; k < job->n_dependents; k++) {
            if (--open[job->dependents[k]] == 0)
                queue[tail++] = job->dependents[k];
        }
    }
    *ret_open = open;
    return n - tail;
}

size_t pip_graph_cycle(struct hd_arena *arena, Hodei__V1__CompiledJob **jobs, size_t n, uint32_t **ret) {
    uint32_t *open;
    if (peel(arena, jobs, n, &open) == 0)
        return 0;

    // Each job that is left needs another that is left, so walking along needs comes back somewhere.
    uint32_t *walk = HD_NEW_ARRAY(arena, n + 1, uint32_t), *seen_at = HD_NEW_ARRAY(arena, n, uint32_t);
    size_t len = 0;
    uint32_t at = 0;
    while (!open[at])
        at++;
    while (!seen_at[at]) {
        walk[len++] = at;
        seen_at[at] = (uint32_t)len;
        size_t k = 0;
        while (!open[jobs[at]->needs[k]])
            k++;
        at = jobs[at]->needs[k];
    }
    size_t start = seen_at[at] - 1, size = len - start, lowest = 0;
    for (size_t i = 1; i < size; i++) {
        if (walk[start + i] < walk[start + lowest])
            lowest = i;
    }
    uint32_t *cycle = HD_NEW_ARRAY(arena, size, uint32_t);
    for (size_t i = 0; i < size; i++)
        cycle[i] = walk[start + (lowest + i) % size];
    *ret = cycle;
    return size;
}
