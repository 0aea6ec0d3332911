// The twin's loads and saves. Plain scans where PostgreSQL has an index: it is for tests and the simulator.
#include "services/orchestrator/advance.h"
#include "services/orchestrator/mem.h"

#define JOB(x) HODEI__V1__JOB_STATE__JOB_STATE_##x

// --- rows into a working set ----------------------------------------------------------------------------------------------
#define COPY_ROW(to, from)                                                                                             \
    do {                                                                                                               \
        __typeof__((to)->chain) chain_ = (to)->chain;                                                                  \
        *(to) = *(from);                                                                                               \
        (to)->chain = chain_;                                                                                          \
        (to)->was = (to)->state;                                                                                       \
        (to)->dirty = false;                                                                                           \
    } while (0)

static struct orc_run *run_out(struct orc_ws *ws, const struct orc_run *from, bool lock) {
    struct orc_run *run = orc_ws_run(ws, from->id);
    if (!run) {
        run = orc_ws_add_run(ws, from->id);
        COPY_ROW(run, from);
        run->locked = run->amended = false;
        run->inputs = NULL;
    }
    run->locked |= lock;
    return run;
}

static struct orc_job *job_out(struct orc_ws *ws, const struct orc_job *from) {
    struct orc_job *job = orc_ws_job(ws, from->run->id, from->idx);
    struct orc_run *run = orc_ws_run(ws, from->run->id);
    if (job || !run)
        return job;
    job = orc_ws_add_job(ws, run, from->idx);
    COPY_ROW(job, from);
    job->run = run;
    job->was_key = job->key;
    job->was_hold = job->hold;
    job->was_flags = job->flags;
    job->was_cause = job->cause;
    job->was = job->state;
    job->dirty = job->told = job->outputs_dirty = false;
    if (job->outputs && !*job->outputs)
        job->outputs = NULL;
    return job;
}

static void attempt_out(struct orc_ws *ws, const struct orc_attempt *from) {
    struct orc_job *job = orc_ws_job(ws, from->job->run->id, from->job->idx);
    if (!job || orc_ws_attempt(ws, from->id))
        return;
    struct orc_attempt *attempt = orc_ws_add_attempt(ws, from->id, job);
    COPY_ROW(attempt, from);
    attempt->job = job;
}

static struct orc_mem *mem_of(void *store) {
    return store;
}

// --- versions -----------------------------------------------------------------------------------------------------------------
static struct mem_version *version_find(struct orc_mem *mem, const struct orc_version *v, bool newest) {
    struct mem_version *best = NULL;
    for (size_t i = 0; i < mem->versions.n; i++) {
        struct mem_version *row = mem->versions.items[i];
        if (strcmp(row->v.tenant, v->tenant) != 0 || strcmp(row->v.name, v->name) != 0)
            continue;
        if (newest ? !best || row->v.version > best->v.version : row->v.version == v->version)
            best = row;
    }
    return best;
}

static enum hd_status versions_put(ORC_CALL, const struct orc_version *versions, size_t n) {
    struct orc_mem *mem = store;
    (void)cx;
    for (size_t i = 0; i < n; i++) {
        struct mem_version *row = version_find(mem, &versions[i], false);
        if (row) {
            hd_mem_touch(&mem->base, row, sizeof *row);
            row->v.deleted |= versions[i].deleted;
            continue;
        }
        row = HD_NEW(&mem->base.arena, struct mem_version);
        row->v = versions[i];
        row->v.tenant = hd_mem_text(&mem->base, versions[i].tenant);
        row->v.name = hd_mem_text(&mem->base, versions[i].name);
        row->v.project = hd_mem_text(&mem->base, versions[i].project);
        row->v.data = hd_arena_memdup(&mem->base.arena, versions[i].data, versions[i].len);
        row->v.found = true;
        hd_mem_push(&mem->base, &mem->versions, row);
    }
    return HD_OK;
}

static enum hd_status versions_read(struct orc_mem *mem, struct orc_version *inout, size_t n, bool newest) {
    for (size_t i = 0; i < n; i++) {
        const struct mem_version *row = version_find(mem, &inout[i], newest);
        if (row)
            inout[i] = row->v;
    }
    return HD_OK;
}
static enum hd_status versions_newest(ORC_CALL, struct orc_version *inout, size_t n) {
    (void)cx;
    return versions_read(store, inout, n, true);
}
static enum hd_status versions_get(ORC_CALL, struct orc_version *inout, size_t n) {
    (void)cx;
    return versions_read(store, inout, n, false);
}

// --- runs and jobs --------------------------------------------------------------------------------------------------------------
static enum hd_status runs_load(ORC_CALL, struct orc_ws *ws, struct hd_uuid *ids, size_t n, bool lock) {
    (void)cx;
    for (size_t i = 0; i < n; i++) {
        const struct orc_run *run = orc_ws_run(&mem_of(store)->all, ids[i]);
        if (run)
            run_out(ws, run, lock);
    }
    return HD_OK;
}

static const struct orc_run *run_by_key(const struct orc_mem *mem, const char *tenant, const char *key) {
    for (size_t i = mem->all.runs.n; i-- > 0;)
        if (strcmp(mem->all.runs.items[i]->key, key) == 0 && strcmp(mem->all.runs.items[i]->tenant, tenant) == 0)
            return mem->all.runs.items[i];
    return NULL;
}

static enum hd_status runs_by_key(ORC_CALL, struct orc_run_key *inout, size_t n) {
    (void)cx;
    for (size_t i = 0; i < n; i++) {
        const struct orc_run *run = run_by_key(store, inout[i].tenant, inout[i].key);
        inout[i].found = run != NULL;
        if (run) {
            inout[i].run = run->id;
            inout[i].fingerprint = run->fingerprint;
        }
    }
    return HD_OK;
}

static int newest_first(const void *a, const void *b) {
    return hd_uuid_cmp((*(const struct orc_run *const *)b)->id, (*(const struct orc_run *const *)a)->id);
}

static bool in_parts(const struct orc_run *run, const struct hd_parts *parts) {
    bool in = parts->all;
    for (size_t i = 0; i < parts->n_projects; i++)
        in |= strcmp(run->project, parts->projects[i]) == 0;
    for (size_t i = 0; i < parts->n_pipelines; i++)
        in |= strcmp(run->pipeline, parts->pipelines[i]) == 0;
    return in;
}

static bool in_states(const struct orc_run *run, const struct orc_runs_query *query) {
    bool in = !query->n_states;
    for (size_t i = 0; i < query->n_states; i++)
        in |= query->states[i] == (int32_t)run->state;
    return in;
}

static enum hd_status runs_list(ORC_CALL, struct orc_ws *ws, const struct orc_runs_query *query) {
    const struct orc_mem *mem = store;
    const struct orc_run **found = HD_NEW_ARRAY(cx->arena, mem->all.runs.n + 1, const struct orc_run *);
    size_t n = 0;
    for (size_t i = 0; i < mem->all.runs.n; i++) {
        const struct orc_run *run = mem->all.runs.items[i];
        if (strcmp(run->tenant, query->tenant) == 0 &&
            (!*query->pipeline || strcmp(run->pipeline, query->pipeline) == 0) &&
            (!*query->project || strcmp(run->project, query->project) == 0) && in_parts(run, &query->parts) &&
            in_states(run, query) && hd_uuid_cmp(run->id, query->since) >= 0 &&
            (hd_uuid_zero(query->before) || hd_uuid_cmp(run->id, query->before) < 0))
            found[n++] = run;
    }
    qsort(found, n, sizeof found[0], newest_first);
    for (size_t i = 0; i < n && i < query->limit; i++)
        run_out(ws, found[i], false);
    return HD_OK;
}

static enum hd_status jobs_load(ORC_CALL, struct orc_ws *ws, struct orc_job_ref *refs, size_t n) {
    (void)cx;
    for (size_t i = 0; i < n; i++) {
        const struct orc_job *job = orc_ws_job(&mem_of(store)->all, refs[i].run, refs[i].idx);
        if (job)
            job_out(ws, job);
    }
    return HD_OK;
}

static enum hd_status jobs_load_open(ORC_CALL, struct orc_ws *ws, const struct hd_uuid *runs, size_t n) {
    const struct orc_mem *mem = store;
    (void)cx;
    for (size_t i = 0; i < mem->all.jobs.n; i++)
        for (size_t k = 0; k < n; k++)
            if (hd_uuid_eq(mem->all.jobs.items[i]->run->id, runs[k]) && !orc_job_ended(mem->all.jobs.items[i]->state))
                job_out(ws, mem->all.jobs.items[i]);
    return HD_OK;
}

static enum hd_status jobs_page(ORC_CALL, struct orc_ws *ws, struct hd_uuid run, uint32_t from, unsigned limit) {
    const struct orc_run *row = orc_ws_run(&mem_of(store)->all, run);
    (void)cx;
    for (uint32_t i = from; row && i < row->rows && i - from < limit; i++)
        job_out(ws, orc_ws_job(&mem_of(store)->all, run, i));
    return HD_OK;
}

static enum hd_status jobs_queued(ORC_CALL, struct orc_ws *ws, const char *tenant, unsigned limit) {
    const struct orc_mem *mem = store;
    const struct orc_job **found = HD_NEW_ARRAY(cx->arena, mem->all.jobs.n + 1, const struct orc_job *);
    size_t n = 0;
    for (size_t i = 0; i < mem->all.jobs.n; i++)
        if (orc_job_admissible(mem->all.jobs.items[i]->state, mem->all.jobs.items[i]->hold) &&
            strcmp(orc_account(cx->arena, mem->all.jobs.items[i]->run), tenant) == 0)
            found[n++] = mem->all.jobs.items[i];
    qsort(found, n, sizeof found[0], orc_admission_order);
    for (size_t i = 0; i < n && i < limit; i++) {
        run_out(ws, found[i]->run, true);
        job_out(ws, found[i]);
    }
    return HD_OK;
}

static enum hd_status outputs_load(ORC_CALL, struct orc_ws *ws, struct orc_job_ref *refs, size_t n) {
    (void)cx;
    for (size_t i = 0; i < n; i++) {
        const struct orc_job *row = orc_ws_job(&mem_of(store)->all, refs[i].run, refs[i].idx);
        struct orc_job *job = orc_ws_job(ws, refs[i].run, refs[i].idx);
        if (job && !job->outputs)
            job->outputs = row && row->outputs ? row->outputs : "";
    }
    return HD_OK;
}

static enum hd_status runs_due(ORC_CALL, int64_t now_ms, unsigned limit, struct hd_uuid **ret, size_t *ret_n) {
    const struct orc_mem *mem = store;
    struct hd_uuid *ids = HD_NEW_ARRAY(cx->arena, mem->all.runs.n, struct hd_uuid);
    size_t n = 0;
    for (size_t i = 0; i < mem->all.runs.n && n < limit; i++)
        if (mem->all.runs.items[i]->due_ms && mem->all.runs.items[i]->due_ms <= now_ms)
            ids[n++] = mem->all.runs.items[i]->id;
    *ret = ids;
    *ret_n = n;
    return HD_OK;
}

static enum hd_status jobs_due(ORC_CALL, int64_t now_ms, unsigned limit, struct orc_job_ref **ret, size_t *ret_n) {
    const struct orc_mem *mem = store;
    struct orc_job_ref *refs = HD_NEW_ARRAY(cx->arena, mem->all.jobs.n, struct orc_job_ref);
    size_t n = 0;
    for (size_t i = 0; i < mem->all.jobs.n && n < limit; i++)
        if (mem->all.jobs.items[i]->due_ms && mem->all.jobs.items[i]->due_ms <= now_ms)
            refs[n++] = (struct orc_job_ref){mem->all.jobs.items[i]->run->id, mem->all.jobs.items[i]->idx};
    *ret = refs;
    *ret_n = n;
    return HD_OK;
}

// --- attempts -----------------------------------------------------------------------------------------------------------------
static enum hd_status attempts_find(ORC_CALL, const struct hd_uuid *ids, size_t n, struct orc_attempt_ref **ret,
                                    size_t *ret_n) {
    struct orc_attempt_ref *found = HD_NEW_ARRAY(cx->arena, n, struct orc_attempt_ref);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        const struct orc_attempt *attempt = orc_ws_attempt(&mem_of(store)->all, ids[i]);
        if (attempt)
            found[kept++] = mem_ref_of(attempt);
    }
    *ret = found;
    *ret_n = kept;
    return HD_OK;
}

static enum hd_status attempts_load(ORC_CALL, struct orc_ws *ws, const struct hd_uuid *ids, size_t n) {
    (void)cx;
    for (size_t i = 0; i < n; i++) {
        const struct orc_attempt *attempt = orc_ws_attempt(&mem_of(store)->all, ids[i]);
        if (attempt)
            attempt_out(ws, attempt);
    }
    return HD_OK;
}

static enum hd_status attempts_page(ORC_CALL, struct orc_ws *ws, struct hd_uuid run, uint32_t from, uint32_t to) {
    const struct orc_mem *mem = store;
    (void)cx;
    for (size_t i = 0; i < mem->all.attempts.n; i++) {
        const struct orc_attempt *attempt = mem->all.attempts.items[i];
        const struct orc_job *job = attempt->job;
        if (hd_uuid_eq(job->run->id, run) && job->idx >= from && job->idx < to && attempt->number + 20 > job->attempts)
            attempt_out(ws, attempt);
    }
    return HD_OK;
}

// --- tenants --------------------------------------------------------------------------------------------------------------------
static enum hd_status tenants_load(ORC_CALL, struct orc_ws *ws, const char **names, size_t n) {
    struct orc_mem *mem = store;
    (void)cx;
    for (size_t i = 0; i < n; i++) {
        struct orc_tenant *row = orc_ws_tenant(&mem->all, names[i]);
        if (!row) {
            row = orc_ws_add_tenant(&mem->all, names[i]);
            hd_mem_added(&mem->base, mem_pop_tenant, mem);
        }
        if (!orc_ws_tenant(ws, names[i]))
            *orc_ws_add_tenant(ws, names[i]) = *row;
    }
    return HD_OK;
}

static enum hd_status tenants_read(ORC_CALL, struct orc_ws *ws, const char **names, size_t n) {
    (void)cx;
    for (size_t i = 0; i < n; i++) {
        const struct orc_tenant *row = orc_ws_tenant(&mem_of(store)->all, names[i]);
        if (row && !orc_ws_tenant(ws, names[i]))
            *orc_ws_add_tenant(ws, names[i]) = *row;
    }
    return HD_OK;
}

static int text_order(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum hd_status parts_waiting(ORC_CALL, const char *tenant, const char ***ret, size_t *ret_n) {
    const struct orc_mem *mem = store;
    const char **names = HD_NEW_ARRAY(cx->arena, mem->all.n_tenants + 1, const char *);
    size_t n = 0;
    for (size_t i = 0; i < mem->all.n_tenants; i++) {
        const struct orc_tenant *row = mem->all.tenants[i];
        if (row->queued > 0 && *row->project && strcmp(row->tenant, tenant) == 0)
            names[n++] = row->name;
    }
    if (n > 1)
        qsort(names, n, sizeof names[0], text_order);
    *ret = names;
    *ret_n = n;
    return HD_OK;
}

static enum hd_status tenants_waiting(ORC_CALL, unsigned limit, const char ***ret, size_t *ret_n) {
    const struct orc_mem *mem = store;
    const char **names = HD_NEW_ARRAY(cx->arena, mem->all.n_tenants + 1, const char *);
    size_t n = 0;
    for (size_t i = 0; i < mem->all.n_tenants && n < limit; i++) {
        const struct orc_tenant *row = mem->all.tenants[i];
        if (row->queued > 0 && !*row->project && (!row->granted || row->borrow || orc_tenant_open(row)))
            names[n++] = row->name;
    }
    *ret = names;
    *ret_n = n;
    return HD_OK;
}

// --- writes -----------------------------------------------------------------------------------------------------------------------
static enum hd_status runs_insert(ORC_CALL, struct orc_ws *ws) {
    struct orc_mem *mem = store;
    (void)cx;
    for (size_t i = 0; i < ws->runs.n; i++) {
        struct orc_run *run = ws->runs.items[i];
        if (run->was != 0 || run->duplicate)
            continue;
        run->duplicate = *run->key && run_by_key(mem, run->tenant, run->key);
        if (run->duplicate)
            continue;
        run->locked = true;
        run->dirty = run->amended = false;
        struct orc_run *row = orc_ws_add_run(&mem->all, run->id);
        hd_mem_added(&mem->base, mem_pop_run, mem);
        COPY_ROW(row, run);
        row->plan = NULL;
        row->inputs = NULL;
        row->origin = hd_mem_text(&mem->base, run->origin);
        row->actor = hd_mem_text(&mem->base, run->actor);
        row->tenant = hd_mem_text(&mem->base, run->tenant);
        row->pipeline = hd_mem_text(&mem->base, run->pipeline);
        row->project = hd_mem_text(&mem->base, run->project);
        row->key = hd_mem_text(&mem->base, run->key);
        row->request = hd_arena_memdup(&mem->base.arena, run->request, run->request_len);
        mem->base.rows_written++;
    }
    return HD_OK;
}

static void save_run(struct orc_mem *mem, struct orc_run *run) {
    struct orc_run *row = orc_ws_run(&mem->all, run->id);
    run->revision++;
    MEM_TOUCH_ROW(mem, row);
    row->state = run->state;
    row->started_ms = run->started_ms;
    row->ended_ms = run->ended_ms;
    row->ended = run->ended;
    row->succeeded = run->succeeded;
    row->failed = run->failed;
    row->total = run->total;
    row->rows = run->rows;
    row->main_left = run->main_left;
    row->due_ms = run->due_ms;
    row->cause = run->cause;
    row->paused = run->paused;
    row->held = run->held;
    row->revision = run->revision;
    mem->base.rows_written++;
}

static void save_job(struct orc_mem *mem, const struct orc_job *job) {
    struct orc_job *row = orc_ws_job(&mem->all, job->run->id, job->idx);
    if (row) {
        MEM_TOUCH_ROW(mem, row);
    } else {
        row = orc_ws_add_job(&mem->all, orc_ws_run(&mem->all, job->run->id), job->idx);
        hd_mem_added(&mem->base, mem_pop_job, mem);
    }
    struct orc_run *run = row->run;
    const char *outputs = row->outputs ? row->outputs : "";
    COPY_ROW(row, job);
    row->run = run;
    row->pool = hd_mem_text(&mem->base, job->pool);
    row->matrix = hd_mem_text(&mem->base, job->matrix);
    row->message = hd_mem_text(&mem->base, job->message);
    row->avoid_worker = hd_mem_text(&mem->base, job->avoid_worker);
    row->outputs = job->outputs_dirty ? hd_mem_text(&mem->base, job->outputs) : outputs;
    mem->base.rows_written++;
}

static void save_attempt(struct orc_mem *mem, const struct orc_attempt *attempt) {
    struct orc_attempt *row = orc_ws_attempt(&mem->all, attempt->id);
    if (row) {
        MEM_TOUCH_ROW(mem, row);
    } else {
        row =
            orc_ws_add_attempt(&mem->all, attempt->id, orc_ws_job(&mem->all, attempt->job->run->id, attempt->job->idx));
        hd_mem_added(&mem->base, mem_pop_attempt, mem);
    }
    struct orc_job *job = row->job;
    COPY_ROW(row, attempt);
    row->job = job;
    row->worker = hd_mem_text(&mem->base, attempt->worker);
    row->message = hd_mem_text(&mem->base, attempt->message);
    mem->base.rows_written++;
}

static enum hd_status save(ORC_CALL, struct orc_ws *ws) {
    struct orc_mem *mem = store;
    (void)cx;
    for (size_t i = 0; i < ws->runs.n; i++)
        if (!ws->runs.items[i]->duplicate &&
            (ws->runs.items[i]->was == 0 ? ws->runs.items[i]->amended : ws->runs.items[i]->dirty))
            save_run(mem, ws->runs.items[i]);
    for (size_t i = 0; i < ws->jobs.n; i++)
        if (ws->jobs.items[i]->dirty && !ws->jobs.items[i]->run->duplicate)
            save_job(mem, ws->jobs.items[i]);
    for (size_t i = 0; i < ws->attempts.n; i++)
        if (ws->attempts.items[i]->dirty)
            save_attempt(mem, ws->attempts.items[i]);
    for (size_t i = 0; i < ws->n_tenants; i++) {
        struct orc_tenant *row = orc_ws_tenant(&mem->all, ws->tenants[i]->name);
        if (!ws->tenants[i]->dirty && !ws->tenants[i]->regranted)
            continue;
        hd_mem_touch(&mem->base, row, sizeof *row);
        const struct orc_tenant was = *row;
        *row = *ws->tenants[i];
        row->name = was.name;
        row->tenant = was.tenant;
        row->project = was.project;
        row->dirty = row->regranted = false;
        row->started = 0;
        row->crossed = 0;
        mem->base.rows_written++;
    }
    return HD_OK;
}

const struct orc_store_ops orc_mem_store = {
    .versions_put = versions_put,
    .versions_newest = versions_newest,
    .versions_get = versions_get,
    .runs_load = runs_load,
    .runs_by_key = runs_by_key,
    .runs_list = runs_list,
    .jobs_load = jobs_load,
    .jobs_load_open = jobs_load_open,
    .jobs_page = jobs_page,
    .jobs_queued = jobs_queued,
    .outputs_load = outputs_load,
    .runs_due = runs_due,
    .listeners_put = mem_listeners_put,
    .follow_ups_add = mem_follow_ups_add,
    .follow_ups_take = mem_follow_ups_take,
    .follow_ups_drop = mem_follow_ups_drop,
    .actions_add = mem_actions_add,
    .actions_list = mem_actions_list,
    .approvals_add = mem_approvals_add,
    .approvals_count = mem_approvals_count,
    .approvals_list = mem_approvals_list,
    .groups_enter = mem_groups_enter,
    .groups_leave = mem_groups_leave,
    .group_members = mem_group_members,
    .group_hold = mem_group_hold,
    .group_doom = mem_group_doom,
    .groups_of = mem_groups_of,
    .groups_waiting = mem_groups_waiting,
    .command_find = mem_command_find,
    .command_put = mem_command_put,
    .commands_prune = mem_commands_prune,
    .jobs_due = jobs_due,
    .attempts_find = attempts_find,
    .attempts_find_live = mem_attempts_find_live,
    .attempts_load = attempts_load,
    .attempts_page = attempts_page,
    .tenants_load = tenants_load,
    .tenants_read = tenants_read,
    .usage_count = mem_usage_count,
    .tenants_spare = mem_tenants_spare,
    .parts_waiting = parts_waiting,
    .tenants_waiting = tenants_waiting,
    .runs_insert = runs_insert,
    .save = save,
    .lease_take = mem_lease_take,
    .leases_hold = mem_leases_hold,
    .pool_entries = mem_pool_entries,
    .sessions_lose = mem_sessions_lose,
    .sessions_revive = mem_sessions_revive,
    .sessions_lost = mem_sessions_lost,
    .sessions_prune = mem_sessions_prune,
    .attempts_orphaned = mem_attempts_orphaned,
};

void orc_mem_snapshot(const struct orc_mem *mem, struct hd_arena *arena, struct orc_ws *ret) {
    orc_ws_init(ret, arena);
    for (size_t i = 0; i < mem->all.runs.n; i++)
        run_out(ret, mem->all.runs.items[i], false);
    for (size_t i = 0; i < mem->all.jobs.n; i++)
        job_out(ret, mem->all.jobs.items[i]);
    for (size_t i = 0; i < mem->all.attempts.n; i++)
        attempt_out(ret, mem->all.attempts.items[i]);
    for (size_t i = 0; i < mem->all.n_tenants; i++)
        *orc_ws_add_tenant(ret, mem->all.tenants[i]->name) = *mem->all.tenants[i];
}
