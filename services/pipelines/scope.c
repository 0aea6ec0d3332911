// Which names an expression may use, by where it stands; and the check of them all.
#include <string.h>

#include "base/buf.h"
#include "services/pipelines/compile_impl.h"

static const struct hd_type absent_ready = {.kind = HD_MAP,
                                            .absent = "it is known only when the job's needs have ended"},
                            absent_matrix = {.kind = HD_MAP, .absent = "the matrix is made after this is decided"},
                            no_matrix = {.kind = HD_MAP, .absent = "the job has no matrix"},
                            absent_steps = {.kind = HD_MAP, .absent = "it is known only on the worker, in a step"},
                            absent_git = {.kind = HD_MAP, .absent = "git is not available yet"};
static const struct hd_type any_members = {.kind = HD_MAP, .item = &hd_type_any},
                            text_members = {.kind = HD_MAP, .item = &hd_type_string};

static const struct hd_type *type_of(const struct hd_value *value) {
    switch (value->kind) {
    case HD_BOOL:
        return &hd_type_bool;
    case HD_NUMBER:
        return &hd_type_number;
    case HD_STRING:
        return &hd_type_string;
    default:
        return &hd_type_any;
    }
}

static const struct hd_type *inputs_type(struct compile *c) {
    static const struct hd_type *const types[] = {&hd_type_string, &hd_type_number, &hd_type_bool, &hd_type_string,
                                                  &hd_type_any};
    struct hd_type *map = hd_type_map(c->walk.arena);
    for (size_t i = 0; i < c->in.inputs.n; i++)
        hd_type_set(c->walk.arena, map, c->in.inputs.items[i]->name, types[c->in.inputs.items[i]->type]);
    return map;
}

static const struct hd_type *run_type(struct compile *c) {
    static const char *const names[] = {"id", "pipeline", "trigger", "actor"};
    struct hd_type *map = hd_type_map(c->walk.arena);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        hd_type_set(c->walk.arena, map, names[i], &hd_type_string);
    hd_type_set(c->walk.arena, map, "version", &hd_type_number);
    return map;
}

// Members of the maps that a matrix is made of: of one type where all agree.
static void add_members(struct compile *c, struct hd_type *map, const struct hd_value *value, const char *name) {
    const struct hd_type *type = type_of(value);
    for (size_t i = 0; i < map->n; i++) {
        if (strcmp(map->names[i], name) == 0) {
            map->types[i] = map->types[i] == type ? type : &hd_type_any;
            return;
        }
    }
    hd_type_set(c->walk.arena, map, name, type);
}

static const struct hd_type *matrix_type(struct compile *c, const struct job *job) {
    const struct hd_value *const lists[] = {job->matrix_include, job->matrix_axes};
    if (!job->matrix)
        return &no_matrix;
    if (!job->matrix_axes)
        return &any_members;
    struct hd_type *map = hd_type_map(c->walk.arena);
    for (size_t i = 0; i < job->matrix_axes->n; i++)
        for (size_t k = 0; k < job->matrix_axes->items[i]->n; k++)
            add_members(c, map, job->matrix_axes->items[i]->items[k], job->matrix_axes->names[i]);
    for (size_t i = 0; lists[0] && i < lists[0]->n; i++)
        for (size_t k = 0; k < lists[0]->items[i]->n; k++)
            add_members(c, map, lists[0]->items[i]->items[k], lists[0]->items[i]->names[k]);
    return map;
}

static const struct hd_type *needs_type(struct compile *c, size_t index) {
    const Hodei__V1__CompiledJob *job = c->jobs[index];
    struct hd_type *needs = hd_type_map(c->walk.arena);
    for (size_t i = 0; i < job->n_needs; i++) {
        const struct job *of = &c->ins[job->needs[i]];
        struct hd_type *one = hd_type_map(c->walk.arena), *outputs = hd_type_map(c->walk.arena);
        for (size_t k = 0; k < of->outputs.n; k++)
            hd_type_set(c->walk.arena, outputs, of->outputs.vars[k]->name,
                        of->matrix ? &hd_type_texts : &hd_type_string);
        hd_type_set(c->walk.arena, one, "result", &hd_type_string);
        hd_type_set(c->walk.arena, one, "outputs", outputs);
        hd_type_set(c->walk.arena, needs, c->jobs[job->needs[i]]->name, one);
    }
    return needs;
}

static const struct hd_type *steps_type(struct compile *c, size_t index, size_t before) {
    const Hodei__V1__CompiledJob *job = c->jobs[index];
    struct hd_type *steps = hd_type_map(c->walk.arena);
    for (size_t i = 0; i < job->n_steps && i < before; i++) {
        struct hd_type *one = hd_type_map(c->walk.arena);
        if (!*job->steps[i]->id)
            continue;
        hd_type_set(c->walk.arena, one, "result", &hd_type_string);
        hd_type_set(c->walk.arena, one, "outputs", &text_members);
        hd_type_set(c->walk.arena, steps, job->steps[i]->id, one);
    }
    return steps;
}

static void add_env(struct compile *c, struct hd_type *map, const struct pip_env *env, size_t n) {
    for (size_t i = 0; i < n && i < env->n; i++)
        hd_type_set(c->walk.arena, map, env->vars[i]->name, &hd_type_string);
}

// The variables that stand before the place of an expression.
static const struct hd_type *env_type(struct compile *c, const struct pip_pending *p) {
    struct hd_type *map = hd_type_map(c->walk.arena);
    const struct pip_env *own = p->job != SIZE_MAX ? &c->ins[p->job].step.env : NULL;
    bool in_outer = p->env == &c->in.env, in_own = own && p->env == own;
    add_env(c, map, &c->in.env, in_outer ? p->env_index : c->in.env.n);
    if (own && !in_outer)
        add_env(c, map, own, in_own ? p->env_index : own->n);
    if (p->env && !in_outer && !in_own)
        add_env(c, map, p->env, p->env_index);
    else if (p->step != SIZE_MAX && p->job != SIZE_MAX && !p->env)
        for (size_t i = 0; i < c->jobs[p->job]->steps[p->step]->n_env; i++)
            hd_type_set(c->walk.arena, map, c->jobs[p->job]->steps[p->step]->env[i]->name, &hd_type_string);
    return map;
}

static const struct hd_type *names_at(struct compile *c, const struct pip_pending *p) {
    struct hd_arena *arena = c->walk.arena;
    struct hd_type *names = hd_type_map(arena);
    bool worker = p->stage >= PIP_AT_OUTER, of_job = p->job != SIZE_MAX && p->stage != PIP_AT_OUTER;
    size_t before = p->stage == PIP_AT_OUTPUTS ? SIZE_MAX : p->step == SIZE_MAX ? 0 : p->step;
    hd_type_set(arena, names, "inputs", inputs_type(c));
    hd_type_set(arena, names, "run", run_type(c));
    hd_type_set(arena, names, "git", &absent_git);
    hd_type_set(arena, names, "env", worker ? env_type(c, p) : &absent_steps);
    hd_type_set(arena, names, "needs", of_job && p->stage != PIP_AT_PLACE ? needs_type(c, p->job) : &absent_ready);
    hd_type_set(arena, names, "matrix",
                !of_job                    ? &absent_ready
                : p->stage == PIP_AT_READY ? &absent_matrix
                                           : matrix_type(c, &c->ins[p->job]));
    hd_type_set(arena, names, "steps", worker && of_job ? steps_type(c, p->job, before) : &absent_steps);
    return names;
}

static enum hd_status check_one(struct compile *c, const struct pip_pending *p, const struct hd_expr *expr, size_t at,
                                const struct hd_type *names) {
    const struct hd_type *type;
    bool decides = p->stage == PIP_AT_READY || p->stage == PIP_AT_STEP_IF;
    unsigned absent = (decides && p->wanted == HD_BOOL ? 0 : HD_USES_STATUS) | HD_USES_FILES;
    enum hd_status status = hd_expr_check(expr, names, absent, c->walk.err, &type);
    if (status == HD_OK && p->wanted != HD_ANY && type->kind != p->wanted && type->kind != HD_ANY) {
        hd_err_set(c->walk.err, HD_INVALID, "the expression must give %s, not %s", hd_kind_name(p->wanted),
                   hd_kind_name(type->kind));
        hd_err_at(c->walk.err, 1, 1);
        status = HD_INVALID;
    }
    if (status == HD_OK && p->stage == PIP_AT_READY && p->wanted == HD_ANY && type->kind < HD_LIST) { // matrix.from
        hd_err_set(c->walk.err, HD_INVALID, "the expression must give a list or a map, not %s",
                   hd_kind_name(type->kind));
        hd_err_at(c->walk.err, 1, 1);
        hd_err_hint(c->walk.err, "a text is read by from_json()");
        status = HD_INVALID;
    }
    if (status == HD_OK) {
        if (p->job != SIZE_MAX && expr->uses & HD_USES_NEEDS)
            c->jobs[p->job]->uses_needs = true;
        return HD_OK;
    }
    hd_err_at(c->walk.err, 1, c->walk.err->column + (unsigned)at);
    pip_locate(&c->walk, p->at, p->text);
    return HD_INVALID;
}

static enum hd_status check_pending(struct compile *c, const struct pip_pending *p) {
    const struct hd_type *names = names_at(c, p);
    struct hd_template t;
    size_t len = strlen(p->text);
    if (p->bare && !strstr(p->text, "${{")) {
        struct hd_expr expr;
        HD_TRY(hd_expr_parse(c->walk.arena, p->text, len, NULL, c->walk.err, &expr));
        return check_one(c, p, &expr, 0, names);
    }
    HD_TRY(hd_template_parse(c->walk.arena, p->text, len, c->walk.err, &t));
    for (size_t i = 0; i < t.n; i++)
        if (!t.parts[i].text)
            HD_TRY(check_one(c, p, &t.parts[i].expr, t.parts[i].at + 3, names));
    return HD_OK;
}

// In an arena of its own: the names of one place are of no use to the next.
static enum hd_status check_apart(struct compile *c, const struct pip_pending *p) {
    struct hd_arena *arena = c->walk.arena, scratch;
    hd_arena_init(&scratch);
    c->walk.arena = &scratch;
    enum hd_status status = check_pending(c, p);
    c->walk.arena = arena;
    hd_arena_release(&scratch);
    return status;
}

enum hd_status pip_check_expressions(struct compile *c) {
    for (size_t i = 0; i < c->n_pending; i++) {
        HD_AUTO_BUF struct hd_buf path = {0};
        const struct pip_pending *p = &c->pending[i];
        if (check_apart(c, p) == HD_OK)
            continue;
        for (size_t k = 0; k < p->n_path; k++) {
            if (p->path[k].key)
                hd_buf_addf(&path, "%s%.*s", k ? "." : "", PIP_NAME_MAX, p->path[k].key);
            else
                hd_buf_addf(&path, "[%zu]", p->path[k].index);
        }
        hd_err_field(c->walk.err, "%s", path.data ? path.data : "");
        return HD_INVALID;
    }
    return HD_OK;
}
