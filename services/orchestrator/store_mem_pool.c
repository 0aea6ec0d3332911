// The twin: what concerns pools, sessions and the attempts in them.
#include "services/orchestrator/mem.h"

#define READY HODEI__V1__JOB_STATE__JOB_STATE_READY

static bool among(const struct hd_uuid *ids, size_t n, struct hd_uuid id) {
    for (size_t i = 0; i < n; i++)
        if (hd_uuid_eq(ids[i], id))
            return true;
    return false;
}

enum hd_status mem_attempts_find_live(ORC_CALL, const struct hd_uuid *sessions, size_t n, struct orc_attempt_ref **ret,
                                      size_t *ret_n) {
    const struct orc_mem *mem = store;
    struct orc_attempt_ref *found = NULL;
    size_t kept = 0, cap = 0;
    for (size_t i = 0; i < mem->all.attempts.n; i++) {
        const struct orc_attempt *attempt = mem->all.attempts.items[i];
        if (orc_attempt_ended(attempt->state) || !among(sessions, n, attempt->session))
            continue;
        HD_GROW(cx->arena, found, kept, cap);
        found[kept++] = mem_ref_of(attempt);
    }
    *ret = found;
    *ret_n = kept;
    return HD_OK;
}

// --- leases and sessions --------------------------------------------------------------------------------------------------------
static struct mem_lease *lease_find(const struct orc_mem *mem, const char *pool) {
    for (size_t i = 0; i < mem->leases.n; i++)
        if (strcmp(((struct mem_lease *)mem->leases.items[i])->pool, pool) == 0)
            return mem->leases.items[i];
    return NULL;
}

enum hd_status mem_lease_take(ORC_CALL, struct orc_lease *inout, int64_t ttl_ms, bool release) {
    struct orc_mem *mem = store;
    struct mem_lease *row = lease_find(mem, inout->pool);
    if (!row) {
        row = HD_NEW(&mem->base.arena, struct mem_lease);
        *row = (struct mem_lease){hd_mem_text(&mem->base, inout->pool), "", 0, INT64_MIN};
        hd_mem_push(&mem->base, &mem->leases, row);
    }
    bool same = strcmp(row->holder, inout->holder) == 0;
    bool keeps = same && row->epoch == inout->epoch && row->epoch != 0;
    bool over = row->expires_mono_ms <= cx->now.mono_ms;
    inout->granted = !release && (same || over);
    if (inout->granted || (release && keeps)) {
        hd_mem_touch(&mem->base, row, sizeof *row);
        row->holder = hd_mem_text(&mem->base, inout->holder);
        row->epoch += inout->granted && !keeps;
        row->expires_mono_ms = release ? INT64_MIN : cx->now.mono_ms + ttl_ms;
    }
    inout->fresh = inout->granted && !keeps;
    inout->epoch = row->epoch;
    return HD_OK;
}

enum hd_status mem_leases_hold(ORC_CALL, struct orc_lease *inout, size_t n) {
    (void)cx;
    for (size_t i = 0; i < n; i++) {
        const struct mem_lease *row = lease_find(store, inout[i].pool);
        inout[i].epoch = row ? row->epoch : 0;
        inout[i].holder = row ? row->holder : "";
    }
    return HD_OK;
}

struct entry {
    const struct orc_job *job;
    unsigned turn; // of its tenant: the first of each before the second of any
};

static int class_order(const struct orc_job *x, const struct orc_job *y) {
    if ((x->state == READY) != (y->state == READY))
        return x->state == READY ? -1 : 1;
    return (x->priority < y->priority) - (x->priority > y->priority);
}

static int age_order(const struct orc_job *x, const struct orc_job *y) {
    return (x->ready_ms > y->ready_ms) - (x->ready_ms < y->ready_ms);
}

static int account_order(const struct orc_job *x, const struct orc_job *y) {
    int order = strcmp(x->run->tenant, y->run->tenant);
    return order ? order : strcmp(x->run->project, y->run->project);
}

static int tenant_order(const void *a, const void *b) {
    const struct orc_job *x = ((const struct entry *)a)->job, *y = ((const struct entry *)b)->job;
    int order = class_order(x, y);
    order = order ? order : account_order(x, y);
    return order ? order : age_order(x, y);
}

static int turn_order(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    int order = class_order(x->job, y->job);
    order = order ? order : (x->turn > y->turn) - (x->turn < y->turn);
    return order ? order : age_order(x->job, y->job);
}

static void sort_by_turns(struct entry *entries, size_t n) {
    if (n > 1)
        qsort(entries, n, sizeof *entries, tenant_order);
    for (size_t i = 1; i < n; i++) {
        const struct orc_job *job = entries[i].job, *before = entries[i - 1].job;
        bool same = class_order(before, job) == 0 && account_order(before, job) == 0;
        entries[i].turn = same ? entries[i - 1].turn + 1 : 0;
    }
    if (n > 1)
        qsort(entries, n, sizeof *entries, turn_order);
}

enum hd_status mem_pool_entries(ORC_CALL, const char *pool, unsigned limit, struct orc_pool_entry **ret,
                                size_t *ret_n) {
    const struct orc_mem *mem = store;
    struct entry *found = HD_NEW_ARRAY(cx->arena, mem->all.jobs.n + 1, struct entry);
    size_t n = 0;
    for (size_t i = 0; i < mem->all.jobs.n; i++)
        if (orc_job_counted(mem->all.jobs.items[i]->state) && strcmp(mem->all.jobs.items[i]->pool, pool) == 0)
            found[n++] = (struct entry){.job = mem->all.jobs.items[i]};
    sort_by_turns(found, n);
    n = n < limit ? n : limit;
    struct orc_pool_entry *entries = HD_NEW_ARRAY(cx->arena, n, struct orc_pool_entry);
    for (size_t i = 0; i < n; i++) {
        const struct orc_job *job = found[i].job;
        const struct orc_attempt *attempt = orc_job_live(job->state) ? orc_ws_attempt(&mem->all, job->attempt) : NULL;
        entries[i] = (struct orc_pool_entry){.job = {job->run->id, job->idx},
                                             .state = job->state,
                                             .key = job->key,
                                             .since_ms = attempt ? attempt->changed_ms : job->ready_ms,
                                             .worker = attempt ? attempt->worker : ""};
    }
    *ret = entries;
    *ret_n = n;
    return HD_OK;
}

static struct mem_lost *lost_find(const struct orc_mem *mem, struct hd_uuid session) {
    for (size_t i = 0; i < mem->lost.n; i++) {
        struct mem_lost *row = mem->lost.items[i];
        if (!row->gone && hd_uuid_eq(row->session, session))
            return row;
    }
    return NULL;
}

static void lost_drop(struct orc_mem *mem, struct mem_lost *row) {
    hd_mem_touch(&mem->base, row, sizeof *row);
    row->gone = true;
}

enum hd_status mem_sessions_lose(ORC_CALL, const struct orc_life *lives, size_t n) {
    struct orc_mem *mem = store;
    for (size_t i = 0; i < n; i++) {
        struct mem_lost *row = lost_find(mem, lives[i].session);
        if (row && row->incarnation >= lives[i].incarnation)
            continue;
        if (row)
            lost_drop(mem, row);
        row = HD_NEW(&mem->base.arena, struct mem_lost);
        *row = (struct mem_lost){lives[i].session, cx->now.wall_ms, lives[i].incarnation, false};
        hd_mem_push(&mem->base, &mem->lost, row);
    }
    return HD_OK;
}

enum hd_status mem_sessions_revive(ORC_CALL, const struct orc_life *lives, const int64_t *seen_ms, size_t n) {
    (void)cx;
    for (size_t i = 0; i < n; i++) {
        struct mem_lost *row = lost_find(store, lives[i].session);
        if (row && (row->incarnation == 0 || lives[i].incarnation == 0 ? row->at_ms < seen_ms[i]
                                                                       : row->incarnation < lives[i].incarnation))
            lost_drop(store, row);
    }
    return HD_OK;
}

enum hd_status mem_sessions_lost(ORC_CALL, const struct hd_uuid *sessions, size_t n, struct orc_life **ret,
                                 size_t *ret_n) {
    *ret = HD_NEW_ARRAY(cx->arena, n, struct orc_life);
    *ret_n = 0;
    for (size_t i = 0; i < n; i++) {
        const struct mem_lost *row = lost_find(store, sessions[i]);
        if (row)
            (*ret)[(*ret_n)++] = (struct orc_life){row->session, row->incarnation};
    }
    return HD_OK;
}

enum hd_status mem_sessions_prune(ORC_CALL, int64_t before_ms) {
    struct orc_mem *mem = store;
    (void)cx;
    for (size_t i = 0; i < mem->lost.n; i++)
        if (!((struct mem_lost *)mem->lost.items[i])->gone &&
            ((struct mem_lost *)mem->lost.items[i])->at_ms < before_ms)
            lost_drop(mem, mem->lost.items[i]);
    return HD_OK;
}

enum hd_status mem_attempts_orphaned(ORC_CALL, unsigned limit, struct orc_attempt_ref **ret, size_t *ret_n) {
    struct orc_mem *mem = store;
    struct orc_life *lives = HD_NEW_ARRAY(cx->arena, mem->lost.n, struct orc_life);
    size_t n = 0;
    for (size_t i = 0; i < mem->lost.n; i++) {
        const struct mem_lost *row = mem->lost.items[i];
        if (!row->gone)
            lives[n++] = (struct orc_life){row->session, row->incarnation};
    }
    struct orc_attempt_ref *refs = HD_NEW_ARRAY(cx->arena, mem->all.attempts.n, struct orc_attempt_ref);
    size_t found = 0;
    for (size_t i = 0; i < mem->all.attempts.n && found < limit; i++) {
        const struct orc_attempt *attempt = mem->all.attempts.items[i];
        bool lost = false;
        for (size_t k = 0; k < n; k++)
            lost |= orc_life_gone(lives[k], attempt->session, attempt->incarnation);
        if (!orc_attempt_ended(attempt->state) &&
            (attempt->gone_ms ? attempt->job->state == HODEI__V1__JOB_STATE__JOB_STATE_CANCELLING : lost))
            refs[found++] = mem_ref_of(attempt);
    }
    *ret = refs;
    *ret_n = found;
    return HD_OK;
}
