#include <openssl/sha.h>

#include "adapter/zoneinfo.h"
#include "base/names.h"
#include "services/pipelines/compile.h"
#include "services/pipelines/schedules.h"

#define CONFIRM_WAIT_MS 2000

struct wanted { // what one request asks for
    struct hd_item *item;
    const char *tenant, *name, *source, *digest;
    const char *project;                   // as asked for: "" where it is, or the default
    Hodei__V1__CompiledPipeline *compiled; // its version is set when it is known
    bool dry_run;
    struct pip_version version; // what the request made or found
    bool changed;
};

static const char *sha256_hex(struct hd_arena *arena, const char *text) {
    static const char digits[] = "0123456789abcdef";
    unsigned char hash[SHA256_DIGEST_LENGTH];
    char *hex = hd_arena_alloc(arena, 2 * sizeof(hash) + 1);

    SHA256((const unsigned char *)text, strlen(text), hash);
    for (size_t i = 0; i < sizeof(hash); i++) {
        hex[2 * i] = digits[hash[i] >> 4];
        hex[2 * i + 1] = digits[hash[i] & 15];
    }
    return hex;
}

// By tenant and name, which is the order of locks, then in the order they came.
static int wanted_cmp(const void *a, const void *b) {
    const struct wanted *x = a, *y = b;
    int cmp = strcmp(x->tenant, y->tenant);
    if (!cmp)
        cmp = strcmp(x->name, y->name);
    return cmp ? cmp : (x->item > y->item) - (x->item < y->item);
}

static bool is_there(const struct pip_version *version) {
    return version->found && !version->deleted;
}

static const char *project_of(const struct wanted *want) {
    const struct pip_version *now = &want->version;

    if (is_there(now) || (now->found && want->compiled->deleted))
        return now->project;
    return *want->project ? want->project : HD_PROJECT_DEFAULT;
}

// Where it is or will be, in view of what is there now. False: it may not be there.
static bool place(struct wanted *want) {
    const Hodei__V1__Principal *who = want->item->principal;
    const struct pip_version *now = &want->version;

    // Old versions of one that was deleted belong to where they were.
    bool sees = !now->found || hd_within(who, now->project, want->name);
    if (want->dry_run && !(sees && hd_within(who, project_of(want), want->name))) {
        want->version = (struct pip_version){0}; // it is looked at as a text
        return true;
    }
    if (!sees || !hd_within(who, project_of(want), want->name)) {
        hd_item_fail(want->item, HD_DENIED, "%.100s may not apply the pipeline \"%.140s\" here", who->subject,
                     want->name);
        hd_err_hint(&want->item->err, "name a project where you may change pipelines, or ask for a binding there");
        return false;
    }
    if (!is_there(now) || !*want->project || strcmp(now->project, want->project) == 0)
        return true;
    hd_item_fail(want->item, HD_PRECONDITION, "the pipeline \"%.140s\" is in the project %.64s", want->name,
                 now->project);
    hd_err_field(&want->item->err, "project");
    hd_err_hint(&want->item->err, "a pipeline stays where it is; delete it to apply it elsewhere");
    return false;
}

static enum hd_status add_version(struct hd_ctx *cx, struct wanted *want, uint32_t version) {
    struct pip_change change = {.tenant = want->tenant,
                                .name = want->name,
                                .project = project_of(want),
                                .version = version,
                                .jobs = (uint32_t)want->compiled->n_jobs,
                                .deleted = want->compiled->deleted,
                                .source = want->source,
                                .digest = want->digest,
                                .made_by = want->item->principal->subject,
                                .trace = want->item->trace ? want->item->trace : ""};
    uint8_t *packed;

    want->compiled->tenant = hd_arena_strdup(cx->arena, want->tenant);
    want->compiled->version = version;
    want->compiled->project = hd_arena_strdup(cx->arena, change.project);
    hd_pb_pack(cx->arena, &want->compiled->base, &packed, &change.compiled.len);
    change.compiled.data = packed;
    HD_TRY(pip_store_add(cx, &change));
    HD_TRY(pip_schedules_apply(cx, want->tenant, want->compiled));
    if (is_there(&want->version) == want->compiled->deleted) // one less, or one more
        HD_TRY(pip_quota_mark(cx, want->tenant, change.project));
    return pip_store_newest(cx, want->tenant, want->name, &want->version);
}

// A request that was parked finds what it made, even where another has been faster since; it must not make it again.
static enum hd_status find_made(struct hd_ctx *cx, struct wanted *want) {
    if (!want->item->wait_until_mono_ms)
        return HD_OK;
    HD_TRY(pip_store_made(cx, want->tenant, want->name, want->digest, want->item->trace ? want->item->trace : "",
                          &want->version));
    want->changed = want->version.found;
    return HD_OK;
}

static bool is_newest(const struct wanted *want, const struct pip_version *newest) {
    return newest->found && !newest->deleted && strcmp(newest->digest, want->digest) == 0;
}

static enum hd_status apply_one(struct hd_ctx *cx, struct wanted *want) {
    HD_TRY(find_made(cx, want));
    if (want->changed)
        return HD_OK;
    HD_TRY(pip_store_newest(cx, want->tenant, want->name, &want->version));
    if (!place(want))
        return HD_OK;
    if (want->dry_run || is_newest(want, &want->version)) {
        want->changed = !is_newest(want, &want->version);
        return HD_OK;
    }
    if (!is_there(&want->version)) { // before anything is written for it
        bool may;
        HD_TRY(pip_quota_check(cx, want->item, project_of(want), &may));
        if (!may)
            return HD_OK;
    }
    HD_TRY(pip_store_lock(cx, want->tenant, want->name, project_of(want)));
    HD_TRY(pip_store_newest(cx, want->tenant, want->name, &want->version));
    if (!place(want) || is_newest(want, &want->version))
        return HD_OK;
    HD_TRY(add_version(cx, want, want->version.version + 1));
    want->changed = true;
    hd_metric_add(&pip_metrics[PIP_M_APPLIED], 1);
    return HD_OK;
}

static enum hd_status delete_one(struct hd_ctx *cx, struct wanted *want) {
    HD_TRY(find_made(cx, want));
    if (want->changed)
        return HD_OK;
    HD_TRY(pip_store_newest(cx, want->tenant, want->name, &want->version));
    if (is_there(&want->version)) {
        HD_TRY(pip_store_lock(cx, want->tenant, want->name, want->version.project));
        HD_TRY(pip_store_newest(cx, want->tenant, want->name, &want->version));
    }
    if (!is_there(&want->version) || !hd_within(want->item->principal, want->version.project, want->name)) {
        hd_item_fail(want->item, HD_MISSING, "there is no pipeline \"%s\"", want->name);
        hd_err_field(&want->item->err, "name");
        return HD_OK;
    }
    HD_TRY(add_version(cx, want, want->version.version + 1));
    want->changed = true;
    hd_metric_add(&pip_metrics[PIP_M_DELETED], 1);
    return HD_OK;
}

// True while the answer has to wait for the orchestrator, so that a run started next finds the version.
static bool waits(struct hd_ctx *cx, struct pipelines *self, struct wanted *want) {
    if (want->version.confirmed)
        return false;
    if (!want->item->wait_until_mono_ms)
        hd_service_kick(self->service, PIP_PUSH_TIMER);
    return hd_item_park(cx, want->item, CONFIRM_WAIT_MS);
}

static void fill_apply_reply(struct hd_ctx *cx, const struct wanted *want, Hodei__V1__ApplyPipelineReply *reply) {
    Hodei__V1__Pipeline *pipeline = (Hodei__V1__Pipeline *)hd_pb_new(cx->arena, &hodei__v1__pipeline__descriptor);

    pipeline->name = hd_arena_strdup(cx->arena, want->name);
    pipeline->version = want->version.deleted && want->dry_run ? 0 : want->version.version;
    pipeline->jobs = (uint32_t)want->compiled->n_jobs;
    pipeline->digest = hd_arena_strdup(cx->arena, want->digest);
    pipeline->created_at_ms = want->version.created_at_ms;
    pipeline->updated_at_ms = want->version.updated_at_ms;
    pipeline->project = hd_arena_strdup(cx->arena, project_of(want));
    reply->pipeline = pipeline;
    reply->changed = want->changed;
}

static enum hd_status zone_is_there(void *arg, const char *name, struct hd_err *err) {
    struct hd_ctx *cx = arg;
    const struct hd_zone *zone;
    enum hd_status status = hd_zoneinfo_read(cx, name, &zone);
    *err = cx->err;
    hd_err_clear(&cx->err);
    return status;
}

enum hd_status pip_compile_item(struct hd_ctx *cx, struct hd_item *item, const char *source,
                                Hodei__V1__CompiledPipeline **ret) {
    return pip_compile_with(cx->arena, source, strlen(source), zone_is_there, cx, &item->err, ret);
}

// What the answer will be, kept with what it tells: the wait for the orchestrator changes nothing of it.
static enum hd_status keep(struct hd_ctx *cx, const struct wanted *want) {
    Hodei__V1__ApplyPipelineReply reply = HODEI__V1__APPLY_PIPELINE_REPLY__INIT;
    if (want->dry_run || want->item->wait_until_mono_ms)
        return HD_OK;
    fill_apply_reply(cx, want, &reply);
    return pip_command_keep(cx, want->item, &reply.base);
}

// False, with the item failed, where the definition is wrong.
static bool compile_one(struct hd_ctx *cx, struct hd_item *item, struct wanted *ret) {
    const Hodei__V1__ApplyPipelineRequest *request = (const Hodei__V1__ApplyPipelineRequest *)item->msg;
    struct wanted want = {.item = item, .source = request->source, .dry_run = request->dry_run};

    if (!pip_tenant_given(item) || (*request->project && !pip_project_valid(item, request->project)))
        return false;
    if (pip_compile_item(cx, item, request->source, &want.compiled) != HD_OK) {
        hd_metric_add(&pip_metrics[PIP_M_REFUSED], 1);
        return false;
    }
    want.tenant = item->principal->tenant;
    want.name = want.compiled->name;
    want.project = request->project;
    want.digest = sha256_hex(cx->arena, request->source);
    *ret = want;
    return true;
}

// Who has a limit adds one pipeline after another, whichever replica makes it.
static enum hd_status lock_grants(struct hd_ctx *cx, const struct wanted *wanted, size_t n) {
    const char **tenants = HD_NEW_ARRAY(cx->arena, 2 * n, const char *);
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (wanted[i].dry_run || wanted[i].item->wait_until_mono_ms)
            continue;
        tenants[count++] = wanted[i].tenant;
        if (*wanted[i].project)
            tenants[count++] = hd_arena_printf(cx->arena, "%s/%s", wanted[i].tenant, wanted[i].project);
    }
    return count ? pip_store_lock_grants(cx, tenants, count) : HD_OK;
}

enum hd_status pip_apply(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct wanted *wanted = HD_NEW_ARRAY(cx->arena, n, struct wanted);
    size_t n_wanted = 0;

    for (size_t i = 0; i < n; i++)
        n_wanted += compile_one(cx, &items[i], &wanted[n_wanted]);
    if (n_wanted == 0)
        return HD_OK;
    qsort(wanted, n_wanted, sizeof(*wanted), wanted_cmp);
    HD_TRY(lock_grants(cx, wanted, n_wanted));
    for (size_t i = 0; i < n_wanted; i++) {
        struct wanted *want = &wanted[i];
        bool known = false;
        if (!want->dry_run && !want->item->wait_until_mono_ms)
            HD_TRY(pip_command_known(cx, want->item, &known));
        if (known)
            continue;
        HD_TRY(apply_one(cx, want));
        if (want->item->err.status != HD_OK)
            continue;
        HD_TRY(keep(cx, want));
        if (!want->dry_run && waits(cx, self, want))
            continue;
        if (!want->changed)
            hd_metric_add(&pip_metrics[PIP_M_UNCHANGED], 1);
        fill_apply_reply(cx, want, (Hodei__V1__ApplyPipelineReply *)want->item->reply);
    }
    return HD_OK;
}

enum hd_status pip_delete(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct wanted *wanted = HD_NEW_ARRAY(cx->arena, n, struct wanted);
    size_t n_wanted = 0;

    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__DeletePipelineRequest *request = (const Hodei__V1__DeletePipelineRequest *)items[i].msg;
        if (!pip_tenant_given(&items[i]))
            continue;
        struct wanted *want = &wanted[n_wanted++];
        *want = (struct wanted){.item = &items[i],
                                .tenant = items[i].principal->tenant,
                                .name = request->name,
                                .project = "",
                                .source = "",
                                .digest = ""};
        want->compiled = (Hodei__V1__CompiledPipeline *)hd_pb_new(cx->arena, &hodei__v1__compiled_pipeline__descriptor);
        want->compiled->name = request->name;
        want->compiled->deleted = true;
    }
    if (n_wanted)
        qsort(wanted, n_wanted, sizeof(*wanted), wanted_cmp);
    for (size_t i = 0; i < n_wanted; i++) {
        HD_TRY(delete_one(cx, &wanted[i]));
        if (wanted[i].changed)
            waits(cx, self, &wanted[i]);
    }
    return HD_OK;
}
