// The plan of a run, made here from a file: no server is asked.
#include <inttypes.h>
#include <stdio.h>

#include "base/pb.h"
#include "cli/cli.h"
#include "services/pipelines/compile.h"
#include "services/pipelines/render.h"

// A text as YAML: in quotes, or with `deep` as a block where it has lines.
static void add_text(struct hd_buf *out, const char *text, int deep) {
    size_t len = strlen(text);
    bool block = deep && memchr(text, '\n', len) && text[0] != ' ' && text[0] != '\n' && !strpbrk(text, "\t\r");
    if (!block) {
        hd_json_add_string(out, text, len);
        return;
    }
    hd_buf_adds(out, text[len - 1] != '\n' ? "|-" : len > 1 && text[len - 2] == '\n' ? "|+" : "|");
    for (const char *p = text; *p;) {
        size_t line = strcspn(p, "\n");
        hd_buf_addf(out, line ? "\n%*s%.*s" : "\n", deep, "", (int)line, p);
        p += line + (p[line] == '\n');
    }
}

static void add_pairs(struct hd_buf *out, int deep, const char *key, Hodei__V1__EnvVar *const *vars, size_t n) {
    if (n)
        hd_buf_addf(out, "%*s%s:\n", deep, "", key);
    for (size_t i = 0; i < n; i++) {
        hd_buf_addf(out, "%*s%s: ", deep + 2, "", vars[i]->name);
        add_text(out, vars[i]->value, deep + 4);
        hd_buf_addc(out, '\n');
    }
}

static void add_line(struct hd_buf *out, int deep, const char *key, const char *text) {
    if (!*text)
        return;
    hd_buf_addf(out, "%*s%s: ", deep, "", key);
    add_text(out, text, deep + 2);
    hd_buf_addc(out, '\n');
}

static void add_ms(struct hd_buf *out, int deep, const char *key, int64_t ms) {
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = {{3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    size_t i = 0;
    if (ms <= 0)
        return;
    while (ms % units[i].ms)
        i++;
    hd_buf_addf(out, "%*s%s: %" PRId64 "%s\n", deep, "", key, ms / units[i].ms, units[i].unit);
}

static void add_step(struct hd_buf *out, const Hodei__V1__Step *step) {
    size_t start = out->len;
    add_line(out, 8, "id", step->id);
    add_line(out, 8, "name", step->name);
    add_line(out, 8, "if", step->condition);
    if (step->n_argv) {
        hd_buf_adds(out, "        command: [");
        for (size_t i = 0; i < step->n_argv; i++) {
            hd_buf_adds(out, i ? ", " : "");
            add_text(out, step->argv[i], 0);
        }
        hd_buf_adds(out, "]\n");
    } else {
        add_line(out, 8, "run", step->script);
        if (!hd_streq(step->shell, "/bin/sh"))
            add_line(out, 8, "shell", step->shell);
    }
    add_line(out, 8, "workdir", step->workdir);
    add_pairs(out, 8, "env", step->env, step->n_env);
    add_ms(out, 8, "timeout", step->timeout_ms);
    if (step->continue_on_error)
        hd_buf_adds(out, "        continue_on_error: true\n");
    out->data[start + 6] = '-';
}

static void add_needs(struct hd_buf *out, const Hodei__V1__PlanJob *job) {
    if (job->n_needs == 0)
        return;
    hd_buf_adds(out, "    needs: [");
    for (size_t i = 0; i < job->n_needs; i++) {
        const Hodei__V1__PlanNeed *need = job->needs[i];
        bool plain = need->n_when == 1 && hd_streq(need->when[0], "success");
        hd_buf_addf(out, plain ? "%s%s" : "%s{ job: %s, when: ", i ? ", " : "", need->job);
        if (plain)
            continue;
        if (need->n_when == 4)
            hd_buf_adds(out, "always");
        for (size_t k = 0; k < need->n_when && need->n_when < 4; k++)
            hd_buf_addf(out, "%s%s", k ? " or " : "", need->when[k]);
        hd_buf_adds(out, " }");
    }
    hd_buf_adds(out, "]\n");
}

static void add_group(struct hd_buf *out, int deep, const Hodei__V1__Concurrency *group) {
    HD_AUTO_BUF struct hd_buf json = {0};
    if (!group)
        return;
    hd_pb_to_json(&group->base, &json);
    hd_buf_addf(out, "%*sconcurrency: %s\n", deep, "", json.data);
}

// What has a message of its own is shown as that: JSON is YAML.
static void add_message(struct hd_buf *out, const char *key, const ProtobufCMessage *msg) {
    HD_AUTO_BUF struct hd_buf json = {0};
    if (!msg)
        return;
    hd_pb_to_json(msg, &json);
    hd_buf_addf(out, "    %s: %s\n", key, json.data);
}

static void add_allowed(struct hd_buf *out, const Hodei__V1__CompiledJob *spec) {
    if (!spec->allow_failure)
        return;
    hd_buf_adds(out, spec->n_allow_exit_codes ? "    allow_failure: { exit_codes: [" : "    allow_failure: true\n");
    for (size_t i = 0; i < spec->n_allow_exit_codes; i++)
        hd_buf_addf(out, "%s%" PRId32, i ? ", " : "", spec->allow_exit_codes[i]);
    hd_buf_adds(out, spec->n_allow_exit_codes ? "] }\n" : "");
}

static void add_where(struct hd_buf *out, struct hd_arena *arena, const Hodei__V1__CompiledJob *spec) {
    if (!hd_streq(spec->pool, "default"))
        add_line(out, 4, "pool", spec->pool);
    if (spec->n_labels)
        hd_buf_adds(out, "    labels:\n");
    for (size_t i = 0; i < spec->n_labels; i++)
        add_line(out, 6, spec->labels[i]->key, spec->labels[i]->value);
    if (spec->executor != HODEI__V1__EXECUTOR__EXECUTOR_SHELL)
        hd_buf_addf(out, "    executor: %s\n",
                    hd_pb_enum_name(arena, &hodei__v1__executor__descriptor, (int)spec->executor));
    add_message(out, "resources", spec->resources ? &spec->resources->base : NULL);
    for (size_t i = 0; i < spec->n_tolerations; i++)
        add_message(out, "toleration", &spec->tolerations[i]->base);
    if (spec->priority)
        hd_buf_addf(out, "    priority: %" PRId32 "\n", spec->priority);
}

static void add_job(struct hd_buf *out, struct hd_arena *arena, const Hodei__V1__PlanJob *job) {
    const Hodei__V1__CompiledJob *spec = job->spec;
    hd_buf_addf(out, "  %s:\n", job->name);
    add_line(out, 4, "skipped", job->skipped_because);
    if (*job->matrix)
        hd_buf_addf(out, "    matrix: %s\n", job->matrix);
    add_line(out, 4, "matrix_from", job->matrix_from);
    if (spec->matrix && spec->matrix->max_parallel)
        hd_buf_addf(out, "    max_parallel: %" PRIu32 "\n", spec->matrix->max_parallel);
    if (spec->matrix && spec->matrix->fail_fast)
        hd_buf_adds(out, "    fail_fast: true\n");
    add_needs(out, job);
    add_line(out, 4, "if", spec->condition);
    add_message(out, "approval", spec->approval ? &spec->approval->base : NULL);
    add_group(out, 4, spec->concurrency);
    add_where(out, arena, spec);
    add_ms(out, 4, "timeout", spec->timeout_ms);
    add_ms(out, 4, "queue_timeout", spec->queue_timeout_ms);
    add_message(out, "retry", spec->retry ? &spec->retry->base : NULL);
    add_allowed(out, spec);
    add_pairs(out, 4, "env", spec->env, spec->n_env);
    if (spec->n_steps)
        hd_buf_adds(out, "    steps:\n");
    for (size_t i = 0; i < spec->n_steps; i++)
        add_step(out, spec->steps[i]);
    add_pairs(out, 4, "outputs", spec->outputs, spec->n_outputs);
}

static void add_triggers(struct hd_buf *out, const Hodei__V1__PipelinePlan *plan) {
    if (plan->n_cron || plan->n_on_pipeline)
        hd_buf_adds(out, "on:\n");
    for (size_t i = 0; i < plan->n_cron; i++)
        hd_buf_addf(out, "  - { cron: \"%s\", timezone: %s }\n", plan->cron[i]->expr, plan->cron[i]->timezone);
    for (size_t i = 0; i < plan->n_on_pipeline; i++)
        hd_buf_addf(out, "  - { pipeline: %s }\n", plan->on_pipeline[i]->name);
}

static void print_plan(const Hodei__V1__PipelinePlan *plan, struct hd_arena *arena) {
    HD_AUTO_BUF struct hd_buf out = {0};
    bool last = false;
    hd_buf_addf(&out, "pipeline: %s\n", plan->pipeline);
    if (plan->version)
        hd_buf_addf(&out, "version: %" PRIu32 "\n", plan->version);
    if (plan->n_inputs)
        hd_buf_adds(&out, "inputs:\n");
    for (size_t i = 0; i < plan->n_inputs; i++) // JSON already
        hd_buf_addf(&out, "  %s: %s\n", plan->inputs[i]->name, plan->inputs[i]->value);
    add_triggers(&out, plan);
    add_ms(&out, 0, "timeout", plan->timeout_ms);
    add_group(&out, 0, plan->concurrency);
    for (size_t i = 0; i < plan->n_jobs; i++) {
        if (i == 0 || plan->jobs[i]->last != last)
            hd_buf_adds(&out, plan->jobs[i]->last ? "finally:\n" : "jobs:\n");
        last = plan->jobs[i]->last;
        add_job(&out, arena, plan->jobs[i]);
    }
    fwrite(out.data, 1, out.len, stdout);
}

// --input NAME=VALUE, as a start takes them.
static enum hd_status take_inputs(struct cli *cli, Hodei__V1__RenderPipelineRequest *request) {
    request->inputs = HD_NEW_ARRAY(&cli->arena, cli->n_given, Hodei__V1__EnvVar *);
    for (size_t i = 0; i < cli->n_given; i++) {
        const char *pair = cli->given[i].value, *equals = strchr(pair, '=');
        if (!hd_streq(cli->given[i].name, "input"))
            continue;
        if (!equals || equals == pair)
            return hd_err_set(&cli->err, HD_INVALID, "--input \"%.60s\" is not NAME=VALUE", pair);
        Hodei__V1__EnvVar *var = request->inputs[request->n_inputs++] = HD_NEW(&cli->arena, Hodei__V1__EnvVar);
        hodei__v1__env_var__init(var);
        var->name = hd_arena_strndup(&cli->arena, pair, (size_t)(equals - pair));
        var->value = hd_arena_strdup(&cli->arena, equals + 1);
    }
    return HD_OK;
}

int cmd_render(struct cli *cli) {
    HD_AUTO_BUF struct hd_buf source = {0};
    Hodei__V1__RenderPipelineRequest request = HODEI__V1__RENDER_PIPELINE_REQUEST__INIT;
    Hodei__V1__CompiledPipeline *pipeline;
    Hodei__V1__PipelinePlan *plan;
    const char *job = cli_option(cli, "job");

    if (take_inputs(cli, &request) != HD_OK)
        return cli_failed(cli);
    if (job)
        request.job = hd_arena_strdup(&cli->arena, job);
    if (cli_read_source(cli, cli->args[0], &source) != HD_OK)
        return cli_failed(cli);
    if (cli_compile(cli, source.data, &cli->err, &pipeline) != HD_OK) {
        hd_err_wrap(&cli->err, "%s:%u:%u", cli->args[0], cli->err.line, cli->err.column); // as compilers say it
        return cli_failed(cli);
    }
    if (pip_render(&cli->arena, pipeline, &request, &cli->err, &plan) != HD_OK)
        return cli_failed(cli);
    if (!cli->json) {
        print_plan(plan, &cli->arena);
        return 0;
    }
    HD_AUTO_BUF struct hd_buf json = {0};
    hd_pb_to_json_all(&plan->base, &json);
    puts(json.data);
    return 0;
}
