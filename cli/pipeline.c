#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"

#define SOURCE_MAX (2u << 20)

enum hd_status cli_read_source(struct cli *cli, const char *path, struct hd_buf *ret) {
    FILE *file = hd_streq(path, "-") ? stdin : fopen(path, "re");

    if (!file)
        return hd_err_set(&cli->err, HD_INVALID, "%s: %s", path, strerror(errno));
    for (size_t n = 1; n && ret->len <= SOURCE_MAX;) {
        hd_buf_reserve(ret, 64 << 10);
        n = fread(ret->data + ret->len, 1, 64 << 10, file);
        ret->len += n;
    }
    bool failed = ferror(file);
    if (file != stdin)
        fclose(file);
    if (failed)
        return hd_err_set(&cli->err, HD_INVALID, "%s: %s", path, strerror(errno));
    if (ret->len > SOURCE_MAX)
        return hd_err_set(&cli->err, HD_INVALID, "%s is larger than %u bytes", path, SOURCE_MAX);
    if (memchr(ret->data, '\0', ret->len))
        return hd_err_set(&cli->err, HD_INVALID, "%s is not a text file", path);
    hd_buf_addc(ret, '\0');
    return HD_OK;
}

int cmd_pipeline_apply(struct cli *cli) {
    HD_AUTO_BUF struct hd_buf source = {0};
    bool dry = cli_option(cli, "dry-run") != NULL;
    cJSON *reply = NULL;

    if (cli_read_source(cli, cli->args[0], &source) != HD_OK)
        return cli_failed(cli);
    struct cli_request request = {.method = "POST",
                                  .path = dry ? "/v1/pipelines:validate" : "/v1/pipelines",
                                  .body = source.data,
                                  .type = "application/yaml"};
    if (cli_call(cli, &request, &reply) != HD_OK) {
        if (cli->err.line) // as compilers say it
            hd_err_wrap(&cli->err, "%s:%u:%u", cli->args[0], cli->err.line, cli->err.column);
        return cli_failed(cli);
    }
    const cJSON *pipeline = j_get(reply, "pipeline");
    if (cli->json)
        cli_print_json(reply);
    else if (dry)
        printf("%s is right: %" PRId64 " jobs\n", j_text(pipeline, "name"), j_int(pipeline, "jobs"));
    else
        printf("%s version %" PRId64 ", %" PRId64 " jobs%s\n", j_text(pipeline, "name"), j_int(pipeline, "version"),
               j_int(pipeline, "jobs"), cJSON_IsTrue(j_get(reply, "changed")) ? "" : " (unchanged)");
    cJSON_Delete(reply);
    return 0;
}

int cmd_pipeline_list(struct cli *cli) {
    cJSON *reply, *item;
    struct table table;

    if (cli_list(cli, "/v1/pipelines?page_size=1000", "pipelines", &reply) != HD_OK)
        return cli_failed(cli);
    table_init(&table, &cli->arena, "NAME|VERSION>|JOBS>|UPDATED");
    cJSON_ArrayForEach(item, j_get(reply, "pipelines")) {
        table_cell(&table, j_text(item, "name"));
        table_cell(&table, hd_arena_printf(&cli->arena, "%" PRId64, j_int(item, "version")));
        table_cell(&table, hd_arena_printf(&cli->arena, "%" PRId64, j_int(item, "jobs")));
        table_cell(&table, cli_time(cli, j_int(item, "updated_at_ms")));
    }
    if (cli->json)
        cli_print_json(reply);
    else
        table_print(&table, cli);
    cJSON_Delete(reply);
    return 0;
}

int cmd_pipeline_get(struct cli *cli) {
    cJSON *reply;
    int64_t version;

    if (cli_option_int(cli, "version", 1, UINT32_MAX, 0, &version) != HD_OK)
        return cli_failed(cli);
    const char *path = hd_arena_printf(&cli->arena, "/v1/pipelines/%s", cli_escape(cli, cli->args[0]));
    if (version)
        path = hd_arena_printf(&cli->arena, "%s?version=%" PRId64, path, version);
    if (cli_call(cli, CLI_GET(path), &reply) != HD_OK)
        return cli_failed(cli);
    if (cli->json)
        cli_print_json(reply);
    else
        fputs(j_text(reply, "source"), stdout);
    cJSON_Delete(reply);
    return 0;
}

int cmd_pipeline_delete(struct cli *cli) {
    cJSON *reply;
    const char *path = hd_arena_printf(&cli->arena, "/v1/pipelines/%s", cli_escape(cli, cli->args[0]));

    if (cli_call(cli, &(struct cli_request){.method = "DELETE", .path = path}, &reply) != HD_OK)
        return cli_failed(cli);
    cJSON_Delete(reply);
    if (!cli->json)
        printf("%s deleted\n", cli->args[0]);
    return 0;
}
