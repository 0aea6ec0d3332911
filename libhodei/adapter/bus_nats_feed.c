// Streams, consumers and pulls.
//
// A feed has one pull under way, for as many messages as still fit its window. A pull on a stream or consumer that is not there
// gets no answer at all; one that is there is answered at the end of its time at the latest. So silence beyond that is
// doubt: consumers are made again (by those who may), and short pulls ask until one is answered.
#include <inttypes.h>

#include "adapter/bus_nats.h"
#include "base/buf.h"
#include "base/log.h"

#define PULL_MS 30000
#define PULL_LATE_MS 1000
// In doubt, an answer is late soon: not before it has been to the other side of the world and back.
#define PULL_DOUBTED_MS 200
#define PULL_DOUBTED_LATE_MS 800
#define DELETED_PAUSE_MS 1000
#define MAKE_WAIT_MS 2000
#define ACK_WAIT_MS 30000
#define ACK_PENDING_MAX 20000
#define NS_PER_MS INT64_C(1000000)
#define CONSUMER_MISSING 10014
#define STREAM_MISSING 10059
#define STREAM_DIFFERS 10058

// --- making ----------------------------------------------------------------------------------------------------------

static enum hd_status make_failed(natsStatus status, jsErrCode code, const char *what, const char *name,
                                  struct hd_err *err) {
    enum hd_status kind = code == CONSUMER_MISSING || code == STREAM_MISSING ? HD_MISSING
                          : status == NATS_TIMEOUT || status == NATS_NO_RESPONDERS ||
                                  status == NATS_NOT_YET_CONNECTED || status == NATS_CONNECTION_DISCONNECTED ||
                                  status == NATS_CONNECTION_CLOSED
                              ? HD_UNAVAILABLE
                              : HD_INTERNAL;
    return hd_err_set(err, kind, "%s %s could not be made: %s (JetStream error %d)", what, name,
                      natsStatus_GetText(status), (int)code);
}

// One that is there with other settings is changed by its owner alone; others take it as it is.
static enum hd_status make_stream(struct nats_bus *bus, const struct hd_stream *stream, unsigned replicas, bool change,
                                  struct hd_err *err) {
    jsOptions options;
    jsStreamConfig config;
    jsErrCode code = 0;
    jsStreamConfig_Init(&config);
    jsOptions_Init(&options);
    options.Wait = MAKE_WAIT_MS;
    const char *subjects[] = {stream->subjects};
    config.Name = stream->name;
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.Retention = stream->work_queue ? js_WorkQueuePolicy : js_LimitsPolicy;
    // A full work queue refuses, and the outbox says it again; facts make room for newer ones.
    config.Discard = stream->work_queue ? js_DiscardNew : js_DiscardOld;
    config.Storage = stream->memory ? js_MemoryStorage : js_FileStorage;
    config.MaxAge = stream->max_age_ms * NS_PER_MS;
    config.MaxBytes = stream->max_bytes;
    config.Duplicates = stream->duplicates_ms * NS_PER_MS;
    config.Replicas = replicas;
    natsStatus status = js_AddStream(NULL, bus->js, &config, &options, &code);
    if (status != NATS_OK && code == STREAM_DIFFERS) // of another release
        status = change ? js_UpdateStream(NULL, bus->js, &config, &options, &code) : NATS_OK;
    return status == NATS_OK ? HD_OK : make_failed(status, code, "stream", stream->name, err);
}

static enum hd_status make_consumer(struct nats_bus *bus, const char *stream, const char *consumer, const char *filter,
                                    struct hd_err *err) {
    jsConsumerConfig config;
    jsErrCode code = 0;
    jsConsumerConfig_Init(&config);
    config.Durable = consumer;
    config.AckPolicy = js_AckExplicit;
    config.AckWait = ACK_WAIT_MS * NS_PER_MS;
    config.MaxAckPending = ACK_PENDING_MAX;
    config.FilterSubject = filter && *filter ? filter : NULL;
    config.MemoryStorage = true; // what was delivered twice is handled once; writing its state costs more than all else
    natsStatus status = js_AddConsumer(NULL, bus->js, stream, &config, NULL, &code);
    return status == NATS_OK ? HD_OK : make_failed(status, code, "consumer", consumer, err);
}

static enum hd_status make_streams(struct nats_bus *bus, struct hd_err *err) {
    for (size_t i = 0; i < HD_STREAM_COUNT; i++)
        if (bus->makes & 1u << i)
            HD_TRY(make_stream(bus, &hd_streams[i], bus->replicas, bus->changes & 1u << i, err));
    return HD_OK;
}

enum hd_status nats_ensure_streams(struct hd_bus *base, struct hd_err *err) {
    struct nats_bus *bus = nats_of(base);
    pthread_mutex_lock(&bus->mutex);
    bus->streams_wanted = true;
    bus->streams_ensured = false;
    nats_wake_keeper(bus);
    bool up = nats_is_up(bus);
    pthread_mutex_unlock(&bus->mutex);
    return up ? HD_OK : hd_err_set(err, HD_UNAVAILABLE, "nats-server is not connected yet");
}

enum hd_status nats_ensure_work(struct hd_bus *base, const char *worker, const char *session, struct hd_err *err) {
    struct nats_bus *bus = nats_of(base);
    char name[80], subject[128];
    if (!hd_token_valid(worker) || !hd_token_valid(session))
        return hd_err_set(err, HD_INVALID, "not a name of a worker and its session");
    snprintf(name, sizeof(name), "WORK_%s", worker);
    snprintf(subject, sizeof(subject), HD_SUBJECT_WORK ".%s", worker);
    struct hd_stream stream = hd_work_stream;
    stream.name = name;
    stream.subjects = subject;
    enum hd_status status = make_stream(bus, &stream, 1, true, err);
    if (status == HD_OK)
        status = make_consumer(bus, name, session, "", err);
    if (status == HD_OK || (status == HD_UNAVAILABLE && !base->ops->connected(base)))
        return status;
    // A work queue has one consumer: that of an earlier session of this worker stands in the way. Or there is no answer: in a cluster the one server
    // that keeps it is away, perhaps for good. Then another one does, for what was in it is assigned again.
    jsErrCode code = 0;
    jsOptions options;
    jsOptions_Init(&options);
    options.Wait = MAKE_WAIT_MS;
    natsStatus deleted = js_DeleteStream(bus->js, name, &options, &code);
    if (deleted != NATS_OK && code != STREAM_MISSING)
        return make_failed(deleted, code, "stream", name, err);
    HD_TRY(make_stream(bus, &stream, 1, true, err));
    return make_consumer(bus, name, session, "", err);
}

// --- pulls, with the mutex held --------------------------------------------------------------------------------------

static void pull(struct nats_bus *bus, struct nats_feed *feed) {
    char subject[300], reply[160], body[96];
    int64_t expires = feed->doubted ? PULL_DOUBTED_MS : PULL_MS;
    unsigned room = feed->window - feed->out;
    feed->generation++;
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.%s.%s", feed->stream, feed->consumer);
    snprintf(reply, sizeof(reply), "%s.f.%u.%u", bus->inbox, feed->id, feed->generation);
    snprintf(body, sizeof(body), "{\"batch\":%u,\"expires\":%" PRId64 "}", room, expires * NS_PER_MS);
    if (natsConnection_PublishRequestString(bus->nc, subject, reply, body) != NATS_OK)
        return; // the keeper tries again
    feed->asked = room;
    feed->expect_mono_ms = nats_mono_ms() + expires + (feed->doubted ? PULL_DOUBTED_LATE_MS : PULL_LATE_MS);
    nats_wake_keeper(bus);
}

// The next pull, where none is under way and there is room enough to be worth one.
static void pull_if_due(struct nats_bus *bus, struct nats_feed *feed) {
    unsigned worth = feed->window / 8 ? feed->window / 8 : 1;
    if (feed->closed || feed->asked || feed->window - feed->out < worth || bus->closing || !nats_is_up(bus))
        return;
    if (feed->make && !feed->ensured) {
        nats_wake_keeper(bus);
        return;
    }
    pull(bus, feed);
}

static void answered(struct nats_feed *feed) {
    feed->doubted = feed->missing = false;
}

static void doubt(struct nats_bus *bus, struct nats_feed *feed) {
    if (feed->doubted && !feed->missing) {
        feed->missing = true;
        nats_wake_loop(bus);
    }
    feed->doubted = true;
    feed->ensured = false;
    feed->asked = 0;
    feed->expect_mono_ms = 0;
    if (feed->make)
        bus->streams_ensured = false;
    nats_wake_keeper(bus);
}

void nats_feed_all_doubted(struct nats_bus *bus) {
    for (struct nats_feed *feed = bus->feeds; feed; feed = feed->next) {
        feed->doubted = false; // one more chance before it counts as missing
        doubt(bus, feed);
    }
}

void nats_feed_done(struct nats_bus *bus, struct nats_feed *feed) {
    feed->out--;
    pull_if_due(bus, feed);
}

// $JS.ACK.<stream>.<consumer>.<deliveries>.… or, of newer servers, $JS.ACK.<domain>.<account>.<stream>.<consumer>.…
static bool parse_ack(const char *reply, struct hd_str tokens[12], size_t *ret_n) {
    size_t n = 0;
    if (!reply || !hd_starts_with(reply, "$JS.ACK."))
        return false;
    for (const char *p = reply + strlen("$JS.ACK."); *p && n < 12;) {
        size_t len = strcspn(p, ".");
        tokens[n++] = (struct hd_str){p, len};
        p += len + (p[len] == '.');
    }
    *ret_n = n;
    return n >= 7;
}

static bool same(struct hd_str token, const char *text) {
    return strlen(text) == token.len && memcmp(token.ptr, text, token.len) == 0;
}

bool nats_feed_take(struct nats_bus *bus, natsMsg *msg) {
    struct hd_str tokens[12];
    size_t n, at;
    if (!parse_ack(natsMsg_GetReply(msg), tokens, &n))
        return false;
    at = n >= 9 ? 2 : 0;
    for (struct nats_feed *feed = bus->feeds; feed; feed = feed->next) {
        if (!same(tokens[at], feed->stream) || !same(tokens[at + 1], feed->consumer))
            continue;
        if (feed->closed) { // another replica wants it
            natsConnection_PublishString(bus->nc, natsMsg_GetReply(msg), "-NAK");
            natsMsg_Destroy(msg);
            return true;
        }
        struct nats_arrival *made = hd_calloc(1, sizeof(*made));
        made->msg = msg;
        made->feed = feed;
        made->arrived = (struct hd_arrived){.kind = HD_ARRIVED_FEED,
                                            .table = feed->table,
                                            .deliveries = strtoull(tokens[at + 2].ptr, NULL, 10),
                                            .subject = natsMsg_GetSubject(msg),
                                            .data = (const uint8_t *)natsMsg_GetData(msg),
                                            .len = (size_t)natsMsg_GetDataLength(msg),
                                            .reply = natsMsg_GetReply(msg)};
        feed->out++;
        feed->asked -= feed->asked > 0;
        answered(feed);
        nats_queue(bus, made);
        pull_if_due(bus, feed);
        return true;
    }
    return false;
}

// "<feed>.<generation>": the pull is over, or its consumer is gone.
void nats_feed_status(struct nats_bus *bus, const char *rest, natsMsg *msg) {
    char *end;
    unsigned id = (unsigned)strtoul(rest, &end, 10);
    unsigned generation = *end == '.' ? (unsigned)strtoul(end + 1, NULL, 10) : 0;
    const char *status = "", *text = "";
    natsMsgHeader_Get(msg, "Status", &status);
    natsMsgHeader_Get(msg, "Description", &text);
    for (struct nats_feed *feed = bus->feeds; feed; feed = feed->next) {
        if (feed->id != id || feed->generation != generation)
            continue;
        if (hd_streq(status, "100"))
            return;
        feed->asked = 0;
        feed->expect_mono_ms = 0;
        if (hd_streq(status, "503") || (hd_streq(status, "409") && strstr(text, "Deleted"))) {
            // nats-server 2.9 tells it while it still deletes; a stream that is made again at once loses its files to that.
            bus->make_after_mono_ms = nats_mono_ms() + DELETED_PAUSE_MS;
            doubt(bus, feed);
        } else {
            answered(feed);
            if (hd_streq(status, "409")) // too many: a moment later
                nats_wake_keeper(bus);
            else
                pull_if_due(bus, feed);
        }
        return;
    }
}

int64_t nats_feed_tend(struct nats_bus *bus, int64_t now) {
    int64_t due = INT64_MAX;
    for (struct nats_feed *feed = bus->feeds; feed; feed = feed->next) {
        if (feed->closed)
            continue;
        if (feed->asked && now >= feed->expect_mono_ms)
            doubt(bus, feed);
        pull_if_due(bus, feed);
        if (feed->asked && feed->expect_mono_ms < due)
            due = feed->expect_mono_ms;
    }
    return due;
}

// --- the keeper, without the mutex -----------------------------------------------------------------------------------

static bool next_unmade(struct nats_bus *bus, unsigned after, unsigned *ret_id, char **ret_stream, char **ret_consumer,
                        char **ret_filter) {
    struct nats_feed *found = NULL;
    for (struct nats_feed *feed = bus->feeds; feed; feed = feed->next)
        if (feed->make && !feed->ensured && !feed->closed && feed->id > after && (!found || feed->id < found->id))
            found = feed;
    if (!found)
        return false;
    *ret_id = found->id;
    *ret_stream = strdup(found->stream);
    *ret_consumer = strdup(found->consumer);
    *ret_filter = strdup(found->filter);
    return *ret_stream && *ret_consumer && *ret_filter;
}

static void warn_seldom(struct nats_bus *bus, const struct hd_err *err) {
    if (err->status == HD_UNAVAILABLE || nats_mono_ms() < bus->said_mono_ms + 10000)
        return;
    bus->said_mono_ms = nats_mono_ms();
    hd_warn("%s; tried again", err->text);
}

static void made(struct nats_bus *bus, unsigned id) {
    for (struct nats_feed *feed = bus->feeds; feed; feed = feed->next)
        if (feed->id == id) {
            feed->ensured = true;
            pull_if_due(bus, feed);
        }
}

void nats_make_what_is_missing(struct nats_bus *bus) {
    struct hd_err err = {0};
    pthread_mutex_lock(&bus->mutex);
    bool streams = bus->streams_wanted && !bus->streams_ensured;
    unsigned connection = bus->connections;
    pthread_mutex_unlock(&bus->mutex);
    if (streams && make_streams(bus, &err) != HD_OK) {
        warn_seldom(bus, &err);
        return;
    }
    pthread_mutex_lock(&bus->mutex);
    if (streams && connection == bus->connections)
        bus->streams_ensured = true;
    char *stream, *consumer, *filter;
    for (unsigned id = 0; !bus->closing && next_unmade(bus, id, &id, &stream, &consumer, &filter);) {
        pthread_mutex_unlock(&bus->mutex);
        enum hd_status status = make_consumer(bus, stream, consumer, filter, &err);
        pthread_mutex_lock(&bus->mutex);
        if (status == HD_OK && connection == bus->connections)
            made(bus, id);
        else if (status == HD_MISSING) // its stream: made again the next time
            bus->streams_ensured = false;
        else if (status != HD_OK)
            warn_seldom(bus, &err);
        free(stream);
        free(consumer);
        free(filter);
    }
    pthread_mutex_unlock(&bus->mutex);
}

// --- feeds -----------------------------------------------------------------------------------------------------------

static char *copy(const char *text) {
    char *made_copy = strdup(text);
    if (!made_copy)
        abort();
    return made_copy;
}

enum hd_status nats_feed_open(struct hd_bus *base, const char *stream, const char *consumer, const char *filter,
                              bool make, unsigned window, int table, struct hd_err *err) {
    struct nats_bus *bus = nats_of(base);
    (void)err;
    pthread_mutex_lock(&bus->mutex);
    struct nats_feed *feed = bus->feeds;
    while (feed && !(hd_streq(feed->stream, stream) && hd_streq(feed->consumer, consumer)))
        feed = feed->next;
    if (!feed) {
        feed = hd_calloc(1, sizeof(*feed));
        *feed = (struct nats_feed){.next = bus->feeds,
                                   .stream = copy(stream),
                                   .consumer = copy(consumer),
                                   .filter = copy(filter ? filter : ""),
                                   .id = ++bus->next_feed};
        bus->feeds = feed;
    }
    feed->make = make;
    feed->window = window ? window : 1;
    feed->table = table;
    feed->closed = false;
    feed->doubted = !make; // whether it is there is seen soon
    feed->asked = 0;
    pull_if_due(bus, feed);
    nats_wake_keeper(bus);
    pthread_mutex_unlock(&bus->mutex);
    return HD_OK;
}

void nats_feed_close(struct hd_bus *base, const char *consumer) {
    struct nats_bus *bus = nats_of(base);
    pthread_mutex_lock(&bus->mutex);
    for (struct nats_feed *feed = bus->feeds; feed; feed = feed->next)
        if (hd_streq(feed->consumer, consumer))
            feed->closed = true;
    pthread_mutex_unlock(&bus->mutex);
}

bool nats_feed_missing(struct hd_bus *base, const char *consumer) {
    struct nats_bus *bus = nats_of(base);
    bool missing = true;
    pthread_mutex_lock(&bus->mutex);
    for (struct nats_feed *feed = bus->feeds; feed; feed = feed->next)
        if (!feed->closed && hd_streq(feed->consumer, consumer))
            missing = feed->missing;
    pthread_mutex_unlock(&bus->mutex);
    return missing;
}
