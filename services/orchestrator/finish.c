#include "services/orchestrator/finish.h"

#include "adapter/bus.h"
#include "hodei/v1/quota.pb-c.h"

#define ADMIT_AT_ONCE 2000 // from the table, for one tenant in one batch; the sweep goes on
#define ASK_TIMEOUT_MS 2000

struct orc_chance orc_chance(struct hd_ctx *cx) {
    return (struct orc_chance){.now_ms = cx->now.wall_ms, .rng = cx->rng};
}

// The run whose tenant's counters a row of the working set changes, by its number; NULL: none.
static const struct orc_run *touched(const struct orc_ws *ws, size_t i, int64_t now_ms) {
    if (i < ws->jobs.n)
        return orc_tenant_touched(ws->jobs.items[i]) ? ws->jobs.items[i]->run : NULL;
    i -= ws->jobs.n;
    if (i < ws->runs.n)
        return ws->runs.items[i]->was == 0 && !ws->runs.items[i]->duplicate ? ws->runs.items[i] : NULL;
    const struct orc_attempt *attempt = ws->attempts.items[i - ws->runs.n];
    return orc_attempt_spent_ms(attempt, now_ms) ? attempt->job->run : NULL;
}

// Locks the tenants and projects whose counters change, in name order: whoever holds a project holds its tenant, too.
static enum hd_status load_tenants(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws) {
    const struct orc_run *last = NULL;
    const char **names = NULL;
    size_t n = 0, cap = 0;
    for (size_t i = 0; i < ws->jobs.n + ws->runs.n + ws->attempts.n; i++) {
        const struct orc_run *run = touched(ws, i, cx->now.wall_ms);
        if (!run || run == last)
            continue;
        last = run;
        HD_GROW(cx->arena, names, n, cap);
        names[n++] = run->tenant;
        if (!orc_in_project(run))
            continue;
        HD_GROW(cx->arena, names, n, cap);
        names[n++] = orc_account(cx->arena, run);
    }
    n = orc_texts_unique(names, n);
    return n ? ORC_DO(cx, orc, tenants_load, ws, names, n) : HD_OK;
}

// Quota is asked again by a timer; asking here saves its wait.
static void ask_grant(struct hd_ctx *cx, const char *tenant) {
    Hodei__V1__GetGrantsRequest request = HODEI__V1__GET_GRANTS_REQUEST__INIT;
    char *names[] = {(char *)tenant};
    request.tenants = names;
    request.n_tenants = 1;
    hd_ask(cx, "quota", "GetGrants", &request.base, ORC_ANSWER_GRANTS, ASK_TIMEOUT_MS);
}

// Jobs that wait in the table: the tenant's own, and those of its projects. It is locked, so nobody else holds one of them.
static enum hd_status load_queued(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws,
                                  struct orc_tenant *tenant, size_t wanted, size_t more) {
    const char **names;
    size_t n;
    HD_TRY(ORC_DO(cx, orc, jobs_queued, ws, tenant->name, (unsigned)(wanted + more)));
    if (tenant->parts > 0) {
        HD_TRY(ORC_DO(cx, orc, parts_waiting, tenant->name, &names, &n));
        if (n)
            HD_TRY(ORC_DO(cx, orc, tenants_load, ws, names, n));
        for (size_t i = 0; i < n; i++) {
            const struct orc_tenant *part = orc_ws_tenant(ws, names[i]);
            if (orc_tenant_open(part))
                HD_TRY(
                    ORC_DO(cx, orc, jobs_queued, ws, part->name, (unsigned)(orc_tenant_wanted(part, wanted) + more)));
        }
    }
    return orc_plans(cx, orc, ws);
}

// The projects of jobs that may be admitted from the working set.
static enum hd_status load_parts(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws,
                                 const struct orc_tenant *tenant) {
    const char **names = NULL;
    size_t n = 0, cap = 0;
    for (size_t i = 0; i < ws->jobs.n; i++) {
        const struct orc_job *job = ws->jobs.items[i];
        if (!orc_in_project(job->run) || !orc_job_admissible(job->state, job->hold) ||
            !orc_tenant_counts(tenant, job->run) || orc_ws_part(ws, job->run))
            continue;
        HD_GROW(cx->arena, names, n, cap);
        names[n++] = orc_account(cx->arena, job->run);
    }
    n = orc_texts_unique(names, n);
    return n ? ORC_DO(cx, orc, tenants_load, ws, names, n) : HD_OK;
}

// Admits with what the tenant may use now: of the jobs in the working set, and of those in the table.
static enum hd_status admit_within(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws,
                                   struct orc_tenant *tenant) {
    struct orc_chance chance = orc_chance(cx);
    size_t here = 0, queued_before = 0, wanted = 0;
    for (size_t i = 0; i < ws->jobs.n; i++) {
        const struct orc_job *job = ws->jobs.items[i];
        if (!orc_tenant_counts(tenant, job->run))
            continue;
        here += orc_job_admissible(job->state, job->hold);
        queued_before += orc_job_admissible(job->was, job->was_hold);
    }
    if (orc_tenant_open(tenant) && tenant->queued > (int64_t)here) { // others wait in the table, perhaps better ones
        // What was QUEUED and is in the working set comes again and must not take the place of the rest.
        wanted = orc_tenant_wanted(tenant, ADMIT_AT_ONCE);
        HD_TRY(load_queued(cx, orc, ws, tenant, wanted, queued_before));
    }
    HD_TRY(load_parts(cx, orc, ws, tenant));
    size_t admitted = orc_tenant_admit(ws, tenant, &chance);
    if (wanted && admitted >= wanted && tenant->queued > 0 && orc_tenant_open(tenant))
        orc_kick(orc); // there is room for more than were looked at
    return HD_OK;
}

// What others leave of theirs. As soon as one of them waits for its own, nothing more is lent.
static enum hd_status borrow(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws,
                             struct orc_tenant *tenant) {
    const char **names = HD_NEW_ARRAY(cx->arena, ws->n_tenants, const char *);
    struct hd_quota own = tenant->limit, spare;
    bool waiting;
    for (size_t i = 0; i < ws->n_tenants; i++)
        names[i] = ws->tenants[i]->name;
    HD_TRY(ORC_DO(cx, orc, tenants_spare, names, ws->n_tenants, &spare, &waiting));
    for (size_t i = 0; i < ws->n_tenants; i++)
        if (ws->tenants[i] != tenant && ws->tenants[i]->granted)
            orc_tenant_lend(ws->tenants[i], &spare, &waiting);
    if (waiting)
        return HD_OK;
    tenant->limit = orc_tenant_borrow(tenant, &spare);
    enum hd_status status = admit_within(cx, orc, ws, tenant);
    tenant->limit = own;
    return status;
}

static enum hd_status admit(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws, struct orc_tenant *tenant) {
    if (*tenant->project) { // its jobs are admitted with its tenant's, which stands before it
        orc_tenant_mark(tenant, cx->now.wall_ms);
        return HD_OK;
    }
    if (tenant->queued > 0 && !tenant->granted)
        ask_grant(cx, tenant->name);
    HD_TRY(admit_within(cx, orc, ws, tenant));
    if (tenant->granted && tenant->borrow && tenant->queued > 0)
        HD_TRY(borrow(cx, orc, ws, tenant));
    orc_tenant_mark(tenant, cx->now.wall_ms);
    return HD_OK;
}

// Loads what a wave wants to see.
static enum hd_status show(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws, struct orc_wave *wave) {
    size_t before = ws->jobs.n;
    if (wave->n_jobs)
        HD_TRY(ORC_DO(cx, orc, jobs_load, ws, wave->jobs, orc_refs_unique(wave->jobs, wave->n_jobs)));
    if (wave->n_outputs)
        HD_TRY(ORC_DO(cx, orc, outputs_load, ws, wave->outputs, orc_refs_unique(wave->outputs, wave->n_outputs)));
    if (ws->jobs.n > before || wave->n_outputs > 0)
        return HD_OK; // there is more to see
    return hd_fail(cx, HD_INTERNAL, "a run's graph waits for a job that is not there");
}

// What follows from ends of jobs. Few rounds: a job's dependents, what a skip reaches, what an expression names.
static enum hd_status advance(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws) {
    struct orc_chance chance = orc_chance(cx);
    struct orc_wave wave;
    orc_wave_begin(&wave, ws, &chance);
    while (orc_wave_run(&wave))
        HD_TRY(show(cx, orc, ws, &wave));
    return HD_OK;
}

enum hd_status orc_load_context(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws) {
    struct orc_chance chance = orc_chance(cx);
    struct orc_wave wave = {.ws = ws, .chance = &chance};
    size_t n = ws->jobs.n;
    for (bool all = false; !all;) {
        all = true;
        wave.n_jobs = wave.n_outputs = 0;
        for (size_t i = 0; i < n; i++)
            if (orc_job_spec(ws->jobs.items[i])->uses_context)
                all = orc_job_sees(&wave, ws->jobs.items[i]) && all;
        if (!all)
            HD_TRY(show(cx, orc, ws, &wave));
    }
    return HD_OK;
}

enum hd_status orc_finish(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws, struct orc_out *out) {
    bool again = true;
    for (bool first = true; again; first = false) {
        HD_TRY(advance(cx, orc, ws));
        HD_TRY(orc_groups_step(cx, orc, ws, first, &again));
    }
    for (size_t i = 0; i < ws->runs.n; i++)
        if (ws->runs.items[i]->locked && !ws->runs.items[i]->duplicate)
            orc_run_settle(ws->runs.items[i], cx->now.wall_ms);
    HD_TRY(load_tenants(cx, orc, ws));
    for (size_t i = 0; i < ws->n_tenants; i++) {
        orc_tenant_count(ws, ws->tenants[i], cx->now.wall_ms);
        if (!orc_tenant_within(cx->arena, ws->tenants[i], cx->now.wall_ms, &cx->err))
            return cx->err.status;
    }
    for (size_t i = 0; i < ws->n_tenants; i++)
        HD_TRY(admit(cx, orc, ws, ws->tenants[i]));
    for (size_t i = 0; i < ws->jobs.n; i++) // what is in a run is part of its content
        if (ws->jobs.items[i]->dirty) {
            struct orc_job *job = ws->jobs.items[i];
            job->run->dirty = true;
            if (job->flags & ORC_WORKER_GONE && job->state == HODEI__V1__JOB_STATE__JOB_STATE_CANCELLING)
                orc_kick(orc); // nobody is there to confirm it
        }
    HD_TRY(ORC_DO(cx, orc, save, ws));
    HD_TRY(orc_follow_ends(cx, orc, ws));
    orc_out_diff(cx, ws, out);
    orc_out_flush(cx, out);
    orc_events(cx, ws);
    return HD_OK;
}
