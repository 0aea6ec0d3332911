// Placements a second, without anything around them: 10,000 workers with 50 sets of labels, 20 tenants, mixed asks.
//
// The queue is kept full; every turn ends as many jobs, at random, as there is room to place, so that the fleet stays as
// busy as it would be. Prints the rate for pack and for spread.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/unit/sch_world.h"

#define WORKERS 10000
#define LABEL_SETS 50
#define TENANTS 20
#define BACKLOG 100000
#define PLACEMENTS 1000000
#define TURN 500 // jobs that end between two turns

static double seconds(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void add_workers(struct world *w) {
    for (int i = 0; i < WORKERS; i++)
        worker(w, hd_arena_printf(&w->arena, "w%05d", i), 8,
               (struct hd_resources){{16000 << (i % 3), (32 * GIB) << (i % 3), 500 * GIB, i % 20 ? 0 : 4}},
               hd_arena_printf(&w->arena, "os=linux,set=s%d", i % LABEL_SETS), i % 20 ? NULL : "gpu=only");
}

static void add_offer(struct world *w, struct hd_rng *rng, int64_t at_ms) {
    static char sets[LABEL_SETS][24], tenants[TENANTS][8];
    size_t set = hd_rng_below(rng, LABEL_SETS), tenant = hd_rng_below(rng, TENANTS);
    bool gpu = hd_rng_below(rng, 50) == 0, anywhere = hd_rng_below(rng, 4) == 0;
    snprintf(sets[set], sizeof(sets[set]), "set=s%zu", set);
    snprintf(tenants[tenant], sizeof(tenants[tenant]), "t%zu", tenant);
    struct hd_arena kept = w->arena; // what the ask needs is copied by the queue
    hd_arena_init(&w->arena);
    offer(w, (struct ask){.tenant = tenants[tenant],
                          .labels = anywhere || gpu ? "os=linux" : sets[set],
                          .tolerations = gpu ? "gpu=only" : NULL,
                          .priority = (int)hd_rng_below(rng, 3),
                          .resources = {{(int64_t)1000 << hd_rng_below(rng, 4), GIB << hd_rng_below(rng, 5), 0, gpu}},
                          .ready_at_ms = at_ms});
    hd_arena_release(&w->arena);
    w->arena = kept;
}

static void measure(enum sch_policy policy, const char *name) {
    struct world w;
    struct hd_rng rng;
    static struct sch_offer *running[WORKERS * 8];
    size_t n_running = 0;
    int64_t now_ms = 1, placed = 0, turns = 0;
    double spent = 0;
    hd_rng_seed(&rng, 1);
    world_init(&w, policy);
    w.rules.ageing_ms = 600000;
    add_workers(&w);
    while (placed < PLACEMENTS) {
        while (w.pool.queue.waiting < BACKLOG)
            add_offer(&w, &rng, now_ms);
        double began = seconds();
        sch_pool_reopen(&w.pool);
        for (struct sch_offer *next; (next = sch_pool_next(&w.pool, now_ms)); placed++)
            running[n_running++] = next;
        for (size_t i = 0; i < TURN && n_running; i++) {
            size_t at = hd_rng_below(&rng, n_running);
            end(&w, running[at]);
            running[at] = running[--n_running];
        }
        spent += seconds() - began;
        now_ms += 10;
        turns++;
    }
    printf("%-6s  %8.0f placements/s  (%" PRId64 " placed in %" PRId64 " turns, %zu running at the end)\n", name,
           (double)placed / spent, placed, turns, n_running);
    world_release(&w);
}

int main(void) {
    measure(SCH_PACK, "pack");
    measure(SCH_SPREAD, "spread");
    return 0;
}
