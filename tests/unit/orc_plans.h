// Compiled pipelines for the orchestrator's tests, built from edges.
#ifndef HD_TESTS_UNIT_ORC_PLANS_H
#define HD_TESTS_UNIT_ORC_PLANS_H

#include "base/arena.h"
#include "hodei/v1/pipeline.pb-c.h"

static inline Hodei__V1__CompiledPipeline *plan_new(struct hd_arena *arena, const char *tenant, const char *name,
                                                    size_t n_jobs) {
    Hodei__V1__CompiledPipeline *plan = HD_NEW(arena, Hodei__V1__CompiledPipeline);
    *plan = (Hodei__V1__CompiledPipeline)HODEI__V1__COMPILED_PIPELINE__INIT;
    plan->tenant = hd_arena_strdup(arena, tenant);
    plan->name = hd_arena_strdup(arena, name);
    plan->version = 1;
    plan->n_jobs = n_jobs;
    plan->jobs = HD_NEW_ARRAY(arena, n_jobs, Hodei__V1__CompiledJob *);
    for (size_t i = 0; i < n_jobs; i++) {
        Hodei__V1__CompiledJob *job = plan->jobs[i] = HD_NEW(arena, Hodei__V1__CompiledJob);
        *job = (Hodei__V1__CompiledJob)HODEI__V1__COMPILED_JOB__INIT;
        job->name = hd_arena_printf(arena, "job%zu", i);
        job->pool = hd_arena_strdup(arena, "default");
        job->executor = HODEI__V1__EXECUTOR__EXECUTOR_NOOP;
    }
    return plan;
}

static inline void plan_push(struct hd_arena *arena, uint32_t **list, size_t *n, uint32_t value) {
    uint32_t *grown = HD_NEW_ARRAY(arena, *n + 1, uint32_t);
    for (size_t i = 0; i < *n; i++)
        grown[i] = (*list)[i];
    grown[(*n)++] = value;
    *list = grown;
}

// `job` needs `needed`.
static inline void plan_edge(struct hd_arena *arena, Hodei__V1__CompiledPipeline *plan, uint32_t job, uint32_t needed) {
    plan_push(arena, &plan->jobs[job]->needs, &plan->jobs[job]->n_needs, needed);
    plan_push(arena, &plan->jobs[needed]->dependents, &plan->jobs[needed]->n_dependents, job);
}

#endif
