// A private PostgreSQL for a test program, reached by its socket alone: started at the first use, stopped and removed at the end of
// the program, also after a failure. It runs as user postgres where the test runs as root. fsync is on, as always.
#ifndef HD_TESTS_INTEGRATION_SERVERS_H
#define HD_TESTS_INTEGRATION_SERVERS_H

#include <libpq-fe.h>
#include <unistd.h>

#include "tests/unit/test.h"

static char servers_dir[] = "/tmp/hodei-test-pg-XXXXXX";
static char servers_conninfo[128]; // "": not started
static PGconn *servers_conn;       // for what the test itself asks

static inline void servers_shell(const char *command, const char *what) {
    if (system(command) == 0)
        return;
    printf("%s failed in %s\n", what, servers_dir);
    exit(1);
}

static inline void servers_stop(void) {
    char command[600];
    PQfinish(servers_conn);
    snprintf(command, sizeof(command),
             "cd /tmp; %s /usr/lib/postgresql/15/bin/pg_ctl -D %s/data -m immediate -w stop >/dev/null; rm -rf %s",
             geteuid() == 0 ? "runuser -u postgres --" : "", servers_dir, servers_dir);
    if (system(command) != 0)
        printf("could not stop PostgreSQL in %s\n", servers_dir);
}

// How to reach it, as libpq takes it.
static inline const char *servers_pg(void) {
    char command[1200];
    if (*servers_conninfo)
        return servers_conninfo;
    if (!mkdtemp(servers_dir))
        abort();
    atexit(servers_stop);
    snprintf(command, sizeof(command),
             "cd /tmp; run='%s'; bin=/usr/lib/postgresql/15/bin; [ -z \"$run\" ] || chown postgres %s; "
             "$run $bin/initdb -D %s/data -A trust -U hodei >/dev/null 2>&1 && "
             "$run $bin/pg_ctl -D %s/data -o \"-k %s -c listen_addresses=''\" -l %s/log -w start >/dev/null",
             geteuid() == 0 ? "runuser -u postgres --" : "", servers_dir, servers_dir, servers_dir, servers_dir,
             servers_dir);
    servers_shell(command, "the start of PostgreSQL");
    snprintf(servers_conninfo, sizeof(servers_conninfo), "host=%s user=hodei dbname=postgres", servers_dir);
    servers_conn = PQconnectdb(servers_conninfo);
    if (PQstatus(servers_conn) != CONNECTION_OK) {
        printf("%s", PQerrorMessage(servers_conn));
        exit(1);
    }
    return servers_conninfo;
}

// The first cell of the first row as a number; 0 where there is none.
static inline int64_t servers_pg_int(const char *sql) {
    (void)servers_pg();
    PGresult *result = PQexec(servers_conn, sql);
    ExecStatusType status = PQresultStatus(result);
    int64_t value = 0;
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        test_failures++;
        printf("%s: %s", sql, PQerrorMessage(servers_conn));
    } else if (PQntuples(result) && PQnfields(result)) {
        value = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    }
    PQclear(result);
    return value;
}
static inline void servers_pg_sql(const char *sql) {
    (void)servers_pg_int(sql);
}

// Every schema that a service has made goes.
static inline void servers_pg_clean(void) {
    servers_pg_sql("SET client_min_messages = warning");
    servers_pg_sql(
        "DO $$ DECLARE name text; BEGIN FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_'"
        " AND nspname NOT IN ('information_schema', 'public') LOOP EXECUTE format('DROP SCHEMA %I CASCADE', name);"
        " END LOOP; END $$");
}

#endif
