// The plan of a run: what is known at its start is resolved, the rest stands as it is.
#include "tests/unit/test.h"

#include "base/buf.h"
#include "services/pipelines/compile.h"
#include "services/pipelines/render.h"

struct world {
    struct hd_arena arena;
    struct hd_err err;
    Hodei__V1__PipelinePlan *plan;
};

// `inputs`: "a=1 b=2".
static enum hd_status render(struct world *w, const char *source, const char *inputs, const char *job) {
    Hodei__V1__RenderPipelineRequest request = HODEI__V1__RENDER_PIPELINE_REQUEST__INIT;
    Hodei__V1__CompiledPipeline *p = NULL;
    Hodei__V1__EnvVar vars[8], *list[8];
    char *save = NULL;
    *w = (struct world){0};
    hd_arena_init(&w->arena);
    request.job = (char *)(uintptr_t)job;
    request.inputs = list;
    char *copy = hd_arena_strdup(&w->arena, inputs);
    for (char *pair = strtok_r(copy, " ", &save); pair; pair = strtok_r(NULL, " ", &save)) {
        Hodei__V1__EnvVar *var = list[request.n_inputs] = &vars[request.n_inputs];
        hodei__v1__env_var__init(var);
        var->name = pair;
        var->value = strchr(pair, '=') + 1;
        var->value[-1] = '\0';
        request.n_inputs++;
    }
    if (pip_compile(&w->arena, source, strlen(source), &w->err, &p) != HD_OK) {
        printf("%u:%u: %s\n", w->err.line, w->err.column, w->err.text);
        return HD_INTERNAL;
    }
    p->version = 3;
    return pip_render(&w->arena, p, &request, &w->err, &w->plan);
}

static const Hodei__V1__PlanJob *job_of(const struct world *w, const char *name) {
    static const Hodei__V1__CompiledJob no_spec = HODEI__V1__COMPILED_JOB__INIT;
    static Hodei__V1__PlanJob none = HODEI__V1__PLAN_JOB__INIT;
    none.spec = (Hodei__V1__CompiledJob *)(uintptr_t)&no_spec;
    for (size_t i = 0; w->plan && i < w->plan->n_jobs; i++)
        if (strcmp(w->plan->jobs[i]->name, name) == 0)
            return w->plan->jobs[i];
    test_failures++;
    printf("the plan has no job %s\n", name);
    return &none;
}

static const char *value_of(Hodei__V1__EnvVar *const *vars, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(vars[i]->name, name) == 0)
            return vars[i]->value;
    return "(none)";
}
#define ENV(of, name) value_of((of)->env, (of)->n_env, name)

static const char SOURCE[] =
    "hodei: v1\nname: p\n"
    "inputs:\n  mode: { type: enum, values: [debug, release], default: release }\n  n: { type: number, default: 2 }\n"
    "  list: { type: json, default: [{ x: 1 }, { x: 2 }] }\n"
    "env: { MODE: \"${{ inputs.mode }}\", OUT: \"out/${{ env.MODE }}/${{ run.id }}\", AFTER: \"${{ env.OUT }}/x\", "
    "ALL: \"${{ to_json(run) }}\" }\n"
    "timeout: 2h\n"
    "concurrency: { group: \"${{ run.pipeline }}-${{ inputs.mode }}-${{ run.version }}\" }\n"
    "jobs:\n"
    "  build:\n"
    "    matrix: { axes: { os: [linux, bsd], v: [1, 2] }, exclude: [{ os: bsd, v: 2 }], fail_fast: true }\n"
    "    labels: { os: \"${{ matrix.os }}\" }\n"
    "    env: { MODE: \"job-${{ matrix.v }}\", LATE: \"${{ env.MODE }}\" }\n"
    "    steps:\n"
    "      - { id: s, run: 'make ${{ matrix.os }} ${{ inputs.n }}', if: \"inputs.n > 1 && env.MODE == 'job-1'\" }\n"
    "      - { command: [echo, \"${{ steps.s.outputs.o }}-${{ env.MODE }}\"], env: { STEP: \"${{ env.LATE }}!\" } }\n"
    "    outputs: { o: \"${{ matrix.os }}-${{ env.LATE }}\" }\n"
    "  dynamic:\n    needs: [build]\n    matrix: { from: needs.build.outputs }\n    run: echo ${{ matrix.k }}\n"
    "    concurrency: { group: \"g-${{ inputs.mode }}-${{ matrix.k }}\" }\n"
    "  listed: { matrix: { from: inputs.list }, run: 'echo ${{ matrix.x }}' }\n"
    "  debug: { if: inputs.mode == 'debug', matrix: { axes: { a: [1, 2] } }, run: x }\n"
    "  after: { needs: [debug], run: x }\n"
    "  anyway: { needs: [{ job: debug, when: skipped }, { job: after, optional: true }], run: x }\n"
    "  alarm: { needs: [build], if: failure() && inputs.n == 2, run: x }\n"
    "finally:\n  clean: { needs: [after], run: 'echo ${{ needs.after.result }}' }\n";

TEST(what_is_known_is_resolved) {
    struct world w;
    CHECK_INT(render(&w, SOURCE, "n=5", ""), HD_OK);
    CHECK_STR(w.err.text, "");
    CHECK_STR(w.plan->pipeline, "p");
    CHECK_INT(w.plan->version, 3);
    CHECK_INT(w.plan->timeout_ms, 7200000);
    CHECK_STR(w.plan->concurrency->group, "p-release-3");
    CHECK_STR(value_of(w.plan->inputs, w.plan->n_inputs, "mode"), "\"release\"");
    CHECK_STR(value_of(w.plan->inputs, w.plan->n_inputs, "n"), "5");
    CHECK_INT(w.plan->n_jobs, 11);
    const Hodei__V1__PlanJob *one = job_of(&w, "build.1"), *third = job_of(&w, "build.3");
    CHECK_STR(one->matrix, "{\"os\":\"linux\",\"v\":1}");
    CHECK_STR(third->matrix, "{\"os\":\"bsd\",\"v\":1}");
    CHECK_STR(third->matrix_of, "build");
    CHECK_STR(one->spec->labels[0]->value, "linux");
    CHECK_STR(third->spec->labels[0]->value, "bsd");
    CHECK(one->spec->matrix->fail_fast && !*one->spec->matrix->axes);
    CHECK_STR(ENV(one->spec, "ALL"), "${{ to_json(run) }}"); // of which only a part is known
    CHECK_INT(one->spec->n_env, 5);                          // the hidden MODE of the pipeline is gone
    CHECK_STR(ENV(one->spec, "MODE"), "job-1");
    CHECK_STR(ENV(one->spec, "LATE"), "job-1");
    CHECK_STR(ENV(one->spec, "OUT"), "out/release/${{ run.id }}");
    CHECK_STR(ENV(one->spec, "AFTER"), "${{ env.OUT }}/x");
    const Hodei__V1__Step *s = one->spec->steps[0];
    CHECK_STR(s->condition, "true");
    CHECK_STR(job_of(&w, "build.2")->spec->steps[0]->condition, "false");
    CHECK_STR(s->script, "make \"${HODEI_EXPR_1}\" \"${HODEI_EXPR_2}\"");
    CHECK_STR(ENV(s, "HODEI_EXPR_1"), "linux");
    CHECK_STR(ENV(s, "HODEI_EXPR_2"), "5");
    CHECK_STR(one->spec->steps[1]->argv[1], "${{ steps.s.outputs.o }}-job-1");
    CHECK_STR(ENV(one->spec->steps[1], "STEP"), "job-1!");
    CHECK_STR(value_of(one->spec->outputs, one->spec->n_outputs, "o"), "linux-job-1");
    hd_arena_release(&w.arena);
}

TEST(what_is_not_known_stays) {
    struct world w;
    CHECK_INT(render(&w, SOURCE, "", ""), HD_OK);
    const Hodei__V1__PlanJob *dynamic = job_of(&w, "dynamic"), *alarm = job_of(&w, "alarm");
    CHECK_STR(dynamic->matrix_from, "needs.build.outputs");
    CHECK_STR(dynamic->matrix, "");
    CHECK_STR(ENV(dynamic->spec->steps[0], "HODEI_EXPR_1"), "${{ matrix.k }}");
    CHECK_STR(dynamic->spec->concurrency->group, "g-release-${{ matrix.k }}");
    CHECK_STR(dynamic->needs[0]->job, "build");
    CHECK_INT(dynamic->needs[0]->n_when, 1);
    CHECK_STR(dynamic->needs[0]->when[0], "success");
    CHECK_STR(alarm->spec->condition, "failure() && inputs.n == 2");
    CHECK_INT(alarm->needs[0]->n_when, 4);
    CHECK_STR(ENV(job_of(&w, "listed.2")->spec->steps[0], "HODEI_EXPR_1"), "2"); // from an input: known
    CHECK(job_of(&w, "clean")->last && !alarm->last);
    CHECK_STR(ENV(job_of(&w, "clean")->spec->steps[0], "HODEI_EXPR_1"), "${{ needs.after.result }}");
    hd_arena_release(&w.arena);
}

TEST(what_will_not_run_says_why) {
    struct world w;
    CHECK_INT(render(&w, SOURCE, "", ""), HD_OK);
    CHECK_STR(job_of(&w, "debug")->skipped_because, "its condition is false: inputs.mode == 'debug'");
    CHECK_STR(job_of(&w, "after")->skipped_because, "it needs debug, which is skipped");
    CHECK(!job_of(&w, "anyway")->skipped && !job_of(&w, "clean")->skipped && !job_of(&w, "alarm")->skipped);
    hd_arena_release(&w.arena);
    CHECK_INT(render(&w, SOURCE, "mode=debug", ""), HD_OK);
    CHECK(!job_of(&w, "debug.1")->skipped && !job_of(&w, "after")->skipped);
    CHECK_STR(job_of(&w, "debug.2")->spec->condition, "true");
    hd_arena_release(&w.arena);
}

TEST(one_job_of_it) {
    struct world w;
    CHECK_INT(render(&w, SOURCE, "", "build"), HD_OK);
    CHECK_INT(w.plan->n_jobs, 3);
    hd_arena_release(&w.arena);
    CHECK_INT(render(&w, SOURCE, "", "build.2"), HD_OK);
    CHECK_INT(w.plan->n_jobs, 1);
    CHECK_STR(w.plan->jobs[0]->name, "build.2");
    hd_arena_release(&w.arena);
    CHECK_INT(render(&w, SOURCE, "", "bild"), HD_MISSING);
    CHECK_STR(w.err.text, "the plan has no job \"bild\"");
    hd_arena_release(&w.arena);
}

#define TOP "hodei: v1\nname: p\n"
TEST(what_cannot_be_planned) {
    static const struct {
        const char *source, *inputs, *text, *field;
        enum hd_status status;
    } rows[] = {
        {SOURCE, "mod=x", "the pipeline has no input \"mod\"", "inputs[0]", HD_INVALID},
        {SOURCE, "n=1 n=2", "input \"n\" is given twice", "inputs[1]", HD_INVALID},
        {SOURCE, "mode=x", "input \"mode\" cannot be \"x\"", "inputs.mode", HD_INVALID},
        {SOURCE, "n=x", "input \"n\" must be a number, as in JSON", "inputs.n", HD_INVALID},
        {SOURCE, "list=7",
         "the matrix of the job \"listed\": the matrix must be a map of lists or a list of maps, not a number",
         "jobs.listed", HD_INVALID},
        {TOP "inputs: { who: { required: true } }\njobs: { a: { run: x } }\n", "", "input \"who\" is required",
         "inputs.who", HD_INVALID},
        {TOP "inputs: { j: { type: json, default: {} } }\njobs: { a: { run: x, if: inputs.j } }\n", "",
         "the condition of the job \"a\": it gives a map, not true or false", "jobs.a", HD_INVALID},
        {TOP "jobs: { a: { run: x } }\nfinally: { z: { command: [echo, \"${{ from_json('{') }}\"] } }\n", "",
         "an expression of the job \"z\": from_json(): not valid JSON: a bracket is not closed", "finally.z",
         HD_INVALID},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct world w;
        CHECK_INT(render(&w, rows[i].source, rows[i].inputs, ""), rows[i].status);
        CHECK(w.plan == NULL);
        CHECK_STR(w.err.text, rows[i].text);
        CHECK_STR(w.err.field, rows[i].field);
        hd_arena_release(&w.arena);
    }
}

// A small definition cannot make a large plan, nor much work.
TEST(bombs) {
    HD_AUTO_BUF struct hd_buf s = {0};
    struct world w;
    hd_buf_addf(&s,
                TOP "jobs:\n  a:\n    run: \"%01000d\"\n    matrix: { axes: { a: &l [0,1,2,3,4,5,6,7,8,9], b: *l, c: "
                    "*l, d: *l } }\n",
                0);
    CHECK_INT(render(&w, s.data, "", ""), HD_LIMITED);
    CHECK(strstr(w.err.text, "the plan becomes larger than 3 MiB at the job \"a.") == w.err.text);
    hd_arena_release(&w.arena);
    CHECK_INT(render(&w, s.data, "", "a.10000"), HD_OK);
    CHECK_INT(w.plan->n_jobs, 1);
    hd_arena_release(&w.arena);

    hd_buf_clear(&s); // each variable computes a megabyte and shows little of it
    hd_buf_adds(&s, TOP "jobs:\n  a:\n    run: x\n    env:\n");
    for (int i = 0; i < 500; i++) {
        hd_buf_addf(&s, "      V%d: \"${{ ends_with(", i);
        for (int k = 0; k < 8; k++)
            hd_buf_adds(&s, "format('{0}{0}{0}{0}{0}', ");
        hd_buf_adds(&s, "'x'");
        for (int k = 0; k < 8; k++)
            hd_buf_adds(&s, ")");
        hd_buf_adds(&s, ", 'y') }}\"\n");
    }
    CHECK_INT(render(&w, s.data, "", ""), HD_INVALID);
    CHECK_STR(w.err.text, "an expression of the job \"a\": the expression makes more than 1 MiB");
    hd_arena_release(&w.arena);
}

TEST_MAIN
