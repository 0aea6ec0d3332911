// The agent on the bus twin with a fake clock, a fake shim and a journal in memory. The other bus plays registry, orchestrator
// and observability.
#ifndef HD_TESTS_AGENT_TWIN_H
#define HD_TESTS_AGENT_TWIN_H

#include "agent/agent.h"
#include "agent/shim/shim.h"
#include "agent/stream/journal.h"
#include "base/pb.h"
#include "hodei/v1/common.pb-c.h"
#include "hodei/v1/log.pb-c.h"
#include "tests/unit/test.h"

#define STATE(x) HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_##x
#define CAUSE(x) HODEI__V1__CAUSE__CAUSE_##x
#define EXEC(x) HODEI__V1__EXECUTOR__EXECUTOR_##x
#define WALL 1800000000000
#define LEASE_MS 15000
#define RUN "01900000-0000-7000-8000-00000000abcd"
#define MAX 64

struct world {
    struct hd_rng rng;
    struct hd_memnet *net;
    struct hd_bus *bus, *peer;
    struct agent *agent;
    struct hd_now now;
    struct hd_arena arena; // of the peer's side
    struct hd_uuid session;
    char session_text[HD_UUID_TEXT];
    unsigned slots, joins, beats;
    bool refuse_beats, rejoin; // rejoin: the next heartbeat is answered so
    int64_t incarnation;
    const char *machine; // why it can take no work
    char unfit[200];     // as the last heartbeat said
    bool stream_missing; // the same
    // The disk.
    struct hd_buf journal, spool;
    bool disk_full;
    unsigned syncs;
    // The shim.
    const Hodei__V1__ShimMessage *says[MAX];
    size_t n_says, said;
    char started[MAX][HD_UUID_TEXT], cancelled[MAX][HD_UUID_TEXT], forgotten[MAX][HD_UUID_TEXT];
    size_t n_started, n_cancelled, n_forgotten;
    uint64_t log_acked;
    // What has been reported and logged.
    Hodei__V1__AttemptReport *reports[MAX * 4];
    size_t n_reports, n_report_messages;
    char log[4096];
    size_t log_len;
    uint64_t log_frames;
};

// --- the agent's surroundings ----------------------------------------------------------------------------------------

static inline enum hd_status record(void *arg, const void *data, size_t len, bool sync, struct hd_err *err) {
    struct world *w = arg;
    if (w->disk_full)
        return hd_err_set(err, HD_UNAVAILABLE, "journal: full");
    hd_buf_add(&w->journal, data, len);
    w->syncs += sync;
    return HD_OK;
}

static inline const Hodei__V1__ShimMessage *from_shim(void *arg, struct hd_arena *arena) {
    struct world *w = arg;
    (void)arena;
    return w->said < w->n_says ? w->says[w->said++] : NULL;
}

static inline void to_shim(void *arg, const Hodei__V1__ShimMessage *msg) {
    struct world *w = arg;
    for (size_t i = 0; i < msg->n_jobs; i++)
        hd_strlcpy(w->started[w->n_started++ % MAX], msg->jobs[i]->attempt, HD_UUID_TEXT);
    for (size_t i = 0; i < msg->n_cancels; i++)
        hd_strlcpy(w->cancelled[w->n_cancelled++ % MAX], msg->cancels[i]->attempt, HD_UUID_TEXT);
    for (size_t i = 0; i < msg->n_forgets; i++)
        hd_strlcpy(w->forgotten[w->n_forgotten++ % MAX], msg->forgets[i]->attempt, HD_UUID_TEXT);
    for (size_t i = 0; i < msg->n_log_acks; i++)
        w->log_acked = msg->log_acks[i]->next_frame;
}

static inline enum hd_status read_log(void *arg, const char *attempt, uint64_t from, void *ret, size_t len,
                                      size_t *ret_len) {
    struct world *w = arg;
    (void)attempt;
    if (!w->spool.len)
        return HD_MISSING;
    *ret_len = from >= w->spool.len ? 0 : w->spool.len - from < len ? w->spool.len - from : len;
    if (*ret_len)
        memcpy(ret, w->spool.data + from, *ret_len);
    return HD_OK;
}

static inline const char *unfit(void *arg, int64_t mono_ms) {
    (void)mono_ms;
    return ((struct world *)arg)->machine;
}

static inline const char *token(void *arg, struct hd_arena *arena, struct hd_err *err) {
    (void)arg, (void)arena, (void)err;
    return "secret";
}

static inline void replay(void *arg, const Hodei__V1__JournalRecord *each) {
    session_replay(&((struct world *)arg)->agent->session, each);
}

static inline void agent_start(struct world *w) {
    struct hd_err err = {0};
    const struct agent_def def = {.worker = "w1",
                                  .session = w->session,
                                  .slots = w->slots,
                                  .executor = {.state = "/s", .path = "/bin", .home = "/h"},
                                  .connection = {.pool = "default", .token = token}};
    w->bus = hd_bus_mem_new(w->net, "agent");
    const struct agent_env env = {w->bus, &w->rng, record, from_shim, to_shim, read_log, unfit, w};
    w->agent = calloc(1, sizeof(*w->agent));
    w->says[0] = NULL;
    w->n_says = w->said = 0;
    CHECK_INT(agent_init(w->agent, &def, &env, w->now, &err), HD_OK);
    struct hd_arena arena;
    hd_arena_init(&arena);
    CHECK_INT(journal_decode(&arena, (uint8_t *)w->journal.data, w->journal.len, replay, w), w->journal.len);
    hd_arena_release(&arena);
}

static inline void agent_kill(struct world *w) {
    agent_release(w->agent);
    free(w->agent);
    w->agent = NULL;
    w->bus->ops->free(w->bus);
}

static inline void world_init(struct world *w) {
    struct hd_err err = {0};
    *w = (struct world){.now = {WALL, 1000000}, .slots = 4, .machine = ""};
    hd_rng_seed(&w->rng, 7);
    hd_arena_init(&w->arena);
    w->net = hd_memnet_new(&w->rng);
    w->session = hd_uuid7(WALL - 5000, &w->rng);
    hd_uuid_format(w->session, w->session_text);
    w->peer = hd_bus_mem_new(w->net, "peer");
    hd_memnet_tick(w->net, w->now.mono_ms);
    const struct hd_bus_ops *ops = w->peer->ops;
    CHECK_INT(ops->ensure_streams(w->peer, &err), HD_OK);
    CHECK_INT(ops->ensure_work(w->peer, "w1", w->session_text, &err), HD_OK);
    CHECK_INT(ops->serve(w->peer, "worker-registry", "Join", 0, &err), HD_OK);
    CHECK_INT(ops->serve(w->peer, "worker-registry", "Heartbeat", 1, &err), HD_OK);
    CHECK_INT(ops->feed_open(w->peer, "REPORTS", "orchestrator", NULL, true, 100, 0, &err), HD_OK);
    CHECK_INT(ops->feed_open(w->peer, "LOGS", "observability", NULL, true, 100, 1, &err), HD_OK);
    agent_start(w);
}

static inline void world_release(struct world *w) {
    agent_kill(w);
    hd_memnet_free(w->net);
    hd_buf_release(&w->journal);
    hd_buf_release(&w->spool);
    hd_arena_release(&w->arena);
}

// --- the other side --------------------------------------------------------------------------------------------------

static inline ProtobufCMessage *unpack(struct world *w, const ProtobufCMessageDescriptor *desc, const void *data,
                                       size_t len) {
    ProtobufCMessage *msg = NULL;
    CHECK_INT(hd_pb_unpack(&w->arena, desc, data, len, NULL, &msg), HD_OK);
    return msg;
}

static inline void reply(struct world *w, const char *to, const ProtobufCMessage *body) {
    Hodei__V1__RpcReply reply_msg = HODEI__V1__RPC_REPLY__INIT;
    uint8_t *data;
    size_t len;
    hd_pb_pack(&w->arena, body, &reply_msg.body.data, &reply_msg.body.len);
    hd_pb_pack(&w->arena, &reply_msg.base, &data, &len);
    w->peer->ops->send(w->peer, to, data, len);
}

static inline void serve(struct world *w, const struct hd_arrived *arrived) {
    if (arrived->table == 0) {
        Hodei__V1__JoinReply join = HODEI__V1__JOIN_REPLY__INIT;
        w->joins++;
        join.lease_ms = LEASE_MS;
        join.heartbeat_ms = 5000;
        join.stream = (char *)"WORK_w1";
        join.consumer = w->session_text;
        join.incarnation = w->incarnation;
        reply(w, arrived->reply, &join.base);
        return;
    }
    Hodei__V1__HeartbeatReply beat = HODEI__V1__HEARTBEAT_REPLY__INIT;
    w->beats++;
    const Hodei__V1__RpcRequest *request =
        (const Hodei__V1__RpcRequest *)unpack(w, &hodei__v1__rpc_request__descriptor, arrived->data, arrived->len);
    const Hodei__V1__HeartbeatRequest *said = (const Hodei__V1__HeartbeatRequest *)unpack(
        w, &hodei__v1__heartbeat_request__descriptor, request->body.data, request->body.len);
    hd_strlcpy(w->unfit, said->unfit, sizeof(w->unfit));
    w->stream_missing = said->stream_missing;
    beat.rejoin = w->rejoin;
    beat.lease_ms = w->rejoin ? 0 : LEASE_MS;
    w->rejoin = false;
    if (!w->refuse_beats)
        reply(w, arrived->reply, &beat.base);
}

static inline void take_logs(struct world *w, const struct hd_arrived *arrived) {
    const Hodei__V1__LogChunks *chunks =
        (const Hodei__V1__LogChunks *)unpack(w, &hodei__v1__log_chunks__descriptor, arrived->data, arrived->len);
    for (size_t i = 0; i < chunks->n_chunks; i++) {
        const Hodei__V1__LogChunk *chunk = chunks->chunks[i];
        if (chunk->gap_frames && chunk->first_frame <= w->log_frames &&
            chunk->first_frame + chunk->gap_frames > w->log_frames) {
            CHECK_INT(chunk->first_frame, w->log_frames); // else nobody knows how many bytes are missing
            w->log_len += (size_t)snprintf(w->log + w->log_len, 40, "[%" PRIu64 "]", chunk->gap_bytes);
            w->log_frames += chunk->gap_frames;
        }
        for (size_t k = 0; k < chunk->n_frames; k++) {
            if (chunk->first_frame + k != w->log_frames)
                continue; // known already
            memcpy(w->log + w->log_len, chunk->frames[k]->data.data, chunk->frames[k]->data.len);
            w->log_len += chunk->frames[k]->data.len;
            w->log_frames++;
        }
    }
}

static inline void take_reports(struct world *w, const struct hd_arrived *arrived) {
    const Hodei__V1__AttemptReports *msg = (const Hodei__V1__AttemptReports *)unpack(
        w, &hodei__v1__attempt_reports__descriptor, arrived->data, arrived->len);
    CHECK_STR(arrived->subject, "hodei.report.w1.attempts");
    CHECK_STR(msg->session, w->session_text);
    w->n_report_messages++;
    for (size_t i = 0; i < msg->n_reports; i++)
        w->reports[w->n_reports++ % (MAX * 4)] = msg->reports[i];
}

static inline void peer_turn(struct world *w) {
    struct hd_arrived arrived;
    while (w->peer->ops->receive(w->peer, &arrived, 1)) {
        if (arrived.kind == HD_ARRIVED_RPC)
            serve(w, &arrived);
        else if (arrived.kind == HD_ARRIVED_FEED && arrived.table == 0)
            take_reports(w, &arrived);
        else if (arrived.kind == HD_ARRIVED_FEED)
            take_logs(w, &arrived);
        if (arrived.kind == HD_ARRIVED_FEED)
            w->peer->ops->ack(w->peer, &arrived);
        w->peer->ops->done(w->peer, &arrived);
    }
}

// Time goes on, and everything that comes of it happens.
static inline void pass(struct world *w, int64_t ms) {
    w->now.wall_ms += ms;
    w->now.mono_ms += ms;
    hd_memnet_tick(w->net, w->now.mono_ms);
    for (int i = 0; i < 6; i++) {
        agent_turn(w->agent, w->now);
        peer_turn(w);
    }
}

static inline void settle_down(struct world *w) { // connects the shim and joins
    Hodei__V1__ShimMessage *hello = HD_NEW(&w->arena, Hodei__V1__ShimMessage);
    *hello = (Hodei__V1__ShimMessage)HODEI__V1__SHIM_MESSAGE__INIT;
    hello->hello = true;
    w->says[w->n_says++] = hello;
    pass(w, 1);
}

static inline Hodei__V1__Assignment *assignment(struct world *w, struct hd_uuid id, Hodei__V1__Executor executor) {
    Hodei__V1__Assignment *made = HD_NEW(&w->arena, Hodei__V1__Assignment);
    *made = (Hodei__V1__Assignment)HODEI__V1__ASSIGNMENT__INIT;
    char text[HD_UUID_TEXT];
    hd_uuid_format(id, text);
    made->attempt = hd_arena_strdup(&w->arena, text);
    made->session = w->session_text;
    made->tenant = (char *)"default";
    made->run = (char *)RUN;
    made->job = (char *)"build";
    made->job_index = 3;
    made->number = 1;
    made->executor = executor;
    made->pipeline = (char *)"p";
    return made;
}

static inline void publish_work(struct world *w, const Hodei__V1__Work *work) {
    char id[32];
    uint8_t *data;
    size_t len;
    hd_pb_pack(&w->arena, &work->base, &data, &len);
    snprintf(id, sizeof(id), "%" PRIx64, hd_rng_next(&w->rng));
    w->peer->ops->publish(w->peer, "hodei.work.w1", data, len, id, 0);
}

static inline void assign(struct world *w, Hodei__V1__Assignment *a) {
    Hodei__V1__Work work = HODEI__V1__WORK__INIT;
    work.assignments = &a;
    work.n_assignments = 1;
    publish_work(w, &work);
    pass(w, 1);
}

static inline void cancel(struct world *w, const char *attempt, bool forget) {
    Hodei__V1__Work work = HODEI__V1__WORK__INIT;
    Hodei__V1__CancelAttempt one = HODEI__V1__CANCEL_ATTEMPT__INIT, *list = &one;
    one.attempt = (char *)(uintptr_t)attempt;
    one.forget = forget;
    work.cancels = &list;
    work.n_cancels = 1;
    publish_work(w, &work);
    pass(w, 1);
}

static inline void ack(struct world *w, const char *attempt, uint32_t number, bool final, uint64_t next_frame) {
    Hodei__V1__Acks acks = HODEI__V1__ACKS__INIT;
    Hodei__V1__ReportAck report = HODEI__V1__REPORT_ACK__INIT, *reports = &report;
    Hodei__V1__LogAck log = HODEI__V1__LOG_ACK__INIT, *logs = &log;
    uint8_t *data;
    size_t len;
    acks.session = w->session_text;
    report.attempt = log.attempt = (char *)(uintptr_t)attempt;
    report.number = number;
    report.final = final;
    log.next_frame = next_frame;
    acks.reports = &reports;
    acks.n_reports = number > 0;
    acks.logs = &logs;
    acks.n_logs = next_frame > 0;
    hd_pb_pack(&w->arena, &acks.base, &data, &len);
    w->peer->ops->send(w->peer, "hodei.ack.w1", data, len);
    pass(w, 1);
}

static inline Hodei__V1__ShimState *shim_state(struct world *w, const char *attempt, bool ended,
                                               Hodei__V1__AttemptState end) {
    Hodei__V1__ShimState *state = HD_NEW(&w->arena, Hodei__V1__ShimState);
    *state = (Hodei__V1__ShimState)HODEI__V1__SHIM_STATE__INIT;
    state->attempt = (char *)(uintptr_t)attempt;
    state->started = true;
    state->started_at_ms = w->now.wall_ms;
    state->ended = ended;
    state->state = end;
    state->ended_at_ms = ended ? w->now.wall_ms : 0;
    return state;
}

static inline void shim_says(struct world *w, bool hello, Hodei__V1__ShimState *state) {
    Hodei__V1__ShimMessage *msg = HD_NEW(&w->arena, Hodei__V1__ShimMessage);
    *msg = (Hodei__V1__ShimMessage)HODEI__V1__SHIM_MESSAGE__INIT;
    msg->hello = hello;
    if (state) {
        msg->states = HD_NEW_ARRAY(&w->arena, 1, Hodei__V1__ShimState *);
        msg->states[msg->n_states++] = state;
    }
    w->says[w->n_says++] = msg;
    pass(w, 1);
}

static inline struct hd_uuid new_id(struct world *w) {
    return hd_uuid7(w->now.wall_ms, &w->rng);
}

static inline const Hodei__V1__AttemptReport *last_report(const struct world *w) {
    static const Hodei__V1__AttemptReport none = {0};
    return w->n_reports ? w->reports[(w->n_reports - 1) % (MAX * 4)] : &none;
}

#endif
