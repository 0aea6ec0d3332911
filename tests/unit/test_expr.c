#include "tests/unit/test.h"

#include "base/expr.h"

static const char *const NAMES =
    "{\"inputs\":{\"target\":\"release\",\"n\":3,\"deep\":{\"a\":[1,2,{\"b\":\"x\"}]}},"
    "\"env\":{\"HOME\":\"/root\"},\"needs\":{\"a-b\":{\"result\":\"success\"}},\"list\":[\"u\",\"v\"]}";

struct world {
    struct hd_arena arena;
    struct hd_err err;
    struct hd_scope scope;
    struct hd_type *types;
};

static void begin(struct world *w) {
    *w = (struct world){0};
    hd_arena_init(&w->arena);
    CHECK(hd_value_read(&w->arena, NAMES, strlen(NAMES), &w->err, &w->scope.names) == HD_OK);
    w->scope.success = true;
    struct hd_type *inputs = hd_type_map(&w->arena), *gone = hd_type_map(&w->arena);
    gone->absent = "steps have not run yet";
    hd_type_set(&w->arena, inputs, "target", &hd_type_string);
    hd_type_set(&w->arena, inputs, "n", &hd_type_number);
    hd_type_set(&w->arena, inputs, "deep", &hd_type_any);
    w->types = hd_type_map(&w->arena);
    hd_type_set(&w->arena, w->types, "inputs", inputs);
    hd_type_set(&w->arena, w->types, "list", &hd_type_texts);
    hd_type_set(&w->arena, w->types, "steps", gone);
}

static const char *run(struct world *w, const char *text) {
    struct hd_expr expr;
    const struct hd_value *value;
    HD_AUTO_BUF struct hd_buf out = {0};
    hd_err_clear(&w->err);
    if (hd_expr_parse(&w->arena, text, strlen(text), NULL, &w->err, &expr) != HD_OK ||
        hd_expr_eval(&w->arena, &expr, &w->scope, &w->err, &value) != HD_OK)
        return hd_arena_printf(&w->arena, "! %s", w->err.text);
    hd_value_write(&out, value);
    return hd_arena_strdup(&w->arena, out.data);
}

TEST(values) {
    static const struct {
        const char *text, *gives;
    } rows[] = {
        {"inputs.target == 'release'", "true"},
        {"inputs.target", "\"release\""},
        {"inputs['target']", "\"release\""},
        {"inputs.deep.a[2].b", "\"x\""},
        {"inputs.deep.a[7]", "null"},
        {"inputs.deep.none.more", "null"},
        {"needs.a-b.result", "\"success\""},
        {"1 < 2 && 'a' < 'b'", "true"},
        {"2 <= 2 && 3 >= 4", "false"},
        {"!(1 == 2) || false", "true"},
        {"true || nothing.at.all", "true"},
        {"false && from_json('{')", "false"},
        {"'it''s'", "\"it's\""},
        {"\"a \"\"b\"\"\"", "\"a \\\"b\\\"\""},
        {"contains('hello', 'ell')", "true"},
        {"contains(list, 'v')", "true"},
        {"contains(list, 'w')", "false"},
        {"starts_with('refs/heads/x', 'refs/heads/')", "true"},
        {"starts_with('r', 'refs')", "false"},
        {"ends_with('a.c', '.c')", "true"},
        {"format('{0}-{1}-{{{0}}}', 'a', 1)", "\"a-1-{a}\""},
        {"join(list)", "\"u,v\""},
        {"join(list, ' + ')", "\"u + v\""},
        {"to_json(inputs.deep)", "\"{\\\"a\\\":[1,2,{\\\"b\\\":\\\"x\\\"}]}\""},
        {"from_json('[1, 2.5, null]')[1]", "2.5"},
        {"success() && !failure() && always() && !cancelled()", "true"},
        {"-3", "-3"},
        {"1.5", "1.5"},
        {"null == inputs.deep.none", "true"},
        {"'' == inputs.deep.none", "false"},
        {"starts_with(inputs.deep.none, 'x')", "false"},
    };
    struct world w;
    begin(&w);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        CHECK_STR(run(&w, rows[i].text), rows[i].gives);
    hd_arena_release(&w.arena);
}

TEST(wrong_at_run_time) {
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"", "! the expression ends where a value should stand"},
        {"1 +", "! \"+\" stands where an operator or the end should stand"},
        {"'open", "! the text that begins here has no closing '"},
        {"(1", "! the expression ends where \")\" should stand"},
        {"contain('a','b')", "! there is no function \"contain\""},
        {"contains('a')", "! contains() takes 2 arguments, not 1"},
        {"1 == 'a'", "! a number and a text cannot be compared"},
        {"!1", "! this is a number, not true or false"},
        {"inputs.n.x", "! a number has no part that is named by a text"},
        {"format('{5}', 1)", "! format(): the text has a brace that names no argument"},
        {"from_json('{\"a\":1,\"a\":2}')", "! from_json(): \"a\" stands twice in a map of the JSON text"},
        {"hash_files('x')", "! hash_files() can only be used in a step"},
        {"1.2.3", "! \"1.2.3\" is not a number"},
    };
    struct world w;
    begin(&w);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        CHECK_STR(run(&w, rows[i].text), rows[i].error);
    hd_arena_release(&w.arena);
}

TEST(bombs_end_with_an_error) {
    HD_AUTO_BUF struct hd_buf text = {0};
    struct world w;
    begin(&w);
    for (int i = 0; i < 30; i++)
        hd_buf_adds(&text, "format('{0}{0}{0}{0}', ");
    hd_buf_adds(&text, "'0123456789'");
    for (int i = 0; i < 30; i++)
        hd_buf_adds(&text, ")");
    CHECK_STR(run(&w, text.data), "! the expression makes more than 1 MiB");
    hd_buf_clear(&text);
    for (int i = 0; i < 5000; i++)
        hd_buf_adds(&text, "(");
    CHECK_STR(run(&w, text.data), "! the expression nests deeper than 32");
    hd_buf_clear(&text);
    for (int i = 0; i < 5000; i++)
        hd_buf_adds(&text, "!");
    CHECK_STR(run(&w, text.data), "! the expression nests deeper than 32");
    hd_buf_clear(&text);
    hd_buf_adds(&text, "a");
    for (int i = 0; i < 5000; i++)
        hd_buf_adds(&text, ".a");
    CHECK_STR(run(&w, text.data), "! a name has more than 33 parts");
    hd_buf_clear(&text);
    hd_buf_adds(&text, "1");
    for (int i = 0; i < 3000; i++)
        hd_buf_adds(&text, "<1");
    CHECK_STR(run(&w, text.data), "! the expression chains more than 250 operators");
    hd_buf_clear(&text);
    for (int i = 0; i < 20000; i++)
        hd_buf_adds(&text, " ");
    CHECK_STR(run(&w, text.data), "! the expression ends where a value should stand");
    hd_arena_release(&w.arena);
}

static const char *check(struct world *w, const char *text) {
    struct hd_expr expr;
    const struct hd_type *type;
    hd_err_clear(&w->err);
    if (hd_expr_parse(&w->arena, text, strlen(text), NULL, &w->err, &expr) != HD_OK ||
        hd_expr_check(&expr, w->types, HD_USES_FILES, &w->err, &type) != HD_OK)
        return hd_arena_printf(&w->arena, "%u: %s", w->err.column, w->err.text);
    return hd_kind_name(type->kind);
}

TEST(types) {
    static const struct {
        const char *text, *gives;
    } rows[] = {
        {"inputs.target", "a text"},
        {"inputs.n < 3", "true or false"},
        {"inputs.deep.anything[3]", "a value"},
        {"list[0]", "a text"},
        {"inputs.target == 'x' && success()", "true or false"},
        {"input.target", "1: there is no name \"input\""},
        {"inputs.tarket", "8: there is no \"tarket\" here"},
        {"inputs.n == '3'", "10: a number and a text cannot be compared"},
        {"inputs.target && true", "1: && takes true or false, not a text"},
        {"inputs.target < true", "15: a text and true or false cannot be compared"},
        {"true < false", "6: true or false has no order"},
        {"list['a']", "6: a part of a list is named by a number, not by a text"},
        {"inputs.target.x", "14: a text has no parts"},
        {"join('a')", "6: argument 1 of join() must be a list, not a text"},
        {"steps.a", "1: \"steps\" cannot be used here: steps have not run yet"},
        {"hash_files('a')", "1: hash_files() cannot be used here"},
        {"null == inputs.target", "true or false"},
    };
    struct world w;
    begin(&w);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        CHECK_STR(check(&w, rows[i].text), rows[i].gives);
    hd_arena_release(&w.arena);
}

TEST(templates) {
    struct world w;
    struct hd_template t;
    const char *text;
    const struct hd_value *value;
    begin(&w);
    CHECK(hd_template_run(&w.arena, "MODE=${{ inputs.target }}, ${{inputs.n}}${{ '}}' }}${{null}}.", &w.scope, &w.err,
                          &text) == HD_OK);
    CHECK_STR(text, "MODE=release, 3}}.");
    CHECK(hd_template_run(&w.arena, "plain $HOME", &w.scope, &w.err, &text) == HD_OK);
    CHECK_STR(text, "plain $HOME");
    CHECK(hd_template_parse(&w.arena, "${{ list }}", 11, &w.err, &t) == HD_OK);
    CHECK(hd_template_value(&w.arena, &t, &w.scope, &w.err, &value) == HD_OK && value->kind == HD_LIST);
    CHECK(hd_template_parse(&w.arena, "ab ${{ list", 11, &w.err, &t) == HD_INVALID);
    CHECK_STR(w.err.text, "the expression has no closing }}");
    CHECK(hd_template_parse(&w.arena, "ab ${{ ) }}", 11, &w.err, &t) == HD_INVALID);
    CHECK(w.err.column == 8);
    hd_arena_release(&w.arena);
}

TEST(uses_are_known) {
    struct world w;
    struct hd_expr expr;
    const char *text = "needs.a.result == 'success' && inputs.x && failure()";
    begin(&w);
    CHECK(hd_expr_parse(&w.arena, text, strlen(text), NULL, &w.err, &expr) == HD_OK);
    CHECK(expr.uses == (HD_USES_NEEDS | HD_USES_INPUTS | HD_USES_STATUS));
    hd_arena_release(&w.arena);
}

TEST_MAIN
