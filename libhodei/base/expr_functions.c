// The functions of the expression language: one table, from which the checker and the documents read too.
#include <limits.h>
#include <string.h>

#include "base/expr_impl.h"

static enum hd_status give_bool(struct hd_eval *e, bool truth, const struct hd_value **ret) {
    *ret = hd_value_bool(e->arena, truth);
    return HD_OK;
}

static enum hd_status give_text(struct hd_eval *e, const struct hd_node *node, struct hd_buf *buf,
                                const struct hd_value **ret) {
    HD_TRY(hd_eval_spend(e, node, buf->len));
    *ret = hd_value_string(e->arena, hd_arena_strndup(e->arena, buf->data ? buf->data : "", buf->len), buf->len);
    return HD_OK;
}

static enum hd_status call_contains(struct hd_eval *e, const struct hd_node *node, const struct hd_value *const *args,
                                    const struct hd_value **ret) {
    bool found = false;
    if (args[0]->kind == HD_LIST) {
        for (size_t i = 0; i < args[0]->n && !found; i++)
            found = hd_value_equal(args[0]->items[i], args[1]);
        return give_bool(e, found, ret);
    }
    if (args[0]->kind == HD_NULL)
        return give_bool(e, false, ret);
    if (args[0]->kind != HD_STRING || args[1]->kind != HD_STRING)
        return hd_expr_fail(e->err, node->at, "contains() looks for a text in a text, or for a value in a list");
    return give_bool(e, memmem(args[0]->text, args[0]->n, args[1]->text, args[1]->n) != NULL, ret);
}

static enum hd_status call_starts_with(struct hd_eval *e, const struct hd_node *node,
                                       const struct hd_value *const *args, const struct hd_value **ret) {
    (void)node;
    return give_bool(e, args[0]->n >= args[1]->n && memcmp(args[0]->text, args[1]->text, args[1]->n) == 0, ret);
}

static enum hd_status call_ends_with(struct hd_eval *e, const struct hd_node *node, const struct hd_value *const *args,
                                     const struct hd_value **ret) {
    (void)node;
    return give_bool(
        e, args[0]->n >= args[1]->n && memcmp(args[0]->text + args[0]->n - args[1]->n, args[1]->text, args[1]->n) == 0,
        ret);
}

// {0} … {9} are the arguments; {{ and }} are braces.
static enum hd_status call_format(struct hd_eval *e, const struct hd_node *node, const struct hd_value *const *args,
                                  const struct hd_value **ret) {
    HD_AUTO_BUF struct hd_buf out = {0};
    for (const char *p = args[0]->text; p < args[0]->text + args[0]->n; p++) {
        if ((*p == '{' || *p == '}') && p[1] == *p) {
            hd_buf_addc(&out, *p++);
        } else if (*p != '{' && *p != '}') {
            hd_buf_addc(&out, *p);
        } else if (*p == '{' && p[1] >= '0' && p[1] <= '9' && p[2] == '}' && (size_t)(p[1] - '0') + 1 < node->n) {
            hd_value_print(&out, args[p[1] - '0' + 1]);
            p += 2;
        } else {
            hd_expr_fail(e->err, node->at, "format(): the text has a brace that names no argument");
            hd_err_hint(e->err, "{0} is the first argument after the text; a brace itself is written twice");
            return HD_INVALID;
        }
        if (out.len > e->output_left)
            return hd_eval_spend(e, node, out.len);
    }
    return give_text(e, node, &out, ret);
}

static enum hd_status call_join(struct hd_eval *e, const struct hd_node *node, const struct hd_value *const *args,
                                const struct hd_value **ret) {
    HD_AUTO_BUF struct hd_buf out = {0};
    for (size_t i = 0; i < args[0]->n; i++) {
        if (i && node->n > 1)
            hd_buf_add(&out, args[1]->text, args[1]->n);
        else if (i)
            hd_buf_addc(&out, ',');
        hd_value_print(&out, args[0]->items[i]);
        if (out.len > e->output_left)
            return hd_eval_spend(e, node, out.len);
    }
    return give_text(e, node, &out, ret);
}

static enum hd_status call_to_json(struct hd_eval *e, const struct hd_node *node, const struct hd_value *const *args,
                                   const struct hd_value **ret) {
    HD_AUTO_BUF struct hd_buf out = {0};
    hd_value_write(&out, args[0]);
    return give_text(e, node, &out, ret);
}

static enum hd_status call_from_json(struct hd_eval *e, const struct hd_node *node, const struct hd_value *const *args,
                                     const struct hd_value **ret) {
    HD_TRY(hd_eval_spend(e, node, args[0]->n));
    if (hd_value_read(e->arena, args[0]->text, args[0]->n, e->err, ret) == HD_OK)
        return HD_OK;
    hd_err_wrap(e->err, "from_json()");
    hd_err_at(e->err, 1, (unsigned)node->at + 1);
    return HD_INVALID;
}

static enum hd_status call_hash_files(struct hd_eval *e, const struct hd_node *node, const struct hd_value *const *args,
                                      const struct hd_value **ret) {
    const char *digest;
    if (!e->scope->hash_files)
        return hd_expr_fail(e->err, node->at, "hash_files() can only be used in a step");
    HD_TRY(e->scope->hash_files(e->scope->arg, e->arena, args, node->n, e->err, &digest));
    *ret = hd_value_text(e->arena, digest);
    return HD_OK;
}

static enum hd_status call_success(struct hd_eval *e, const struct hd_node *node, const struct hd_value *const *args,
                                   const struct hd_value **ret) {
    (void)node, (void)args;
    return give_bool(e, e->scope->success, ret);
}

static enum hd_status call_failure(struct hd_eval *e, const struct hd_node *node, const struct hd_value *const *args,
                                   const struct hd_value **ret) {
    (void)node, (void)args;
    return give_bool(e, e->scope->failure, ret);
}

static enum hd_status call_always(struct hd_eval *e, const struct hd_node *node, const struct hd_value *const *args,
                                  const struct hd_value **ret) {
    (void)node, (void)args;
    return give_bool(e, true, ret);
}

static enum hd_status call_cancelled(struct hd_eval *e, const struct hd_node *node, const struct hd_value *const *args,
                                     const struct hd_value **ret) {
    (void)node, (void)args;
    return give_bool(e, e->scope->cancelled, ret);
}

const struct hd_function hd_functions[] = {
    {"contains",
     "contains(text or list, what): true where it is in there",
     2,
     2,
     {HD_ANY, HD_ANY, HD_ANY},
     HD_BOOL,
     0,
     call_contains},
    {"starts_with",
     "starts_with(text, beginning)",
     2,
     2,
     {HD_STRING, HD_STRING, HD_STRING},
     HD_BOOL,
     0,
     call_starts_with},
    {"ends_with", "ends_with(text, end)", 2, 2, {HD_STRING, HD_STRING, HD_STRING}, HD_BOOL, 0, call_ends_with},
    {"format", "format('{0} and {1}', first, second)", 1, 11, {HD_STRING, HD_ANY, HD_ANY}, HD_STRING, 0, call_format},
    {"join",
     "join(list, separator); the separator is \",\" where none is given",
     1,
     2,
     {HD_LIST, HD_STRING, HD_STRING},
     HD_STRING,
     0,
     call_join},
    {"to_json", "to_json(value): its JSON text", 1, 1, {HD_ANY, HD_ANY, HD_ANY}, HD_STRING, 0, call_to_json},
    {"from_json",
     "from_json(text): the value that the JSON text stands for",
     1,
     1,
     {HD_STRING, HD_STRING, HD_STRING},
     HD_ANY,
     0,
     call_from_json},
    {"hash_files",
     "hash_files(pattern, …): SHA-256 over the files of the workspace that match",
     1,
     16,
     {HD_STRING, HD_STRING, HD_STRING},
     HD_STRING,
     HD_USES_FILES,
     call_hash_files},
    {"success",
     "success(): nothing before it failed or was cancelled",
     0,
     0,
     {HD_ANY, HD_ANY, HD_ANY},
     HD_BOOL,
     HD_USES_STATUS,
     call_success},
    {"failure",
     "failure(): something before it failed",
     0,
     0,
     {HD_ANY, HD_ANY, HD_ANY},
     HD_BOOL,
     HD_USES_STATUS,
     call_failure},
    {"always",
     "always(): whatever happened before",
     0,
     0,
     {HD_ANY, HD_ANY, HD_ANY},
     HD_BOOL,
     HD_USES_STATUS,
     call_always},
    {"cancelled",
     "cancelled(): the run was cancelled",
     0,
     0,
     {HD_ANY, HD_ANY, HD_ANY},
     HD_BOOL,
     HD_USES_STATUS,
     call_cancelled},
};
const size_t hd_functions_len = sizeof(hd_functions) / sizeof(hd_functions[0]);
