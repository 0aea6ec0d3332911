// Arrivals, parked items and due timers become work, unpacked and in table order.
#include "service/runner.h"

static const ProtobufCMessageDescriptor *descriptor(const struct hd_service_def *def, enum row_kind kind, int row) {
    switch (kind) {
    case ROW_RPC:
        return def->rpcs[row].request;
    case ROW_FEED:
        return def->feeds[row].message;
    case ROW_ANSWER:
        return def->answers[row].message;
    case ROW_HINT:
        return def->hints[row].message;
    default:
        return NULL;
    }
}

static void turn_bad(struct work *work) {
    work->was = work->kind;
    work->kind = ROW_BAD;
}

// --- unpacking -------------------------------------------------------------------------------------------------------

static enum hd_status unpack_rpc(struct hd_service *service, struct work *work) {
    struct hd_arena *arena = &service->arena;
    ProtobufCMessage *msg;
    work->deadline_mono_ms = work->arrived.arrived_mono_ms + RPC_TIMEOUT_MS;
    HD_TRY(hd_pb_unpack(arena, &hodei__v1__rpc_request__descriptor, work->arrived.data, work->arrived.len, &work->why,
                        &msg));
    const Hodei__V1__RpcRequest *request = (const Hodei__V1__RpcRequest *)msg;
    work->request = request;
    if (strlen(request->idempotency_key) > 128)
        return hd_err_set(&work->why, HD_INVALID, "the idempotency key is longer than 128 bytes");
    int64_t timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : RPC_TIMEOUT_MS;
    work->deadline_mono_ms =
        work->arrived.arrived_mono_ms + (timeout_ms < RPC_TIMEOUT_MAX_MS ? timeout_ms : RPC_TIMEOUT_MAX_MS);
    // Nobody waits for it any more: work not done is work saved, exactly when there is too much of it.
    if (!work->wait_until_mono_ms && service->cx.now.mono_ms > work->deadline_mono_ms)
        return hd_err_set(&work->why, HD_TIMEOUT, "the request waited longer than its timeout of %lld ms",
                          (long long)timeout_ms);
    if (request->principal && request->principal->narrowed && !service->def->rpcs[work->row].narrow) {
        hd_err_set(&work->why, HD_DENIED, "%.100s may do this in parts of the tenant only, and it concerns all of it",
                   request->principal->subject);
        return HD_DENIED;
    }
    HD_TRY(hd_pb_unpack(arena, service->def->rpcs[work->row].request, request->body.data, request->body.len, &work->why,
                        &msg));
    work->msg = msg;
    return HD_OK;
}

// What went wrong reaches the handler as a missing message and item->err.
static void unpack_answer(struct hd_service *service, struct work *work) {
    ProtobufCMessage *msg;
    if (work->arrived.failed) {
        hd_err_set(&work->why, HD_UNAVAILABLE, "no answer to %s", work->arrived.subject);
        return;
    }
    if (hd_pb_unpack(&service->arena, &hodei__v1__rpc_reply__descriptor, work->arrived.data, work->arrived.len,
                     &work->why, &msg) != HD_OK)
        return;
    const Hodei__V1__RpcReply *reply = (const Hodei__V1__RpcReply *)msg;
    if (reply->status != HODEI__V1__STATUS__STATUS_OK) {
        enum hd_status status = (int)reply->status > 0 && (int)reply->status < HD_STATUS_COUNT
                                    ? (enum hd_status)reply->status
                                    : HD_INTERNAL;
        hd_err_set(&work->why, status, "%s", reply->problem ? reply->problem->text : hd_status_info(status)->title);
        return;
    }
    if (hd_pb_unpack(&service->arena, service->def->answers[work->row].message, reply->body.data, reply->body.len,
                     &work->why, &msg) == HD_OK)
        work->msg = msg;
}

static void unpack(struct hd_service *service, struct work *work) {
    ProtobufCMessage *msg;
    if (work->kind == ROW_ANSWER) {
        unpack_answer(service, work);
        return;
    }
    enum hd_status status;
    if (work->kind == ROW_RPC)
        status = unpack_rpc(service, work);
    else if ((status = hd_pb_unpack(&service->arena, descriptor(service->def, work->kind, work->row),
                                    work->arrived.data, work->arrived.len, &work->why, &msg)) == HD_OK)
        work->msg = msg;
    if (status != HD_OK)
        turn_bad(work);
}

// --- taking ----------------------------------------------------------------------------------------------------------

static struct work *add(struct hd_service *service, enum row_kind kind, int row) {
    struct work *work = &service->works[service->n_works];
    *work = (struct work){.kind = kind, .was = kind, .row = row, .order = (unsigned)service->n_works};
    service->n_works++;
    return work;
}

static enum row_kind kind_of(enum hd_arrival arrival) {
    return arrival == HD_ARRIVED_RPC      ? ROW_RPC
           : arrival == HD_ARRIVED_FEED   ? ROW_FEED
           : arrival == HD_ARRIVED_ANSWER ? ROW_ANSWER
                                          : ROW_HINT;
}

// True when something has arrived.
bool take_arrivals(struct hd_service *service) {
    static const enum runner_metric counted[] = {[ROW_RPC] = RM_ITEMS_RPC,
                                                 [ROW_FEED] = RM_ITEMS_FEED,
                                                 [ROW_ANSWER] = RM_ITEMS_OTHER,
                                                 [ROW_HINT] = RM_ITEMS_OTHER};
    struct hd_bus *bus = service->env.bus;
    struct hd_arrived *arrived = service->arrived;
    size_t n = bus->ops->receive(bus, arrived, TURN_MAX);
    for (size_t i = 0; i < n; i++) {
        if (arrived[i].kind == HD_ARRIVED_PUBLISHED) {
            outbox_published(service, arrived[i].tag, arrived[i].failed);
            bus->ops->done(bus, &arrived[i]);
            continue;
        }
        enum row_kind kind = kind_of(arrived[i].kind);
        struct work *work = add(service, kind, arrived[i].table);
        work->arrived = arrived[i];
        unpack(service, work);
        hd_metric_add(&service->metrics[counted[kind]], 1);
    }
    return n > 0;
}

// They come back after a commit, after a while, and at the end of their wait.
void take_parked(struct hd_service *service) {
    size_t kept = 0;
    for (size_t i = 0; i < service->n_parked; i++) {
        struct parked *parked = &service->parked[i];
        if (parked->again_mono_ms > service->cx.now.mono_ms) {
            service->parked[kept++] = *parked;
            continue;
        }
        struct work *work = add(service, parked->kind, parked->row);
        work->arrived = parked->arrived;
        work->wait_until_mono_ms = parked->wait_until_mono_ms;
        unpack(service, work);
    }
    service->n_parked = kept;
}

void take_timers(struct hd_service *service) {
    for (size_t i = 0; i < service->def->n_timers; i++) {
        if (service->timer_due_mono_ms[i] > service->cx.now.mono_ms)
            continue;
        // Set before the handler runs, so that a kick by a handler of this turn is kept for the next.
        service->timer_due_mono_ms[i] = service->cx.now.mono_ms + service->def->timers[i].every_ms;
        add(service, ROW_TIMER, (int)i);
    }
}

static int compare(const void *a, const void *b) {
    const struct work *x = a, *y = b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    if (x->row != y->row)
        return x->row < y->row ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

void take_sort(struct hd_service *service) {
    if (service->n_works > 1)
        qsort(service->works, service->n_works, sizeof(*service->works), compare);
    service->items = HD_NEW_ARRAY(&service->arena, service->n_works, struct hd_item);
}

void take_item(struct hd_service *service, size_t i) {
    static const Hodei__V1__Principal nobody = HODEI__V1__PRINCIPAL__INIT;
    const struct work *work = &service->works[i];
    struct hd_item *item = &service->items[i];
    *item = (struct hd_item){
        .msg = work->msg,
        .principal = &nobody,
        .idempotency_key = "",
        .subject = work->arrived.subject ? work->arrived.subject : "",
        .client = "",
        .trace = "",
        .tag = work->arrived.tag,
        .deadline_mono_ms = work->deadline_mono_ms,
        .wait_until_mono_ms = work->wait_until_mono_ms,
        .err = work->why,
        .no_parking = service->n_parked + i >= PARKED_MAX,
    };
    if (work->kind == ROW_RPC)
        item->reply = hd_pb_new(&service->arena, service->def->rpcs[work->row].reply);
    if (!work->request)
        return;
    item->trace = work->request->trace;
    item->client = work->request->client;
    item->idempotency_key = work->request->idempotency_key;
    if (work->request->principal)
        item->principal = work->request->principal;
}
