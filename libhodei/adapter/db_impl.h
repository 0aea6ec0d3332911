// Inside the database adapter only.
#ifndef HD_ADAPTER_DB_IMPL_H
#define HD_ADAPTER_DB_IMPL_H

#include <libpq-fe.h>

#include "adapter/db.h"

struct hd_db {
    char *conninfo;
    struct hd_db_def def;
    const struct hd_sql *tables[HD_DB_TABLES_MAX];
    size_t table_lens[HD_DB_TABLES_MAX]; // borrowed parts
    PGconn *conn;                        // NULL: not connected
    bool in_tx;
    bool retryable;
    bool connect_logged;      // one log line an outage
    int64_t retry_mono_ms;    // no attempt to connect before this
    int64_t retry_delay_ms;   // doubles up to a second
    struct hd_err last_error; // of the last attempt to connect
};

#define HD_AUTO_RESULT __attribute__((cleanup(hd_db_clear_result)))
void hd_db_clear_result(PGresult **result);

// Maps what the server said to a status, with `what` in front of the text, and notes whether a retry may help.
enum hd_status hd_db_fail(struct hd_ctx *cx, const PGresult *result, const char *what);
// Runs SQL without parameters; for statements that stand in this adapter.
enum hd_status hd_db_exec(struct hd_ctx *cx, const char *sql, const char *what) HD_MUST_USE;
enum hd_status hd_db_migrate(struct hd_ctx *cx) HD_MUST_USE;

// Parameters in libpq's form; memory is the arena's.
struct hd_db_args {
    int n;
    const char **values;
    int *lengths;
    int *formats;
};
void hd_db_encode(struct hd_arena *arena, const struct hd_param *params, size_t n, struct hd_db_args *ret);
void hd_db_decode(struct hd_arena *arena, const PGresult *result, struct hd_rows *ret);

#endif
