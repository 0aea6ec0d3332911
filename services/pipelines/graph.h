// The graph of a pipeline's jobs. Pure: what it makes lies in the arena.
#ifndef HD_PIPELINES_GRAPH_H
#define HD_PIPELINES_GRAPH_H

#include "base/arena.h"
#include "hodei/v1/pipeline.pb-c.h"

// Fills `dependents` of every job from `needs`, whose indexes must be right.
void pip_graph_link(struct hd_arena *arena, Hodei__V1__CompiledJob **jobs, size_t n);
// Finds a cycle, from its job with the lowest index: each job of it needs the next, the last needs the first. Returns its
// length, 0 where there is none. Needs the dependents.
size_t pip_graph_cycle(struct hd_arena *arena, Hodei__V1__CompiledJob **jobs, size_t n, uint32_t **ret);

#endif
