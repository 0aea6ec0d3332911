#include "services/orchestrator/store_pg.h"

// --- rows into the working set: columns as in sql.c ----------------------------------------------------------------------------
static struct orc_run *run_out(struct orc_ws *ws, const struct hd_rows *rows, size_t i, size_t c, bool lock) {
    struct hd_uuid id = hd_row_uuid(rows, i, c);
    struct orc_run *run = orc_ws_run(ws, id);
    if (!run) {
        run = orc_ws_add_run(ws, id);
        run->tenant = hd_row_text(rows, i, c + 1);
        run->pipeline = hd_row_text(rows, i, c + 2);
        run->version = (uint32_t)hd_row_int(rows, i, c + 3);
        run->state = run->was = (int)hd_row_int(rows, i, c + 4);
        run->created_ms = hd_row_int(rows, i, c + 5);
        run->started_ms = hd_row_int(rows, i, c + 6);
        run->ended_ms = hd_row_int(rows, i, c + 7);
        run->total = (uint32_t)hd_row_int(rows, i, c + 8);
        run->ended = (uint32_t)hd_row_int(rows, i, c + 9);
        run->succeeded = (uint32_t)hd_row_int(rows, i, c + 10);
        run->failed = (uint32_t)hd_row_int(rows, i, c + 11);
        run->revision = hd_row_int(rows, i, c + 12);
        struct hd_bytes request = hd_row_bytes(rows, i, c + 13);
        run->request = request.data;
        run->request_len = request.len;
        run->rows = (uint32_t)hd_row_int(rows, i, c + 14);
        run->main_left = (uint32_t)hd_row_int(rows, i, c + 15);
        run->due_ms = hd_row_int(rows, i, c + 16);
        run->cause = (int)hd_row_int(rows, i, c + 17);
        run->origin = hd_row_text(rows, i, c + 18);
        run->actor = hd_row_text(rows, i, c + 19);
        run->paused = hd_row_bool(rows, i, c + 20);
        run->rerun_of = hd_row_uuid(rows, i, c + 21);
        run->held = hd_row_bool(rows, i, c + 22);
        run->started_by = hd_row_uuid(rows, i, c + 23);
        run->depth = (uint32_t)hd_row_int(rows, i, c + 24);
        run->project = hd_row_text(rows, i, c + 25);
    }
    run->locked |= lock;
    return run;
}
#define RUN_AFTER_JOB 29 // where a run's columns begin when they stand behind a job's

static void job_out(struct orc_ws *ws, const struct hd_rows *rows, size_t i) {
    struct orc_run *run = orc_ws_run(ws, hd_row_uuid(rows, i, 0));
    uint32_t idx = (uint32_t)hd_row_int(rows, i, 1);
    if (!run || orc_ws_job(ws, run->id, idx))
        return;
    struct orc_job *job = orc_ws_add_job(ws, run, idx);
    job->pool = hd_row_text(rows, i, 2);
    job->priority = (int32_t)hd_row_int(rows, i, 3);
    job->state = job->was = (int)hd_row_int(rows, i, 4);
    job->deps_left = (uint32_t)hd_row_int(rows, i, 5);
    job->key = job->was_key = (uint64_t)hd_row_int(rows, i, 6);
    job->attempts = (uint32_t)hd_row_int(rows, i, 7);
    job->losses = (uint32_t)hd_row_int(rows, i, 8);
    job->attempt = hd_row_uuid(rows, i, 9);
    job->queued_ms = hd_row_int(rows, i, 10);
    job->ready_ms = hd_row_int(rows, i, 11);
    job->started_ms = hd_row_int(rows, i, 12);
    job->ended_ms = hd_row_int(rows, i, 13);
    job->spec = hd_row_int(rows, i, 14) < 0 ? idx : (uint32_t)hd_row_int(rows, i, 14); // made by a release before
    job->parent = (uint32_t)hd_row_int(rows, i, 15);
    job->ordinal = (uint32_t)hd_row_int(rows, i, 16);
    job->matrix = hd_row_text(rows, i, 17);
    job->flags = job->was_flags = (uint32_t)hd_row_int(rows, i, 18);
    job->hold = job->was_hold = (uint32_t)hd_row_int(rows, i, 19);
    job->due_ms = hd_row_int(rows, i, 20);
    job->retries = (uint32_t)hd_row_int(rows, i, 21);
    job->children = (uint32_t)hd_row_int(rows, i, 22);
    job->first_child = (uint32_t)hd_row_int(rows, i, 23);
    job->next_child = (uint32_t)hd_row_int(rows, i, 24);
    job->open_children = (uint32_t)hd_row_int(rows, i, 25);
    job->cause = job->was_cause = (int)hd_row_int(rows, i, 26);
    job->message = hd_row_text(rows, i, 27);
    job->avoid_worker = hd_row_text(rows, i, 28);
}

static void attempt_out(struct orc_ws *ws, const struct hd_rows *rows, size_t i) {
    struct hd_uuid id = hd_row_uuid(rows, i, 0);
    struct orc_job *job = orc_ws_job(ws, hd_row_uuid(rows, i, 1), (uint32_t)hd_row_int(rows, i, 2));
    if (!job || orc_ws_attempt(ws, id))
        return;
    struct orc_attempt *attempt = orc_ws_add_attempt(ws, id, job);
    attempt->number = (uint32_t)hd_row_int(rows, i, 3);
    attempt->state = attempt->was = (int)hd_row_int(rows, i, 4);
    attempt->worker = hd_row_text(rows, i, 5);
    attempt->session = hd_row_uuid(rows, i, 6);
    attempt->key = (uint64_t)hd_row_int(rows, i, 7);
    attempt->assigned_ms = hd_row_int(rows, i, 8);
    attempt->changed_ms = hd_row_int(rows, i, 9);
    attempt->started_ms = hd_row_int(rows, i, 10);
    attempt->ended_ms = hd_row_int(rows, i, 11);
    attempt->exit_code = (int32_t)hd_row_int(rows, i, 12);
    attempt->signal = (int32_t)hd_row_int(rows, i, 13);
    attempt->cause = (int)hd_row_int(rows, i, 14);
    attempt->message = hd_row_text(rows, i, 15);
    attempt->user_ms = hd_row_int(rows, i, 16);
    attempt->system_ms = hd_row_int(rows, i, 17);
    attempt->max_rss_bytes = hd_row_int(rows, i, 18);
    attempt->log_frames = (uint64_t)hd_row_int(rows, i, 19);
    attempt->gone_ms = hd_row_int(rows, i, 20);
    attempt->incarnation = hd_row_int(rows, i, 21);
}

static void jobs_out(struct orc_ws *ws, const struct hd_rows *rows) {
    for (size_t i = 0; i < rows->n; i++)
        job_out(ws, rows, i);
}

// --- versions -----------------------------------------------------------------------------------------------------------------
static enum hd_status versions_put(ORC_CALL, const struct orc_version *versions, size_t n) {
    const char **tenants = HD_NEW_ARRAY(cx->arena, n, const char *), **names = HD_NEW_ARRAY(cx->arena, n, const char *);
    int32_t *numbers = HD_NEW_ARRAY(cx->arena, n, int32_t), *deleted = HD_NEW_ARRAY(cx->arena, n, int32_t);
    struct hd_bytes *data = HD_NEW_ARRAY(cx->arena, n, struct hd_bytes);
    const char **projects = HD_NEW_ARRAY(cx->arena, n, const char *);
    (void)store;
    for (size_t i = 0; i < n; i++) {
        tenants[i] = versions[i].tenant;
        projects[i] = versions[i].project;
        names[i] = versions[i].name;
        numbers[i] = (int32_t)versions[i].version;
        deleted[i] = versions[i].deleted;
        data[i] = (struct hd_bytes){versions[i].data, versions[i].len};
    }
    return ORC_RUN_SQL(cx, ORC_SQL_VERSIONS_PUT, NULL, HD_TEXTS(tenants, n), HD_TEXTS(names, n), HD_I32S(numbers, n),
                       HD_I32S(deleted, n), HD_BYTESS(data, n), HD_TEXTS(projects, n));
}

static enum hd_status versions_read(struct hd_ctx *cx, struct orc_version *inout, size_t n, bool newest) {
    const char **tenants = HD_NEW_ARRAY(cx->arena, n, const char *), **names = HD_NEW_ARRAY(cx->arena, n, const char *);
    int32_t *numbers = HD_NEW_ARRAY(cx->arena, n, int32_t);
    struct hd_rows rows;
    for (size_t i = 0; i < n; i++) {
        tenants[i] = inout[i].tenant;
        names[i] = inout[i].name;
        numbers[i] = (int32_t)inout[i].version;
    }
    if (newest)
        HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_VERSIONS_NEWEST, &rows, HD_TEXTS(tenants, n), HD_TEXTS(names, n)));
    else
        HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_VERSIONS_GET, &rows, HD_TEXTS(tenants, n), HD_TEXTS(names, n),
                           HD_I32S(numbers, n)));
    for (size_t i = 0; i < rows.n; i++) {
        struct orc_version *version = &inout[hd_row_int(&rows, i, 0) - 1];
        struct hd_bytes data = hd_row_bytes(&rows, i, 3);
        version->found = true;
        version->version = (uint32_t)hd_row_int(&rows, i, 1);
        version->deleted = hd_row_bool(&rows, i, 2);
        version->project = hd_row_text(&rows, i, 4);
        version->data = data.data;
        version->len = data.len;
    }
    return HD_OK;
}
static enum hd_status versions_newest(ORC_CALL, struct orc_version *inout, size_t n) {
    (void)store;
    return versions_read(cx, inout, n, true);
}
static enum hd_status versions_get(ORC_CALL, struct orc_version *inout, size_t n) {
    (void)store;
    return versions_read(cx, inout, n, false);
}

// --- runs and jobs --------------------------------------------------------------------------------------------------------------
static enum hd_status runs_load(ORC_CALL, struct orc_ws *ws, struct hd_uuid *ids, size_t n, bool lock) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, lock ? ORC_SQL_RUNS_LOCK : ORC_SQL_RUNS_READ, &rows, HD_UUIDS(ids, n)));
    for (size_t i = 0; i < rows.n; i++)
        run_out(ws, &rows, i, 0, lock);
    return HD_OK;
}

static enum hd_status runs_by_key(ORC_CALL, struct orc_run_key *inout, size_t n) {
    const char **tenants = HD_NEW_ARRAY(cx->arena, n, const char *), **keys = HD_NEW_ARRAY(cx->arena, n, const char *);
    struct hd_rows rows;
    (void)store;
    for (size_t i = 0; i < n; i++) {
        tenants[i] = inout[i].tenant;
        keys[i] = inout[i].key;
        inout[i].found = false;
    }
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_RUNS_BY_KEY, &rows, HD_TEXTS(tenants, n), HD_TEXTS(keys, n)));
    for (size_t i = 0; i < rows.n; i++) {
        struct orc_run_key *key = &inout[hd_row_int(&rows, i, 0) - 1];
        key->found = true;
        key->run = hd_row_uuid(&rows, i, 1);
        key->fingerprint = (uint64_t)hd_row_int(&rows, i, 2);
    }
    return HD_OK;
}

static enum hd_status runs_list(ORC_CALL, struct orc_ws *ws, const struct orc_runs_query *query) {
    struct hd_uuid before = query->before;
    struct hd_rows rows;
    (void)store;
    if (hd_uuid_zero(before))
        memset(&before, 0xff, sizeof before);
    if (!query->parts.all || *query->project) {
        struct hd_parts parts = query->parts;
        if (parts.all) {
            parts.projects[0] = query->project;
            parts.n_projects = 1;
        }
        HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_RUNS_LIST_PARTS, &rows, HD_TEXT(query->tenant), HD_UUID(before),
                           HD_I64(query->limit), HD_TEXTS(parts.pipelines, parts.n_pipelines),
                           HD_TEXTS(parts.projects, parts.n_projects), HD_TEXT(query->pipeline),
                           HD_TEXT(query->project), HD_UUID(query->since), HD_I32S(query->states, query->n_states)));
    } else if (*query->pipeline)
        HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_RUNS_LIST_PIPELINE, &rows, HD_TEXT(query->tenant), HD_UUID(before),
                           HD_I64(query->limit), HD_UUID(query->since), HD_I32S(query->states, query->n_states),
                           HD_TEXT(query->pipeline)));
    else if (query->n_states)
        HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_RUNS_LIST_STATES, &rows, HD_TEXT(query->tenant), HD_UUID(before),
                           HD_I64(query->limit), HD_UUID(query->since), HD_I32S(query->states, query->n_states)));
    else
        HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_RUNS_LIST, &rows, HD_TEXT(query->tenant), HD_UUID(before), HD_I64(query->limit),
                           HD_UUID(query->since)));
    for (size_t i = 0; i < rows.n; i++)
        run_out(ws, &rows, i, 0, false);
    return HD_OK;
}

static enum hd_status jobs_load(ORC_CALL, struct orc_ws *ws, struct orc_job_ref *refs, size_t n) {
    struct hd_uuid *runs = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    int32_t *idxs = HD_NEW_ARRAY(cx->arena, n, int32_t);
    struct hd_rows rows;
    (void)store;
    for (size_t i = 0; i < n; i++) {
        runs[i] = refs[i].run;
        idxs[i] = (int32_t)refs[i].idx;
    }
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_JOBS_LOAD, &rows, HD_UUIDS(runs, n), HD_I32S(idxs, n)));
    jobs_out(ws, &rows);
    return HD_OK;
}

static enum hd_status jobs_load_open(ORC_CALL, struct orc_ws *ws, const struct hd_uuid *runs, size_t n) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_JOBS_OPEN, &rows, HD_UUIDS(runs, n)));
    jobs_out(ws, &rows);
    return HD_OK;
}

static enum hd_status jobs_page(ORC_CALL, struct orc_ws *ws, struct hd_uuid run, uint32_t from, unsigned limit) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_JOBS_PAGE, &rows, HD_UUID(run), HD_I32((int32_t)from), HD_I64(limit)));
    jobs_out(ws, &rows);
    return HD_OK;
}

static enum hd_status jobs_queued(ORC_CALL, struct orc_ws *ws, const char *tenant, unsigned limit) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_JOBS_QUEUED, &rows, HD_TEXT(tenant), HD_I64(limit)));
    for (size_t i = 0; i < rows.n; i++)
        run_out(ws, &rows, i, RUN_AFTER_JOB, true);
    jobs_out(ws, &rows);
    return HD_OK;
}

static enum hd_status outputs_load(ORC_CALL, struct orc_ws *ws, struct orc_job_ref *refs, size_t n) {
    struct hd_uuid *runs = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    int32_t *idxs = HD_NEW_ARRAY(cx->arena, n, int32_t);
    struct hd_rows rows;
    (void)store;
    for (size_t i = 0; i < n; i++) {
        struct orc_job *job = orc_ws_job(ws, refs[i].run, refs[i].idx);
        if (job && !job->outputs)
            job->outputs = "";
        runs[i] = refs[i].run;
        idxs[i] = (int32_t)refs[i].idx;
    }
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_OUTPUTS_LOAD, &rows, HD_UUIDS(runs, n), HD_I32S(idxs, n)));
    for (size_t i = 0; i < rows.n; i++) {
        struct orc_job *job = orc_ws_job(ws, hd_row_uuid(&rows, i, 0), (uint32_t)hd_row_int(&rows, i, 1));
        if (job && !job->outputs_dirty)
            job->outputs = hd_row_text(&rows, i, 2);
    }
    return HD_OK;
}

static enum hd_status runs_due(ORC_CALL, int64_t now_ms, unsigned limit, struct hd_uuid **ret, size_t *ret_n) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_RUNS_DUE, &rows, HD_I64(now_ms), HD_I64(limit)));
    struct hd_uuid *ids = HD_NEW_ARRAY(cx->arena, rows.n, struct hd_uuid);
    for (size_t i = 0; i < rows.n; i++)
        ids[i] = hd_row_uuid(&rows, i, 0);
    *ret = ids;
    *ret_n = rows.n;
    return HD_OK;
}

static enum hd_status jobs_due(ORC_CALL, int64_t now_ms, unsigned limit, struct orc_job_ref **ret, size_t *ret_n) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_JOBS_DUE, &rows, HD_I64(now_ms), HD_I64(limit)));
    struct orc_job_ref *refs = HD_NEW_ARRAY(cx->arena, rows.n, struct orc_job_ref);
    for (size_t i = 0; i < rows.n; i++)
        refs[i] = (struct orc_job_ref){hd_row_uuid(&rows, i, 0), (uint32_t)hd_row_int(&rows, i, 1)};
    *ret = refs;
    *ret_n = rows.n;
    return HD_OK;
}

// --- attempts -----------------------------------------------------------------------------------------------------------------
static void refs_out(struct hd_ctx *cx, const struct hd_rows *rows, struct orc_attempt_ref **ret, size_t *ret_n) {
    struct orc_attempt_ref *refs = HD_NEW_ARRAY(cx->arena, rows->n, struct orc_attempt_ref);
    for (size_t i = 0; i < rows->n; i++)
        refs[i] = (struct orc_attempt_ref){hd_row_uuid(rows, i, 0),
                                           {hd_row_uuid(rows, i, 1), (uint32_t)hd_row_int(rows, i, 2)}};
    *ret = refs;
    *ret_n = rows->n;
}

static enum hd_status attempts_find(ORC_CALL, const struct hd_uuid *ids, size_t n, struct orc_attempt_ref **ret,
                                    size_t *ret_n) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_ATTEMPTS_FIND, &rows, HD_UUIDS(ids, n)));
    refs_out(cx, &rows, ret, ret_n);
    return HD_OK;
}

static enum hd_status attempts_find_live(ORC_CALL, const struct hd_uuid *sessions, size_t n,
                                         struct orc_attempt_ref **ret, size_t *ret_n) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_ATTEMPTS_FIND_LIVE, &rows, HD_UUIDS(sessions, n)));
    refs_out(cx, &rows, ret, ret_n);
    return HD_OK;
}

static enum hd_status attempts_orphaned(ORC_CALL, unsigned limit, struct orc_attempt_ref **ret, size_t *ret_n) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_ATTEMPTS_ORPHANED, &rows, HD_I64(limit)));
    refs_out(cx, &rows, ret, ret_n);
    return HD_OK;
}

static enum hd_status attempts_load(ORC_CALL, struct orc_ws *ws, const struct hd_uuid *ids, size_t n) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_ATTEMPTS_LOAD, &rows, HD_UUIDS(ids, n)));
    for (size_t i = 0; i < rows.n; i++)
        attempt_out(ws, &rows, i);
    return HD_OK;
}

static enum hd_status attempts_page(ORC_CALL, struct orc_ws *ws, struct hd_uuid run, uint32_t from, uint32_t to) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_ATTEMPTS_PAGE, &rows, HD_UUID(run), HD_I32((int32_t)from), HD_I32((int32_t)to)));
    for (size_t i = 0; i < rows.n; i++)
        attempt_out(ws, &rows, i);
    return HD_OK;
}

// --- tenants --------------------------------------------------------------------------------------------------------------------
static enum hd_status tenants_out(struct hd_ctx *cx, struct orc_ws *ws, enum orc_statement statement,
                                  const char **names, size_t n, size_t *ret_n) {
    struct hd_rows rows;
    HD_TRY(ORC_RUN_SQL(cx, statement, &rows, HD_TEXTS(names, n)));
    for (size_t i = 0; i < rows.n; i++) {
        if (orc_ws_tenant(ws, hd_row_text(&rows, i, 0)))
            continue;
        struct orc_tenant *tenant = orc_ws_add_tenant(ws, hd_row_text(&rows, i, 0));
        tenant->granted = hd_row_bool(&rows, i, 1);
        tenant->version = (uint64_t)hd_row_int(&rows, i, 2);
        tenant->queued = hd_row_int(&rows, i, 3);
        tenant->day = hd_row_int(&rows, i, 4);
        tenant->month = hd_row_int(&rows, i, 5);
        tenant->job_ms = hd_row_int(&rows, i, 6);
        tenant->marks = (uint32_t)hd_row_int(&rows, i, 7);
        for (size_t k = 0; k < HD_QUOTA_COUNTED; k++)
            tenant->limit.of[k] = hd_row_int(&rows, i, 8 + k);
        for (size_t k = 0; k < HD_QUOTA_MINUTES_MONTH; k++)
            tenant->used.of[k] = hd_row_int(&rows, i, 8 + HD_QUOTA_COUNTED + k);
        tenant->marked_ms = hd_row_int(&rows, i, 8 + HD_QUOTA_COUNTED + HD_QUOTA_MINUTES_MONTH);
        tenant->weight = (uint32_t)hd_row_int(&rows, i, 9 + HD_QUOTA_COUNTED + HD_QUOTA_MINUTES_MONTH);
        tenant->borrow = hd_row_bool(&rows, i, 10 + HD_QUOTA_COUNTED + HD_QUOTA_MINUTES_MONTH);
        tenant->parts = hd_row_int(&rows, i, 11 + HD_QUOTA_COUNTED + HD_QUOTA_MINUTES_MONTH);
        tenant->used.of[HD_QUOTA_MINUTES_MONTH] = tenant->job_ms / HD_QUOTA_MS_A_MINUTE;
        if (*tenant->project && !tenant->granted) {
            tenant->granted = true;
            tenant->limit = hd_quota_unlimited();
        }
    }
    *ret_n = rows.n;
    return HD_OK;
}

static enum hd_status tenants_lock(struct hd_ctx *cx, struct orc_ws *ws, const char **names, size_t n, size_t *ret_n) {
    return tenants_out(cx, ws, ORC_SQL_TENANTS_LOCK, names, n, ret_n);
}

static enum hd_status tenants_read(ORC_CALL, struct orc_ws *ws, const char **names, size_t n) {
    size_t found;
    (void)store;
    return tenants_out(cx, ws, ORC_SQL_TENANTS_READ, names, n, &found);
}

static enum hd_status tenants_spare(ORC_CALL, const char **names, size_t n, struct hd_quota *ret, bool *ret_waiting) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_BORROW_LOCK, &rows));
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_TENANTS_SPARE, &rows, HD_TEXTS(names, n)));
    *ret = (struct hd_quota){{0}};
    for (size_t i = 0; i < HD_QUOTA_CONCURRENT; i++)
        ret->of[i] = hd_row_int(&rows, 0, i);
    *ret_waiting = hd_row_bool(&rows, 0, HD_QUOTA_CONCURRENT);
    return HD_OK;
}

static enum hd_status usage_count(ORC_CALL, const char **names, size_t n, struct orc_usage **ret, size_t *ret_n) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_USAGE_COUNT, &rows, HD_I32(names == NULL), HD_TEXTS(names, n)));
    struct orc_usage *usage = HD_NEW_ARRAY(cx->arena, rows.n, struct orc_usage);
    for (size_t i = 0; i < rows.n; i++)
        usage[i] = (struct orc_usage){.tenant = hd_row_text(&rows, i, 0),
                                      .jobs = hd_row_int(&rows, i, 1),
                                      .cpu_milli = hd_row_int(&rows, i, 2),
                                      .memory_bytes = hd_row_int(&rows, i, 3),
                                      .gpu = hd_row_int(&rows, i, 4),
                                      .pending = hd_row_int(&rows, i, 5),
                                      .queued = hd_row_int(&rows, i, 6),
                                      .parts = hd_row_int(&rows, i, 7),
                                      .pipeline = hd_row_text(&rows, i, 8),
                                      .version = (uint32_t)hd_row_int(&rows, i, 9),
                                      .spec = (uint32_t)hd_row_int(&rows, i, 10),
                                      .is_counted = hd_row_int(&rows, i, 11),
                                      .is_pending = hd_row_int(&rows, i, 12),
                                      .is_queued = hd_row_int(&rows, i, 13),
                                      .is_parts = hd_row_int(&rows, i, 14)};
    *ret = usage;
    *ret_n = rows.n;
    return HD_OK;
}

static enum hd_status tenants_load(ORC_CALL, struct orc_ws *ws, const char **names, size_t n) {
    size_t found;
    (void)store;
    HD_TRY(tenants_lock(cx, ws, names, n, &found));
    if (found == n)
        return HD_OK;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_TENANTS_MAKE, NULL, HD_TEXTS(names, n)));
    return tenants_lock(cx, ws, names, n, &found);
}

static void names_out(struct hd_ctx *cx, const struct hd_rows *rows, const char ***ret, size_t *ret_n) {
    const char **names = HD_NEW_ARRAY(cx->arena, rows->n, const char *);
    for (size_t i = 0; i < rows->n; i++)
        names[i] = hd_row_text(rows, i, 0);
    *ret = names;
    *ret_n = rows->n;
}

static enum hd_status parts_waiting(ORC_CALL, const char *tenant, const char ***ret, size_t *ret_n) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_PARTS_WAITING, &rows, HD_TEXT(tenant)));
    names_out(cx, &rows, ret, ret_n);
    return HD_OK;
}

static enum hd_status tenants_waiting(ORC_CALL, unsigned limit, const char ***ret, size_t *ret_n) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_TENANTS_WAITING, &rows, HD_I64(limit)));
    names_out(cx, &rows, ret, ret_n);
    return HD_OK;
}

const struct orc_store_ops orc_pg_store = {
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
    .listeners_put = orc_pg_listeners_put,
    .follow_ups_add = orc_pg_follow_ups_add,
    .follow_ups_take = orc_pg_follow_ups_take,
    .follow_ups_drop = orc_pg_follow_ups_drop,
    .actions_add = orc_pg_actions_add,
    .actions_list = orc_pg_actions_list,
    .approvals_add = orc_pg_approvals_add,
    .approvals_count = orc_pg_approvals_count,
    .approvals_list = orc_pg_approvals_list,
    .groups_enter = orc_pg_groups_enter,
    .groups_leave = orc_pg_groups_leave,
    .group_members = orc_pg_group_members,
    .group_hold = orc_pg_group_hold,
    .group_doom = orc_pg_group_doom,
    .groups_of = orc_pg_groups_of,
    .groups_waiting = orc_pg_groups_waiting,
    .command_find = orc_pg_command_find,
    .command_put = orc_pg_command_put,
    .commands_prune = orc_pg_commands_prune,
    .jobs_due = jobs_due,
    .attempts_find = attempts_find,
    .attempts_find_live = attempts_find_live,
    .attempts_load = attempts_load,
    .attempts_page = attempts_page,
    .tenants_load = tenants_load,
    .tenants_read = tenants_read,
    .usage_count = usage_count,
    .tenants_spare = tenants_spare,
    .parts_waiting = parts_waiting,
    .tenants_waiting = tenants_waiting,
    .runs_insert = orc_pg_runs_insert,
    .save = orc_pg_save,
    .lease_take = orc_pg_lease_take,
    .leases_hold = orc_pg_leases_hold,
    .pool_entries = orc_pg_pool_entries,
    .sessions_lose = orc_pg_sessions_lose,
    .sessions_revive = orc_pg_sessions_revive,
    .sessions_lost = orc_pg_sessions_lost,
    .sessions_prune = orc_pg_sessions_prune,
    .attempts_orphaned = attempts_orphaned,
};
