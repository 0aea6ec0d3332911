// The NATS adapter: life, core messages, what the loop calls.
#include "adapter/bus_nats.h"

#include <inttypes.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/doors.h"
#include "base/log.h"
#include "base/pb.h"
#include "base/uuid.h"
#include "hodei/v1/common.pb-c.h"

#define KEEPER_AGAIN_MS 1000 // while something is missing
#define CLOSE_WAIT_MS 2000
#define LEAVE_WAIT_MS 2000
#define PAYLOAD_MAX (8u << 20)

int64_t nats_mono_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// --- arrivals --------------------------------------------------------------------------------------------------------

static void arrival_free(struct nats_arrival *arrival) {
    natsMsg_Destroy(arrival->msg);
    free(arrival->text);
    free(arrival);
}

static void write_event(struct nats_bus *bus) {
    static const uint64_t one = 1;
    if (write(bus->event_fd, &one, sizeof(one)) < 0)
        hd_error("eventfd: the loop may sleep too long");
}

void nats_wake_loop(struct nats_bus *bus) {
    if (bus->n_queued == 0 && !bus->woken)
        write_event(bus);
    bus->woken = true;
}

void nats_queue(struct nats_bus *bus, struct nats_arrival *arrival) {
    arrival->arrived.arrived_mono_ms = nats_mono_ms();
    arrival->arrived.handle = arrival;
    *bus->tail = arrival;
    bus->tail = &arrival->next;
    if (bus->n_queued++ == 0 && !bus->woken)
        write_event(bus);
}

void nats_wake_keeper(struct nats_bus *bus) {
    bus->keeper_due = true;
    pthread_cond_signal(&bus->wake);
}

bool nats_is_up(struct nats_bus *bus) {
    return !bus->lost && bus->nc && natsConnection_Status(bus->nc) == NATS_CONN_STATUS_CONNECTED;
}

// A full queue refuses at once: what waits longer than its caller is of use to nobody.
static void refuse(struct nats_bus *bus, natsMsg *msg) {
    Hodei__V1__RpcReply reply = HODEI__V1__RPC_REPLY__INIT;
    Hodei__V1__Problem problem = HODEI__V1__PROBLEM__INIT;
    uint8_t data[256];
    problem.text = (char *)(uintptr_t) "too many requests wait";
    problem.hint = (char *)(uintptr_t) "try again in a moment";
    reply.status = (Hodei__V1__Status)HD_UNAVAILABLE;
    reply.problem = &problem;
    if (natsMsg_GetReply(msg) && protobuf_c_message_get_packed_size(&reply.base) <= sizeof(data))
        natsConnection_Publish(bus->nc, natsMsg_GetReply(msg), data, (int)protobuf_c_message_pack(&reply.base, data));
}

static void on_core(natsConnection *nc, natsSubscription *nats_sub, natsMsg *msg, void *closure) {
    struct nats_sub *sub = closure;
    struct nats_bus *bus = sub->bus;
    (void)nc, (void)nats_sub;
    pthread_mutex_lock(&bus->mutex);
    bool full = bus->n_queued >= bus->queue_bound || natsMsg_GetDataLength(msg) > (int)PAYLOAD_MAX;
    if (full && sub->kind == HD_ARRIVED_RPC)
        refuse(bus, msg);
    if (!full && !bus->closing) {
        struct nats_arrival *made = hd_calloc(1, sizeof(*made));
        const char *reply = natsMsg_GetReply(msg);
        made->msg = HD_STEAL(msg);
        made->arrived = (struct hd_arrived){.kind = sub->kind,
                                            .table = sub->table,
                                            .subject = natsMsg_GetSubject(made->msg),
                                            .data = (const uint8_t *)natsMsg_GetData(made->msg),
                                            .len = (size_t)natsMsg_GetDataLength(made->msg),
                                            .reply = reply ? reply : ""};
        nats_queue(bus, made);
    }
    pthread_mutex_unlock(&bus->mutex);
    natsMsg_Destroy(msg);
}

// {"stream":…,"seq":…} or {"error":{…}}; nothing else of it matters.
static bool is_stored(natsMsg *msg) {
    const char *data = natsMsg_GetData(msg);
    size_t len = (size_t)natsMsg_GetDataLength(msg);
    return len > 0 && !natsMsg_IsNoResponders(msg) && memmem(data, len, "\"stream\"", 8) &&
           !memmem(data, len, "\"error\"", 7);
}

static void on_inbox(natsConnection *nc, natsSubscription *nats_sub, natsMsg *msg, void *closure) {
    struct nats_sub *sub = closure;
    struct nats_bus *bus = sub->bus;
    const char *subject = natsMsg_GetSubject(msg);
    size_t prefix = strlen(bus->inbox);
    (void)nc, (void)nats_sub;
    pthread_mutex_lock(&bus->mutex);
    if (bus->closing) {
    } else if (strncmp(subject, bus->inbox, prefix) != 0 || subject[prefix] != '.') {
        if (nats_feed_take(bus, msg))
            msg = NULL;
    } else {
        const char kind = subject[prefix + 1], *rest = kind ? subject + prefix + 3 : "";
        uint64_t id = kind == 'a' || kind == 'q' ? strtoull(rest, NULL, 10) : 0;
        struct nats_pending *publish = kind == 'a' ? nats_pending_find(&bus->publishes, id) : NULL;
        struct nats_pending *ask = kind == 'q' ? nats_pending_find(&bus->asks, id) : NULL;
        if (kind == 'f') {
            nats_feed_status(bus, rest, msg);
        } else if (publish) {
            bool stored = is_stored(msg);
            if (!stored && bus->streams_wanted) { // perhaps its stream is gone
                bus->streams_ensured = false;
                nats_wake_keeper(bus);
            }
            nats_publish_over(bus, publish, !stored);
        } else if (ask) {
            bool none = natsMsg_IsNoResponders(msg);
            nats_ask_over(bus, ask, none ? NULL : msg);
            msg = none ? msg : NULL;
        }
    }
    pthread_mutex_unlock(&bus->mutex);
    natsMsg_Destroy(msg);
}

// --- the connection --------------------------------------------------------------------------------------------------

static void on_connected(natsConnection *nc, void *closure) {
    struct nats_bus *bus = closure;
    (void)nc;
    pthread_mutex_lock(&bus->mutex);
    bus->connections++;
    bus->lost = false;
    bus->streams_ensured = false;
    nats_feed_all_doubted(bus);
    nats_wake_keeper(bus);
    pthread_mutex_unlock(&bus->mutex);
}

// What was under way may be in its stream or not: publications are said again, and are handled once.
static void on_disconnected(natsConnection *nc, void *closure) {
    struct nats_bus *bus = closure;
    (void)nc;
    pthread_mutex_lock(&bus->mutex);
    bus->lost = true;
    nats_pending_tend(bus, nats_mono_ms(), true);
    nats_feed_all_doubted(bus);
    pthread_mutex_unlock(&bus->mutex);
}

// The last callback of a connection: nats.c queues it behind the one for the loss that closing is.
static void on_closed(natsConnection *nc, void *closure) {
    struct nats_bus *bus = closure;
    (void)nc;
    pthread_mutex_lock(&bus->mutex);
    bus->closed = true;
    pthread_cond_broadcast(&bus->wake);
    pthread_mutex_unlock(&bus->mutex);
}

static void on_error(natsConnection *nc, natsSubscription *sub, natsStatus status, void *closure) {
    const char *text = NULL;
    (void)sub, (void)closure;
    natsConnection_GetLastError(nc, &text);
    hd_warn("NATS: %s%s%s", natsStatus_GetText(status), text && *text ? ": " : "", text ? text : "");
}

static void on_complete(void *closure) {
    struct nats_sub *sub = closure;
    pthread_mutex_lock(&sub->bus->mutex);
    sub->bus->subs_open--;
    pthread_cond_broadcast(&sub->bus->wake);
    pthread_mutex_unlock(&sub->bus->mutex);
}

static enum hd_status subscribe(struct nats_bus *bus, enum hd_arrival kind, const char *subject, const char *queue,
                                int table, struct hd_err *err) {
    struct nats_sub *sub = hd_calloc(1, sizeof(*sub));
    natsMsgHandler handler = kind == HD_ARRIVED_PUBLISHED ? on_inbox : on_core;
    *sub = (struct nats_sub){.bus = bus, .kind = kind, .table = table};
    natsStatus status = queue ? natsConnection_QueueSubscribe(&sub->sub, bus->nc, subject, queue, handler, sub)
                              : natsConnection_Subscribe(&sub->sub, bus->nc, subject, handler, sub);
    if (status != NATS_OK) {
        free(sub);
        return hd_err_set(err, HD_INTERNAL, "cannot subscribe to %s: %s", subject, natsStatus_GetText(status));
    }
    pthread_mutex_lock(&bus->mutex);
    sub->next = bus->subs;
    bus->subs = sub;
    bus->subs_open++;
    pthread_mutex_unlock(&bus->mutex);
    natsSubscription_SetPendingLimits(sub->sub, -1, -1); // the queue behind it is the bound
    natsSubscription_SetOnCompleteCB(sub->sub, on_complete, sub);
    return HD_OK;
}

static enum hd_status serve(struct hd_bus *base, const char *service, const char *method, const char *queue, int table,
                            struct hd_err *err) {
    char subject[256];
    snprintf(subject, sizeof(subject), HD_SUBJECT_RPC ".%s.%s", service, method);
    return subscribe(nats_of(base), HD_ARRIVED_RPC, subject, queue, table, err);
}

static enum hd_status nats_serve(struct hd_bus *base, const char *service, const char *method, int table,
                                 struct hd_err *err) {
    return serve(base, service, method, service, table, err);
}

static enum hd_status nats_serve_every(struct hd_bus *base, const char *service, const char *method, int table,
                                       struct hd_err *err) {
    return serve(base, service, method, NULL, table, err);
}

static enum hd_status nats_listen(struct hd_bus *base, const char *subject, const char *queue, int table,
                                  struct hd_err *err) {
    return subscribe(nats_of(base), HD_ARRIVED_HINT, subject, queue, table, err);
}

// --- the keeper ------------------------------------------------------------------------------------------------------

static bool something_missing(const struct nats_bus *bus) {
    bool missing = bus->streams_wanted && !bus->streams_ensured;
    for (const struct nats_feed *feed = bus->feeds; feed && !missing; feed = feed->next)
        missing =
            !feed->closed && ((feed->make && !feed->ensured) || (!feed->asked && feed->out < feed->window / 2 + 1));
    return missing;
}

static void wait_until(struct nats_bus *bus, int64_t due_mono_ms) {
    struct timespec at = {.tv_sec = due_mono_ms / 1000, .tv_nsec = due_mono_ms % 1000 * 1000000};
    if (due_mono_ms == INT64_MAX)
        pthread_cond_wait(&bus->wake, &bus->mutex);
    else
        pthread_cond_timedwait(&bus->wake, &bus->mutex, &at);
}

static void *keeper_main(void *closure) {
    struct nats_bus *bus = closure;
    int64_t tried = 0;
    pthread_mutex_lock(&bus->mutex);
    while (!bus->closing) {
        int64_t now = nats_mono_ms();
        bus->keeper_due = false;
        int64_t pending = nats_pending_tend(bus, now, false);
        int64_t feeds = nats_feed_tend(bus, now);
        int64_t due = pending < feeds ? pending : feeds;
        if (nats_is_up(bus) && something_missing(bus)) {
            bool paused = now < bus->make_after_mono_ms;
            if (paused) {
                tried = bus->make_after_mono_ms - KEEPER_AGAIN_MS;
            } else if (now >= tried + KEEPER_AGAIN_MS || !tried) {
                pthread_mutex_unlock(&bus->mutex);
                nats_make_what_is_missing(bus);
                pthread_mutex_lock(&bus->mutex);
                tried = something_missing(bus) ? nats_mono_ms() : 0;
            }
            if (tried && tried + KEEPER_AGAIN_MS < due)
                due = tried + KEEPER_AGAIN_MS;
        }
        if (!bus->closing && (!bus->keeper_due || tried))
            wait_until(bus, due);
    }
    pthread_mutex_unlock(&bus->mutex);
    return NULL;
}

// --- what the loop calls ---------------------------------------------------------------------------------------------

static int nats_fd(struct hd_bus *base) {
    return nats_of(base)->event_fd;
}

static bool nats_connected(struct hd_bus *base) {
    struct nats_bus *bus = nats_of(base);
    pthread_mutex_lock(&bus->mutex);
    bool up = nats_is_up(bus);
    pthread_mutex_unlock(&bus->mutex);
    return up;
}

static size_t nats_receive(struct hd_bus *base, struct hd_arrived *ret, size_t max) {
    struct nats_bus *bus = nats_of(base);
    size_t n = 0;
    uint64_t count;
    pthread_mutex_lock(&bus->mutex);
    bool any = bus->head || bus->woken;
    while (bus->head && n < max) {
        struct nats_arrival *first = bus->head;
        bus->head = first->next;
        if (!bus->head)
            bus->tail = &bus->head;
        bus->n_queued--;
        ret[n++] = first->arrived;
    }
    if (any && !bus->head && read(bus->event_fd, &count, sizeof(count)) < 0) // stays readable while there is more
        hd_debug("eventfd was read already");
    if (!bus->head)
        bus->woken = false;
    pthread_mutex_unlock(&bus->mutex);
    return n;
}

static void nats_publish(struct hd_bus *base, const char *subject, const void *data, size_t len, const char *msg_id,
                         uint64_t tag) {
    struct nats_bus *bus = nats_of(base);
    char reply[160];
    natsMsg *msg = NULL;
    pthread_mutex_lock(&bus->mutex);
    bool up = nats_is_up(bus);
    uint64_t id = nats_pending_add(
        &bus->publishes,
        &(struct nats_pending){.tag = tag, .sent = up, .deadline_mono_ms = nats_mono_ms() + NATS_PUBLISH_TIMEOUT_MS});
    snprintf(reply, sizeof(reply), "%s.a.%" PRIu64, bus->inbox, id);
    bool sent = up && natsMsg_Create(&msg, subject, reply, data, (int)len) == NATS_OK &&
                natsMsgHeader_Set(msg, "Nats-Msg-Id", msg_id) == NATS_OK &&
                natsConnection_PublishMsg(bus->nc, msg) == NATS_OK;
    if (!sent)
        nats_publish_over(bus, nats_pending_find(&bus->publishes, id), true);
    else if (bus->publishes.n == 1)
        nats_wake_keeper(bus); // it has a deadline now
    pthread_mutex_unlock(&bus->mutex);
    natsMsg_Destroy(msg);
}

static void nats_send(struct hd_bus *base, const char *subject, const void *data, size_t len) {
    struct nats_bus *bus = nats_of(base);
    natsStatus status = natsConnection_Publish(bus->nc, subject, data, (int)len);
    if (status != NATS_OK)
        hd_debug("%s is not sent: %s", subject, natsStatus_GetText(status));
}

static void nats_ask(struct hd_bus *base, const char *subject, const void *data, size_t len, int answer_kind,
                     uint64_t tag, int64_t timeout_ms) {
    struct nats_bus *bus = nats_of(base);
    char reply[160];
    char *copy = strdup(subject);
    if (!copy)
        abort();
    pthread_mutex_lock(&bus->mutex);
    bool up = nats_is_up(bus);
    uint64_t id = nats_pending_add(&bus->asks, &(struct nats_pending){.kind = answer_kind,
                                                                      .tag = tag,
                                                                      .sent = up,
                                                                      .subject = copy,
                                                                      .deadline_mono_ms = nats_mono_ms() + timeout_ms});
    snprintf(reply, sizeof(reply), "%s.q.%" PRIu64, bus->inbox, id);
    if (!up || natsConnection_PublishRequest(bus->nc, subject, reply, data, (int)len) != NATS_OK)
        nats_ask_over(bus, nats_pending_find(&bus->asks, id), NULL);
    nats_wake_keeper(bus); // its deadline may be the next
    pthread_mutex_unlock(&bus->mutex);
}

static void nats_ack(struct hd_bus *base, const struct hd_arrived *msg) {
    natsConnection_PublishString(nats_of(base)->nc, msg->reply, "+ACK");
}

static void nats_nak(struct hd_bus *base, const struct hd_arrived *msg, int64_t delay_ms) {
    char body[64];
    snprintf(body, sizeof(body), "-NAK {\"delay\": %" PRId64 "}", delay_ms * INT64_C(1000000));
    natsConnection_PublishString(nats_of(base)->nc, msg->reply, body);
}

static void nats_done(struct hd_bus *base, struct hd_arrived *msg) {
    struct nats_bus *bus = nats_of(base);
    struct nats_arrival *arrival = HD_STEAL(msg->handle);
    if (!arrival)
        return;
    if (arrival->feed) {
        pthread_mutex_lock(&bus->mutex);
        nats_feed_done(bus, arrival->feed);
        pthread_mutex_unlock(&bus->mutex);
    }
    arrival_free(arrival);
}

static void nats_flush(struct hd_bus *base) {
    (void)base; // everything is sent as soon as it is said
}

static void nats_leave(struct hd_bus *base) {
    struct nats_bus *bus = nats_of(base);
    int64_t end = nats_mono_ms() + LEAVE_WAIT_MS;
    pthread_mutex_lock(&bus->mutex);
    struct nats_sub *subs = bus->subs; // only the loop's thread, which this is, adds to the list
    for (struct nats_feed *feed = bus->feeds; feed; feed = feed->next)
        feed->closed = true; // what it has asked for goes back
    pthread_mutex_unlock(&bus->mutex);
    for (struct nats_sub *sub = subs; sub; sub = sub->next)
        if (sub->kind != HD_ARRIVED_PUBLISHED)
            natsSubscription_Drain(sub->sub); // fails where the connection is lost: nothing comes there
    if (nats_connected(base))
        natsConnection_FlushTimeout(bus->nc, LEAVE_WAIT_MS / 2);
    for (struct nats_sub *sub = subs; sub && nats_connected(base); sub = sub->next)
        if (sub->kind != HD_ARRIVED_PUBLISHED && end > nats_mono_ms())
            natsSubscription_WaitForDrainCompletion(sub->sub, end - nats_mono_ms());
}

enum hd_status hd_bus_nats_call(struct hd_bus *base, const char *subject, const void *data, size_t len,
                                int64_t timeout_ms, struct hd_err *err, uint8_t **ret, size_t *ret_len) {
    struct nats_bus *bus = nats_of(base);
    natsMsg *msg = NULL;
    natsStatus status = natsConnection_Request(&msg, bus->nc, subject, data, (int)len, timeout_ms);
    if (status == NATS_OK && msg && natsMsg_IsNoResponders(msg))
        status = NATS_NO_RESPONDERS;
    if (status != NATS_OK) {
        natsMsg_Destroy(msg);
        if (status == NATS_TIMEOUT)
            return hd_err_set(err, HD_TIMEOUT, "no answer within %" PRId64 " ms", timeout_ms);
        return hd_err_set(err, HD_UNAVAILABLE, "%s",
                          status == NATS_NO_RESPONDERS ? "no process of the service is there"
                                                       : natsStatus_GetText(status));
    }
    *ret_len = (size_t)natsMsg_GetDataLength(msg);
    *ret = hd_calloc(1, *ret_len + 1);
    if (*ret_len)
        memcpy(*ret, natsMsg_GetData(msg), *ret_len);
    natsMsg_Destroy(msg);
    return HD_OK;
}

// --- life ------------------------------------------------------------------------------------------------------------

static bool wait_closed(struct nats_bus *bus) {
    int64_t end = nats_mono_ms() + CLOSE_WAIT_MS;
    pthread_mutex_lock(&bus->mutex);
    while ((bus->subs_open || !bus->closed) && nats_mono_ms() < end)
        wait_until(bus, end);
    bool closed = !bus->subs_open && bus->closed;
    pthread_mutex_unlock(&bus->mutex);
    return closed;
}

static void free_lists(struct nats_bus *bus) {
    for (struct nats_arrival *next; bus->head; bus->head = next) {
        next = bus->head->next;
        arrival_free(bus->head);
    }
    for (struct nats_sub *next; bus->subs; bus->subs = next) {
        next = bus->subs->next;
        natsSubscription_Destroy(bus->subs->sub);
        free(bus->subs);
    }
    for (struct nats_feed *next; bus->feeds; bus->feeds = next) {
        next = bus->feeds->next;
        free(bus->feeds->stream);
        free(bus->feeds->consumer);
        free(bus->feeds->filter);
        free(bus->feeds);
    }
    nats_pending_free(&bus->publishes);
    nats_pending_free(&bus->asks);
}

static void nats_free(struct hd_bus *base) {
    struct nats_bus *bus = nats_of(base);
    pthread_mutex_lock(&bus->mutex);
    bus->closing = true;
    nats_wake_keeper(bus);
    pthread_mutex_unlock(&bus->mutex);
    if (bus->keeper_runs)
        pthread_join(bus->keeper, NULL);
    if (natsConnection_Status(bus->nc) == NATS_CONN_STATUS_CONNECTED)
        natsConnection_FlushTimeout(bus->nc, 500); // what was said leaves
    natsConnection_Close(bus->nc);
    if (!wait_closed(bus)) // a callback may still come: what it would touch is kept
        return;
    free_lists(bus);
    jsCtx_Destroy(bus->js);
    natsConnection_Destroy(bus->nc);
    close(bus->event_fd);
    pthread_mutex_destroy(&bus->mutex);
    pthread_cond_destroy(&bus->wake);
    free(bus->inbox);
    free(bus);
}

static const struct hd_bus_ops nats_ops = {
    .free = nats_free,
    .fd = nats_fd,
    .connected = nats_connected,
    .ensure_streams = nats_ensure_streams,
    .ensure_work = nats_ensure_work,
    .serve = nats_serve,
    .serve_every = nats_serve_every,
    .listen = nats_listen,
    .feed_open = nats_feed_open,
    .feed_close = nats_feed_close,
    .feed_missing = nats_feed_missing,
    .receive = nats_receive,
    .publish = nats_publish,
    .send = nats_send,
    .ask = nats_ask,
    .ack = nats_ack,
    .nak = nats_nak,
    .done = nats_done,
    .flush = nats_flush,
    .leave = nats_leave,
};

static char *new_inbox(const char *prefix) {
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    uint8_t bytes[20];
    char random[sizeof(bytes) + 1], *made = NULL;
    hd_random_bytes(bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++)
        random[i] = digits[bytes[i] % 36];
    random[sizeof(bytes)] = '\0';
    if (asprintf(&made, "%s.%s", prefix ? prefix : "_INBOX", random) < 0)
        abort();
    return made;
}

struct hd_bus *hd_bus_nats_new(const struct hd_bus_nats_def *def) {
    struct nats_bus *bus = hd_calloc(1, sizeof(*bus));
    struct hd_err err;
    pthread_condattr_t monotonic;
    bus->base.ops = &nats_ops;
    bus->tail = &bus->head;
    bus->queue_bound = def->queue_bound ? def->queue_bound : NATS_QUEUE_BOUND;
    bus->reconnect_max_ms = def->reconnect_max_ms;
    bus->makes = def->door ? def->door->makes : ~0u;
    bus->changes = def->door ? def->door->changes : ~0u;
    bus->replicas = def->replicas ? def->replicas : 1;
    bus->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bus->inbox = new_inbox(def->inbox);
    pthread_mutex_init(&bus->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&bus->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    nats_must(nats_Open(-1), "open");
    nats_must(nats_SetMessageDeliveryPoolSize(2), "delivery pool");
    natsOptions *made = nats_options(def, bus);
    nats_must(natsOptions_SetErrorHandler(made, on_error, bus), "errors");
    nats_must(natsOptions_SetReconnectedCB(made, on_connected, bus), "reconnect");
    nats_must(natsOptions_SetDisconnectedCB(made, on_disconnected, bus), "disconnect");
    nats_must(natsOptions_SetClosedCB(made, on_closed, bus), "close");
    nats_must(natsOptions_SetRetryOnFailedConnect(made, true, on_connected, bus), "connect");
    natsConnection *nc = NULL;
    natsStatus status = natsConnection_Connect(&nc, made);
    natsOptions_Destroy(made);
    if (bus->event_fd < 0 || (status != NATS_OK && status != NATS_NOT_YET_CONNECTED))
        nats_must(status == NATS_OK ? NATS_SYS_ERROR : status, "connect");
    pthread_mutex_lock(&bus->mutex);
    bus->nc = nc;
    pthread_mutex_unlock(&bus->mutex);
    nats_must(natsConnection_JetStream(&bus->js, nc, NULL), "JetStream");
    char subject[160];
    snprintf(subject, sizeof(subject), "%s.>", bus->inbox);
    if (subscribe(bus, HD_ARRIVED_PUBLISHED, subject, NULL, 0, &err) != HD_OK)
        nats_must(NATS_ERR, err.text);
    bus->keeper_runs = pthread_create(&bus->keeper, NULL, keeper_main, bus) == 0;
    if (!bus->keeper_runs)
        abort();
    return &bus->base;
}
