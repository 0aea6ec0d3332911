// Parts of a tenant: what somebody whose rights are narrowed may see. Pure.
#ifndef HD_BASE_SCOPE_H
#define HD_BASE_SCOPE_H

#include <stdbool.h>

#include "base/arena.h"
#include "hodei/v1/common.pb-c.h"

#define HD_PROJECT_DEFAULT "default" // where a pipeline is that was put nowhere else

// Whether the principal may do what it asks with a pipeline of its tenant that is in that project, and with its runs.
bool hd_within(const Hodei__V1__Principal *who, const char *project, const char *pipeline);

// The same for lists: what is in one of the projects, or of one of the pipelines.
struct hd_parts {
    bool all; // nothing is narrowed: both are empty
    const char **projects, **pipelines;
    size_t n_projects, n_pipelines;
};
struct hd_parts hd_parts_of(struct hd_arena *arena, const Hodei__V1__Principal *who);

#endif
