// Expressions, ${{ }}: parse, check against types, evaluate. Pure and bounded, so that a definition may come from anybody.
//
//   expression  'text' "text" 1.5 true false null | name.name["key"][0] | function(…) | ! == != < > <= >= && || ( )
//
// A quote within a text is written twice. == and != take values of one type (or null); < > <= >= two numbers or two texts, by
// bytes; && || ! take booleans only and && || do not evaluate what does not matter. Nothing is converted but by print in a
// text: so what is compared is what was written.
//
// The checker knows the type of every name. What it cannot know (parts of JSON that come at run time) has HD_ANY and is checked
// when it is there; a member that such a value lacks is null.
//
// Limits: expression 16 KiB, nesting 32, 2,000 nodes; one evaluation makes at most 1 MiB of text.
#ifndef HD_BASE_EXPR_H
#define HD_BASE_EXPR_H

#include "base/value.h"

#define HD_EXPR_MAX (16u << 10)
#define HD_EXPR_DEPTH_MAX 32
#define HD_EXPR_NODES_MAX 2000
#define HD_EXPR_OUTPUT_MAX (1u << 20)

// What an expression needs: bits of hd_expr.uses.
enum hd_expr_uses {
    HD_USES_INPUTS = 1,
    HD_USES_ENV = 2,
    HD_USES_MATRIX = 4,
    HD_USES_RUN = 8,
    HD_USES_GIT = 16,
    HD_USES_NEEDS = 32,
    HD_USES_STEPS = 64,
    HD_USES_STATUS = 128, // success() and its like
    HD_USES_FILES = 256,  // hash_files()
};

struct hd_node;
struct hd_expr {
    const char *source; // borrowed
    size_t len;
    const struct hd_node *root;
    unsigned uses;
};
// Reads one expression from the start of `text`. Where `ret_used` is given it ends before }} and `ret_used` tells how many bytes
// it took with them, else it must be the whole. The column of an error is the place in the text, in bytes from 1.
enum hd_status hd_expr_parse(struct hd_arena *arena, const char *text, size_t len, size_t *ret_used, struct hd_err *err,
                             struct hd_expr *ret) HD_MUST_USE;

// The type of a value. A map with `item` is open: every member has that type.
struct hd_type {
    enum hd_kind kind;
    const struct hd_type *item;
    size_t n, cap;
    const char **names;
    const struct hd_type **types;
    const char *absent; // why this name cannot be used here, NULL: it can
};
extern const struct hd_type hd_type_any, hd_type_bool, hd_type_number, hd_type_string, hd_type_texts;
struct hd_type *hd_type_map(struct hd_arena *arena);
void hd_type_set(struct hd_arena *arena, struct hd_type *map, const char *name, const struct hd_type *type);

// Says what an expression gives, or that it can never be right. `names` is a map; a function that is not there at this time
// (success() and its like, hash_files()) is refused by `uses` bits in `absent`.
enum hd_status hd_expr_check(const struct hd_expr *expr, const struct hd_type *names, unsigned absent,
                             struct hd_err *err, const struct hd_type **ret) HD_MUST_USE;

// What a moment knows.
struct hd_scope {
    const struct hd_value *names; // a map
    bool success, failure, cancelled;
    // The SHA-256 in hex over the files that match, "" where none does; NULL: not here.
    enum hd_status (*hash_files)(void *arg, struct hd_arena *arena, const struct hd_value *const *patterns, size_t n,
                                 struct hd_err *err, const char **ret);
    void *arg;
    size_t *budget; // bytes of text that all evaluations with it together may make; NULL: each HD_EXPR_OUTPUT_MAX
};
enum hd_status hd_expr_eval(struct hd_arena *arena, const struct hd_expr *expr, const struct hd_scope *scope,
                            struct hd_err *err, const struct hd_value **ret) HD_MUST_USE;

// Whether all that the expression names is there, so that it gives the same at any later time. Of the maps in `partial` (ends with
// NULL) only those members are there that `names` has; success() and its like never are.
bool hd_expr_known(const struct hd_expr *expr, const struct hd_value *names, const char *const *partial);

// --- texts with expressions in them ---
struct hd_template {
    struct hd_template_part {
        const char *text; // NULL: the expression
        size_t len;
        struct hd_expr expr;
        size_t at; // where ${{ begins in the source
    } * parts;
    size_t n;
    unsigned uses;
};
// A text without ${{ has one part, or none when it is empty.
enum hd_status hd_template_parse(struct hd_arena *arena, const char *text, size_t len, struct hd_err *err,
                                 struct hd_template *ret) HD_MUST_USE;
static inline bool hd_template_plain(const struct hd_template *t) {
    return t->n == 0 || (t->n == 1 && t->parts[0].text);
}
// One expression and nothing around it gives its value; else all is printed into a text.
enum hd_status hd_template_value(struct hd_arena *arena, const struct hd_template *t, const struct hd_scope *scope,
                                 struct hd_err *err, const struct hd_value **ret) HD_MUST_USE;
enum hd_status hd_template_text(struct hd_arena *arena, const struct hd_template *t, const struct hd_scope *scope,
                                struct hd_err *err, const char **ret) HD_MUST_USE;
// Parses and evaluates; a text without ${{ is given back as it is.
enum hd_status hd_template_run(struct hd_arena *arena, const char *text, const struct hd_scope *scope,
                               struct hd_err *err, const char **ret) HD_MUST_USE;

#endif
