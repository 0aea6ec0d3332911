// The connection to the registry: join, then heartbeats; each answer is the lease, counted from the moment of asking on the
// monotonic clock. Without a lease nothing starts. Works on any bus, so tests drive it with the twin.
//
// One question at a time. A failure is tried again with a growing pause and jitter; a registry that does not know the session
// makes it join again. The feed of the worker's stream is opened by the first join and stays.
#ifndef HD_AGENT_CONNECTION_H
#define HD_AGENT_CONNECTION_H

#include "adapter/bus.h"
#include "agent/stream/session.h"
#include "hodei/v1/worker.pb-c.h"

#define CONNECTION_FEED 0         // table of the work feed
#define CONNECTION_FEED_WINDOW 64 // messages; each may hold hundreds of assignments

enum connection_metric { CONNECTION_M_LEASE, CONNECTION_M_SKEW, CONNECTION_M_FAILURES, CONNECTION_M_COUNT };
extern struct hd_metric connection_metrics[CONNECTION_M_COUNT];

struct connection_def {
    const char *pool;
    Hodei__V1__Label **labels; // borrowed
    size_t n_labels;
    Hodei__V1__Taint **taints; // borrowed
    size_t n_taints;
    // The join token, in the arena; NULL with the error where it cannot be read. Never logged.
    const char *(*token)(void *arg, struct hd_arena *arena, struct hd_err *err);
    // Load and jobs of the next heartbeat, in the session's arena; NULL: nothing is known.
    void (*measure)(void *arg, const struct session *session, Hodei__V1__HeartbeatRequest *ret);
    void *arg;
};
struct connection {
    const struct connection_def *def; // borrowed
    struct hd_rng *rng;               // borrowed
    bool joined, asking, was_connected, feed_open;
    bool missing;                                           // the work stream, or its consumer, as far as can be seen
    int64_t asked_ms, due_ms, lease_until_ms, heartbeat_ms; // monotonic
    int64_t asked_wall_ms;                                  // to compare the clocks
    const char *unfit;                                      // told with every heartbeat; borrowed
    bool closed;                                            // the feed stays closed
    unsigned failures;
    int64_t complained_ms;
    char stream[128], consumer[128];
};

void connection_init(struct connection *connection, const struct connection_def *def, struct hd_rng *rng);
// Asks what is due. The session is in a turn.
void connection_turn(struct connection *connection, struct hd_bus *bus, struct session *session);
void connection_answer(struct connection *connection, struct hd_bus *bus, struct session *session,
                       const struct hd_arrived *answer);
bool connection_has_lease(const struct connection *connection, int64_t mono_ms);
void connection_stop_feed(struct connection *connection, struct hd_bus *bus);             // for good
void connection_beat_now(struct connection *connection, const struct session *session);   // something must be told
void connection_join_again(struct connection *connection, const struct session *session); // the worker is another one

#endif
