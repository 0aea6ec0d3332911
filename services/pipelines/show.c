// What can be seen of definitions without changing one: their versions, differences, plans, and the schema of the language.
#include <inttypes.h>

#include "base/names.h"
#include "services/pipelines/diff.h"
#include "services/pipelines/pipelines.h"
#include "services/pipelines/render.h"
#include "services/pipelines/schema.h"

static void missing(struct hd_item *item, const char *name, uint32_t version, const char *field) {
    if (version)
        hd_item_fail(item, HD_MISSING, "there is no version %" PRIu32 " of the pipeline \"%.140s\"", version, name);
    else
        hd_item_fail(item, HD_MISSING, "there is no pipeline \"%.140s\"", name);
    hd_err_field(&item->err, "%s", version ? field : "name");
}

// --- versions -------------------------------------------------------------------------------------------------------------

static bool page_valid(struct hd_item *item, const Hodei__V1__ListPipelineVersionsRequest *request,
                       int64_t *ret_before) {
    *ret_before = INT32_MAX;
    if (*request->page_token &&
        (hd_parse_i64(request->page_token, ret_before) != HD_OK || *ret_before < 1 || *ret_before > INT32_MAX)) {
        return hd_item_page_token_wrong(item);
    }
    return true;
}

static enum hd_status list_one(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__ListPipelineVersionsRequest *request = (const Hodei__V1__ListPipelineVersionsRequest *)item->msg;
    Hodei__V1__ListPipelineVersionsReply *reply = (Hodei__V1__ListPipelineVersionsReply *)item->reply;
    unsigned size;
    struct pip_version *list;
    int64_t before;
    size_t found;

    if (!pip_tenant_given(item) || !hd_item_page(item, request->page_size, &size) ||
        !page_valid(item, request, &before))
        return HD_OK;
    HD_TRY(pip_store_versions(cx, item->principal, request->name, (uint32_t)before, size + 1, &list, &found));
    if (found == 0 && !*request->page_token) {
        missing(item, request->name, 0, "name");
        return HD_OK;
    }
    reply->n_versions = found > size ? size : found;
    reply->versions = HD_NEW_ARRAY(cx->arena, reply->n_versions, Hodei__V1__PipelineVersion *);
    for (size_t k = 0; k < reply->n_versions; k++) {
        Hodei__V1__PipelineVersion *version = reply->versions[k] = HD_NEW(cx->arena, Hodei__V1__PipelineVersion);
        hodei__v1__pipeline_version__init(version);
        version->version = list[k].version;
        version->digest = hd_arena_strdup(cx->arena, list[k].digest);
        version->jobs = list[k].jobs;
        version->deleted = list[k].deleted;
        version->made_by = hd_arena_strdup(cx->arena, list[k].made_by);
        version->created_at_ms = list[k].updated_at_ms;
    }
    if (found > size)
        reply->next_page_token = hd_arena_printf(cx->arena, "%" PRIu32, list[size - 1].version);
    return HD_OK;
}

enum hd_status pip_list_versions(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++)
        HD_TRY(list_one(cx, &items[i]));
    return HD_OK;
}

// --- differences ----------------------------------------------------------------------------------------------------------

// `version` 0: the newest. False, with the item failed, where it is not there; a deletion is there only when it is asked for.
static enum hd_status get(struct hd_ctx *cx, struct hd_item *item, const char *name, uint32_t version,
                          const char *field, struct pip_version *ret) {
    *ret = (struct pip_version){0};
    if (version <= INT32_MAX)
        HD_TRY(pip_store_get(cx, item->principal, name, version, ret));
    if (ret->found && ret->deleted && !version)
        ret->found = false;
    if (!ret->found)
        missing(item, name, version, field);
    return HD_OK;
}

static enum hd_status diff_one(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__DiffPipelineRequest *request = (const Hodei__V1__DiffPipelineRequest *)item->msg;
    Hodei__V1__DiffPipelineReply *reply = (Hodei__V1__DiffPipelineReply *)item->reply;
    struct pip_version from = {.source = ""}, to;
    uint32_t before = request->from;

    if (!pip_tenant_given(item))
        return HD_OK;
    HD_TRY(get(cx, item, request->name, request->to, "to", &to));
    if (!to.found)
        return HD_OK;
    if (!before)
        HD_TRY(pip_store_before(cx, item->principal->tenant, request->name, to.version, &before));
    if (before)
        HD_TRY(get(cx, item, request->name, before, "from", &from));
    if (before && !from.found)
        return HD_OK;
    reply->from = before;
    reply->to = to.version;
    struct pip_side a = {hd_arena_printf(cx->arena, "%s version %" PRIu32, request->name, before), from.source},
                    b = {hd_arena_printf(cx->arena, "%s version %" PRIu32, request->name, to.version), to.source};
    pip_diff(cx->arena, &a, &b, reply);
    return HD_OK;
}

enum hd_status pip_diff_versions(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++)
        HD_TRY(diff_one(cx, &items[i]));
    return HD_OK;
}

// --- plans ----------------------------------------------------------------------------------------------------------------

static enum hd_status render_one(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__RenderPipelineRequest *request = (const Hodei__V1__RenderPipelineRequest *)item->msg;
    struct pip_version version = {.source = request->source};
    Hodei__V1__CompiledPipeline *compiled;
    Hodei__V1__PipelinePlan *plan;

    if (!pip_tenant_given(item))
        return HD_OK;
    if (!*request->source == !*request->name) {
        hd_item_fail(item, HD_INVALID,
                     *request->name ? "source and name are both given" : "there is nothing to render");
        hd_err_field(&item->err, "source");
        hd_err_hint(&item->err, "give source, a definition, or name, of a pipeline that was applied");
        return HD_OK;
    }
    if (*request->name)
        HD_TRY(get(cx, item, request->name, request->version, "version", &version));
    if (*request->name && (!version.found || version.deleted)) {
        missing(item, request->name, request->version, "version");
        return HD_OK;
    }
    if (pip_compile_item(cx, item, version.source, &compiled) != HD_OK)
        return HD_OK;
    compiled->version = version.version;
    if (pip_render(cx->arena, compiled, request, &item->err, &plan) == HD_OK)
        *(Hodei__V1__PipelinePlan *)item->reply = *plan;
    return HD_OK;
}

enum hd_status pip_render_plans(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++)
        HD_TRY(render_one(cx, &items[i]));
    return HD_OK;
}

enum hd_status pip_get_schema(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    HD_AUTO_BUF struct hd_buf schema = {0};
    (void)self;
    pip_schema(&schema);
    for (size_t i = 0; i < n; i++)
        ((Hodei__V1__GetPipelineSchemaReply *)items[i].reply)->schema =
            hd_arena_strndup(cx->arena, schema.data, schema.len);
    return HD_OK;
}
