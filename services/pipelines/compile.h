// The compiler of the pipeline language: YAML text → compiled pipeline. Pure, so that the CLI lints with it offline.
//
// Errors have a text, the place in the input (err->field "jobs.build.needs[0]", line, column) and mostly a hint. Everything
// lives in the arena; `source` must stay until the result is no longer used. Tenant and version are left to the caller.
#ifndef HD_PIPELINES_COMPILE_H
#define HD_PIPELINES_COMPILE_H

#include "base/arena.h"
#include "hodei/v1/pipeline.pb-c.h"

#define PIP_JOBS_MAX 10000

// HD_OK, or with an error set: whether a time zone is there. Which there are is known to a machine and not to the language.
typedef enum hd_status pip_zone_check(void *arg, const char *name, struct hd_err *err);
enum hd_status pip_compile_with(struct hd_arena *arena, const char *source, size_t len, pip_zone_check *zones,
                                void *arg, struct hd_err *err, Hodei__V1__CompiledPipeline **ret) HD_MUST_USE;
// Takes every name of a time zone that could be one.
enum hd_status pip_compile(struct hd_arena *arena, const char *source, size_t len, struct hd_err *err,
                           Hodei__V1__CompiledPipeline **ret) HD_MUST_USE;

#endif
