#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/pb.h"
#include "cli/cli.h"
#include "services/pipelines/diff.h"

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
    const char *project = cli_option(cli, "project"), *path = dry ? "/v1/pipelines:validate" : "/v1/pipelines";
    if (project)
        path = hd_arena_printf(&cli->arena, "%s?project=%s", path, cli_escape(cli, project));
    struct cli_request request = {.method = "POST", .path = path, .body = source.data, .type = "application/yaml"};
    if (cli_call(cli, &request, &reply) != HD_OK) {
        if (cli->err.line) // as compilers say it
            hd_err_wrap(&cli->err, "%s:%u:%u", cli->args[0], cli->err.line, cli->err.column);
        return cli_failed(cli);
    }
    const cJSON *pipeline = j_get(reply, "pipeline");
    if (cli->json)
        cli_print(cli, reply);
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

    const char *project = cli_option(cli, "project"), *path = "/v1/pipelines?page_size=1000";
    if (project)
        path = hd_arena_printf(&cli->arena, "%s&project=%s", path, cli_escape(cli, project));
    if (cli_list(cli, path, "pipelines", &reply) != HD_OK)
        return cli_failed(cli);
    table_init(&table, &cli->arena, "NAME|PROJECT|VERSION>|JOBS>|UPDATED");
    cJSON_ArrayForEach(item, j_get(reply, "pipelines")) {
        table_cell(&table, j_text(item, "name"));
        table_cell(&table, j_text(item, "project"));
        table_cell(&table, hd_arena_printf(&cli->arena, "%" PRId64, j_int(item, "version")));
        table_cell(&table, hd_arena_printf(&cli->arena, "%" PRId64, j_int(item, "jobs")));
        table_cell(&table, cli_time(cli, j_int(item, "updated_at_ms")));
    }
    if (cli->json)
        cli_print(cli, reply);
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
        cli_print(cli, reply);
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

int cmd_pipeline_versions(struct cli *cli) {
    const char *path =
        hd_arena_printf(&cli->arena, "/v1/pipelines/%s/versions?page_size=1000", cli_escape(cli, cli->args[0]));
    cJSON *reply, *item;
    struct table table;

    if (cli_list(cli, path, "versions", &reply) != HD_OK)
        return cli_failed(cli);
    table_init(&table, &cli->arena, "VERSION>|JOBS>|BY|CREATED|DIGEST");
    cJSON_ArrayForEach(item, j_get(reply, "versions")) {
        bool deleted = cJSON_IsTrue(j_get(item, "deleted"));
        table_cell(&table, hd_arena_printf(&cli->arena, "%" PRId64, j_int(item, "version")));
        table_cell(&table, deleted ? "-" : hd_arena_printf(&cli->arena, "%" PRId64, j_int(item, "jobs")));
        table_cell(&table, j_text(item, "made_by"));
        table_cell(&table, cli_time(cli, j_int(item, "created_at_ms")));
        table_cell(&table, deleted ? "(deleted)" : hd_arena_strndup(&cli->arena, j_text(item, "digest"), 12));
    }
    if (cli->json)
        cli_print(cli, reply);
    else
        table_print(&table, cli);
    cJSON_Delete(reply);
    return 0;
}

// "jobs added: a, b".
static void print_names(const cJSON *reply, const char *field, const char *title) {
    const cJSON *name, *list = j_get(reply, field);
    const char *comma = "";

    if (cJSON_GetArraySize(list) > 0)
        printf("# %s: ", title);
    cJSON_ArrayForEach(name, list) {
        printf("%s%s", comma, cJSON_IsString(name) ? name->valuestring : "");
        comma = ", ";
    }
    if (*comma)
        printf("\n");
}

static void print_diff(const struct cli *cli, const cJSON *reply) {
    if (cli->json) {
        cli_print(cli, reply);
        return;
    }
    print_names(reply, "jobs_added", "jobs added");
    print_names(reply, "jobs_removed", "jobs removed");
    print_names(reply, "jobs_changed", "jobs changed");
    print_names(reply, "keys_changed", "keys changed");
    fputs(j_text(reply, "diff"), stdout);
    if (cJSON_IsTrue(j_get(reply, "truncated")))
        printf("# the rest is left out\n");
}

static enum hd_status version_arg(struct cli *cli, int at, int64_t *ret) {
    *ret = 0;
    if (at < cli->n_args && (hd_parse_i64(cli->args[at], ret) != HD_OK || *ret < 1 || *ret > UINT32_MAX))
        return hd_err_set(&cli->err, HD_INVALID, "\"%.40s\" is not the number of a version", cli->args[at]);
    return HD_OK;
}

// A version of the server's, against a file: compared here.
static int diff_file(struct cli *cli, const char *file, int64_t from) {
    HD_AUTO_BUF struct hd_buf source = {0}, json = {0};
    Hodei__V1__DiffPipelineReply diff = HODEI__V1__DIFF_PIPELINE_REPLY__INIT;
    const char *path =
        hd_arena_printf(&cli->arena, "/v1/pipelines/%s?version=%" PRId64, cli_escape(cli, cli->args[0]), from);
    cJSON *reply;

    if (cli->n_args > 2) {
        hd_err_set(&cli->err, HD_INVALID, "with --file there is no TO");
        return cli_failed(cli);
    }
    if (cli_read_source(cli, file, &source) != HD_OK || cli_call(cli, CLI_GET(path), &reply) != HD_OK)
        return cli_failed(cli);
    const char *label = hd_arena_printf(&cli->arena, "%s version %" PRId64, cli->args[0], j_int(reply, "version"));
    diff.from = (uint32_t)j_int(reply, "version");
    pip_diff(&cli->arena, &(struct pip_side){label, j_text(reply, "source")}, &(struct pip_side){file, source.data},
             &diff);
    cJSON_Delete(reply);
    hd_pb_to_json_all(&diff.base, &json);
    reply = cJSON_Parse(json.data);
    print_diff(cli, reply);
    cJSON_Delete(reply);
    return 0;
}

int cmd_pipeline_diff(struct cli *cli) {
    const char *file = cli_option(cli, "file");
    int64_t from, to;
    cJSON *reply;

    if (version_arg(cli, 1, &from) != HD_OK || version_arg(cli, 2, &to) != HD_OK)
        return cli_failed(cli);
    if (file)
        return diff_file(cli, file, from);
    const char *path = hd_arena_printf(&cli->arena, "/v1/pipelines/%s/diff?from=%" PRId64 "&to=%" PRId64,
                                       cli_escape(cli, cli->args[0]), from, to);
    if (cli_call(cli, CLI_GET(path), &reply) != HD_OK)
        return cli_failed(cli);
    print_diff(cli, reply);
    cJSON_Delete(reply);
    return 0;
}
