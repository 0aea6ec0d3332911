// Parts of a job, and of a pipeline, that are mappings of their own.
#include <string.h>

#include "base/matrix.h"
#include "base/names.h"
#include "base/settings.h"
#include "services/pipelines/compile_impl.h"

#define RETRY_LIMIT_MAX 100
#define CODES_MAX 64
#define WHO_MAX 64
#define OUTPUTS_MAX 256
#define INPUTS_MAX 128

static const struct pip_range limits = {1, 1000}, retries = {1, RETRY_LIMIT_MAX}, parallel = {1, PIP_JOBS_MAX},
                              counts = {1, 20}, waits = {0, INT64_C(24) * 3600000},
                              long_waits = {1, INT64_C(720) * 3600000};

// --- texts in a list ------------------------------------------------------------------------------------------------------

static enum hd_status texts(struct pip_walk *w, const struct pip_node *value, size_t max, char ***ret, size_t *ret_n) {
    HD_TRY(pip_expect(w, value, PIP_LIST));
    if (value->n == 0 || value->n > max)
        return pip_fail(w, value->at, "must have 1 to %zu items, not %zu", max, value->n);
    char **list = HD_NEW_ARRAY(w->arena, value->n, char *);
    for (size_t i = 0; i < value->n; i++) {
        pip_enter_index(w, i);
        HD_TRY(pip_take_text(w, NULL, value->items[i], &list[i]));
        pip_leave(w);
    }
    *ret = list;
    *ret_n = value->n;
    return HD_OK;
}

struct text_list {
    char **items;
    size_t n;
};
static enum hd_status take_texts(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                                 void *field) {
    struct text_list *list = field;
    (void)key;
    return texts(w, value, WHO_MAX, &list->items, &list->n);
}

static enum hd_status exit_code(struct pip_walk *w, const struct pip_node *value, int32_t *ret) {
    int64_t n;
    if (value->kind != PIP_INT || hd_parse_i64(value->text, &n) != HD_OK || n < 1 || n > 255)
        return pip_fail(w, value->at, "\"%.40s\" is not an exit code from 1 to 255",
                        value->kind < PIP_LIST ? value->text : "");
    *ret = (int32_t)n;
    return HD_OK;
}

// --- matrix ---------------------------------------------------------------------------------------------------------------

struct matrix {
    const struct pip_node *axes, *include, *exclude, *from;
    int32_t max_parallel, fail_fast;
};
static const struct pip_key matrix_rows[] = {
    {"axes", pip_take_node, offsetof(struct matrix, axes),
     .schema = "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"array\"}}",
     .help = "lists of values; the job runs once for each combination"},
    {"from", pip_take_node, offsetof(struct matrix, from), .schema = "{\"type\":\"string\"}",
     .help = "an expression that gives a list of maps, or a map of lists, when the job's needs have ended"},
    {"include", pip_take_node, offsetof(struct matrix, include),
     .schema = "{\"type\":\"array\",\"items\":{\"type\":\"object\"}}",
     .help = "values to add to combinations, or combinations to add"},
    {"exclude", pip_take_node, offsetof(struct matrix, exclude),
     .schema = "{\"type\":\"array\",\"items\":{\"type\":\"object\"}}", .help = "combinations to leave out"},
    {"max_parallel", pip_take_int, offsetof(struct matrix, max_parallel), &parallel, .help = "how many run at a time"},
    {"fail_fast", pip_take_bool, offsetof(struct matrix, fail_fast),
     .help = "the first that fails cancels the rest; default false"},
};
const struct pip_keys pip_matrix_keys = {matrix_rows, sizeof(matrix_rows) / sizeof(*matrix_rows)};

static enum hd_status json_of(struct pip_walk *w, const char *key, const struct pip_node *node,
                              const struct hd_value **ret, char **ret_json) {
    HD_AUTO_BUF struct hd_buf json = {0};
    if (!node)
        return HD_OK;
    pip_enter_key(w, key);
    HD_TRY(pip_value(w, node, ret));
    pip_leave(w);
    hd_value_write(&json, *ret);
    *ret_json = hd_arena_strdup(w->arena, json.data);
    return pip_spend(w, node->at, json.len);
}

static enum hd_status static_matrix(struct pip_walk *w, const struct pip_node *at, const struct job *job) {
    struct compile *c = compile_of(w);
    const struct hd_value *all;
    if (hd_matrix_expand(w->arena, job->matrix_axes, job->matrix_include, job->matrix_exclude, w->err, &all) != HD_OK) {
        struct hd_err err = *w->err;
        pip_fail(w, at->at, "%s", err.text);
        hd_err_hint(w->err, "%s", err.hint);
        return HD_INVALID;
    }
    c->expanded += all->n - 1;
    if (c->expanded > PIP_JOBS_MAX)
        return pip_fail(w, at->at, "with this matrix a run has more than %d jobs", PIP_JOBS_MAX);
    return HD_OK;
}

enum hd_status pip_take_matrix(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                               void *field) {
    struct job *job = (struct job *)(void *)((char *)field - offsetof(struct job, matrix));
    struct matrix in = {0};
    Hodei__V1__Matrix *matrix = HD_NEW(w->arena, Hodei__V1__Matrix);
    (void)key;
    hodei__v1__matrix__init(matrix);
    HD_TRY(pip_walk_map(w, value, pip_matrix_keys, &in));
    if (!in.axes == !in.from)
        return pip_fail(w, value->at, in.axes ? "a matrix has axes or from, not both" : "a matrix needs axes or from");
    HD_TRY(json_of(w, "axes", in.axes, &job->matrix_axes, &matrix->axes));
    HD_TRY(json_of(w, "include", in.include, &job->matrix_include, &matrix->include));
    HD_TRY(json_of(w, "exclude", in.exclude, &job->matrix_exclude, &matrix->exclude));
    if (in.from) {
        unsigned uses;
        const char *from;
        pip_enter_key(w, "from");
        HD_TRY(pip_bare(w, in.from, PIP_AT_READY, HD_ANY, &from, &uses));
        pip_leave(w);
        matrix->from = (char *)(uintptr_t)from;
    } else {
        HD_TRY(static_matrix(w, value, job));
    }
    matrix->max_parallel = (uint32_t)in.max_parallel;
    matrix->fail_fast = in.fail_fast;
    job->matrix = matrix;
    return HD_OK;
}

// --- retry ----------------------------------------------------------------------------------------------------------------

struct backoff {
    int64_t initial_ms, max_ms;
    const struct pip_node *factor;
};
struct retry {
    int32_t limit, avoid_worker;
    const struct pip_node *on, *backoff;
};
static const struct pip_key backoff_rows[] = {
    {"initial", pip_take_duration, offsetof(struct backoff, initial_ms), &waits,
     .help = "before the first further attempt; default 1s"},
    {"factor", pip_take_node, offsetof(struct backoff, factor),
     .schema = "{\"type\":\"number\",\"minimum\":1,\"maximum\":10}",
     .help = "by how much the wait grows each time; default 2"},
    {"max", pip_take_duration, offsetof(struct backoff, max_ms), &waits,
     .help = "the wait is never longer; default 5m"},
};
const struct pip_keys pip_backoff_keys = {backoff_rows, sizeof(backoff_rows) / sizeof(*backoff_rows)};
static const struct pip_key retry_rows[] = {
    {"limit", pip_take_int, offsetof(struct retry, limit), &retries, .required = true,
     .help = "how many further attempts"},
    {"on", pip_take_node, offsetof(struct retry, on),
     .schema = "{\"type\":\"array\",\"items\":{\"anyOf\":[{\"type\":\"integer\",\"minimum\":1,\"maximum\":255},{"
               "\"enum\":[\"exit_code\",\"signal\","
               "\"infra\",\"oom\",\"timeout\",\"image_pull\"]}]}}",
     .help = "after which failures: exit codes, or kinds of failure; default every failure"},
    {"backoff", pip_take_node, offsetof(struct retry, backoff), .schema = "{\"$ref\":\"#/$defs/backoff\"}",
     .help = "how long it waits"},
    {"avoid_worker", pip_take_bool, offsetof(struct retry, avoid_worker),
     .help = "the next attempt goes to another worker, where there is one"},
};
const struct pip_keys pip_retry_keys = {retry_rows, sizeof(retry_rows) / sizeof(*retry_rows)};

static enum hd_status take_on(struct pip_walk *w, const struct pip_node *list, Hodei__V1__Retry *retry) {
    static const struct pip_choice rows[] = {{"exit_code", HODEI__V1__RETRY__ON__ON_EXIT_CODE, false},
                                             {"signal", HODEI__V1__RETRY__ON__ON_SIGNAL, false},
                                             {"infra", HODEI__V1__RETRY__ON__ON_INFRA, false},
                                             {"oom", HODEI__V1__RETRY__ON__ON_OOM, false},
                                             {"timeout", HODEI__V1__RETRY__ON__ON_TIMEOUT, false},
                                             {"image_pull", HODEI__V1__RETRY__ON__ON_IMAGE_PULL, false}};
    static const struct pip_choices choices = {rows, sizeof(rows) / sizeof(*rows)};
    static const struct pip_key key = {.name = "on", .arg = &choices};
    pip_enter_key(w, "on");
    HD_TRY(pip_expect(w, list, PIP_LIST));
    if (list->n == 0 || list->n > CODES_MAX)
        return pip_fail(w, list->at, "must have 1 to %d items, not %zu", CODES_MAX, list->n);
    retry->on = HD_NEW_ARRAY(w->arena, list->n, Hodei__V1__Retry__On);
    retry->exit_codes = HD_NEW_ARRAY(w->arena, list->n, int32_t);
    for (size_t i = 0; i < list->n; i++) {
        int32_t kind;
        pip_enter_index(w, i);
        if (list->items[i]->kind == PIP_INT) {
            HD_TRY(exit_code(w, list->items[i], &retry->exit_codes[retry->n_exit_codes++]));
        } else {
            HD_TRY(pip_take_choice(w, &key, list->items[i], &kind));
            retry->on[retry->n_on++] = (Hodei__V1__Retry__On)kind;
        }
        pip_leave(w);
    }
    pip_leave(w);
    return HD_OK;
}

// 1 to 10, in thousandths.
static enum hd_status take_factor(struct pip_walk *w, const struct pip_node *node, uint32_t *ret) {
    const struct hd_value *value;
    if (!node)
        return HD_OK;
    pip_enter_key(w, "factor");
    HD_TRY(pip_value(w, node, &value));
    if (value->kind != HD_NUMBER || value->number < 1 || value->number > 10)
        return pip_fail(w, node->at, "must be a number from 1 to 10");
    pip_leave(w);
    *ret = (uint32_t)(value->number * 1000 + 0.5);
    return HD_OK;
}

enum hd_status pip_take_retry(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                              void *field) {
    struct retry in = {0};
    struct backoff backoff = {.initial_ms = 1000, .max_ms = 300000};
    Hodei__V1__Retry *retry = HD_NEW(w->arena, Hodei__V1__Retry);
    (void)key;
    hodei__v1__retry__init(retry);
    HD_TRY(pip_walk_map(w, value, pip_retry_keys, &in));
    retry->limit = (uint32_t)in.limit;
    retry->factor_milli = 2000;
    retry->avoid_worker = in.avoid_worker;
    if (in.on)
        HD_TRY(take_on(w, in.on, retry));
    if (in.backoff) {
        pip_enter_key(w, "backoff");
        HD_TRY(pip_walk_map(w, in.backoff, pip_backoff_keys, &backoff));
        HD_TRY(take_factor(w, backoff.factor, &retry->factor_milli));
        pip_leave(w);
    }
    retry->initial_ms = backoff.initial_ms;
    retry->max_ms = backoff.max_ms;
    *(Hodei__V1__Retry **)field = retry;
    return pip_spend(w, value->at, 64);
}

// --- approval, concurrency --------------------------------------------------------------------------------------------------

struct approval {
    struct text_list roles, users;
    int32_t count;
    int64_t timeout_ms;
};
static const struct pip_key approval_rows[] = {
    {"roles"},
    {"users", take_texts, offsetof(struct approval, users),
     .schema = "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}", .help = "who may approve, by name"},
    {"count", pip_take_int, offsetof(struct approval, count), &counts, .help = "how many must approve; default 1"},
    {"timeout", pip_take_duration, offsetof(struct approval, timeout_ms), &long_waits,
     .help = "the job fails when nobody has decided by then"},
};
const struct pip_keys pip_approval_keys = {approval_rows, sizeof(approval_rows) / sizeof(*approval_rows)};

enum hd_status pip_take_approval(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                                 void *field) {
    struct approval in = {.count = 1};
    Hodei__V1__Approval *approval = HD_NEW(w->arena, Hodei__V1__Approval);
    (void)key;
    HD_TRY(pip_walk_map(w, value, pip_approval_keys, &in));
    hodei__v1__approval__init(approval);
    approval->roles = in.roles.items;
    approval->n_roles = in.roles.n;
    approval->users = in.users.items;
    approval->n_users = in.users.n;
    approval->count = (uint32_t)in.count;
    approval->timeout_ms = in.timeout_ms;
    *(Hodei__V1__Approval **)field = approval;
    return HD_OK;
}

struct concurrency {
    const struct pip_node *group;
    int32_t limit, on_full, order;
};
static const struct pip_choice full_rows[] = {
    {"queue", HODEI__V1__CONCURRENCY__ON_FULL__ON_FULL_QUEUE, false},
    {"cancel_running", HODEI__V1__CONCURRENCY__ON_FULL__ON_FULL_CANCEL_RUNNING, false},
    {"replace_pending", HODEI__V1__CONCURRENCY__ON_FULL__ON_FULL_REPLACE_PENDING, false},
    {"reject", HODEI__V1__CONCURRENCY__ON_FULL__ON_FULL_REJECT, false}};
static const struct pip_choices fulls = {full_rows, 4};
static const struct pip_choice order_rows[] = {{"created", HODEI__V1__CONCURRENCY__ORDER__ORDER_CREATED, false},
                                               {"ready", HODEI__V1__CONCURRENCY__ORDER__ORDER_READY, false}};
static const struct pip_choices orders = {order_rows, 2};
static const struct pip_key concurrency_rows[] = {
    {"group", pip_take_node, offsetof(struct concurrency, group), .required = true, .schema = "{\"type\":\"string\"}",
     .help = "all that name the same group share its slots; may hold expressions"},
    {"limit", pip_take_int, offsetof(struct concurrency, limit), &limits,
     .help = "how many slots the group has; default 1"},
    {"on_full", pip_take_choice, offsetof(struct concurrency, on_full), &fulls,
     .help = "what happens to the next one; default queue"},
    {"order", pip_take_choice, offsetof(struct concurrency, order), &orders,
     .help = "whose turn it is; default created"},
};
const struct pip_keys pip_concurrency_keys = {concurrency_rows, sizeof(concurrency_rows) / sizeof(*concurrency_rows)};

enum hd_status pip_take_concurrency(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                                    void *field) {
    struct concurrency in = {.limit = 1};
    struct hd_template t;
    Hodei__V1__Concurrency *to = HD_NEW(w->arena, Hodei__V1__Concurrency);
    bool of_job = compile_of(w)->job != SIZE_MAX || w->defaults;
    (void)key;
    HD_TRY(pip_walk_map(w, value, pip_concurrency_keys, &in));
    hodei__v1__concurrency__init(to);
    pip_enter_key(w, "group");
    HD_TRY(pip_template(w, in.group, false, of_job ? PIP_AT_CHILD : PIP_AT_START, &to->group, &t));
    if (in.group->n == 0 || (hd_template_plain(&t) && in.group->n > PIP_NAME_MAX))
        return pip_fail(w, in.group->at, "the name of a group has 1 to %d bytes", PIP_NAME_MAX);
    pip_leave(w);
    to->limit = (uint32_t)in.limit;
    to->on_full = (Hodei__V1__Concurrency__OnFull)in.on_full;
    to->order = (Hodei__V1__Concurrency__Order)in.order;
    *(Hodei__V1__Concurrency **)field = to;
    return HD_OK;
}

// --- allow_failure, outputs ---------------------------------------------------------------------------------------------------

struct allow {
    const struct pip_node *codes;
};
static const struct pip_key allow_rows[] = {
    {"exit_codes", pip_take_node, offsetof(struct allow, codes), .required = true,
     .schema = "{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":255}}",
     .help = "only these are allowed"},
};
const struct pip_keys pip_allow_keys = {allow_rows, 1};

enum hd_status pip_take_allow(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                              void *field) {
    struct pip_allow *allow = field;
    struct allow in = {0};
    int32_t any;
    *allow = (struct pip_allow){0};
    if (value->kind != PIP_MAP) {
        HD_TRY(pip_take_bool(w, key, value, &any));
        allow->any = any;
        return HD_OK;
    }
    HD_TRY(pip_walk_map(w, value, pip_allow_keys, &in));
    pip_enter_key(w, "exit_codes");
    HD_TRY(pip_expect(w, in.codes, PIP_LIST));
    if (in.codes->n == 0 || in.codes->n > CODES_MAX)
        return pip_fail(w, in.codes->at, "must have 1 to %d items, not %zu", CODES_MAX, in.codes->n);
    allow->codes = HD_NEW_ARRAY(w->arena, in.codes->n, int32_t);
    for (size_t i = 0; i < in.codes->n; i++)
        HD_TRY(exit_code(w, in.codes->items[i], &allow->codes[i]));
    pip_leave(w);
    allow->any = true;
    allow->n_codes = in.codes->n;
    return HD_OK;
}

static bool identifier(const char *name) {
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    return *name && !strchr("0123456789-", *name) && name[n] == '\0' && n <= PIP_NAME_MAX;
}

static enum hd_status bad_identifier(struct pip_walk *w, struct pip_at at, const char *name, const char *what) {
    return pip_fail(w, at, "\"%.140s\" is not the name of %s: letters, digits, '_' and '-', a letter or '_' first",
                    name, what);
}

enum hd_status pip_take_outputs(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                                void *field) {
    struct pip_env *outputs = field;
    (void)key;
    HD_TRY(pip_expect(w, value, PIP_MAP));
    if (value->n > OUTPUTS_MAX)
        return pip_fail(w, value->at, "%zu outputs, more than %d", value->n, OUTPUTS_MAX);
    outputs->vars = HD_NEW_ARRAY(w->arena, value->n, Hodei__V1__EnvVar *);
    for (size_t i = 0; i < value->n; i++) {
        const struct pip_entry *e = &value->entries[i];
        Hodei__V1__EnvVar *var = HD_NEW(w->arena, Hodei__V1__EnvVar);
        struct hd_template t;
        hodei__v1__env_var__init(var);
        pip_enter_key(w, e->key);
        if (!identifier(e->key))
            return bad_identifier(w, e->at, e->key, "an output");
        var->name = (char *)(uintptr_t)e->key;
        HD_TRY(pip_spend(w, e->at, strlen(e->key) + 4));
        HD_TRY(pip_template(w, e->value, true, PIP_AT_OUTPUTS, &var->value, &t));
        var->template_ = !hd_template_plain(&t);
        pip_leave(w);
        outputs->vars[outputs->n++] = var;
    }
    return HD_OK;
}

// --- inputs -------------------------------------------------------------------------------------------------------------------

struct input {
    int32_t type, required;
    const struct pip_node *fallback;
    struct text_list values;
};
static const struct pip_choice type_rows[] = {{"string", HODEI__V1__INPUT__TYPE__TYPE_STRING, false},
                                              {"number", HODEI__V1__INPUT__TYPE__TYPE_NUMBER, false},
                                              {"bool", HODEI__V1__INPUT__TYPE__TYPE_BOOL, false},
                                              {"enum", HODEI__V1__INPUT__TYPE__TYPE_ENUM, false},
                                              {"json", HODEI__V1__INPUT__TYPE__TYPE_JSON, false}};
static const struct pip_choices types = {type_rows, 5};
static const struct pip_key input_rows[] = {
    {"type", pip_take_choice, offsetof(struct input, type), &types, .help = "what it is; default string"},
    {"default", pip_take_node, offsetof(struct input, fallback), .schema = "{}",
     .help = "what it is when a start does not give it"},
    {"required", pip_take_bool, offsetof(struct input, required), .help = "a start without it is refused"},
    {"values", take_texts, offsetof(struct input, values),
     .schema = "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}", .help = "of an enum: what it may be"},
};
const struct pip_keys pip_input_keys = {input_rows, sizeof(input_rows) / sizeof(*input_rows)};

static bool among(const struct text_list *list, const char *text) {
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i], text) == 0)
            return true;
    return false;
}

static enum hd_status take_fallback(struct pip_walk *w, const struct input *in, char **ret) {
    static const enum hd_kind kinds[] = {HD_STRING, HD_NUMBER, HD_BOOL, HD_STRING, HD_ANY};
    const struct hd_value *value;
    HD_AUTO_BUF struct hd_buf json = {0};
    enum hd_kind wanted = kinds[in->type];
    pip_enter_key(w, "default");
    HD_TRY(pip_value(w, in->fallback, &value));
    if (wanted != HD_ANY && value->kind != wanted) {
        pip_fail(w, in->fallback->at, "must be %s, not %s", hd_kind_name(wanted), hd_kind_name(value->kind));
        if (wanted == HD_STRING && in->fallback->kind < PIP_LIST)
            hd_err_hint(w->err, "put it in quotes");
        return HD_INVALID;
    }
    if (in->type == HODEI__V1__INPUT__TYPE__TYPE_ENUM && !among(&in->values, value->text))
        return pip_fail(w, in->fallback->at, "\"%.60s\" is not among the values", value->text);
    pip_leave(w);
    hd_value_write(&json, value);
    *ret = hd_arena_strdup(w->arena, json.data);
    return HD_OK;
}

static enum hd_status take_input(struct pip_walk *w, const struct pip_entry *e, Hodei__V1__Input *to) {
    struct input in = {0};
    if (!identifier(e->key))
        return bad_identifier(w, e->at, e->key, "an input");
    HD_TRY(pip_walk_map(w, e->value, pip_input_keys, &in));
    bool is_enum = in.type == HODEI__V1__INPUT__TYPE__TYPE_ENUM;
    if (is_enum != (in.values.n > 0))
        return pip_fail(w, e->value->at, is_enum ? "an enum needs values" : "values belong to an enum");
    if (in.required && in.fallback)
        return pip_fail(w, e->value->at, "an input that is required needs no default");
    to->name = (char *)(uintptr_t)e->key;
    to->type = (Hodei__V1__Input__Type)in.type;
    to->required = in.required;
    to->values = in.values.items;
    to->n_values = in.values.n;
    return in.fallback ? take_fallback(w, &in, &to->default_value) : HD_OK;
}

enum hd_status pip_take_inputs(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                               void *field) {
    struct pip_inputs *inputs = field;
    (void)key;
    HD_TRY(pip_expect(w, value, PIP_MAP));
    if (value->n > INPUTS_MAX)
        return pip_fail(w, value->at, "%zu inputs, more than %d", value->n, INPUTS_MAX);
    inputs->items = HD_NEW_ARRAY(w->arena, value->n, Hodei__V1__Input *);
    for (size_t i = 0; i < value->n; i++) {
        Hodei__V1__Input *to = HD_NEW(w->arena, Hodei__V1__Input);
        hodei__v1__input__init(to);
        pip_enter_key(w, value->entries[i].key);
        HD_TRY(take_input(w, &value->entries[i], to));
        pip_leave(w);
        inputs->items[inputs->n++] = to;
    }
    return HD_OK;
}
