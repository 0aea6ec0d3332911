#include "agent/connection/connection.h"

#include <inttypes.h>
#include <string.h>

#include "agent/executor/executor.h"
#include "base/log.h"
#include "base/pb.h"
#include "hodei/v1/common.pb-c.h"

#define SERVICE "worker-registry"
#define JOIN_TIMEOUT_MS 8000 // the registry may wait 5 s for the stream
#define BEAT_TIMEOUT_MS 3000
#define RETRY_FIRST_MS 100
#define RETRY_MAX_MS 5000
#define HEARTBEAT_MIN_MS 100
#define HEARTBEAT_MAX_MS 60000
#define LEASE_MAX_MS (10 * 60 * 1000)
#define COMPLAIN_MS 30000

#define SKEW_MAX_MS 5000

struct hd_metric connection_metrics[CONNECTION_M_COUNT] = {
    [CONNECTION_M_LEASE] = {"hodei_agent_lease_left_ms", NULL, "How long the lease goes on; 0: there is none",
                            HD_GAUGE},
    [CONNECTION_M_SKEW] = {"hodei_agent_clock_skew_ms", NULL, "The registry's wall clock less ours", HD_GAUGE},
    [CONNECTION_M_FAILURES] = {"hodei_agent_registry_failures_total", NULL,
                               "Joins and heartbeats without a good answer", HD_COUNTER},
};

enum answer_kind { ANSWER_JOIN, ANSWER_BEAT };

void connection_init(struct connection *connection, const struct connection_def *def, struct hd_rng *rng) {
    *connection = (struct connection){.def = def, .rng = rng, .heartbeat_ms = HEARTBEAT_MAX_MS, .unfit = ""};
}

bool connection_has_lease(const struct connection *connection, int64_t mono_ms) {
    return mono_ms < connection->lease_until_ms;
}

static void close_feed(struct connection *connection, struct hd_bus *bus) {
    if (connection->feed_open)
        bus->ops->feed_close(bus, connection->consumer);
    connection->feed_open = false;
}

void connection_stop_feed(struct connection *connection, struct hd_bus *bus) {
    connection->closed = true;
    close_feed(connection, bus);
}

void connection_beat_now(struct connection *connection, const struct session *session) {
    if (connection->joined && !connection->failures)
        connection->due_ms = session->now.mono_ms;
}

void connection_join_again(struct connection *connection, const struct session *session) {
    connection->joined = false;
    connection->due_ms = session->now.mono_ms;
}

// --- asking ----------------------------------------------------------------------------------------------------------

static void ask(struct connection *connection, struct hd_bus *bus, const struct session *session, const char *method,
                const ProtobufCMessage *msg, enum answer_kind kind, int64_t timeout_ms) {
    Hodei__V1__RpcRequest request = HODEI__V1__RPC_REQUEST__INIT;
    uint8_t *data;
    size_t len;
    hd_pb_pack(session->arena, msg, &request.body.data, &request.body.len);
    request.timeout_ms = timeout_ms;
    hd_pb_pack(session->arena, &request.base, &data, &len);
    connection->asking = true;
    connection->asked_ms = session->now.mono_ms;
    connection->asked_wall_ms = session->now.wall_ms;
    bus->ops->ask(bus, hd_subject_rpc(session->arena, SERVICE, method), data, len, kind, 0, timeout_ms);
}

static void later(struct connection *connection, const struct session *session, int64_t pause_ms) {
    int64_t half_ms = pause_ms / 2;
    connection->due_ms = session->now.mono_ms + half_ms + (int64_t)hd_rng_below(connection->rng, (uint64_t)half_ms + 1);
}

static void failed(struct connection *connection, const struct session *session, const char *what, const char *why,
                   const char *hint) {
    int64_t pause_ms = RETRY_FIRST_MS;
    for (unsigned i = 0; i < connection->failures && pause_ms < RETRY_MAX_MS; i++)
        pause_ms = pause_ms * 3 / 2;
    later(connection, session, pause_ms < RETRY_MAX_MS ? pause_ms : RETRY_MAX_MS);
    connection->failures++;
    hd_metric_add(&connection_metrics[CONNECTION_M_FAILURES], 1);
    // While everything starts, the registry is not there yet; that is no news.
    if (connection->failures < 8 || session->now.mono_ms < connection->complained_ms + COMPLAIN_MS)
        return;
    connection->complained_ms = session->now.mono_ms;
    hd_warn("%s: %s%s%s; trying again", what, why, *hint ? "; " : "", hint);
}

static void join(struct connection *connection, struct hd_bus *bus, const struct session *session) {
    const struct connection_def *def = connection->def;
    Hodei__V1__JoinRequest request = HODEI__V1__JOIN_REQUEST__INIT;
    Hodei__V1__Resources capacity;
    struct hd_err err = {0};
    const char *token = def->token(def->arg, session->arena, &err);
    if (!token) {
        failed(connection, session, "join", err.text, err.hint);
        return;
    }
    request.token = (char *)(uintptr_t)token;
    request.name = (char *)(uintptr_t)session->worker;
    request.session = (char *)(uintptr_t)session->text;
    request.pool = (char *)(uintptr_t)def->pool;
    request.labels = def->labels;
    request.n_labels = def->n_labels;
    request.taints = def->taints;
    request.n_taints = def->n_taints;
    request.slots = session->slots;
    hd_resources_write(&session->capacity, &capacity);
    request.capacity = &capacity;
    request.executors = HD_NEW_ARRAY(session->arena, n_executors, Hodei__V1__Executor);
    for (size_t i = 0; i < n_executors; i++)
        request.executors[request.n_executors++] = executors[i].kind;
    request.agent_version = (char *)(uintptr_t)HD_VERSION;
    ask(connection, bus, session, "Join", &request.base, ANSWER_JOIN, JOIN_TIMEOUT_MS);
}

static void beat(struct connection *connection, struct hd_bus *bus, const struct session *session) {
    Hodei__V1__HeartbeatRequest request = HODEI__V1__HEARTBEAT_REQUEST__INIT;
    request.worker = (char *)(uintptr_t)session->worker;
    request.session = (char *)(uintptr_t)session->text;
    request.attempts = session_held(session, &request.n_attempts);
    request.at_ms = session->now.wall_ms;
    request.stream_missing = connection->missing;
    request.unfit = (char *)(uintptr_t)connection->unfit;
    if (connection->def->measure)
        connection->def->measure(connection->def->arg, session, &request);
    ask(connection, bus, session, "Heartbeat", &request.base, ANSWER_BEAT, BEAT_TIMEOUT_MS);
}

void connection_turn(struct connection *connection, struct hd_bus *bus, struct session *session) {
    bool connected = bus->ops->connected(bus);
    if (connected && !connection->was_connected && connection->failures) {
        connection->failures = 0; // all agents come back at once: each within a heartbeat's tenth
        later(connection, session, connection->joined ? connection->heartbeat_ms / 10 : RETRY_FIRST_MS);
    }
    connection->was_connected = connected;
    bool missing = connected && connection->feed_open && bus->ops->feed_missing(bus, connection->consumer);
    if (missing && !connection->missing && connection->joined && !connection->failures) { // said soon: nothing arrives
        int64_t due_ms = connection->due_ms;
        later(connection, session, connection->heartbeat_ms / 10);
        connection->due_ms = due_ms < connection->due_ms ? due_ms : connection->due_ms;
    }
    connection->missing = missing;
    int64_t left_ms = connection->lease_until_ms - session->now.mono_ms;
    hd_metric_set(&connection_metrics[CONNECTION_M_LEASE], left_ms > 0 ? left_ms : 0);
    if (!connected || connection->asking || session->now.mono_ms < connection->due_ms)
        return;
    if (connection->joined)
        beat(connection, bus, session);
    else
        join(connection, bus, session);
}

// --- answers ---------------------------------------------------------------------------------------------------------

// The lease counts from the moment of asking. An absurd one does not.
static void lease(struct connection *connection, const struct session *session, int64_t lease_ms) {
    if (lease_ms < 0 || lease_ms > LEASE_MAX_MS)
        return;
    connection->lease_until_ms = connection->asked_ms + lease_ms;
    connection->failures = 0;
    int64_t soonest_ms = session->now.mono_ms + HEARTBEAT_MIN_MS / 2;
    connection->due_ms = connection->asked_ms + connection->heartbeat_ms -
                         (int64_t)hd_rng_below(connection->rng, (uint64_t)connection->heartbeat_ms / 10);
    if (connection->due_ms < soonest_ms)
        connection->due_ms = soonest_ms;
}

static void open_feed(struct connection *connection, struct hd_bus *bus, const Hodei__V1__JoinReply *reply) {
    struct hd_err err = {0};
    if (connection->closed || (connection->feed_open && hd_streq(connection->stream, reply->stream) &&
                               hd_streq(connection->consumer, reply->consumer)))
        return;
    close_feed(connection, bus);
    if (!hd_token_valid(reply->consumer) || !hd_name_valid(reply->stream)) {
        hd_error("join: the stream \"%.80s\" and consumer \"%.80s\" are no names", reply->stream, reply->consumer);
        return;
    }
    hd_strlcpy(connection->stream, reply->stream, sizeof(connection->stream));
    hd_strlcpy(connection->consumer, reply->consumer, sizeof(connection->consumer));
    if (bus->ops->feed_open(bus, connection->stream, connection->consumer, "", false, CONNECTION_FEED_WINDOW,
                            CONNECTION_FEED, &err) == HD_OK)
        connection->feed_open = true;
    else
        hd_error("work stream %s: %s", connection->stream, err.text);
}

static void joined(struct connection *connection, struct hd_bus *bus, struct session *session,
                   const Hodei__V1__JoinReply *reply) {
    connection->joined = true;
    session->incarnation = reply->incarnation;
    connection->heartbeat_ms = reply->heartbeat_ms;
    if (connection->heartbeat_ms < HEARTBEAT_MIN_MS)
        connection->heartbeat_ms = HEARTBEAT_MIN_MS;
    if (connection->heartbeat_ms > HEARTBEAT_MAX_MS)
        connection->heartbeat_ms = HEARTBEAT_MAX_MS;
    lease(connection, session, reply->lease_ms);
    open_feed(connection, bus, reply);
    connection->due_ms = session->now.mono_ms; // at once: what is held is to be known
    hd_info("joined as %s, session %s, lease %" PRId64 " ms", session->worker, session->text, reply->lease_ms);
}

// The body of a good answer as `desc`; NULL with the reason.
static const ProtobufCMessage *body_of(const struct session *session, const struct hd_arrived *answer,
                                       const ProtobufCMessageDescriptor *desc, struct hd_err *err) {
    ProtobufCMessage *msg = NULL;
    if (answer->failed) {
        hd_err_set(err, HD_UNAVAILABLE, "the registry does not answer");
        return NULL;
    }
    if (hd_pb_unpack(session->arena, &hodei__v1__rpc_reply__descriptor, answer->data, answer->len, err, &msg) != HD_OK)
        return NULL;
    const Hodei__V1__RpcReply *reply = (const Hodei__V1__RpcReply *)msg;
    if (reply->status != HODEI__V1__STATUS__STATUS_OK) {
        hd_err_set(err, (enum hd_status)reply->status, "%s", reply->problem ? reply->problem->text : "refused");
        hd_err_hint(err, "%s", reply->problem ? reply->problem->hint : "");
        return NULL;
    }
    return hd_pb_unpack(session->arena, desc, reply->body.data, reply->body.len, err, &msg) == HD_OK ? msg : NULL;
}

// The moment of the answer lies between asking and hearing. Times of logs and results are this machine's, so people should know.
static void compare_clocks(struct connection *connection, const struct session *session, int64_t registry_ms) {
    if (!registry_ms)
        return;
    int64_t skew_ms = registry_ms - (connection->asked_wall_ms + session->now.wall_ms) / 2;
    hd_metric_set(&connection_metrics[CONNECTION_M_SKEW], skew_ms);
    if ((skew_ms < SKEW_MAX_MS && skew_ms > -SKEW_MAX_MS) ||
        session->now.mono_ms < connection->complained_ms + COMPLAIN_MS)
        return;
    connection->complained_ms = session->now.mono_ms;
    hd_warn("this machine's clock is %" PRId64 " s %s the registry's: times of logs and results are wrong by that",
            (skew_ms < 0 ? -skew_ms : skew_ms) / 1000, skew_ms < 0 ? "ahead of" : "behind");
}

void connection_answer(struct connection *connection, struct hd_bus *bus, struct session *session,
                       const struct hd_arrived *answer) {
    bool is_join = answer->table == ANSWER_JOIN;
    struct hd_err err = {0};
    const ProtobufCMessage *body = body_of(
        session, answer, is_join ? &hodei__v1__join_reply__descriptor : &hodei__v1__heartbeat_reply__descriptor, &err);
    connection->asking = false;
    if (!body) {
        failed(connection, session, is_join ? "join" : "heartbeat", err.text, err.hint);
        return;
    }
    if (is_join) {
        joined(connection, bus, session, (const Hodei__V1__JoinReply *)body);
        return;
    }
    const Hodei__V1__HeartbeatReply *reply = (const Hodei__V1__HeartbeatReply *)body;
    if (reply->rejoin) {
        hd_info("the registry does not know this session: joining again");
        connection->joined = false;
        connection->lease_until_ms = 0;
        connection->due_ms = session->now.mono_ms;
        return;
    }
    compare_clocks(connection, session, reply->now_ms);
    lease(connection, session, reply->lease_ms);
}
