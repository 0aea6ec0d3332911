// The small commands: quota, who am I, version.
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"

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
               cli_words(cli, j_get(reply, "permissions")));
    cJSON_Delete(reply);
    return 0;
}

int cmd_version(struct cli *cli) {
    puts(cli->json ? "{\"version\":\"" HD_VERSION "\"}" : "hodei " HD_VERSION);
    return 0;
}
