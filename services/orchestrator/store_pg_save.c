// Writes: for each table at most one insert and one update, however many rows.
#include "services/orchestrator/store_pg.h"

// An array of one column: `expr` of `row`, which goes over all rows.
#define COLUMN(type, name, expr)                                                                                       \
    type *name = HD_NEW_ARRAY(cx->arena, n, type);                                                                     \
    for (size_t i_ = 0; i_ < n; i_++) {                                                                                \
        row = rows[i_];                                                                                                \
        name[i_] = (expr);                                                                                             \
    }

enum hd_status orc_pg_runs_insert(ORC_CALL, struct orc_ws *ws) {
    struct orc_run **rows = HD_NEW_ARRAY(cx->arena, ws->runs.n, struct orc_run *), *row;
    size_t n = 0;
    (void)store;
    for (size_t i = 0; i < ws->runs.n; i++)
        if (ws->runs.items[i]->was == 0 && !ws->runs.items[i]->duplicate)
            rows[n++] = ws->runs.items[i];
    if (n == 0)
        return HD_OK;
    COLUMN(struct hd_uuid, ids, row->id)
    COLUMN(const char *, tenants, row->tenant)
    COLUMN(const char *, pipelines, row->pipeline)
    COLUMN(int32_t, versions, (int32_t)row->version)
    COLUMN(int32_t, states, row->state)
    COLUMN(int64_t, created, row->created_ms)
    COLUMN(int32_t, totals, (int32_t)row->total)
    COLUMN(int64_t, revisions, row->revision)
    COLUMN(const char *, keys, *row->key ? row->key : NULL)
    COLUMN(int64_t, fingerprints, (int64_t)row->fingerprint)
    COLUMN(int32_t, counts, (int32_t)row->rows)
    COLUMN(int32_t, mains, (int32_t)row->main_left)
    COLUMN(int64_t, due, row->due_ms)
    COLUMN(const char *, origins, row->origin)
    COLUMN(const char *, actors, row->actor)
    COLUMN(struct hd_uuid, origin_runs, row->rerun_of)
    COLUMN(struct hd_uuid, started_by, row->started_by)
    COLUMN(int32_t, depths, (int32_t)row->depth)
    COLUMN(const char *, projects, row->project)
    COLUMN(struct hd_bytes, requests, ((struct hd_bytes){row->request_len ? row->request : NULL, row->request_len}))
    struct hd_rows inserted;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_RUNS_INSERT, &inserted, HD_UUIDS(ids, n), HD_TEXTS(tenants, n),
                       HD_TEXTS(pipelines, n), HD_I32S(versions, n), HD_I32S(states, n), HD_I64S(created, n),
                       HD_I32S(totals, n), HD_I64S(revisions, n), HD_TEXTS(keys, n), HD_I64S(fingerprints, n),
                       HD_BYTESS(requests, n), HD_I32S(counts, n), HD_I32S(mains, n), HD_I64S(due, n),
                       HD_TEXTS(origins, n), HD_TEXTS(actors, n), HD_UUIDS(origin_runs, n), HD_UUIDS(started_by, n),
                       HD_I32S(depths, n), HD_TEXTS(projects, n)));
    for (size_t i = 0; i < n; i++)
        rows[i]->duplicate = true;
    for (size_t i = 0; i < inserted.n; i++) {
        row = orc_ws_run(ws, hd_row_uuid(&inserted, i, 0));
        row->duplicate = false;
        row->locked = true;
        row->dirty = row->amended = false;
    }
    return HD_OK;
}

static enum hd_status runs_update(struct hd_ctx *cx, const struct orc_ws *ws) {
    struct orc_run **rows = HD_NEW_ARRAY(cx->arena, ws->runs.n, struct orc_run *), *row;
    size_t n = 0;
    for (size_t i = 0; i < ws->runs.n; i++)
        if (ws->runs.items[i]->was == 0 ? ws->runs.items[i]->amended && !ws->runs.items[i]->duplicate
                                        : ws->runs.items[i]->dirty)
            rows[n++] = ws->runs.items[i];
    if (n == 0)
        return HD_OK;
    COLUMN(struct hd_uuid, ids, row->id)
    COLUMN(int32_t, states, row->state)
    COLUMN(int64_t, started, row->started_ms)
    COLUMN(int64_t, ended_ms, row->ended_ms)
    COLUMN(int32_t, ended, (int32_t)row->ended)
    COLUMN(int32_t, succeeded, (int32_t)row->succeeded)
    COLUMN(int32_t, failed, (int32_t)row->failed)
    COLUMN(int64_t, revisions, ++row->revision)
    COLUMN(int32_t, totals, (int32_t)row->total)
    COLUMN(int32_t, counts, (int32_t)row->rows)
    COLUMN(int32_t, mains, (int32_t)row->main_left)
    COLUMN(int64_t, due, row->due_ms)
    COLUMN(int32_t, causes, row->cause)
    COLUMN(int32_t, paused, row->paused)
    COLUMN(int32_t, held, row->held)
    return ORC_RUN_SQL(cx, ORC_SQL_RUNS_UPDATE, NULL, HD_UUIDS(ids, n), HD_I32S(states, n), HD_I64S(started, n),
                       HD_I64S(ended_ms, n), HD_I32S(ended, n), HD_I32S(succeeded, n), HD_I32S(failed, n),
                       HD_I64S(revisions, n), HD_I32S(totals, n), HD_I32S(counts, n), HD_I32S(mains, n),
                       HD_I64S(due, n), HD_I32S(causes, n), HD_I32S(paused, n), HD_I32S(held, n));
}

static size_t jobs_pick(const struct orc_ws *ws, bool fresh, struct orc_job **rows) {
    size_t n = 0;
    for (size_t i = 0; i < ws->jobs.n; i++) {
        struct orc_job *job = ws->jobs.items[i];
        if (job->dirty && (job->was == 0) == fresh && !job->run->duplicate)
            rows[n++] = job;
    }
    return n;
}

static enum hd_status jobs_insert(struct hd_ctx *cx, const struct orc_ws *ws) {
    struct orc_job **rows = HD_NEW_ARRAY(cx->arena, ws->jobs.n, struct orc_job *), *row;
    size_t n = jobs_pick(ws, true, rows);
    if (n == 0)
        return HD_OK;
    COLUMN(struct hd_uuid, runs, row->run->id)
    COLUMN(int32_t, idxs, (int32_t)row->idx)
    COLUMN(const char *, tenants, orc_account(cx->arena, row->run))
    COLUMN(const char *, pools, row->pool)
    COLUMN(int32_t, priorities, row->priority)
    COLUMN(int32_t, states, row->state)
    COLUMN(int32_t, deps, (int32_t)row->deps_left)
    COLUMN(int64_t, keys, (int64_t)row->key)
    COLUMN(struct hd_uuid, attempts, row->attempt)
    COLUMN(int64_t, queued, row->queued_ms)
    COLUMN(int64_t, ready, row->ready_ms)
    COLUMN(int64_t, ended, row->ended_ms)
    COLUMN(int64_t, started, row->started_ms)
    COLUMN(int32_t, specs, (int32_t)row->spec)
    COLUMN(int32_t, parents, (int32_t)row->parent)
    COLUMN(int32_t, ordinals, (int32_t)row->ordinal)
    COLUMN(const char *, matrices, row->matrix)
    COLUMN(int32_t, flags, (int32_t)row->flags)
    COLUMN(int32_t, holds, (int32_t)row->hold)
    COLUMN(int64_t, due, row->due_ms)
    COLUMN(int32_t, children, (int32_t)row->children)
    COLUMN(int32_t, first, (int32_t)row->first_child)
    COLUMN(int32_t, next, (int32_t)row->next_child)
    COLUMN(int32_t, open, (int32_t)row->open_children)
    COLUMN(int32_t, causes, row->cause)
    COLUMN(const char *, messages, row->message)
    return ORC_RUN_SQL(cx, ORC_SQL_JOBS_INSERT, NULL, HD_UUIDS(runs, n), HD_I32S(idxs, n), HD_TEXTS(tenants, n),
                       HD_TEXTS(pools, n), HD_I32S(priorities, n), HD_I32S(states, n), HD_I32S(deps, n),
                       HD_I64S(keys, n), HD_UUIDS(attempts, n), HD_I64S(queued, n), HD_I64S(ready, n),
                       HD_I64S(ended, n), HD_I64S(started, n), HD_I32S(specs, n), HD_I32S(parents, n),
                       HD_I32S(ordinals, n), HD_TEXTS(matrices, n), HD_I32S(flags, n), HD_I32S(holds, n),
                       HD_I64S(due, n), HD_I32S(children, n), HD_I32S(first, n), HD_I32S(next, n), HD_I32S(open, n),
                       HD_I32S(causes, n), HD_TEXTS(messages, n));
}

static enum hd_status jobs_update(struct hd_ctx *cx, const struct orc_ws *ws) {
    struct orc_job **rows = HD_NEW_ARRAY(cx->arena, ws->jobs.n, struct orc_job *), *row;
    size_t n = jobs_pick(ws, false, rows);
    if (n == 0)
        return HD_OK;
    COLUMN(struct hd_uuid, runs, row->run->id)
    COLUMN(int32_t, idxs, (int32_t)row->idx)
    COLUMN(int32_t, states, row->state)
    COLUMN(int32_t, deps, (int32_t)row->deps_left)
    COLUMN(int64_t, keys, (int64_t)row->key)
    COLUMN(int32_t, counts, (int32_t)row->attempts)
    COLUMN(int32_t, losses, (int32_t)row->losses)
    COLUMN(struct hd_uuid, attempts, row->attempt)
    COLUMN(int64_t, queued, row->queued_ms)
    COLUMN(int64_t, ready, row->ready_ms)
    COLUMN(int64_t, started, row->started_ms)
    COLUMN(int64_t, ended, row->ended_ms)
    COLUMN(int32_t, flags, (int32_t)row->flags)
    COLUMN(int32_t, holds, (int32_t)row->hold)
    COLUMN(int64_t, due, row->due_ms)
    COLUMN(int32_t, retries, (int32_t)row->retries)
    return ORC_RUN_SQL(cx, ORC_SQL_JOBS_UPDATE, NULL, HD_UUIDS(runs, n), HD_I32S(idxs, n), HD_I32S(states, n),
                       HD_I32S(deps, n), HD_I64S(keys, n), HD_I32S(counts, n), HD_I32S(losses, n),
                       HD_UUIDS(attempts, n), HD_I64S(queued, n), HD_I64S(ready, n), HD_I64S(started, n),
                       HD_I64S(ended, n), HD_I32S(flags, n), HD_I32S(holds, n), HD_I64S(due, n), HD_I32S(retries, n));
}

// What few jobs have: a matrix, a cause of their own, a worker to avoid.
static enum hd_status jobs_update_more(struct hd_ctx *cx, const struct orc_ws *ws) {
    struct orc_job **rows = HD_NEW_ARRAY(cx->arena, ws->jobs.n, struct orc_job *), *row;
    size_t n = 0, all = jobs_pick(ws, false, rows);
    for (size_t i = 0; i < all; i++)
        if (rows[i]->children || rows[i]->cause || *rows[i]->message || rows[i]->was_cause || *rows[i]->avoid_worker)
            rows[n++] = rows[i];
    if (n == 0)
        return HD_OK;
    COLUMN(struct hd_uuid, runs, row->run->id)
    COLUMN(int32_t, idxs, (int32_t)row->idx)
    COLUMN(int32_t, children, (int32_t)row->children)
    COLUMN(int32_t, first, (int32_t)row->first_child)
    COLUMN(int32_t, next, (int32_t)row->next_child)
    COLUMN(int32_t, open, (int32_t)row->open_children)
    COLUMN(int32_t, causes, row->cause)
    COLUMN(const char *, messages, row->message)
    COLUMN(const char *, avoided, row->avoid_worker)
    return ORC_RUN_SQL(cx, ORC_SQL_JOBS_UPDATE_MORE, NULL, HD_UUIDS(runs, n), HD_I32S(idxs, n), HD_I32S(children, n),
                       HD_I32S(first, n), HD_I32S(next, n), HD_I32S(open, n), HD_I32S(causes, n), HD_TEXTS(messages, n),
                       HD_TEXTS(avoided, n));
}

static enum hd_status jobs_priority(struct hd_ctx *cx, const struct orc_ws *ws) {
    struct orc_job **rows = HD_NEW_ARRAY(cx->arena, ws->jobs.n, struct orc_job *), *row;
    size_t n = 0, all = jobs_pick(ws, false, rows);
    for (size_t i = 0; i < all; i++)
        if (rows[i]->priority_dirty)
            rows[n++] = rows[i];
    if (n == 0)
        return HD_OK;
    COLUMN(struct hd_uuid, runs, row->run->id)
    COLUMN(int32_t, idxs, (int32_t)row->idx)
    COLUMN(int32_t, priorities, row->priority)
    return ORC_RUN_SQL(cx, ORC_SQL_JOBS_PRIORITY, NULL, HD_UUIDS(runs, n), HD_I32S(idxs, n), HD_I32S(priorities, n));
}

static enum hd_status outputs_put(struct hd_ctx *cx, const struct orc_ws *ws) {
    struct orc_job **rows = HD_NEW_ARRAY(cx->arena, ws->jobs.n, struct orc_job *), *row;
    size_t n = 0;
    for (size_t i = 0; i < ws->jobs.n; i++)
        if (ws->jobs.items[i]->outputs_dirty)
            rows[n++] = ws->jobs.items[i];
    if (n == 0)
        return HD_OK;
    COLUMN(struct hd_uuid, runs, row->run->id)
    COLUMN(int32_t, idxs, (int32_t)row->idx)
    COLUMN(const char *, data, row->outputs)
    return ORC_RUN_SQL(cx, ORC_SQL_OUTPUTS_PUT, NULL, HD_UUIDS(runs, n), HD_I32S(idxs, n), HD_TEXTS(data, n));
}

static size_t attempts_pick(const struct orc_ws *ws, bool fresh, struct orc_attempt **rows) {
    size_t n = 0;
    for (size_t i = 0; i < ws->attempts.n; i++)
        if (ws->attempts.items[i]->dirty && (ws->attempts.items[i]->was == 0) == fresh)
            rows[n++] = ws->attempts.items[i];
    return n;
}

static enum hd_status attempts_insert(struct hd_ctx *cx, const struct orc_ws *ws) {
    struct orc_attempt **rows = HD_NEW_ARRAY(cx->arena, ws->attempts.n, struct orc_attempt *), *row;
    size_t n = attempts_pick(ws, true, rows);
    if (n == 0)
        return HD_OK;
    COLUMN(struct hd_uuid, ids, row->id)
    COLUMN(struct hd_uuid, runs, row->job->run->id)
    COLUMN(int32_t, idxs, (int32_t)row->job->idx)
    COLUMN(int32_t, numbers, (int32_t)row->number)
    COLUMN(int32_t, states, row->state)
    COLUMN(const char *, workers, row->worker)
    COLUMN(struct hd_uuid, sessions, row->session)
    COLUMN(int64_t, keys, (int64_t)row->key)
    COLUMN(int64_t, assigned, row->assigned_ms)
    COLUMN(int64_t, changed, row->changed_ms)
    COLUMN(int64_t, incarnations, row->incarnation)
    return ORC_RUN_SQL(cx, ORC_SQL_ATTEMPTS_INSERT, NULL, HD_UUIDS(ids, n), HD_UUIDS(runs, n), HD_I32S(idxs, n),
                       HD_I32S(numbers, n), HD_I32S(states, n), HD_TEXTS(workers, n), HD_UUIDS(sessions, n),
                       HD_I64S(keys, n), HD_I64S(assigned, n), HD_I64S(changed, n), HD_I64S(incarnations, n));
}

static enum hd_status attempts_update(struct hd_ctx *cx, const struct orc_ws *ws) {
    struct orc_attempt **rows = HD_NEW_ARRAY(cx->arena, ws->attempts.n, struct orc_attempt *), *row;
    size_t n = attempts_pick(ws, false, rows);
    if (n == 0)
        return HD_OK;
    COLUMN(struct hd_uuid, ids, row->id)
    COLUMN(int32_t, states, row->state)
    COLUMN(int64_t, changed, row->changed_ms)
    COLUMN(int64_t, started, row->started_ms)
    COLUMN(int64_t, ended, row->ended_ms)
    COLUMN(int32_t, codes, row->exit_code)
    COLUMN(int32_t, signals, row->signal)
    COLUMN(int32_t, causes, row->cause)
    COLUMN(const char *, messages, row->message)
    COLUMN(int64_t, user, row->user_ms)
    COLUMN(int64_t, system, row->system_ms)
    COLUMN(int64_t, rss, row->max_rss_bytes)
    COLUMN(int64_t, frames, (int64_t)row->log_frames)
    COLUMN(int64_t, gone, row->gone_ms)
    COLUMN(int64_t, incarnations, row->incarnation)
    return ORC_RUN_SQL(cx, ORC_SQL_ATTEMPTS_UPDATE, NULL, HD_UUIDS(ids, n), HD_I32S(states, n), HD_I64S(changed, n),
                       HD_I64S(started, n), HD_I64S(ended, n), HD_I32S(codes, n), HD_I32S(signals, n),
                       HD_I32S(causes, n), HD_TEXTS(messages, n), HD_I64S(user, n), HD_I64S(system, n), HD_I64S(rss, n),
                       HD_I64S(frames, n), HD_I64S(gone, n), HD_I64S(incarnations, n));
}

static enum hd_status tenants_update(struct hd_ctx *cx, const struct orc_ws *ws) {
    struct orc_tenant **rows = HD_NEW_ARRAY(cx->arena, ws->n_tenants, struct orc_tenant *), *row;
    size_t n = 0;
    for (size_t i = 0; i < ws->n_tenants; i++)
        if (ws->tenants[i]->dirty)
            rows[n++] = ws->tenants[i];
    if (n == 0)
        return HD_OK;
    COLUMN(const char *, names, row->name)
    COLUMN(int64_t, jobs, row->used.of[HD_QUOTA_JOBS])
    COLUMN(int64_t, cpus, row->used.of[HD_QUOTA_CPU])
    COLUMN(int64_t, memory, row->used.of[HD_QUOTA_MEMORY])
    COLUMN(int64_t, gpus, row->used.of[HD_QUOTA_GPU])
    COLUMN(int64_t, pending, row->used.of[HD_QUOTA_QUEUED])
    COLUMN(int64_t, runs, row->used.of[HD_QUOTA_RUNS_DAY])
    COLUMN(int64_t, queued, row->queued)
    COLUMN(int64_t, days, row->day)
    COLUMN(int64_t, months, row->month)
    COLUMN(int64_t, job_ms, row->job_ms)
    COLUMN(int32_t, marks, (int32_t)row->marks)
    COLUMN(int64_t, marked, row->marked_ms)
    COLUMN(int64_t, parts, row->parts)
    return ORC_RUN_SQL(cx, ORC_SQL_TENANTS_UPDATE, NULL, HD_TEXTS(names, n), HD_I64S(jobs, n), HD_I64S(cpus, n),
                       HD_I64S(memory, n), HD_I64S(gpus, n), HD_I64S(pending, n), HD_I64S(runs, n), HD_I64S(queued, n),
                       HD_I64S(days, n), HD_I64S(months, n), HD_I64S(job_ms, n), HD_I32S(marks, n), HD_I64S(marked, n),
                       HD_I64S(parts, n));
}

static enum hd_status tenants_grant(struct hd_ctx *cx, const struct orc_ws *ws) {
    struct orc_tenant **rows = HD_NEW_ARRAY(cx->arena, ws->n_tenants, struct orc_tenant *), *row;
    size_t n = 0;
    for (size_t i = 0; i < ws->n_tenants; i++)
        if (ws->tenants[i]->regranted)
            rows[n++] = ws->tenants[i];
    if (n == 0)
        return HD_OK;
    COLUMN(const char *, names, row->name)
    COLUMN(int64_t, versions, (int64_t)row->version)
    COLUMN(int64_t, jobs, row->limit.of[HD_QUOTA_JOBS])
    COLUMN(int64_t, cpus, row->limit.of[HD_QUOTA_CPU])
    COLUMN(int64_t, memory, row->limit.of[HD_QUOTA_MEMORY])
    COLUMN(int64_t, gpus, row->limit.of[HD_QUOTA_GPU])
    COLUMN(int64_t, queued, row->limit.of[HD_QUOTA_QUEUED])
    COLUMN(int64_t, runs, row->limit.of[HD_QUOTA_RUNS_DAY])
    COLUMN(int64_t, minutes, row->limit.of[HD_QUOTA_MINUTES_MONTH])
    COLUMN(int32_t, weights, (int32_t)row->weight)
    COLUMN(int32_t, borrow, row->borrow)
    return ORC_RUN_SQL(cx, ORC_SQL_TENANTS_GRANT, NULL, HD_TEXTS(names, n), HD_I64S(versions, n), HD_I64S(jobs, n),
                       HD_I64S(cpus, n), HD_I64S(memory, n), HD_I64S(gpus, n), HD_I64S(queued, n), HD_I64S(runs, n),
                       HD_I64S(minutes, n), HD_I32S(weights, n), HD_I32S(borrow, n));
}

enum hd_status orc_pg_save(ORC_CALL, struct orc_ws *ws) {
    (void)store;
    HD_TRY(runs_update(cx, ws));
    HD_TRY(jobs_insert(cx, ws));
    HD_TRY(jobs_update(cx, ws));
    HD_TRY(jobs_update_more(cx, ws));
    HD_TRY(jobs_priority(cx, ws));
    HD_TRY(outputs_put(cx, ws));
    HD_TRY(attempts_insert(cx, ws));
    HD_TRY(attempts_update(cx, ws));
    HD_TRY(tenants_grant(cx, ws));
    return tenants_update(cx, ws);
}
