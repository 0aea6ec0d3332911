// Concurrency groups in a transaction: who enters, who leaves, whose turn it is among the jobs and runs of the working set. What concerns
// others (the next in a group when a slot is free, one that is to be cancelled) is for the sweep, which is started at once: it takes their
// runs in the order of locks.
#include "base/expr.h"
#include "services/orchestrator/finish.h"

#define JOB(x) HODEI__V1__JOB_STATE__JOB_STATE_##x
#define FULL(x) HODEI__V1__CONCURRENCY__ON_FULL__ON_FULL_##x
#define GROUPS_AT_ONCE 200
#define NAME_MAX_BYTES 128

static enum hd_status name_of(struct orc_ws *ws, const Hodei__V1__Concurrency *rule, const struct hd_value *names,
                              struct hd_err *err, const char **ret) {
    struct hd_scope scope = {.names = names};
    HD_TRY(hd_template_run(ws->arena, rule->group, &scope, err, ret));
    size_t len = strlen(*ret);
    if (len == 0 || len > NAME_MAX_BYTES)
        return hd_err_set(err, HD_INVALID, "the name of its group has %zu bytes, not 1 to %d", len, NAME_MAX_BYTES);
    return HD_OK;
}

struct entering {
    struct orc_group_entry *entries;
    size_t n, cap;
};

static void add_entry(struct orc_ws *ws, struct entering *all, const struct orc_run *run, uint32_t idx,
                      const Hodei__V1__Concurrency *rule, const char *name, int state) {
    HD_GROW(ws->arena, all->entries, all->n, all->cap);
    all->entries[all->n++] = (struct orc_group_entry){
        .group = {run->tenant, name, rule->limit, rule->order == HODEI__V1__CONCURRENCY__ORDER__ORDER_READY},
        .run = run->id,
        .idx = idx,
        .state = state};
}

static bool asks(const struct orc_job *job) {
    return job->state == JOB(QUEUED) && job->hold & ORC_HOLD_GROUP && !(job->hold & ORC_HOLD_APPROVAL);
}

static bool uses_only_start(const char *group) {
    return !strstr(group, "needs") && !strstr(group, "matrix");
}

// True: a job ended.
static bool enter_job(struct hd_ctx *cx, struct orc_ws *ws, struct orc_job *job, struct entering *all) {
    const Hodei__V1__Concurrency *rule = orc_job_spec(job)->concurrency;
    struct orc_chance chance = orc_chance(cx);
    bool planned =
        job->run->was == 0 && job->state == JOB(WAITING) && job->parent == ORC_NONE && uses_only_start(rule->group);
    struct hd_err err;
    const char *name;
    if (!asks(job) && !planned)
        return false;
    if (name_of(ws, rule, orc_job_names(ws, job), &err, &name) == HD_OK) {
        add_entry(ws, all, job->run, job->idx, rule, name, planned ? ORC_MEMBER_PLANNED : ORC_MEMBER_WAITING);
        return false;
    }
    if (planned)
        return false;
    job->hold = 0;
    orc_job_change(job, ORC_JOB_BREAK, 0, &chance);
    job->cause = HODEI__V1__CAUSE__CAUSE_EXPRESSION;
    job->message = hd_arena_printf(cx->arena, "concurrency: %s", err.text);
    return true;
}

static bool left(const struct orc_job *job) {
    bool ended = orc_job_ended(job->state) && !orc_job_ended(job->was);
    return ended || (job->children && job->dirty); // its jobs ask for themselves
}

static enum hd_status leave(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws) {
    struct orc_job_ref *refs = HD_NEW_ARRAY(cx->arena, ws->jobs.n + ws->runs.n, struct orc_job_ref);
    size_t n = 0, gone = 0;
    for (size_t i = 0; i < ws->jobs.n; i++)
        if (ws->jobs.items[i]->run->locked && orc_job_spec(ws->jobs.items[i])->concurrency && left(ws->jobs.items[i]))
            refs[n++] = (struct orc_job_ref){ws->jobs.items[i]->run->id, ws->jobs.items[i]->idx};
    for (size_t i = 0; i < ws->runs.n; i++) {
        const struct orc_run *run = ws->runs.items[i];
        if (run->locked && run->plan && run->plan->concurrency && run->ended == run->total && !orc_run_ended(run->was))
            refs[n++] = (struct orc_job_ref){run->id, ORC_NONE};
    }
    if (n)
        HD_TRY(ORC_DO(cx, orc, groups_leave, refs, n, &gone));
    if (gone)
        orc_kick(orc);
    return HD_OK;
}

// --- turns ----------------------------------------------------------------------------------------------------------------------
static const Hodei__V1__Concurrency *rule_of(const struct orc_ws *ws, const struct orc_member *member) {
    const struct orc_run *run = orc_ws_run(ws, member->run);
    const struct orc_job *job = member->idx == ORC_NONE ? NULL : orc_ws_job(ws, member->run, member->idx);
    if (!run || !run->locked || run->duplicate || (member->idx != ORC_NONE && !job))
        return NULL;
    return job ? orc_job_spec(job)->concurrency : run->plan->concurrency;
}

// A run may go: its jobs that wait for nothing else are decided.
static void start_run(struct orc_ws *ws, struct orc_run *run) {
    run->held = false;
    run->dirty = run->amended = true;
    for (size_t i = 0; i < ws->jobs.n; i++)
        if (ws->jobs.items[i]->run == run && ws->jobs.items[i]->state == JOB(WAITING))
            ws->jobs.items[i]->dirty = true;
}

static bool stop(struct hd_ctx *cx, struct orc_ws *ws, const struct orc_member *member, int cause, const char *why) {
    struct orc_chance chance = orc_chance(cx);
    struct orc_run *run = orc_ws_run(ws, member->run);
    struct orc_job *job = member->idx == ORC_NONE ? NULL : orc_ws_job(ws, member->run, member->idx);
    bool full = cause == HODEI__V1__CAUSE__CAUSE_GROUP_FULL;
    if (!job) {
        if (run->state != HODEI__V1__RUN_STATE__RUN_STATE_RUNNING)
            return false;
        run->cause = cause;
        orc_run_cancel(ws, run, full ? ORC_CANCEL_FINALLY : ORC_CANCEL_SPARES, &chance);
        return true;
    }
    if (job->state == JOB(CANCELLING) || orc_job_ended(job->state) || orc_job_spared(job))
        return false; // one that is spared keeps its slot until it ends
    job->hold = 0;
    orc_job_change(job, full ? ORC_JOB_BREAK : ORC_JOB_CANCEL, 0, &chance);
    job->cause = cause;
    job->message = why;
    return true;
}

static void take_slot(struct hd_ctx *cx, struct orc_ws *ws, const struct orc_member *member) {
    struct orc_job *job = member->idx == ORC_NONE ? NULL : orc_ws_job(ws, member->run, member->idx);
    if (!job) {
        start_run(ws, orc_ws_run(ws, member->run));
        return;
    }
    job->flags |= ORC_IN_GROUP;
    orc_job_release(job, ORC_HOLD_GROUP, cx->now.wall_ms);
}

// What a member that has just come does to the others where the group is full.
static enum hd_status full(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws,
                           const struct orc_group *group, const struct orc_member *members, size_t n,
                           const struct orc_member *me, bool *ret_changed) {
    const Hodei__V1__Concurrency *rule = rule_of(ws, me);
    if (rule->on_full == FULL(REJECT))
        *ret_changed |= stop(cx, ws, me, HODEI__V1__CAUSE__CAUSE_GROUP_FULL, "its concurrency group is full");
    if (rule->on_full != FULL(CANCEL_RUNNING) && rule->on_full != FULL(REPLACE_PENDING))
        return HD_OK;
    for (size_t i = 0; i < n; i++) {
        const struct orc_member *other = &members[i];
        bool older = hd_uuid_cmp(other->run, me->run) < 0 || (hd_uuid_eq(other->run, me->run) && other->idx < me->idx);
        if (!older || other->doomed || other->state == ORC_MEMBER_PLANNED ||
            (other->state == ORC_MEMBER_HOLDING && rule->on_full != FULL(CANCEL_RUNNING)))
            continue;
        HD_TRY(ORC_DO(cx, orc, group_doom, group, other));
        orc_kick(orc);
    }
    return HD_OK;
}

static bool waits_here(const struct orc_ws *ws, const struct orc_member *member) {
    const struct orc_run *run = orc_ws_run(ws, member->run);
    const struct orc_job *job = member->idx == ORC_NONE ? NULL : orc_ws_job(ws, member->run, member->idx);
    return member->state == ORC_MEMBER_WAITING && (job ? asks(job) : run->held);
}

static enum hd_status turns(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws, struct orc_group *group,
                            bool *ret_changed) {
    struct orc_member *members;
    size_t n;
    HD_TRY(ORC_DO(cx, orc, group_members, group, true, &members, &n));
    orc_group_turns(members, n, group->capacity, group->by_ready);
    for (size_t i = 0; i < n; i++) {
        struct orc_member *me = &members[i];
        if (!rule_of(ws, me))
            continue;
        if (me->doomed) {
            *ret_changed |= stop(cx, ws, me, HODEI__V1__CAUSE__CAUSE_REPLACED,
                                 "a later one took its place in the concurrency group");
        } else if (me->turn && waits_here(ws, me)) {
            take_slot(cx, ws, me);
            HD_TRY(ORC_DO(cx, orc, group_hold, group, me));
            *ret_changed = true;
        } else if (waits_here(ws, me)) {
            HD_TRY(full(cx, orc, ws, group, members, n, me, ret_changed));
        }
    }
    return HD_OK;
}

static bool concerned(const struct orc_ws *ws) {
    for (size_t i = 0; i < ws->runs.n; i++) {
        const struct orc_run *run = ws->runs.items[i];
        if (run->locked && !run->duplicate && run->plan && (run->plan->concurrency || run->plan->has_groups))
            return true;
    }
    return false;
}

enum hd_status orc_groups_step(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws, bool first,
                               bool *ret_changed) {
    struct entering all = {0};
    struct hd_err err;
    *ret_changed = false;
    if (!concerned(ws))
        return HD_OK;
    for (size_t i = 0; i < ws->runs.n; i++) {
        struct orc_run *run = ws->runs.items[i];
        const char *name;
        if (!run->locked || run->duplicate || !run->plan || !run->plan->concurrency || !run->held)
            continue;
        run->amended = true;
        struct orc_job *any = orc_ws_job(ws, run->id, 0);
        if (any && name_of(ws, run->plan->concurrency, orc_job_names(ws, any), &err, &name) == HD_OK)
            add_entry(ws, &all, run, ORC_NONE, run->plan->concurrency, name, ORC_MEMBER_WAITING);
        else
            start_run(ws, run);
    }
    for (size_t i = 0; i < ws->jobs.n; i++) {
        struct orc_job *job = ws->jobs.items[i];
        if (job->run->locked && !job->run->duplicate && orc_job_spec(job)->concurrency && (asks(job) || first))
            *ret_changed |= enter_job(cx, ws, job, &all);
    }
    HD_TRY(leave(cx, orc, ws));
    if (all.n == 0)
        return HD_OK;
    HD_TRY(ORC_DO(cx, orc, groups_enter, all.entries, all.n)); // sorted by group afterwards or not: the locks are taken
    for (size_t i = 0; i < all.n; i++) {
        bool done = all.entries[i].state == ORC_MEMBER_PLANNED;
        for (size_t k = 0; k < i && !done; k++)
            done = all.entries[k].state != ORC_MEMBER_PLANNED &&
                   strcmp(all.entries[k].group.name, all.entries[i].group.name) == 0 &&
                   strcmp(all.entries[k].group.tenant, all.entries[i].group.tenant) == 0;
        if (!done)
            HD_TRY(turns(cx, orc, ws, &all.entries[i].group, ret_changed));
    }
    return HD_OK;
}

// --- the sweep --------------------------------------------------------------------------------------------------------------------
// Loads those whose turn it is, and those that are to be cancelled; orc_finish does the rest under the locks.
static enum hd_status load_next(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws,
                                struct orc_job_ref *refs, size_t n) {
    struct hd_uuid *ids = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    struct hd_uuid *whole = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    struct orc_job_ref *jobs = HD_NEW_ARRAY(cx->arena, n, struct orc_job_ref);
    size_t n_whole = 0, n_jobs = 0;
    for (size_t i = 0; i < n; i++) {
        ids[i] = refs[i].run;
        if (refs[i].idx == ORC_NONE)
            whole[n_whole++] = refs[i].run;
        else
            jobs[n_jobs++] = refs[i];
    }
    HD_TRY(ORC_DO(cx, orc, runs_load, ws, ids, orc_uuids_unique(ids, n), true));
    HD_TRY(orc_plans(cx, orc, ws));
    if (n_whole)
        HD_TRY(orc_load_open(cx, orc, ws, whole, n_whole));
    if (n_jobs)
        HD_TRY(ORC_DO(cx, orc, jobs_load, ws, jobs, orc_refs_unique(jobs, n_jobs)));
    struct hd_uuid *attempts = HD_NEW_ARRAY(cx->arena, ws->jobs.n, struct hd_uuid);
    size_t n_attempts = 0;
    for (size_t i = 0; i < ws->jobs.n; i++)
        if (orc_job_live(ws->jobs.items[i]->state))
            attempts[n_attempts++] = ws->jobs.items[i]->attempt;
    return n_attempts ? ORC_DO(cx, orc, attempts_load, ws, attempts, n_attempts) : HD_OK;
}

enum hd_status orc_groups_sweep(struct hd_ctx *cx, struct orchestrator *orc) {
    struct orc_group *groups;
    struct orc_job_ref *refs = NULL;
    size_t n_groups, n = 0, cap = 0;
    struct orc_out out = {0};
    struct orc_ws ws;
    bool changed = false;
    HD_TRY(ORC_DO(cx, orc, groups_waiting, GROUPS_AT_ONCE, &groups, &n_groups));
    for (size_t g = 0; g < n_groups; g++) {
        struct orc_member *members;
        size_t n_members;
        HD_TRY(ORC_DO(cx, orc, group_members, &groups[g], false, &members, &n_members));
        orc_group_turns(members, n_members, groups[g].capacity, groups[g].by_ready);
        for (size_t i = 0; i < n_members; i++) {
            if (!members[i].turn && !members[i].doomed)
                continue;
            HD_GROW(cx->arena, refs, n, cap);
            refs[n++] = (struct orc_job_ref){members[i].run, members[i].idx};
        }
    }
    if (n == 0)
        return HD_OK;
    orc_ws_init(&ws, cx->arena);
    HD_TRY(load_next(cx, orc, &ws, refs, n));
    for (size_t g = 0; g < n_groups; g++) // in the order of locks: by tenant and name
        HD_TRY(turns(cx, orc, &ws, &groups[g], &changed));
    return orc_finish(cx, orc, &ws, &out);
}
