// The combinations of a job's matrix. Pure; the same code expands at apply, in a plan, and in a run.
//
// Axes are multiplied in their order, the last one turning fastest. Then `exclude` takes away each combination that has all the
// values of one of its maps. Then each map of `include` is added to every combination whose axes it agrees with (it must name at
// least one axis), or becomes a combination of its own: the rule that users know from GitHub Actions.
#ifndef HD_BASE_MATRIX_H
#define HD_BASE_MATRIX_H

#include "base/value.h"

#define HD_MATRIX_MAX 10000
#define HD_MATRIX_AXES_MAX 32

// `axes` is a map of lists, or a list of maps (each is a combination). `include` and `exclude`, lists of maps, may be NULL.
// The result is a list of maps, of 1 to HD_MATRIX_MAX.
enum hd_status hd_matrix_expand(struct hd_arena *arena, const struct hd_value *axes, const struct hd_value *include,
                                const struct hd_value *exclude, struct hd_err *err,
                                const struct hd_value **ret) HD_MUST_USE;

#endif
