// Placements: committed by compare-and-set on epoch, state and key. All that is refused is answered, so that its place is free.
#include "base/names.h"
#include "services/orchestrator/finish.h"

struct placed {
    const char *pool, *worker;
    uint64_t key;
    struct orc_job_ref ref;
    struct hd_uuid session;
    int64_t incarnation;
    bool valid; // ids can be read
};

// Who leads each pool, until the commit.
static enum hd_status load_leases(struct hd_ctx *cx, struct orchestrator *orc, struct hd_item *items, size_t n,
                                  struct orc_lease **ret, size_t *ret_n) {
    const char **pools = HD_NEW_ARRAY(cx->arena, n, const char *);
    size_t n_pools = 0;
    for (size_t i = 0; i < n; i++) {
        const char *pool = ((const Hodei__V1__Placements *)items[i].msg)->pool;
        if (hd_token_valid(pool))
            pools[n_pools++] = pool;
        else
            hd_item_fail(&items[i], HD_INVALID, "placements of a pool with no valid name");
    }
    n_pools = orc_texts_unique(pools, n_pools);
    struct orc_lease *leases = HD_NEW_ARRAY(cx->arena, n_pools, struct orc_lease);
    for (size_t i = 0; i < n_pools; i++)
        leases[i] = (struct orc_lease){.pool = pools[i], .holder = ""};
    *ret = leases;
    *ret_n = n_pools;
    return n_pools ? ORC_DO(cx, orc, leases_hold, leases, n_pools) : HD_OK;
}

static bool leads(const struct orc_lease *leases, size_t n, const Hodei__V1__Placements *msg) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(leases[i].pool, msg->pool) == 0)
            return leases[i].epoch == msg->epoch && strcmp(leases[i].holder, msg->holder) == 0;
    return false;
}

// The placements of those that lead. One that no longer does has lost its memory of them with its lease: the new leader must not
// hear of keys that it may be placing itself.
static size_t collect(struct hd_ctx *cx, struct hd_item *items, size_t n, const struct orc_lease *leases,
                      size_t n_leases, struct placed **ret) {
    struct placed *all = NULL;
    size_t count = 0, cap = 0;
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__Placements *msg = (const Hodei__V1__Placements *)items[i].msg;
        if (items[i].err.status != HD_OK)
            continue;
        if (!leads(leases, n_leases, msg)) {
            orc_count(ORC_M_PLACEMENTS_STALE, (int64_t)msg->n_placements);
            continue;
        }
        for (size_t k = 0; k < msg->n_placements; k++) {
            const Hodei__V1__Placement *from = msg->placements[k];
            struct placed one = {.pool = msg->pool,
                                 .worker = from->worker,
                                 .key = from->key,
                                 .ref.idx = from->job,
                                 .incarnation = from->incarnation};
            one.valid = hd_token_valid(from->worker) && hd_uuid_parse(from->run, &one.ref.run) == HD_OK &&
                        hd_uuid_parse(from->session, &one.session) == HD_OK;
            HD_GROW(cx->arena, all, count, cap);
            all[count++] = one;
        }
    }
    *ret = all;
    return count;
}

static enum hd_status load(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws, const struct placed *all,
                           size_t n, struct orc_life **lost, size_t *n_lost) {
    struct hd_uuid *ids = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    struct hd_uuid *sessions = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    struct orc_job_ref *refs = HD_NEW_ARRAY(cx->arena, n, struct orc_job_ref);
    size_t count = 0;
    *n_lost = 0;
    for (size_t i = 0; i < n; i++) {
        if (!all[i].valid)
            continue;
        ids[count] = all[i].ref.run;
        sessions[count] = all[i].session;
        refs[count++] = all[i].ref;
    }
    if (count == 0)
        return HD_OK;
    HD_TRY(ORC_DO(cx, orc, runs_load, ws, ids, orc_uuids_unique(ids, count), true));
    HD_TRY(orc_plans(cx, orc, ws));
    HD_TRY(ORC_DO(cx, orc, jobs_load, ws, refs, orc_refs_unique(refs, count)));
    HD_TRY(ORC_DO(cx, orc, sessions_lost, sessions, orc_uuids_unique(sessions, count), lost, n_lost));
    // Placements that were committed before and come again: their attempts tell whether it is the same.
    struct hd_uuid *attempts = HD_NEW_ARRAY(cx->arena, ws->jobs.n, struct hd_uuid);
    size_t n_attempts = 0;
    for (size_t i = 0; i < ws->jobs.n; i++)
        if (orc_job_live(ws->jobs.items[i]->state))
            attempts[n_attempts++] = ws->jobs.items[i]->attempt;
    return n_attempts ? ORC_DO(cx, orc, attempts_load, ws, attempts, n_attempts) : HD_OK;
}

// True when it is accepted now, or was before.
static bool decide(struct hd_ctx *cx, struct orc_ws *ws, const struct placed *placed, const struct orc_life *lost,
                   size_t n_lost, bool *ret_before) {
    struct orc_chance chance = orc_chance(cx);
    struct orc_job *job = placed->valid ? orc_ws_job(ws, placed->ref.run, placed->ref.idx) : NULL;
    *ret_before = false;
    if (!job || job->key != placed->key || strcmp(job->pool, placed->pool) != 0)
        return false;
    if (orc_job_live(job->state)) {
        const struct orc_attempt *attempt = orc_ws_attempt(ws, job->attempt);
        *ret_before =
            attempt && strcmp(attempt->worker, placed->worker) == 0 && hd_uuid_eq(attempt->session, placed->session);
        return *ret_before;
    }
    for (size_t i = 0; i < n_lost; i++)
        if (orc_life_gone(lost[i], placed->session, placed->incarnation))
            return false;
    struct orc_attempt *attempt = orc_job_place(ws, job, hd_new_id(cx), placed->worker, placed->session, &chance);
    if (attempt)
        attempt->incarnation = placed->incarnation;
    return attempt;
}

enum hd_status orc_placed(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct orchestrator *orc = self;
    struct orc_lease *leases;
    struct placed *all;
    struct orc_out out = {0};
    struct orc_ws ws;
    size_t n_leases, n_lost;
    orc_versions_trim(&orc->versions);
    orc_ws_init(&ws, cx->arena);
    HD_TRY(load_leases(cx, orc, items, n, &leases, &n_leases));
    size_t count = collect(cx, items, n, leases, n_leases, &all);
    struct orc_life *lost = NULL;
    HD_TRY(load(cx, orc, &ws, all, count, &lost, &n_lost));
    for (size_t i = 0; i < count; i++) {
        bool before;
        bool accepted = decide(cx, &ws, &all[i], lost, n_lost, &before);
        if (accepted && !before)
            continue; // orc_finish tells
        orc_out_result(&out, cx, all[i].pool, all[i].key, accepted);
        orc_count(ORC_M_PLACEMENTS_STALE, !accepted);
    }
    HD_TRY(orc_load_context(cx, orc, &ws));
    return orc_finish(cx, orc, &ws, &out);
}
