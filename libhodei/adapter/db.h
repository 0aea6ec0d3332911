// Repository adapter: PostgreSQL by libpq, and nothing else includes libpq-fe.h.
//
// One struct hd_db is one connection and belongs to one thread. Statements stand in tables (struct hd_sql) and are
// prepared at connect, so a typo stops the start; values travel only as parameters, in binary. Results live in the arena
// of the call's context. SQLSTATE is mapped to hd_status: 40001 and 40P01 → HD_CONFLICT with hd_db_retryable() true,
// 23505 → HD_CONFLICT, 57014 → HD_TIMEOUT, a broken connection → HD_UNAVAILABLE (reconnected at the next begin).
#ifndef HD_ADAPTER_DB_H
#define HD_ADAPTER_DB_H

#include <stdbool.h>

#include "base/ctx.h"

struct hd_sql {
    const char *name; // unique in the process
    const char *text; // parameters with casts: $1::uuid[]
};
struct hd_sql_table {
    const struct hd_sql *rows;
    size_t n;
};
struct hd_migration {
    int number; // from 1, without gaps
    const char *name;
    const char *sql;
};
#define HD_DB_TABLES_MAX 8
struct hd_db_def {
    const char *schema;                 // made if it is not there; search_path is it alone. NULL: none, nothing is made
    const struct hd_sql *const *tables; // the two lists are copied, the tables themselves borrowed
    const size_t *table_lens;
    size_t n_tables; // at most HD_DB_TABLES_MAX
    const struct hd_migration *migrations;
    size_t n_migrations;
    const struct hd_migration *runner_migrations; // tables every service has; numbered apart, applied first
    size_t n_runner_migrations;
};

// Does not connect yet. `conninfo` is libpq's. Never NULL.
struct hd_db *hd_db_new(const char *conninfo, const struct hd_db_def *def);
void hd_db_free(struct hd_db *db);
// Connects if needed, migrates under an advisory lock (once a connection), prepares every statement.
enum hd_status hd_db_connect(struct hd_ctx *cx) HD_MUST_USE;
bool hd_db_connected(const struct hd_db *db);

enum hd_status
hd_db_begin(struct hd_ctx *cx) HD_MUST_USE; // connects if needed; sets statement_timeout from the deadline
enum hd_status
hd_db_commit(struct hd_ctx *cx) HD_MUST_USE; // HD_TIMEOUT: the connection broke during commit, outcome unknown
void hd_db_rollback(struct hd_ctx *cx);
bool hd_db_retryable(const struct hd_db *db); // the last failure was a serialization failure or a deadlock

enum hd_param_type {
    HD_P_NULL,
    HD_P_BOOL,
    HD_P_I32,
    HD_P_I64,
    HD_P_TEXT,
    HD_P_BYTES,
    HD_P_UUID,
    HD_P_I32S,
    HD_P_I64S,
    HD_P_TEXTS,
    HD_P_BYTESS,
    HD_P_UUIDS
};
struct hd_bytes {
    const uint8_t *data; // NULL is SQL NULL
    size_t len;
};
// One parameter. Scalars are boxed; arrays are borrowed for the call. A NULL text in an array is SQL NULL.
struct hd_param {
    enum hd_param_type type;
    size_t n; // length of an array
    union {
        bool b;
        int32_t i32;
        int64_t i64;
        const char *text; // NULL is SQL NULL
        struct hd_bytes bytes;
        struct hd_uuid uuid;
        const int32_t *i32s;
        const int64_t *i64s;
        const char *const *texts;
        const struct hd_bytes *bytess;
        const struct hd_uuid *uuids;
    } v;
};
#define HD_BOOL(x) ((struct hd_param){.type = HD_P_BOOL, .v.b = (x)})
#define HD_I32(x) ((struct hd_param){.type = HD_P_I32, .v.i32 = (x)})
#define HD_I64(x) ((struct hd_param){.type = HD_P_I64, .v.i64 = (x)})
#define HD_TEXT(x) ((struct hd_param){.type = HD_P_TEXT, .v.text = (x)})
#define HD_BYTES(p, l) ((struct hd_param){.type = HD_P_BYTES, .v.bytes = {(p), (l)}})
#define HD_UUID(x) ((struct hd_param){.type = HD_P_UUID, .v.uuid = (x)})
#define HD_I32S(p, count) ((struct hd_param){.type = HD_P_I32S, .n = (count), .v.i32s = (p)})
#define HD_I64S(p, count) ((struct hd_param){.type = HD_P_I64S, .n = (count), .v.i64s = (p)})
#define HD_TEXTS(p, count) ((struct hd_param){.type = HD_P_TEXTS, .n = (count), .v.texts = (p)})
#define HD_BYTESS(p, count) ((struct hd_param){.type = HD_P_BYTESS, .n = (count), .v.bytess = (p)})
#define HD_UUIDS(p, count) ((struct hd_param){.type = HD_P_UUIDS, .n = (count), .v.uuids = (p)})

// Rows of a result; cells are read in the binary format and copied into the arena. A wrong type or column is a bug.
struct hd_rows {
    size_t n;
    size_t columns;
    const struct hd_bytes *cells; // n × columns
    int64_t affected;             // rows changed, where the statement returns none
};
bool hd_row_null(const struct hd_rows *rows, size_t row, size_t column);
bool hd_row_bool(const struct hd_rows *rows, size_t row, size_t column);
int64_t hd_row_int(const struct hd_rows *rows, size_t row, size_t column);      // int2, int4, int8; NULL is 0
const char *hd_row_text(const struct hd_rows *rows, size_t row, size_t column); // NULL is ""
struct hd_bytes hd_row_bytes(const struct hd_rows *rows, size_t row, size_t column);
struct hd_uuid hd_row_uuid(const struct hd_rows *rows, size_t row, size_t column); // NULL is zero

// Runs a prepared statement. `ret` may be NULL.
enum hd_status hd_db_run(struct hd_ctx *cx, const struct hd_sql *sql, const struct hd_param *params, size_t n_params,
                         struct hd_rows *ret) HD_MUST_USE;
#define HD_RUN(cx, sql, ret, ...)                                                                                      \
    hd_db_run((cx), (sql), (const struct hd_param[]){__VA_ARGS__},                                                     \
              sizeof((const struct hd_param[]){__VA_ARGS__}) / sizeof(struct hd_param), (ret))

#endif
