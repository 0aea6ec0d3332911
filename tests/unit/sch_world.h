// A pool for tests of the scheduler: workers and offers in a line each.
#ifndef HD_TESTS_UNIT_SCH_WORLD_H
#define HD_TESTS_UNIT_SCH_WORLD_H

#include "services/scheduler/pool.h"

#define SHELL HODEI__V1__EXECUTOR__EXECUTOR_SHELL
#define NOOP HODEI__V1__EXECUTOR__EXECUTOR_NOOP
#define ONLINE HODEI__V1__WORKER_STATE__WORKER_STATE_ONLINE
#define GIB (INT64_C(1) << 30)
#define NOW ((struct hd_now){.wall_ms = 1000000, .mono_ms = 500000})

struct world {
    struct hd_arena arena;
    struct sch_rules rules;
    struct sch_pool pool;
    uint64_t last_key;
};

static void world_init(struct world *w, enum sch_policy policy) {
    *w = (struct world){0};
    hd_arena_init(&w->arena);
    sch_pool_init(&w->pool, "default", policy, &w->rules);
}

static void world_release(struct world *w) {
    struct sch_offer *offer;
    for (size_t pos = 0; (offer = hd_map_next(&w->pool.offers, &pos, NULL));)
        sch_queue_drop(&w->pool.queue, offer);
    sch_pool_release(&w->pool);
    hd_arena_release(&w->arena);
}

static inline struct sch_pairs pairs(struct world *w, const char *text) { // "a=1,b=2"
    struct sch_pairs got = {HD_NEW_ARRAY(&w->arena, 16, struct sch_pair), 0};
    char *rest = hd_arena_strdup(&w->arena, text ? text : "");
    for (char *word; (word = strsep(&rest, ","));) {
        char *equals = strchr(word, '=');
        if (!equals)
            continue;
        *equals = '\0';
        got.list[got.n++] = (struct sch_pair){word, equals + 1};
    }
    return got;
}

static struct sch_worker *worker(struct world *w, const char *name, int64_t slots, struct hd_resources capacity,
                                 const char *labels, const char *taints) {
    struct sch_worker *made = HD_NEW(&w->arena, struct sch_worker);
    *made = (struct sch_worker){.state = ONLINE, .slots = slots, .executors = 1u << SHELL, .capacity = capacity};
    hd_strlcpy(made->name, name, sizeof(made->name));
    made->labels = pairs(w, labels);
    made->taints = pairs(w, taints);
    sch_pool_join(&w->pool, made);
    return made;
}

struct ask { // what is not said is nothing, tenant "a", executor shell
    const char *tenant, *labels, *tolerations, *avoid;
    struct hd_resources resources;
    int priority, executor;
    uint32_t weight;
    int64_t ready_at_ms;
};

static struct sch_offer *offer(struct world *w, struct ask ask) {
    Hodei__V1__ReadyJob job = HODEI__V1__READY_JOB__INIT;
    Hodei__V1__Resources resources;
    struct sch_pairs labels = pairs(w, ask.labels), tolerations = pairs(w, ask.tolerations);
    job.key = ++w->last_key;
    job.tenant = (char *)(uintptr_t)(ask.tenant ? ask.tenant : "a");
    job.priority = ask.priority;
    job.weight = ask.weight;
    job.executor = (Hodei__V1__Executor)(ask.executor ? ask.executor : SHELL);
    job.ready_at_ms = ask.ready_at_ms;
    job.avoid_worker = (char *)(uintptr_t)(ask.avoid ? ask.avoid : "");
    hd_resources_write(&ask.resources, &resources);
    job.resources = &resources;
    job.labels = HD_NEW_ARRAY(&w->arena, labels.n, Hodei__V1__Label *);
    for (; job.n_labels < labels.n; job.n_labels++) {
        Hodei__V1__Label *label = job.labels[job.n_labels] = HD_NEW(&w->arena, Hodei__V1__Label);
        *label = (Hodei__V1__Label)HODEI__V1__LABEL__INIT;
        label->key = (char *)(uintptr_t)labels.list[job.n_labels].key;
        label->value = (char *)(uintptr_t)labels.list[job.n_labels].value;
    }
    job.tolerations = HD_NEW_ARRAY(&w->arena, tolerations.n, Hodei__V1__Toleration *);
    for (; job.n_tolerations < tolerations.n; job.n_tolerations++) {
        Hodei__V1__Toleration *one = job.tolerations[job.n_tolerations] = HD_NEW(&w->arena, Hodei__V1__Toleration);
        *one = (Hodei__V1__Toleration)HODEI__V1__TOLERATION__INIT;
        one->key = (char *)(uintptr_t)tolerations.list[job.n_tolerations].key;
        one->value = (char *)(uintptr_t)tolerations.list[job.n_tolerations].value;
    }
    struct sch_offer *made = sch_queue_add(&w->pool.queue, &job);
    hd_map_put(&w->pool.offers, job.key, made);
    return made;
}

// The next placement: the worker's name, "" where there is none.
static inline const char *place(struct world *w) {
    sch_pool_reopen(&w->pool);
    struct sch_offer *placed = sch_pool_next(&w->pool, NOW.wall_ms);
    return placed ? placed->worker->name : "";
}

static inline void end(struct world *w, struct sch_offer *ended) {
    struct sch_worker *from = HD_STEAL(ended->worker);
    hd_map_remove(&w->pool.offers, ended->key);
    sch_pool_take_back(from, &ended->asks);
    sch_queue_drop(&w->pool.queue, ended);
}

#endif
