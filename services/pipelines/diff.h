// The difference of two definitions: of their texts, line by line, and of what they mean. Pure; the CLI compares with it offline.
#ifndef HD_PIPELINES_DIFF_H
#define HD_PIPELINES_DIFF_H

#include <stdbool.h>

#include "base/arena.h"
#include "hodei/v1/pipeline.pb-c.h"

#define PIP_DIFF_MAX (1u << 20) // bytes of the unified difference
// What is looked for at most: beyond so many changed lines, or so many steps, the stretch in question is shown as replaced as a
// whole. So a comparison is always right, cheap, and not always the shortest.
#define PIP_DIFF_EDITS_MAX 1500
#define PIP_DIFF_STEPS_MAX 20000000

struct pip_side {
    const char *label; // as it stands after --- and +++
    const char *source;
};
// In the unified format with three lines around each change; "" where the sources are the same. *ret_truncated: it went beyond
// PIP_DIFF_MAX and ends with the last line that was whole.
const char *pip_diff_text(struct hd_arena *arena, const struct pip_side *from, const struct pip_side *to,
                          bool *ret_truncated);
// Fills all of the reply but the versions. A source that is empty, or that the compiler does not take, has no jobs.
void pip_diff(struct hd_arena *arena, const struct pip_side *from, const struct pip_side *to,
              Hodei__V1__DiffPipelineReply *ret);

#endif
