// What needs no server: checking a definition, and the JSON Schema for editors.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "adapter/zoneinfo.h"
#include "base/pb.h"
#include "cli/cli.h"
#include "services/pipelines/compile.h"
#include "services/pipelines/schema.h"

// As compilers say it.
static void print_error(const struct cli *cli, const char *path, const struct hd_err *err) {
    HD_AUTO_BUF struct hd_buf line = {0};
    if (cli->json) {
        hd_buf_adds(&line, "{\"file\":");
        hd_json_add_string(&line, path, strlen(path));
        hd_buf_addf(&line, ",\"line\":%u,\"column\":%u,\"field\":", err->line, err->column);
        hd_json_add_string(&line, err->field, strlen(err->field));
        hd_buf_adds(&line, ",\"text\":");
        hd_json_add_string(&line, err->text, strlen(err->text));
        hd_buf_adds(&line, ",\"hint\":");
        hd_json_add_string(&line, err->hint, strlen(err->hint));
        printf("%s}\n", line.data);
        return;
    }
    if (err->line) // else it is not about what is in it
        fprintf(stderr, "%s:%u:%u: %s%s", path, err->line, err->column, err->field, *err->field ? ": " : "");
    fputs(err->text, stderr);
    fprintf(stderr, *err->hint ? " (%s)\n" : "\n", err->hint);
}

// A machine without time zones takes every name that could be one: whether it is there then says the apply.
static enum hd_status zone_is_there(void *arg, const char *name, struct hd_err *err) {
    struct hd_ctx cx = {.arena = arg};
    const struct hd_zone *zone;
    if (access("/usr/share/zoneinfo", R_OK) != 0)
        return HD_OK;
    enum hd_status status = hd_zoneinfo_read(&cx, name, &zone);
    *err = cx.err;
    return status;
}

enum hd_status cli_compile(struct cli *cli, const char *source, struct hd_err *err, Hodei__V1__CompiledPipeline **ret) {
    return pip_compile_with(&cli->arena, source, strlen(source), zone_is_there, &cli->arena, err, ret);
}

static bool lint_one(struct cli *cli, const char *path) {
    HD_AUTO_BUF struct hd_buf source = {0};
    Hodei__V1__CompiledPipeline *pipeline;
    struct hd_err err = {0};
    if (cli_read_source(cli, path, &source) != HD_OK) {
        print_error(cli, path, &cli->err);
        hd_err_clear(&cli->err); // it is said
        return false;
    }
    if (cli_compile(cli, source.data, &err, &pipeline) != HD_OK) {
        print_error(cli, path, &err);
        return false;
    }
    if (!cli->json)
        printf("%s is right: pipeline %s, %zu jobs\n", path, pipeline->name, pipeline->n_jobs);
    return true;
}

int cmd_lint(struct cli *cli) {
    bool right = true;
    for (int i = 0; i < cli->n_args; i++)
        right = lint_one(cli, cli->args[i]) && right;
    return right ? 0 : hd_status_info(HD_INVALID)->exit_code;
}

int cmd_schema(struct cli *cli) {
    HD_AUTO_BUF struct hd_buf out = {0};
    (void)cli;
    pip_schema(&out);
    puts(out.data);
    return 0;
}
