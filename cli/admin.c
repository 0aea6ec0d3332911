// The small commands: workers, quota, who am I, version.
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"

static const char *join(struct cli *cli, const cJSON *list, bool labels) {
    const char *text = "";
    const cJSON *item;

    cJSON_ArrayForEach(item, list) {
        const char *one = labels ? hd_arena_printf(&cli->arena, "%s=%s", j_text(item, "key"), j_text(item, "value"))
                                 : (cJSON_IsString(item) ? item->valuestring : "");
        text = hd_arena_printf(&cli->arena, "%s%s%s", text, text[0] ? "," : "", one);
    }
    return text[0] ? text : "-";
}

int cmd_worker_list(struct cli *cli) {
    const char *pool = cli_option(cli, "pool");
    const char *path =
        pool ? hd_arena_printf(&cli->arena, "/v1/workers?pool=%s", cli_escape(cli, pool)) : "/v1/workers";
    const cJSON *item;
    cJSON *reply;
    struct table table;

    if (cli_call(cli, CLI_GET(path), &reply) != HD_OK)
        return cli_failed(cli);
    table_init(&table, &cli->arena, "NAME|POOL|STATE|RUNNING>|SLOTS>|EXECUTORS|LABELS|HEARTBEAT");
    cJSON_ArrayForEach(item, j_get(reply, "workers")) {
        table_cell(&table, j_text(item, "name"));
        table_cell(&table, j_text(item, "pool"));
        table_cell(&table, j_text(item, "state"));
        table_cell(&table, hd_arena_printf(&cli->arena, "%" PRId64, j_int(item, "running")));
        table_cell(&table, hd_arena_printf(&cli->arena, "%" PRId64, j_int(item, "slots")));
        table_cell(&table, join(cli, j_get(item, "executors"), false));
        table_cell(&table, join(cli, j_get(item, "labels"), true));
        table_cell(&table, cli_time(cli, j_int(item, "heartbeat_at_ms")));
    }
    if (cli->json)
        cli_print_json(reply);
    else
        table_print(&table, cli);
    cJSON_Delete(reply);
    return 0;
}

static int quota_print(struct cli *cli, cJSON *reply) {
    if (cli->json)
        cli_print_json(reply);
    else
        printf("tenant %s: %" PRId64 " jobs at once%s\n", j_text(reply, "tenant"), j_int(reply, "concurrent_jobs"),
               cJSON_IsTrue(j_get(reply, "enforced")) ? "" : " (not in force yet)");
    cJSON_Delete(reply);
    return 0;
}

int cmd_quota_get(struct cli *cli) {
    cJSON *reply;

    if (cli_call(cli, CLI_GET("/v1/quota"), &reply) != HD_OK)
        return cli_failed(cli);
    return quota_print(cli, reply);
}

int cmd_quota_set(struct cli *cli) {
    int64_t jobs;
    cJSON *reply;

    if (hd_parse_i64(cli->args[0], &jobs) != HD_OK || jobs < 0) {
        hd_err_set(&cli->err, HD_INVALID, "\"%.40s\" is not a number of jobs", cli->args[0]);
        return cli_failed(cli);
    }
    const char *body = hd_arena_printf(&cli->arena, "{\"concurrent_jobs\":%" PRId64 "}", jobs);
    struct cli_request request = {.method = "PUT", .path = "/v1/quota", .body = body, .type = "application/json"};
    if (cli_call(cli, &request, &reply) != HD_OK)
        return cli_failed(cli);
    return quota_print(cli, reply);
}

int cmd_whoami(struct cli *cli) {
    cJSON *reply;

    if (cli_call(cli, CLI_GET("/v1/whoami"), &reply) != HD_OK)
        return cli_failed(cli);
    if (cli->json)
        cli_print_json(reply);
    else
        printf("%s of tenant %s, may: %s\n", j_text(reply, "subject"), j_text(reply, "tenant"),
               join(cli, j_get(reply, "permissions"), false));
    cJSON_Delete(reply);
    return 0;
}

int cmd_version(struct cli *cli) {
    puts(cli->json ? "{\"version\":\"" HD_VERSION "\"}" : "hodei " HD_VERSION);
    return 0;
}
