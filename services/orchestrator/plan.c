// What the orchestrator relies on in a compiled version, checked once, when it comes. Pure.
#include "base/names.h"
#include "services/orchestrator/advance.h"

#define MAX_JOBS 10000

static enum hd_status job_check(const Hodei__V1__CompiledPipeline *plan, size_t i, struct hd_err *err) {
    const Hodei__V1__CompiledJob *job = plan->jobs[i];
    const char *wrong = NULL;
    if (!hd_name_valid(job->name))
        wrong = "name";
    else if (!hd_token_valid(job->pool))
        wrong = "pool";
    else if (job->priority < -100 || job->priority > 100)
        wrong = "priority";
    else if (job->on_worker_lost > HODEI__V1__ON_WORKER_LOST__ON_WORKER_LOST_HOLD)
        wrong = "on_worker_lost";
    if (job->n_need_accepts && job->n_need_accepts != job->n_needs)
        wrong = "need_accepts";
    for (size_t k = 0; k < job->n_needs && !wrong; k++)
        wrong = job->needs[k] < plan->n_jobs ? NULL : "needs";
    for (size_t k = 0; k < job->n_dependents && !wrong; k++)
        wrong = job->dependents[k] < plan->n_jobs ? NULL : "dependents";
    if (!wrong)
        return HD_OK;
    hd_err_set(err, HD_INVALID, "compiled pipeline %s version %u: %s of a job is not valid", plan->name, plan->version,
               wrong);
    hd_err_field(err, "jobs[%zu].%s", i, wrong);
    return HD_INVALID;
}

// Takes jobs away in topological order along `dependents`; each must lose exactly its needs on the way. So a cycle, and an edge
// that stands at one end only, both show.
static bool edges_right(struct hd_arena *arena, const Hodei__V1__CompiledPipeline *plan) {
    size_t n = plan->n_jobs, done = 0, ready = 0;
    uint32_t *left = HD_NEW_ARRAY(arena, n, uint32_t), *order = HD_NEW_ARRAY(arena, n, uint32_t);
    for (size_t i = 0; i < n; i++) {
        left[i] = (uint32_t)plan->jobs[i]->n_needs;
        if (left[i] == 0)
            order[ready++] = (uint32_t)i;
    }
    for (; done < ready; done++) {
        const Hodei__V1__CompiledJob *job = plan->jobs[order[done]];
        for (size_t k = 0; k < job->n_dependents; k++) {
            uint32_t next = job->dependents[k];
            if (left[next] == 0)
                return false;
            if (--left[next] == 0)
                order[ready++] = next;
        }
    }
    return done == n;
}

enum hd_status orc_plan_check(struct hd_arena *arena, const Hodei__V1__CompiledPipeline *plan, struct hd_err *err) {
    if (!hd_token_valid(plan->tenant) || !hd_name_valid(plan->name) || plan->version == 0 ||
        (*plan->project && !hd_token_valid(plan->project)))
        return hd_err_set(err, HD_INVALID, "compiled pipeline: tenant, name, version or project is not valid");
    if (plan->deleted)
        return HD_OK;
    if (plan->n_jobs == 0 || plan->n_jobs > MAX_JOBS)
        return hd_err_set(err, HD_INVALID, "compiled pipeline %s version %u: has %zu jobs, not 1 to %d", plan->name,
                          plan->version, plan->n_jobs, MAX_JOBS);
    if (plan->n_main > plan->n_jobs)
        return hd_err_set(err, HD_INVALID, "compiled pipeline %s version %u: n_main is not valid", plan->name,
                          plan->version);
    for (size_t i = 0; i < plan->n_on_pipeline; i++)
        if (!hd_name_valid(plan->on_pipeline[i]->name) || strcmp(plan->on_pipeline[i]->name, plan->name) == 0)
            return hd_err_set(err, HD_INVALID, "compiled pipeline %s version %u: on_pipeline is not valid", plan->name,
                              plan->version);
    for (size_t i = 0; i < plan->n_jobs; i++)
        HD_TRY(job_check(plan, i, err));
    if (!edges_right(arena, plan))
        return hd_err_set(err, HD_INVALID,
                          "compiled pipeline %s version %u: needs and dependents do not agree, or form a cycle",
                          plan->name, plan->version);
    return HD_OK;
}
