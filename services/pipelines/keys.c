#include "services/pipelines/compile_impl.h"

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/names.h"
#include "base/settings.h"

// --- place and errors -------------------------------------------------------------------------------------------------

void pip_enter_key(struct pip_walk *w, const char *key) {
    w->path[w->n_path++] = (struct pip_step_in_path){.key = key};
}

void pip_enter_index(struct pip_walk *w, size_t index) {
    w->path[w->n_path++] = (struct pip_step_in_path){.index = index};
}

void pip_leave(struct pip_walk *w) {
    w->n_path--;
}

enum hd_status pip_fail(struct pip_walk *w, struct pip_at at, const char *fmt, ...) {
    HD_AUTO_BUF struct hd_buf path = {0};
    va_list ap;

    va_start(ap, fmt);
    hd_err_setv(w->err, HD_INVALID, fmt, ap);
    va_end(ap);
    for (size_t i = 0; i < w->n_path; i++) {
        if (w->path[i].key)
            hd_buf_addf(&path, "%s%.*s", i ? "." : "", PIP_NAME_MAX, w->path[i].key);
        else
            hd_buf_addf(&path, "[%zu]", w->path[i].index);
    }
    hd_err_field(w->err, "%s", path.data ? path.data : "");
    hd_err_at(w->err, at.line, at.column);
    return HD_INVALID;
}

enum hd_status pip_expect(struct pip_walk *w, const struct pip_node *value, enum pip_kind kind) {
    if (value->kind == kind)
        return HD_OK;
    pip_fail(w, value->at, "must be %s, not %s", pip_kind_name(kind), pip_kind_name(value->kind));
    if (kind == PIP_TEXT && value->kind < PIP_LIST && value->kind != PIP_NULL)
        hd_err_hint(w->err, "put it in quotes: \"%.60s\"", value->text);
    else if (kind == PIP_LIST && value->kind == PIP_TEXT)
        hd_err_hint(w->err, "write it as a list: [%.60s]", value->text);
    return HD_INVALID;
}

enum hd_status pip_spend(struct pip_walk *w, struct pip_at at, size_t bytes) {
    w->taken_bytes += bytes;
    if (w->taken_bytes <= PIP_COMPILED_MAX)
        return HD_OK;
    pip_fail(w, at, "the compiled pipeline becomes larger than %u MiB here", PIP_COMPILED_MAX >> 20);
    hd_err_hint(w->err, "variables of the pipeline count once for each job; aliases count each time");
    return HD_INVALID;
}

// --- mappings by table ------------------------------------------------------------------------------------------------

static enum hd_status unknown_key(struct pip_walk *w, const struct pip_entry *entry, struct pip_keys keys) {
    unsigned best = strlen(entry->key) > 5 ? 3 : 2;
    const char *near = NULL;
    HD_AUTO_BUF struct hd_buf all = {0};

    for (size_t i = 0; i < keys.n; i++) {
        unsigned far = hd_edit_distance(entry->key, keys.rows[i].name, best);
        if (far < best || (far == best && !near)) {
            best = far;
            near = keys.rows[i].name;
        }
        if (keys.rows[i].take)
            hd_buf_addf(&all, "%s%s", all.len ? ", " : "", keys.rows[i].name);
    }
    pip_fail(w, entry->at, "unknown key \"%.100s\"", entry->key);
    if (near)
        hd_err_hint(w->err, "did you mean \"%s\"?", near);
    else
        hd_err_hint(w->err, "there are: %s", all.data);
    return HD_INVALID;
}

enum hd_status pip_walk_map(struct pip_walk *w, const struct pip_node *map, struct pip_keys keys, void *target) {
    uint64_t seen = 0; // tables have fewer than 64 rows

    HD_TRY(pip_expect(w, map, PIP_MAP));
    for (size_t i = 0; i < map->n; i++) {
        const struct pip_entry *entry = &map->entries[i];
        size_t k = 0;
        while (k < keys.n && strcmp(keys.rows[k].name, entry->key) != 0)
            k++;
        pip_enter_key(w, entry->key);
        if (k == keys.n)
            return unknown_key(w, entry, keys);
        if (!keys.rows[k].take)
            return pip_fail(w, entry->at, "\"%s\" is not available yet", entry->key);
        if (w->defaults && keys.rows[k].no_default)
            return pip_fail(w, entry->at, "\"%s\" belongs to one job and cannot be a default", entry->key);
        HD_TRY(keys.rows[k].take(w, &keys.rows[k], entry->value, (char *)target + keys.rows[k].offset));
        pip_leave(w);
        seen |= UINT64_C(1) << k;
    }
    for (size_t k = 0; k < keys.n; k++) {
        if (keys.rows[k].required && !(seen & UINT64_C(1) << k)) {
            pip_enter_key(w, keys.rows[k].name);
            return pip_fail(w, map->at, "\"%s\" is missing", keys.rows[k].name);
        }
    }
    return HD_OK;
}

// --- values -----------------------------------------------------------------------------------------------------------

enum hd_status pip_text(struct pip_walk *w, const struct pip_node *value, bool any_scalar, char **ret) {
    if (!any_scalar || value->kind >= PIP_LIST || value->kind == PIP_NULL)
        HD_TRY(pip_expect(w, value, PIP_TEXT));
    if (strstr(value->text, "${{")) {
        pip_fail(w, value->at, "an expression cannot stand here");
        hd_err_hint(w->err,
                    "expressions stand in env, run, command, if, labels, outputs, matrix.from and concurrency.group");
        hd_err_at(w->err, 1, (unsigned)(strstr(value->text, "${{") - value->text) + 1);
        pip_locate(w, value->at, value->text);
        return HD_INVALID;
    }
    HD_TRY(pip_spend(w, value->at, value->n + 4));
    *ret = (char *)(uintptr_t)value->text; // protobuf-c's fields are not const; nobody writes through them
    return HD_OK;
}

enum hd_status pip_take_text(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value, void *field) {
    (void)key;
    HD_TRY(pip_text(w, value, false, field));
    if (value->n == 0)
        return pip_fail(w, value->at, "must not be empty");
    return HD_OK;
}

enum hd_status pip_take_name(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value, void *field) {
    char *name;
    (void)key;
    HD_TRY(pip_text(w, value, false, &name));
    if (!hd_name_valid(name))
        return pip_fail(w, value->at, "\"%.140s\" is not a name: 1 to %d letters, digits, '.', '_' or '-'", name,
                        PIP_NAME_MAX);
    *(char **)field = name;
    return HD_OK;
}

enum hd_status pip_take_node(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value, void *field) {
    (void)w;
    (void)key;
    *(const struct pip_node **)field = value;
    return HD_OK;
}

enum hd_status pip_take_choice(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                               void *field) {
    const struct pip_choices *choices = key->arg;
    HD_AUTO_BUF struct hd_buf all = {0};
    char *text;

    HD_TRY(pip_text(w, value, false, &text));
    for (size_t i = 0; i < choices->n; i++) {
        const struct pip_choice *row = &choices->rows[i];
        if (strcmp(row->text, text) == 0) {
            if (row->later)
                return pip_fail(w, value->at, "%s \"%s\" is not available yet", key->name, text);
            *(int32_t *)field = row->value;
            return HD_OK;
        }
        if (!row->later)
            hd_buf_addf(&all, "%s%s", all.len ? ", " : "", row->text);
    }
    pip_fail(w, value->at, "%s cannot be \"%.100s\"", key->name, text);
    hd_err_hint(w->err, "one of: %s", all.data);
    return HD_INVALID;
}

enum hd_status pip_take_int(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value, void *field) {
    const struct pip_range *range = key->arg;
    int64_t n;

    HD_TRY(pip_expect(w, value, PIP_INT));
    if (hd_parse_i64(value->text, &n) != HD_OK || n < range->min || n > range->max)
        return pip_fail(w, value->at, "must be a whole number from %" PRId64 " to %" PRId64, range->min, range->max);
    *(int32_t *)field = (int32_t)n;
    return HD_OK;
}

enum hd_status pip_take_duration(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                                 void *field) {
    const struct pip_range *range = key->arg;
    int64_t ms;

    if (value->kind == PIP_INT) {
        pip_fail(w, value->at, "a duration needs a unit");
        hd_err_hint(w->err, "for example %.20ss or %.20sm", value->text, value->text);
        return HD_INVALID;
    }
    char *text;
    HD_TRY(pip_text(w, value, false, &text));
    if (hd_duration_parse(text, &ms) != HD_OK) {
        pip_fail(w, value->at, "\"%.60s\" is not a duration", text);
        hd_err_hint(w->err, "for example 500ms, 30s, 10m, 1h30m");
        return HD_INVALID;
    }
    if (ms < range->min || ms > range->max)
        return pip_fail(w, value->at, "must be from %" PRId64 " ms to %" PRId64 " hours", range->min,
                        range->max / 3600000);
    *(int64_t *)field = ms;
    return HD_OK;
}

bool pip_env_name_valid(const char *name) {
    if (!*name || (*name >= '0' && *name <= '9'))
        return false;
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
    return n <= PIP_NAME_MAX && name[n] == '\0';
}

enum hd_status pip_take_env(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value, void *field) {
    struct pip_env *env = field;

    (void)key;
    struct compile *c = compile_of(w);
    size_t first = c->n_pending;
    HD_TRY(pip_expect(w, value, PIP_MAP));
    if (value->n > PIP_ENV_MAX)
        return pip_fail(w, value->at, "%zu variables, more than %d", value->n, PIP_ENV_MAX);
    env->vars = HD_NEW_ARRAY(w->arena, value->n, Hodei__V1__EnvVar *);
    env->n = value->n;
    for (size_t i = 0; i < value->n; i++) {
        const struct pip_entry *e = &value->entries[i];
        Hodei__V1__EnvVar *var = HD_NEW(w->arena, Hodei__V1__EnvVar);
        hodei__v1__env_var__init(var);
        pip_enter_key(w, e->key);
        if (!pip_env_name_valid(e->key))
            return pip_fail(
                w, e->at, "\"%.140s\" is not the name of a variable: letters, digits and '_', no digit first", e->key);
        if (e->value->kind < PIP_LIST && e->value->n > PIP_ENV_VALUE_MAX)
            return pip_fail(w, e->value->at, "the value has %zu bytes, more than %u KiB", e->value->n,
                            PIP_ENV_VALUE_MAX >> 10);
        var->name = (char *)(uintptr_t)e->key;
        HD_TRY(pip_spend(w, e->at, strlen(e->key) + 4));
        struct hd_template t;
        enum pip_stage stage = c->job == SIZE_MAX && !w->defaults ? PIP_AT_OUTER : PIP_AT_STEP;
        HD_TRY(pip_template(w, e->value, true, stage, &var->value, &t));
        var->template_ = !hd_template_plain(&t);
        env->templates |= var->template_;
        for (; first < c->n_pending; first++) {
            c->pending[first].env = env;
            c->pending[first].env_index = i;
        }
        pip_leave(w);
        env->vars[i] = var;
    }
    return HD_OK;
}

enum hd_status pip_take_argv(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value, void *field) {
    struct pip_argv *argv = field;

    (void)key;
    HD_TRY(pip_expect(w, value, PIP_LIST));
    if (value->n == 0)
        return pip_fail(w, value->at, "must name a program");
    argv->args = HD_NEW_ARRAY(w->arena, value->n, char *);
    argv->n = value->n;
    for (size_t i = 0; i < value->n; i++) {
        pip_enter_index(w, i);
        struct hd_template t;
        HD_TRY(pip_template(w, value->items[i], true, PIP_AT_STEP, &argv->args[i], &t));
        argv->templates |= !hd_template_plain(&t);
        if (i == 0 && !*argv->args[0])
            return pip_fail(w, value->items[0]->at, "must name a program");
        pip_leave(w);
    }
    return HD_OK;
}

enum hd_status pip_take_labels(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                               void *field) {
    struct pip_labels *labels = field;

    (void)key;
    HD_TRY(pip_expect(w, value, PIP_MAP));
    labels->labels = HD_NEW_ARRAY(w->arena, value->n, Hodei__V1__Label *);
    labels->n = value->n;
    for (size_t i = 0; i < value->n; i++) {
        const struct pip_entry *e = &value->entries[i];
        Hodei__V1__Label *label = HD_NEW(w->arena, Hodei__V1__Label);
        hodei__v1__label__init(label);
        pip_enter_key(w, e->key);
        if (!hd_name_valid(e->key))
            return pip_fail(w, e->at, "\"%.140s\" is not a name: 1 to %d letters, digits, '.', '_' or '-'", e->key,
                            PIP_NAME_MAX);
        label->key = (char *)(uintptr_t)e->key;
        HD_TRY(pip_spend(w, e->at, strlen(e->key) + 4));
        struct hd_template t;
        HD_TRY(pip_template(w, e->value, true, PIP_AT_PLACE, &label->value, &t));
        if (hd_template_plain(&t) && !hd_name_valid(label->value))
            return pip_fail(w, e->value->at,
                            "\"%.140s\" cannot be the value of a label: 1 to %d letters, digits, '.', '_' or '-'",
                            label->value, PIP_NAME_MAX);
        pip_leave(w);
        labels->labels[i] = label;
    }
    return HD_OK;
}
