// Schedules: what starts runs by itself.
#include <stdio.h>

#include "cli/cli.h"

// "started", or why it was not.
static const char *last_words(struct cli *cli, const cJSON *schedule) {
    const char *outcome = j_text(schedule, "last_outcome"), *error = j_text(schedule, "last_error");

    if (*error)
        return *outcome ? hd_arena_printf(&cli->arena, "%s: %s", outcome, error) : error;
    return *outcome ? outcome : "-";
}

static const char *next_words(struct cli *cli, const cJSON *schedule) {
    if (cJSON_IsTrue(j_get(schedule, "paused")))
        return hd_arena_printf(&cli->arena, "paused %s", j_text(schedule, "paused_reason"));
    const cJSON *next = cJSON_GetArrayItem(j_get(schedule, "next_at_ms"), 0);
    return cJSON_IsNumber(next) ? cli_time(cli, (int64_t)next->valuedouble) : "-";
}

int cmd_schedule_list(struct cli *cli) {
    const char *pipeline = cli_option(cli, "pipeline");
    const char *path = hd_arena_printf(&cli->arena, "/v1/schedules?page_size=1000%s%s", pipeline ? "&pipeline=" : "",
                                       pipeline ? cli_escape(cli, pipeline) : "");
    const cJSON *item;
    cJSON *reply;
    struct table table;

    if (cli_list(cli, path, "schedules", &reply) != HD_OK)
        return cli_failed(cli);
    table_init(&table, &cli->arena, "ID|PIPELINE|EXPR|ZONE|NEXT|LAST|OUTCOME|RUN");
    cJSON_ArrayForEach(item, j_get(reply, "schedules")) {
        const cJSON *trigger = j_get(item, "trigger");
        const char *run = j_text(item, "last_run");
        table_cell(&table, j_text(item, "id"));
        table_cell(&table, j_text(item, "pipeline"));
        table_cell(&table, j_text(trigger, "expr"));
        table_cell(&table, j_text(trigger, "timezone"));
        table_cell(&table, next_words(cli, item));
        table_cell(&table, cli_time(cli, j_int(item, "last_tick_at_ms")));
        table_cell(&table, last_words(cli, item));
        table_cell(&table, *run ? run : "-");
    }
    if (cli->json)
        cli_print(cli, reply);
    else
        table_print(&table, cli);
    cJSON_Delete(reply);
    return 0;
}

static int change(struct cli *cli, const char *verb, const char *query) {
    struct cli_request request = {
        .method = "POST",
        .path = hd_arena_printf(&cli->arena, "/v1/schedules/%s:%s%s", cli_escape(cli, cli->args[0]), verb, query)};
    cJSON *reply;

    if (cli_call(cli, &request, &reply) != HD_OK)
        return cli_failed(cli);
    if (cli->json)
        cli_print(cli, reply);
    else
        printf("%s of %s: next %s\n", cli->args[0], j_text(reply, "pipeline"), next_words(cli, reply));
    cJSON_Delete(reply);
    return 0;
}

int cmd_schedule_pause(struct cli *cli) {
    const char *reason = cli_option(cli, "reason");
    const char *query = reason ? hd_arena_printf(&cli->arena, "?reason=%s", cli_escape(cli, reason)) : "";

    return change(cli, "pause", query);
}

int cmd_schedule_resume(struct cli *cli) {
    return change(cli, "resume", "");
}
