// Schema and migrations: forward only, in order, each once, all in one transaction under an advisory lock, so that replicas
// which start together do not meet. Rows of a newer release are left alone: the older one runs on the newer schema.
#include <inttypes.h>

#include "adapter/db_impl.h"
#include "base/buf.h"

// $1 names the lock; the checksum is made by the server, from the text that is run.
static const char lock_sql[] = "SELECT pg_advisory_xact_lock(hashtextextended('hodei.migrate.' || $1::text, 0))";
static const char has_schema_sql[] = "SELECT 1 FROM pg_namespace WHERE nspname = $1::text";
// A prepared statement keeps the plan that was best for the tables as they were in its first runs, often empty ones. Ours all have
// their index; without this a table that has grown is read from end to end until its next analyze.
static const char path_sql[] = "SELECT set_config('search_path', quote_ident($1::text), false),"
                               " set_config('enable_seqscan', 'off', false), set_config('jit', 'off', false)";
static const char table_sql[] =
    "CREATE TABLE IF NOT EXISTS migrations (scope text NOT NULL, number integer NOT NULL, name text NOT NULL,"
    " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (scope, number))";
static const char has_table_sql[] = "SELECT 1 FROM pg_tables WHERE schemaname = $1::text AND tablename = 'migrations'";
static const char known_sql[] = "SELECT checksum = encode(sha256(convert_to($3::text, 'UTF8')), 'hex'), name"
                                " FROM migrations WHERE scope = $1::text AND number = $2::integer";
static const char note_sql[] = "INSERT INTO migrations (scope, number, name, checksum) VALUES ($1::text, $2::integer,"
                               " $4::text, encode(sha256(convert_to($3::text, 'UTF8')), 'hex'))";

// Text parameters, text results; for this file's few statements.
static enum hd_status query(struct hd_ctx *cx, const char *sql, int n, const char *const *values, PGresult **ret) {
    PGresult *result = PQexecParams(cx->db->conn, sql, n, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK) {
        enum hd_status status = hd_db_fail(cx, result, "migrations");
        PQclear(result);
        return status;
    }
    *ret = result;
    return HD_OK;
}

static enum hd_status query_any(struct hd_ctx *cx, const char *sql, int n, const char *const *values, bool *ret_any) {
    PGresult *result = NULL;
    HD_TRY(query(cx, sql, n, values, &result));
    *ret_any = PQntuples(result) > 0;
    PQclear(result);
    return HD_OK;
}

static enum hd_status apply(struct hd_ctx *cx, const char *scope, const struct hd_migration *migration) {
    char number[16];
    snprintf(number, sizeof(number), "%d", migration->number);
    const char *const values[] = {scope, number, migration->sql, migration->name};
    HD_AUTO_RESULT PGresult *known = NULL;
    HD_TRY(query(cx, known_sql, 3, values, &known));
    if (PQntuples(known) && hd_streq(PQgetvalue(known, 0, 0), "t"))
        return HD_OK;
    if (PQntuples(known))
        return hd_fail(cx, HD_PRECONDITION,
                       "migration %s/%04d_%s was applied with another text (as %s): restore the file, add a new one",
                       scope, migration->number, migration->name, PQgetvalue(known, 0, 1));
    HD_AUTO_RESULT PGresult *ran = PQexec(cx->db->conn, migration->sql);
    if (PQresultStatus(ran) != PGRES_COMMAND_OK && PQresultStatus(ran) != PGRES_TUPLES_OK) {
        hd_db_fail(cx, ran, migration->name);
        return hd_err_wrap(&cx->err, "migration %s/%04d", scope, migration->number);
    }
    bool any;
    return query_any(cx, note_sql, 4, values, &any);
}

// The rights to create are needed only where something is missing.
static enum hd_status make_schema(struct hd_ctx *cx) {
    const char *const schema[] = {cx->db->def.schema};
    bool any;
    HD_TRY(query_any(cx, has_schema_sql, 1, schema, &any));
    if (!any) {
        char *name = PQescapeIdentifier(cx->db->conn, schema[0], strlen(schema[0]));
        char *sql = hd_arena_printf(cx->arena, "CREATE SCHEMA %s", name ? name : "");
        PQfreemem(name);
        HD_TRY(hd_db_exec(cx, sql, "create schema"));
    }
    HD_TRY(query_any(cx, path_sql, 1, schema, &any));
    HD_TRY(query_any(cx, has_table_sql, 1, schema, &any));
    return any ? HD_OK : hd_db_exec(cx, table_sql, "create table migrations");
}

static enum hd_status migrate_locked(struct hd_ctx *cx) {
    const struct hd_db_def *def = &cx->db->def;
    const char *const schema[] = {def->schema};
    bool any;
    HD_TRY(query_any(cx, lock_sql, 1, schema, &any));
    HD_TRY(make_schema(cx));
    for (size_t i = 0; i < def->n_runner_migrations; i++)
        HD_TRY(apply(cx, "runner", &def->runner_migrations[i]));
    for (size_t i = 0; i < def->n_migrations; i++)
        HD_TRY(apply(cx, "service", &def->migrations[i]));
    return HD_OK;
}

enum hd_status hd_db_migrate(struct hd_ctx *cx) {
    if (!cx->db->def.schema)
        return HD_OK;
    HD_TRY(hd_db_exec(cx, "BEGIN", "migrations"));
    enum hd_status status = migrate_locked(cx);
    if (status != HD_OK)
        return status; // the caller drops the connection, and the server rolls back
    return hd_db_exec(cx, "COMMIT", "migrations");
}
