// The plan of a run: what a compiled pipeline would run with these inputs. Pure, so that the CLI makes the same plan offline.
//
// Matrices are multiplied out where they are known at the start, and every expression that can be resolved then is: those that name
// only inputs, the matrix, the pipeline, and variables that are themselves known. Others (needs, steps, the rest of run) stay as they
// are, each by itself: "out/${{ inputs.mode }}/${{ run.id }}" becomes "out/debug/${{ run.id }}". Variables that a start adds (--env)
// are not looked at. A script is shown as its shell gets it, with the variables that carry the values.
#ifndef HD_PIPELINES_RENDER_H
#define HD_PIPELINES_RENDER_H

#include "base/arena.h"
#include "hodei/v1/pipeline.pb-c.h"

#define PIP_PLAN_MAX (3u << 20) // bytes as a message

// Takes inputs and job of the request. The plan shares what does not change with `pipeline`; both live in the arena.
// HD_INVALID: an input does not fit, or an expression cannot be evaluated; HD_MISSING: no such job; HD_LIMITED: it becomes too large.
enum hd_status pip_render(struct hd_arena *arena, const Hodei__V1__CompiledPipeline *pipeline,
                          const Hodei__V1__RenderPipelineRequest *request, struct hd_err *err,
                          Hodei__V1__PipelinePlan **ret) HD_MUST_USE;

#endif
