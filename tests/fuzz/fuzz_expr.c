// An expression from anybody: no crash, no run-away; what passes the checker gives the kind that the checker said, or an error.
#include <string.h>

#include "base/expr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char names_json[] =
    "{\"inputs\":{\"t\":\"x\",\"n\":3,\"b\":true,\"j\":{\"a\":[1,\"2\",null]}},\"env\":{\"A\":\"b\"},\"l\":[\"u\"]}";

static struct hd_type *types(struct hd_arena *arena) {
    struct hd_type *all = hd_type_map(arena), *inputs = hd_type_map(arena), *env = hd_type_map(arena);
    hd_type_set(arena, inputs, "t", &hd_type_string);
    hd_type_set(arena, inputs, "n", &hd_type_number);
    hd_type_set(arena, inputs, "b", &hd_type_bool);
    hd_type_set(arena, inputs, "j", &hd_type_any);
    env->item = &hd_type_string;
    hd_type_set(arena, all, "inputs", inputs);
    hd_type_set(arena, all, "env", env);
    hd_type_set(arena, all, "l", &hd_type_texts);
    return all;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct hd_arena arena;
    struct hd_err err = {0};
    struct hd_template t;
    hd_arena_init(&arena);
    char *text = hd_arena_strndup(&arena, (const char *)data, size);
    struct hd_scope scope = {.success = true};
    if (hd_value_read(&arena, names_json, sizeof(names_json) - 1, &err, &scope.names) != HD_OK)
        abort();
    if (hd_template_parse(&arena, text, strlen(text), &err, &t) == HD_OK) {
        const struct hd_type *all = types(&arena);
        for (size_t i = 0; i < t.n; i++) {
            const struct hd_type *type;
            const struct hd_value *value;
            if (t.parts[i].text || hd_expr_check(&t.parts[i].expr, all, 0, &err, &type) != HD_OK)
                continue;
            if (hd_expr_eval(&arena, &t.parts[i].expr, &scope, &err, &value) == HD_OK && type->kind != HD_ANY &&
                value->kind != type->kind && value->kind != HD_NULL)
                abort();
        }
        const char *out;
        if (hd_template_text(&arena, &t, &scope, &err, &out) == HD_OK && strlen(out) > 3u << 20)
            abort();
    } else if (err.status != HD_INVALID || !err.text[0] || !err.column) {
        abort();
    }
    hd_arena_release(&arena);
    return 0;
}
