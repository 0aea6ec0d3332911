// Admission: which QUEUED jobs a tenant's grant lets through. Pure.
#include "services/orchestrator/advance.h"

bool orc_tenant_touched(const struct orc_job *job) {
    return orc_job_counted(job->state) != orc_job_counted(job->was) ||
           orc_job_admissible(job->state, job->hold) != orc_job_admissible(job->was, job->was_hold);
}

void orc_tenant_count(const struct orc_ws *ws, struct orc_tenant *tenant) {
    for (size_t i = 0; i < ws->jobs.n; i++) {
        const struct orc_job *job = ws->jobs.items[i];
        if (!orc_tenant_touched(job) || strcmp(job->run->tenant, tenant->name) != 0)
            continue;
        tenant->used += orc_job_counted(job->state) - orc_job_counted(job->was);
        tenant->queued += orc_job_admissible(job->state, job->hold) - orc_job_admissible(job->was, job->was_hold);
        tenant->dirty = true;
    }
}

size_t orc_tenant_admit(struct orc_ws *ws, struct orc_tenant *tenant, struct orc_chance *chance) {
    int64_t room = tenant->granted ? tenant->limit - tenant->used : 0;
    if (room <= 0)
        return 0;
    struct orc_job **candidates = HD_NEW_ARRAY(ws->arena, ws->jobs.n, struct orc_job *);
    size_t n = 0, admitted = 0;
    for (size_t i = 0; i < ws->jobs.n; i++)
        if (orc_job_admissible(ws->jobs.items[i]->state, ws->jobs.items[i]->hold) &&
            strcmp(ws->jobs.items[i]->run->tenant, tenant->name) == 0)
            candidates[n++] = ws->jobs.items[i];
    if (n > 1)
        qsort(candidates, n, sizeof candidates[0], orc_admission_order);
    for (; admitted < n && (int64_t)admitted < room; admitted++) {
        orc_job_change(candidates[admitted], ORC_JOB_ADMIT, 0, chance);
        candidates[admitted]->run->dirty = true;
    }
    tenant->used += (int64_t)admitted;
    tenant->queued -= (int64_t)admitted;
    tenant->dirty |= admitted > 0;
    return admitted;
}
