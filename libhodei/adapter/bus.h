// Messaging adapter: JetStream and core NATS, with an in-memory twin behind the same calls.
//
// A handler says things by hd_publish, hd_tell and hd_ask; they are staged and leave after the commit: publications first
// into the outbox row of the transaction. The runner drains what has arrived with hd_bus_receive. Callbacks of nats.c do
// nothing but hand over into one bounded queue with an eventfd; a full queue refuses requests (UNAVAILABLE) and cannot
// overflow from streams, since no more is pulled than fits.
#ifndef HD_ADAPTER_BUS_H
#define HD_ADAPTER_BUS_H

#include <stdbool.h>

#include "base/ctx.h"
#include "base/names.h"

enum hd_arrival {
    HD_ARRIVED_RPC,      // a request with a reply address; `table` is the index given to hd_bus_serve
    HD_ARRIVED_FEED,     // a stream message to acknowledge; `table` is the index given to hd_bus_feed_open
    HD_ARRIVED_ANSWER,   // to an hd_ask: `table` is its kind; `failed` on timeout or no responders, then data is empty
    HD_ARRIVED_HINT,     // a core subscription of hd_bus_listen
    HD_ARRIVED_PUBLISHED // a publication is in its stream, or `failed`; `tag` is that of hd_bus_publish
};
struct hd_arrived {
    enum hd_arrival kind;
    int table;
    bool failed;
    uint64_t tag;        // of a publication, or of the ask that is answered
    uint64_t deliveries; // of a stream message, from 1
    const char *subject;
    const uint8_t *data;
    size_t len;
    int64_t arrived_mono_ms;
    const char *reply; // opaque to all but the bus
    void *handle;      // ownership: hd_bus_done
};

struct hd_bus_ops;
struct hd_staged; // one thing said by a handler
struct hd_bus {
    const struct hd_bus_ops *ops;
    struct hd_staged *staged; // in the order said; the runner takes them after the commit or drops them
    struct hd_staged *staged_last;
    size_t n_staged;
};

enum hd_say { HD_SAY_PUBLISH, HD_SAY_TELL, HD_SAY_ASK };
struct hd_staged {
    struct hd_staged *next;
    enum hd_say say;
    const char *subject;
    const uint8_t *data;
    size_t len;
    int answer_kind;    // of an ask
    int64_t timeout_ms; // of an ask
    uint64_t tag;       // of an ask
    bool written;       // a publication that has its outbox row; the runner's
};

// For handlers. The message is packed at once; all memory is the batch's arena.
void hd_publish(struct hd_ctx *cx, const char *subject,
                const ProtobufCMessage *msg);                                      // durable: outbox, then its stream
void hd_tell(struct hd_ctx *cx, const char *subject, const ProtobufCMessage *msg); // core, best effort
// A request to another service, answered later as `answer_kind` (index into the service's answers table).
void hd_ask(struct hd_ctx *cx, const char *service, const char *method, const ProtobufCMessage *msg, int answer_kind,
            int64_t timeout_ms);
// The same with all that a request may carry: for whom it is, a key that makes it safe to repeat, and a tag that comes back with the
// answer, where several are under way.
struct hd_asking {
    const char *service, *method;
    const ProtobufCMessage *msg;
    int answer_kind;
    int64_t timeout_ms;
    const char *subject, *tenant; // of the principal; NULL: none
    const char *idempotency_key;  // NULL: none
    uint64_t tag;
};
void hd_ask_with(struct hd_ctx *cx, const struct hd_asking *asking);
void hd_bus_unstage(struct hd_bus *bus); // forgets what is staged

// For the runner; each implementation provides all of them.
struct hd_bus_ops {
    void (*free)(struct hd_bus *bus);
    int (*fd)(struct hd_bus *bus); // readable when something has arrived; -1 in the twin
    bool (*connected)(struct hd_bus *bus);
    // Makes the streams of hd_streams and remembers to make them again when they are found missing. Safe to repeat.
    enum hd_status (*ensure_streams)(struct hd_bus *bus, struct hd_err *err);
    // Makes (or finds) a stream beside those, for example WORK_<worker>, with one durable consumer.
    enum hd_status (*ensure_work)(struct hd_bus *bus, const char *worker, const char *session, struct hd_err *err);
    enum hd_status (*serve)(struct hd_bus *bus, const char *service, const char *method, int table, struct hd_err *err);
    // The same without a queue group: every replica hears every request.
    enum hd_status (*serve_every)(struct hd_bus *bus, const char *service, const char *method, int table,
                                  struct hd_err *err);
    enum hd_status (*listen)(struct hd_bus *bus, const char *subject, const char *queue, int table, struct hd_err *err);
    // Starts pulling. `consumer` is made when `make` (services), found when not (agents). At most `window` unacknowledged.
    enum hd_status (*feed_open)(struct hd_bus *bus, const char *stream, const char *consumer, const char *filter,
                                bool make, unsigned window, int table, struct hd_err *err);
    void (*feed_close)(struct hd_bus *bus, const char *consumer);
    // True when a pull of this consumer was left unanswered for longer than it may: the stream or consumer is gone.
    bool (*feed_missing)(struct hd_bus *bus, const char *consumer);
    size_t (*receive)(struct hd_bus *bus, struct hd_arrived *ret, size_t max);
    void (*publish)(struct hd_bus *bus, const char *subject, const void *data, size_t len, const char *msg_id,
                    uint64_t tag);
    void (*send)(struct hd_bus *bus, const char *subject, const void *data, size_t len); // core: tells and replies
    void (*ask)(struct hd_bus *bus, const char *subject, const void *data, size_t len, int answer_kind, uint64_t tag,
                int64_t timeout_ms);
    void (*ack)(struct hd_bus *bus, const struct hd_arrived *msg);
    void (*nak)(struct hd_bus *bus, const struct hd_arrived *msg, int64_t delay_ms);
    void (*done)(struct hd_bus *bus, struct hd_arrived *msg); // frees what the message holds
    void (*flush)(struct hd_bus *bus);                        // what was said leaves now
    // Hears no new requests and hints, and takes no more of its feeds: what was sent before is in the queue at the return, what comes later goes
    // to another replica. Answers still come. Waits for the server, 2 s at most.
    void (*leave)(struct hd_bus *bus);
};

struct hd_door;
struct hd_bus_nats_def {
    const char *urls;     // comma separated
    const char *user;     // NULL: none
    const char *password; // NULL: none; never logged
    const char *ca;       // PEM file of who signs the servers' certificates: TLS, and nothing else; NULL: as urls say
    const char *name;     // of the connection
    const char *inbox;    // prefix, NULL: "_INBOX"
    const struct hd_door *door; // which streams it makes and may change; NULL: all of them
    unsigned queue_bound;       // arrivals that may wait; 0: 8192
    // Servers of a cluster that keep a copy of each stream, 1 to 5; work streams have one. 0: 1.
    unsigned replicas;
    // Longest pause between two tries to connect. The pause begins at 100 ms and doubles; each is shortened by a random part of
    // up to a half, so that those who were cut off together do not come back together. 0: 100 to 250 ms always.
    int64_t reconnect_max_ms;
};
// The pause before the try number `attempt` (from 1), before it is shortened. Pure.
int64_t hd_bus_reconnect_ms(int attempt, int64_t max_ms);
// Does not need the server to be there: it goes on trying. Never NULL.
struct hd_bus *hd_bus_nats_new(const struct hd_bus_nats_def *def);
// A synchronous request from any thread (gateway, CLI, tests); `*ret` is malloc'ed. HD_TIMEOUT, HD_UNAVAILABLE (no responders).
enum hd_status hd_bus_nats_call(struct hd_bus *bus, const char *subject, const void *data, size_t len,
                                int64_t timeout_ms, struct hd_err *err, uint8_t **ret, size_t *ret_len) HD_MUST_USE;

// The in-memory twin: one network, many buses on it, no threads. The simulator decides what is delivered when.
struct hd_memnet;
struct hd_rng;
struct hd_memnet *hd_memnet_new(struct hd_rng *rng); // borrowed
void hd_memnet_free(struct hd_memnet *net);
struct hd_bus *hd_bus_mem_new(struct hd_memnet *net, const char *name);
// Faults, each in percent, applied to deliveries of streams and to answers.
struct hd_memnet_faults {
    unsigned duplicate, reorder, drop_core, redeliver_acked;
};
void hd_memnet_faults(struct hd_memnet *net, struct hd_memnet_faults faults);
void hd_memnet_tick(struct hd_memnet *net, int64_t mono_ms); // redelivers what was not acknowledged, times out asks
void hd_memnet_wipe(struct hd_memnet *net);                  // every stream loses its messages
// Streams of that name, or with that beginning, are gone with their consumers; who made them may make them again.
void hd_memnet_forget(struct hd_memnet *net, const char *prefix);
bool hd_memnet_idle(const struct hd_memnet *net); // nothing on its way

#endif
