// What an expression needs that is not there yet.
#include <string.h>

#include "base/expr_impl.h"

static bool is_among(const char *name, const char *const *list) {
    for (; *list; list++)
        if (strcmp(*list, name) == 0)
            return true;
    return false;
}

static bool known(const struct hd_node *node, const struct hd_value *names, const char *const *partial) {
    if (node->op == HD_OP_NAME) // the whole of one that is there in part is not known
        return hd_value_get(names, node->name) && !is_among(node->name, partial);
    if (node->op == HD_OP_CALL && node->function->uses)
        return false;
    if (node->op == HD_OP_INDEX && node->args[0]->op == HD_OP_NAME && is_among(node->args[0]->name, partial))
        return node->args[1]->op == HD_OP_VALUE && node->args[1]->value->kind == HD_STRING &&
               hd_value_get(hd_value_get(names, node->args[0]->name), node->args[1]->value->text);
    for (size_t i = 0; i < node->n; i++)
        if (!known(node->args[i], names, partial))
            return false;
    return true;
}

bool hd_expr_known(const struct hd_expr *expr, const struct hd_value *names, const char *const *partial) {
    return known(expr->root, names, partial);
}
