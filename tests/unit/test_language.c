// The parts of the pipeline language beyond plain jobs: expressions, matrices, conditions, retries, outputs, finally.
#include "tests/unit/test.h"

#include "base/buf.h"
#include "services/pipelines/compile.h"

#define TOP "hodei: v1\nname: p\n"
#define JOBS TOP "jobs:\n"

struct world {
    struct hd_arena arena;
    struct hd_err err;
    Hodei__V1__CompiledPipeline *p;
};

static bool compile(struct world *w, const char *source) {
    *w = (struct world){0};
    hd_arena_init(&w->arena);
    return pip_compile(&w->arena, source, strlen(source), &w->err, &w->p) == HD_OK;
}

static const char FULL[] =
    TOP "inputs:\n"
        "  target: { type: enum, values: [debug, release], default: release }\n"
        "  count: { type: number, default: 3 }\n"
        "  who: { required: true }\n"
        "env: { MODE: \"${{ inputs.target }}\", BASE: x, AGAIN: \"${{ env.BASE }}y\" }\n"
        "timeout: 2h\n"
        "queue_timeout: 5m\n"
        "defaults: { shell: /bin/bash, timeout: 10m, env: { D: d }, retry: { limit: 1 } }\n"
        "jobs:\n"
        "  plan:\n"
        "    steps:\n"
        "      - { id: list, run: \"echo 'm=[1]' >>$HODEI_OUTPUT\" }\n"
        "      - { if: \"failure() || steps.list.result == 'success'\", run: make, continue_on_error: true }\n"
        "    outputs: { m: \"${{ steps.list.outputs.m }}\", fixed: text }\n"
        "  test:\n"
        "    needs: [plan]\n"
        "    matrix: { axes: { os: [linux, bsd], v: [\"3.10\", \"3.9\"] }, exclude: [{ os: bsd, v: \"3.9\" }], "
        "max_parallel: 2, fail_fast: true }\n"
        "    labels: { os: \"${{ matrix.os }}\" }\n"
        "    run: ./t --os ${{ matrix.os }} --v \"${{ matrix.v }}\" ${{ needs.plan.outputs.fixed }}\n"
        "    env: { X: \"${{ env.MODE }}-${{ env.D }}\" }\n"
        "    retry: { limit: 2, on: [infra, oom, 75], backoff: { initial: 2s, factor: 1.5, max: 1m }, avoid_worker: "
        "true }\n"
        "    outputs: { r: \"${{ matrix.v }}\" }\n"
        "  each:\n"
        "    needs: [{ job: plan }, { job: gone, optional: true }]\n"
        "    matrix: { from: from_json(needs.plan.outputs.m) }\n"
        "    command: [echo, \"${{ matrix.anything }}\"]\n"
        "  alarm:\n"
        "    needs: [test, { job: each, when: failure }]\n"
        "    if: ${{ failure() && inputs.count > 2 }}\n"
        "    run: echo ${{ join(needs.test.outputs.r) }}\n"
        "    allow_failure: { exit_codes: [3] }\n"
        "finally:\n"
        "  clean: { needs: [test], interruptible: false, run: 'echo \"${{ needs.test.result }}\"' }\n";

TEST(all_of_it) {
    struct world w;
    CHECK(compile(&w, FULL));
    CHECK_STR(w.err.text, "");
    if (!w.p) {
        hd_arena_release(&w.arena);
        return;
    }
    const Hodei__V1__CompiledJob *plan = w.p->jobs[0], *test = w.p->jobs[1], *each = w.p->jobs[2],
                                 *alarm = w.p->jobs[3], *clean = w.p->jobs[4];
    CHECK_INT(w.p->n_jobs, 5);
    CHECK_INT(w.p->n_main, 4);
    CHECK_INT(w.p->timeout_ms, 7200000);
    CHECK_STR(w.p->inputs[0]->default_value, "\"release\"");
    CHECK_STR(w.p->inputs[1]->default_value, "3");
    CHECK(w.p->inputs[2]->required);
    CHECK_STR(plan->steps[0]->shell, "/bin/bash");
    CHECK_INT(plan->timeout_ms, 600000);
    CHECK_INT(plan->queue_timeout_ms, 300000);
    CHECK_INT(plan->retry->limit, 1);
    CHECK_STR(plan->steps[1]->condition, "failure() || steps.list.result == 'success'");
    CHECK(plan->steps[1]->continue_on_error && plan->uses_context);
    CHECK_STR(plan->outputs[0]->value, "${{ steps.list.outputs.m }}");
    CHECK(plan->outputs[0]->template_ && !plan->outputs[1]->template_);
    CHECK_STR(test->matrix->axes, "{\"os\":[\"linux\",\"bsd\"],\"v\":[\"3.10\",\"3.9\"]}");
    CHECK_INT(test->matrix->max_parallel, 2);
    CHECK(test->matrix->fail_fast && test->uses_needs);
    CHECK_STR(test->steps[0]->script, "./t --os \"${HODEI_EXPR_1}\" --v \"${HODEI_EXPR_2}\" \"${HODEI_EXPR_3}\"");
    CHECK_STR(test->steps[0]->env[1]->value, "${{ matrix.v }}");
    CHECK_INT(test->retry->n_on, 2);
    CHECK(test->retry->avoid_worker && !plan->retry->avoid_worker);
    CHECK_INT(test->retry->exit_codes[0], 75);
    CHECK_INT(test->retry->factor_milli, 1500);
    CHECK_INT(test->retry->max_ms, 60000);
    CHECK_STR(each->matrix->from, "from_json(needs.plan.outputs.m)");
    CHECK_INT(each->n_needs, 1);
    CHECK_INT(alarm->need_accepts[0], 15); // its condition decides
    CHECK_INT(alarm->need_accepts[1], 2);
    CHECK_STR(alarm->condition, "failure() && inputs.count > 2");
    CHECK(alarm->allow_failure && alarm->allow_exit_codes[0] == 3);
    CHECK_INT(clean->need_accepts[0], 15);
    CHECK(clean->uninterruptible && !test->uninterruptible);
    CHECK_STR(clean->steps[0]->script, "echo \"${HODEI_EXPR_1}\"");
    hd_arena_release(&w.arena);
}

#define JOB JOBS "  a:\n"
#define NEEDS JOBS "  b: { run: x, outputs: { o: y } }\n  a:\n    needs: [b]\n"
TEST(errors_name_the_place) {
    static const struct {
        const char *source, *field;
        unsigned line, column;
        const char *text, *hint;
    } bad[] = {
        {JOB "    run: echo ${{ input.x }}\n", "jobs.a.run", 5, 19, "there is no name \"input\"",
         "did you mean \"inputs\"?"},
        {JOB "    run: echo ${{ inputs.x }}\n", "jobs.a.run", 5, 26, "there is no \"x\" here", ""},
        {JOB "    run: |\n      one\n      two ${{ 1 }} ${{ nix }}\n", "jobs.a.run", 7, 24, "there is no name \"nix\"",
         NULL},
        {JOB "    run: echo ${{ 1 +\n", "jobs.a.run", 5, 21, "\"+\" stands where an operator or the end should stand",
         ""},
        {JOB "    run: echo $(( ${{ run.version }} ))\n", "jobs.a.run", 5, 19,
         "an expression cannot stand within $(( )): the shell would compute with it as text of a program", NULL},
        {JOB "    run: x\n    if: inputs\n", "jobs.a.if", 6, 9, "the expression must give true or false, not a map",
         ""},
        {JOB "    run: x\n    if: success(\n", "jobs.a.if", 6, 17, "the expression ends where a value should stand",
         ""},
        {JOB "    run: x\n    if: run.id == 3\n", "jobs.a.if", 6, 16, "a text and a number cannot be compared", NULL},
        {JOB "    run: x\n    if: \"run.id == 3\"\n", "jobs.a.if", 6, 17, "a text and a number cannot be compared",
         NULL},
        {JOB "    run: x\n    if: >\n      run.id == 3\n", "jobs.a.if", 6, 9, "a text and a number cannot be compared",
         NULL},
        {JOB "    run: x\n    if: x ${{ true }}\n", "jobs.a.if", 6, 9,
         "must be one expression, with nothing around its ${{ }}", NULL},
        {JOB "    run: x\n    if: steps.a.result == 'success'\n", "jobs.a.if", 6, 9,
         "\"steps\" cannot be used here: it is known only on the worker, in a step", ""},
        {JOB "    run: x\n    if: git.branch == 'main'\n", "jobs.a.if", 6, 9,
         "\"git\" cannot be used here: git is not available yet", ""},
        {JOB "    run: x ${{ matrix.a }}\n", "jobs.a.run", 5, 16,
         "\"matrix\" cannot be used here: the job has no matrix", ""},
        {NEEDS "    run: x ${{ needs.c.result }}\n", "jobs.a.run", 7, 22, "there is no \"c\" here", NULL},
        {NEEDS "    run: x ${{ needs.b.outputs.p }}\n", "jobs.a.run", 7, 32, "there is no \"p\" here", NULL},
        {NEEDS "    run: x ${{ success() }}\n", "jobs.a.run", 7, 16, "success() cannot be used here", NULL},
        {JOB "    steps: [{run: a, env: {A: \"${{ env.B }}\", B: c}}]\n", "jobs.a.steps[0].env.A", 5, 40,
         "there is no \"B\" here", ""},
        {JOB "    steps:\n      - run: a\n        if: steps.s.result == 'x'\n      - {id: s, run: b}\n",
         "jobs.a.steps[0].if", 7, 19, "there is no \"s\" here", ""},
        {JOB "    steps: [{id: s, run: a}, {id: s, run: b}]\n", "jobs.a.steps[1]", 5, 30,
         "the id \"s\" is taken by a step before", ""},
        {JOB "    steps: [{id: 9s, run: a}]\n", "jobs.a.steps[0].id", 5, 18,
         "\"9s\" is not an id: letters, digits, '_' and '-', a letter or '_' first", ""},
        {JOB "    run: x\n    matrix: {axes: {v: [3.10]}}\n", "jobs.a.matrix.axes.v[0]", 6, 25,
         "the number 3.10 would become 3.1", "put it in quotes: \"3.10\""},
        {JOB "    run: x\n    matrix: {axes: {v: []}}\n", "jobs.a.matrix", 6, 13, "the matrix has no combination",
         NULL},
        {JOB "    run: x\n    matrix: {max_parallel: 3}\n", "jobs.a.matrix", 6, 13, "a matrix needs axes or from", ""},
        {JOB "    run: x\n    matrix: {from: needs}\n", "jobs.a.matrix.from", 0, 0, NULL, NULL},
        {JOB "    run: x\n    retry: {limit: 0}\n", "jobs.a.retry.limit", 6, 20, "must be a whole number from 1 to 100",
         ""},
        {JOB "    run: x\n    retry: {limit: 1, on: [infra, soon]}\n", "jobs.a.retry.on[1]", 6, 35,
         "on cannot be \"soon\"", NULL},
        {JOB "    run: x\n    retry: {limit: 1, on: [256]}\n", "jobs.a.retry.on[0]", 6, 28,
         "\"256\" is not an exit code from 1 to 255", ""},
        {JOB "    run: x\n    retry: {limit: 1, backoff: {factor: 0.5}}\n", "jobs.a.retry.backoff.factor", 6, 41,
         "must be a number from 1 to 10", ""},
        {JOB "    run: x\n    allow_failure: 3\n", "jobs.a.allow_failure", 6, 20, "must be true or false, not a number",
         NULL},
        {JOB "    run: x\n    allow_failure: {exit_codes: []}\n", "jobs.a.allow_failure.exit_codes", 6, 33,
         "must have 1 to 64 items, not 0", ""},
        {JOB "    run: x\n    pool: ${{ inputs.p }}\n", "jobs.a.pool", 6, 11, "an expression cannot stand here", NULL},
        {JOB "    run: x\n    outputs: {1a: b}\n", "jobs.a.outputs.1a", 6, 15,
         "\"1a\" is not the name of an output: letters, digits, '_' and '-', a letter or '_' first", ""},
        {TOP "inputs: {a: {type: enum}}\njobs: {a: {run: x}}\n", "inputs.a", 3, 13, "an enum needs values", ""},
        {TOP "inputs: {a: {default: 3}}\njobs: {a: {run: x}}\n", "inputs.a.default", 3, 23,
         "must be a text, not a number", "put it in quotes"},
        {TOP "inputs: {a: {type: enum, values: [b], default: c}}\njobs: {a: {run: x}}\n", "inputs.a.default", 3, 48,
         "\"c\" is not among the values", ""},
        {TOP "inputs: {a: {required: true, default: c}}\njobs: {a: {run: x}}\n", "inputs.a", 3, 13,
         "an input that is required needs no default", ""},
        {TOP "inputs: {a: {type: number, default: 9007199254740993}}\njobs: {a: {run: x}}\n", "inputs.a.default", 3, 37,
         "9007199254740993 is not kept exactly as a number", "put it in quotes"},
        {TOP "defaults: {needs: [a]}\njobs: {a: {run: x}}\n", "defaults.needs", 3, 12,
         "\"needs\" belongs to one job and cannot be a default", ""},
        {TOP "jobs: {a: {run: x}}\nfinally: {a: {run: y}}\n", "a", 4, 11, "the job \"a\" stands in jobs and in finally",
         ""},
        {TOP "jobs: {a: {run: x, needs: [z]}}\nfinally: {z: {run: y}}\n", "jobs.a.needs[0]", 3, 28,
         "the job \"z\" is of finally, which runs after all others", ""},
        {TOP "jobs: {a: {run: x, matrix: {axes: {q: [1, 2]}}}, a.2: {run: y}}\n", "a.2", 3, 50,
         "\"a.2\" is the name of a job of the matrix \"a\"", ""},
        {TOP "concurrency: {group: \"${{ needs.x }}\"}\njobs: {a: {run: x}}\n", "concurrency.group", 3, 27,
         "\"needs\" cannot be used here: it is known only when the job's needs have ended", ""},
        {JOB "    run: x\n    concurrency: {limit: 2}\n", "jobs.a.concurrency.group", 6, 18, "\"group\" is missing",
         ""},
        {JOB "    run: x\n    approval: {roles: [a]}\n", "jobs.a.approval.roles", 6, 16,
         "\"roles\" is not available yet", ""},
        {JOB "    run: x\n    artifacts: {paths: [a]}\n", "jobs.a.artifacts", 6, 5,
         "\"artifacts\" is not available yet", ""},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct world w;
        unsigned before = test_failures;
        bool ok = compile(&w, bad[i].source);
        CHECK(ok == (bad[i].text == NULL));
        if (bad[i].text) {
            CHECK_STR(w.err.text, bad[i].text);
            CHECK_STR(w.err.field, bad[i].field);
            CHECK_INT(w.err.line, bad[i].line);
            CHECK_INT(w.err.column, bad[i].column);
            if (bad[i].hint)
                CHECK_STR(w.err.hint, bad[i].hint);
        }
        if (test_failures != before)
            printf("  in row %zu:\n%s\n  hint: %s\n", i, bad[i].source, w.err.hint);
        hd_arena_release(&w.arena);
    }
}

// Each of them would be huge when it is carried out.
TEST(bombs) {
    struct world w;
    HD_AUTO_BUF struct hd_buf s = {0};
    hd_buf_adds(&s, JOB "    run: x\n    matrix:\n      axes:\n");
    for (int i = 0; i < 9; i++)
        hd_buf_addf(&s, "        a%d: [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]\n", i);
    CHECK(!compile(&w, s.data));
    CHECK_STR(w.err.text, "the matrix has more than 10000 combinations");
    CHECK_INT(w.err.line, 7);
    hd_arena_release(&w.arena);

    hd_buf_clear(&s); // 101 matrices of 100
    hd_buf_adds(&s, JOBS);
    for (int i = 0; i < 101; i++)
        hd_buf_addf(&s, "  j%d: {run: x, matrix: {axes: {a: &l [0,1,2,3,4,5,6,7,8,9], b: *l}}}\n", i);
    CHECK(!compile(&w, s.data));
    CHECK_STR(w.err.text, "with this matrix a run has more than 10000 jobs");
    hd_arena_release(&w.arena);

    hd_buf_clear(&s); // many variables that each look at all before
    hd_buf_adds(&s, JOB "    steps:\n      - &s\n        run: x\n        env:\n          V0: x\n");
    for (int i = 1; i < 500; i++)
        hd_buf_addf(&s, "          V%d: ${{ env.V%d }}\n", i, i - 1);
    for (int i = 0; i < 40; i++)
        hd_buf_adds(&s, "      - *s\n");
    CHECK(compile(&w, s.data));
    CHECK_STR(w.err.text, "");
    hd_arena_release(&w.arena);
}

TEST_MAIN
