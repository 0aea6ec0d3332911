#include "services/orchestrator/graph.h"

#define JOB(x) HODEI__V1__JOB_STATE__JOB_STATE_##x
#define ACCEPT(x) HODEI__V1__NEED_ACCEPT__NEED_ACCEPT_##x

static void push(struct orc_wave *wave, struct orc_job *job) {
    HD_GROW(wave->ws->arena, wave->queue, wave->n, wave->cap);
    wave->queue[wave->n++] = job;
}

static void want(struct orc_wave *wave, const struct orc_run *run, uint32_t idx) {
    HD_GROW(wave->ws->arena, wave->jobs, wave->n_jobs, wave->cap_jobs);
    wave->jobs[wave->n_jobs++] = (struct orc_job_ref){run->id, idx};
}

static void want_outputs(struct orc_wave *wave, const struct orc_run *run, uint32_t idx) {
    HD_GROW(wave->ws->arena, wave->outputs, wave->n_outputs, wave->cap_outputs);
    wave->outputs[wave->n_outputs++] = (struct orc_job_ref){run->id, idx};
}

// The row, or NULL after asking for it.
static struct orc_job *see(struct orc_wave *wave, const struct orc_run *run, uint32_t idx, bool *ret_missing) {
    struct orc_job *job = orc_ws_job(wave->ws, run->id, idx);
    if (!job) {
        want(wave, run, idx);
        *ret_missing = true;
    }
    return job;
}

static bool newly_ended(const struct orc_job *job) {
    return orc_job_ended(job->state) && !orc_job_ended(job->was) && !job->told;
}

static bool to_decide(const struct orc_job *job) {
    return job->state == JOB(WAITING) && job->deps_left == 0 && !job->run->held && job->parent == ORC_NONE &&
           job->children == 0;
}

static bool has_finally(const struct orc_run *run) {
    return orc_plan_main(run->plan) < run->plan->n_jobs;
}

void orc_wave_begin(struct orc_wave *wave, struct orc_ws *ws, struct orc_chance *chance) {
    *wave = (struct orc_wave){.ws = ws, .chance = chance};
    for (size_t i = 0; i < ws->jobs.n; i++) {
        struct orc_job *job = ws->jobs.items[i];
        if (job->dirty && job->run->locked && (newly_ended(job) || to_decide(job)))
            push(wave, job);
    }
}

// --- who hears of an end --------------------------------------------------------------------------------------------------

uint32_t orc_end_mask(const struct orc_job *job) {
    if (job->state == JOB(SUCCEEDED) || job->flags & ORC_ALLOWED)
        return ACCEPT(SUCCESS);
    if (job->state == JOB(SKIPPED))
        return ACCEPT(SKIPPED);
    return job->state == JOB(CANCELLED) ? ACCEPT(CANCELLED) : ACCEPT(FAILURE);
}

static uint32_t accepted_by(const struct orc_job *job, const struct orc_job *need) {
    const Hodei__V1__CompiledJob *spec = orc_job_spec(job);
    for (size_t i = 0; i < spec->n_needs && spec->n_need_accepts; i++)
        if (spec->needs[i] == need->idx)
            return spec->need_accepts[i];
    return ACCEPT(SUCCESS);
}

uint32_t orc_run_flags(const struct orc_run *run) {
    return (run->failed ? ORC_SAW_FAILURE : 0) | (run->ended > run->succeeded + run->failed ? ORC_SAW_CANCEL : 0);
}

uint32_t orc_end_flags(const struct orc_job *ended, uint32_t accepts) {
    uint32_t mask = orc_end_mask(ended), flags = mask & accepts ? 0 : ORC_UNMET;
    uint32_t handed_on =
        ended->flags & (ORC_SAW_FAILURE | ORC_SAW_CANCEL); // what it was skipped for counts further down
    if (mask == ACCEPT(FAILURE))
        flags |= ORC_SAW_FAILURE;
    else if (mask == ACCEPT(CANCELLED))
        flags |= ORC_SAW_CANCEL;
    else if (mask == ACCEPT(SKIPPED))
        flags |= handed_on | (accepts & ACCEPT(SKIPPED) && !handed_on ? 0 : ORC_SAW_SKIP);
    return flags;
}

static void tell(struct orc_wave *wave, struct orc_job *to, const struct orc_job *ended) {
    if (to->state != JOB(WAITING) || to->deps_left == 0)
        return;
    to->deps_left--;
    to->dirty = true;
    to->flags |= orc_end_flags(ended, accepted_by(to, ended));
    if (to_decide(to))
        push(wave, to);
}

// All below a job that was skipped, at once: a chain of skips is two loads and not one for each.
static void want_below(struct orc_wave *wave, const struct orc_job *job) {
    const Hodei__V1__CompiledPipeline *plan = job->run->plan;
    struct hd_arena *arena = wave->ws->arena;
    bool *seen = HD_NEW_ARRAY(arena, plan->n_jobs, bool);
    uint32_t *stack = HD_NEW_ARRAY(arena, plan->n_jobs + 1, uint32_t);
    size_t depth = 0;
    stack[depth++] = job->idx;
    while (depth > 0) {
        const Hodei__V1__CompiledJob *spec = plan->jobs[stack[--depth]];
        for (size_t i = 0; i < spec->n_dependents; i++) {
            uint32_t next = spec->dependents[i];
            if (seen[next])
                continue;
            seen[next] = true;
            stack[depth++] = next;
            if (!orc_ws_job(wave->ws, job->run->id, next))
                want(wave, job->run, next);
        }
    }
}

static bool tell_dependents(struct orc_wave *wave, struct orc_job *job) {
    const Hodei__V1__CompiledJob *spec = orc_job_spec(job);
    bool missing = false, last = job->spec < orc_plan_main(job->run->plan) && job->run->main_left == 1;
    uint32_t first = (uint32_t)orc_plan_main(job->run->plan), end = (uint32_t)job->run->plan->n_jobs;
    for (size_t i = 0; i < spec->n_dependents; i++)
        if (!orc_ws_job(wave->ws, job->run->id, spec->dependents[i]))
            missing = true;
    if (missing && job->state == JOB(SKIPPED))
        want_below(wave, job);
    else if (missing)
        for (size_t i = 0; i < spec->n_dependents; i++)
            see(wave, job->run, spec->dependents[i], &missing);
    for (uint32_t i = first; i < end && last; i++)
        see(wave, job->run, i, &missing);
    if (missing)
        return false;
    job->told = true;
    for (size_t i = 0; i < spec->n_dependents; i++)
        tell(wave, orc_ws_job(wave->ws, job->run->id, spec->dependents[i]), job);
    if (!has_finally(job->run) || job->spec >= first)
        return true;
    job->run->main_left -= job->run->main_left > 0;
    job->run->dirty = job->run->amended = true;
    for (uint32_t i = first; i < end && job->run->main_left == 0; i++) {
        struct orc_job *clean = orc_ws_job(wave->ws, job->run->id, i);
        if (clean->state != JOB(WAITING) || clean->deps_left == 0)
            continue;
        clean->deps_left--;
        clean->flags |= orc_run_flags(job->run);
        clean->dirty = true;
        if (to_decide(clean))
            push(wave, clean);
    }
    return true;
}

// --- matrices -----------------------------------------------------------------------------------------------------------------

static void change(struct orc_wave *wave, struct orc_job *job, enum orc_job_event event, unsigned facts) {
    if (orc_job_change(job, event, facts, wave->chance) && orc_job_ended(job->state))
        push(wave, job);
}

// WAITING → QUEUED, unless no worker could ever be found for it.
static void begin(struct orc_wave *wave, struct orc_job *job) {
    Hodei__V1__Label **labels;
    struct hd_err err;
    if (orc_job_labels(wave->ws, job, &err, &labels) == HD_OK) {
        change(wave, job, ORC_JOB_NEEDS_MET, 0);
        return;
    }
    job->cause = HODEI__V1__CAUSE__CAUSE_EXPRESSION;
    job->message = hd_arena_strdup(wave->ws->arena, err.text);
    change(wave, job, ORC_JOB_BREAK, 0);
}

static void cancel_siblings(struct orc_wave *wave, const struct orc_job *parent) {
    for (uint32_t i = 0; i < parent->children; i++) {
        struct orc_job *child = orc_ws_job(wave->ws, parent->run->id, parent->first_child + i);
        if (!child || orc_job_ended(child->state) || child->state == JOB(CANCELLING) || orc_job_spared(child))
            continue;
        child->cause = HODEI__V1__CAUSE__CAUSE_FAIL_FAST;
        child->message = "another job of its matrix failed";
        change(wave, child, ORC_JOB_CANCEL, 0);
    }
}

static void end_parent(struct orc_wave *wave, struct orc_job *parent) {
    unsigned facts = (parent->flags & ORC_CHILD_FAILED ? ORC_SOME_FAILED : 0) |
                     (parent->flags & ORC_CHILD_CANCELLED ? ORC_SOME_CANCELLED : 0);
    change(wave, parent, ORC_JOB_CHILDREN, facts);
}

// The end of a job of a matrix: its parent counts it, and the next one may start.
static bool tell_parent(struct orc_wave *wave, struct orc_job *child) {
    bool missing = false;
    struct orc_job *parent = see(wave, child->run, child->parent, &missing), *next = NULL;
    if (missing)
        return false;
    const Hodei__V1__Matrix *matrix = orc_job_spec(parent)->matrix;
    bool failed = child->state == JOB(FAILED) || child->state == JOB(TIMED_OUT), allowed = child->flags & ORC_ALLOWED;
    bool stop = failed && !allowed && matrix && matrix->fail_fast && !(parent->flags & ORC_CHILD_FAILED);
    for (uint32_t i = 0; i < parent->children && stop; i++)
        see(wave, child->run, parent->first_child + i, &missing);
    if (!stop && parent->next_child < parent->children)
        next = see(wave, child->run, parent->first_child + parent->next_child, &missing);
    if (missing)
        return false;
    child->told = true;
    parent->dirty = true;
    parent->open_children -= parent->open_children > 0;
    if (failed)
        parent->flags |= allowed ? ORC_CHILD_ALLOWED : ORC_CHILD_FAILED;
    else if (child->state == JOB(CANCELLED))
        parent->flags |= ORC_CHILD_CANCELLED;
    if (stop)
        cancel_siblings(wave, parent);
    if (next) {
        parent->next_child++;
        begin(wave, next);
    }
    if (parent->open_children == 0)
        end_parent(wave, parent);
    return true;
}

static void expand(struct orc_wave *wave, struct orc_job *parent, const struct hd_value *all) {
    struct orc_run *run = parent->run;
    const Hodei__V1__CompiledJob *spec = orc_job_spec(parent);
    uint32_t at_once = spec->matrix->max_parallel && spec->matrix->max_parallel < all->n ? spec->matrix->max_parallel
                                                                                         : (uint32_t)all->n;
    parent->children = parent->open_children = (uint32_t)all->n;
    parent->first_child = run->rows;
    parent->next_child = at_once;
    parent->dirty = run->dirty = run->amended = true;
    run->total += parent->children - 1; // the parent itself no longer counts
    run->rows += parent->children;
    for (uint32_t i = 0; i < parent->children; i++) {
        HD_AUTO_BUF struct hd_buf json = {0};
        struct orc_job *child = orc_ws_add_job(wave->ws, run, parent->first_child + i);
        hd_value_write(&json, all->items[i]);
        child->spec = parent->spec;
        child->parent = parent->idx;
        child->ordinal = i + 1;
        child->matrix = hd_arena_strdup(wave->ws->arena, json.data);
        child->pool = parent->pool;
        child->priority = parent->priority;
        child->state = JOB(WAITING);
        child->outputs = "";
        child->dirty = true;
        if (i < at_once)
            begin(wave, child);
    }
}

// --- decisions ----------------------------------------------------------------------------------------------------------------

static bool sees_one(struct orc_wave *wave, const struct orc_run *run, uint32_t idx) {
    bool missing = false;
    const struct orc_job *need = see(wave, run, idx, &missing);
    if (!need)
        return false;
    if (orc_job_spec(need)->n_outputs == 0)
        return true;
    if (need->children == 0 && !need->outputs) {
        want_outputs(wave, run, idx);
        return false;
    }
    for (uint32_t i = 0; i < need->children; i++) {
        const struct orc_job *child = see(wave, run, need->first_child + i, &missing);
        if (child && !child->outputs) {
            want_outputs(wave, run, child->idx);
            missing = true;
        }
    }
    return !missing;
}

bool orc_job_sees(struct orc_wave *wave, const struct orc_job *job) {
    const Hodei__V1__CompiledJob *spec = orc_job_spec(job);
    bool all = true;
    for (size_t i = 0; i < spec->n_needs && spec->uses_needs; i++)
        all = sees_one(wave, job->run, spec->needs[i]) && all;
    return all;
}

static bool decide(struct orc_wave *wave, struct orc_job *job) {
    const struct hd_value *matrix;
    if (!orc_job_sees(wave, job))
        return false;
    switch (orc_job_decide(wave->ws, job, &matrix, &job->cause, &job->message)) {
    case ORC_RUN_IT:
        begin(wave, job);
        break;
    case ORC_SKIP_IT:
        change(wave, job, ORC_JOB_SKIP, 0);
        break;
    case ORC_BREAK_IT:
        change(wave, job, ORC_JOB_BREAK, 0);
        break;
    case ORC_EXPAND_IT:
        expand(wave, job, matrix);
        break;
    }
    return true;
}

bool orc_wave_run(struct orc_wave *wave) {
    for (size_t i = 0; i < wave->n_blocked; i++)
        push(wave, wave->blocked[i]);
    wave->n_blocked = wave->n_jobs = wave->n_outputs = 0;
    while (wave->head < wave->n) {
        struct orc_job *job = wave->queue[wave->head++];
        bool done = true;
        if (newly_ended(job))
            done = job->parent == ORC_NONE ? tell_dependents(wave, job) : tell_parent(wave, job);
        else if (to_decide(job))
            done = decide(wave, job);
        if (done)
            continue;
        HD_GROW(wave->ws->arena, wave->blocked, wave->n_blocked, wave->cap_blocked);
        wave->blocked[wave->n_blocked++] = job;
    }
    return wave->n_blocked > 0;
}
