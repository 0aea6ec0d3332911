#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/uuid.h"
#include "cli/cli.h"

bool run_state_ended(const char *state) {
    return hd_streq(state, "succeeded") || hd_streq(state, "failed") || hd_streq(state, "cancelled");
}

static const char *run_path(struct cli *cli, const char *id, const char *suffix) {
    return hd_arena_printf(&cli->arena, "/v1/runs/%s%s", cli_escape(cli, id), suffix);
}

static const cJSON *last_attempt(const cJSON *job) {
    const cJSON *attempts = j_get(job, "attempts");
    int n = cJSON_GetArraySize(attempts);

    return n ? cJSON_GetArrayItem(attempts, n - 1) : NULL;
}

static int64_t span(int64_t from, int64_t to) {
    return from && to ? (to > from ? to - from : 0) : -1;
}

// "test.1 (linux, 3.9)".
static const char *job_title(struct cli *cli, const cJSON *job) {
    HD_AUTO_BUF struct hd_buf values = {0};
    const cJSON *value;
    cJSON *matrix = cJSON_Parse(j_text(job, "matrix"));
    cJSON_ArrayForEach(value, matrix) {
        char *text = cJSON_IsString(value) ? NULL : cJSON_PrintUnformatted(value);
        hd_buf_addf(&values, "%s%.40s", values.len ? ", " : "", text ? text : value->valuestring);
        free(text);
    }
    cJSON_Delete(matrix);
    return values.len ? hd_arena_printf(&cli->arena, "%s (%s)", j_text(job, "name"), values.data) : j_text(job, "name");
}

static const char *job_state_text(struct cli *cli, const cJSON *job) {
    const char *state = j_text(job, "state");
    const cJSON *waits = cJSON_GetArrayItem(j_get(job, "waits_for"), 0);
    if (cJSON_IsTrue(j_get(job, "failure_allowed")))
        return hd_arena_printf(&cli->arena, "%s (allowed)", state);
    if (cJSON_IsTrue(j_get(job, "kept")))
        return hd_arena_printf(&cli->arena, "%s (kept)", state);
    if (j_int(job, "matrix_jobs"))
        return hd_arena_printf(&cli->arena, "%s (%" PRId64 " jobs)", state, j_int(job, "matrix_jobs"));
    return cJSON_IsString(waits) ? hd_arena_printf(&cli->arena, "%s (%s)", state, waits->valuestring) : state;
}

static const char *job_why(const cJSON *job, const cJSON *attempt) {
    if (j_text(job, "message")[0])
        return j_text(job, "message");
    return attempt && j_text(attempt, "message")[0] ? j_text(attempt, "message") : "-";
}

void run_print(struct cli *cli, const cJSON *run, struct hd_buf *out) {
    const char *state = j_text(run, "state"), *colour = cli_colour(cli, state);
    const cJSON *job;
    struct table table;

    hd_buf_addf(out, "run %s  %s version %" PRId64 "  %s%s%s", j_text(run, "id"), j_text(run, "pipeline"),
                j_int(run, "version"), colour, state, colour[0] ? CLI_RESET(cli) : "");
    int64_t took = span(j_int(run, "created_at_ms"), j_int(run, "ended_at_ms"));
    if (took >= 0)
        hd_buf_addf(out, "  in %s", cli_duration(cli, took));
    if (j_text(run, "started_by")[0])
        hd_buf_addf(out, "  after run %s", j_text(run, "started_by"));
    hd_buf_addf(out, "\n\n");
    table_init(&table, &cli->arena, "JOB|STATE|WAITED>|RAN>|CPU>|WORKER|WHY");
    cJSON_ArrayForEach(job, j_get(run, "jobs")) {
        const cJSON *attempt = last_attempt(job), *usage = j_get(attempt, "usage");
        int64_t started = j_int(job, "started_at_ms");
        table_cell(&table, job_title(cli, job));
        table_cell(&table, job_state_text(cli, job));
        table_cell(&table, cli_duration(cli, span(j_int(job, "queued_at_ms"), started)));
        table_cell(&table, cli_duration(cli, span(started, j_int(job, "ended_at_ms"))));
        table_cell(&table, cli_duration(cli, usage ? j_int(usage, "user_ms") + j_int(usage, "system_ms") : -1));
        table_cell(&table, attempt ? j_text(attempt, "worker") : "-");
        table_cell(&table, job_why(job, attempt));
    }
    table_format(&table, cli, out);
    int64_t more = j_int(run, "jobs_total") - cJSON_GetArraySize(j_get(run, "jobs"));
    if (more > 0)
        hd_buf_addf(out, "and %" PRId64 " jobs more\n", more);
}

static enum hd_status start_body(struct cli *cli, char **ret) {
    int64_t version;

    HD_TRY(cli_option_int(cli, "version", 1, UINT32_MAX, 0, &version));
    cJSON *body = cJSON_CreateObject(), *env = cJSON_AddArrayToObject(body, "env"),
          *inputs = cJSON_AddArrayToObject(body, "inputs");
    cJSON_AddStringToObject(body, "pipeline", cli->args[0]);
    if (version)
        cJSON_AddNumberToObject(body, "version", (double)version);
    for (size_t i = 0; i < cli->n_given; i++) {
        bool input = hd_streq(cli->given[i].name, "input");
        if (!input && !hd_streq(cli->given[i].name, "env"))
            continue;
        const char *pair = cli->given[i].value, *equals = strchr(pair, '=');
        if (!equals || equals == pair) {
            cJSON_Delete(body);
            return hd_err_set(&cli->err, HD_INVALID, "--%s \"%.60s\" is not NAME=VALUE", cli->given[i].name, pair);
        }
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", hd_arena_strndup(&cli->arena, pair, (size_t)(equals - pair)));
        cJSON_AddStringToObject(item, "value", equals + 1);
        cJSON_AddItemToArray(input ? inputs : env, item);
    }
    char *text = cJSON_PrintUnformatted(body);
    *ret = hd_arena_strdup(&cli->arena, text);
    free(text);
    cJSON_Delete(body);
    return HD_OK;
}

int cmd_run_start(struct cli *cli) {
    const char *key = cli_option(cli, "idempotency-key");
    char *body = NULL;
    cJSON *reply;

    if (start_body(cli, &body) != HD_OK)
        return cli_failed(cli);
    struct cli_request request = {
        .method = "POST", .path = "/v1/runs", .body = body, .type = "application/json", .key = key};
    if (cli_call(cli, &request, &reply) != HD_OK)
        return cli_failed(cli);
    const char *id = hd_arena_strdup(&cli->arena, j_text(reply, "id"));
    bool watch = cli_option(cli, "watch") != NULL;
    if (cli->json && !watch)
        cli_print(cli, reply);
    else if (!cli->json)
        printf("%s\n", id);
    cJSON_Delete(reply);
    fflush(stdout);
    if (!watch)
        return 0;
    return follow_run(cli, &(struct follow){.run = id, .states = true, .logs = cli_option(cli, "logs") != NULL});
}

int cmd_run_list(struct cli *cli) {
    static const char *const filters[] = {"pipeline", "project", "state", NULL};
    int64_t limit;
    const cJSON *item;
    cJSON *reply;
    struct table table;

    if (cli_option_int(cli, "limit", 1, 1000, 50, &limit) != HD_OK)
        return cli_failed(cli);
    const char *path = cli_filters(cli, hd_arena_printf(&cli->arena, "/v1/runs?page_size=%" PRId64, limit), filters);
    path = cli_ago(cli, cli_ago(cli, path, "since", "since_ms"), "until", "until_ms");
    if (!path || cli_call(cli, CLI_GET(path), &reply) != HD_OK)
        return cli_failed(cli);
    table_init(&table, &cli->arena, "ID|PIPELINE|VERSION>|STATE|JOBS>|FAILED>|CREATED|TOOK>");
    cJSON_ArrayForEach(item, j_get(reply, "runs")) {
        table_cell(&table, j_text(item, "id"));
        table_cell(&table, j_text(item, "pipeline"));
        table_cell(&table, hd_arena_printf(&cli->arena, "%" PRId64, j_int(item, "version")));
        table_cell(&table, j_text(item, "state"));
        table_cell(&table, hd_arena_printf(&cli->arena, "%" PRId64 "/%" PRId64, j_int(item, "jobs_ended"),
                                           j_int(item, "jobs_total")));
        table_cell(&table, hd_arena_printf(&cli->arena, "%" PRId64, j_int(item, "jobs_failed")));
        table_cell(&table, cli_time(cli, j_int(item, "created_at_ms")));
        table_cell(&table, cli_duration(cli, span(j_int(item, "created_at_ms"), j_int(item, "ended_at_ms"))));
    }
    if (cli->json)
        cli_print(cli, reply);
    else
        table_print(&table, cli);
    cJSON_Delete(reply);
    return 0;
}

int cmd_run_get(struct cli *cli) {
    HD_AUTO_BUF struct hd_buf out = {0};
    cJSON *reply;

    if (cli_call(cli, CLI_GET(run_path(cli, cli->args[0], "")), &reply) != HD_OK)
        return cli_failed(cli);
    if (cli->json) {
        cli_print(cli, reply);
    } else {
        run_print(cli, reply, &out);
        fwrite(out.data, 1, out.len, stdout);
    }
    cJSON_Delete(reply);
    return 0;
}

int cmd_run_watch(struct cli *cli) {
    return follow_run(cli,
                      &(struct follow){.run = cli->args[0], .states = true, .logs = cli_option(cli, "logs") != NULL});
}

int cmd_run_cancel(struct cli *cli) {
    struct cli_request request = {.method = "POST", .path = run_path(cli, cli->args[0], ":cancel")};
    cJSON *reply;

    if (cli_call(cli, &request, &reply) != HD_OK)
        return cli_failed(cli);
    if (cli->json)
        cli_print(cli, reply);
    else
        printf("%s %s\n", cli->args[0], j_text(reply, "state"));
    cJSON_Delete(reply);
    return 0;
}

int cmd_logs(struct cli *cli) {
    const char *job = cli_option(cli, "job");

    bool once = cli_option(cli, "follow") == NULL;
    return follow_run(cli, &(struct follow){.run = cli->args[0], .job = job, .logs = true, .once = once});
}
