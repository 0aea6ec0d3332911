// Tree → value.
#include <string.h>

#include "base/expr_impl.h"

enum hd_status hd_eval_spend(struct hd_eval *eval, const struct hd_node *node, size_t bytes) {
    if (bytes > eval->output_left)
        return hd_expr_fail(eval->err, node->at, "the expression makes more than %u MiB", HD_EXPR_OUTPUT_MAX >> 20);
    eval->output_left -= bytes;
    return HD_OK;
}

static enum hd_status eval(struct hd_eval *e, const struct hd_node *node, const struct hd_value **ret);

static enum hd_status eval_index(struct hd_eval *e, const struct hd_node *node, const struct hd_value **ret) {
    const struct hd_value *of = &hd_value_null, *key = of, *part = NULL;
    HD_TRY(eval(e, node->args[0], &of));
    HD_TRY(eval(e, node->args[1], &key));
    if (of->kind == HD_MAP && key->kind == HD_STRING)
        part = hd_value_get(of, key->text);
    else if (of->kind == HD_LIST && key->kind == HD_NUMBER)
        part = key->number >= 0 && key->number < (double)of->n ? of->items[(size_t)key->number] : NULL;
    else if (of->kind != HD_NULL)
        return hd_expr_fail(e->err, node->at, "%s has no part that is named by %s", hd_kind_name(of->kind),
                            hd_kind_name(key->kind));
    *ret = part ? part : &hd_value_null;
    return HD_OK;
}

static enum hd_status eval_bool(struct hd_eval *e, const struct hd_node *node, bool *ret) {
    const struct hd_value *value = &hd_value_null;
    HD_TRY(eval(e, node, &value));
    if (value->kind != HD_BOOL)
        return hd_expr_fail(e->err, node->at, "this is %s, not true or false", hd_kind_name(value->kind));
    *ret = value->truth;
    return HD_OK;
}

static enum hd_status eval_logic(struct hd_eval *e, const struct hd_node *node, const struct hd_value **ret) {
    bool truth = false;
    HD_TRY(eval_bool(e, node->args[0], &truth));
    if (node->op == HD_OP_NOT)
        truth = !truth;
    else if (truth == (node->op == HD_OP_AND))
        HD_TRY(eval_bool(e, node->args[1], &truth));
    *ret = hd_value_bool(e->arena, truth);
    return HD_OK;
}

static enum hd_status eval_order(struct hd_eval *e, const struct hd_node *node, const struct hd_value *a,
                                 const struct hd_value *b, const struct hd_value **ret) {
    int order;
    if (a->kind != b->kind || (a->kind != HD_NUMBER && a->kind != HD_STRING))
        return hd_expr_fail(e->err, node->at, "%s and %s have no order", hd_kind_name(a->kind), hd_kind_name(b->kind));
    if (a->kind == HD_NUMBER)
        order = (a->number > b->number) - (a->number < b->number);
    else
        order = strcmp(a->text, b->text);
    bool truth = node->op == HD_OP_LT   ? order < 0
                 : node->op == HD_OP_GT ? order > 0
                 : node->op == HD_OP_LE ? order <= 0
                                        : order >= 0;
    *ret = hd_value_bool(e->arena, truth);
    return HD_OK;
}

static enum hd_status eval_compare(struct hd_eval *e, const struct hd_node *node, const struct hd_value **ret) {
    const struct hd_value *a = &hd_value_null, *b = a;
    HD_TRY(eval(e, node->args[0], &a));
    HD_TRY(eval(e, node->args[1], &b));
    if (node->op != HD_OP_EQ && node->op != HD_OP_NE)
        return eval_order(e, node, a, b, ret);
    if (a->kind != b->kind && a->kind != HD_NULL && b->kind != HD_NULL)
        return hd_expr_fail(e->err, node->at, "%s and %s cannot be compared", hd_kind_name(a->kind),
                            hd_kind_name(b->kind));
    *ret = hd_value_bool(e->arena, hd_value_equal(a, b) == (node->op == HD_OP_EQ));
    return HD_OK;
}

static enum hd_status eval_call(struct hd_eval *e, const struct hd_node *node, const struct hd_value **ret) {
    const struct hd_function *f = node->function;
    const struct hd_value **args = HD_NEW_ARRAY(e->arena, node->n, const struct hd_value *);
    for (size_t i = 0; i < node->n; i++) {
        enum hd_kind wanted = f->args[i < 3 ? i : 2];
        args[i] = &hd_value_null;
        HD_TRY(eval(e, node->args[i], &args[i]));
        if (args[i]->kind == HD_NULL && wanted == HD_STRING)
            args[i] = hd_value_text(e->arena, "");
        if (wanted != HD_ANY && args[i]->kind != wanted)
            return hd_expr_fail(e->err, node->args[i]->at, "argument %zu of %s() is %s, not %s", i + 1, f->name,
                                hd_kind_name(args[i]->kind), hd_kind_name(wanted));
    }
    return f->call(e, node, args, ret);
}

static enum hd_status eval(struct hd_eval *e, const struct hd_node *node, const struct hd_value **ret) {
    const struct hd_value *named;
    switch (node->op) {
    case HD_OP_VALUE:
        *ret = node->value;
        return HD_OK;
    case HD_OP_NAME:
        named = hd_value_get(e->scope->names, node->name);
        *ret = named ? named : &hd_value_null;
        return HD_OK;
    case HD_OP_INDEX:
        return eval_index(e, node, ret);
    case HD_OP_CALL:
        return eval_call(e, node, ret);
    case HD_OP_NOT:
    case HD_OP_AND:
    case HD_OP_OR:
        return eval_logic(e, node, ret);
    default:
        return eval_compare(e, node, ret);
    }
}

enum hd_status hd_expr_eval(struct hd_arena *arena, const struct hd_expr *expr, const struct hd_scope *scope,
                            struct hd_err *err, const struct hd_value **ret) {
    size_t may = scope->budget && *scope->budget < HD_EXPR_OUTPUT_MAX ? *scope->budget : HD_EXPR_OUTPUT_MAX;
    struct hd_eval e = {.arena = arena, .scope = scope, .err = err, .expr = expr, .output_left = may};
    enum hd_status status = eval(&e, expr->root, ret);
    if (scope->budget)
        *scope->budget -= may - e.output_left;
    return status;
}
