// The inputs of a run: what its pipeline declares, against what a start gives. Pure; the same code reads them in a run and in a plan.
#ifndef HD_BASE_INPUTS_H
#define HD_BASE_INPUTS_H

#include "base/value.h"
#include "hodei/v1/pipeline.pb-c.h"

// A map with one value for each declared input: what is given, read by its type, else its default, else null. HD_INVALID, with
// the place as the error's field, where one is not declared, given twice, missing, or not of its type.
enum hd_status hd_inputs_read(struct hd_arena *arena, const Hodei__V1__CompiledPipeline *pipeline,
                              Hodei__V1__EnvVar *const *given, size_t n_given, struct hd_err *err,
                              const struct hd_value **ret) HD_MUST_USE;

#endif
