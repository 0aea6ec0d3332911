// Texts that may hold expressions, and values of JSON written in YAML.
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/names.h"
#include "services/pipelines/compile_impl.h"

#define WHOLE_MAX INT64_C(9007199254740992) // 2^53

// Where the n-th ${{ from `at` on stands in the source.
static struct pip_at find_expression(const struct pip_walk *w, struct pip_at at, size_t nth) {
    struct pip_at here = {1, 1};

    for (size_t i = 0; i + 3 <= w->source_len; i++) {
        bool inside = here.line > at.line || (here.line == at.line && here.column >= at.column);
        if (inside && memcmp(w->source + i, "${{", 3) == 0 && nth-- == 0)
            return here;
        here.column += ((unsigned char)w->source[i + 1] & 0xC0) != 0x80;
        if (w->source[i] == '\n')
            here = (struct pip_at){here.line + 1, 1};
    }
    return at; // written with escapes
}

// What the source has at a place: of a text its first character, a quote, or the sign of a block.
static char char_at(const struct pip_walk *w, struct pip_at at) {
    const char *p = w->source, *end = w->source + w->source_len;
    for (unsigned line = 1; line < at.line && p; line++) {
        p = memchr(p, '\n', (size_t)(end - p));
        p += p != NULL;
    }
    for (unsigned column = 1; p && p < end && column < at.column; p++)
        column += p + 1 == end || ((unsigned char)p[1] & 0xC0) != 0x80;
    return p && p < end ? *p : '\0';
}

// Where the first character of the text stands; of a block, its sign.
static struct pip_at begin_of(const struct pip_walk *w, struct pip_at at, size_t *offset) {
    char c = char_at(w, at);
    if (c == '|' || c == '>')
        *offset = 0;
    at.column += c == '"' || c == '\'';
    return at;
}

void pip_locate(struct pip_walk *w, struct pip_at at, const char *text) {
    size_t offset = w->err->column ? w->err->column - 1 : 0, nth = 0, last = 0;
    bool any = false;
    for (const char *p = strstr(text, "${{"); p && (size_t)(p - text) <= offset; p = strstr(p + 3, "${{")) {
        nth += any;
        any = true;
        last = (size_t)(p - text);
    }
    struct pip_at place = any ? find_expression(w, at, nth) : begin_of(w, at, &offset);
    hd_err_at(w->err, place.line, place.column + (unsigned)(offset - last));
}

static void add_path(struct pip_walk *w) {
    HD_AUTO_BUF struct hd_buf path = {0};
    for (size_t i = 0; i < w->n_path; i++) {
        if (w->path[i].key)
            hd_buf_addf(&path, "%s%.*s", i ? "." : "", PIP_NAME_MAX, w->path[i].key);
        else
            hd_buf_addf(&path, "[%zu]", w->path[i].index);
    }
    hd_err_field(w->err, "%s", path.data ? path.data : "");
}

static struct pip_pending *remember(struct pip_walk *w, struct pip_at at, const char *text, enum pip_stage stage) {
    struct compile *c = compile_of(w);
    HD_GROW(w->arena, c->pending, c->n_pending, c->cap_pending);
    struct pip_pending *p = &c->pending[c->n_pending++];
    *p = (struct pip_pending){
        .at = at, .n_path = w->n_path, .text = text, .stage = stage, .wanted = HD_ANY, .job = c->job, .step = c->step};
    memcpy(p->path, w->path, w->n_path * sizeof(*w->path));
    return p;
}

enum hd_status pip_template(struct pip_walk *w, const struct pip_node *value, bool any_scalar, enum pip_stage stage,
                            char **ret, struct hd_template *ret_template) {
    struct hd_template template;
    if (!any_scalar || value->kind >= PIP_LIST || value->kind == PIP_NULL)
        HD_TRY(pip_expect(w, value, PIP_TEXT));
    HD_TRY(pip_spend(w, value->at, value->n + 4));
    *ret = (char *)(uintptr_t)value->text; // protobuf-c's fields are not const; nobody writes through them
    *ret_template = (struct hd_template){0};
    if (!strstr(value->text, "${{"))
        return HD_OK;
    if (hd_template_parse(w->arena, value->text, value->n, w->err, &template) != HD_OK) {
        pip_locate(w, value->at, value->text);
        add_path(w);
        return HD_INVALID;
    }
    HD_TRY(pip_spend(w, value->at, 64));
    *ret_template = template;
    remember(w, value->at, value->text, stage);
    return HD_OK;
}

enum hd_status pip_bare(struct pip_walk *w, const struct pip_node *value, enum pip_stage stage, enum hd_kind wanted,
                        const char **ret, unsigned *ret_uses) {
    struct hd_expr expr;
    const char *text = value->text, *open;
    size_t len = value->n, used;
    if (value->kind != PIP_BOOL || wanted != HD_BOOL)
        HD_TRY(pip_expect(w, value, PIP_TEXT));
    HD_TRY(pip_spend(w, value->at, value->n + 4));
    open = strstr(text, "${{");
    size_t skip = open ? (size_t)(open - text) + 3 : 0;
    enum hd_status status = hd_expr_parse(w->arena, text + skip, len - skip, open ? &used : NULL, w->err, &expr);
    if (status != HD_OK) {
        hd_err_at(w->err, 1, w->err->column + (unsigned)skip);
        pip_locate(w, value->at, text);
        add_path(w);
        return HD_INVALID;
    }
    if (open && (strspn(text, " \t\n") != skip - 3 || text[skip + used + strspn(text + skip + used, " \t\n")])) {
        pip_fail(w, value->at, "must be one expression, with nothing around its ${{ }}");
        hd_err_hint(w->err, "write all of it inside, for example ${{ a == 'x' && b }}");
        return HD_INVALID;
    }
    struct pip_pending *p = remember(w, value->at, text, stage);
    p->bare = true;
    p->wanted = wanted;
    size_t lead = strspn(expr.source, " \t\n"), end = expr.len;
    while (end > lead && strchr(" \t\n", expr.source[end - 1]))
        end--;
    *ret = hd_arena_strndup(w->arena, expr.source + lead, end - lead);
    *ret_uses = expr.uses;
    return HD_OK;
}

enum hd_status pip_take_condition(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                                  void *field) {
    struct compile *c = compile_of(w);
    unsigned uses;
    (void)key;
    HD_TRY(pip_bare(w, value, c->step == SIZE_MAX ? PIP_AT_READY : PIP_AT_STEP_IF, HD_BOOL, field, &uses));
    if (c->step == SIZE_MAX) // of the job: the field is struct job's
        ((struct job *)(void *)((char *)field - offsetof(struct job, condition)))->condition_uses = uses;
    return HD_OK;
}

enum hd_status pip_take_bool(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value, void *field) {
    (void)key;
    HD_TRY(pip_expect(w, value, PIP_BOOL));
    *(int32_t *)field = value->text[0] == 't' || value->text[0] == 'T';
    return HD_OK;
}

// --- JSON written in YAML -----------------------------------------------------------------------------------------------

static enum hd_status number(struct pip_walk *w, const struct pip_node *node, const struct hd_value **ret) {
    HD_AUTO_BUF struct hd_buf printed = {0};
    int64_t whole;
    if (node->kind == PIP_INT &&
        (hd_parse_i64(node->text, &whole) != HD_OK || whole > WHOLE_MAX || whole < -WHOLE_MAX)) {
        pip_fail(w, node->at, "%.40s is not kept exactly as a number", node->text);
        hd_err_hint(w->err, "put it in quotes");
        return HD_INVALID;
    }
    *ret = hd_value_number(w->arena, strtod(node->text, NULL));
    hd_value_write(&printed, *ret);
    if (node->kind == PIP_FLOAT && strcmp(printed.data, node->text) != 0) { // 3.10 is 3.1
        pip_fail(w, node->at, "the number %.40s would become %.40s", node->text, printed.data);
        hd_err_hint(w->err, "put it in quotes: \"%.40s\"", node->text);
        return HD_INVALID;
    }
    return HD_OK;
}

static enum hd_status composite(struct pip_walk *w, const struct pip_node *node, const struct hd_value **ret) {
    bool map = node->kind == PIP_MAP;
    struct hd_value *all = hd_value_new(w->arena, map ? HD_MAP : HD_LIST, node->n);
    for (size_t i = 0; i < node->n; i++) {
        const struct hd_value *value;
        if (map)
            pip_enter_key(w, node->entries[i].key);
        else
            pip_enter_index(w, i);
        HD_TRY(pip_value(w, map ? node->entries[i].value : node->items[i], &value));
        pip_leave(w);
        if (map)
            hd_value_set(all, node->entries[i].key, value);
        else
            hd_value_add(all, value);
    }
    *ret = all;
    return HD_OK;
}

enum hd_status pip_value(struct pip_walk *w, const struct pip_node *node, const struct hd_value **ret) {
    HD_TRY(pip_spend(w, node->at, node->kind < PIP_LIST ? node->n + 4 : 4));
    switch (node->kind) {
    case PIP_NULL:
        *ret = &hd_value_null;
        return HD_OK;
    case PIP_BOOL:
        *ret = hd_value_bool(w->arena, node->text[0] == 't' || node->text[0] == 'T');
        return HD_OK;
    case PIP_INT:
    case PIP_FLOAT:
        return number(w, node, ret);
    case PIP_TEXT: {
        char *text;
        HD_TRY(pip_text(w, node, false, &text));
        *ret = hd_value_string(w->arena, text, node->n);
        return HD_OK;
    }
    default:
        return composite(w, node, ret);
    }
}
