// The runner's transaction on PostgreSQL: the only SQL of the runner.
#include "service/runner.h"

enum { SQL_OUTBOX_ADD, SQL_OUTBOX_DONE, SQL_OUTBOX_STALE, SQL_DEAD_LETTER, SQL_COUNT };

const struct hd_sql tx_pg_sql[] = {
    [SQL_OUTBOX_ADD] = {"runner_outbox_add",
                        "INSERT INTO outbox (said_ms, data) VALUES ($1::bigint, $2::bytea) RETURNING id"},
    [SQL_OUTBOX_DONE] = {"runner_outbox_done", "DELETE FROM outbox WHERE id = ANY($1::bigint[])"},
    // Noting the time keeps the other replicas from saying the same.
    [SQL_OUTBOX_STALE] = {"runner_outbox_stale",
                          "UPDATE outbox SET said_ms = $2::bigint WHERE id IN (SELECT id FROM outbox"
                          " WHERE said_ms < $1::bigint ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED)"
                          " RETURNING id, data"},
    [SQL_DEAD_LETTER] = {"runner_dead_letter", "INSERT INTO dead_letters (at_ms, subject, data, status, error)"
                                               " VALUES ($1::bigint, $2::text, $3::bytea, $4::text, $5::text)"},
};
const size_t tx_pg_sql_len = SQL_COUNT;

static enum hd_status pg_begin(struct hd_ctx *cx, void *store) {
    (void)store;
    return hd_db_begin(cx);
}

static enum hd_status pg_outbox_add(struct hd_ctx *cx, void *store, const uint8_t *data, size_t len, int64_t *ret_id) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(HD_RUN(cx, &tx_pg_sql[SQL_OUTBOX_ADD], &rows, HD_I64(cx->now.wall_ms), HD_BYTES(data, len)));
    *ret_id = hd_row_int(&rows, 0, 0);
    return HD_OK;
}

static enum hd_status pg_outbox_done(struct hd_ctx *cx, void *store, const int64_t *ids, size_t n) {
    (void)store;
    return HD_RUN(cx, &tx_pg_sql[SQL_OUTBOX_DONE], NULL, HD_I64S(ids, n));
}

static enum hd_status pg_outbox_stale(struct hd_ctx *cx, void *store, int64_t before_ms, struct hd_rows *ret) {
    (void)store;
    return HD_RUN(cx, &tx_pg_sql[SQL_OUTBOX_STALE], ret, HD_I64(before_ms), HD_I64(cx->now.wall_ms));
}

// What PostgreSQL cannot hold as text must not make the dead letter fail too.
static enum hd_status pg_dead_letter(struct hd_ctx *cx, void *store, const char *subject, const uint8_t *data,
                                     size_t len, const struct hd_err *why) {
    (void)store;
    static const uint8_t none[1];
    return HD_RUN(cx, &tx_pg_sql[SQL_DEAD_LETTER], NULL, HD_I64(cx->now.wall_ms),
                  HD_TEXT(hd_utf8_valid(subject, strlen(subject)) ? subject : "?"), HD_BYTES(data ? data : none, len),
                  HD_TEXT(hd_status_info(why->status)->name), HD_TEXT(why->text));
}

static enum hd_status pg_commit(struct hd_ctx *cx, void *store) {
    (void)store;
    return hd_db_commit(cx);
}

static void pg_rollback(struct hd_ctx *cx, void *store) {
    (void)store;
    hd_db_rollback(cx);
}

const struct hd_tx_ops hd_tx_pg = {
    .begin = pg_begin,
    .outbox_add = pg_outbox_add,
    .outbox_done = pg_outbox_done,
    .outbox_stale = pg_outbox_stale,
    .dead_letter = pg_dead_letter,
    .commit = pg_commit,
    .rollback = pg_rollback,
};
