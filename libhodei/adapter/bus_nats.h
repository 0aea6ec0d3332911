// Inside the NATS adapter only.
//
// One connection and one inbox subscription a process. Everything that comes back comes to that inbox, told apart by the first
// letter after the prefix: <inbox>.f.<feed>.<generation> status of a pull, <inbox>.a.<id> a publication is in its stream,
// <inbox>.q.<id> the answer to an ask. Messages of a feed keep their own subject; they are known by the stream and consumer
// in their reply address.
//
// Threads: nats.c's (they only hand over, under `mutex`), one of ours that waits for due times and makes streams and consumers
// (`keeper`), and the service's loop. `mutex` guards all fields below it; nothing is called back while it is held.
#ifndef HD_ADAPTER_BUS_NATS_H
#define HD_ADAPTER_BUS_NATS_H

#include <nats/nats.h>
#include <pthread.h>

#include "adapter/bus.h"
#include "base/map.h"

#define NATS_QUEUE_BOUND 8192
#define NATS_PUBLISH_TIMEOUT_MS 5000

struct nats_sub { // a core subscription
    struct nats_sub *next;
    struct nats_bus *bus;
    enum hd_arrival kind; // HD_ARRIVED_RPC, HD_ARRIVED_HINT; HD_ARRIVED_PUBLISHED for the inbox
    int table;
    natsSubscription *sub;
};
struct nats_feed {
    struct nats_feed *next;
    char *stream, *consumer, *filter; // filter "": all
    unsigned id, generation;          // of the pull under way
    int table;
    bool make, closed;
    bool ensured;           // the consumer was made on this connection
    bool doubted;           // a pull was not answered, or the server is another: asks in short pulls until one is
    bool missing;           // a short pull was not answered either
    unsigned window, out;   // messages at most, and given to the loop
    unsigned asked;         // still to come from the pull under way
    int64_t expect_mono_ms; // when the pull under way must have been answered; 0: none is
};
struct nats_arrival { // the handle of an arrival
    struct nats_arrival *next;
    struct hd_arrived arrived;
    natsMsg *msg; // owned; NULL where there is none
    struct nats_feed *feed;
    char *text; // owned subject of a failed answer
};
struct nats_pending { // a publication or an ask under way; those that are over stay until the older ones are
    bool over;
    bool sent; // on the connection that stands
    int kind;  // answer_kind of an ask
    uint64_t tag;
    int64_t deadline_mono_ms;
    char *subject; // of an ask
};
struct nats_pendings { // a queue; the id of items[first] is `base`
    struct nats_pending *items;
    size_t first, n, cap;
    uint64_t base;
};

struct nats_bus {
    struct hd_bus base;
    natsConnection *nc;
    jsCtx *js;
    char *inbox; // without a dot at its end
    int event_fd;
    unsigned queue_bound;
    int64_t reconnect_max_ms;
    unsigned makes, changes; // streams, as in struct hd_door
    unsigned replicas;       // of a stream that is made

    pthread_mutex_t mutex;
    pthread_cond_t wake; // of the keeper
    pthread_t keeper;
    bool keeper_runs, closing, keeper_due;
    bool streams_wanted, streams_ensured;
    int64_t make_after_mono_ms; // nothing is made before
    unsigned connections;       // counted by connected and reconnected
    bool lost;                  // since the connection broke; cleared when it stands again
    struct nats_sub *subs;
    unsigned subs_open; // until their last callback
    bool closed;        // the connection has made its last callback
    struct nats_feed *feeds;
    unsigned next_feed;
    struct nats_arrival *head, **tail;
    size_t n_queued;
    bool woken; // event_fd is readable without an arrival
    struct nats_pendings publishes, asks;
    int64_t said_mono_ms; // of the last warning
};

int64_t nats_mono_ms(void);
static inline struct nats_bus *nats_of(struct hd_bus *bus) {
    return (struct nats_bus *)bus;
}
// All with the mutex held.
void nats_queue(struct nats_bus *bus, struct nats_arrival *arrival);
void nats_wake_keeper(struct nats_bus *bus);
void nats_wake_loop(struct nats_bus *bus);
bool nats_is_up(struct nats_bus *bus);

// bus_nats_options.c
void nats_must(natsStatus status, const char *what); // ends the process where something that cannot fail has
// All but the callbacks. The caller destroys them.
natsOptions *nats_options(const struct hd_bus_nats_def *def, struct nats_bus *bus);

// bus_nats_pending.c; with the mutex held.
uint64_t nats_pending_add(struct nats_pendings *pendings, const struct nats_pending *item);
struct nats_pending *nats_pending_find(struct nats_pendings *pendings, uint64_t id);
void nats_pending_over(struct nats_pendings *pendings, struct nats_pending *item);
void nats_publish_over(struct nats_bus *bus, struct nats_pending *item, bool failed);
void nats_ask_over(struct nats_bus *bus, struct nats_pending *item, natsMsg *msg); // NULL: failed
// Ends what is past its deadline, and (lost) every publication sent on a connection that is gone. Returns the next deadline.
int64_t nats_pending_tend(struct nats_bus *bus, int64_t now, bool lost);
void nats_pending_free(struct nats_pendings *pendings);

// bus_nats_feed.c
enum hd_status nats_ensure_streams(struct hd_bus *base, struct hd_err *err);
enum hd_status nats_ensure_work(struct hd_bus *base, const char *worker, const char *session, struct hd_err *err);
enum hd_status nats_feed_open(struct hd_bus *base, const char *stream, const char *consumer, const char *filter,
                              bool make, unsigned window, int table, struct hd_err *err);
void nats_feed_close(struct hd_bus *base, const char *consumer);
bool nats_feed_missing(struct hd_bus *base, const char *consumer);
void nats_feed_done(struct nats_bus *bus, struct nats_feed *feed); // with the mutex held
bool nats_feed_take(struct nats_bus *bus, natsMsg *msg);           // false: it is no feed's; with the mutex held
void nats_feed_status(struct nats_bus *bus, const char *rest, natsMsg *msg); // with the mutex held
void nats_feed_all_doubted(struct nats_bus *bus);                            // with the mutex held
int64_t nats_feed_tend(struct nats_bus *bus, int64_t now);                   // with the mutex held
void nats_make_what_is_missing(struct nats_bus *bus);                        // the keeper, without the mutex

#endif
