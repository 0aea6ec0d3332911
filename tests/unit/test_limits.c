// Each limit of the language: what is at the limit compiles, and one more is refused with its text and place. And each type error
// of an expression, where it stands in a definition.
#include "tests/unit/test.h"

#include "base/buf.h"
#include "services/pipelines/compile.h"
#include "services/pipelines/keys.h"

#define TOP "hodei: v1\nname: p\n"
#define JOB TOP "jobs:\n  a:\n    run: x\n"

static struct hd_err err;

static enum hd_status compile(const char *source, size_t len) {
    struct hd_arena arena;
    Hodei__V1__CompiledPipeline *p = NULL;
    hd_err_clear(&err);
    hd_arena_init(&arena);
    enum hd_status status = pip_compile(&arena, source, len, &err, &p);
    hd_arena_release(&arena);
    return status;
}

// "sep" between n times `item`, which may hold one %zu.
static void many(struct hd_buf *s, size_t n, const char *item, const char *sep) {
    for (size_t i = 0; i < n; i++) {
        hd_buf_adds(s, i ? sep : "");
        hd_buf_addf(s, item, i);
    }
}

static void size(struct hd_buf *s, size_t n) {
    hd_buf_adds(s, JOB "#");
    while (s->len < n)
        hd_buf_addc(s, 'x');
}
static void nesting(struct hd_buf *s, size_t n) { // the list stands on the fourth level
    hd_buf_adds(s, TOP "inputs:\n  a:\n    type: json\n    default: ");
    for (size_t i = 3; i < n; i++)
        hd_buf_addc(s, '[');
    for (size_t i = 3; i < n; i++)
        hd_buf_addc(s, ']');
    hd_buf_adds(s, "\njobs: { a: { run: x } }\n");
}
static void jobs(struct hd_buf *s, size_t n) {
    hd_buf_adds(s, TOP "jobs:\n");
    many(s, n, "  j%zu: { executor: noop }\n", "");
}
static void jobs_and_finally(struct hd_buf *s, size_t n) {
    jobs(s, n - 3);
    hd_buf_adds(s, "finally: { x: { run: x }, y: { run: y }, z: { run: z } }\n");
}
static void expanded(struct hd_buf *s, size_t n) {
    hd_buf_adds(s, TOP "jobs:\n  m:\n    executor: noop\n    matrix: { axes: { a: [");
    many(s, 100, "%zu", ",");
    hd_buf_adds(s, "], b: [");
    many(s, 99, "%zu", ",");
    hd_buf_adds(s, "] } }\n");
    many(s, n - 9900, "  j%zu: { executor: noop }\n", "");
}
static void combinations(struct hd_buf *s, size_t n) {
    hd_buf_adds(s, TOP "jobs:\n  m:\n    executor: noop\n    matrix: { axes: { a: [");
    many(s, n, "%zu", ",");
    hd_buf_adds(s, "] } }\n");
}
static void axes(struct hd_buf *s, size_t n) {
    hd_buf_adds(s, JOB "    matrix: { axes: { ");
    many(s, n, "a%zu: [1]", ", ");
    hd_buf_adds(s, " } }\n");
}
static void included(struct hd_buf *s, size_t n) {
    hd_buf_adds(s, JOB "    matrix: { axes: { a: [1] }, include: [{ ");
    many(s, n, "v%zu: 1", ", ");
    hd_buf_adds(s, " }] }\n");
}
static void pipeline_name(struct hd_buf *s, size_t n) {
    hd_buf_addf(s, "hodei: v1\nname: p%0*d\njobs: { a: { run: x } }\n", (int)n - 1, 0);
}
static void job_name(struct hd_buf *s, size_t n) {
    hd_buf_addf(s, TOP "jobs:\n  j%0*d: { run: x }\n", (int)n - 1, 0);
}
static void matrix_name(struct hd_buf *s, size_t n) { // "<name>.10000" is a name too
    hd_buf_addf(s, TOP "jobs:\n  j%0*d: { run: x, matrix: { axes: { a: [1] } } }\n", (int)n - 1, 0);
}
static void group_name(struct hd_buf *s, size_t n) {
    hd_buf_addf(s, JOB "    concurrency: { group: g%0*d }\n", (int)n - 1, 0);
}
static void step_id(struct hd_buf *s, size_t n) {
    hd_buf_addf(s, TOP "jobs:\n  a:\n    steps: [{ id: s%0*d, run: x }]\n", (int)n - 1, 0);
}
static void variable_name(struct hd_buf *s, size_t n) {
    hd_buf_addf(s, TOP "env: { V%0*d: x }\njobs: { a: { run: x } }\n", (int)n - 1, 0);
}
static void output_name(struct hd_buf *s, size_t n) {
    hd_buf_addf(s, JOB "    outputs: { o%0*d: x }\n", (int)n - 1, 0);
}
static void input_name(struct hd_buf *s, size_t n) {
    hd_buf_addf(s, TOP "inputs: { i%0*d: {} }\njobs: { a: { run: x } }\n", (int)n - 1, 0);
}
static void label_value(struct hd_buf *s, size_t n) {
    hd_buf_addf(s, JOB "    labels: { os: v%0*d }\n", (int)n - 1, 0);
}
static void pool_name(struct hd_buf *s, size_t n) {
    hd_buf_addf(s, JOB "    pool: p%0*d\n", (int)n - 1, 0);
}
static void value(struct hd_buf *s, size_t n) {
    hd_buf_addf(s, TOP "env: { A: \"v%0*d\" }\njobs: { a: { run: x } }\n", (int)n - 1, 0);
}
static void variables(struct hd_buf *s, size_t n) {
    hd_buf_adds(s, TOP "env: { ");
    many(s, n, "V%zu: x", ", ");
    hd_buf_adds(s, " }\njobs: { a: { run: x } }\n");
}
static void steps(struct hd_buf *s, size_t n) {
    hd_buf_adds(s, TOP "jobs:\n  a:\n    steps: [");
    many(s, n, "{run: x}", ",");
    hd_buf_adds(s, "]\n");
}
static void outputs(struct hd_buf *s, size_t n) {
    hd_buf_adds(s, JOB "    outputs: { ");
    many(s, n, "o%zu: x", ", ");
    hd_buf_adds(s, " }\n");
}
static void inputs(struct hd_buf *s, size_t n) {
    hd_buf_adds(s, TOP "inputs: { ");
    many(s, n, "i%zu: {}", ", ");
    hd_buf_adds(s, " }\njobs: { a: { run: x } }\n");
}
static void approvers(struct hd_buf *s, size_t n) {
    hd_buf_adds(s, JOB "    approval: { users: [");
    many(s, n, "u%zu", ",");
    hd_buf_adds(s, "] }\n");
}
static void approvals(struct hd_buf *s, size_t n) {
    hd_buf_addf(s, JOB "    approval: { count: %zu }\n", n);
}
static void retries(struct hd_buf *s, size_t n) {
    hd_buf_addf(s, JOB "    retry: { limit: %zu }\n", n);
}
static void retry_codes(struct hd_buf *s, size_t n) {
    hd_buf_adds(s, JOB "    retry: { limit: 1, on: [");
    many(s, n, "1", ",");
    hd_buf_adds(s, "] }\n");
}
static void exit_code(struct hd_buf *s, size_t n) {
    hd_buf_addf(s, JOB "    allow_failure: { exit_codes: [%zu] }\n", n);
}
static void slots(struct hd_buf *s, size_t n) {
    hd_buf_addf(s, JOB "    concurrency: { group: g, limit: %zu }\n", n);
}
static void priority(struct hd_buf *s, size_t n) {
    hd_buf_addf(s, JOB "    priority: %zu\n", n);
}
static void hours(struct hd_buf *s, size_t n) {
    hd_buf_addf(s, JOB "    timeout: %zuh\n", n);
}
static void crons(struct hd_buf *s, size_t n) {
    hd_buf_adds(s, JOB "on: { cron: [");
    many(s, n, "{ expr: \"%zu 1 * * *\" }", ",");
    hd_buf_adds(s, "] }\n");
}
static void anchors(struct hd_buf *s, size_t n) {
    hd_buf_adds(s, TOP "env:\n");
    for (size_t i = 0; i < n; i++)
        hd_buf_addf(s, "%s  V%zu: &a%zu x\n", i % 500 == 0 && i ? "jobs:\n" : "", i, i);
}
static void aliases(struct hd_buf *s, size_t n) { // ten lists of ten times n
    hd_buf_adds(s, TOP "inputs: { a: { type: json, default: { a: &a [");
    many(s, n, "1", ",");
    hd_buf_adds(s, "], b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a], c: [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b] } } }\njobs: { a: { "
                   "run: x } }\n");
}
static void expression(struct hd_buf *s, size_t n) {
    hd_buf_adds(s, JOB "    if: ");
    hd_buf_adds(s, "\"true");
    for (size_t i = 4; i < n; i++)
        hd_buf_addc(s, ' ');
    hd_buf_adds(s, "\"\n");
}
static void expression_depth(struct hd_buf *s, size_t n) {
    hd_buf_adds(s, JOB "    if: ");
    for (size_t i = 0; i < n; i++)
        hd_buf_addc(s, '(');
    hd_buf_adds(s, "true");
    for (size_t i = 0; i < n; i++)
        hd_buf_addc(s, ')');
    hd_buf_addc(s, '\n');
}
static void expression_chain(struct hd_buf *s, size_t n) {
    hd_buf_adds(s, JOB "    if: true");
    for (size_t i = 0; i < n; i++)
        hd_buf_adds(s, "||true");
    hd_buf_addc(s, '\n');
}
static void expression_parts(struct hd_buf *s, size_t n) {
    hd_buf_adds(s, JOB "    if: contains(from_json('[]'), 1");
    hd_buf_adds(s, ") || format('x'");
    for (size_t i = 8; i < n; i++)
        hd_buf_adds(s, ",1");
    hd_buf_adds(s, ") == 'x'\n");
}
static void name_parts(struct hd_buf *s, size_t n) {
    hd_buf_adds(s, TOP "inputs: { j: { type: json } }\njobs:\n  a: { run: \"x ${{ inputs.j");
    for (size_t i = 2; i < n; i++)
        hd_buf_adds(s, ".x");
    hd_buf_adds(s, " }}\" }\n");
}

#define NOT_A_NAME(what) "\"" what "\" is not a name: 1 to 128 letters, digits, '.', '_' or '-'"
static const struct limit {
    void (*make)(struct hd_buf *s, size_t n);
    size_t most;
    const char *text; // NULL: it begins as below, with a name in it
    const char *field;
    unsigned line, column;
    const char *ends; // of a text that names something long
} limits[] = {
    {size, PIP_SOURCE_MAX, "the definition has 1048577 bytes, more than 1048576", "", 1, 1},
    {nesting, 32, "nested deeper than 32 levels", "", 6, 43},
    {jobs, 10000, "10001 jobs, more than 10000", "jobs", 4, 3},
    {jobs_and_finally, 10000, "10001 jobs, more than 10000", "jobs", 4, 3},
    {expanded, 10000, "with this matrix a run has more than 10000 jobs", "jobs.m.matrix", 6, 13},
    {combinations, 10000, "the matrix has more than 10000 combinations", "jobs.m.matrix", 6, 13},
    {axes, 32, "the matrix has 33 axes, more than 32", "jobs.a.matrix", 6, 13},
    {included, 1000, "include of the matrix names more than 1000 values", "jobs.a.matrix", 6, 13},
    {pipeline_name, 128, NULL, "name", 2, 7, "\" is not a name: 1 to 128 letters, digits, '.', '_' or '-'"},
    {job_name, 128, NULL, NULL, 4, 3, "\" is not a name: 1 to 128 letters, digits, '.', '_' or '-'"},
    {matrix_name, 122, "the name of a job with a matrix has at most 122 bytes", NULL, 4, 3},
    {group_name, 128, "the name of a group has 1 to 128 bytes", "jobs.a.concurrency.group", 6, 27},
    {step_id, 128, NULL, "jobs.a.steps[0].id", 5, 19,
     "\" is not an id: letters, digits, '_' and '-', a letter or '_' first"},
    {variable_name, 128, NULL, NULL, 3, 8, "\" is not the name of a variable: letters, digits and '_', no digit first"},
    {output_name, 128, NULL, NULL, 6, 16,
     "\" is not the name of an output: letters, digits, '_' and '-', a letter or '_' first"},
    {input_name, 128, NULL, NULL, 3, 11,
     "\" is not the name of an input: letters, digits, '_' and '-', a letter or '_' first"},
    {label_value, 128, NULL, "jobs.a.labels.os", 6, 19,
     "\" cannot be the value of a label: 1 to 128 letters, digits, '.', '_' or '-'"},
    {pool_name, 64, NULL, "jobs.a.pool", 6, 11, "\" is not the name of a pool: 1 to 64 letters, digits, '_' or '-'"},
    {value, 128 << 10, "the value has 131073 bytes, more than 128 KiB", "env.A", 3, 11},
    {variables, 512, "513 variables, more than 512", "env", 3, 6},
    {steps, 1000, "there are more than 1000 steps", "jobs.a.steps", 5, 12},
    {outputs, 256, "257 outputs, more than 256", "jobs.a.outputs", 6, 14},
    {inputs, 128, "129 inputs, more than 128", "inputs", 3, 9},
    {approvers, 64, "must have 1 to 64 items, not 65", "jobs.a.approval.users", 6, 24},
    {approvals, 20, "must be a whole number from 1 to 20", "jobs.a.approval.count", 6, 24},
    {retries, 100, "must be a whole number from 1 to 100", "jobs.a.retry.limit", 6, 21},
    {retry_codes, 64, "must have 1 to 64 items, not 65", "jobs.a.retry.on", 6, 28},
    {exit_code, 255, "\"256\" is not an exit code from 1 to 255", "jobs.a.allow_failure.exit_codes", 6, 35},
    {slots, 1000, "must be a whole number from 1 to 1000", "jobs.a.concurrency.limit", 6, 37},
    {priority, 100, "must be a whole number from -100 to 100", "jobs.a.priority", 6, 15},
    {hours, 720, "must be from 1 ms to 720 hours", "jobs.a.timeout", 6, 14},
    {crons, 32, "33 entries, more than 32", "on.cron", 6, 13},
    {aliases, 908, "aliases expand to more than 100000 nodes", "", 3, 0},
    {expression, 16 << 10, "the expression is longer than 16 KiB", "jobs.a.if", 6, 0},
    {expression_depth, 31, "the expression nests deeper than 32", "jobs.a.if", 6, 41},
    {expression_chain, 250, "the expression chains more than 250 operators", "jobs.a.if", 6, 0},
    {name_parts, 33, "a name has more than 33 parts", "jobs.a.run", 5, 90},
};

TEST(at_the_limit_and_beyond) {
    for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
        const struct limit *row = &limits[i];
        HD_AUTO_BUF struct hd_buf s = {0};
        unsigned before = test_failures;
        row->make(&s, row->most);
        CHECK_INT(compile(s.data, s.len), HD_OK);
        CHECK_STR(err.text, "");
        hd_buf_clear(&s);
        row->make(&s, row->most + 1);
        CHECK_INT(compile(s.data, s.len), HD_INVALID);
        if (row->text)
            CHECK_STR(err.text, row->text);
        else
            CHECK(strstr(err.text, row->ends) && strcmp(strstr(err.text, row->ends), row->ends) == 0);
        if (row->field)
            CHECK_STR(err.field, row->field);
        CHECK_INT(err.line, row->line);
        if (row->column)
            CHECK_INT(err.column, row->column);
        if (test_failures != before)
            printf("  in row %zu: %u:%u: %s: %s\n%.200s\n", i, err.line, err.column, err.field, err.text, s.data);
    }
}

// What the compiled form may hold, and numbers of nodes, have no exact edge in the source.
TEST(other_bounds) {
    HD_AUTO_BUF struct hd_buf s = {0};
    anchors(&s, 1001);
    CHECK_INT(compile(s.data, s.len), HD_INVALID);
    CHECK_STR(err.text, "more than 1000 anchors");
    CHECK_INT(err.column > 0, 1);
    hd_buf_clear(&s);
    expression_parts(&s, 2100);
    CHECK_INT(compile(s.data, s.len), HD_INVALID);
    CHECK_STR(err.text, "the expression has more than 2000 parts");
    CHECK_INT(err.line, 6);
    hd_buf_clear(&s);
    hd_buf_adds(&s, TOP "env: { A: &v ");
    for (size_t i = 0; i < 100000; i++)
        hd_buf_addc(&s, 'v');
    hd_buf_adds(&s, " }\njobs:\n");
    for (size_t i = 0; i < 40; i++)
        hd_buf_addf(&s, "  j%zu: { run: x, env: { A: *v } }\n", i);
    CHECK_INT(compile(s.data, s.len), HD_INVALID);
    CHECK_STR(err.text, "the compiled pipeline becomes larger than 3 MiB here");
    CHECK(err.line >= 3 && err.column > 0); // of the text that the aliases name
}

// --- types ----------------------------------------------------------------------------------------------------------------

#define INPUTS                                                                                                         \
    TOP "inputs: { t: {}, n: { type: number }, b: { type: bool }, j: { type: json }, e: { type: enum, values: [x] } "  \
        "}\n"                                                                                                          \
        "jobs:\n  b: { run: x, outputs: { o: y } }\n  m: { run: x, matrix: { axes: { v: [1, 2] } }, outputs: { o: y "  \
        "} }\n"                                                                                                        \
        "  a:\n    needs: [b, m]\n    run: x\n"
#define IF INPUTS "    if: "

TEST(type_errors_have_their_place) {
    static const struct {
        const char *source;
        unsigned column; // on line 10
        const char *text;
    } rows[] = {
        {IF "inputs.t\n", 9, "the expression must give true or false, not a text"},
        {IF "inputs.n\n", 9, "the expression must give true or false, not a number"},
        {IF "null\n", 9, "must be a text, not nothing"},
        {IF "needs.b\n", 9, "the expression must give true or false, not a map"},
        {IF "needs.m.outputs.o\n", 9, "the expression must give true or false, not a list"},
        {IF "inputs.n == inputs.t\n", 18, "a number and a text cannot be compared"},
        {IF "inputs.b != inputs.e\n", 18, "true or false and a text cannot be compared"},
        {IF "inputs.n < inputs.t\n", 18, "a number and a text cannot be compared"},
        {IF "inputs.b < inputs.b\n", 18, "true or false has no order"},
        {IF "needs.b >= needs.b\n", 17, "a map has no order"},
        {IF "inputs.n < null\n", 18, "a number and null cannot be compared"},
        {IF "inputs.b && inputs.t\n", 21, "&& takes true or false, not a text"},
        {IF "inputs.n || true\n", 9, "|| takes true or false, not a number"},
        {IF "false || needs.b.result\n", 18, "|| takes true or false, not a text"},
        {IF "\"!inputs.t\"\n", 11, "! takes true or false, not a text"},
        {IF "inputs.t.x == 'y'\n", 17, "a text has no parts"},
        {IF "inputs.n[0] == 1\n", 17, "a number has no parts"},
        {IF "needs.m.outputs.o['x'] == 'y'\n", 27, "a part of a list is named by a number, not by a text"},
        {IF "inputs[3] == 'y'\n", 16, "a part of a map is named by a text, not by a number"},
        {IF "contains(inputs.n, 'x')\n", 18, "argument 1 of contains() must be a text or a list, not a number"},
        {IF "contains(inputs.t, 3)\n", 28, "argument 2 of contains() must be a text, not a number: the first is one"},
        {IF "starts_with(inputs.t, 3)\n", 31, "argument 2 of starts_with() must be a text, not a number"},
        {IF "ends_with(inputs.b, 'x')\n", 19, "argument 1 of ends_with() must be a text, not true or false"},
        {IF "format(inputs.n) == 'x'\n", 16, "argument 1 of format() must be a text, not a number"},
        {IF "join(inputs.t) == 'x'\n", 14, "argument 1 of join() must be a list, not a text"},
        {IF "from_json(inputs.n) == 1\n", 19, "argument 1 of from_json() must be a text, not a number"},
        {IF "from_json('1', '2') == 1\n", 9, "from_json() takes 1 argument, not 2"},
        {IF "sucess()\n", 9, "there is no function \"sucess\""},
        {IF "input.t == 'x'\n", 9, "there is no name \"input\""},
        {IF "inputs.x == 'x'\n", 16, "there is no \"x\" here"},
        {IF "needs.b.outcome == 'x'\n", 17, "there is no \"outcome\" here"},
        {IF "needs.b.outputs.p == 'x'\n", 25, "there is no \"p\" here"},
        {IF "matrix.v == 1\n", 9, "\"matrix\" cannot be used here: the matrix is made after this is decided"},
        {IF "hash_files('*') == 'x'\n", 9, "hash_files() cannot be used here"},
        {IF "inputs.n === 3\n", 20, "\"=\" stands where a value should stand"},
        {IF "(inputs.b\n", 18, "the expression ends where \")\" should stand"},
        {IF "inputs.t == 'x\n", 21, "the text that begins here has no closing '"},
        {IF "1.2.3 == 1\n", 9, "\"1.2.3\" is not a number"},
        {INPUTS "    env: { A: \"${{ needs.b.outputs.o > 1 }}\" }\n", 38, "a text and a number cannot be compared"},
        {INPUTS "    outputs: { x: \"${{ success() }}\" }\n", 24, "success() cannot be used here"},
        {INPUTS "    labels: { x: \"${{ needs.b.result }}\" }\n", 23,
         "\"needs\" cannot be used here: it is known only when the job's needs have ended"},
        {INPUTS "    concurrency: { group: \"${{ env.A }}\" }\n", 32,
         "\"env\" cannot be used here: it is known only on the worker, in a step"},
        {INPUTS "    matrix: { from: inputs.t }\n", 21, "the expression must give a list or a map, not a text"},
        {INPUTS "    matrix: { from: \"${{ inputs.n }}\" }\n", 25,
         "the expression must give a list or a map, not a number"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        unsigned before = test_failures;
        CHECK_INT(compile(rows[i].source, strlen(rows[i].source)), HD_INVALID);
        CHECK_STR(err.text, rows[i].text);
        CHECK_INT(err.line, 10);
        CHECK_INT(err.column, rows[i].column);
        if (test_failures != before)
            printf("  in row %zu: %s\n", i, strrchr(rows[i].source, ':'));
    }
}

TEST_MAIN
