// `hodei admin backup` and `restore`: all schemas as of one moment, by PostgreSQL's own pg_dump and pg_restore.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "adapter/db_script.h"
#include "base/doors.h"
#include "cli/cli.h"

extern char **environ;

// --- PostgreSQL's programs -------------------------------------------------------------------------------------------

struct words {
    const char **list;
    size_t n, cap;
};
static void add(struct cli *cli, struct words *words, const char *word) {
    HD_GROW(&cli->arena, words->list, words->n, words->cap);
    words->list[words->n++] = word;
}

// How to reach the server stands in the environment, where nobody else sees a password.
static enum hd_status environment(struct cli *cli, const char *conninfo, struct words *ret) {
    const char **settings;

    for (char **each = environ; *each; each++)
        if (!hd_starts_with(*each, "PG") && !hd_starts_with(*each, "HODEI_"))
            add(cli, ret, *each);
    HD_TRY(hd_db_environment(conninfo, &cli->arena, &settings, &cli->err));
    for (size_t i = 0; settings[i]; i++)
        add(cli, ret, settings[i]);
    add(cli, ret, NULL);
    return HD_OK;
}

static const char *program(struct cli *cli, const char *name) {
    const char *debian = hd_arena_printf(&cli->arena, "/usr/lib/postgresql/15/bin/%s", name);
    return access(debian, X_OK) == 0 ? debian : name;
}

// What it writes to its standard error is the user's to see.
static enum hd_status run(struct cli *cli, const char *conninfo, const struct words *argv) {
    struct words env = {0};
    posix_spawnattr_t attributes;
    sigset_t none, all;
    pid_t pid;
    int status = -1;

    HD_TRY(environment(cli, conninfo, &env));
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    fflush(stdout);
    int error =
        posix_spawnp(&pid, argv->list[0], NULL, &attributes, (char *const *)argv->list, (char *const *)env.list);
    posix_spawnattr_destroy(&attributes);
    if (error) {
        hd_err_set(&cli->err, HD_PRECONDITION, "%s: %s", argv->list[0], strerror(error));
        hd_err_hint(&cli->err, "apt-get install postgresql-client-15");
        return HD_PRECONDITION;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return hd_err_set(&cli->err, HD_UNAVAILABLE, "%s has failed; it says why above", argv->list[0]);
    return HD_OK;
}

// --- backup ----------------------------------------------------------------------------------------------------------

// Whole or not at all: under another name first, and on the disk before it gets its own.
static enum hd_status keep(struct cli *cli, const char *made, const char *path) {
    HD_AUTO_FD int fd = open(made, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || fsync(fd) < 0 || rename(made, path) < 0)
        return hd_err_set(&cli->err, HD_UNAVAILABLE, "%s: %s", path, strerror(errno));
    printf("%s: %.1f MB. It holds what tokens and passwords are checked with: keep it as you keep the database.\n",
           path, (double)st.st_size / 1e6);
    return HD_OK;
}

int cmd_admin_backup(struct cli *cli) {
    const char *conninfo = cli_postgres(cli), *path = cli->args[0];
    const char *made = hd_arena_printf(&cli->arena, "%s.new", path);
    struct words argv = {0};

    if (!conninfo)
        return cli_failed(cli);
    add(cli, &argv, program(cli, "pg_dump"));
    add(cli, &argv, "--format=custom");
    add(cli, &argv, "--no-password");
    if (isatty(STDERR_FILENO)) // which table it is at: a large one takes minutes
        add(cli, &argv, "--verbose");
    for (size_t i = 0; i < hd_doors_len; i++)
        if (hd_doors[i].schema)
            add(cli, &argv, hd_arena_printf(&cli->arena, "--schema=\"%s\"", hd_doors[i].name));
    if (!hd_streq(path, "-"))
        add(cli, &argv, hd_arena_printf(&cli->arena, "--file=%s", made));
    add(cli, &argv, NULL);
    umask(077);
    enum hd_status status = run(cli, conninfo, &argv);
    if (status == HD_OK && !hd_streq(path, "-"))
        status = keep(cli, made, path);
    if (status != HD_OK && !hd_streq(path, "-"))
        unlink(made);
    return status == HD_OK ? 0 : cli_failed(cli);
}

// --- restore ---------------------------------------------------------------------------------------------------------

#define EACH_SCHEMA "FOREACH s IN ARRAY ARRAY[%s] LOOP\n"
#define ASIDE "s || ' before the restore'"

// What is there is set aside and not dropped before the copy is in its place.
static const char sql_aside[] =
    "DO $$ DECLARE s text; any_run boolean := false; BEGIN\n"
    "  IF EXISTS (SELECT FROM pg_stat_activity WHERE usename LIKE 'hodei-%%') THEN\n"
    "    RAISE EXCEPTION 'services are connected: stop all of them first'; END IF;\n"
    "  IF to_regclass('orchestrator.runs') IS NOT NULL THEN\n"
    "    EXECUTE 'SELECT EXISTS (SELECT FROM orchestrator.runs)' INTO any_run; END IF;\n"
    "  IF any_run AND NOT %s THEN\n"
    "    RAISE EXCEPTION 'there are runs: --replace gives them up for those of the backup'; END IF;\n"
    "  " EACH_SCHEMA "    EXECUTE format('DROP SCHEMA IF EXISTS %%I CASCADE', " ASIDE ");\n"
    "    IF EXISTS (SELECT FROM pg_namespace WHERE nspname = s) THEN\n"
    "      EXECUTE format('ALTER SCHEMA %%I RENAME TO %%I', s, " ASIDE "); END IF;\n"
    "  END LOOP; END $$;\n";

static const char sql_back[] = "DO $$ DECLARE s text; BEGIN\n  " EACH_SCHEMA
                               "    IF EXISTS (SELECT FROM pg_namespace WHERE nspname = " ASIDE ") THEN\n"
                               "      EXECUTE format('DROP SCHEMA IF EXISTS %%I CASCADE', s);\n"
                               "      EXECUTE format('ALTER SCHEMA %%I RENAME TO %%I', " ASIDE ", s); END IF;\n"
                               "  END LOOP; END $$;\n";

// NATS, and agents, may still hold what was said after the backup. So nothing that is said from now on has a number that was used then: ids of
// outboxes (they are those by which streams know a message again), epochs of leaders, incarnations of workers.
static const char sql_after[] =
    "DO $$ DECLARE s text; q record; BEGIN\n"
    "  FOR q IN SELECT schemaname, sequencename, coalesce(last_value, start_value) AS last FROM pg_sequences\n"
    "      WHERE schemaname = ANY (ARRAY[%s])\n"
    "  LOOP PERFORM setval(format('%%I.%%I', q.schemaname, q.sequencename)::regclass, q.last + 1000000000); END LOOP;\n"
    "  UPDATE orchestrator.pool_leases SET epoch = epoch + 1000000, expires_at = now();\n"
    "  UPDATE \"worker-registry\".workers SET incarnation = incarnation + 1000000;\n"
    "  " EACH_SCHEMA "    EXECUTE format('DROP SCHEMA IF EXISTS %%I CASCADE', " ASIDE ");\n"
    "  END LOOP; END $$;\n";

static enum hd_status script(struct cli *cli, const char *conninfo, const char *sql) {
    return hd_db_script(conninfo, "SELECT WHERE false", sql, &cli->err);
}

static const char *schemas(struct cli *cli) {
    HD_AUTO_BUF struct hd_buf out = {0};

    for (size_t i = 0; i < hd_doors_len; i++)
        if (hd_doors[i].schema)
            hd_buf_addf(&out, "%s'%s'", out.len ? ", " : "", hd_doors[i].name);
    return hd_arena_strdup(&cli->arena, out.data);
}

enum hd_status backup_restore(struct cli *cli, const char *conninfo, const char *path, bool replace) {
    struct hd_arena *arena = &cli->arena;
    const char *list = schemas(cli);
    struct words argv = {0};
    struct hd_err why;

    add(cli, &argv, program(cli, "pg_restore"));
    add(cli, &argv, "--dbname=postgresql:///"); // the environment says which
    add(cli, &argv, "--no-password");
    if (isatty(STDERR_FILENO)) // which table it is at: a large one takes minutes
        add(cli, &argv, "--verbose");
    add(cli, &argv, "--single-transaction");
    add(cli, &argv, "--exit-on-error");
    if (!hd_streq(path, "-"))
        add(cli, &argv, path);
    add(cli, &argv, NULL);
    if (!hd_streq(path, "-") && access(path, R_OK) < 0)
        return hd_err_set(&cli->err, HD_INVALID, "%s: %s", path, strerror(errno));
    HD_TRY(script(cli, conninfo, hd_arena_printf(arena, sql_aside, replace ? "true" : "false", list)));
    enum hd_status status = run(cli, conninfo, &argv);
    if (status == HD_OK)
        status = script(cli, conninfo, hd_arena_printf(arena, sql_after, list, list));
    if (status == HD_OK)
        return HD_OK;
    why = cli->err;
    if (script(cli, conninfo, hd_arena_printf(arena, sql_back, list)) == HD_OK)
        hd_err_hint(&why, "what was there before is in its place again");
    else
        hd_err_hint(&why, "what was there before is in schemas named \"… before the restore\" (%.80s)", cli->err.text);
    cli->err = why;
    return status;
}

int cmd_admin_restore(struct cli *cli) {
    const char *conninfo = cli_postgres(cli);

    if (!conninfo || backup_restore(cli, conninfo, cli->args[0], cli_option(cli, "replace")) != HD_OK)
        return cli_failed(cli);
    printf("restored. Start the services: runs that were open go on; what workers no longer have is decided as if they "
           "were lost.\n");
    return 0;
}
