// Heartbeat: the reply is the lease. What the workers hold is passed on to the orchestrator.
#include "hodei/v1/flow.pb-c.h"
#include "services/worker-registry/registry.h"

// One question carries at most so many workers and attempts: about 400 KB.
#define RECONCILE_MAX 10000
#define RECONCILE_TIMEOUT_MS 3000

#define DRAINED_AFTER_MS 10000 // a placement that was under way when people asked has reached the agent by then

static const Hodei__V1__HeartbeatRequest *request_of(const struct hd_item *item) {
    return (const Hodei__V1__HeartbeatRequest *)item->msg;
}

// What one worker holds; the strings are the request's, so it must go out (be packed) within the batch.
static Hodei__V1__HeldByWorker *held_by(struct hd_ctx *cx, const struct hd_item *item, const struct worker *worker) {
    Hodei__V1__HeldByWorker *held =
        (Hodei__V1__HeldByWorker *)hd_pb_new(cx->arena, &hodei__v1__held_by_worker__descriptor);
    char text[HD_UUID_TEXT];

    hd_uuid_format(worker->session, text);
    held->worker = request_of(item)->worker;
    held->session = hd_arena_strdup(cx->arena, text);
    held->incarnation = worker->incarnation;
    held->received_at_ms = cx->now.wall_ms;
    held->sent_at_ms = request_of(item)->at_ms;
    held->n_attempts = request_of(item)->n_attempts;
    held->attempts = request_of(item)->attempts;
    return held;
}

static void ask_reconcile(struct hd_ctx *cx, Hodei__V1__HeldByWorker **held, size_t n) {
    for (size_t first = 0; first < n;) {
        Hodei__V1__ReconcileRequest request = HODEI__V1__RECONCILE_REQUEST__INIT;
        size_t weight = 0;
        request.workers = held + first;
        while (first < n && (request.n_workers == 0 || weight + 1 + held[first]->n_attempts <= RECONCILE_MAX)) {
            weight += 1 + held[first]->n_attempts;
            request.n_workers++;
            first++;
        }
        hd_ask(cx, "orchestrator", "Reconcile", &request.base, REG_A_RECONCILE, RECONCILE_TIMEOUT_MS);
    }
}

// The load and what jobs use, for people; what the agent says against new work, which the scheduler must know.
static void note_usage(struct hd_ctx *cx, const struct hd_item *item, struct worker *worker) {
    const Hodei__V1__HeartbeatRequest *request = request_of(item);
    Hodei__V1__Worker usage = HODEI__V1__WORKER__INIT;
    uint8_t *data;
    size_t len;

    usage.load = request->load;
    usage.jobs = request->jobs;
    usage.n_jobs = request->n_jobs;
    hd_pb_pack(cx->arena, &usage.base, &data, &len);
    worker->usage = (struct hd_bytes){data, len};
    if (strcmp(worker->unfit, request->unfit) != 0)
        worker->changed = true;
    worker->unfit = request->unfit;
}

static void note_drained(struct hd_ctx *cx, struct worker *worker) {
    bool empty = worker->running == 0 && cx->now.wall_ms >= worker->cordon_at_ms + DRAINED_AFTER_MS;
    if (worker->cordon != MODE(DRAINING) && worker->cordon != MODE(DRAINED))
        return;
    int32_t mode = empty ? MODE(DRAINED) : MODE(DRAINING);
    if (mode == worker->cordon || (worker->cordon == MODE(DRAINED) && worker->running == 0))
        return;
    worker->cordon = mode;
    worker->steered = worker->changed = true;
}

// True where the session is the worker's; then it has its lease.
static bool beat(struct hd_ctx *cx, const struct registry *registry, const struct hd_item *item, struct worker *worker,
                 struct hd_uuid session) {
    Hodei__V1__HeartbeatReply *reply = (Hodei__V1__HeartbeatReply *)item->reply;
    bool mine = worker->state != REG_NONE && hd_uuid_eq(worker->session, session) &&
                worker_step(worker, REG_BEAT, (struct registry_facts){0}, &(struct lost_list){0}).answer == REG_STEP;

    reply->now_ms = cx->now.wall_ms;
    hd_metric_add(&registry_metrics[mine ? REG_M_BEATS : REG_M_BEATS_UNKNOWN], 1);
    if (!mine) {
        reply->rejoin = true;
        return false;
    }
    worker->beats++;
    worker->heartbeat_at_ms = cx->now.wall_ms;
    worker->running = (int32_t)request_of(item)->n_attempts;
    note_usage(cx, item, worker);
    note_drained(cx, worker);
    if (request_of(item)->stream_missing) {
        worker->stream_ready = false;
        hd_service_kick(registry->service, "streams");
    }
    reply->lease_ms = registry->times.lease_ms;
    return true;
}

enum hd_status registry_heartbeat(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct hd_uuid *sessions = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    const char **names = HD_NEW_ARRAY(cx->arena, n, const char *);
    Hodei__V1__HeldByWorker **held = HD_NEW_ARRAY(cx->arena, n, Hodei__V1__HeldByWorker *);
    struct workers workers;
    size_t n_names = 0, n_held = 0;

    for (size_t i = 0; i < n; i++) {
        items[i].err.status = registry_check_heartbeat(request_of(&items[i]), &items[i].err, &sessions[i]);
        if (items[i].err.status == HD_OK)
            names[n_names++] = request_of(&items[i])->worker;
    }
    if (n_names == 0)
        return HD_OK;
    HD_TRY(registry_store(cx)->load(cx, names, n_names, &workers));
    for (size_t i = 0; i < n; i++) {
        if (items[i].err.status != HD_OK)
            continue;
        struct worker *worker = workers_find(&workers, request_of(&items[i])->worker);
        if (beat(cx, self, &items[i], worker, sessions[i]))
            held[n_held++] = held_by(cx, &items[i], worker);
    }
    HD_TRY(registry_save(cx, &workers, &(struct lost_list){0}));
    ask_reconcile(cx, held, n_held);
    return HD_OK;
}

// The next heartbeat asks again, so a failure is only counted.
enum hd_status registry_reconciled(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)cx;
    (void)self;
    for (size_t i = 0; i < n; i++)
        if (!items[i].msg)
            hd_metric_add(&registry_metrics[REG_M_ASKS_FAILED], 1);
    return HD_OK;
}
