// Expressions in scripts: each becomes a variable of the shell, so that a value reaches it as data, whatever it holds. Pure.
//
// The scanner knows quotes, comments, substitutions and here-documents of POSIX shells well enough to put the variable in
// quotes where it stands outside of them. Where it is wrong about a strange script the value may be split into words or stand
// there as a name; it is never read as shell text.
#ifndef HD_PIPELINES_SPLICE_H
#define HD_PIPELINES_SPLICE_H

#include "base/expr.h"

#define PIP_SPLICE_PREFIX "HODEI_EXPR_"

struct pip_splice {
    const char *script;
    const char **names, **templates; // of the variables; a template is "${{ … }}"
    size_t n;
};
// `shell` is its path; one that is no POSIX shell, an arithmetic expansion and a quoted here-document are refused, with the
// column of the expression.
enum hd_status pip_splice(struct hd_arena *arena, const struct hd_template *script, const char *shell,
                          struct hd_err *err, struct pip_splice *ret) HD_MUST_USE;

#endif
