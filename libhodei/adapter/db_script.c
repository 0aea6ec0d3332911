#include "adapter/db_script.h"

#include <libpq-fe.h>
#include <string.h>

#include "base/buf.h"

static enum hd_status failed(const PGconn *conn, struct hd_err *err) {
    const char *text = PQerrorMessage(conn);

    return hd_err_set(err, HD_UNAVAILABLE, "PostgreSQL: %.*s", (int)strcspn(text, "\n"), text);
}

static enum hd_status run(PGconn *conn, const char *sql, bool *ret_any, struct hd_err *err) {
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);

    if (ret_any)
        *ret_any = PQntuples(result) > 0;
    PQclear(result);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ? HD_OK : failed(conn, err);
}

static void ignore_notice(void *arg, const PGresult *result) {
    (void)arg, (void)result;
}

enum hd_status hd_db_script(const char *conninfo, const char *probe, const char *sql, struct hd_err *err) {
    PGconn *conn = PQconnectdb(conninfo);
    bool done = false;

    PQsetNoticeReceiver(conn, ignore_notice, NULL);
    enum hd_status status = PQstatus(conn) == CONNECTION_OK ? HD_OK : failed(conn, err);
    if (status == HD_OK && probe)
        status = run(conn, probe, &done, err);
    // The server writes statements that fail into its log; those that set a password among them.
    if (status == HD_OK && !done)
        status = run(conn, "SET log_min_error_statement = panic; SET log_statement = none", NULL, err);
    if (status == HD_OK && !done)
        status = run(conn, sql, NULL, err);
    PQfinish(conn);
    return status;
}

enum hd_status hd_db_environment(const char *conninfo, struct hd_arena *arena, const char ***ret, struct hd_err *err) {
    char *text = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &text);
    size_t n = 0;

    if (!options) {
        hd_err_set(err, HD_INVALID, "PostgreSQL: %.*s", text ? (int)strcspn(text, "\n") : 0, text ? text : "");
        PQfreemem(text);
        return HD_INVALID;
    }
    for (const PQconninfoOption *option = options; option->keyword; option++)
        n++;
    *ret = HD_NEW_ARRAY(arena, n + 1, const char *);
    n = 0;
    for (const PQconninfoOption *option = options; option->keyword; option++)
        if (option->envvar && option->val)
            (*ret)[n++] = hd_arena_printf(arena, "%s=%s", option->envvar, option->val);
    PQconninfoFree(options);
    return HD_OK;
}
