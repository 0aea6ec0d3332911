#include "services/pipelines/resources.h"

#include <stddef.h>

#include "base/names.h"
#include "base/resources.h"

#define GPU_MAX 1024

// --- amounts ----------------------------------------------------------------------------------------------------------

static enum hd_status take_cpu(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                               void *field) {
    char *text = NULL;
    (void)key;
    HD_TRY(pip_text(w, value, true, &text));
    if (value->kind != PIP_BOOL && hd_cpu_parse(text, field) == HD_OK)
        return HD_OK;
    pip_fail(w, value->at, "\"%.60s\" is not a number of CPUs", text);
    hd_err_hint(w->err, "for example 2, 0.5 or 500m");
    return HD_INVALID;
}

static enum hd_status take_bytes(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                                 void *field) {
    char *text = NULL;
    (void)key;
    if (value->kind == PIP_INT) {
        pip_fail(w, value->at, "an amount of bytes needs a unit");
        hd_err_hint(w->err, "for example %.20sMi or %.20sGi", value->text, value->text);
        return HD_INVALID;
    }
    HD_TRY(pip_text(w, value, true, &text));
    if (hd_bytes_parse(text, field) == HD_OK)
        return HD_OK;
    pip_fail(w, value->at, "\"%.60s\" is not an amount of bytes", text);
    hd_err_hint(w->err, "for example 512Mi, 1.5Gi or 2G; units are Ki, Mi, Gi, Ti, k, M, G, T");
    return HD_INVALID;
}

static enum hd_status take_gpu(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                               void *field) {
    int32_t n = 0;
    if (value->kind == PIP_FLOAT)
        return pip_fail(w, value->at, "GPUs are whole: they cannot be shared");
    HD_TRY(pip_take_int(w, key, value, &n));
    *(int64_t *)field = n;
    return HD_OK;
}

static const struct pip_range gpus = {0, GPU_MAX};

static const struct pip_key resource_rows[] = {
    {"cpu", take_cpu, offsetof(Hodei__V1__Resources, cpu_milli), .schema = "{\"type\":[\"number\",\"string\"]}",
     .help = "for example 2, 0.5 or 500m"},
    {"memory", take_bytes, offsetof(Hodei__V1__Resources, memory_bytes), .help = "for example 512Mi"},
    {"disk", take_bytes, offsetof(Hodei__V1__Resources, disk_bytes), .help = "for example 10Gi"},
    {"gpu", take_gpu, offsetof(Hodei__V1__Resources, gpu), &gpus, .schema = "{\"type\":\"integer\",\"minimum\":0}"},
};
const struct pip_keys pip_resource_keys = PIP_KEYS(resource_rows);

enum hd_status pip_take_resources(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                                  void *field) {
    Hodei__V1__Resources *resources = HD_NEW(w->arena, Hodei__V1__Resources);

    (void)key;
    hodei__v1__resources__init(resources);
    HD_TRY(pip_walk_map(w, value, pip_resource_keys, resources));
    struct hd_resources amounts = hd_resources_read(resources);
    if (!hd_resources_none(&amounts))
        *(Hodei__V1__Resources **)field = resources;
    return pip_spend(w, value->at, 40);
}

// --- tolerations ------------------------------------------------------------------------------------------------------

static const struct pip_key toleration_rows[] = {
    {"key", pip_take_name, offsetof(Hodei__V1__Toleration, key), .required = true},
    {"value", pip_take_name, offsetof(Hodei__V1__Toleration, value)},
};
const struct pip_keys pip_toleration_keys = PIP_KEYS(toleration_rows);

enum hd_status pip_take_tolerations(struct pip_walk *w, const struct pip_key *key, const struct pip_node *value,
                                    void *field) {
    struct pip_tolerations *tolerations = field;

    (void)key;
    HD_TRY(pip_expect(w, value, PIP_LIST));
    tolerations->list = HD_NEW_ARRAY(w->arena, value->n, Hodei__V1__Toleration *);
    tolerations->n = value->n;
    for (size_t i = 0; i < value->n; i++) {
        tolerations->list[i] = HD_NEW(w->arena, Hodei__V1__Toleration);
        hodei__v1__toleration__init(tolerations->list[i]);
        pip_enter_index(w, i);
        HD_TRY(pip_walk_map(w, value->items[i], pip_toleration_keys, tolerations->list[i]));
        HD_TRY(pip_spend(w, value->items[i]->at, 8));
        pip_leave(w);
    }
    return HD_OK;
}
