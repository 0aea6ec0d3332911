#include "service/holder.h"
#include "services/observability/observability.h"

enum {
    LOCK_RUNS,
    ADD_RUNS,
    SAVE_RUNS,
    FIND_RUNS,
    LOAD_ATTEMPTS,
    SAVE_ATTEMPTS,
    LOAD_EARLY,
    SAVE_EARLY,
    DROP_EARLY,
    SAVE_ROWS,
    READ_ROWS,
    DELETE_CHUNKS,
    DELETE_RUNS,
    NOTE_EVENTS,
    ADD_STATS,
    READ_STATS,
    FORGET_EVENTS,
    LOCK_DAYS,
    SAVE_DAYS,
    READ_DAY,
    SAVE_GRANTS,
    SQL_COUNT
};
_Static_assert(SQL_COUNT == OBS_SQL_COUNT, "the header says how many");

#define KEYS "unnest($1::uuid[], $2::int4[], $3::uuid[])"

// clang-format off
const struct hd_sql obs_sql[OBS_SQL_COUNT] = {
    [LOCK_RUNS] = {"obs_lock_runs",
        "SELECT run, tenant, last_seq FROM log_runs WHERE run = ANY ($1::uuid[]) ORDER BY run FOR UPDATE"},
    [ADD_RUNS] = {"obs_add_runs",
        "INSERT INTO log_runs (run, tenant, last_seq, created_at_ms)"
        " SELECT run, tenant, 0, $3::int8 FROM unnest($1::uuid[], $2::text[]) AS u (run, tenant) ORDER BY run"
        " ON CONFLICT DO NOTHING"},
    [SAVE_RUNS] = {"obs_save_runs",
        "UPDATE log_runs r SET last_seq = u.seq FROM unnest($1::uuid[], $2::int8[]) AS u (run, seq) WHERE r.run = u.run"},
    [FIND_RUNS] = {"obs_find_runs", "SELECT run, tenant, last_seq FROM log_runs WHERE run = ANY ($1::uuid[])"},
    [LOAD_ATTEMPTS] = {"obs_load_attempts",
        "SELECT a.run, a.job_index, a.attempt, a.next_frame, e.first_frame, e.n_frames, a.closing"
        " FROM " KEYS " AS u (run, job_index, attempt)"
        " JOIN log_attempts a ON a.run = u.run AND a.job_index = u.job_index AND a.attempt = u.attempt"
        " LEFT JOIN log_early e ON e.run = u.run AND e.job_index = u.job_index AND e.attempt = u.attempt"},
    [SAVE_ATTEMPTS] = {"obs_save_attempts",
        "INSERT INTO log_attempts AS a (run, job_index, attempt, next_frame, closing)"
        " SELECT * FROM unnest($1::uuid[], $2::int4[], $3::uuid[], $4::int8[], $5::int8[])"
        " ON CONFLICT (run, job_index, attempt) DO UPDATE SET next_frame = excluded.next_frame, closing = excluded.closing"},
    [LOAD_EARLY] = {"obs_load_early",
        "SELECT chunk FROM log_early WHERE run = $1::uuid AND job_index = $2::int4 AND attempt = $3::uuid"
        " AND first_frame = $4::int8"},
    [SAVE_EARLY] = {"obs_save_early",
        "INSERT INTO log_early (run, job_index, attempt, first_frame, n_frames, chunk)"
        " VALUES ($1::uuid, $2::int4, $3::uuid, $4::int8, $5::int4, $6::bytea) ON CONFLICT DO NOTHING"},
    [DROP_EARLY] = {"obs_drop_early",
        "DELETE FROM log_early WHERE run = $1::uuid AND job_index = $2::int4 AND attempt = $3::uuid"
        " AND first_frame < $4::int8"},
    [SAVE_ROWS] = {"obs_save_rows",
        "INSERT INTO log_chunks (run, job_index, attempt, seq, attempt_number, first_frame, n_frames, bytes, job, frames,"
        " arrived_at_ms) SELECT u.*, $11::int8 FROM unnest($1::uuid[], $2::int4[], $3::uuid[], $4::int8[], $5::int4[],"
        " $6::int8[], $7::int4[], $8::int8[], $9::text[], $10::bytea[]) AS u"},
    // At most 512 rows, and those only whose predecessors leave room: the content of the others is not touched.
    [READ_ROWS] = {"obs_read_rows",
        "SELECT seq, job, attempt_number, first_frame, frames FROM"
        " (SELECT *, sum(bytes) OVER (ORDER BY seq) - bytes AS before FROM"
        " (SELECT * FROM log_chunks WHERE run = $1::uuid AND seq >= $2::int8 AND ($3::text = '' OR job = $3::text)"
        " ORDER BY seq LIMIT 512) found) measured WHERE before <= $4::int8 ORDER BY seq"},
    [DELETE_CHUNKS] = {"obs_delete_chunks",
        "DELETE FROM log_chunks WHERE ctid = ANY (ARRAY (SELECT ctid FROM log_chunks WHERE arrived_at_ms < $1::int8"
        " LIMIT $2::int8))"},
    [DELETE_RUNS] = {"obs_delete_runs",
        "WITH gone AS (DELETE FROM log_runs WHERE run IN (SELECT run FROM log_runs r WHERE created_at_ms < $1::int8"
        " AND NOT EXISTS (SELECT 1 FROM log_chunks c WHERE c.run = r.run) ORDER BY run LIMIT $2::int8 FOR UPDATE)"
        " RETURNING run), early AS (DELETE FROM log_early e USING gone WHERE e.run = gone.run)"
        " DELETE FROM log_attempts a USING gone WHERE a.run = gone.run"},
    [NOTE_EVENTS] = {"obs_note_events",
        "INSERT INTO seen_events (digest, seen_at_ms) SELECT digest, $2::int8 FROM unnest($1::bytea[]) AS u (digest)"
        " ORDER BY digest ON CONFLICT DO NOTHING RETURNING digest"},
    [ADD_STATS] = {"obs_add_stats",
        "INSERT INTO job_stats AS s (tenant, pipeline, job, succeeded, failed, queued_ms, ran_ms)"
        " SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::int8[], $6::int8[], $7::int8[])"
        " ON CONFLICT (tenant, pipeline, job) DO UPDATE SET succeeded = s.succeeded + excluded.succeeded,"
        " failed = s.failed + excluded.failed, queued_ms = s.queued_ms + excluded.queued_ms,"
        " ran_ms = s.ran_ms + excluded.ran_ms"},
    [READ_STATS] = {"obs_read_stats",
        "SELECT pipeline, job, succeeded, failed, queued_ms, ran_ms FROM job_stats WHERE tenant = $1::text"
        " AND ($2::text = '' OR pipeline = $2::text) ORDER BY pipeline, job LIMIT 10000"},
    [FORGET_EVENTS] = {"obs_forget_events",
        "DELETE FROM seen_events WHERE ctid = ANY (ARRAY (SELECT ctid FROM seen_events WHERE seen_at_ms < $1::int8"
        " LIMIT 10000))"},
    [LOCK_DAYS] = {"obs_lock_days",
        "SELECT tenant, log_bytes, day, bytes, marks, closed_limit, closings FROM log_quota"
        " WHERE tenant = ANY ($1::text[]) AND log_bytes >= 0 ORDER BY tenant FOR UPDATE"},
    [SAVE_DAYS] = {"obs_save_days",
        "INSERT INTO log_quota AS q (tenant, version, log_bytes, day, bytes, marks, closed_limit, closings)"
        " SELECT tenant, 0, -1, day, added, marks, closed_limit, closings FROM unnest($1::text[], $2::int8[], $3::int8[],"
        " $4::int4[], $5::int8[], $6::int8[]) AS u (tenant, day, added, marks, closed_limit, closings) ORDER BY tenant"
        " ON CONFLICT (tenant) DO UPDATE SET day = greatest(q.day, excluded.day), bytes = excluded.bytes +"
        " CASE WHEN q.day < excluded.day THEN 0 ELSE q.bytes END, marks = excluded.marks,"
        " closed_limit = excluded.closed_limit, closings = greatest(q.closings, excluded.closings)"},
    [READ_DAY] = {"obs_read_day",
        "SELECT tenant, log_bytes, day, bytes, marks, closed_limit, closings FROM log_quota WHERE tenant = $1::text"},
    [SAVE_GRANTS] = {"obs_save_grants",
        "INSERT INTO log_quota AS q (tenant, version, log_bytes, day, bytes, marks, closed_limit, closings)"
        " SELECT DISTINCT ON (t) t, v, b, 0, 0, 0, -1, 0 FROM unnest($1::text[], $2::int8[], $3::int8[]) AS u (t, v, b)"
        " ORDER BY t, v DESC ON CONFLICT (tenant) DO UPDATE SET version = excluded.version, log_bytes = excluded.log_bytes"
        " WHERE q.version < excluded.version"},
};
// clang-format on

// --- runs -----------------------------------------------------------------------------------------------------------

struct obs_run *obs_run_of(struct obs_run *runs, size_t n, struct hd_uuid id) {
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int order = hd_uuid_cmp(id, runs[mid].id);
        if (order == 0)
            return &runs[mid];
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

static enum hd_status run_rows(struct hd_ctx *cx, const struct hd_sql *sql, struct obs_run *runs, size_t n,
                               size_t *ret_found) {
    struct hd_uuid *ids = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    struct hd_rows rows;

    for (size_t i = 0; i < n; i++)
        ids[i] = runs[i].id;
    HD_TRY(HD_RUN(cx, sql, &rows, HD_UUIDS(ids, n)));
    for (size_t i = 0; i < rows.n; i++) {
        struct obs_run *run = obs_run_of(runs, n, hd_row_uuid(&rows, i, 0));
        if (!run)
            continue;
        run->tenant = hd_row_text(&rows, i, 1);
        run->last_seq = hd_row_int(&rows, i, 2);
        run->found = true;
    }
    *ret_found = rows.n;
    return HD_OK;
}

enum hd_status obs_find_runs(struct hd_ctx *cx, struct obs_run *runs, size_t n) {
    size_t found;
    return run_rows(cx, &obs_sql[FIND_RUNS], runs, n, &found);
}

enum hd_status obs_lock_runs(struct hd_ctx *cx, struct obs_run *runs, size_t n) {
    struct hd_uuid *ids = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    const char **tenants = HD_NEW_ARRAY(cx->arena, n, const char *);
    size_t found, missing = 0;

    HD_TRY(run_rows(cx, &obs_sql[LOCK_RUNS], runs, n, &found));
    if (found == n)
        return HD_OK;
    for (size_t i = 0; i < n; i++) {
        if (runs[i].found)
            continue;
        ids[missing] = runs[i].id;
        tenants[missing++] = runs[i].tenant;
    }
    HD_TRY(HD_RUN(cx, &obs_sql[ADD_RUNS], NULL, HD_UUIDS(ids, missing), HD_TEXTS(tenants, missing),
                  HD_I64(cx->now.wall_ms)));
    HD_TRY(run_rows(cx, &obs_sql[LOCK_RUNS], runs, n, &found));
    return found == n ? HD_OK : hd_fail(cx, HD_CONFLICT, "the log of a run was deleted while it was written to");
}

enum hd_status obs_save_runs(struct hd_ctx *cx, const struct obs_run *runs, size_t n) {
    struct hd_uuid *ids = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    int64_t *seqs = HD_NEW_ARRAY(cx->arena, n, int64_t);
    for (size_t i = 0; i < n; i++) {
        ids[i] = runs[i].id;
        seqs[i] = runs[i].last_seq;
    }
    return HD_RUN(cx, &obs_sql[SAVE_RUNS], NULL, HD_UUIDS(ids, n), HD_I64S(seqs, n));
}

// --- attempts and chunks --------------------------------------------------------------------------------------------

struct attempt_keys {
    struct hd_uuid *runs, *attempts;
    int32_t *jobs;
    int64_t *next_frames;
};
static struct attempt_keys keys_of(struct hd_ctx *cx, const struct obs_attempt *attempts, size_t n) {
    struct attempt_keys keys = {HD_NEW_ARRAY(cx->arena, n, struct hd_uuid), HD_NEW_ARRAY(cx->arena, n, struct hd_uuid),
                                HD_NEW_ARRAY(cx->arena, n, int32_t), HD_NEW_ARRAY(cx->arena, n, int64_t)};
    for (size_t i = 0; i < n; i++) {
        keys.runs[i] = attempts[i].run;
        keys.attempts[i] = attempts[i].id;
        keys.jobs[i] = (int32_t)attempts[i].job_index;
        keys.next_frames[i] = (int64_t)attempts[i].next_frame;
    }
    return keys;
}

static struct obs_attempt *attempt_of(struct obs_attempt *attempts, size_t n, const struct hd_rows *rows, size_t row) {
    struct hd_uuid run = hd_row_uuid(rows, row, 0), id = hd_row_uuid(rows, row, 2);
    int64_t job_index = hd_row_int(rows, row, 1);
    size_t low = 0, high = n;
    while (low < high) {
        struct obs_attempt *mid = &attempts[(low + high) / 2];
        int order = hd_uuid_cmp(run, mid->run);
        if (order == 0)
            order = job_index < mid->job_index ? -1 : job_index > mid->job_index;
        if (order == 0)
            order = hd_uuid_cmp(id, mid->id);
        if (order == 0)
            return mid;
        if (order < 0)
            high = (low + high) / 2;
        else
            low = (low + high) / 2 + 1;
    }
    return NULL;
}

enum hd_status obs_load_attempts(struct hd_ctx *cx, struct obs_attempt *attempts, size_t n) {
    struct attempt_keys keys = keys_of(cx, attempts, n);
    struct hd_rows rows;

    HD_TRY(HD_RUN(cx, &obs_sql[LOAD_ATTEMPTS], &rows, HD_UUIDS(keys.runs, n), HD_I32S(keys.jobs, n),
                  HD_UUIDS(keys.attempts, n)));
    for (size_t i = 0; i < rows.n; i++) {
        struct obs_attempt *attempt = attempt_of(attempts, n, &rows, i);
        if (!attempt)
            continue;
        attempt->next_frame = attempt->was_next_frame = (uint64_t)hd_row_int(&rows, i, 3);
        attempt->closing = hd_row_int(&rows, i, 6);
        if (hd_row_null(&rows, i, 4))
            continue;
        HD_GROW(cx->arena, attempt->pieces, attempt->n_pieces, attempt->cap_pieces);
        uint64_t first = (uint64_t)hd_row_int(&rows, i, 4);
        attempt->pieces[attempt->n_pieces++] =
            (struct frames_piece){.first = first, .end = first + (uint64_t)hd_row_int(&rows, i, 5), .waits = true};
    }
    return HD_OK;
}

enum hd_status obs_save_attempts(struct hd_ctx *cx, const struct obs_attempt *attempts, size_t n) {
    struct attempt_keys keys = keys_of(cx, attempts, n);
    int64_t *closings = HD_NEW_ARRAY(cx->arena, n, int64_t);
    for (size_t i = 0; i < n; i++)
        closings[i] = attempts[i].closing;
    return HD_RUN(cx, &obs_sql[SAVE_ATTEMPTS], NULL, HD_UUIDS(keys.runs, n), HD_I32S(keys.jobs, n),
                  HD_UUIDS(keys.attempts, n), HD_I64S(keys.next_frames, n), HD_I64S(closings, n));
}

enum hd_status obs_load_early(struct hd_ctx *cx, const struct obs_attempt *attempt, uint64_t first_frame,
                              struct hd_bytes *ret) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &obs_sql[LOAD_EARLY], &rows, HD_UUID(attempt->run), HD_I32((int32_t)attempt->job_index),
                  HD_UUID(attempt->id), HD_I64((int64_t)first_frame)));
    if (rows.n != 1)
        return hd_fail(cx, HD_CONFLICT, "a waiting log chunk is gone although its run is locked");
    *ret = hd_row_bytes(&rows, 0, 0);
    return HD_OK;
}

enum hd_status obs_save_early(struct hd_ctx *cx, const struct obs_attempt *attempt, uint64_t first_frame,
                              size_t n_frames, struct hd_bytes chunk) {
    return HD_RUN(cx, &obs_sql[SAVE_EARLY], NULL, HD_UUID(attempt->run), HD_I32((int32_t)attempt->job_index),
                  HD_UUID(attempt->id), HD_I64((int64_t)first_frame), HD_I32((int32_t)n_frames),
                  HD_BYTES(chunk.data, chunk.len));
}

enum hd_status obs_drop_early(struct hd_ctx *cx, const struct obs_attempt *attempt) {
    return HD_RUN(cx, &obs_sql[DROP_EARLY], NULL, HD_UUID(attempt->run), HD_I32((int32_t)attempt->job_index),
                  HD_UUID(attempt->id), HD_I64((int64_t)attempt->next_frame));
}

enum hd_status obs_save_rows(struct hd_ctx *cx, const struct obs_row *rows, size_t n) {
    struct hd_uuid *runs = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    int32_t *jobs = HD_NEW_ARRAY(cx->arena, n, int32_t);
    struct hd_uuid *attempts = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    int64_t *seqs = HD_NEW_ARRAY(cx->arena, n, int64_t);
    int32_t *numbers = HD_NEW_ARRAY(cx->arena, n, int32_t);
    int64_t *firsts = HD_NEW_ARRAY(cx->arena, n, int64_t);
    int32_t *counts = HD_NEW_ARRAY(cx->arena, n, int32_t);
    int64_t *bytes = HD_NEW_ARRAY(cx->arena, n, int64_t);
    const char **names = HD_NEW_ARRAY(cx->arena, n, const char *);
    struct hd_bytes *frames = HD_NEW_ARRAY(cx->arena, n, struct hd_bytes);

    for (size_t i = 0; i < n; i++) {
        runs[i] = rows[i].attempt->run;
        jobs[i] = (int32_t)rows[i].attempt->job_index;
        attempts[i] = rows[i].attempt->id;
        seqs[i] = rows[i].seq;
        numbers[i] = rows[i].attempt_number;
        firsts[i] = rows[i].first_frame;
        counts[i] = rows[i].n_frames;
        bytes[i] = rows[i].bytes;
        names[i] = rows[i].job;
        frames[i] = rows[i].frames;
    }
    return HD_RUN(cx, &obs_sql[SAVE_ROWS], NULL, HD_UUIDS(runs, n), HD_I32S(jobs, n), HD_UUIDS(attempts, n),
                  HD_I64S(seqs, n), HD_I32S(numbers, n), HD_I64S(firsts, n), HD_I32S(counts, n), HD_I64S(bytes, n),
                  HD_TEXTS(names, n), HD_BYTESS(frames, n), HD_I64(cx->now.wall_ms));
}

enum hd_status obs_read_rows(struct hd_ctx *cx, struct hd_uuid run, const char *job, struct obs_cursor from,
                             int64_t max_bytes, struct hd_rows *ret) {
    return HD_RUN(cx, &obs_sql[READ_ROWS], ret, HD_UUID(run), HD_I64(from.seq), HD_TEXT(job), HD_I64(max_bytes));
}

enum hd_status obs_delete_old(struct hd_ctx *cx, int64_t before_ms, int64_t *ret_chunks) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &obs_sql[DELETE_CHUNKS], &rows, HD_I64(before_ms), HD_I64(OBS_DELETE_BITE)));
    HD_TRY(HD_RUN(cx, &obs_sql[DELETE_RUNS], NULL, HD_I64(before_ms), HD_I64(OBS_DELETE_BITE)));
    *ret_chunks = rows.affected;
    return HD_OK;
}

// --- quota ----------------------------------------------------------------------------------------------------------

static void day_out(const struct hd_rows *rows, size_t i, struct obs_day *day) {
    day->limit = hd_row_int(rows, i, 1);
    day->day = hd_row_int(rows, i, 2);
    day->bytes = hd_row_int(rows, i, 3);
    day->marks = (uint32_t)hd_row_int(rows, i, 4);
    day->closed_limit = hd_row_int(rows, i, 5);
    day->closings = hd_row_int(rows, i, 6);
}

enum hd_status obs_lock_days(struct hd_ctx *cx, struct obs_day *days, size_t n) {
    const char **tenants = HD_NEW_ARRAY(cx->arena, n, const char *);
    struct hd_rows rows;

    for (size_t i = 0; i < n; i++) {
        tenants[i] = days[i].tenant;
        days[i].limit = days[i].closed_limit = HD_QUOTA_UNLIMITED;
    }
    HD_TRY(HD_RUN(cx, &obs_sql[LOCK_DAYS], &rows, HD_TEXTS(tenants, n)));
    for (size_t i = 0; i < rows.n; i++)
        for (size_t k = 0; k < n; k++)
            if (strcmp(days[k].tenant, hd_row_text(&rows, i, 0)) == 0)
                day_out(&rows, i, &days[k]);
    return HD_OK;
}

enum hd_status obs_save_days(struct hd_ctx *cx, const struct obs_day *days, size_t n) {
    const char **tenants = HD_NEW_ARRAY(cx->arena, n, const char *);
    int64_t *numbers = HD_NEW_ARRAY(cx->arena, n, int64_t), *added = HD_NEW_ARRAY(cx->arena, n, int64_t),
            *closed = HD_NEW_ARRAY(cx->arena, n, int64_t), *closings = HD_NEW_ARRAY(cx->arena, n, int64_t);
    int32_t *marks = HD_NEW_ARRAY(cx->arena, n, int32_t);

    for (size_t i = 0; i < n; i++) {
        tenants[i] = days[i].tenant;
        numbers[i] = days[i].day;
        added[i] = days[i].added;
        marks[i] = (int32_t)days[i].marks;
        closed[i] = days[i].closed_limit;
        closings[i] = days[i].closings;
    }
    return HD_RUN(cx, &obs_sql[SAVE_DAYS], NULL, HD_TEXTS(tenants, n), HD_I64S(numbers, n), HD_I64S(added, n),
                  HD_I32S(marks, n), HD_I64S(closed, n), HD_I64S(closings, n));
}

enum hd_status obs_read_day(struct hd_ctx *cx, struct obs_day *inout) {
    struct hd_rows rows;

    inout->limit = inout->closed_limit = HD_QUOTA_UNLIMITED;
    HD_TRY(HD_RUN(cx, &obs_sql[READ_DAY], &rows, HD_TEXT(inout->tenant)));
    if (rows.n)
        day_out(&rows, 0, inout);
    return HD_OK;
}

enum hd_status obs_save_grants(struct hd_ctx *cx, const struct hd_grants *grants) {
    return HD_RUN(cx, &obs_sql[SAVE_GRANTS], NULL, HD_TEXTS(grants->tenants, grants->n),
                  HD_I64S(grants->versions, grants->n), HD_I64S(grants->limits, grants->n));
}

// --- statistics -----------------------------------------------------------------------------------------------------

enum hd_status obs_note_events(struct hd_ctx *cx, const struct hd_bytes *digests, size_t n, struct hd_rows *ret) {
    return HD_RUN(cx, &obs_sql[NOTE_EVENTS], ret, HD_BYTESS(digests, n), HD_I64(cx->now.wall_ms));
}

enum hd_status obs_add_stats(struct hd_ctx *cx, const struct obs_stat *stats, size_t n) {
    const char **tenants = HD_NEW_ARRAY(cx->arena, n, const char *);
    const char **pipelines = HD_NEW_ARRAY(cx->arena, n, const char *);
    const char **jobs = HD_NEW_ARRAY(cx->arena, n, const char *);
    int64_t *amounts[4];

    for (size_t i = 0; i < 4; i++)
        amounts[i] = HD_NEW_ARRAY(cx->arena, n, int64_t);
    for (size_t i = 0; i < n; i++) {
        tenants[i] = stats[i].tenant;
        pipelines[i] = stats[i].pipeline;
        jobs[i] = stats[i].job;
        amounts[0][i] = stats[i].succeeded;
        amounts[1][i] = stats[i].failed;
        amounts[2][i] = stats[i].queued_ms;
        amounts[3][i] = stats[i].ran_ms;
    }
    return HD_RUN(cx, &obs_sql[ADD_STATS], NULL, HD_TEXTS(tenants, n), HD_TEXTS(pipelines, n), HD_TEXTS(jobs, n),
                  HD_I64S(amounts[0], n), HD_I64S(amounts[1], n), HD_I64S(amounts[2], n), HD_I64S(amounts[3], n));
}

enum hd_status obs_read_stats(struct hd_ctx *cx, const char *tenant, const char *pipeline, struct hd_rows *ret) {
    return HD_RUN(cx, &obs_sql[READ_STATS], ret, HD_TEXT(tenant), HD_TEXT(pipeline));
}

enum hd_status obs_forget_events(struct hd_ctx *cx, int64_t before_ms) {
    return HD_RUN(cx, &obs_sql[FORGET_EVENTS], NULL, HD_I64(before_ms));
}
