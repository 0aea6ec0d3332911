// The in-memory twin: one network, many buses, no threads, no clock but hd_memnet_tick.
#include <inttypes.h>

#include "adapter/bus_mem.h"
#include "base/buf.h"
#include "base/map.h"

#define REPLY_PREFIX "_mem."

bool mem_chance(struct hd_memnet *net, unsigned percent) {
    return percent && hd_rng_below(net->rng, 100) < percent;
}

static char *copy(const char *text) {
    char *made = strdup(text);
    if (!made)
        abort();
    return made;
}

static struct mem_bus *mem(struct hd_bus *bus) {
    return (struct mem_bus *)bus;
}

// --- arrivals --------------------------------------------------------------------------------------------------------

static struct mem_arrival *arrival_new(const struct hd_arrived *arrived, int64_t mono_ms) {
    struct mem_arrival *made = hd_calloc(1, sizeof(*made));
    made->arrived = *arrived;
    made->arrived.arrived_mono_ms = mono_ms;
    made->arrived.subject = copy(arrived->subject ? arrived->subject : "");
    made->arrived.reply = copy(arrived->reply ? arrived->reply : "");
    uint8_t *data = hd_calloc(1, arrived->len);
    if (arrived->len)
        memcpy(data, arrived->data, arrived->len);
    made->arrived.data = data;
    made->arrived.handle = made;
    return made;
}

void mem_arrival_free(struct mem_arrival *arrival) {
    free((void *)(uintptr_t)arrival->arrived.subject);
    free((void *)(uintptr_t)arrival->arrived.reply);
    free((void *)(uintptr_t)arrival->arrived.data);
    free(arrival->stream);
    free(arrival->consumer);
    free(arrival);
}

// At the end of the inbox, or anywhere in it where order is at fault.
static void enqueue(struct mem_bus *bus, const struct hd_arrived *arrived) {
    struct mem_arrival **at = &bus->inbox;
    size_t skip = bus->n_inbox;
    if (arrived->kind != HD_ARRIVED_PUBLISHED && mem_chance(bus->net, bus->net->faults.reorder))
        skip = hd_rng_below(bus->net->rng, bus->n_inbox + 1);
    while (skip--)
        at = &(*at)->next;
    struct mem_arrival *made = arrival_new(arrived, bus->net->mono_ms);
    made->next = *at;
    *at = made;
    bus->n_inbox++;
}

// --- core ------------------------------------------------------------------------------------------------------------

// Of every queue group one member hears it. Replicas share one `name` of queue; the pick is the network's randomness.
static void pick(struct hd_memnet *net, const char *subject, struct mem_bus *asked, const struct mem_sub *like,
                 struct mem_bus **ret_bus, const struct mem_sub **ret_sub) {
    size_t seen = 0;
    *ret_bus = asked;
    *ret_sub = like;
    for (struct mem_bus *bus = net->buses; bus; bus = bus->next)
        for (const struct mem_sub *sub = bus->subs; sub; sub = sub->next)
            if (sub->queue && hd_streq(sub->queue, like->queue) && mem_subject_matches(sub->subject, subject) &&
                hd_rng_below(net->rng, ++seen) == 0) {
                *ret_bus = bus;
                *ret_sub = sub;
            }
}

static bool first_of_queue(const struct hd_memnet *net, const char *subject, const struct mem_sub *sub) {
    for (const struct mem_bus *bus = net->buses; bus; bus = bus->next)
        for (const struct mem_sub *other = bus->subs; other; other = other->next)
            if (other->queue && hd_streq(other->queue, sub->queue) && mem_subject_matches(other->subject, subject))
                return other == sub;
    return false;
}

static size_t deliver_core(struct hd_memnet *net, const char *subject, const void *data, size_t len,
                           const char *reply) {
    size_t heard = 0;
    for (struct mem_bus *bus = net->buses; bus; bus = bus->next) {
        for (struct mem_sub *sub = bus->subs; sub; sub = sub->next) {
            if (!mem_subject_matches(sub->subject, subject) || (sub->queue && !first_of_queue(net, subject, sub)))
                continue;
            struct mem_bus *to = bus;
            const struct mem_sub *of = sub;
            if (sub->queue)
                pick(net, subject, bus, sub, &to, &of);
            heard++;
            if (mem_chance(net, net->faults.drop_core))
                continue;
            enqueue(to, &(struct hd_arrived){.kind = of->kind,
                                             .table = of->table,
                                             .subject = subject,
                                             .data = data,
                                             .len = len,
                                             .reply = reply});
        }
    }
    return heard;
}

static void answer(struct hd_memnet *net, struct mem_ask **at, bool failed, const void *data, size_t len) {
    struct mem_ask *ask = *at;
    *at = ask->next;
    enqueue(ask->bus, &(struct hd_arrived){.kind = HD_ARRIVED_ANSWER,
                                           .table = ask->answer_kind,
                                           .tag = ask->tag,
                                           .failed = failed,
                                           .subject = ask->subject,
                                           .data = data,
                                           .len = len});
    (void)net;
    free(ask->subject);
    free(ask);
}

static void mem_send(struct hd_bus *bus, const char *subject, const void *data, size_t len) {
    struct hd_memnet *net = mem(bus)->net;
    if (!hd_starts_with(subject, REPLY_PREFIX)) {
        deliver_core(net, subject, data, len, "");
        return;
    }
    int64_t id;
    if (hd_parse_i64(subject + strlen(REPLY_PREFIX), &id) != HD_OK || mem_chance(net, net->faults.drop_core))
        return;
    for (struct mem_ask **at = &net->asks; *at; at = &(*at)->next) {
        if ((*at)->id == (uint64_t)id) {
            answer(net, at, false, data, len);
            return;
        }
    }
}

static void mem_ask(struct hd_bus *bus, const char *subject, const void *data, size_t len, int answer_kind,
                    uint64_t tag, int64_t timeout_ms) {
    struct hd_memnet *net = mem(bus)->net;
    struct mem_ask *ask = hd_calloc(1, sizeof(*ask));
    *ask = (struct mem_ask){.id = ++net->last_ask,
                            .bus = mem(bus),
                            .answer_kind = answer_kind,
                            .tag = tag,
                            .deadline_ms = net->mono_ms + timeout_ms,
                            .subject = copy(subject)};
    struct mem_ask **at = &net->asks;
    while (*at)
        at = &(*at)->next;
    *at = ask;
    char reply[40];
    snprintf(reply, sizeof(reply), REPLY_PREFIX "%" PRIu64, ask->id);
    if (!deliver_core(net, subject, data, len, reply))
        answer(net, at, true, NULL, 0); // no responders
}

static void add_sub(struct mem_bus *bus, enum hd_arrival kind, char *subject, const char *queue, int table) {
    struct mem_sub *sub = hd_calloc(1, sizeof(*sub));
    *sub = (struct mem_sub){
        .next = bus->subs, .kind = kind, .subject = subject, .queue = queue ? copy(queue) : NULL, .table = table};
    bus->subs = sub;
}

static enum hd_status serve(struct hd_bus *bus, const char *service, const char *method, const char *queue, int table) {
    char subject[256];
    snprintf(subject, sizeof(subject), HD_SUBJECT_RPC ".%s.%s", service, method);
    add_sub(mem(bus), HD_ARRIVED_RPC, copy(subject), queue, table);
    return HD_OK;
}

static enum hd_status mem_serve(struct hd_bus *bus, const char *service, const char *method, int table,
                                struct hd_err *err) {
    (void)err;
    return serve(bus, service, method, service, table);
}

static enum hd_status mem_serve_every(struct hd_bus *bus, const char *service, const char *method, int table,
                                      struct hd_err *err) {
    (void)err;
    return serve(bus, service, method, NULL, table);
}

static enum hd_status mem_listen(struct hd_bus *bus, const char *subject, const char *queue, int table,
                                 struct hd_err *err) {
    (void)err;
    add_sub(mem(bus), HD_ARRIVED_HINT, copy(subject), queue, table);
    return HD_OK;
}

// --- streams ---------------------------------------------------------------------------------------------------------

static enum hd_status mem_ensure_streams(struct hd_bus *bus, struct hd_err *err) {
    (void)err;
    for (size_t i = 0; i < HD_STREAM_COUNT; i++)
        mem_stream_make(mem(bus)->net, hd_streams[i].name, hd_streams[i].subjects, hd_streams[i].work_queue);
    return HD_OK;
}

static enum hd_status mem_ensure_work(struct hd_bus *bus, const char *worker, const char *session, struct hd_err *err) {
    char name[128], subject[128];
    if (!hd_token_valid(worker) || !hd_token_valid(session))
        return hd_err_set(err, HD_INVALID, "not a name of a worker and its session");
    snprintf(name, sizeof(name), "WORK_%s", worker);
    snprintf(subject, sizeof(subject), HD_SUBJECT_WORK ".%s", worker);
    mem_consumer_make(mem_stream_make(mem(bus)->net, name, subject, true), session, "");
    return HD_OK;
}

static void mem_publish(struct hd_bus *bus, const char *subject, const void *data, size_t len, const char *msg_id,
                        uint64_t tag) {
    struct hd_memnet *net = mem(bus)->net;
    deliver_core(net, subject, data, len, "");
    bool stored = mem_stream_publish(net, subject, data, len, msg_id);
    enqueue(mem(bus), &(struct hd_arrived){.kind = HD_ARRIVED_PUBLISHED, .failed = !stored, .tag = tag});
}

static struct mem_consumer *consumer_of(struct hd_memnet *net, const struct mem_feed *feed, struct mem_stream **ret) {
    struct mem_stream *stream = *ret = mem_stream_find(net, feed->stream);
    if (!stream)
        return NULL;
    return feed->make ? mem_consumer_make(stream, feed->consumer, feed->filter)
                      : mem_consumer_find(stream, feed->consumer);
}

static enum hd_status mem_feed_open(struct hd_bus *bus, const char *stream, const char *consumer, const char *filter,
                                    bool make, unsigned window, int table, struct hd_err *err) {
    (void)err;
    struct mem_feed *feed = hd_calloc(1, sizeof(*feed)), **at = &mem(bus)->feeds;
    *feed = (struct mem_feed){.stream = copy(stream),
                              .consumer = copy(consumer),
                              .filter = copy(filter ? filter : ""),
                              .make = make,
                              .window = window,
                              .table = table};
    while (*at)
        at = &(*at)->next;
    *at = feed;
    struct mem_stream *found;
    consumer_of(mem(bus)->net, feed, &found);
    return HD_OK;
}

static void mem_feed_close(struct hd_bus *bus, const char *consumer) {
    for (struct mem_feed *feed = mem(bus)->feeds; feed; feed = feed->next)
        if (hd_streq(feed->consumer, consumer))
            feed->closed = true;
}

static bool mem_feed_missing(struct hd_bus *bus, const char *consumer) {
    struct mem_stream *stream;
    for (struct mem_feed *feed = mem(bus)->feeds; feed; feed = feed->next)
        if (!feed->closed && hd_streq(feed->consumer, consumer))
            return !consumer_of(mem(bus)->net, feed, &stream);
    return true;
}

// One message of a feed as an arrival; a duplicate of it stays to be delivered again.
static struct mem_arrival *pull(struct mem_bus *bus, struct mem_feed *feed) {
    struct hd_memnet *net = bus->net;
    struct mem_stream *stream;
    struct mem_consumer *consumer = feed->closed || feed->out >= feed->window ? NULL : consumer_of(net, feed, &stream);
    uint64_t deliveries;
    const struct mem_msg *msg = consumer ? mem_consumer_next(net, stream, consumer, &deliveries) : NULL;
    if (!msg)
        return NULL;
    struct mem_arrival *made = arrival_new(&(struct hd_arrived){.kind = HD_ARRIVED_FEED,
                                                                .table = feed->table,
                                                                .deliveries = deliveries,
                                                                .subject = msg->subject,
                                                                .data = msg->data,
                                                                .len = msg->len},
                                           net->mono_ms);
    made->feed = feed;
    made->seq = msg->seq;
    made->stream = copy(stream->name);
    made->consumer = copy(consumer->name);
    feed->out++;
    if (mem_chance(net, net->faults.duplicate))
        mem_consumer_nak(net, consumer, msg->seq, 1 + (int64_t)hd_rng_below(net->rng, 50));
    return made;
}

static size_t mem_receive(struct hd_bus *base, struct hd_arrived *ret, size_t max) {
    struct mem_bus *bus = mem(base);
    size_t n = 0;
    while (bus->inbox && n < max) {
        struct mem_arrival *first = bus->inbox;
        bus->inbox = first->next;
        bus->n_inbox--;
        ret[n++] = first->arrived;
    }
    for (bool any = true; any && n < max;) { // in turn, so that no feed starves another
        any = false;
        for (struct mem_feed *feed = bus->feeds; feed && n < max; feed = feed->next) {
            struct mem_arrival *made = pull(bus, feed);
            if (made) {
                ret[n++] = made->arrived;
                any = true;
            }
        }
    }
    return n;
}

static struct mem_consumer *of_arrival(struct mem_bus *bus, const struct mem_arrival *arrival,
                                       struct mem_stream **ret) {
    *ret = arrival->stream ? mem_stream_find(bus->net, arrival->stream) : NULL;
    return *ret ? mem_consumer_find(*ret, arrival->consumer) : NULL;
}

static void mem_ack(struct hd_bus *bus, const struct hd_arrived *msg) {
    const struct mem_arrival *arrival = msg->handle;
    struct mem_stream *stream;
    struct mem_consumer *consumer = of_arrival(mem(bus), arrival, &stream);
    if (consumer)
        mem_consumer_ack(mem(bus)->net, stream, consumer, arrival->seq);
}

static void mem_nak(struct hd_bus *bus, const struct hd_arrived *msg, int64_t delay_ms) {
    const struct mem_arrival *arrival = msg->handle;
    struct mem_stream *stream;
    struct mem_consumer *consumer = of_arrival(mem(bus), arrival, &stream);
    if (consumer)
        mem_consumer_nak(mem(bus)->net, consumer, arrival->seq, delay_ms);
}

static void mem_done(struct hd_bus *bus, struct hd_arrived *msg) {
    (void)bus;
    struct mem_arrival *arrival = HD_STEAL(msg->handle);
    if (!arrival)
        return;
    if (arrival->feed)
        arrival->feed->out--;
    mem_arrival_free(arrival);
}

// --- life ------------------------------------------------------------------------------------------------------------

static int mem_fd(struct hd_bus *bus) {
    (void)bus;
    return -1;
}

static bool mem_connected(struct hd_bus *bus) {
    (void)bus;
    return true;
}

static void mem_leave(struct hd_bus *bus) {
    (void)bus; // a process of the simulator does not leave: it crashes
}

static void mem_flush(struct hd_bus *bus) {
    (void)bus; // everything left at once
}

static void free_parts(struct mem_bus *bus) {
    for (struct mem_arrival *next; bus->inbox; bus->inbox = next) {
        next = bus->inbox->next;
        mem_arrival_free(bus->inbox);
    }
    for (struct mem_sub *next; bus->subs; bus->subs = next) {
        next = bus->subs->next;
        free(bus->subs->subject);
        free(bus->subs->queue);
        free(bus->subs);
    }
    for (struct mem_feed *next; bus->feeds; bus->feeds = next) {
        next = bus->feeds->next;
        free(bus->feeds->stream);
        free(bus->feeds->consumer);
        free(bus->feeds->filter);
        free(bus->feeds);
    }
}

// What it held unacknowledged comes again to others after the wait, as with a process that died.
static void mem_free(struct hd_bus *base) {
    struct mem_bus *bus = mem(base);
    for (struct mem_bus **at = &bus->net->buses; *at; at = &(*at)->next) {
        if (*at == bus) {
            *at = bus->next;
            break;
        }
    }
    for (struct mem_ask **at = &bus->net->asks; *at;) {
        struct mem_ask *ask = *at;
        if (ask->bus != bus) {
            at = &ask->next;
            continue;
        }
        *at = ask->next;
        free(ask->subject);
        free(ask);
    }
    free_parts(bus);
    free(bus->name);
    free(bus);
}

static const struct hd_bus_ops mem_ops = {
    .free = mem_free,
    .fd = mem_fd,
    .connected = mem_connected,
    .ensure_streams = mem_ensure_streams,
    .ensure_work = mem_ensure_work,
    .serve = mem_serve,
    .serve_every = mem_serve_every,
    .listen = mem_listen,
    .feed_open = mem_feed_open,
    .feed_close = mem_feed_close,
    .feed_missing = mem_feed_missing,
    .receive = mem_receive,
    .publish = mem_publish,
    .send = mem_send,
    .ask = mem_ask,
    .ack = mem_ack,
    .nak = mem_nak,
    .done = mem_done,
    .flush = mem_flush,
    .leave = mem_leave,
};

struct hd_bus *hd_bus_mem_new(struct hd_memnet *net, const char *name) {
    struct mem_bus *bus = hd_calloc(1, sizeof(*bus)), **at = &net->buses;
    bus->base.ops = &mem_ops;
    bus->net = net;
    bus->name = copy(name);
    while (*at)
        at = &(*at)->next;
    *at = bus;
    return &bus->base;
}

struct hd_memnet *hd_memnet_new(struct hd_rng *rng) {
    struct hd_memnet *net = hd_calloc(1, sizeof(*net));
    net->rng = rng;
    return net;
}

void hd_memnet_free(struct hd_memnet *net) {
    if (!net)
        return;
    while (net->buses)
        mem_free(&net->buses->base);
    for (struct mem_stream *next; net->streams; net->streams = next) {
        next = net->streams->next;
        mem_stream_free(net->streams);
    }
    free(net);
}

void hd_memnet_faults(struct hd_memnet *net, struct hd_memnet_faults faults) {
    net->faults = faults;
}

void hd_memnet_tick(struct hd_memnet *net, int64_t mono_ms) {
    net->mono_ms = mono_ms;
    for (struct mem_stream *stream = net->streams; stream; stream = stream->next)
        for (struct mem_consumer *consumer = stream->consumers; consumer; consumer = consumer->next)
            mem_consumer_tick(net, consumer);
    for (struct mem_ask **at = &net->asks; *at;) {
        if ((*at)->deadline_ms <= mono_ms)
            answer(net, at, true, NULL, 0);
        else
            at = &(*at)->next;
    }
}

void hd_memnet_wipe(struct hd_memnet *net) {
    for (struct mem_stream *stream = net->streams; stream; stream = stream->next)
        mem_stream_wipe(stream);
}

void hd_memnet_forget(struct hd_memnet *net, const char *prefix) {
    for (struct mem_stream **at = &net->streams, *stream; (stream = *at);) {
        if (!hd_starts_with(stream->name, prefix)) {
            at = &stream->next;
            continue;
        }
        *at = stream->next;
        mem_stream_free(stream);
    }
}

bool hd_memnet_idle(const struct hd_memnet *net) {
    if (net->asks)
        return false;
    for (const struct mem_bus *bus = net->buses; bus; bus = bus->next)
        if (bus->inbox)
            return false;
    for (const struct mem_stream *stream = net->streams; stream; stream = stream->next)
        for (const struct mem_consumer *consumer = stream->consumers; consumer; consumer = consumer->next)
            if (!mem_consumer_idle(stream, consumer))
                return false;
    return true;
}
