// Commands on runs and jobs: what people do to them, and why a job waits.
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"

static char *body_of(struct cli *cli, const char *from, const char *job, const int64_t *priority) {
    cJSON *body = cJSON_CreateObject();
    const char *reason = cli_option(cli, "reason");
    if (reason)
        cJSON_AddStringToObject(body, "reason", reason);
    if (from)
        cJSON_AddStringToObject(body, "from", from);
    if (job)
        cJSON_AddStringToObject(body, "job", job);
    if (priority)
        cJSON_AddNumberToObject(body, "priority", (double)*priority);
    char *text = cJSON_PrintUnformatted(body), *kept = hd_arena_strdup(&cli->arena, text);
    free(text);
    cJSON_Delete(body);
    return kept;
}

// Says what has come of it; of a command that made a run, its id.
static int steer(struct cli *cli, const char *command, const char *body) {
    bool of_job = cli->n_args > 1;
    const char *path = of_job ? hd_arena_printf(&cli->arena, "/v1/runs/%s/jobs/%s:%s", cli_escape(cli, cli->args[0]),
                                                cli_escape(cli, cli->args[1]), command)
                              : hd_arena_printf(&cli->arena, "/v1/runs/%s:%s", cli_escape(cli, cli->args[0]), command);
    struct cli_request request = {.method = "POST", .path = path, .body = body, .type = "application/json"};
    cJSON *reply;
    if (cli_call(cli, &request, &reply) != HD_OK)
        return cli_failed(cli);
    const char *run = j_text(reply, "run");
    if (cli->json)
        cli_print(cli, reply);
    else if (!hd_streq(run, cli->args[0]))
        printf("%s\n", run);
    else
        printf("%s %s\n", of_job ? cli->args[1] : cli->args[0], j_text(reply, of_job ? "job_state" : "state"));
    cJSON_Delete(reply);
    return 0;
}

int cmd_run_pause(struct cli *cli) {
    return steer(cli, "pause", body_of(cli, NULL, NULL, NULL));
}

int cmd_run_resume(struct cli *cli) {
    return steer(cli, "resume", body_of(cli, NULL, NULL, NULL));
}

int cmd_run_rerun(struct cli *cli) {
    const char *job = cli_option(cli, "from-job"), *from = job ? "job" : cli_option(cli, "failed") ? "failed" : "all";
    return steer(cli, "rerun", body_of(cli, from, job, NULL));
}

int cmd_run_priority(struct cli *cli) {
    int64_t priority;
    if (hd_parse_i64(cli->args[1], &priority) != HD_OK || priority < -100 || priority > 100) {
        hd_err_set(&cli->err, HD_INVALID, "\"%.40s\" is not a whole number from -100 to 100", cli->args[1]);
        return cli_failed(cli);
    }
    cli->n_args = 1;
    return steer(cli, "prioritize", body_of(cli, NULL, NULL, &priority));
}

int cmd_job_cancel(struct cli *cli) {
    return steer(cli, "cancel", body_of(cli, NULL, NULL, NULL));
}

int cmd_job_retry(struct cli *cli) {
    return steer(cli, "retry", body_of(cli, NULL, NULL, NULL));
}

int cmd_job_done(struct cli *cli) {
    return steer(cli, "mark-done", body_of(cli, NULL, NULL, NULL));
}

int cmd_job_skip(struct cli *cli) {
    return steer(cli, "skip", body_of(cli, NULL, NULL, NULL));
}

int cmd_job_approve(struct cli *cli) {
    return steer(cli, "approve", body_of(cli, NULL, NULL, NULL));
}

int cmd_job_reject(struct cli *cli) {
    return steer(cli, "reject", body_of(cli, NULL, NULL, NULL));
}

int cmd_explain(struct cli *cli) {
    const char *path = hd_arena_printf(&cli->arena, "/v1/runs/%s/jobs/%s:explain", cli_escape(cli, cli->args[0]),
                                       cli_escape(cli, cli->args[1]));
    cJSON *reply;
    if (cli_call(cli, CLI_GET(path), &reply) != HD_OK)
        return cli_failed(cli);
    if (cli->json)
        cli_print(cli, reply);
    else
        printf("%s is %s: %s\n", cli->args[1], j_text(reply, "state"), j_text(reply, "text"));
    cJSON_Delete(reply);
    return 0;
}
