// Connection, transactions and statements. Parameters and results: db_value.c. Migrations: db_migrate.c.
#include "adapter/db.h"

#include <assert.h>
#include <inttypes.h>

#include "adapter/db_impl.h"
#include "base/buf.h"
#include "base/log.h"

#define RETRY_FIRST_MS 50
#define RETRY_MAX_MS 1000

void hd_db_clear_result(PGresult **result) {
    PQclear(*result);
}

struct hd_db *hd_db_new(const char *conninfo, const struct hd_db_def *def) {
    struct hd_db *db = calloc(1, sizeof(*db));
    if (!db)
        abort();
    db->conninfo = strdup(conninfo ? conninfo : "");
    if (!db->conninfo)
        abort();
    db->def = *def;
    assert(def->n_tables <= HD_DB_TABLES_MAX);
    for (size_t i = 0; i < def->n_tables; i++) {
        db->tables[i] = def->tables[i];
        db->table_lens[i] = def->table_lens[i];
    }
    db->def.tables = db->tables;
    db->def.table_lens = db->table_lens;
    return db;
}

static void disconnect(struct hd_db *db) {
    PQfinish(db->conn);
    db->conn = NULL;
    db->in_tx = false;
}

void hd_db_free(struct hd_db *db) {
    if (!db)
        return;
    disconnect(db);
    free(db->conninfo);
    free(db);
}

// Looks whether the server has closed the connection meanwhile, which an idle one would not notice.
bool hd_db_connected(const struct hd_db *db) {
    if (db->conn && !db->in_tx && PQtransactionStatus(db->conn) == PQTRANS_IDLE)
        PQconsumeInput(db->conn);
    return db->conn && PQstatus(db->conn) == CONNECTION_OK;
}

bool hd_db_retryable(const struct hd_db *db) {
    return db->retryable;
}

// --- errors ----------------------------------------------------------------------------------------------------------

// Longest prefix first: the first row that fits counts.
static const struct {
    const char *sqlstate; // or its beginning
    enum hd_status status;
    bool retryable;
} sqlstates[] = {
    {"40001", HD_CONFLICT, true},      // serialization failure
    {"40P01", HD_CONFLICT, true},      // deadlock
    {"23505", HD_CONFLICT, false},     // unique violation
    {"23503", HD_PRECONDITION, false}, // foreign key
    {"57014", HD_TIMEOUT, false},      // statement timeout
    {"55P03", HD_TIMEOUT, false},      // lock timeout
    {"57P", HD_UNAVAILABLE, false},    // shutdown, start, crash of the server
    {"08", HD_UNAVAILABLE, false},     // connection
    {"53", HD_UNAVAILABLE, false},     // disk full, too many connections
    {"25006", HD_UNAVAILABLE, false},  // read only: connected to a standby
    {"22", HD_INVALID, false},         // a value the column cannot hold
};

// What a server lacks is said in words that those who asked for something understand; files and statements are for the log.
static bool lacks(struct hd_ctx *cx, const char *state, const char *detail) {
    static const struct {
        const char *sqlstate, *text;
    } rows[] = {
        {"53100", "the database has no room left on its disk"},
        {"53200", "the database has no memory left"},
        {"53300", "the database takes no more connections"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!hd_streq(state, rows[i].sqlstate))
            continue;
        hd_warn("%s (%s): %s", rows[i].text, state, detail);
        hd_fail(cx, HD_UNAVAILABLE, "%s", rows[i].text);
        hd_err_hint(&cx->err, "an operator must make room; what was accepted before is safe");
        return true;
    }
    return false;
}

enum hd_status hd_db_fail(struct hd_ctx *cx, const PGresult *result, const char *what) {
    struct hd_db *db = cx->db;
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *text = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    enum hd_status status = HD_INTERNAL;
    bool found = false;
    db->retryable = false;
    for (size_t i = 0; state && !found && i < sizeof(sqlstates) / sizeof(*sqlstates); i++) {
        found = hd_starts_with(state, sqlstates[i].sqlstate);
        if (found) {
            status = sqlstates[i].status;
            db->retryable = sqlstates[i].retryable;
        }
    }
    // An answer that broke off has no SQLSTATE of its own; a standby must not be kept.
    bool lost = !hd_db_connected(db);
    if (lost)
        status = HD_UNAVAILABLE;
    if (!text)
        text = db->conn ? PQerrorMessage(db->conn) : "not connected";
    int len = (int)strcspn(text, "\n");
    if (state && lacks(cx, state, hd_arena_printf(cx->arena, "%s: %.*s", what, len, text)))
        return HD_UNAVAILABLE;
    hd_fail(cx, status, "%s: %.*s%s%s%s", what, len, text, state ? " (" : "", state ? state : "", state ? ")" : "");
    if (lost || hd_streq(state, "25006"))
        disconnect(db);
    return status;
}

enum hd_status hd_db_exec(struct hd_ctx *cx, const char *sql, const char *what) {
    HD_AUTO_RESULT PGresult *result = PQexec(cx->db->conn, sql);
    if (PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK)
        return HD_OK;
    return hd_db_fail(cx, result, what);
}

// --- connection ------------------------------------------------------------------------------------------------------

static void ignore_notice(void *arg, const PGresult *result) {
    (void)arg;
    (void)result;
}

// The address may override these; a dead network must not hold a loop for long.
static PGconn *open_connection(const struct hd_db *db) {
    const char *const keys[] = {"connect_timeout",           "tcp_user_timeout", "client_encoding",
                                "fallback_application_name", "dbname",           NULL};
    const char *const values[] = {"2", "10000", "UTF8", db->def.schema ? db->def.schema : "hodei", db->conninfo, NULL};
    return PQconnectdbParams(keys, values, 1);
}

static enum hd_status prepare_all(struct hd_ctx *cx) {
    struct hd_db *db = cx->db;
    for (size_t t = 0; t < db->def.n_tables; t++) {
        for (size_t i = 0; i < db->def.table_lens[t]; i++) {
            const struct hd_sql *sql = &db->def.tables[t][i];
            HD_AUTO_RESULT PGresult *result = PQprepare(db->conn, sql->name, sql->text, 0, NULL);
            if (PQresultStatus(result) != PGRES_COMMAND_OK) {
                enum hd_status status = hd_db_fail(cx, result, sql->name);
                return status == HD_UNAVAILABLE ? status : hd_err_wrap(&cx->err, "cannot prepare statement");
            }
        }
    }
    return HD_OK;
}

static enum hd_status connect_now(struct hd_ctx *cx) {
    struct hd_db *db = cx->db;
    disconnect(db);
    db->conn = open_connection(db);
    if (!hd_db_connected(db)) {
        const char *text = db->conn ? PQerrorMessage(db->conn) : "out of memory";
        hd_fail(cx, HD_UNAVAILABLE, "cannot connect to PostgreSQL: %.*s", (int)strcspn(text, "\n"), text);
        disconnect(db);
        return HD_UNAVAILABLE;
    }
    PQsetNoticeReceiver(db->conn, ignore_notice, NULL);
    HD_TRY(hd_db_migrate(cx));
    return prepare_all(cx);
}

enum hd_status hd_db_connect(struct hd_ctx *cx) {
    struct hd_db *db = cx->db;
    if (hd_db_connected(db))
        return HD_OK;
    if (cx->now.mono_ms < db->retry_mono_ms) {
        cx->err = db->last_error;
        return cx->err.status;
    }
    enum hd_status status = connect_now(cx);
    if (status == HD_OK) {
        db->retry_delay_ms = db->retry_mono_ms = 0;
        db->connect_logged = false;
        return HD_OK;
    }
    disconnect(db);
    db->last_error = cx->err;
    int64_t delay = db->retry_delay_ms ? db->retry_delay_ms * 2 : RETRY_FIRST_MS;
    db->retry_delay_ms = delay < RETRY_MAX_MS ? delay : RETRY_MAX_MS;
    db->retry_mono_ms = cx->now.mono_ms + db->retry_delay_ms;
    return status;
}

// --- transactions ----------------------------------------------------------------------------------------------------

// One round trip for both. SET takes no parameters; what is formatted is a number.
static enum hd_status begin_once(struct hd_ctx *cx) {
    char sql[96];
    int64_t left_ms = cx->deadline_mono_ms ? cx->deadline_mono_ms - cx->now.mono_ms : 0;
    if (left_ms > 0)
        snprintf(sql, sizeof(sql), "BEGIN; SET LOCAL statement_timeout = %" PRId64,
                 left_ms < 3600000 ? left_ms : 3600000);
    else
        snprintf(sql, sizeof(sql), "BEGIN");
    return hd_db_exec(cx, sql, "begin");
}

enum hd_status hd_db_begin(struct hd_ctx *cx) {
    struct hd_db *db = cx->db;
    assert(!db->in_tx);
    db->retryable = false;
    bool was_connected = hd_db_connected(db);
    HD_TRY(hd_db_connect(cx));
    enum hd_status status = begin_once(cx);
    // A connection that died while idle shows only here, and nothing has been done on it yet.
    if (status == HD_UNAVAILABLE && was_connected && !hd_db_connected(db)) {
        HD_TRY(hd_db_connect(cx));
        status = begin_once(cx);
    }
    db->in_tx = status == HD_OK;
    return status;
}

enum hd_status hd_db_commit(struct hd_ctx *cx) {
    struct hd_db *db = cx->db;
    db->retryable = false;
    if (!hd_db_connected(db)) {
        disconnect(db);
        return hd_fail(cx, HD_UNAVAILABLE, "the connection to PostgreSQL was lost before the commit");
    }
    db->in_tx = false;
    HD_AUTO_RESULT PGresult *result = PQexec(db->conn, "COMMIT");
    if (PQresultStatus(result) == PGRES_COMMAND_OK) {
        // A transaction that failed before answers COMMIT with a rollback.
        if (hd_streq(PQcmdStatus(result), "COMMIT"))
            return HD_OK;
        return hd_fail(cx, HD_INTERNAL, "commit: an error of an earlier statement was overlooked");
    }
    enum hd_status status = hd_db_fail(cx, result, "commit");
    if (status == HD_UNAVAILABLE)
        return hd_err_set(&cx->err, HD_TIMEOUT,
                          "the connection to PostgreSQL broke during the commit, the outcome is not known");
    return status;
}

void hd_db_rollback(struct hd_ctx *cx) {
    struct hd_db *db = cx->db;
    if (!db->in_tx)
        return;
    db->in_tx = false;
    HD_AUTO_RESULT PGresult *result = PQexec(db->conn, "ROLLBACK");
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        disconnect(db);
}

// --- statements ------------------------------------------------------------------------------------------------------

enum hd_status hd_db_run(struct hd_ctx *cx, const struct hd_sql *sql, const struct hd_param *params, size_t n_params,
                         struct hd_rows *ret) {
    struct hd_db *db = cx->db;
    if (!db->conn)
        return hd_fail(cx, HD_UNAVAILABLE, "%s: not connected to PostgreSQL", sql->name);
    struct hd_db_args args;
    hd_db_encode(cx->arena, params, n_params, &args);
    HD_AUTO_RESULT PGresult *result =
        PQexecPrepared(db->conn, sql->name, args.n, args.values, args.lengths, args.formats, 1);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        return hd_db_fail(cx, result, sql->name);
    if (ret)
        hd_db_decode(cx->arena, result, ret);
    return HD_OK;
}
