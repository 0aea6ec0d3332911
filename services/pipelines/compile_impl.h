// What the files of the compiler share. Inside the compiler only.
//
// Order: the tables take every job into a struct job (compile_job.c, compile_step.c, compile_parts.c) and remember each text
// with expressions; then needs are resolved (compile.c); then the expressions are checked, since only now all names are known
// (scope.c).
#ifndef HD_PIPELINES_COMPILE_IMPL_H
#define HD_PIPELINES_COMPILE_IMPL_H

#include "base/expr.h"
#include "services/pipelines/compile.h"
#include "services/pipelines/keys.h"
#include "services/pipelines/resources.h"

// When an expression is evaluated, and so what it may name.
enum pip_stage {
    PIP_AT_START,   // of the run: group of a pipeline
    PIP_AT_READY,   // of a job: if, matrix.from
    PIP_AT_PLACE,   // of a job, its matrix known: labels
    PIP_AT_CHILD,   // likewise, with its needs: group
    PIP_AT_OUTER,   // on the worker: env of the pipeline
    PIP_AT_STEP,    // on the worker: env, run, command
    PIP_AT_STEP_IF, // on the worker, with success() and its like
    PIP_AT_OUTPUTS, // on the worker, after the last step
};

// A text with expressions, to be checked when all names are known.
struct pip_pending {
    struct pip_at at;
    struct pip_step_in_path path[PIP_DEPTH_MAX + 1];
    size_t n_path;
    const char *text; // a template, or with `bare` an expression
    bool bare;
    enum pip_stage stage;
    enum hd_kind wanted;       // HD_ANY: whatever can be printed
    size_t job, step;          // SIZE_MAX: of the pipeline; of the job
    const struct pip_env *env; // it stands in this one, and sees what is before it
    size_t env_index;
};

// A step, and what a job says in its place or as the default of its steps.
struct step {
    char *id, *name, *run, *shell, *workdir, *condition;
    struct pip_argv command;
    struct pip_env env;
    int64_t timeout_ms;
    int32_t continue_on_error;
    struct pip_at run_at, at;
};
struct job {
    struct step step;
    const char *condition;
    unsigned condition_uses;
    const struct pip_node *steps, *needs;
    struct pip_labels labels;
    Hodei__V1__Resources *resources;
    struct pip_tolerations tolerations;
    char *pool;
    int32_t executor, on_worker_lost, priority;
    int64_t timeout_ms, queue_timeout_ms, cancel_grace_ms;
    Hodei__V1__Matrix *matrix;
    const struct hd_value *matrix_axes, *matrix_include, *matrix_exclude;
    Hodei__V1__Retry *retry;
    Hodei__V1__Approval *approval;
    Hodei__V1__Concurrency *concurrency;
    int32_t interruptible; // true where nothing is said
    struct pip_allow {
        bool any;
        int32_t *codes;
        size_t n_codes;
    } allow;
    struct pip_env outputs;
};
struct pipeline {
    char *hodei, *name;
    struct pip_env env;
    int32_t priority;
    int64_t timeout_ms, queue_timeout_ms;
    const struct pip_node *jobs, *finally, *defaults, *on;
    struct pip_inputs {
        Hodei__V1__Input **items;
        size_t n;
    } inputs;
    Hodei__V1__Concurrency *concurrency;
};
struct named { // a name and where it stands in the list that it is from
    const char *name;
    uint32_t index;
};
struct compile {
    struct pip_walk walk; // first: a walker is a compile
    struct pipeline in;
    struct job defaults;
    struct named *job_names; // sorted
    uint32_t *needed_by;     // by the job with this index + 1
    Hodei__V1__CompiledJob **jobs;
    struct job *ins; // what each job says
    size_t n_jobs, n_main;
    size_t expanded; // jobs of a run, static matrices counted out
    struct pip_pending *pending;
    size_t n_pending, cap_pending;
    size_t job, step; // being taken; SIZE_MAX: none
};
static inline struct compile *compile_of(struct pip_walk *w) {
    return (struct compile *)(void *)w;
}

// compile_job.c
extern const struct pip_keys pip_job_keys;
void pip_job_init(struct compile *c, struct job *job);
enum hd_status pip_take_job(struct compile *c, uint32_t index, const struct pip_entry *entry) HD_MUST_USE;
// compile_step.c
extern const struct pip_keys pip_step_keys;
enum hd_status pip_take_work(struct compile *c, const struct job *in, struct pip_at at,
                             Hodei__V1__CompiledJob *job) HD_MUST_USE;
extern pip_take pip_take_workdir, pip_take_run;
// compile_parts.c: parts of a job that are mappings of their own. The comment is the type of the field.
extern pip_take pip_take_matrix;      // of struct job
extern pip_take pip_take_retry;       // Hodei__V1__Retry *
extern pip_take pip_take_approval;    // Hodei__V1__Approval *
extern pip_take pip_take_concurrency; // Hodei__V1__Concurrency *
extern pip_take pip_take_allow;       // struct pip_allow
extern pip_take pip_take_outputs;     // struct pip_env
extern pip_take pip_take_inputs;      // struct pip_inputs
extern const struct pip_keys pip_matrix_keys, pip_retry_keys, pip_backoff_keys, pip_approval_keys, pip_concurrency_keys,
    pip_allow_keys, pip_input_keys;
// compile_text.c: texts that may hold expressions.
extern pip_take pip_take_condition; // const char *
extern pip_take pip_take_bool;      // int32_t
enum hd_status pip_template(struct pip_walk *w, const struct pip_node *value, bool any_scalar, enum pip_stage stage,
                            char **ret, struct hd_template *ret_template) HD_MUST_USE;
// An expression alone, with or without ${{ }} around it.
enum hd_status pip_bare(struct pip_walk *w, const struct pip_node *value, enum pip_stage stage, enum hd_kind wanted,
                        const char **ret, unsigned *ret_uses) HD_MUST_USE;
enum hd_status pip_value(struct pip_walk *w, const struct pip_node *node, const struct hd_value **ret) HD_MUST_USE;
// Moves the place of an error, a column within `text`, to where the text stands in the source.
void pip_locate(struct pip_walk *w, struct pip_at at, const char *text);
// scope.c
enum hd_status pip_check_expressions(struct compile *c) HD_MUST_USE;
extern const struct pip_keys pip_pipeline_keys, pip_need_keys; // compile.c

#endif
