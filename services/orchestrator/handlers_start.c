// StartRun: one transaction makes the run and its jobs and admits what the grant allows.
#include "base/names.h"
#include "services/orchestrator/finish.h"

#define MAX_KEY_BYTES 128
#define MAX_ENV 256
#define MAX_ENV_NAME_BYTES 128
#define MAX_ENV_BYTES (128u << 10) // all of it: it goes out with every assignment

struct start {
    struct hd_item *item;
    const Hodei__V1__StartRunRequest *request;
    const char *tenant, *key;
    const uint8_t *packed;
    size_t packed_len;
    uint64_t fingerprint;
    uint32_t version; // what is started
    const char *project;
    struct orc_origin origin;
    struct orc_run *run;
    bool done;
};

static bool env_name_valid(const char *name) {
    if (strlen(name) > MAX_ENV_NAME_BYTES || strspn(name, "0123456789") > 0)
        return false;
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789");
    return len > 0 && name[len] == '\0';
}

static void env_check(struct start *start) {
    const Hodei__V1__StartRunRequest *request = start->request;
    size_t bytes = 0;
    if (request->n_env > MAX_ENV) {
        hd_item_fail(start->item, HD_INVALID, "%zu variables are too many, %d are allowed", request->n_env, MAX_ENV);
        hd_err_field(&start->item->err, "env");
        return;
    }
    for (size_t i = 0; i < request->n_env; i++) {
        const char *name = request->env[i]->name, *wrong = NULL;
        bytes += strlen(name) + strlen(request->env[i]->value);
        if (!env_name_valid(name))
            wrong = "is not a name of a variable: [A-Za-z_][A-Za-z0-9_]*, at most 128 bytes";
        else if (bytes > MAX_ENV_BYTES)
            wrong = "goes over 128 KiB with what stands before it";
        for (size_t k = 0; k < i && !wrong; k++)
            wrong = strcmp(name, request->env[k]->name) == 0 ? "stands there twice" : NULL;
        if (wrong) {
            hd_item_fail(start->item, HD_INVALID, "variable \"%.60s\" %s", name, wrong);
            hd_err_field(&start->item->err, "env[%zu].name", i);
            return;
        }
    }
}

// What a definition may say and a request may not.
static void templates_off(Hodei__V1__EnvVar *const *vars, size_t n) {
    for (size_t i = 0; i < n; i++)
        vars[i]->template_ = false;
}

static void check(struct hd_ctx *cx, struct hd_item *item, struct start *start) {
    *start = (struct start){.item = item,
                            .request = (const Hodei__V1__StartRunRequest *)item->msg,
                            .key = item->idempotency_key ? item->idempotency_key : ""};
    start->tenant = orc_item_tenant(item);
    if (!start->tenant)
        return;
    if (!hd_name_valid(start->request->pipeline)) {
        hd_item_fail(item, HD_INVALID, "pipeline is not a name: [A-Za-z0-9._-], 1 to 128 bytes");
        hd_err_field(&item->err, "pipeline");
        return;
    }
    if (strlen(start->key) > MAX_KEY_BYTES) {
        hd_item_fail(item, HD_INVALID, "the idempotency key has more than %d bytes", MAX_KEY_BYTES);
        hd_err_field(&item->err, "idempotency_key");
        return;
    }
    env_check(start);
    templates_off(start->request->env, start->request->n_env);
    templates_off(start->request->inputs, start->request->n_inputs);
    uint8_t *packed;
    hd_pb_pack(cx->arena, item->msg, &packed, &start->packed_len);
    start->packed = packed;
    start->fingerprint = hd_hash(packed, start->packed_len, 0);
}

static void pipeline_missing(struct start *start, const char *why) {
    hd_item_fail(start->item, HD_MISSING, "pipeline %s %s", start->request->pipeline, why);
    hd_err_field(&start->item->err, "pipeline");
}

// Who may start in parts of the tenant alone, before he hears anything: what is elsewhere is not there for him.
static enum hd_status narrow(struct hd_ctx *cx, struct orchestrator *orc, struct start *start) {
    struct orc_version newest = {.tenant = start->tenant, .name = start->request->pipeline};
    if (start->item->err.status != HD_OK || !start->item->principal->narrowed)
        return HD_OK;
    HD_TRY(ORC_DO(cx, orc, versions_newest, &newest, 1));
    if (!newest.found || !hd_within(start->item->principal, newest.project, newest.name))
        pipeline_missing(start, "is not known");
    return HD_OK;
}

// Answers the repeats of runs that are there. Those without a key, or with a new one, are left.
static enum hd_status answer_known(struct hd_ctx *cx, struct orchestrator *orc, struct start *starts, size_t n) {
    struct orc_run_key *keys = HD_NEW_ARRAY(cx->arena, n, struct orc_run_key);
    struct start **of = HD_NEW_ARRAY(cx->arena, n, struct start *);
    size_t n_keys = 0;
    for (size_t i = 0; i < n; i++) {
        if (starts[i].item->err.status != HD_OK || starts[i].done || !*starts[i].key)
            continue;
        of[n_keys] = &starts[i];
        keys[n_keys++] = (struct orc_run_key){.tenant = starts[i].tenant, .key = starts[i].key};
    }
    if (n_keys == 0)
        return HD_OK;
    HD_TRY(ORC_DO(cx, orc, runs_by_key, keys, n_keys));
    for (size_t i = 0; i < n_keys; i++) {
        if (!keys[i].found)
            continue;
        of[i]->done = true;
        if (keys[i].fingerprint != of[i]->fingerprint) {
            hd_item_fail(of[i]->item, HD_CONFLICT, "this idempotency key was used for another request");
            hd_err_field(&of[i]->item->err, "idempotency_key");
            hd_err_hint(&of[i]->item->err, "repeat the request as it was, or take a new key");
            continue;
        }
        Hodei__V1__StartRunReply *reply = (Hodei__V1__StartRunReply *)of[i]->item->reply;
        reply->id = orc_id_text(cx->arena, keys[i].run);
        reply->existing = true;
    }
    return HD_OK;
}

// Which version each starts; fails those that have none.
static enum hd_status resolve(struct hd_ctx *cx, struct orchestrator *orc, struct start *starts, size_t n) {
    struct orc_version *newest = HD_NEW_ARRAY(cx->arena, n, struct orc_version);
    struct start **of = HD_NEW_ARRAY(cx->arena, n, struct start *);
    size_t open = 0;
    for (size_t i = 0; i < n; i++) {
        if (starts[i].item->err.status != HD_OK || starts[i].done)
            continue;
        of[open] = &starts[i];
        newest[open++] = (struct orc_version){.tenant = starts[i].tenant, .name = starts[i].request->pipeline};
    }
    if (open == 0)
        return HD_OK;
    HD_TRY(ORC_DO(cx, orc, versions_newest, newest, open));
    for (size_t i = 0; i < open; i++) {
        uint32_t asked = of[i]->request->version;
        of[i]->version = asked ? asked : newest[i].version;
        of[i]->project = newest[i].project;
        if (!newest[i].found) {
            pipeline_missing(of[i], "is not known");
        } else if (newest[i].deleted) {
            pipeline_missing(of[i], "has been deleted");
        } else if (asked && asked != newest[i].version) {
            struct orc_version one = {.tenant = of[i]->tenant, .name = of[i]->request->pipeline, .version = asked};
            HD_TRY(ORC_DO(cx, orc, versions_get, &one, 1));
            if (!one.found) {
                hd_item_fail(of[i]->item, HD_MISSING, "pipeline %s has no version %u; the newest is %u",
                             of[i]->request->pipeline, asked, newest[i].version);
                hd_err_field(&of[i]->item->err, "version");
            }
        }
    }
    return HD_OK;
}

static struct orc_run *make_run(struct hd_ctx *cx, struct orc_ws *ws, const struct start *start) {
    struct orc_run *run = orc_ws_add_run(ws, hd_new_id(cx));
    run->tenant = start->tenant;
    run->pipeline = start->request->pipeline;
    run->project = start->project;
    run->version = start->version;
    run->state = orc_run_machine.first;
    run->created_ms = cx->now.wall_ms;
    run->revision = 1;
    run->key = start->key;
    run->fingerprint = start->fingerprint;
    run->actor = start->item->principal ? start->item->principal->subject : "";
    run->origin = start->origin.what;
    run->started_by = start->origin.by;
    run->depth = start->origin.depth;
    if (start->request->n_env || start->request->n_inputs) {
        run->request = start->packed;
        run->request_len = start->packed_len;
    }
    return run;
}

// What the tenants have left, as far as that is known without a lock: who is refused here costs no transaction. What two replicas
// let through at once is seen again when the counters are changed (orc_finish).
static enum hd_status read_tenants(struct hd_ctx *cx, struct orchestrator *orc, const struct start *starts, size_t n,
                                   struct orc_ws *ret) {
    const char **names = HD_NEW_ARRAY(cx->arena, 2 * n, const char *);
    size_t count = 0;
    orc_ws_init(ret, cx->arena);
    for (size_t i = 0; i < n; i++) {
        if (!starts[i].run)
            continue;
        names[count++] = starts[i].tenant;
        names[count++] = orc_account(cx->arena, starts[i].run);
    }
    return ORC_DO(cx, orc, tenants_read, ret, names, orc_texts_unique(names, count));
}

static bool quota_check(struct hd_ctx *cx, const struct orc_ws *tenants, const struct start *start) {
    struct orc_tenant *both[] = {orc_ws_tenant(tenants, start->tenant),
                                 orc_in_project(start->run) ? orc_ws_part(tenants, start->run) : NULL};
    for (size_t i = 0; i < 2; i++) {
        if (!both[i] || orc_start_allowed(cx->arena, both[i], start->run->plan, cx->now.wall_ms, &start->item->err))
            continue;
        orc_count(ORC_M_STARTS_LIMITED, 1);
        return false;
    }
    return true;
}

// What the run is given, against what its version asks for, and what the tenant has left. Those that do not fit are not inserted.
static bool start_check(struct hd_ctx *cx, const struct orc_ws *tenants, struct start *start) {
    if (orc_inputs(cx->arena, start->run->plan, start->request, &start->item->err, &start->run->inputs) == HD_OK &&
        quota_check(cx, tenants, start)) {
        orc_run_begin(start->run, cx->now.wall_ms);
        return true;
    }
    start->run->duplicate = true;
    start->run = NULL;
    return false;
}

static enum hd_status start_all(struct hd_ctx *cx, struct orchestrator *orc, struct start *starts, size_t n) {
    struct orc_chance chance = orc_chance(cx);
    struct orc_out out = {0};
    struct orc_ws ws, tenants;
    orc_ws_init(&ws, cx->arena);
    for (size_t i = 0; i < n; i++)
        if (starts[i].item->err.status == HD_OK && !starts[i].done)
            starts[i].run = make_run(cx, &ws, &starts[i]);
    if (ws.runs.n == 0)
        return HD_OK;
    HD_TRY(orc_plans(cx, orc, &ws));
    HD_TRY(read_tenants(cx, orc, starts, n, &tenants));
    size_t left = 0;
    for (size_t i = 0; i < n; i++)
        left += starts[i].run && start_check(cx, &tenants, &starts[i]);
    if (left == 0)
        return HD_OK;
    HD_TRY(ORC_DO(cx, orc, runs_insert, &ws));
    bool raced = false;
    for (size_t i = 0; i < n; i++) {
        if (!starts[i].run)
            continue;
        if (starts[i].run->duplicate) {
            raced = true;
            continue;
        }
        orc_run_expand(&ws, starts[i].run, &chance);
        ((Hodei__V1__StartRunReply *)starts[i].item->reply)->id = orc_id_text(cx->arena, starts[i].run->id);
        starts[i].done = true;
    }
    HD_TRY(orc_finish(cx, orc, &ws, &out));
    return raced ? answer_known(cx, orc, starts, n) : HD_OK;
}

enum hd_status orc_start_runs(struct hd_ctx *cx, struct orchestrator *orc, struct hd_item *items, size_t n,
                              const struct orc_origin *origins) {
    struct start *starts = HD_NEW_ARRAY(cx->arena, n, struct start);
    for (size_t i = 0; i < n; i++) {
        check(cx, &items[i], &starts[i]);
        starts[i].origin = origins[i];
        HD_TRY(narrow(cx, orc, &starts[i]));
    }
    HD_TRY(answer_known(cx, orc, starts, n));
    HD_TRY(resolve(cx, orc, starts, n));
    HD_TRY(start_all(cx, orc, starts, n));
    for (size_t i = 0; i < n;
         i++) // a key was taken when we inserted, and is gone now: nothing was written for this item
        if (!starts[i].done && starts[i].item->err.status == HD_OK)
            hd_item_fail(starts[i].item, HD_UNAVAILABLE, "another request with this idempotency key is being handled");
    return HD_OK;
}

enum hd_status orc_start_run(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct orc_origin *origins = HD_NEW_ARRAY(cx->arena, n, struct orc_origin);
    orc_versions_trim(&((struct orchestrator *)self)->versions);
    for (size_t i = 0; i < n; i++) // schedules ask as "cron"; who comes from outside has a name with a colon
        origins[i].what = items[i].principal && strcmp(items[i].principal->subject, "cron") == 0 ? "cron" : "api";
    return orc_start_runs(cx, self, items, n, origins);
}
