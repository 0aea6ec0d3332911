// The fleet as others see it: lists for people and schedulers, and the difference at each change.
#include "base/map.h"
#include "services/worker-registry/registry.h"

// A difference of so many workers, each with all its labels, fits a message.
#define DIFFERENCE_MAX 100
#define FLEET_MAX 10000 // workers of an installation

enum hd_status worker_message(struct hd_ctx *cx, const struct worker *worker, Hodei__V1__Worker **ret) {
    ProtobufCMessage *msg;
    char session[HD_UUID_TEXT];

    HD_TRY(hd_pb_unpack(cx->arena, &hodei__v1__worker__descriptor, worker->profile.data, worker->profile.len, &cx->err,
                        &msg));
    Hodei__V1__Worker *message = (Hodei__V1__Worker *)msg;
    hd_uuid_format(worker->session, session);
    message->session = hd_arena_strdup(cx->arena, session);
    message->state = (Hodei__V1__WorkerState)worker->state;
    message->joined_at_ms = worker->joined_at_ms;
    message->incarnation = worker->incarnation;
    message->heartbeat_at_ms = worker->heartbeat_at_ms;
    message->running = (uint32_t)worker->running;
    message->unfit = (char *)(uintptr_t)worker->unfit;
    if (worker->cordon != MODE(OPEN)) {
        message->cordon = (Hodei__V1__Cordon *)hd_pb_new(cx->arena, &hodei__v1__cordon__descriptor);
        message->cordon->mode = (Hodei__V1__CordonMode)worker->cordon;
        message->cordon->actor = (char *)(uintptr_t)worker->cordon_actor;
        message->cordon->reason = (char *)(uintptr_t)worker->cordon_reason;
        message->cordon->at_ms = worker->cordon_at_ms;
    }
    *ret = message;
    return HD_OK;
}

// Of what somebody may wait for; load and usage change with every heartbeat.
static char *etag_of(struct hd_ctx *cx, const struct worker *worker) {
    char session[HD_UUID_TEXT];
    hd_uuid_format(worker->session, session);
    const char *text =
        hd_arena_printf(cx->arena, "%d %s %d %lld %s %d %s", (int)worker->state, session, worker->cordon,
                        (long long)worker->cordon_at_ms, worker->cordon_reason, worker->running, worker->unfit);
    uint64_t hash = hd_hash(text, strlen(text), 0);
    return hd_arena_printf(cx->arena, "%016llx",
                           (unsigned long long)hd_hash(worker->profile.data, worker->profile.len, hash));
}

static enum hd_status add_usage(struct hd_ctx *cx, const struct worker *worker, bool jobs, Hodei__V1__Worker *message) {
    ProtobufCMessage *msg;
    HD_TRY(
        hd_pb_unpack(cx->arena, &hodei__v1__worker__descriptor, worker->usage.data, worker->usage.len, &cx->err, &msg));
    const Hodei__V1__Worker *usage = (const Hodei__V1__Worker *)msg;
    message->load = usage->load;
    if (jobs) {
        message->jobs = usage->jobs;
        message->n_jobs = usage->n_jobs;
    }
    return HD_OK;
}

enum hd_status worker_full_message(struct hd_ctx *cx, const struct worker *worker, Hodei__V1__Worker *ret) {
    Hodei__V1__Worker *message;
    HD_TRY(worker_message(cx, worker, &message));
    message->etag = etag_of(cx, worker);
    HD_TRY(add_usage(cx, worker, true, message));
    Hodei__V1__WorkerAction **done; // the newest first; shown in the order in which they were done
    HD_TRY(registry_store(cx)->actions(cx, worker->name, &done, &message->n_actions));
    message->actions = HD_NEW_ARRAY(cx->arena, message->n_actions + 1, Hodei__V1__WorkerAction *);
    for (size_t i = 0; i < message->n_actions; i++)
        message->actions[i] = done[message->n_actions - 1 - i];
    *ret = *message;
    return HD_OK;
}

static enum hd_status publish_difference(struct hd_ctx *cx, Hodei__V1__Worker **changed, size_t n) {
    const char *subject = hd_subject_event(cx->arena, "system", "worker", "changed");
    for (size_t first = 0; first < n; first += DIFFERENCE_MAX) {
        Hodei__V1__Fleet fleet = HODEI__V1__FLEET__INIT;
        int64_t version;
        HD_TRY(registry_store(cx)->fleet_bump(cx, &version));
        fleet.version = (uint64_t)version;
        fleet.previous = (uint64_t)version - 1;
        fleet.workers = changed + first;
        fleet.n_workers = n - first < DIFFERENCE_MAX ? n - first : DIFFERENCE_MAX;
        hd_publish(cx, subject, &fleet.base);
    }
    return HD_OK;
}

enum hd_status registry_save(struct hd_ctx *cx, struct workers *workers, const struct lost_list *lost) {
    Hodei__V1__Worker **changed = HD_NEW_ARRAY(cx->arena, workers->n + 1, Hodei__V1__Worker *);
    size_t n = 0;

    HD_TRY(registry_store(cx)->save(cx, workers));
    if (lost->n) {
        HD_TRY(registry_store(cx)->lose(cx, lost));
        hd_metric_add(&registry_metrics[REG_M_LOST], (int64_t)lost->n);
    }
    for (size_t i = 0; i < workers->n; i++)
        if (workers->rows[i].changed)
            HD_TRY(worker_message(cx, &workers->rows[i], &changed[n++]));
    return publish_difference(cx, changed, n);
}

static enum hd_status list(struct hd_ctx *cx, const struct workers_query *query, bool load, Hodei__V1__Worker ***ret,
                           size_t *ret_n) {
    struct workers workers;
    HD_TRY(registry_store(cx)->list(cx, query, &workers));
    Hodei__V1__Worker **messages = HD_NEW_ARRAY(cx->arena, workers.n + 1, Hodei__V1__Worker *);
    for (size_t i = 0; i < workers.n; i++) {
        HD_TRY(worker_message(cx, &workers.rows[i], &messages[i]));
        if (load)
            HD_TRY(add_usage(cx, &workers.rows[i], false, messages[i]));
    }
    *ret = messages;
    *ret_n = workers.n;
    return HD_OK;
}

static bool list_check(struct hd_item *item, struct workers_query *ret) {
    const Hodei__V1__ListWorkersRequest *request = (const Hodei__V1__ListWorkersRequest *)item->msg;
    unsigned limit;
    _Static_assert(sizeof(*request->state) == sizeof(int32_t), "an enum is an int");
    if (*request->pool && !hd_token_valid(request->pool)) {
        hd_item_fail(item, HD_INVALID, "a pool's name is 1 to 64 of A-Z a-z 0-9 _ -");
        hd_err_field(&item->err, "pool");
        return false;
    }
    if (!hd_item_page(item, request->page_size, &limit))
        return false;
    if (*request->page_token && !hd_token_valid(request->page_token))
        return hd_item_page_token_wrong(item);
    *ret = (struct workers_query){request->pool, request->page_token, (const int32_t *)request->state, request->n_state,
                                  limit};
    return true;
}

enum hd_status registry_list(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++) {
        Hodei__V1__ListWorkersReply *reply = (Hodei__V1__ListWorkersReply *)items[i].reply;
        struct workers_query query = {.pool = "", .after = ""};
        if (!list_check(&items[i], &query))
            continue;
        size_t limit = (size_t)query.limit++; // one more tells whether there is a next page
        HD_TRY(list(cx, &query, true, &reply->workers, &reply->n_workers));
        if (reply->n_workers <= limit)
            continue;
        reply->n_workers = limit;
        reply->next_page_token = reply->workers[limit - 1]->name;
    }
    return HD_OK;
}

static enum hd_status get_one(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__GetWorkerRequest *request = (const Hodei__V1__GetWorkerRequest *)item->msg;
    struct worker worker;
    HD_TRY(registry_store(cx)->get(cx, request->name, &worker));
    if (worker.state == REG_NONE) {
        hd_item_fail(item, HD_MISSING, "there is no worker \"%.80s\"", request->name);
        return HD_OK;
    }
    bool same = *request->etag && strcmp(request->etag, etag_of(cx, &worker)) == 0;
    if (same && request->wait_ms > 0 && hd_item_park(cx, item, request->wait_ms))
        return HD_OK;
    return worker_full_message(cx, &worker, (Hodei__V1__Worker *)item->reply);
}

enum hd_status registry_get(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++)
        HD_TRY(get_one(cx, &items[i]));
    return HD_OK;
}

// The version is read before the list, so the list is at least as new: what came between comes again as a difference.
enum hd_status registry_get_fleet(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__GetFleetRequest *request = (const Hodei__V1__GetFleetRequest *)items[i].msg;
        Hodei__V1__Fleet *reply = (Hodei__V1__Fleet *)items[i].reply;
        int64_t version;
        HD_TRY(registry_store(cx)->fleet_version(cx, &version));
        if (request->version == (uint64_t)version)
            continue;
        reply->version = (uint64_t)version;
        const struct workers_query all = {.pool = "", .after = "", .limit = FLEET_MAX};
        HD_TRY(list(cx, &all, false, &reply->workers, &reply->n_workers));
    }
    return HD_OK;
}
