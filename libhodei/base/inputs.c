#include "base/inputs.h"

#include <string.h>

static enum hd_status wrong_input(struct hd_err *err, const Hodei__V1__Input *input, const char *what) {
    hd_err_set(err, HD_INVALID, "input \"%.100s\" %s", input->name, what);
    hd_err_field(err, "inputs.%.100s", input->name);
    return HD_INVALID;
}

static enum hd_status read_input(struct hd_arena *arena, const Hodei__V1__Input *input, const char *text,
                                 struct hd_err *err, const struct hd_value **ret) {
    static const char *const wrong[] = {"", "must be a number, as in JSON", "must be true or false", "",
                                        "must be JSON"};
    struct hd_err why;
    if (input->type == HODEI__V1__INPUT__TYPE__TYPE_STRING) {
        *ret = hd_value_text(arena, text);
        return HD_OK;
    }
    if (input->type == HODEI__V1__INPUT__TYPE__TYPE_ENUM) {
        HD_AUTO_BUF struct hd_buf all = {0};
        for (size_t i = 0; i < input->n_values; i++) {
            hd_buf_addf(&all, "%s%s", i ? ", " : "", input->values[i]);
            if (strcmp(input->values[i], text) == 0) {
                *ret = hd_value_text(arena, text);
                return HD_OK;
            }
        }
        wrong_input(err, input, hd_arena_printf(arena, "cannot be \"%.60s\"", text));
        hd_err_hint(err, "one of: %s", all.data);
        return HD_INVALID;
    }
    bool json = hd_value_read(arena, text, strlen(text), &why, ret) == HD_OK;
    bool right = input->type == HODEI__V1__INPUT__TYPE__TYPE_JSON ||
                 (json && (*ret)->kind == (input->type == HODEI__V1__INPUT__TYPE__TYPE_NUMBER ? HD_NUMBER : HD_BOOL));
    return json && right ? HD_OK : wrong_input(err, input, wrong[input->type]);
}

static const Hodei__V1__EnvVar *find(Hodei__V1__EnvVar *const *given, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(given[i]->name, name) == 0)
            return given[i];
    return NULL;
}

static enum hd_status known_only(const Hodei__V1__CompiledPipeline *pipeline, Hodei__V1__EnvVar *const *given, size_t n,
                                 struct hd_err *err) {
    for (size_t i = 0; i < n; i++) {
        const char *name = given[i]->name, *near = NULL;
        unsigned best = 3;
        size_t k = 0;
        for (; k < pipeline->n_inputs && strcmp(pipeline->inputs[k]->name, name) != 0; k++) {
            unsigned far = hd_edit_distance(name, pipeline->inputs[k]->name, best);
            near = far < best ? pipeline->inputs[k]->name : near;
            best = far < best ? far : best;
        }
        bool declared = k < pipeline->n_inputs;
        if (declared && find(given, n, name) == given[i])
            continue;
        hd_err_set(err, HD_INVALID,
                   declared ? "input \"%.100s\" is given twice" : "the pipeline has no input \"%.100s\"", name);
        hd_err_field(err, "inputs[%zu]", i);
        if (near && !declared)
            hd_err_hint(err, "did you mean \"%s\"?", near);
        return HD_INVALID;
    }
    return HD_OK;
}

enum hd_status hd_inputs_read(struct hd_arena *arena, const Hodei__V1__CompiledPipeline *pipeline,
                              Hodei__V1__EnvVar *const *given, size_t n_given, struct hd_err *err,
                              const struct hd_value **ret) {
    struct hd_value *all = hd_value_new(arena, HD_MAP, pipeline->n_inputs);
    HD_TRY(known_only(pipeline, given, n_given, err));
    for (size_t i = 0; i < pipeline->n_inputs; i++) {
        const Hodei__V1__Input *input = pipeline->inputs[i];
        const Hodei__V1__EnvVar *own = find(given, n_given, input->name);
        const struct hd_value *value = &hd_value_null;
        if (own) {
            HD_TRY(read_input(arena, input, own->value, err, &value));
        } else if (*input->default_value) {
            HD_TRY(hd_value_read(arena, input->default_value, strlen(input->default_value), err, &value));
        } else if (input->required) {
            wrong_input(err, input, "is required");
            hd_err_hint(err, "give it, for example with --input %.60s=VALUE", input->name);
            return HD_INVALID;
        }
        hd_value_set(all, input->name, value);
    }
    *ret = all;
    return HD_OK;
}
