// Join: a worker comes with a join token. Load, decide by the machine, save, publish; the work stream is made after the
// commit (streams.c), and the answer waits for it.
#include <openssl/evp.h>

#include "services/worker-registry/registry.h"

// The answer goes without the stream after that; the agent then says that it is missing.
#define STREAM_WAIT_MS 5000

struct joining {
    struct hd_uuid session;
    struct hd_bytes token; // SHA-256
};

static const Hodei__V1__JoinRequest *request_of(const struct hd_item *item) {
    return (const Hodei__V1__JoinRequest *)item->msg;
}

// Fails the items whose token is not known.
static enum hd_status check_tokens(struct hd_ctx *cx, const struct registry *registry, struct hd_item *items,
                                   struct joining *joining, size_t n) {
    struct hd_bytes *asked = HD_NEW_ARRAY(cx->arena, n, struct hd_bytes);
    struct hd_bytes *found = NULL;
    size_t n_asked = 0, n_found = 0;

    for (size_t i = 0; i < n; i++) {
        uint8_t *hash = hd_arena_alloc(cx->arena, REGISTRY_SHA256_BYTES);
        const char *token = request_of(&items[i])->token;
        if (EVP_Digest(token, strlen(token), hash, NULL, EVP_sha256(), NULL) != 1)
            return hd_fail(cx, HD_INTERNAL, "SHA-256 of a join token could not be computed");
        joining[i].token = (struct hd_bytes){hash, REGISTRY_SHA256_BYTES};
        if (!registry->has_token || memcmp(hash, registry->token_sha256, REGISTRY_SHA256_BYTES) != 0)
            asked[n_asked++] = joining[i].token;
    }
    if (n_asked == 0)
        return HD_OK;
    HD_TRY(registry_store(cx)->tokens_known(cx, asked, n_asked, &found, &n_found));
    for (size_t i = 0; i < n; i++) {
        bool known =
            registry->has_token && memcmp(joining[i].token.data, registry->token_sha256, REGISTRY_SHA256_BYTES) == 0;
        for (size_t j = 0; !known && j < n_found; j++)
            known = memcmp(joining[i].token.data, found[j].data, REGISTRY_SHA256_BYTES) == 0;
        if (!known && items[i].err.status == HD_OK)
            hd_item_fail(&items[i], HD_UNAUTHENTICATED, "the join token of worker \"%s\" is not known",
                         request_of(&items[i])->name);
    }
    return HD_OK;
}

static struct hd_bytes profile_of(struct hd_ctx *cx, const Hodei__V1__JoinRequest *request) {
    Hodei__V1__Worker profile = HODEI__V1__WORKER__INIT;
    uint8_t *data;
    size_t len;

    profile.name = request->name;
    profile.pool = request->pool;
    profile.n_labels = request->n_labels;
    profile.labels = request->labels;
    profile.slots = request->slots;
    profile.n_executors = request->n_executors;
    profile.executors = request->executors;
    profile.capacity = request->capacity;
    profile.n_taints = request->n_taints;
    profile.taints = request->taints;
    profile.agent_version = request->agent_version;
    hd_pb_pack(cx->arena, &profile.base, &data, &len);
    return (struct hd_bytes){data, len};
}

static bool told(const struct lost_list *untold, const char *worker, struct hd_uuid session) {
    for (size_t i = 0; i < untold->n; i++)
        if (strcmp(untold->workers[i], worker) == 0 && hd_uuid_eq(untold->sessions[i], session))
            return false;
    return true;
}

static void refuse(const struct registry *registry, struct hd_item *item, const struct registry_row *row) {
    const char *name = request_of(item)->name;
    if (row->guard == REG_LEASE_OVER) {
        hd_item_fail(item, HD_UNAVAILABLE,
                     "the worker name \"%s\" belongs to another session whose lease may still run", name);
        hd_err_hint(&item->err, "retry after its lease, %lld ms, or join with another name",
                    (long long)registry->times.lease_ms);
    } else {
        hd_item_fail(item, HD_UNAVAILABLE, "this session of worker \"%s\" was lost, and that is not confirmed yet",
                     name);
        hd_err_hint(&item->err, "retry in a second");
    }
    hd_metric_add(&registry_metrics[REG_M_JOINS_REFUSED], 1);
}

// `before` is the state that the worker came from.
static void apply(struct hd_ctx *cx, struct worker *worker, const struct hd_item *item, struct hd_uuid session,
                  enum registry_state before) {
    struct hd_bytes profile = profile_of(cx, request_of(item));
    bool same = hd_uuid_eq(worker->session, session);

    if (!same || profile.len != worker->profile.len || memcmp(profile.data, worker->profile.data, profile.len) != 0)
        worker->changed = true;
    worker->stream_ready = same && worker->stream_ready;
    worker->running = same ? worker->running : 0;
    if (!same) { // a cordon belongs to the name and stays
        worker->unfit = "";
        worker->usage = (struct hd_bytes){NULL, 0};
    }
    // What was assigned to it before a loss, and has not reached it, is decided: it must not be started any more.
    if (!same || before == REG_NONE || before == REG_LOST)
        worker->incarnation = cx->now.wall_ms > worker->incarnation ? cx->now.wall_ms : worker->incarnation + 1;
    worker->session = session;
    worker->pool = request_of(item)->pool;
    worker->profile = profile;
    worker->joined_at_ms = worker->heartbeat_at_ms = cx->now.wall_ms;
    worker->beats++;
    worker->joined = worker->fresh = true;
    hd_metric_add(&registry_metrics[REG_M_JOINS], 1);
}

static void reply(struct hd_ctx *cx, const struct registry *registry, const struct hd_item *item,
                  const struct worker *worker) {
    Hodei__V1__JoinReply *answer = (Hodei__V1__JoinReply *)item->reply;
    char session[HD_UUID_TEXT];
    hd_uuid_format(worker->session, session);
    answer->incarnation = worker->incarnation;
    answer->lease_ms = registry->times.lease_ms;
    answer->heartbeat_ms = registry->times.heartbeat_ms;
    answer->stream = hd_arena_printf(cx->arena, "WORK_%s", worker->name);
    answer->consumer = hd_arena_strdup(cx->arena, session);
}

// One item. Run again for a parked one, it writes nothing more.
static void join_one(struct hd_ctx *cx, struct registry *registry, struct hd_item *item, struct worker *worker,
                     const struct joining *joining, const struct lost_list *untold, struct lost_list *lost) {
    bool same = worker->state != REG_NONE && hd_uuid_eq(worker->session, joining->session);
    bool again = item->wait_until_mono_ms != 0 && same && worker->state == REG_ONLINE;

    if (!again) {
        struct registry_facts facts = {
            .lease_over = !worker->fresh && liveness_lease_over(&registry->live, &registry->times, worker->name,
                                                                worker->session, worker->beats, cx->now.mono_ms),
            .loss_told = told(untold, worker->name, worker->session),
        };
        enum registry_state before = worker->state;
        struct registry_step step = worker_step(worker, same ? REG_JOIN_SAME : REG_JOIN_OTHER, facts, lost);
        if (step.answer != REG_STEP) {
            refuse(registry, item, step.row);
            return;
        }
        apply(cx, worker, item, joining->session, before);
    }
    if (!worker->stream_ready) {
        hd_service_kick(registry->service, "streams");
        if (hd_item_park(cx, item, STREAM_WAIT_MS))
            return;
    }
    reply(cx, registry, item, worker);
}

enum hd_status registry_join(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct registry *registry = self;
    struct joining *joining = HD_NEW_ARRAY(cx->arena, n, struct joining);
    const char **names = HD_NEW_ARRAY(cx->arena, n, const char *);
    struct lost_list lost = lost_list_new(cx->arena, n), untold;
    struct workers workers;
    size_t n_names = 0;

    for (size_t i = 0; i < n; i++)
        items[i].err.status = registry_check_join(request_of(&items[i]), &items[i].err, &joining[i].session);
    HD_TRY(check_tokens(cx, registry, items, joining, n));
    for (size_t i = 0; i < n; i++)
        if (items[i].err.status == HD_OK)
            names[n_names++] = request_of(&items[i])->name;
    if (n_names == 0)
        return HD_OK;
    HD_TRY(registry_store(cx)->load(cx, names, n_names, &workers));
    HD_TRY(registry_store(cx)->untold_of(
        cx, names, n_names,
        &untold)); // after the rows are locked, so that it sees what their last writer wrote
    for (size_t i = 0; i < n; i++)
        if (items[i].err.status == HD_OK)
            join_one(cx, registry, &items[i], workers_find(&workers, request_of(&items[i])->name), &joining[i], &untold,
                     &lost);
    if (lost.n)
        hd_service_kick(registry->service, "tell_lost");
    return registry_save(cx, &workers, &lost);
}
