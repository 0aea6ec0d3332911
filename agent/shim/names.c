// What the expressions of a job see on the worker: its context, the variables so far, the steps so far; and what steps give out.
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/shim/shim.h"
#include "base/expr.h"

#define ENV_MAX 2048               // variables that expressions see
#define STEP_OUTPUTS 256           // of one step
#define KEPT_OUTPUTS_MAX (4 << 20) // bytes of all steps of a job
#define VALUE_MAX (128 << 10)      // bytes of a variable: more the kernel does not take
#define VALUES_MAX (2 << 20)       // of all variables of a step: the same

// Of jobs that use expressions only: the rest costs nothing.
struct names {
    struct hd_arena arena; // lives as long as the job is known
    const struct hd_value *context;
    struct hd_value *steps; // a map of maps, by id
    size_t kept;            // bytes that steps gave out
};

static bool uses(const struct job *job) {
    return job->spec && (*job->spec->context || job->spec->n_outputs);
}

enum hd_status names_begin(struct job *job, struct hd_err *err) {
    if (!uses(job) || job->names)
        return HD_OK;
    struct names *names = job->names = hd_calloc(1, sizeof(*names));
    hd_arena_init(&names->arena);
    names->steps = hd_value_new(&names->arena, HD_MAP, job->spec->n_steps);
    if (!*job->spec->context) {
        names->context = hd_value_new(&names->arena, HD_MAP, 0);
        return HD_OK;
    }
    return hd_value_read(&names->arena, job->spec->context, strlen(job->spec->context), err, &names->context);
}

void names_release(struct job *job) {
    if (!job->names)
        return;
    hd_arena_release(&job->names->arena);
    free(HD_STEAL(job->names));
}

// The context with env and steps in it.
static struct hd_scope scope_of(const struct job *job, struct hd_arena *arena, const struct hd_value *env) {
    const struct names *names = job->names;
    struct hd_value *all = hd_value_new(arena, HD_MAP, names->context->n + 2);
    for (size_t i = 0; i < names->context->n; i++)
        hd_value_set(all, names->context->names[i], names->context->items[i]);
    hd_value_set(all, "env", env);
    hd_value_set(all, "steps", names->steps);
    return (struct hd_scope){.names = all, .success = !job->failed, .failure = job->failed};
}

static void put(struct hd_value *map, const char *name, const struct hd_value *value) {
    for (size_t i = 0; i < map->n; i++) {
        if (strcmp(map->names[i], name) == 0) {
            map->items[i] = value;
            return;
        }
    }
    if (map->n < ENV_MAX)
        hd_value_set(map, name, value);
}

const char *step_name(const struct job *job, const Hodei__V1__Step *step, struct hd_arena *arena) {
    return *step->id ? step->id : hd_arena_printf(arena, "%zu", job->step + 1);
}

// What the kernel would refuse in words that name no variable; and what expressions multiply must not become our memory.
static enum hd_status value_fits(const char *name, const char *value, size_t *total, struct hd_err *err) {
    size_t len = strlen(value);
    *total += strlen(name) + len + 2;
    if (len > VALUE_MAX)
        return hd_err_set(err, HD_INVALID, "variable %.100s has more than %d KiB: give it in a file", name,
                          VALUE_MAX >> 10);
    if (*total > VALUES_MAX)
        return hd_err_set(err, HD_INVALID,
                          "the variables up to %.100s have together more than %d MiB: give them in files", name,
                          VALUES_MAX >> 20);
    return HD_OK;
}

// In their order: each sees those before it, and the last of a name wins.
enum hd_status names_env(struct job *job, const Hodei__V1__Step *step, struct hd_arena *arena,
                         const struct hd_value **ret, struct hd_err *err) {
    struct hd_value *env = hd_value_new(arena, HD_MAP, ENV_MAX);
    size_t n_job = job->spec->n_env, n = n_job + (step ? step->n_env : 0), total = 0;
    if (step)
        put(env, SHIM_STEP_VARIABLE, hd_value_text(arena, step_name(job, step, arena)));
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__EnvVar *var = i < n_job || !step ? job->spec->env[i] : step->env[i - n_job];
        const char *value = var->value;
        if (var->template_ && job->names) {
            struct hd_scope scope = scope_of(job, arena, env);
            if (hd_template_run(arena, var->value, &scope, err, &value) != HD_OK)
                return hd_err_wrap(err, "variable %.100s", var->name);
        }
        HD_TRY(value_fits(var->name, value, &total, err));
        put(env, var->name, hd_value_text(arena, value));
    }
    *ret = env;
    return HD_OK;
}

enum hd_status names_text(struct job *job, const struct hd_value *env, struct hd_arena *arena, const char *text,
                          const char **ret, struct hd_err *err) {
    struct hd_scope scope = scope_of(job, arena, env);
    return hd_template_run(arena, text, &scope, err, ret);
}

enum hd_status names_condition(struct job *job, const Hodei__V1__Step *step, bool *ret, struct hd_err *err) {
    struct hd_arena *arena = &job->shim->scratch;
    const struct hd_value *env = NULL, *value = &hd_value_null;
    struct hd_expr expr;
    if (!*step->condition || !job->names) {
        *ret = !job->failed;
        return HD_OK;
    }
    HD_TRY(names_env(job, NULL, arena, &env, err));
    struct hd_scope scope = scope_of(job, arena, env);
    HD_TRY(hd_expr_parse(arena, step->condition, strlen(step->condition), NULL, err, &expr));
    HD_TRY(hd_expr_eval(arena, &expr, &scope, err, &value));
    if (value->kind != HD_BOOL)
        return hd_err_set(err, HD_INVALID, "if gives %s, not true or false", hd_kind_name(value->kind));
    *ret = value->truth;
    return HD_OK;
}

// --- what a step gives out --------------------------------------------------------------------------------------------

static bool name_valid(const char *name, size_t len) {
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    return len > 0 && len <= 128 && n >= len && !strchr("0123456789-", *name);
}

static enum hd_status add_output(struct hd_arena *arena, struct hd_value *to, const char *name, size_t name_len,
                                 const char *value, size_t len, struct hd_err *err) {
    if (!name_valid(name, name_len))
        return hd_err_set(err, HD_INVALID, "\"%.*s\" is not the name of an output",
                          (int)(name_len < 60 ? name_len : 60), name);
    if (to->n >= STEP_OUTPUTS)
        return hd_err_set(err, HD_INVALID, "a step has more than %d outputs", STEP_OUTPUTS);
    char *key = hd_arena_strndup(arena, name, name_len);
    const struct hd_value *text = hd_value_string(arena, hd_arena_strndup(arena, value, len), len);
    for (size_t i = 0; i < to->n; i++) {
        if (strcmp(to->names[i], key) == 0) {
            to->items[i] = text;
            return HD_OK;
        }
    }
    hd_value_set(to, key, text);
    return HD_OK;
}

// name=value, or name<<END and lines until END.
static enum hd_status parse_outputs(struct hd_arena *arena, const char *text, struct hd_value *to, struct hd_err *err) {
    while (*text) {
        size_t line = strcspn(text, "\n"), name = strcspn(text, "=\n");
        const char *here = memmem(text, line, "<<", 2), *next = text + line + (text[line] == '\n');
        if (line == 0) {
            text = next;
            continue;
        }
        if (!here || (name < line && text + name < here)) {
            if (name >= line)
                return hd_err_set(err, HD_INVALID, "the line \"%.*s\" is not name=value", (int)(line < 60 ? line : 60),
                                  text);
            HD_TRY(add_output(arena, to, text, name, text + name + 1, line - name - 1, err));
            text = next;
            continue;
        }
        const char *end = here + 2, *value = next, *p = next;
        size_t end_len = (size_t)(text + line - end), len = 0;
        while (*p && !(strncmp(p, end, end_len) == 0 && (p[end_len] == '\n' || !p[end_len]))) {
            p += strcspn(p, "\n");
            len = (size_t)(p - value);
            p += *p == '\n';
        }
        if (!*p || end_len == 0)
            return hd_err_set(err, HD_INVALID, "the value of \"%.*s\" has no end",
                              (int)(here - text < 60 ? here - text : 60), text);
        HD_TRY(add_output(arena, to, text, (size_t)(here - text), value, len, err));
        p += end_len;
        text = p + (*p == '\n');
    }
    return HD_OK;
}

// A file that the step may have made; whatever stands there is the job's own, and may be anything.
static enum hd_status read_file(const char *path, struct hd_buf *ret, struct hd_err *err) {
    struct stat st;
    HD_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return HD_OK;
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return hd_err_set(err, HD_INVALID, "HODEI_OUTPUT is not a file that can be read");
    if (st.st_size > SHIM_OUTPUTS_MAX)
        return hd_err_set(err, HD_INVALID, "a step gives out more than %d MiB", SHIM_OUTPUTS_MAX >> 20);
    hd_buf_reserve(ret, (size_t)st.st_size + 1);
    for (ssize_t n = 1; n > 0 && ret->len<(size_t)st.st_size; ret->len += n> 0 ? (size_t)n : 0)
        n = read(fd, ret->data + ret->len, (size_t)st.st_size - ret->len);
    hd_buf_addc(ret, '\0');
    if (strlen(ret->data) != ret->len - 1 || !hd_utf8_valid(ret->data, ret->len - 1))
        return hd_err_set(err, HD_INVALID, "what a step gives out must be UTF-8");
    return HD_OK;
}

enum hd_status names_step_over(struct job *job, const Hodei__V1__Step *step, const char *result, struct hd_err *err) {
    HD_AUTO_BUF struct hd_buf text = {0};
    char path[4200];
    if (!job->names)
        return HD_OK;
    struct hd_arena *arena = &job->names->arena;
    snprintf(path, sizeof(path), "%s" SHIM_OUTPUT_SUFFIX, job->workspace);
    enum hd_status status = read_file(path, &text, err);
    (void)unlink(path);
    struct hd_value *one = hd_value_new(arena, HD_MAP, 2),
                    *outputs = hd_value_new(arena, HD_MAP, status == HD_OK && text.len ? STEP_OUTPUTS : 0);
    job->names->kept += text.len;
    if (status == HD_OK && job->names->kept > KEPT_OUTPUTS_MAX)
        status = hd_err_set(err, HD_INVALID, "the steps give out more than %d MiB together", KEPT_OUTPUTS_MAX >> 20);
    if (status == HD_OK && text.len)
        status = parse_outputs(arena, text.data, outputs, err);
    if (*step->id) {
        hd_value_set(one, "result", hd_value_text(arena, result));
        hd_value_set(one, "outputs", outputs);
        hd_value_set(job->names->steps, step->id, one);
    }
    return status;
}

// What the job gives to others. Its own values are gone with the batch; these stay until the job is forgotten.
enum hd_status names_outputs(struct job *job, struct hd_err *err) {
    const Hodei__V1__ShimJob *spec = job->spec;
    const struct hd_value *env = NULL;
    size_t bytes = 0;
    if (!job->names || spec->n_outputs == 0)
        return HD_OK;
    struct hd_arena *arena = &job->names->arena;
    HD_TRY(names_env(job, NULL, arena, &env, err));
    Hodei__V1__EnvVar **all = HD_NEW_ARRAY(arena, spec->n_outputs, Hodei__V1__EnvVar *);
    for (size_t i = 0; i < spec->n_outputs; i++) {
        const char *value = spec->outputs[i]->value;
        if (spec->outputs[i]->template_ && names_text(job, env, arena, value, &value, err) != HD_OK)
            return hd_err_wrap(err, "output %.100s", spec->outputs[i]->name);
        all[i] = HD_NEW(arena, Hodei__V1__EnvVar);
        *all[i] = (Hodei__V1__EnvVar)HODEI__V1__ENV_VAR__INIT;
        all[i]->name = hd_arena_strdup(arena, spec->outputs[i]->name);
        all[i]->value = hd_arena_strdup(arena, value);
        bytes += strlen(all[i]->name) + strlen(value);
        if (bytes > SHIM_OUTPUTS_MAX)
            return hd_err_set(err, HD_INVALID, "the outputs have more than %d MiB", SHIM_OUTPUTS_MAX >> 20);
    }
    job->outputs = all;
    job->n_outputs = spec->n_outputs;
    return HD_OK;
}
