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

// Its standard input and output, or -1: ours. What it writes to its standard error is the user's to see.
static enum hd_status start(struct cli *cli, const char *conninfo, const struct words *argv, int in, int out,
                            pid_t *ret) {
    struct words env = {0};
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t files;
    sigset_t none, all;

    HD_TRY(environment(cli, conninfo, &env));
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    if (in >= 0)
        posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
    if (out >= 0)
        posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    fflush(stdout);
    int error =
        posix_spawnp(ret, argv->list[0], &files, &attributes, (char *const *)argv->list, (char *const *)env.list);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    if (!error)
        return HD_OK;
    hd_err_set(&cli->err, HD_PRECONDITION, "%s: %s", argv->list[0], strerror(error));
    hd_err_hint(&cli->err, "apt-get install postgresql-client-15");
    return HD_PRECONDITION;
}

static enum hd_status ended(struct cli *cli, const struct words *argv, pid_t pid) {
    int status = -1;

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
    pid_t pid;
    enum hd_status status = start(cli, conninfo, &argv, -1, -1, &pid);
    if (status == HD_OK)
        status = ended(cli, &argv, pid);
    if (status == HD_OK && !hd_streq(path, "-"))
        status = keep(cli, made, path);
    if (status != HD_OK && !hd_streq(path, "-"))
        unlink(made);
    return status == HD_OK ? 0 : cli_failed(cli);
}

// --- restore ---------------------------------------------------------------------------------------------------------

static const char sql_checks[] =
    "DO $$ DECLARE any_run boolean := false; BEGIN\n"
    "  IF EXISTS (SELECT FROM pg_stat_activity WHERE usename LIKE 'hodei-%%') THEN\n"
    "    RAISE EXCEPTION 'services are connected: stop all of them first'; END IF;\n"
    "  IF to_regclass('orchestrator.runs') IS NOT NULL THEN\n"
    "    EXECUTE 'SELECT EXISTS (SELECT FROM orchestrator.runs)' INTO any_run; END IF;\n"
    "  IF any_run AND NOT %s THEN\n"
    "    RAISE EXCEPTION 'there are runs: --replace gives them up for those of the backup'; END IF;\n"
    "END $$;\n";

// All is one transaction, which only its last line commits: whatever dies before leaves what was there.
static const char sql_first[] = "BEGIN;\nDO $$ DECLARE s text; BEGIN FOREACH s IN ARRAY ARRAY[%s] LOOP\n"
                                "  EXECUTE format('DROP SCHEMA IF EXISTS %%I CASCADE', s); END LOOP; END $$;\n";
// NATS, and agents, may still hold what was said after the backup. So nothing that is said from now on has a number that was used then: ids of
// outboxes (they are those by which streams know a message again), epochs of leaders, incarnations of workers.
static const char sql_last[] =
    "\nDO $$ DECLARE q record; BEGIN\n"
    "  FOR q IN SELECT schemaname, sequencename, coalesce(last_value, start_value) AS last FROM pg_sequences\n"
    "      WHERE schemaname = ANY (ARRAY[%s])\n"
    "  LOOP PERFORM setval(format('%%I.%%I', q.schemaname, q.sequencename)::regclass, q.last + 1000000000); END LOOP;\n"
    "  UPDATE orchestrator.pool_leases SET epoch = epoch + 1000000, expires_at = now();\n"
    "  UPDATE \"worker-registry\".workers SET incarnation = incarnation + 1000000;\n"
    "END $$;\nCOMMIT;\n";

static const char *schemas(struct cli *cli) {
    HD_AUTO_BUF struct hd_buf out = {0};

    for (size_t i = 0; i < hd_doors_len; i++)
        if (hd_doors[i].schema)
            hd_buf_addf(&out, "%s'%s'", out.len ? ", " : "", hd_doors[i].name);
    return hd_arena_strdup(&cli->arena, out.data);
}

static bool write_all(int fd, const char *text) {
    for (size_t left = strlen(text); left;) {
        ssize_t n = write(fd, text, left);
        if (n < 0 && errno != EINTR)
            return false;
        text += n > 0 ? n : 0;
        left -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

// The backup as statements, between ours, into `to`.
static enum hd_status feed(struct cli *cli, const char *path, int to) {
    const char *list = schemas(cli);
    struct words argv = {0};
    pid_t pid;

    add(cli, &argv, program(cli, "pg_restore"));
    add(cli, &argv, "--file=-");
    if (isatty(STDERR_FILENO))
        add(cli, &argv, "--verbose");
    if (!hd_streq(path, "-"))
        add(cli, &argv, path);
    add(cli, &argv, NULL);
    bool written = write_all(to, hd_arena_printf(&cli->arena, sql_first, list));
    HD_TRY(start(cli, "", &argv, -1, to, &pid));
    HD_TRY(ended(cli, &argv, pid));
    if (!written || !write_all(to, hd_arena_printf(&cli->arena, sql_last, list)))
        return hd_err_set(&cli->err, HD_UNAVAILABLE, "psql takes no more");
    return HD_OK;
}

// What it answers to statements is of no use.
static enum hd_status start_psql(struct cli *cli, const char *conninfo, struct words *argv, int in, pid_t *ret) {
    HD_AUTO_FD int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    add(cli, argv, program(cli, "psql"));
    add(cli, argv, "--no-psqlrc");
    add(cli, argv, "--quiet");
    add(cli, argv, "--no-password");
    add(cli, argv, "--set=ON_ERROR_STOP=1");
    add(cli, argv, "--file=-");
    add(cli, argv, NULL);
    return start(cli, conninfo, argv, in, null, ret);
}

enum hd_status backup_restore(struct cli *cli, const char *conninfo, const char *path, bool replace) {
    struct words argv = {0};
    int ends[2];
    pid_t psql;

    if (!hd_streq(path, "-") && access(path, R_OK) < 0)
        return hd_err_set(&cli->err, HD_INVALID, "%s: %s", path, strerror(errno));
    HD_TRY(
        hd_db_script(conninfo, NULL, hd_arena_printf(&cli->arena, sql_checks, replace ? "true" : "false"), &cli->err));
    if (pipe2(ends, O_CLOEXEC) != 0)
        return hd_err_set(&cli->err, HD_UNAVAILABLE, "pipe: %s", strerror(errno));
    signal(SIGPIPE, SIG_IGN); // psql may end first: it says why
    enum hd_status status = start_psql(cli, conninfo, &argv, ends[0], &psql);
    close(ends[0]);
    bool started = status == HD_OK;
    if (started)
        status = feed(cli, path, ends[1]);
    close(ends[1]);
    if (started && ended(cli, &argv, psql) != HD_OK)
        status = HD_UNAVAILABLE;
    if (status != HD_OK)
        hd_err_hint(&cli->err, "nothing has been changed");
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
