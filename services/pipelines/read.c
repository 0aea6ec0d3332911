#include "base/names.h"
#include "services/pipelines/pipelines.h"

bool pip_tenant_given(struct hd_item *item) {
    if (hd_token_valid(item->principal->tenant))
        return true;
    hd_item_fail(item, HD_DENIED, "the request stands for no tenant");
    return false;
}

static void fill(struct hd_arena *arena, const struct pip_version *version, Hodei__V1__Pipeline *ret) {
    ret->name = hd_arena_strdup(arena, version->name);
    ret->version = version->version;
    ret->jobs = version->jobs;
    ret->source = hd_arena_strdup(arena, version->source);
    ret->digest = hd_arena_strdup(arena, version->digest);
    ret->created_at_ms = version->created_at_ms;
    ret->updated_at_ms = version->updated_at_ms;
    ret->project = hd_arena_strdup(arena, version->project);
}

enum hd_status pip_get(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__GetPipelineRequest *request = (const Hodei__V1__GetPipelineRequest *)items[i].msg;
        struct pip_version version = {0};

        if (!pip_tenant_given(&items[i]))
            continue;
        if (request->version <= INT32_MAX)
            HD_TRY(pip_store_get(cx, items[i].principal, request->name, request->version, &version));
        if (version.found && !version.deleted) {
            fill(cx->arena, &version, (Hodei__V1__Pipeline *)items[i].reply);
            continue;
        }
        if (request->version)
            hd_item_fail(&items[i], HD_MISSING, "there is no version %u of the pipeline \"%s\"", request->version,
                         request->name);
        else
            hd_item_fail(&items[i], HD_MISSING, "there is no pipeline \"%s\"", request->name);
        hd_err_field(&items[i].err, request->version ? "version" : "name");
    }
    return HD_OK;
}

bool pip_project_valid(struct hd_item *item, const char *project) {
    if (hd_token_valid(project))
        return true;
    hd_item_fail(item, HD_INVALID, "\"%.80s\" is not a name for a project", project);
    hd_err_field(&item->err, "project");
    hd_err_hint(&item->err, "1 to 64 letters, digits, - and _");
    return false;
}

// False, with the item failed, where the page asked for makes no sense.
static bool page_valid(struct hd_item *item, const Hodei__V1__ListPipelinesRequest *request) {
    if (*request->page_token && !hd_name_valid(request->page_token))
        return hd_item_page_token_wrong(item);
    return !*request->project || pip_project_valid(item, request->project);
}

enum hd_status pip_list(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__ListPipelinesRequest *request = (const Hodei__V1__ListPipelinesRequest *)items[i].msg;
        Hodei__V1__ListPipelinesReply *reply = (Hodei__V1__ListPipelinesReply *)items[i].reply;
        unsigned size;
        struct pip_version *list;
        size_t found;

        if (!pip_tenant_given(&items[i]) || !hd_item_page(&items[i], request->page_size, &size) ||
            !page_valid(&items[i], request))
            continue;
        HD_TRY(pip_store_list(cx, items[i].principal, request, size + 1, &list, &found));
        reply->n_pipelines = found > size ? size : found;
        reply->pipelines = HD_NEW_ARRAY(cx->arena, reply->n_pipelines, Hodei__V1__Pipeline *);
        for (size_t k = 0; k < reply->n_pipelines; k++) {
            reply->pipelines[k] = (Hodei__V1__Pipeline *)hd_pb_new(cx->arena, &hodei__v1__pipeline__descriptor);
            fill(cx->arena, &list[k], reply->pipelines[k]);
        }
        if (found > size)
            reply->next_page_token = hd_arena_strdup(cx->arena, list[size - 1].name);
    }
    return HD_OK;
}
