#include "services/orchestrator/mem.h"

// The last one added is the first of its bucket, since buckets are filled in order.
#define POP(name, table)                                                                                               \
    void mem_pop_##name(void *mem) {                                                                                   \
        __typeof__(((struct orc_mem *)mem)->all.table) *of = &((struct orc_mem *)mem)->all.table;                      \
        void *last = of->items[of->n - 1];                                                                             \
        for (size_t i = 0; i < of->n_buckets; i++)                                                                     \
            if ((void *)of->buckets[i] == last)                                                                        \
                of->buckets[i] = of->items[of->n - 1]->chain;                                                          \
        of->n--;                                                                                                       \
    }
POP(run, runs)
POP(job, jobs)
POP(attempt, attempts)
void mem_pop_tenant(void *mem) {
    ((struct orc_mem *)mem)->all.n_tenants--;
}

struct orc_mem *orc_mem_new(void) {
    struct orc_mem *mem = hd_calloc(1, sizeof *mem);
    hd_mem_init(&mem->base, NULL);
    orc_ws_init(&mem->all, &mem->base.arena);
    return mem;
}

void orc_mem_free(struct orc_mem *mem) {
    if (!mem)
        return;
    hd_mem_release(&mem->base);
    free(mem);
}

struct orc_mem_counts orc_mem_count(const struct orc_mem *mem) {
    struct orc_mem_counts counts = {.runs = mem->all.runs.n,
                                    .jobs = mem->all.jobs.n,
                                    .attempts = mem->all.attempts.n,
                                    .tenants = mem->all.n_tenants,
                                    .dead_letters = mem->base.dead.n,
                                    .rows_written = mem->base.rows_written};
    for (size_t i = 0; i < mem->base.outbox.n; i++)
        counts.outbox_waiting += !((const struct hd_mem_outbox *)mem->base.outbox.items[i])->done;
    return counts;
}

const char *orc_mem_dead_letter(const struct orc_mem *mem, size_t i) {
    return i < mem->base.dead.n ? ((const struct hd_mem_dead *)mem->base.dead.items[i])->why : NULL;
}

uint64_t orc_mem_epoch(const struct orc_mem *mem, const char *pool) {
    for (size_t i = 0; i < mem->leases.n; i++)
        if (strcmp(((const struct mem_lease *)mem->leases.items[i])->pool, pool) == 0)
            return ((const struct mem_lease *)mem->leases.items[i])->epoch;
    return 0;
}
