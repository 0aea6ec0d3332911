// Text → tree, by recursive descent; the depth is counted, so hostile nesting ends with an error.
#include <stdlib.h>
#include <string.h>

#include "base/expr_impl.h"

#define NUMBER_MAX 32

struct parser {
    struct hd_arena *arena;
    struct hd_err *err;
    const char *text;
    size_t len, at;
    unsigned depth, nodes, uses;
    bool inner; // ends at }}
};

enum hd_status hd_expr_fail(struct hd_err *err, size_t at, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    hd_err_setv(err, HD_INVALID, fmt, ap);
    va_end(ap);
    hd_err_at(err, 1, (unsigned)at + 1);
    return HD_INVALID;
}

static void skip_space(struct parser *p) {
    while (p->at < p->len && strchr(" \t\r\n", p->text[p->at]) && p->text[p->at])
        p->at++;
}

static bool at_end(const struct parser *p) {
    return p->at >= p->len || (p->inner && p->len - p->at >= 2 && memcmp(p->text + p->at, "}}", 2) == 0);
}

static bool take(struct parser *p, const char *word) {
    size_t n = strlen(word);
    skip_space(p);
    if (p->len - p->at < n || memcmp(p->text + p->at, word, n) != 0)
        return false;
    p->at += n;
    return true;
}

static enum hd_status unexpected(struct parser *p, const char *wanted) {
    skip_space(p);
    if (at_end(p))
        return hd_expr_fail(p->err, p->at, "the expression ends where %s should stand", wanted);
    size_t n = 1;
    while (p->at + n < p->len && n < 4 && ((unsigned char)p->text[p->at + n] & 0xC0) == 0x80)
        n++;
    return hd_expr_fail(p->err, p->at, "\"%.*s\" stands where %s should stand", (int)n, p->text + p->at, wanted);
}

// NULL after an error.
static struct hd_node *new_node(struct parser *p, enum hd_op op, size_t at, size_t n_args) {
    if (++p->nodes > HD_EXPR_NODES_MAX) {
        hd_expr_fail(p->err, at, "the expression has more than %d parts", HD_EXPR_NODES_MAX);
        return NULL;
    }
    struct hd_node *node = HD_NEW(p->arena, struct hd_node);
    node->op = op;
    node->at = at;
    node->n = n_args;
    node->args = HD_NEW_ARRAY(p->arena, n_args, const struct hd_node *);
    return node;
}

static enum hd_status literal(struct parser *p, size_t at, const struct hd_value *value, const struct hd_node **ret) {
    struct hd_node *node;
    if (!(node = new_node(p, HD_OP_VALUE, at, 0)))
        return HD_INVALID;
    node->value = value;
    *ret = node;
    return HD_OK;
}

static enum hd_status text_literal(struct parser *p, const struct hd_node **ret) {
    size_t start = p->at++, n = 0;
    char quote = p->text[start], *out = hd_arena_alloc(p->arena, p->len - start + 1);
    while (p->at < p->len) {
        char c = p->text[p->at++];
        if (c == quote && (p->at >= p->len || p->text[p->at] != quote))
            return literal(p, start, hd_value_string(p->arena, out, n), ret);
        p->at += c == quote;
        out[n++] = c;
    }
    return hd_expr_fail(p->err, start, "the text that begins here has no closing %c", quote);
}

static enum hd_status number_literal(struct parser *p, const struct hd_node **ret) {
    char digits[NUMBER_MAX + 1];
    size_t start = p->at, n;
    p->at += p->text[p->at] == '-';
    while (p->at < p->len && strchr("0123456789.", p->text[p->at]) && p->text[p->at])
        p->at++;
    n = p->at - start;
    if (n > NUMBER_MAX)
        return hd_expr_fail(p->err, start, "this number is too long");
    memcpy(digits, p->text + start, n);
    digits[n] = '\0';
    char *end;
    double number = strtod(digits, &end);
    if (*end || digits[n - 1] == '.' || digits[0] == '.')
        return hd_expr_fail(p->err, start, "\"%s\" is not a number", digits);
    return literal(p, start, hd_value_number(p->arena, number), ret);
}

static bool name_first(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static const char *take_name(struct parser *p) {
    size_t start = p->at;
    if (p->at >= p->len || !name_first(p->text[p->at]))
        return NULL;
    while (p->at < p->len &&
           (name_first(p->text[p->at]) || p->text[p->at] == '-' || (p->text[p->at] >= '0' && p->text[p->at] <= '9')))
        p->at++;
    return hd_arena_strndup(p->arena, p->text + start, p->at - start);
}

static enum hd_status parse_or(struct parser *p, const struct hd_node **ret);

static const struct hd_function *find_function(const char *name) {
    for (size_t i = 0; i < hd_functions_len; i++)
        if (strcmp(hd_functions[i].name, name) == 0)
            return &hd_functions[i];
    return NULL;
}

static enum hd_status unknown_function(struct parser *p, size_t at, const char *name) {
    const char *near = NULL;
    unsigned best = 3;
    hd_expr_fail(p->err, at, "there is no function \"%.60s\"", name);
    for (size_t i = 0; i < hd_functions_len; i++) {
        unsigned far = hd_edit_distance(name, hd_functions[i].name, best);
        if (far < best) {
            best = far;
            near = hd_functions[i].name;
        }
    }
    if (near)
        hd_err_hint(p->err, "did you mean \"%s\"?", near);
    else
        hd_err_hint(p->err,
                    "there are: contains, starts_with, ends_with, format, join, to_json, from_json, hash_files, "
                    "success, failure, always, cancelled");
    return HD_INVALID;
}

static enum hd_status parse_call(struct parser *p, const char *name, size_t at, const struct hd_node **ret) {
    const struct hd_function *function = find_function(name);
    const struct hd_node **args = NULL;
    size_t n = 0, cap = 0;
    struct hd_node *node;
    if (!function)
        return unknown_function(p, at, name);
    while (!take(p, ")")) {
        if (n && !take(p, ","))
            return unexpected(p, "\",\" or \")\"");
        HD_GROW(p->arena, args, n, cap);
        HD_TRY(parse_or(p, &args[n]));
        n++;
    }
    if (n < function->min || n > function->max) {
        hd_expr_fail(p->err, at, "%s() takes %u argument%s, not %zu", name,
                     n < function->min ? function->min : function->max,
                     (n < function->min ? function->min : function->max) == 1 ? "" : "s", n);
        hd_err_hint(p->err, "%s", function->help);
        return HD_INVALID;
    }
    if (!(node = new_node(p, HD_OP_CALL, at, 0)))
        return HD_INVALID;
    node->function = function;
    node->args = args;
    node->n = n;
    p->uses |= function->uses;
    *ret = node;
    return HD_OK;
}

static enum hd_status parse_name(struct parser *p, const struct hd_node **ret) {
    static const struct {
        const char *name;
        unsigned uses;
    } roots[] = {{"inputs", HD_USES_INPUTS}, {"env", HD_USES_ENV},     {"matrix", HD_USES_MATRIX}, {"run", HD_USES_RUN},
                 {"git", HD_USES_GIT},       {"needs", HD_USES_NEEDS}, {"steps", HD_USES_STEPS}};
    size_t at = p->at;
    const char *name = take_name(p);
    struct hd_node *node;
    if (take(p, "("))
        return parse_call(p, name, at, ret);
    if (strcmp(name, "true") == 0 || strcmp(name, "false") == 0)
        return literal(p, at, hd_value_bool(p->arena, name[0] == 't'), ret);
    if (strcmp(name, "null") == 0)
        return literal(p, at, &hd_value_null, ret);
    if (!(node = new_node(p, HD_OP_NAME, at, 0)))
        return HD_INVALID;
    node->name = name;
    for (size_t i = 0; i < sizeof(roots) / sizeof(*roots); i++)
        p->uses |= strcmp(roots[i].name, name) == 0 ? roots[i].uses : 0;
    *ret = node;
    return HD_OK;
}

static enum hd_status parse_primary(struct parser *p, const struct hd_node **ret) {
    skip_space(p);
    char c = at_end(p) ? '\0' : p->text[p->at];
    if (take(p, "(")) {
        HD_TRY(parse_or(p, ret));
        return take(p, ")") ? HD_OK : unexpected(p, "\")\"");
    }
    if (c == '\'' || c == '"')
        return text_literal(p, ret);
    if ((c >= '0' && c <= '9') ||
        (c == '-' && p->at + 1 < p->len && p->text[p->at + 1] >= '0' && p->text[p->at + 1] <= '9'))
        return number_literal(p, ret);
    return name_first(c) ? parse_name(p, ret) : unexpected(p, "a value");
}

// .name and [index], as often as they come.
static enum hd_status parse_postfix(struct parser *p, const struct hd_node **ret) {
    *ret = NULL;
    HD_TRY(parse_primary(p, ret));
    for (unsigned steps = 0;; steps++) {
        size_t at = p->at;
        struct hd_node *node;
        const struct hd_node *key = NULL;
        if (take(p, ".")) {
            skip_space(p);
            size_t name_at = p->at;
            const char *name = take_name(p);
            if (!name)
                return unexpected(p, "a name");
            HD_TRY(literal(p, name_at, hd_value_text(p->arena, name), &key));
        } else if (take(p, "[")) {
            HD_TRY(parse_or(p, &key));
            if (!take(p, "]"))
                return unexpected(p, "\"]\"");
        } else {
            return HD_OK;
        }
        if (steps >= HD_EXPR_DEPTH_MAX) // the tree nests to the left
            return hd_expr_fail(p->err, at, "a name has more than %d parts", HD_EXPR_DEPTH_MAX + 1);
        if (!(node = new_node(p, HD_OP_INDEX, at, 2)))
            return HD_INVALID;
        node->args[0] = *ret;
        node->args[1] = key;
        *ret = node;
    }
}

static enum hd_status parse_unary(struct parser *p, const struct hd_node **ret) {
    skip_space(p);
    size_t at = p->at;
    struct hd_node *node;
    if (p->at < p->len && p->text[p->at] == '!' && !(p->at + 1 < p->len && p->text[p->at + 1] == '=')) {
        p->at++;
        if (++p->depth > HD_EXPR_DEPTH_MAX)
            return hd_expr_fail(p->err, at, "the expression nests deeper than %d", HD_EXPR_DEPTH_MAX);
        if (!(node = new_node(p, HD_OP_NOT, at, 1)))
            return HD_INVALID;
        HD_TRY(parse_unary(p, &node->args[0]));
        p->depth--;
        *ret = node;
        return HD_OK;
    }
    return parse_postfix(p, ret);
}

struct operator{
    const char *text;
    enum hd_op op;
};

// One level of operators; a chain nests to the left, so its length is bounded as depth is.
static enum hd_status parse_chain(struct parser *p, const struct operator* operators, size_t n,
                                  enum hd_status (*next)(struct parser *, const struct hd_node **),
                                  const struct hd_node **ret) {
    const struct hd_node *left = NULL, *right = NULL;
    HD_TRY(next(p, &left));
    for (unsigned steps = 0;; steps++) {
        size_t at = p->at, i = 0;
        struct hd_node *node;
        while (i < n && !take(p, operators[i].text))
            i++;
        if (i == n) {
            *ret = left;
            return HD_OK;
        }
        if (steps >= HD_EXPR_NODES_MAX / 8)
            return hd_expr_fail(p->err, at, "the expression chains more than %d operators", HD_EXPR_NODES_MAX / 8);
        if (!(node = new_node(p, operators[i].op, at, 2)))
            return HD_INVALID;
        HD_TRY(next(p, &right));
        node->args[0] = left;
        node->args[1] = right;
        left = node;
    }
}

static enum hd_status parse_compare(struct parser *p, const struct hd_node **ret) {
    static const struct operator rows[] = {{"<=", HD_OP_LE}, {">=", HD_OP_GE}, {"<", HD_OP_LT}, {">", HD_OP_GT}};
    return parse_chain(p, rows, 4, parse_unary, ret);
}

static enum hd_status parse_equal(struct parser *p, const struct hd_node **ret) {
    static const struct operator rows[] = {{"==", HD_OP_EQ}, {"!=", HD_OP_NE}};
    return parse_chain(p, rows, 2, parse_compare, ret);
}

static enum hd_status parse_and(struct parser *p, const struct hd_node **ret) {
    static const struct operator rows[] = {{"&&", HD_OP_AND}};
    return parse_chain(p, rows, 1, parse_equal, ret);
}

static enum hd_status parse_or(struct parser *p, const struct hd_node **ret) {
    static const struct operator rows[] = {{"||", HD_OP_OR}};
    if (++p->depth > HD_EXPR_DEPTH_MAX)
        return hd_expr_fail(p->err, p->at, "the expression nests deeper than %d", HD_EXPR_DEPTH_MAX);
    HD_TRY(parse_chain(p, rows, 1, parse_and, ret));
    p->depth--;
    return HD_OK;
}

enum hd_status hd_expr_parse(struct hd_arena *arena, const char *text, size_t len, size_t *ret_used, struct hd_err *err,
                             struct hd_expr *ret) {
    struct parser p = {.arena = arena, .err = err, .text = text, .len = len, .inner = ret_used != NULL};
    struct hd_expr expr = {.source = text};
    if (p.len > HD_EXPR_MAX)
        p.len = HD_EXPR_MAX; // what is longer has no end within it
    HD_TRY(parse_or(&p, &expr.root));
    skip_space(&p);
    if (!at_end(&p))
        return unexpected(&p, "an operator or the end");
    if (p.at >= p.len && p.len < len)
        return hd_expr_fail(err, p.at, "the expression is longer than %u KiB", HD_EXPR_MAX >> 10);
    if (p.inner && p.at >= p.len)
        return hd_expr_fail(err, p.at, "the expression has no closing }}");
    expr.len = p.at;
    expr.uses = p.uses;
    if (ret_used)
        *ret_used = p.at + 2;
    *ret = expr;
    return HD_OK;
}
