#include "services/worker-registry/registry.h"

enum {
    LOAD,
    BEATS,
    JOINS,
    LIVE,
    LIST,
    FORGET_WORKERS,
    FORGET_LOST,
    VERSION,
    BUMP,
    LOSE,
    UNTOLD_OF,
    UNTOLD,
    TOLD,
    DUE,
    MADE,
    TOKENS,
    CORDONS,
    ACTIONS_ADD,
    ACTIONS_LIST,
    GET,
    SQL_COUNT
};
_Static_assert(SQL_COUNT == REGISTRY_SQL_COUNT, "the header says how many");

#define WORKER_COLUMNS                                                                                                 \
    "name, session, state, pool, profile, joined_at_ms, heartbeat_at_ms, beats, running, stream_ready, incarnation"
#define STEERED_COLUMNS ", cordon, cordon_actor, cordon_reason, cordon_at_ms, unfit, usage"

// Rows are locked in the order of their names, and the fleet's row after them.
const struct hd_sql registry_sql[REGISTRY_SQL_COUNT] = {
    [LOAD] = {"registry_load", "SELECT " WORKER_COLUMNS STEERED_COLUMNS
                               " FROM workers WHERE name = ANY ($1::text[]) ORDER BY name FOR UPDATE"},
    [BEATS] = {"registry_beats", "UPDATE workers w SET state = u.state, heartbeat_at_ms = u.heartbeat, beats = u.beats,"
                                 " running = u.running, stream_ready = u.stream_ready <> 0, unfit = u.unfit,"
                                 " usage = u.usage"
                                 " FROM unnest($1::text[], $2::int4[], $3::int8[], $4::int8[], $5::int4[], $6::int4[],"
                                 " $7::text[], $8::bytea[])"
                                 " AS u (name, state, heartbeat, beats, running, stream_ready, unfit, usage)"
                                 " WHERE w.name = u.name"},
    // A row that came or changed hands since it was looked for is not touched; the caller sees fewer rows.
    [JOINS] = {"registry_joins",
               "INSERT INTO workers AS w (" WORKER_COLUMNS ")"
               " SELECT u.name, u.session, u.state, u.pool, u.profile, u.joined, u.heartbeat, u.beats, u.running,"
               " u.stream_ready <> 0, u.incarnation"
               " FROM unnest($1::text[], $2::uuid[], $3::int4[], $4::text[], $5::bytea[], $6::int8[], $7::int8[],"
               " $8::int8[], $9::int4[], $10::int4[], $11::uuid[], $12::int8[]) AS u (name, session, state, pool,"
               " profile, joined, heartbeat, beats, running, stream_ready, loaded, incarnation)"
               " ON CONFLICT (name) DO UPDATE SET session = excluded.session, state = excluded.state,"
               " pool = excluded.pool, profile = excluded.profile, joined_at_ms = excluded.joined_at_ms,"
               " heartbeat_at_ms = excluded.heartbeat_at_ms, beats = excluded.beats, running = excluded.running,"
               " stream_ready = excluded.stream_ready, incarnation = excluded.incarnation"
               " WHERE (w.name, w.session) IN (SELECT * FROM unnest($1::text[], $11::uuid[]))"},
    [LIVE] = {"registry_live", "SELECT name, session, state, beats FROM workers WHERE state IN (1, 2) ORDER BY name"},
    [LIST] = {"registry_list",
              "SELECT " WORKER_COLUMNS STEERED_COLUMNS " FROM workers WHERE ($1::text = '' OR pool = $1::text)"
              " AND name > $2::text AND (cardinality($3::int4[]) = 0 OR state = ANY ($3::int4[]))"
              " ORDER BY name LIMIT $4::int8"},
    [FORGET_WORKERS] = {"registry_forget_workers",
                        "DELETE FROM workers w WHERE state = 3 AND heartbeat_at_ms < $1::int8 AND NOT EXISTS"
                        " (SELECT 1 FROM lost_sessions l WHERE l.worker = w.name AND NOT l.confirmed)"},
    [FORGET_LOST] = {"registry_forget_lost", "DELETE FROM lost_sessions WHERE confirmed AND lost_at_ms < $1::int8"},
    [VERSION] = {"registry_version", "SELECT version FROM fleet"},
    [BUMP] = {"registry_bump", "UPDATE fleet SET version = version + 1 RETURNING version"},
    [LOSE] = {"registry_lose",
              "INSERT INTO lost_sessions (worker, session, lost_at_ms, incarnation)"
              " SELECT worker, session, $4::int8, incarnation FROM unnest($1::text[], $2::uuid[], $3::int8[])"
              " AS u (worker, session, incarnation) ON CONFLICT (worker, session) DO UPDATE SET confirmed = false,"
              " lost_at_ms = excluded.lost_at_ms, incarnation = excluded.incarnation, seq = DEFAULT"},
    [UNTOLD_OF] =
        {"registry_untold_of",
         "SELECT worker, session, incarnation FROM lost_sessions WHERE NOT confirmed AND worker = ANY ($1::text[])"},
    [UNTOLD] = {"registry_untold",
                "SELECT worker, session, incarnation, seq FROM lost_sessions WHERE NOT confirmed ORDER BY seq "
                "LIMIT $1::int8 OFFSET $2::int8"},
    [TOLD] = {"registry_told",
              "UPDATE lost_sessions SET confirmed = true WHERE NOT confirmed AND seq = ANY ($1::int8[])"},
    [DUE] = {"registry_streams_due", "SELECT name, session FROM workers WHERE NOT stream_ready AND state <> 3"
                                     " ORDER BY name LIMIT $1::int8"},
    [MADE] = {"registry_streams_made",
              "UPDATE workers w SET stream_ready = true FROM (SELECT w2.name FROM workers w2"
              " JOIN unnest($1::text[], $2::uuid[]) AS u (name, session) ON w2.name = u.name AND w2.session = u.session"
              " ORDER BY w2.name FOR UPDATE OF w2) l WHERE w.name = l.name"},
    [TOKENS] = {"registry_tokens", "SELECT sha256 FROM join_tokens WHERE sha256 = ANY ($1::bytea[])"},
    [CORDONS] = {"registry_cordons",
                 "UPDATE workers w SET cordon = u.cordon, cordon_actor = u.actor, cordon_reason = u.reason,"
                 " cordon_at_ms = u.at FROM unnest($1::text[], $2::int4[], $3::text[], $4::text[], $5::int8[])"
                 " AS u (name, cordon, actor, reason, at) WHERE w.name = u.name"},
    [ACTIONS_ADD] = {"registry_actions_add", "INSERT INTO actions (worker, at_ms, actor, action, reason)"
                                             " VALUES ($1::text, $2::int8, $3::text, $4::text, $5::text)"},
    [GET] = {"registry_get", "SELECT " WORKER_COLUMNS STEERED_COLUMNS " FROM workers WHERE name = $1::text"},
    [ACTIONS_LIST] = {"registry_actions_list", "SELECT at_ms, actor, action, reason FROM actions"
                                               " WHERE worker = $1::text ORDER BY id DESC LIMIT 100"},
};

static void read_worker(const struct hd_rows *rows, size_t row, struct worker *ret) {
    ret->name = hd_row_text(rows, row, 0);
    ret->session = ret->loaded_session = hd_row_uuid(rows, row, 1);
    ret->state = (enum registry_state)hd_row_int(rows, row, 2);
    ret->pool = hd_row_text(rows, row, 3);
    ret->profile = hd_row_bytes(rows, row, 4);
    ret->joined_at_ms = hd_row_int(rows, row, 5);
    ret->heartbeat_at_ms = hd_row_int(rows, row, 6);
    ret->beats = hd_row_int(rows, row, 7);
    ret->running = (int32_t)hd_row_int(rows, row, 8);
    ret->stream_ready = hd_row_bool(rows, row, 9);
    ret->incarnation = hd_row_int(rows, row, 10);
    ret->cordon = (int32_t)hd_row_int(rows, row, 11);
    ret->cordon_actor = hd_row_text(rows, row, 12);
    ret->cordon_reason = hd_row_text(rows, row, 13);
    ret->cordon_at_ms = hd_row_int(rows, row, 14);
    ret->unfit = hd_row_text(rows, row, 15);
    ret->usage = hd_row_bytes(rows, row, 16);
}

static enum hd_status pg_load(struct hd_ctx *cx, const char **names, size_t n, struct workers *ret) {
    struct workers workers;
    struct hd_rows rows;

    registry_by_name(names, n, cx->arena, &workers);
    HD_TRY(HD_RUN(cx, &registry_sql[LOAD], &rows, HD_TEXTS(names, n)));
    for (size_t i = 0; i < rows.n; i++) {
        struct worker *worker = workers_find(&workers, hd_row_text(&rows, i, 0));
        if (worker)
            read_worker(&rows, i, worker);
    }
    *ret = workers;
    return HD_OK;
}

static enum hd_status save_beats(struct hd_ctx *cx, const struct workers *workers) {
    size_t n = 0;
    const char **names = HD_NEW_ARRAY(cx->arena, workers->n + 1, const char *);
    int32_t *states = HD_NEW_ARRAY(cx->arena, workers->n + 1, int32_t);
    int64_t *heartbeats = HD_NEW_ARRAY(cx->arena, workers->n + 1, int64_t);
    int64_t *beats = HD_NEW_ARRAY(cx->arena, workers->n + 1, int64_t);
    int32_t *running = HD_NEW_ARRAY(cx->arena, workers->n + 1, int32_t);
    int32_t *ready = HD_NEW_ARRAY(cx->arena, workers->n + 1, int32_t);
    const char **unfit = HD_NEW_ARRAY(cx->arena, workers->n + 1, const char *);
    struct hd_bytes *usages = HD_NEW_ARRAY(cx->arena, workers->n + 1, struct hd_bytes);

    for (size_t i = 0; i < workers->n; i++) {
        const struct worker *worker = &workers->rows[i];
        if (!worker->beat || worker->joined) // a join writes the whole row
            continue;
        names[n] = worker->name;
        states[n] = (int32_t)worker->state;
        heartbeats[n] = worker->heartbeat_at_ms;
        beats[n] = worker->beats;
        running[n] = worker->running;
        unfit[n] = worker->unfit;
        usages[n] = worker->usage;
        ready[n++] = worker->stream_ready;
    }
    if (n == 0)
        return HD_OK;
    return HD_RUN(cx, &registry_sql[BEATS], NULL, HD_TEXTS(names, n), HD_I32S(states, n), HD_I64S(heartbeats, n),
                  HD_I64S(beats, n), HD_I32S(running, n), HD_I32S(ready, n), HD_TEXTS(unfit, n), HD_BYTESS(usages, n));
}

static enum hd_status save_cordons(struct hd_ctx *cx, const struct workers *workers) {
    size_t n = 0;
    const char **names = HD_NEW_ARRAY(cx->arena, workers->n + 1, const char *);
    int32_t *modes = HD_NEW_ARRAY(cx->arena, workers->n + 1, int32_t);
    const char **actors = HD_NEW_ARRAY(cx->arena, workers->n + 1, const char *);
    const char **reasons = HD_NEW_ARRAY(cx->arena, workers->n + 1, const char *);
    int64_t *times = HD_NEW_ARRAY(cx->arena, workers->n + 1, int64_t);

    for (size_t i = 0; i < workers->n; i++) {
        const struct worker *worker = &workers->rows[i];
        if (!worker->steered)
            continue;
        names[n] = worker->name;
        modes[n] = worker->cordon;
        actors[n] = worker->cordon_actor;
        reasons[n] = worker->cordon_reason;
        times[n++] = worker->cordon_at_ms;
    }
    if (n == 0)
        return HD_OK;
    return HD_RUN(cx, &registry_sql[CORDONS], NULL, HD_TEXTS(names, n), HD_I32S(modes, n), HD_TEXTS(actors, n),
                  HD_TEXTS(reasons, n), HD_I64S(times, n));
}

static enum hd_status save_joins(struct hd_ctx *cx, const struct workers *workers) {
    size_t n = 0, max = workers->n + 1;
    const char **names = HD_NEW_ARRAY(cx->arena, max, const char *);
    struct hd_uuid *sessions = HD_NEW_ARRAY(cx->arena, max, struct hd_uuid);
    int32_t *states = HD_NEW_ARRAY(cx->arena, max, int32_t);
    const char **pools = HD_NEW_ARRAY(cx->arena, max, const char *);
    struct hd_bytes *profiles = HD_NEW_ARRAY(cx->arena, max, struct hd_bytes);
    int64_t *joined = HD_NEW_ARRAY(cx->arena, max, int64_t);
    int64_t *heartbeats = HD_NEW_ARRAY(cx->arena, max, int64_t);
    int64_t *beats = HD_NEW_ARRAY(cx->arena, max, int64_t);
    int32_t *running = HD_NEW_ARRAY(cx->arena, max, int32_t);
    int32_t *ready = HD_NEW_ARRAY(cx->arena, max, int32_t);
    int64_t *incarnations = HD_NEW_ARRAY(cx->arena, max, int64_t);
    struct hd_uuid *loaded = HD_NEW_ARRAY(cx->arena, max, struct hd_uuid);
    struct hd_rows rows;

    for (size_t i = 0; i < workers->n; i++) {
        const struct worker *worker = &workers->rows[i];
        if (!worker->joined)
            continue;
        names[n] = worker->name;
        sessions[n] = worker->session;
        states[n] = (int32_t)worker->state;
        pools[n] = worker->pool;
        profiles[n] = worker->profile;
        joined[n] = worker->joined_at_ms;
        heartbeats[n] = worker->heartbeat_at_ms;
        beats[n] = worker->beats;
        running[n] = worker->running;
        ready[n] = worker->stream_ready;
        incarnations[n] = worker->incarnation;
        loaded[n++] = worker->loaded_session;
    }
    if (n == 0)
        return HD_OK;
    HD_TRY(HD_RUN(cx, &registry_sql[JOINS], &rows, HD_TEXTS(names, n), HD_UUIDS(sessions, n), HD_I32S(states, n),
                  HD_TEXTS(pools, n), HD_BYTESS(profiles, n), HD_I64S(joined, n), HD_I64S(heartbeats, n),
                  HD_I64S(beats, n), HD_I32S(running, n), HD_I32S(ready, n), HD_UUIDS(loaded, n),
                  HD_I64S(incarnations, n)));
    if (rows.affected != (int64_t)n)
        return hd_fail(cx, HD_CONFLICT, "another session joined with the same name at the same moment");
    return HD_OK;
}

static enum hd_status pg_save(struct hd_ctx *cx, const struct workers *workers) {
    HD_TRY(save_beats(cx, workers));
    HD_TRY(save_joins(cx, workers));
    return save_cordons(cx, workers);
}

static enum hd_status pg_live(struct hd_ctx *cx, struct liveness_row **ret, size_t *ret_n) {
    struct hd_rows rows;
    HD_TRY(hd_db_run(cx, &registry_sql[LIVE], NULL, 0, &rows));
    struct liveness_row *live = HD_NEW_ARRAY(cx->arena, rows.n + 1, struct liveness_row);
    for (size_t i = 0; i < rows.n; i++) {
        live[i].name = hd_row_text(&rows, i, 0);
        live[i].session = hd_row_uuid(&rows, i, 1);
        live[i].suspect = hd_row_int(&rows, i, 2) == REG_SUSPECT;
        live[i].beats = hd_row_int(&rows, i, 3);
    }
    *ret = live;
    *ret_n = rows.n;
    return HD_OK;
}

static enum hd_status pg_list(struct hd_ctx *cx, const struct workers_query *query, struct workers *ret) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &registry_sql[LIST], &rows, HD_TEXT(query->pool), HD_TEXT(query->after),
                  HD_I32S(query->states, query->n_states), HD_I64(query->limit)));
    *ret = (struct workers){HD_NEW_ARRAY(cx->arena, rows.n + 1, struct worker), rows.n};
    for (size_t i = 0; i < rows.n; i++)
        read_worker(&rows, i, &ret->rows[i]);
    return HD_OK;
}

static enum hd_status pg_get(struct hd_ctx *cx, const char *name, struct worker *ret) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &registry_sql[GET], &rows, HD_TEXT(name)));
    *ret = (struct worker){.name = name};
    if (rows.n)
        read_worker(&rows, 0, ret);
    return HD_OK;
}

static enum hd_status pg_actions(struct hd_ctx *cx, const char *worker, Hodei__V1__WorkerAction ***ret, size_t *ret_n) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &registry_sql[ACTIONS_LIST], &rows, HD_TEXT(worker)));
    *ret = HD_NEW_ARRAY(cx->arena, rows.n + 1, Hodei__V1__WorkerAction *);
    for (*ret_n = 0; *ret_n < rows.n; ++*ret_n) {
        Hodei__V1__WorkerAction *action =
            (Hodei__V1__WorkerAction *)hd_pb_new(cx->arena, &hodei__v1__worker_action__descriptor);
        action->at_ms = hd_row_int(&rows, *ret_n, 0);
        action->actor = hd_arena_strdup(cx->arena, hd_row_text(&rows, *ret_n, 1));
        action->action = hd_arena_strdup(cx->arena, hd_row_text(&rows, *ret_n, 2));
        action->reason = hd_arena_strdup(cx->arena, hd_row_text(&rows, *ret_n, 3));
        (*ret)[*ret_n] = action;
    }
    return HD_OK;
}

static enum hd_status pg_add_action(struct hd_ctx *cx, const char *worker, const Hodei__V1__WorkerAction *action) {
    return HD_RUN(cx, &registry_sql[ACTIONS_ADD], NULL, HD_TEXT(worker), HD_I64(action->at_ms), HD_TEXT(action->actor),
                  HD_TEXT(action->action), HD_TEXT(action->reason));
}

static enum hd_status pg_forget(struct hd_ctx *cx, int64_t before_ms) {
    HD_TRY(HD_RUN(cx, &registry_sql[FORGET_WORKERS], NULL, HD_I64(before_ms)));
    return HD_RUN(cx, &registry_sql[FORGET_LOST], NULL, HD_I64(before_ms));
}

static enum hd_status version_of(struct hd_ctx *cx, const struct hd_sql *sql, int64_t *ret) {
    struct hd_rows rows;
    HD_TRY(hd_db_run(cx, sql, NULL, 0, &rows));
    if (rows.n != 1)
        return hd_fail(cx, HD_INTERNAL, "the table fleet has %zu rows, not one", rows.n);
    *ret = hd_row_int(&rows, 0, 0);
    return HD_OK;
}

static enum hd_status pg_fleet_version(struct hd_ctx *cx, int64_t *ret) {
    return version_of(cx, &registry_sql[VERSION], ret);
}

static enum hd_status pg_fleet_bump(struct hd_ctx *cx, int64_t *ret) {
    return version_of(cx, &registry_sql[BUMP], ret);
}

static enum hd_status pg_lose(struct hd_ctx *cx, const struct lost_list *lost) {
    return HD_RUN(cx, &registry_sql[LOSE], NULL, HD_TEXTS(lost->workers, lost->n), HD_UUIDS(lost->sessions, lost->n),
                  HD_I64S(lost->incarnations, lost->n), HD_I64(cx->now.wall_ms));
}

static struct lost_list read_lost(struct hd_ctx *cx, const struct hd_rows *rows) {
    struct lost_list lost = lost_list_new(cx->arena, rows->n);
    for (; lost.n < rows->n; lost.n++) {
        lost.workers[lost.n] = hd_row_text(rows, lost.n, 0);
        lost.sessions[lost.n] = hd_row_uuid(rows, lost.n, 1);
        lost.incarnations[lost.n] = hd_row_int(rows, lost.n, 2);
    }
    return lost;
}

static enum hd_status pg_untold_of(struct hd_ctx *cx, const char **names, size_t n, struct lost_list *ret) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &registry_sql[UNTOLD_OF], &rows, HD_TEXTS(names, n)));
    *ret = read_lost(cx, &rows);
    return HD_OK;
}

static enum hd_status pg_untold(struct hd_ctx *cx, unsigned skip, unsigned limit, int64_t *ret_seqs,
                                struct lost_list *ret) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &registry_sql[UNTOLD], &rows, HD_I64(limit), HD_I64(skip)));
    *ret = read_lost(cx, &rows);
    for (size_t i = 0; i < rows.n; i++)
        ret_seqs[i] = hd_row_int(&rows, i, 3);
    return HD_OK;
}

static enum hd_status pg_told(struct hd_ctx *cx, const int64_t *seqs, size_t n) {
    return HD_RUN(cx, &registry_sql[TOLD], NULL, HD_I64S(seqs, n));
}

static enum hd_status pg_streams_due(struct hd_ctx *cx, struct registry_stream *ret, size_t max, size_t *ret_n) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &registry_sql[DUE], &rows, HD_I64((int64_t)max)));
    for (size_t i = 0; i < rows.n; i++) {
        hd_strlcpy(ret[i].worker, hd_row_text(&rows, i, 0), sizeof(ret[i].worker));
        ret[i].session = hd_row_uuid(&rows, i, 1);
    }
    *ret_n = rows.n;
    return HD_OK;
}

static enum hd_status pg_streams_made(struct hd_ctx *cx, const struct registry_stream *made, size_t n) {
    const char **names = HD_NEW_ARRAY(cx->arena, n, const char *);
    struct hd_uuid *sessions = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    for (size_t i = 0; i < n; i++) {
        names[i] = made[i].worker;
        sessions[i] = made[i].session;
    }
    return HD_RUN(cx, &registry_sql[MADE], NULL, HD_TEXTS(names, n), HD_UUIDS(sessions, n));
}

static enum hd_status pg_tokens_known(struct hd_ctx *cx, const struct hd_bytes *hashes, size_t n, struct hd_bytes **ret,
                                      size_t *ret_n) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &registry_sql[TOKENS], &rows, HD_BYTESS(hashes, n)));
    *ret = HD_NEW_ARRAY(cx->arena, rows.n + 1, struct hd_bytes);
    for (*ret_n = 0; *ret_n < rows.n; ++*ret_n)
        (*ret)[*ret_n] = hd_row_bytes(&rows, *ret_n, 0);
    return HD_OK;
}

const struct registry_store registry_pg_store = {
    .load = pg_load,
    .save = pg_save,
    .live = pg_live,
    .list = pg_list,
    .get = pg_get,
    .actions = pg_actions,
    .add_action = pg_add_action,
    .forget = pg_forget,
    .fleet_version = pg_fleet_version,
    .fleet_bump = pg_fleet_bump,
    .lose = pg_lose,
    .untold_of = pg_untold_of,
    .untold = pg_untold,
    .told = pg_told,
    .streams_due = pg_streams_due,
    .streams_made = pg_streams_made,
    .tokens_known = pg_tokens_known,
};
