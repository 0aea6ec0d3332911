// Types: what an expression gives, known before it runs.
#include <string.h>

#include "base/expr_impl.h"

const struct hd_type hd_type_any = {.kind = HD_ANY}, hd_type_bool = {.kind = HD_BOOL},
                     hd_type_number = {.kind = HD_NUMBER}, hd_type_string = {.kind = HD_STRING},
                     hd_type_texts = {.kind = HD_LIST, .item = &hd_type_string};
static const struct hd_type type_null = {.kind = HD_NULL}, type_list = {.kind = HD_LIST, .item = &hd_type_any},
                            type_map = {.kind = HD_MAP, .item = &hd_type_any};

struct hd_type *hd_type_map(struct hd_arena *arena) {
    struct hd_type *type = HD_NEW(arena, struct hd_type);
    type->kind = HD_MAP;
    return type;
}

void hd_type_set(struct hd_arena *arena, struct hd_type *map, const char *name, const struct hd_type *type) {
    size_t cap = map->cap;
    HD_GROW(arena, map->names, map->n, cap);
    HD_GROW(arena, map->types, map->n, map->cap);
    map->names[map->n] = name;
    map->types[map->n++] = type;
}

struct check {
    const struct hd_type *names;
    unsigned absent;
    struct hd_err *err;
};

static const struct hd_type *simple(enum hd_kind kind) {
    static const struct hd_type *const types[] = {&type_null, &hd_type_bool, &hd_type_number, &hd_type_string,
                                                  &type_list, &type_map,     &hd_type_any};
    return types[kind];
}

static enum hd_status no_member(struct check *c, const struct hd_type *map, size_t at, const char *what,
                                const char *name) {
    const char *near = NULL;
    unsigned best = 3;
    HD_AUTO_BUF struct hd_buf all = {0};
    for (size_t i = 0; i < map->n; i++) {
        unsigned far = hd_edit_distance(name, map->names[i], best);
        if (far < best) {
            best = far;
            near = map->names[i];
        }
        if (all.len < 120 && !map->types[i]->absent)
            hd_buf_addf(&all, "%s%s", all.len ? ", " : "", map->names[i]);
    }
    hd_expr_fail(c->err, at, "there is no %s\"%.100s\"%s", what, name, *what ? "" : " here");
    if (near)
        hd_err_hint(c->err, "did you mean \"%s\"?", near);
    else if (all.len)
        hd_err_hint(c->err, "there are: %s", all.data);
    return HD_INVALID;
}

static enum hd_status member(struct check *c, const struct hd_type *map, size_t at, const char *what, const char *name,
                             const struct hd_type **ret) {
    for (size_t i = 0; i < map->n; i++) {
        if (strcmp(map->names[i], name) != 0)
            continue;
        if (map->types[i]->absent)
            return hd_expr_fail(c->err, at, "\"%.100s\" cannot be used here: %s", name, map->types[i]->absent);
        *ret = map->types[i];
        return HD_OK;
    }
    if (!map->item)
        return no_member(c, map, at, what, name);
    *ret = map->item;
    return HD_OK;
}

static enum hd_status check(struct check *c, const struct hd_node *node, const struct hd_type **ret);

static enum hd_status check_index(struct check *c, const struct hd_node *node, const struct hd_type **ret) {
    const struct hd_type *of, *key;
    const struct hd_node *which = node->args[1];
    HD_TRY(check(c, node->args[0], &of));
    HD_TRY(check(c, which, &key));
    if (of->kind == HD_ANY) {
        *ret = &hd_type_any;
        return HD_OK;
    }
    if (of->kind != HD_MAP && of->kind != HD_LIST)
        return hd_expr_fail(c->err, node->at, "%s has no parts", hd_kind_name(of->kind));
    enum hd_kind wanted = of->kind == HD_MAP ? HD_STRING : HD_NUMBER;
    if (key->kind != wanted && key->kind != HD_ANY)
        return hd_expr_fail(c->err, which->at, "a part of %s is named by %s, not by %s", hd_kind_name(of->kind),
                            hd_kind_name(wanted), hd_kind_name(key->kind));
    if (of->kind == HD_MAP && which->op == HD_OP_VALUE)
        return member(c, of, which->at, "", which->value->text, ret);
    *ret = of->item ? of->item : &hd_type_any;
    return HD_OK;
}

// Where an operand begins: a path is a tree that nests to the left.
static size_t begin_of(const struct hd_node *node) {
    while (node->op == HD_OP_INDEX)
        node = node->args[0];
    return node->at;
}

// contains(): a text in a text, or anything in a list.
static enum hd_status check_contains(struct check *c, const struct hd_node *node, const struct hd_type *in,
                                     const struct hd_type *what) {
    if (in->kind == HD_BOOL || in->kind == HD_NUMBER || in->kind == HD_MAP)
        return hd_expr_fail(c->err, begin_of(node->args[0]),
                            "argument 1 of contains() must be a text or a list, not %s", hd_kind_name(in->kind));
    if (in->kind == HD_STRING && what->kind != HD_STRING && what->kind != HD_ANY)
        return hd_expr_fail(c->err, begin_of(node->args[1]),
                            "argument 2 of contains() must be a text, not %s: the first is one",
                            hd_kind_name(what->kind));
    return HD_OK;
}

static enum hd_status check_call(struct check *c, const struct hd_node *node, const struct hd_type **ret) {
    const struct hd_function *f = node->function;
    const struct hd_type *all[3] = {&hd_type_any, &hd_type_any, &hd_type_any};
    if (f->uses & c->absent) {
        hd_expr_fail(c->err, node->at, "%s() cannot be used here", f->name);
        hd_err_hint(c->err, f->uses == HD_USES_FILES ? "it is not available yet: it comes with caches"
                                                     : "it belongs into the if of a job or a step");
        return HD_INVALID;
    }
    for (size_t i = 0; i < node->n; i++) {
        const struct hd_type *given;
        enum hd_kind wanted = f->args[i < 3 ? i : 2];
        HD_TRY(check(c, node->args[i], &given));
        all[i < 3 ? i : 2] = given;
        if (wanted != HD_ANY && given->kind != wanted && given->kind != HD_ANY && given->kind != HD_NULL) {
            hd_expr_fail(c->err, begin_of(node->args[i]), "argument %zu of %s() must be %s, not %s", i + 1, f->name,
                         hd_kind_name(wanted), hd_kind_name(given->kind));
            hd_err_hint(c->err, "%s", f->help);
            return HD_INVALID;
        }
    }
    if (strcmp(f->name, "contains") == 0)
        HD_TRY(check_contains(c, node, all[0], all[1]));
    *ret = simple(f->result);
    return HD_OK;
}

static enum hd_status check_logic(struct check *c, const struct hd_node *node, const struct hd_type **ret) {
    static const char *const names[] = {[HD_OP_NOT] = "!", [HD_OP_AND] = "&&", [HD_OP_OR] = "||"};
    for (size_t i = 0; i < node->n; i++) {
        const struct hd_type *given;
        HD_TRY(check(c, node->args[i], &given));
        if (given->kind != HD_BOOL && given->kind != HD_ANY) {
            hd_expr_fail(c->err, begin_of(node->args[i]), "%s takes true or false, not %s", names[node->op],
                         hd_kind_name(given->kind));
            if (given->kind == HD_STRING)
                hd_err_hint(c->err, "compare it, for example with != ''");
            return HD_INVALID;
        }
    }
    *ret = &hd_type_bool;
    return HD_OK;
}

static enum hd_status check_compare(struct check *c, const struct hd_node *node, const struct hd_type **ret) {
    const struct hd_type *a, *b;
    HD_TRY(check(c, node->args[0], &a));
    HD_TRY(check(c, node->args[1], &b));
    bool order = node->op != HD_OP_EQ && node->op != HD_OP_NE;
    bool known = a->kind != HD_ANY && b->kind != HD_ANY, null = a->kind == HD_NULL || b->kind == HD_NULL;
    if (known && a->kind != b->kind && (order || !null)) {
        hd_expr_fail(c->err, node->at, "%s and %s cannot be compared", hd_kind_name(a->kind), hd_kind_name(b->kind));
        hd_err_hint(c->err, "values of different types are never equal; write both as the same type");
        return HD_INVALID;
    }
    const struct hd_type *one = a->kind != HD_ANY ? a : b;
    if (order && one->kind != HD_NUMBER && one->kind != HD_STRING && one->kind != HD_ANY)
        return hd_expr_fail(c->err, node->at, "%s has no order", hd_kind_name(one->kind));
    *ret = &hd_type_bool;
    return HD_OK;
}

static enum hd_status check(struct check *c, const struct hd_node *node, const struct hd_type **ret) {
    switch (node->op) {
    case HD_OP_VALUE:
        *ret = simple(node->value->kind);
        return HD_OK;
    case HD_OP_NAME:
        return member(c, c->names, node->at, "name ", node->name, ret);
    case HD_OP_INDEX:
        return check_index(c, node, ret);
    case HD_OP_CALL:
        return check_call(c, node, ret);
    case HD_OP_NOT:
    case HD_OP_AND:
    case HD_OP_OR:
        return check_logic(c, node, ret);
    default:
        return check_compare(c, node, ret);
    }
}

enum hd_status hd_expr_check(const struct hd_expr *expr, const struct hd_type *names, unsigned absent,
                             struct hd_err *err, const struct hd_type **ret) {
    struct check c = {.names = names, .absent = absent, .err = err};
    return check(&c, expr->root, ret);
}
