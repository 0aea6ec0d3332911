// Texts with ${{ }} in them.
#include <string.h>

#include "base/expr_impl.h"

static struct hd_template_part *add_part(struct hd_arena *arena, struct hd_template *t, size_t *cap) {
    HD_GROW(arena, t->parts, t->n, *cap);
    t->parts[t->n] = (struct hd_template_part){0};
    return &t->parts[t->n++];
}

enum hd_status hd_template_parse(struct hd_arena *arena, const char *text, size_t len, struct hd_err *err,
                                 struct hd_template *ret) {
    struct hd_template t = {0};
    size_t cap = 0, at = 0;
    while (at < len) {
        const char *open = memmem(text + at, len - at, "${{", 3);
        size_t plain = open ? (size_t)(open - text) - at : len - at, used;
        if (plain) {
            struct hd_template_part *part = add_part(arena, &t, &cap);
            part->text = text + at;
            part->len = plain;
        }
        at += plain;
        if (!open)
            break;
        struct hd_template_part *part = add_part(arena, &t, &cap);
        part->at = at;
        if (hd_expr_parse(arena, text + at + 3, len - at - 3, &used, err, &part->expr) != HD_OK) {
            hd_err_at(err, 1, err->column + (unsigned)at + 3);
            return HD_INVALID;
        }
        t.uses |= part->expr.uses;
        at += used + 3;
    }
    *ret = t;
    return HD_OK;
}

enum hd_status hd_template_value(struct hd_arena *arena, const struct hd_template *t, const struct hd_scope *scope,
                                 struct hd_err *err, const struct hd_value **ret) {
    HD_AUTO_BUF struct hd_buf out = {0};
    const struct hd_value *value = &hd_value_null;
    if (t->n == 1 && !t->parts[0].text)
        return hd_expr_eval(arena, &t->parts[0].expr, scope, err, ret);
    for (size_t i = 0; i < t->n; i++) {
        if (t->parts[i].text) {
            hd_buf_add(&out, t->parts[i].text, t->parts[i].len);
        } else {
            HD_TRY(hd_expr_eval(arena, &t->parts[i].expr, scope, err, &value));
            hd_value_print(&out, value);
        }
        if (out.len > HD_EXPR_OUTPUT_MAX + (1u << 20))
            return hd_expr_fail(err, t->parts[i].at, "the text becomes larger than %u MiB",
                                (HD_EXPR_OUTPUT_MAX >> 20) + 1);
    }
    *ret = hd_value_string(arena, hd_arena_strndup(arena, out.data ? out.data : "", out.len), out.len);
    return HD_OK;
}

enum hd_status hd_template_text(struct hd_arena *arena, const struct hd_template *t, const struct hd_scope *scope,
                                struct hd_err *err, const char **ret) {
    HD_AUTO_BUF struct hd_buf out = {0};
    const struct hd_value *value = &hd_value_null;
    HD_TRY(hd_template_value(arena, t, scope, err, &value));
    if (value->kind == HD_STRING) {
        *ret = value->text;
        return HD_OK;
    }
    hd_value_print(&out, value);
    *ret = hd_arena_strndup(arena, out.data ? out.data : "", out.len);
    return HD_OK;
}

enum hd_status hd_template_run(struct hd_arena *arena, const char *text, const struct hd_scope *scope,
                               struct hd_err *err, const char **ret) {
    struct hd_template t;
    if (!strstr(text, "${{")) {
        *ret = text;
        return HD_OK;
    }
    HD_TRY(hd_template_parse(arena, text, strlen(text), err, &t));
    return hd_template_text(arena, &t, scope, err, ret);
}
