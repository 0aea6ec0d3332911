// The tree of an expression; inside the expression engine only.
#ifndef HD_BASE_EXPR_IMPL_H
#define HD_BASE_EXPR_IMPL_H

#include "base/expr.h"

enum hd_op {
    HD_OP_VALUE,
    HD_OP_NAME,
    HD_OP_INDEX,
    HD_OP_CALL,
    HD_OP_NOT,
    HD_OP_AND,
    HD_OP_OR,
    HD_OP_EQ,
    HD_OP_NE,
    HD_OP_LT,
    HD_OP_GT,
    HD_OP_LE,
    HD_OP_GE
};

struct hd_function;
struct hd_node {
    enum hd_op op;
    size_t at;                    // in the source, for errors
    const struct hd_value *value; // HD_OP_VALUE
    const char *name;             // HD_OP_NAME: the first of a path
    const struct hd_function *function;
    const struct hd_node **args; // operands; HD_OP_INDEX: what and which; HD_OP_CALL: arguments
    size_t n;
};

// One evaluation: what it may still make.
struct hd_eval {
    struct hd_arena *arena;
    const struct hd_scope *scope;
    struct hd_err *err;
    const struct hd_expr *expr;
    size_t output_left;
};
typedef enum hd_status hd_call(struct hd_eval *eval, const struct hd_node *node, const struct hd_value *const *args,
                               const struct hd_value **ret);
struct hd_function {
    const char *name, *help;
    unsigned min, max;    // arguments
    enum hd_kind args[3]; // of the first ones; the last stands for all that follow
    enum hd_kind result;
    unsigned uses;
    hd_call *call;
};
extern const struct hd_function hd_functions[];
extern const size_t hd_functions_len;

enum hd_status hd_expr_fail(struct hd_err *err, size_t at, const char *fmt, ...) HD_PRINTF(3, 4);
enum hd_status hd_eval_spend(struct hd_eval *eval, const struct hd_node *node, size_t bytes) HD_MUST_USE;

#endif
