// The triggers of a pipeline: the mapping under `on`. Pure.
#ifndef HD_PIPELINES_TRIGGERS_H
#define HD_PIPELINES_TRIGGERS_H

#include "services/pipelines/keys.h"

extern const struct pip_keys pip_on_keys, pip_cron_keys, pip_after_keys;
#define PIP_CRON_MAX 32  // entries of a pipeline
#define PIP_AFTER_MAX 32 // likewise

// Fills the triggers of the compiled pipeline, whose name is set; `on` NULL: there are none. Which time zones there are is asked of
// the walker's `zones`, since nothing is read here.
enum hd_status pip_take_triggers(struct pip_walk *w, const struct pip_node *on,
                                 Hodei__V1__CompiledPipeline *ret) HD_MUST_USE;

#endif
