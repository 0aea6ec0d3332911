#include "services/orchestrator/finish.h"

enum hd_status orc_load_attempts(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws,
                                 const struct orc_attempt_ref *refs, size_t n) {
    if (n == 0)
        return HD_OK;
    struct hd_uuid *ids = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    for (size_t i = 0; i < n; i++)
        ids[i] = refs[i].job.run;
    HD_TRY(ORC_DO(cx, orc, runs_load, ws, ids, orc_uuids_unique(ids, n), true));
    HD_TRY(orc_plans(cx, orc, ws));

    struct orc_job_ref *jobs = NULL; // with their direct dependents, which saves a round
    size_t n_jobs = 0, cap = 0;
    for (size_t i = 0; i < n; i++) {
        const struct orc_run *run = orc_ws_run(ws, refs[i].job.run);
        if (!run)
            continue;
        HD_GROW(cx->arena, jobs, n_jobs, cap);
        jobs[n_jobs++] = refs[i].job;
        if (refs[i].job.idx >= run->plan->n_jobs) // of a matrix
            continue;
        const Hodei__V1__CompiledJob *spec = run->plan->jobs[refs[i].job.idx];
        for (size_t k = 0; k < spec->n_dependents; k++) {
            HD_GROW(cx->arena, jobs, n_jobs, cap);
            jobs[n_jobs++] = (struct orc_job_ref){refs[i].job.run, spec->dependents[k]};
        }
    }
    HD_TRY(ORC_DO(cx, orc, jobs_load, ws, jobs, orc_refs_unique(jobs, n_jobs)));
    struct hd_uuid *attempts = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    for (size_t i = 0; i < n; i++)
        attempts[i] = refs[i].id;
    return ORC_DO(cx, orc, attempts_load, ws, attempts, orc_uuids_unique(attempts, n));
}

static bool is_of(const struct orc_attempt *attempt, const struct orc_news_item *item) {
    return (hd_uuid_zero(item->session) || hd_uuid_eq(item->session, attempt->session)) &&
           (!*item->worker || strcmp(item->worker, attempt->worker) == 0);
}

enum hd_status orc_apply_news(struct hd_ctx *cx, struct orc_ws *ws, const struct orc_news_item *items, size_t n,
                              bool *ret_final) {
    struct orc_chance chance = orc_chance(cx);
    for (size_t i = 0; i < n; i++) {
        struct orc_attempt *attempt = orc_ws_attempt(ws, items[i].attempt);
        bool mine = attempt && is_of(attempt, &items[i]);
        if (!mine || !orc_attempt_change(ws, attempt, &items[i].news, &chance))
            orc_count(ORC_M_REPORTS_STALE, 1);
        ret_final[i] = !mine || orc_attempt_ended(attempt->state);
    }
    return HD_OK;
}
