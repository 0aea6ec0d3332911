// A new run that takes over results of one that has ended. Pure.
#include "services/orchestrator/steer.h"

#define JOB(x) HODEI__V1__JOB_STATE__JOB_STATE_##x
#define FROM(x) HODEI__V1__STEER_REQUEST__FROM__FROM_##x

static bool good(const struct orc_job *job) {
    return job->state == JOB(SUCCEEDED) || job->flags & ORC_ALLOWED;
}

// Jobs that are carried out again, with all that comes after them.
static void spread(const Hodei__V1__CompiledPipeline *plan, bool *fresh) {
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < plan->n_jobs; i++)
            for (size_t k = 0; k < plan->jobs[i]->n_needs && !fresh[i]; k++)
                changed |= fresh[i] = fresh[plan->jobs[i]->needs[k]];
    }
}

static struct orc_job *copy_row(struct orc_ws *ws, const struct orc_job *old, struct orc_run *to, uint32_t idx,
                                bool keep) {
    struct orc_job *job = orc_ws_add_job(ws, to, idx);
    job->spec = old->spec;
    job->pool = old->pool;
    job->priority = old->priority;
    job->parent = old->parent;
    job->ordinal = old->ordinal;
    job->matrix = old->matrix;
    job->state = JOB(WAITING);
    job->outputs = "";
    job->dirty = true;
    if (!keep)
        return job;
    job->state = old->state;
    job->flags = (old->flags & ~(uint32_t)(ORC_SAW_FAILURE | ORC_SAW_CANCEL | ORC_SAW_SKIP | ORC_UNMET)) | ORC_KEPT;
    job->queued_ms = old->queued_ms;
    job->started_ms = old->started_ms;
    job->ended_ms = old->ended_ms;
    job->cause = old->cause;
    job->message = old->message;
    job->told = true;
    if (old->outputs && *old->outputs) {
        job->outputs = old->outputs;
        job->outputs_dirty = true;
    }
    return job;
}

static void count_kept(struct orc_run *run) {
    run->ended++;
    run->succeeded++;
}

// The jobs of a matrix that succeeded are kept, and come first, so that the rest starts in its turn.
static void copy_children(struct orc_ws *ws, const struct orc_job *old, struct orc_job *parent, bool keep_all,
                          struct orc_chance *chance) {
    const Hodei__V1__Matrix *matrix = orc_job_spec(parent)->matrix;
    struct orc_run *run = parent->run;
    uint32_t kept = 0;
    parent->children = old->children;
    parent->first_child = run->rows;
    run->rows += old->children;
    run->total += old->children - 1;
    for (int keep = 1; keep >= 0; keep--) {
        for (uint32_t i = 0; i < old->children; i++) {
            const struct orc_job *from = orc_ws_job(ws, old->run->id, old->first_child + i);
            if ((keep_all || good(from)) != (keep == 1))
                continue;
            struct orc_job *child = copy_row(ws, from, run, parent->first_child + kept + parent->open_children, keep);
            if (keep) {
                kept++;
                count_kept(run);
                continue;
            }
            parent->open_children++;
            if (!matrix->max_parallel || parent->open_children <= matrix->max_parallel)
                orc_job_change(child, ORC_JOB_NEEDS_MET, 0, chance);
        }
    }
    uint32_t begun = matrix->max_parallel && matrix->max_parallel < parent->open_children ? matrix->max_parallel
                                                                                          : parent->open_children;
    parent->next_child = kept + begun;
}

static bool needs_kept(const Hodei__V1__CompiledPipeline *plan, size_t index, const bool *fresh) {
    for (size_t k = 0; k < plan->jobs[index]->n_needs; k++)
        if (fresh[plan->jobs[index]->needs[k]])
            return false;
    return true;
}

static void copy_job(struct orc_ws *ws, const struct orc_job *old, struct orc_run *to, const bool *fresh,
                     bool by_failed, struct orc_chance *chance) {
    struct orc_job *job = copy_row(ws, old, to, old->idx, !fresh[old->idx]);
    bool partly = by_failed && fresh[old->idx] && old->children && needs_kept(to->plan, old->idx, fresh);
    if (old->children && (!fresh[old->idx] || partly))
        copy_children(ws, old, job, !fresh[old->idx], chance);
    else if (!fresh[old->idx])
        count_kept(to);
}

static enum hd_status choose(struct orc_ws *ws, const struct orc_run *from, const struct orc_command *command,
                             struct hd_err *err, bool *fresh, struct orc_job **ret_marked) {
    const Hodei__V1__CompiledPipeline *plan = from->plan;
    struct orc_job *named = *command->job ? orc_job_named(ws, from, command->job) : NULL;
    bool all = command->action == ORC_RERUN && command->from == FROM(ALL), mark = command->action == ORC_MARK_DONE;
    if (*command->job && !named) {
        hd_err_set(err, HD_MISSING, "the run has no job \"%.140s\"", command->job);
        hd_err_field(err, "job");
        return HD_MISSING;
    }
    if (!named && (mark || command->from == FROM(JOB))) {
        hd_err_set(err, HD_INVALID, "a rerun from a job must name it");
        hd_err_field(err, "job");
        return HD_INVALID;
    }
    if (mark && (good(named) || named->children || named->parent != ORC_NONE || named->state == JOB(SKIPPED)))
        return hd_err_set(err, HD_PRECONDITION, "job %.140s is not one that failed by itself", command->job);
    for (uint32_t i = 0; i < plan->n_jobs; i++) {
        const struct orc_job *job = orc_ws_job(ws, from->id, i);
        bool is_named = named && (named->idx == i || named->parent == i);
        fresh[i] = all || i >= orc_plan_main(plan) || (is_named ? !mark : !good(job));
    }
    spread(plan, fresh);
    if (mark)
        fresh[named->idx] = false;
    *ret_marked = mark ? named : NULL;
    return HD_OK;
}

enum hd_status orc_rerun(struct orc_ws *ws, const struct orc_run *from, struct orc_run *to,
                         const struct orc_command *command, struct orc_chance *chance, struct hd_err *err) {
    const Hodei__V1__CompiledPipeline *plan = to->plan;
    bool *fresh = HD_NEW_ARRAY(ws->arena, plan->n_jobs, bool);
    bool by_failed = command->action == ORC_RERUN && command->from == FROM(FAILED);
    struct orc_job *marked = NULL;
    HD_TRY(choose(ws, from, command, err, fresh, &marked));
    orc_run_begin(to, chance->now_ms);
    for (uint32_t i = 0; i < plan->n_jobs; i++)
        copy_job(ws, orc_ws_job(ws, from->id, i), to, fresh, by_failed, chance);
    if (marked) {
        struct orc_job *job = orc_ws_job(ws, to->id, marked->idx);
        job->state = JOB(SUCCEEDED);
        job->flags = ORC_KEPT | ORC_MARKED;
        job->cause = 0;
        job->message = hd_arena_printf(ws->arena, "marked as done by %s%s%s", command->actor,
                                       *command->reason ? ": " : "", command->reason);
    }
    orc_rebuild(ws, to, chance);
    return HD_OK;
}
