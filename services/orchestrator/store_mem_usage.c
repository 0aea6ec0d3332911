// The twin's count of what tenants use.
#include "services/orchestrator/advance.h"
#include "services/orchestrator/mem.h"

#define QUEUED HODEI__V1__JOB_STATE__JOB_STATE_QUEUED

static struct orc_usage of_tenant(const struct orc_tenant *row) {
    return (struct orc_usage){.tenant = row->name,
                              .jobs = row->used.of[HD_QUOTA_JOBS],
                              .cpu_milli = row->used.of[HD_QUOTA_CPU],
                              .memory_bytes = row->used.of[HD_QUOTA_MEMORY],
                              .gpu = row->used.of[HD_QUOTA_GPU],
                              .pending = row->used.of[HD_QUOTA_QUEUED],
                              .queued = row->queued,
                              .parts = row->parts,
                              .pipeline = ""};
}

static bool asked_for(const char *tenant, const char **names, size_t n) {
    for (size_t i = 0; names && i < n; i++)
        if (strcmp(names[i], tenant) == 0)
            return true;
    return names == NULL;
}

// A row for each job of a tenant and of its project, where PostgreSQL has one for each kind: the sum is the same.
enum hd_status mem_usage_count(ORC_CALL, const char **names, size_t n, struct orc_usage **ret, size_t *ret_n) {
    const struct orc_mem *mem = store;
    struct orc_usage *usage = HD_NEW_ARRAY(cx->arena, 2 * mem->all.jobs.n + mem->all.n_tenants, struct orc_usage);
    size_t count = 0;
    for (size_t i = 0; i < mem->all.n_tenants; i++) {
        size_t before = count;
        if (!asked_for(mem->all.tenants[i]->name, names, n))
            continue;
        for (size_t k = 0; k < mem->all.jobs.n; k++) {
            const struct orc_job *job = mem->all.jobs.items[k];
            if (orc_job_ended(job->state) || !orc_tenant_counts(mem->all.tenants[i], job->run))
                continue;
            struct orc_usage *one = &usage[count++];
            *one = of_tenant(mem->all.tenants[i]);
            one->pipeline = job->run->pipeline;
            one->version = job->run->version;
            one->spec = job->spec;
            one->is_counted = orc_job_counted(job->state);
            one->is_pending = !orc_job_counted(job->state);
            one->is_queued = job->state == QUEUED && job->hold == 0;
            one->is_parts = !*mem->all.tenants[i]->project && orc_in_project(job->run) ? one->is_queued : 0;
        }
        if (count == before)
            usage[count++] = of_tenant(mem->all.tenants[i]);
    }
    *ret = usage;
    *ret_n = count;
    return HD_OK;
}

enum hd_status mem_tenants_spare(ORC_CALL, const char **names, size_t n, struct hd_quota *ret, bool *ret_waiting) {
    const struct orc_mem *mem = store;
    (void)cx;
    *ret = (struct hd_quota){{0}};
    *ret_waiting = false;
    for (size_t i = 0; i < mem->all.n_tenants; i++)
        if (mem->all.tenants[i]->granted && !asked_for(mem->all.tenants[i]->name, names, n))
            orc_tenant_lend(mem->all.tenants[i], ret, ret_waiting);
    return HD_OK;
}
