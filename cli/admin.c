// `hodei admin`: what an operator does with the databases of an installation, beside its API. It comes as a superuser of
// PostgreSQL, and changes nothing but dead letters that are dropped.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "adapter/bus.h"
#include "adapter/db.h"
#include "base/doors.h"
#include "base/pb.h"
#include "cli/cli.h"

#define SHOWN 20 // findings of one check
#define DEADLINE_MS 60000
#define REPLAY_MS 10000
#define LETTERS_MAX 1000 // of one service in a list

// One that finds nothing holds. Each row of the answer is a finding, in words; $1 is now, Unix milliseconds. What is younger than a minute may
// be on its way.
struct check {
    const char *service, *about, *todo, *sql;
};
#define JOB "format('run %s, job %s', j.run_id, j.idx)"
#define LONG_AGO "$1::bigint - 60000"
// clang-format off
static const struct check checks[] = {
    {"orchestrator", "counters of tenants and projects say what there is",
     "the orchestrator mends them within a minute, with a line in its log; report it with that line",
     "WITH c AS (SELECT o.name, count(*) FILTER (WHERE j.state > 2) AS used, count(*) FILTER (WHERE j.state < 3) AS pending,"
     " count(*) FILTER (WHERE j.state = 2 AND j.hold = 0) AS queued FROM orchestrator.jobs j,"
     " LATERAL (SELECT j.tenant AS name UNION SELECT split_part(j.tenant, '/', 1)) o WHERE j.state <= 5 GROUP BY 1)"
     " SELECT format('%s: %s jobs are admitted, the counter says %s; %s wait, it says %s; %s may be admitted, it says %s', t.name,"
     " coalesce(c.used, 0), t.used, coalesce(c.pending, 0), t.pending, coalesce(c.queued, 0), t.queued)"
     " FROM orchestrator.tenants t LEFT JOIN c ON c.name = t.name"
     " WHERE (coalesce(c.used, 0), coalesce(c.pending, 0), coalesce(c.queued, 0)) IS DISTINCT FROM (t.used, t.pending, t.queued)"},
    {"orchestrator", "a job that runs has an attempt that lives", "cancel the run, and report it",
     "SELECT " JOB " || coalesce(format(': its attempt %s has ended as %s', a.id, a.state), ': it has no attempt')"
     " FROM orchestrator.jobs j LEFT JOIN orchestrator.attempts a ON a.id = j.attempt"
     " WHERE j.state IN (4, 5) AND (a.id IS NULL OR a.state > 2)"},
    {"orchestrator", "an attempt that lives is its job's", "cancel the run, and report it",
     "SELECT " JOB " || format(': attempt %s on %s lives, and the job is not its', a.id, a.worker)"
     " FROM orchestrator.attempts a JOIN orchestrator.jobs j ON j.run_id = a.run_id AND j.idx = a.idx"
     " WHERE a.state IN (1, 2) AND (j.state NOT IN (4, 5) OR j.attempt <> a.id)"},
    {"orchestrator", "a run that has ended has no job that has not", "report it",
     "SELECT " JOB " || format(': the run has ended, and the job is %s', j.state)"
     " FROM orchestrator.jobs j JOIN orchestrator.runs r ON r.id = j.run_id WHERE r.state > 2 AND j.state <= 5"},
    {"orchestrator", "a run whose jobs have ended ends", "cancel it, and report it",
     "SELECT format('run %s of %s', r.id, r.pipeline) FROM orchestrator.runs r WHERE r.state < 3 AND r.created_ms < " LONG_AGO
     " AND NOT EXISTS (SELECT FROM orchestrator.jobs j WHERE j.run_id = r.id AND j.state <= 5)"},
    {"orchestrator", "nothing waits for a time that has passed", "is an orchestrator running? Its log says what keeps it",
     "SELECT " JOB " || format(': due for %s s', ($1::bigint - j.due_ms) / 1000) FROM orchestrator.jobs j"
     " WHERE j.due_ms > 0 AND j.due_ms < " LONG_AGO " AND j.state <= 5"
     " UNION ALL SELECT format('run %s: its timeout passed %s s ago', r.id, ($1::bigint - r.due_ms) / 1000) FROM orchestrator.runs r"
     " WHERE r.due_ms > 0 AND r.due_ms < " LONG_AGO " AND r.state < 3"},
    {"orchestrator", "what a lost worker had is decided", "is an orchestrator running? Its log says what keeps it",
     "SELECT format('attempt %s on %s, lost for %s s', a.id, a.worker, ($1::bigint - l.lost_ms) / 1000)"
     " FROM orchestrator.lost_sessions l JOIN orchestrator.attempts a ON a.session = l.session AND a.state IN (1, 2) AND a.gone_ms = 0"
     " WHERE (l.incarnation = 0 OR a.incarnation <= l.incarnation) AND l.lost_ms < " LONG_AGO},
    {"orchestrator", "slots of concurrency groups are held by what has not ended", "report it",
     "SELECT format('group %s of %s: run %s, job %s', m.name, m.tenant, m.run_id, m.idx) FROM orchestrator.group_members m"
     " JOIN orchestrator.runs r ON r.id = m.run_id LEFT JOIN orchestrator.jobs j ON j.run_id = m.run_id AND j.idx = m.idx"
     " WHERE m.state = 2 AND (r.state > 2 OR j.state > 5)"},
    {"orchestrator", "pools whose jobs are ready have a scheduler", "start a scheduler, or a worker of that pool",
     "SELECT format('pool %s: %s jobs have been ready for a minute', j.pool, count(*)) FROM orchestrator.jobs j"
     " WHERE j.state = 3 AND j.ready_ms < " LONG_AGO
     " AND NOT EXISTS (SELECT FROM orchestrator.pool_leases l WHERE l.pool = j.pool AND l.expires_at > now()) GROUP BY j.pool"},
    {"worker-registry", "lost workers are known to the orchestrator", "is an orchestrator running, and NATS?",
     "SELECT format('%s, lost for %s s', worker, ($1::bigint - lost_at_ms) / 1000) FROM \"worker-registry\".lost_sessions"
     " WHERE NOT confirmed AND lost_at_ms < " LONG_AGO},
};
// Of every schema: `sql`, "schema".`from`.
static const struct {
    struct check check;
    const char *from;
} everywhere[] = {
    {{NULL, "what was said has been published", "is the service running, and NATS?",
      "SELECT format('row %s, said %s s ago', id, ($1::bigint - said_ms) / 1000) FROM "}, "outbox WHERE said_ms < " LONG_AGO},
    {{NULL, "there are no dead letters", "hodei admin dead list",
      "SELECT format('%s: %s, %s', subject, status, left(error, 120)) FROM "}, "dead_letters"},
};
// clang-format on

// --- the database ----------------------------------------------------------------------------------------------------

#define STATEMENTS_MAX 64

// A connection with statements of its own, in a transaction.
struct admin {
    struct hd_ctx cx;
    struct hd_sql sql[STATEMENTS_MAX];
    size_t n;
};

static size_t add(struct cli *cli, struct admin *admin, const char *text) {
    if (admin->n == STATEMENTS_MAX)
        abort();
    admin->sql[admin->n] = (struct hd_sql){hd_arena_printf(&cli->arena, "admin_%zu", admin->n), text};
    return admin->n++;
}

const char *cli_postgres(struct cli *cli) {
    const char *to = cli_option(cli, "postgres");

    if (!to)
        to = getenv("HODEI_POSTGRES");
    if (to && *to)
        return to;
    hd_err_set(&cli->err, HD_INVALID, "it is not known where PostgreSQL is");
    hd_err_hint(&cli->err,
                "--postgres or HODEI_POSTGRES, a connection string of a superuser, as psql takes it; with hodei "
                "dev: \"postgres\" in dev.json of its folder");
    return NULL;
}

static enum hd_status failed(struct cli *cli, const struct admin *admin, enum hd_status status) {
    if (status != HD_OK)
        cli->err = admin->cx.err;
    return status;
}

// With the statements that were added. Whoever calls it closes it, also where this fails.
static enum hd_status admin_open(struct cli *cli, struct admin *admin) {
    const char *to = cli_postgres(cli);
    const struct hd_sql *tables[] = {admin->sql};
    const struct hd_db_def def = {.tables = tables, .table_lens = &admin->n, .n_tables = 1};

    if (!to)
        return HD_INVALID;
    admin->cx = (struct hd_ctx){.arena = &cli->arena, .db = hd_db_new(to, &def), .now = hd_now_read()};
    admin->cx.deadline_mono_ms = admin->cx.now.mono_ms + DEADLINE_MS;
    return failed(cli, admin, hd_db_begin(&admin->cx));
}

// Commits what was changed, where all went well.
static enum hd_status admin_close(struct cli *cli, struct admin *admin, enum hd_status status) {
    if (!admin->cx.db)
        return status;
    if (status == HD_OK)
        status = failed(cli, admin, hd_db_commit(&admin->cx));
    hd_db_free(admin->cx.db);
    return status;
}

static enum hd_status ask(struct cli *cli, struct admin *admin, size_t statement, int64_t number, struct hd_rows *ret) {
    return failed(cli, admin, HD_RUN(&admin->cx, &admin->sql[statement], ret, HD_I64(number)));
}

// --- doctor ----------------------------------------------------------------------------------------------------------

struct finding {
    const char *service;
    const struct check *check;
    size_t statement;
    struct hd_rows rows;
};

static struct finding to_look(struct cli *cli, struct admin *admin, const char *service, const struct check *check,
                              const char *sql) {
    const char *some =
        hd_arena_printf(&cli->arena, "SELECT f FROM (%s) AS q (f) WHERE $1::bigint > 0 LIMIT %d", sql, SHOWN + 1);
    return (struct finding){.service = service, .check = check, .statement = add(cli, admin, some)};
}

static size_t list_checks(struct cli *cli, struct admin *admin, struct finding *ret) {
    size_t n = 0;
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
        ret[n++] = to_look(cli, admin, checks[i].service, &checks[i], checks[i].sql);
    for (size_t i = 0; i < hd_doors_len; i++)
        for (size_t k = 0; hd_doors[i].schema && k < sizeof(everywhere) / sizeof(everywhere[0]); k++)
            ret[n++] = to_look(cli, admin, hd_doors[i].name, &everywhere[k].check,
                               hd_arena_printf(&cli->arena, "%s\"%s\".%s", everywhere[k].check.sql, hd_doors[i].name,
                                               everywhere[k].from));
    return n;
}

// One view of everything: what changes in one transaction is seen before it or after it.
static enum hd_status look(struct cli *cli, struct admin *admin, size_t view, struct finding *all, size_t n) {
    HD_TRY(failed(cli, admin, hd_db_run(&admin->cx, &admin->sql[view], NULL, 0, NULL)));
    for (size_t i = 0; i < n; i++)
        HD_TRY(ask(cli, admin, all[i].statement, admin->cx.now.wall_ms, &all[i].rows));
    return HD_OK;
}

static void say(const struct finding *all, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct finding *one = &all[i];
        printf("%s %s: %s%s\n", one->rows.n ? "FOUND" : "ok   ", one->service, one->check->about,
               one->rows.n ? ", but:" : "");
        for (size_t k = 0; k < one->rows.n && k < SHOWN; k++)
            printf("        %s\n", hd_row_text(&one->rows, k, 0));
        if (one->rows.n > SHOWN)
            printf("        and more\n");
        if (one->rows.n)
            printf("      what to do: %s\n", one->check->todo);
    }
}

static void say_json(const struct finding *all, size_t n) {
    HD_AUTO_BUF struct hd_buf out = {0};
    for (size_t i = 0; i < n; i++) {
        hd_buf_addf(&out, "%s{\"service\":\"%s\",\"check\":\"%s\",\"ok\":%s,\"found\":[", i ? "," : "", all[i].service,
                    all[i].check->about, all[i].rows.n ? "false" : "true");
        for (size_t k = 0; k < all[i].rows.n && k < SHOWN; k++) {
            const char *text = hd_row_text(&all[i].rows, k, 0);
            hd_buf_adds(&out, k ? "," : "");
            hd_json_add_string(&out, text, strlen(text));
        }
        hd_buf_adds(&out, "]}");
    }
    printf("{\"checks\":[%s]}\n", out.data);
}

int cmd_admin_doctor(struct cli *cli) {
    struct admin admin = {0};
    struct finding all[STATEMENTS_MAX];
    size_t view = add(cli, &admin, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"), found = 0;
    size_t n = list_checks(cli, &admin, all);
    enum hd_status status = admin_open(cli, &admin);

    if (status == HD_OK)
        status = look(cli, &admin, view, all, n);
    if (admin_close(cli, &admin, status) != HD_OK)
        return cli_failed(cli);
    (cli->json ? say_json : say)(all, n);
    for (size_t i = 0; i < n; i++)
        found += all[i].rows.n > 0;
    if (!cli->json)
        printf("%zu checks, %zu found something\n", n, found);
    return found ? 1 : 0;
}

// --- dead letters ----------------------------------------------------------------------------------------------------

int cmd_admin_dead_list(struct cli *cli) {
    struct admin admin = {0};
    struct table table;

    table_init(&table, &cli->arena, "SERVICE|ID>|AT|SUBJECT|BYTES>|STATUS|ERROR");
    for (size_t i = 0; i < hd_doors_len; i++)
        if (hd_doors[i].schema)
            (void)add(cli, &admin,
                      hd_arena_printf(
                          &cli->arena,
                          "SELECT '%s'::text, id::text, at_ms, subject, length(data)::text, status, left(error, 200)"
                          " FROM \"%s\".dead_letters WHERE id > $1::bigint ORDER BY id LIMIT %d",
                          hd_doors[i].name, hd_doors[i].name, LETTERS_MAX));
    enum hd_status status = admin_open(cli, &admin);
    for (size_t i = 0; i < admin.n && status == HD_OK; i++) {
        struct hd_rows rows = {0};
        status = ask(cli, &admin, i, 0, &rows);
        for (size_t r = 0; r < rows.n; r++)
            for (size_t c = 0; c < rows.columns; c++)
                table_cell(&table, c == 2 ? cli_time(cli, hd_row_int(&rows, r, c)) : hd_row_text(&rows, r, c));
    }
    if (admin_close(cli, &admin, status) != HD_OK)
        return cli_failed(cli);
    table_print(&table, cli);
    return 0;
}

// What a statement returns for one letter; "%s" in it is the service.
static enum hd_status one(struct cli *cli, const char *before, const char *after, struct hd_rows *ret) {
    const struct hd_door *door = hd_door_find(cli->args[0]);
    struct admin admin = {0};
    int64_t id;

    if (!door || !door->schema) {
        hd_err_set(&cli->err, HD_INVALID, "\"%.64s\" is no service that has dead letters", cli->args[0]);
        hd_err_hint(&cli->err, "hodei admin dead list shows where there are some");
        return HD_INVALID;
    }
    if (hd_parse_i64(cli->args[1], &id) != HD_OK)
        return hd_err_set(&cli->err, HD_INVALID, "\"%.40s\" is no id of a dead letter", cli->args[1]);
    size_t statement =
        add(cli, &admin, hd_arena_printf(&cli->arena, "%s \"%s\".dead_letters %s", before, door->name, after));
    enum hd_status status = admin_open(cli, &admin);
    if (status == HD_OK)
        status = ask(cli, &admin, statement, id, ret);
    if (status == HD_OK && ret->n != 1)
        status = hd_err_set(&cli->err, HD_MISSING, "%s has no dead letter %s", door->name, cli->args[1]);
    return admin_close(cli, &admin, status);
}

int cmd_admin_dead_show(struct cli *cli) {
    static const char *const names[] = {"subject", "status", "error", "bytes", "data"};
    struct hd_rows rows;

    if (one(cli, "SELECT subject, status, error, length(data)::text, encode(data, 'base64') FROM",
            "WHERE id = $1::bigint", &rows) != HD_OK)
        return cli_failed(cli);
    for (size_t i = 0; i < rows.columns; i++)
        printf("%-8s %s\n", names[i], hd_row_text(&rows, 0, i));
    return 0;
}

int cmd_admin_dead_drop(struct cli *cli) {
    struct hd_rows rows;

    if (one(cli, "DELETE FROM", "WHERE id = $1::bigint RETURNING subject", &rows) != HD_OK)
        return cli_failed(cli);
    printf("dropped a message of %s\n", hd_row_text(&rows, 0, 0));
    return 0;
}

// At nats-server as its operator, who may say what services alone may say. The stream has it before the letter goes: what is said twice is handled once.
static enum hd_status say_again(struct cli *cli, const char *subject, const uint8_t *data, size_t len) {
    const char *nats = cli_option(cli, "nats"), *user = cli_option(cli, "nats-user");
    const char *file = cli_option(cli, "nats-password-file"), *ca = cli_option(cli, "nats-ca");
    char password[256] = "";
    uint8_t *reply = NULL;
    size_t reply_len = 0;

    if (file) {
        FILE *from = fopen(file, "re");
        if (!from || !fgets(password, sizeof(password), from)) {
            if (from)
                fclose(from);
            return hd_err_set(&cli->err, HD_INVALID, "%s cannot be read: %s", file, strerror(errno));
        }
        fclose(from);
        password[strcspn(password, "\r\n")] = '\0';
    }
    struct hd_bus *bus = hd_bus_nats_new(&(struct hd_bus_nats_def){.urls = nats ? nats : "nats://127.0.0.1:4222",
                                                                   .user = user,
                                                                   .password = file ? password : NULL,
                                                                   .ca = ca,
                                                                   .name = "hodei-admin"});
    enum hd_status status = hd_bus_nats_call(bus, subject, data, len, REPLAY_MS, &cli->err, &reply, &reply_len);
    if (status == HD_OK && (!memmem(reply, reply_len, "\"stream\"", 8) || memmem(reply, reply_len, "\"error\"", 7)))
        status = hd_err_set(&cli->err, HD_UNAVAILABLE, "no stream has taken it: %.*s",
                            (int)(reply_len < 200 ? reply_len : 200), (const char *)reply);
    if (status != HD_OK)
        hd_err_hint(&cli->err,
                    "--nats, --nats-user and --nats-password-file: the operator's; with hodei dev they stand in "
                    "dev.json of its folder");
    free(reply);
    bus->ops->free(bus);
    return status;
}

int cmd_admin_dead_replay(struct cli *cli) {
    struct hd_rows rows;

    if (one(cli, "SELECT subject, data FROM", "WHERE id = $1::bigint", &rows) != HD_OK)
        return cli_failed(cli);
    const char *subject = hd_row_text(&rows, 0, 0);
    struct hd_bytes data = hd_row_bytes(&rows, 0, 1);
    if (say_again(cli, subject, data.data, data.len) != HD_OK ||
        one(cli, "DELETE FROM", "WHERE id = $1::bigint RETURNING subject", &rows) != HD_OK)
        return cli_failed(cli);
    printf("said again: %s. If it still cannot be handled, it is a dead letter again\n", subject);
    return 0;
}
