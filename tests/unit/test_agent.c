// The agent on the bus twin with a fake clock, a fake shim and a journal in memory. The other bus plays registry, orchestrator
// and observability.
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
    bool refuse_beats;
    const char *machine; // why it can take no work
    char unfit[200];     // as the last heartbeat said
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

static enum hd_status record(void *arg, const void *data, size_t len, bool sync, struct hd_err *err) {
    struct world *w = arg;
    if (w->disk_full)
        return hd_err_set(err, HD_UNAVAILABLE, "journal: full");
    hd_buf_add(&w->journal, data, len);
    w->syncs += sync;
    return HD_OK;
}

static const Hodei__V1__ShimMessage *from_shim(void *arg, struct hd_arena *arena) {
    struct world *w = arg;
    (void)arena;
    return w->said < w->n_says ? w->says[w->said++] : NULL;
}

static void to_shim(void *arg, const Hodei__V1__ShimMessage *msg) {
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

static enum hd_status read_log(void *arg, const char *attempt, uint64_t from, void *ret, size_t len, size_t *ret_len) {
    struct world *w = arg;
    (void)attempt;
    if (!w->spool.len)
        return HD_MISSING;
    *ret_len = from >= w->spool.len ? 0 : w->spool.len - from < len ? w->spool.len - from : len;
    if (*ret_len)
        memcpy(ret, w->spool.data + from, *ret_len);
    return HD_OK;
}

static const char *unfit(void *arg, int64_t mono_ms) {
    (void)mono_ms;
    return ((struct world *)arg)->machine;
}

static const char *token(void *arg, struct hd_arena *arena, struct hd_err *err) {
    (void)arg, (void)arena, (void)err;
    return "secret";
}

static void replay(void *arg, const Hodei__V1__JournalRecord *each) {
    session_replay(&((struct world *)arg)->agent->session, each);
}

static void agent_start(struct world *w) {
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

static void agent_kill(struct world *w) {
    agent_release(w->agent);
    free(w->agent);
    w->agent = NULL;
    w->bus->ops->free(w->bus);
}

static void world_init(struct world *w) {
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

static void world_release(struct world *w) {
    agent_kill(w);
    hd_memnet_free(w->net);
    hd_buf_release(&w->journal);
    hd_buf_release(&w->spool);
    hd_arena_release(&w->arena);
}

// --- the other side --------------------------------------------------------------------------------------------------

static ProtobufCMessage *unpack(struct world *w, const ProtobufCMessageDescriptor *desc, const void *data, size_t len) {
    ProtobufCMessage *msg = NULL;
    CHECK_INT(hd_pb_unpack(&w->arena, desc, data, len, NULL, &msg), HD_OK);
    return msg;
}

static void reply(struct world *w, const char *to, const ProtobufCMessage *body) {
    Hodei__V1__RpcReply reply_msg = HODEI__V1__RPC_REPLY__INIT;
    uint8_t *data;
    size_t len;
    hd_pb_pack(&w->arena, body, &reply_msg.body.data, &reply_msg.body.len);
    hd_pb_pack(&w->arena, &reply_msg.base, &data, &len);
    w->peer->ops->send(w->peer, to, data, len);
}

static void serve(struct world *w, const struct hd_arrived *arrived) {
    if (arrived->table == 0) {
        Hodei__V1__JoinReply join = HODEI__V1__JOIN_REPLY__INIT;
        w->joins++;
        join.lease_ms = LEASE_MS;
        join.heartbeat_ms = 5000;
        join.stream = (char *)"WORK_w1";
        join.consumer = w->session_text;
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
    beat.lease_ms = LEASE_MS;
    if (!w->refuse_beats)
        reply(w, arrived->reply, &beat.base);
}

static void take_logs(struct world *w, const struct hd_arrived *arrived) {
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

static void take_reports(struct world *w, const struct hd_arrived *arrived) {
    const Hodei__V1__AttemptReports *msg = (const Hodei__V1__AttemptReports *)unpack(
        w, &hodei__v1__attempt_reports__descriptor, arrived->data, arrived->len);
    CHECK_STR(arrived->subject, "hodei.report.w1.attempts");
    CHECK_STR(msg->session, w->session_text);
    w->n_report_messages++;
    for (size_t i = 0; i < msg->n_reports; i++)
        w->reports[w->n_reports++ % (MAX * 4)] = msg->reports[i];
}

static void peer_turn(struct world *w) {
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
static void pass(struct world *w, int64_t ms) {
    w->now.wall_ms += ms;
    w->now.mono_ms += ms;
    hd_memnet_tick(w->net, w->now.mono_ms);
    for (int i = 0; i < 6; i++) {
        agent_turn(w->agent, w->now);
        peer_turn(w);
    }
}

static void settle_down(struct world *w) { // connects the shim and joins
    Hodei__V1__ShimMessage *hello = HD_NEW(&w->arena, Hodei__V1__ShimMessage);
    *hello = (Hodei__V1__ShimMessage)HODEI__V1__SHIM_MESSAGE__INIT;
    hello->hello = true;
    w->says[w->n_says++] = hello;
    pass(w, 1);
}

static Hodei__V1__Assignment *assignment(struct world *w, struct hd_uuid id, Hodei__V1__Executor executor) {
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

static void publish_work(struct world *w, const Hodei__V1__Work *work) {
    char id[32];
    uint8_t *data;
    size_t len;
    hd_pb_pack(&w->arena, &work->base, &data, &len);
    snprintf(id, sizeof(id), "%" PRIx64, hd_rng_next(&w->rng));
    w->peer->ops->publish(w->peer, "hodei.work.w1", data, len, id, 0);
}

static void assign(struct world *w, Hodei__V1__Assignment *a) {
    Hodei__V1__Work work = HODEI__V1__WORK__INIT;
    work.assignments = &a;
    work.n_assignments = 1;
    publish_work(w, &work);
    pass(w, 1);
}

static void cancel(struct world *w, const char *attempt, bool forget) {
    Hodei__V1__Work work = HODEI__V1__WORK__INIT;
    Hodei__V1__CancelAttempt one = HODEI__V1__CANCEL_ATTEMPT__INIT, *list = &one;
    one.attempt = (char *)(uintptr_t)attempt;
    one.forget = forget;
    work.cancels = &list;
    work.n_cancels = 1;
    publish_work(w, &work);
    pass(w, 1);
}

static void ack(struct world *w, const char *attempt, uint32_t number, bool final, uint64_t next_frame) {
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

static Hodei__V1__ShimState *shim_state(struct world *w, const char *attempt, bool ended, Hodei__V1__AttemptState end) {
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

static void shim_says(struct world *w, bool hello, Hodei__V1__ShimState *state) {
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

static struct hd_uuid new_id(struct world *w) {
    return hd_uuid7(w->now.wall_ms, &w->rng);
}

static const Hodei__V1__AttemptReport *last_report(const struct world *w) {
    static const Hodei__V1__AttemptReport none = {0};
    return w->n_reports ? w->reports[(w->n_reports - 1) % (MAX * 4)] : &none;
}

// --- tests -----------------------------------------------------------------------------------------------------------

TEST(joins_beats_and_keeps_its_lease) {
    struct world w;
    world_init(&w);
    CHECK(!connection_has_lease(&w.agent->connection, w.now.mono_ms));
    settle_down(&w);
    CHECK_INT(w.joins, 1);
    CHECK(connection_has_lease(&w.agent->connection, w.now.mono_ms));
    for (int i = 0; i < 60; i++)
        pass(&w, 1000);
    CHECK_INT(w.joins, 1);
    CHECK(w.beats >= 12 && w.beats <= 30);
    CHECK(connection_has_lease(&w.agent->connection, w.now.mono_ms));
    w.refuse_beats = true;
    for (int i = 0; i < 16; i++)
        pass(&w, 1000);
    CHECK(!connection_has_lease(&w.agent->connection, w.now.mono_ms));
    world_release(&w);
}

TEST(a_noop_is_recorded_reported_and_settled) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(NOOP));
    assign(&w, a);
    CHECK_INT(w.n_started, 0);
    CHECK_INT(w.syncs, 1);
    CHECK_INT(w.n_reports, 1);
    CHECK_INT(last_report(&w)->state, STATE(SUCCEEDED));
    CHECK_INT(last_report(&w)->started_at_ms, w.now.wall_ms);
    CHECK_STR(last_report(&w)->attempt, a->attempt);
    CHECK_INT(w.agent->session.attempts.n, 1);
    ack(&w, a->attempt, last_report(&w)->number, true, 0);
    CHECK_INT(w.agent->session.attempts.n, 0);
    pass(&w, 6000);
    CHECK_INT(w.n_reports, 1);
    world_release(&w);
}

TEST(redelivery_never_starts_twice) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    assign(&w, a);
    CHECK_INT(w.n_started, 1);
    shim_says(&w, false, shim_state(&w, a->attempt, true, STATE(SUCCEEDED)));
    assign(&w, a);
    ack(&w, a->attempt, 2, true, 0);
    CHECK_INT(w.n_forgotten, 1);
    assign(&w, a);
    CHECK_INT(w.n_started, 1);
    // After a restart it knows from the journal.
    agent_kill(&w);
    agent_start(&w);
    settle_down(&w);
    assign(&w, a);
    CHECK_INT(w.n_started, 1);
    CHECK_INT(last_report(&w)->state, STATE(LOST)); // the owner did not know of the end, so it is told
    world_release(&w);
}

TEST(tombstones_go_and_the_floor_stays) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(NOOP));
    assign(&w, a);
    ack(&w, a->attempt, 2, true, 0);
    for (int i = 0; i < 70; i++)
        pass(&w, 10000);
    Hodei__V1__Assignment *b = assignment(&w, new_id(&w), EXEC(NOOP));
    assign(&w, b);
    ack(&w, b->attempt, 2, true, 0);
    CHECK_INT(w.agent->session.n_stones, 1);
    size_t before = w.n_reports;
    assign(&w, a);
    CHECK_INT(w.n_reports, before + 1);
    CHECK_INT(last_report(&w)->state, STATE(REFUSED));
    CHECK(strstr(last_report(&w)->message, "too old") != NULL);
    world_release(&w);
}

TEST(a_cancel_that_comes_first_is_confirmed_and_holds) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    cancel(&w, a->attempt, false);
    CHECK_INT(w.n_reports, 1);
    CHECK_INT(last_report(&w)->state, STATE(CANCELLED));
    assign(&w, a);
    CHECK_INT(w.n_started, 0);
    ack(&w, a->attempt, 2, true, 0);
    assign(&w, a);
    CHECK_INT(w.n_started, 0);
    agent_kill(&w);
    agent_start(&w);
    settle_down(&w);
    assign(&w, a);
    CHECK_INT(w.n_started, 0);
    // One that is to be forgotten is not told of.
    Hodei__V1__Assignment *b = assignment(&w, new_id(&w), EXEC(SHELL));
    size_t before = w.n_reports;
    cancel(&w, b->attempt, true);
    CHECK_INT(w.n_reports, before);
    assign(&w, b);
    CHECK_INT(w.n_started, 0);
    world_release(&w);
}

TEST(a_running_job_is_cancelled_and_told) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    shim_says(&w, false, shim_state(&w, a->attempt, false, 0));
    CHECK_INT(w.n_reports, 0); // it may end at once
    pass(&w, SESSION_FOLD_MS);
    CHECK_INT(w.n_reports, 1);
    CHECK_INT(last_report(&w)->state, STATE(RUNNING));
    ack(&w, a->attempt, 1, false, 0);
    cancel(&w, a->attempt, false);
    CHECK_INT(w.n_cancelled, 1);
    shim_says(&w, false, shim_state(&w, a->attempt, true, STATE(CANCELLED)));
    CHECK_INT(w.n_reports, 2);
    CHECK_INT(last_report(&w)->state, STATE(CANCELLED));
    CHECK_INT(last_report(&w)->number, 2);
    ack(&w, a->attempt, 2, true, 0);
    CHECK_INT(w.n_forgotten, 1);
    CHECK_INT(w.agent->session.attempts.n, 0);
    world_release(&w);
}

TEST(decided_elsewhere_is_stopped_without_a_word) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    cancel(&w, a->attempt, true);
    CHECK_INT(w.n_cancelled, 1);
    shim_says(&w, false, shim_state(&w, a->attempt, true, STATE(CANCELLED)));
    pass(&w, 10000);
    CHECK_INT(w.n_reports, 0);
    CHECK_INT(w.n_forgotten, 1);
    CHECK_INT(w.agent->session.attempts.n, 0);
    world_release(&w);
}

TEST(without_a_lease_nothing_starts) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    w.refuse_beats = true;
    for (int i = 0; i < 20; i++)
        pass(&w, 1000);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(NOOP));
    assign(&w, a);
    CHECK_INT(w.n_reports, 0);
    CHECK_INT(w.agent->session.attempts.n, 0);
    w.refuse_beats = false;
    for (int i = 0; i < 20; i++)
        pass(&w, 1000);
    CHECK_INT(w.agent->session.attempts.n, 1); // it was not acknowledged, so it came again
    CHECK_INT(last_report(&w)->state, STATE(SUCCEEDED));
    world_release(&w);
}

// What keeps work away is told at once, and taken back at once.
TEST(why_it_takes_no_work_is_told) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    CHECK_STR(w.unfit, "");
    w.machine = "no disk";
    pass(&w, 10);
    CHECK_STR(w.unfit, "no disk");
    w.machine = "";
    pass(&w, 10);
    CHECK_STR(w.unfit, "");
    w.disk_full = true;
    assign(&w, assignment(&w, new_id(&w), EXEC(SHELL)));
    pass(&w, 10);
    CHECK_STR(w.unfit, "journal: full");
    w.disk_full = false;
    for (int i = 0; i < 4; i++)
        pass(&w, 1000);
    CHECK_STR(w.unfit, "");
    session_shim_gone(&w.agent->session);
    pass(&w, 1000);
    CHECK_STR(w.unfit, ""); // it may be back in a moment
    for (int i = 0; i < 8; i++)
        pass(&w, 1000);
    CHECK_STR(w.unfit, "its shim, which starts jobs, is not there");
    agent_stop(w.agent, false, w.now);
    pass(&w, 10);
    CHECK_STR(w.unfit, "its agent is being stopped");
    world_release(&w);
}

TEST(without_a_shim_nothing_starts) {
    struct world w;
    world_init(&w);
    pass(&w, 1);
    CHECK(connection_has_lease(&w.agent->connection, w.now.mono_ms));
    assign(&w, assignment(&w, new_id(&w), EXEC(SHELL)));
    CHECK_INT(w.n_started, 0);
    settle_down(&w);
    pass(&w, 1000);
    CHECK_INT(w.n_started, 1);
    world_release(&w);
}

TEST(what_does_not_fit_is_refused_unstarted) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    for (unsigned i = 0; i < w.slots; i++)
        assign(&w, assignment(&w, new_id(&w), EXEC(SHELL)));
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    CHECK_INT(w.n_started, 4);
    CHECK_INT(w.n_reports, 1);
    CHECK_INT(last_report(&w)->state, STATE(REFUSED));
    CHECK_INT(last_report(&w)->cause, CAUSE(NO_ROOM));
    shim_says(&w, false, shim_state(&w, w.started[0], true, STATE(SUCCEEDED)));
    assign(&w, a); // refused once, refused for ever
    CHECK_INT(w.n_started, 4);
    assign(&w, assignment(&w, new_id(&w), EXEC(SHELL)));
    CHECK_INT(w.n_started, 5);
    world_release(&w);
}

TEST(hostile_work_is_refused_or_passed_over) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    a->tenant = (char *)"a.b > *";
    assign(&w, a);
    CHECK_INT(last_report(&w)->state, STATE(FAILED));
    a = assignment(&w, new_id(&w), EXEC(DOCKER));
    assign(&w, a);
    CHECK_INT(last_report(&w)->cause, CAUSE(START_FAILED));
    size_t before = w.n_reports;
    a = assignment(&w, new_id(&w), EXEC(SHELL));
    a->session = (char *)RUN;
    assign(&w, a);
    a = assignment(&w, new_id(&w), EXEC(SHELL));
    a->attempt = (char *)"../../etc/passwd";
    assign(&w, a);
    w.peer->ops->publish(w.peer, "hodei.work.w1", "\xff\xff\xff", 3, "bad", 0);
    w.peer->ops->send(w.peer, "hodei.ack.w1", "\xff\xff\xff", 3);
    pass(&w, 1);
    CHECK_INT(w.n_reports, before);
    CHECK_INT(w.n_started, 0);
    world_release(&w);
}

TEST(reports_are_said_again_until_acknowledged) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    Hodei__V1__ShimState *end = shim_state(&w, a->attempt, true, STATE(FAILED));
    end->exit_code = 3;
    shim_says(&w, false, end);
    CHECK_INT(w.n_reports, 1); // start and end in one
    CHECK_INT(last_report(&w)->exit_code, 3);
    CHECK(last_report(&w)->started_at_ms != 0);
    pass(&w, 4000);
    CHECK_INT(w.n_reports, 1);
    pass(&w, 1100);
    CHECK_INT(w.n_reports, 2);
    // After a restart too, with the shim or without it.
    agent_kill(&w);
    agent_start(&w);
    settle_down(&w);
    CHECK_INT(w.n_reports, 3);
    CHECK_INT(last_report(&w)->state, STATE(FAILED));
    CHECK_INT(last_report(&w)->exit_code, 3);
    ack(&w, a->attempt, 2, true, 0);
    pass(&w, 20000);
    CHECK_INT(w.n_reports, 3);
    world_release(&w);
}

TEST(many_reports_make_one_message) {
    struct world w;
    world_init(&w);
    w.agent->session.slots = 100;
    settle_down(&w);
    Hodei__V1__Work work = HODEI__V1__WORK__INIT;
    Hodei__V1__Assignment *list[50];
    for (int i = 0; i < 50; i++)
        list[i] = assignment(&w, new_id(&w), EXEC(NOOP));
    work.assignments = list;
    work.n_assignments = 50;
    publish_work(&w, &work);
    pass(&w, 1);
    CHECK_INT(w.n_reports, 50);
    CHECK_INT(w.n_report_messages, 1);
    CHECK_INT(w.syncs, 1);
    world_release(&w);
}

TEST(a_restart_adopts_what_the_shim_has_and_loses_the_rest) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL)), *b = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    assign(&w, b);
    agent_kill(&w);
    agent_start(&w);
    CHECK_INT(w.agent->session.live, 2);
    shim_says(&w, true, shim_state(&w, a->attempt, false, 0));
    pass(&w, SESSION_FOLD_MS);
    CHECK_INT(w.agent->session.live, 1);
    bool lost = false;
    for (size_t i = 0; i < w.n_reports; i++)
        lost = lost || (w.reports[i]->state == STATE(LOST) && strcmp(w.reports[i]->attempt, b->attempt) == 0);
    CHECK(lost);
    assign(&w, b);
    assign(&w, a);
    CHECK_INT(w.n_started, 2); // before the restart
    shim_says(&w, false, shim_state(&w, a->attempt, true, STATE(SUCCEEDED)));
    CHECK_INT(last_report(&w)->state, STATE(SUCCEEDED));
    world_release(&w);
}

static void hello_of(struct world *w, uint64_t shim) {
    Hodei__V1__ShimMessage *hello = HD_NEW(&w->arena, Hodei__V1__ShimMessage);
    *hello = (Hodei__V1__ShimMessage)HODEI__V1__SHIM_MESSAGE__INIT;
    hello->hello = true;
    hello->shim = shim;
    w->says[w->n_says++] = hello;
    pass(w, 1);
}

// The agent was killed after it wrote an attempt down. The shim that it was for is there and has never heard of it: it never
// started, and may be placed anew. Of another shim nobody can say that.
TEST(what_never_reached_its_shim_is_refused_and_not_lost) {
    struct world w;
    world_init(&w);
    hello_of(&w, 77);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    CHECK_INT(w.n_started, 1);
    agent_kill(&w);
    agent_start(&w);
    hello_of(&w, 77);
    pass(&w, 1);
    CHECK_INT(last_report(&w)->state, STATE(REFUSED));
    CHECK_STR(last_report(&w)->attempt, a->attempt);
    assign(&w, a); // it comes again: it is known, and is not started
    CHECK_INT(w.n_started, 1);
    ack(&w, a->attempt, 2, true, 0);
    CHECK_INT(w.agent->session.attempts.n, 0);
    Hodei__V1__Assignment *b = assignment(&w, new_id(&w), EXEC(SHELL)), *c = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, b);
    agent_kill(&w);
    agent_start(&w);
    hello_of(&w, 78);
    pass(&w, 1);
    CHECK_INT(last_report(&w)->state, STATE(LOST));
    assign(&w, c); // one that the shim has named once did start
    shim_says(&w, false, shim_state(&w, c->attempt, false, 0));
    hello_of(&w, 78);
    pass(&w, 1);
    CHECK_INT(last_report(&w)->state, STATE(LOST));
    CHECK_STR(last_report(&w)->attempt, c->attempt);
    world_release(&w);
}

TEST(a_job_that_nobody_knows_is_stopped) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    shim_says(&w, false, shim_state(&w, "01900000-0000-7000-8000-000000000001", false, 0));
    CHECK_INT(w.n_cancelled, 1);
    shim_says(&w, false, shim_state(&w, "01900000-0000-7000-8000-000000000001", true, STATE(CANCELLED)));
    CHECK_INT(w.n_forgotten, 1);
    CHECK_INT(w.n_reports, 0);
    world_release(&w);
}

TEST(a_full_disk_takes_no_work_and_loses_none) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    w.disk_full = true;
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL)), *b = assignment(&w, new_id(&w), EXEC(NOOP));
    assign(&w, a);
    assign(&w, b);
    CHECK_INT(w.n_started, 0);
    CHECK_INT(w.n_reports, 0);
    CHECK_INT(w.agent->session.live, 0);
    CHECK_INT(w.agent->session.attempts.n, 0);
    w.disk_full = false;
    for (int i = 0; i < 4; i++)
        pass(&w, 1000);
    CHECK_INT(w.n_started, 1);
    CHECK_INT(w.n_reports, 1);
    world_release(&w);
}

static void spool_put(struct world *w, const char *text) {
    struct spool_header header = {.stream = 1, .len = (uint32_t)strlen(text), .at_ms = WALL};
    hd_buf_add(&w->spool, &header, sizeof(header));
    hd_buf_add(&w->spool, text, strlen(text));
}

static Hodei__V1__ShimState *with_log(const struct world *w, Hodei__V1__ShimState *state, uint64_t frames) {
    state->log_frames = frames;
    state->log_bytes = w->spool.len;
    return state;
}

TEST(logs_arrive_whole_and_are_kept_until_stored) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    spool_put(&w, "one ");
    spool_put(&w, "two ");
    shim_says(&w, false, with_log(&w, shim_state(&w, a->attempt, false, 0), 2));
    CHECK_STR(w.log, "one two ");
    spool_put(&w, "three");
    shim_says(&w, false, with_log(&w, shim_state(&w, a->attempt, true, STATE(SUCCEEDED)), 3));
    CHECK_STR(w.log, "one two three");
    CHECK_INT(last_report(&w)->log_frames, 3);
    ack(&w, a->attempt, 2, true, 0);
    CHECK_INT(w.agent->session.attempts.n, 1); // its log is not stored yet
    ack(&w, a->attempt, 0, false, 2);
    CHECK_INT(w.log_acked, 2);
    // What was sent and not stored goes again.
    w.log_frames = 2;
    w.log_len = 8;
    memset(w.log + 8, 0, 8);
    for (int i = 0; i < 11; i++)
        pass(&w, 1000);
    CHECK_STR(w.log, "one two three");
    ack(&w, a->attempt, 0, false, 3);
    CHECK_INT(w.agent->session.attempts.n, 0);
    CHECK_INT(w.n_forgotten, 1);
    world_release(&w);
}

TEST(logs_go_on_where_they_were_after_a_restart) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    spool_put(&w, "one ");
    uint64_t first = w.spool.len;
    shim_says(&w, false, with_log(&w, shim_state(&w, a->attempt, false, 0), 1));
    ack(&w, a->attempt, 0, false, 1);
    agent_kill(&w);
    spool_put(&w, "two");
    agent_start(&w);
    Hodei__V1__ShimState *state = with_log(&w, shim_state(&w, a->attempt, true, STATE(SUCCEEDED)), 2);
    state->acked_frame = 1;
    state->acked_byte = first;
    shim_says(&w, true, state);
    pass(&w, 1);
    CHECK_STR(w.log, "one two");
    world_release(&w);
}

// The shim had to drop what nobody could take: the reader sees a gap of that size in its place, and nothing else is missing.
TEST(what_was_dropped_goes_as_a_gap) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    spool_put(&w, "one ");
    shim_says(&w, false, with_log(&w, shim_state(&w, a->attempt, false, 0), 1));
    spool_put(&w, "two ");
    spool_put(&w, "three");
    size_t kept = w.spool.len;
    spool_put(&w, "four");
    memset(w.spool.data, 0, kept); // dropped, and the state that says so is still on its way
    Hodei__V1__ShimState *state = with_log(&w, shim_state(&w, a->attempt, false, 0), 4);
    shim_says(&w, false, state);
    CHECK_STR(w.log, "one ");
    state->dropped_frame = 3;
    state->dropped_byte = kept;
    shim_says(&w, false, state);
    CHECK_STR(w.log, "one [9]four");
    ack(&w, a->attempt, 0, false, 1);
    for (int i = 0; i < 11; i++) // what was not acknowledged goes again: the gap too
        pass(&w, 1000);
    CHECK_STR(w.log, "one [9]four");
    CHECK_INT(w.log_acked, 1);
    ack(&w, a->attempt, 0, false, 4);
    CHECK_INT(w.log_acked, 4);
    world_release(&w);
}

// Chunks that went may be stored though their acknowledgement was lost, and were dropped since: a gap never reaches across their
// ends, so that whoever has some of them knows exactly what is missing.
TEST(a_gap_ends_where_the_owner_may_be) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    spool_put(&w, "stored ");
    shim_says(&w, false, with_log(&w, shim_state(&w, a->attempt, false, 0), 1));
    CHECK_STR(w.log, "stored ");
    spool_put(&w, "gone");
    size_t kept = w.spool.len;
    spool_put(&w, "here");
    memset(w.spool.data, 0, kept);
    Hodei__V1__ShimState *state = with_log(&w, shim_state(&w, a->attempt, false, 0), 3);
    w.now.mono_ms += 6000; // too long without an acknowledgement: all goes again
    state->dropped_frame = 2;
    state->dropped_byte = kept;
    shim_says(&w, false, state);
    for (int i = 0; i < 11; i++)
        pass(&w, 1000);
    CHECK_STR(w.log, "stored [4]here");
    world_release(&w);
}

// What was dropped before an agent that starts again could send it is told by the shim's hello.
TEST(a_gap_is_known_after_a_restart) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    agent_kill(&w);
    spool_put(&w, "gone");
    size_t kept = w.spool.len;
    spool_put(&w, "here");
    memset(w.spool.data, 0, kept);
    agent_start(&w);
    Hodei__V1__ShimState *state = with_log(&w, shim_state(&w, a->attempt, true, STATE(SUCCEEDED)), 2);
    state->dropped_frame = 1;
    state->dropped_byte = kept;
    shim_says(&w, true, state);
    pass(&w, 1);
    CHECK_STR(w.log, "[4]here");
    world_release(&w);
}

// The shim is gone and cannot say how much it has dropped: what is there up to the hole is sent, and the attempt is settled.
TEST(a_hole_in_the_log_of_a_lost_job_ends_it) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    spool_put(&w, "first");
    size_t first = w.spool.len;
    spool_put(&w, "gone");
    memset(w.spool.data + first, 0, w.spool.len - first);
    agent_kill(&w);
    agent_start(&w);
    settle_down(&w);
    pass(&w, 1);
    CHECK_STR(w.log, "first");
    ack(&w, a->attempt, 2, true, 0);
    ack(&w, a->attempt, 0, false, 1);
    pass(&w, 1);
    CHECK_INT(w.agent->session.attempts.n, 0);
    world_release(&w);
}

TEST(the_log_of_a_lost_job_is_sent_from_its_file) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    spool_put(&w, "last ");
    spool_put(&w, "words");
    hd_buf_adds(&w.spool, "torn");
    agent_kill(&w);
    agent_start(&w);
    settle_down(&w); // a new shim: it knows nothing
    pass(&w, 1);
    CHECK_STR(w.log, "last words");
    CHECK_INT(last_report(&w)->state, STATE(LOST));
    ack(&w, a->attempt, 2, true, 0);
    CHECK_INT(w.agent->session.attempts.n, 1);
    ack(&w, a->attempt, 0, false, 2);
    pass(&w, 1);
    CHECK_INT(w.agent->session.attempts.n, 0);
    world_release(&w);
}

TEST(stopping_takes_the_jobs_along) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *a = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, a);
    agent_stop(w.agent, true, w.now);
    CHECK_INT(w.n_cancelled, 1);
    shim_says(&w, false, shim_state(&w, a->attempt, true, STATE(CANCELLED)));
    CHECK_INT(last_report(&w)->state, STATE(LOST)); // so that it runs again elsewhere, or here later
    CHECK_INT(last_report(&w)->cause, CAUSE(WORKER_LOST));
    CHECK(!agent_idle(w.agent));
    ack(&w, a->attempt, 2, true, 0);
    CHECK(agent_idle(w.agent));
    assign(&w, assignment(&w, new_id(&w), EXEC(SHELL)));
    CHECK_INT(w.n_started, 1);
    world_release(&w);
}

TEST(the_snapshot_says_what_the_journal_said) {
    struct world w;
    world_init(&w);
    settle_down(&w);
    Hodei__V1__Assignment *run = assignment(&w, new_id(&w), EXEC(SHELL)),
                          *done = assignment(&w, new_id(&w), EXEC(NOOP)),
                          *gone = assignment(&w, new_id(&w), EXEC(NOOP)),
                          *never = assignment(&w, new_id(&w), EXEC(SHELL));
    assign(&w, run);
    assign(&w, done);
    assign(&w, gone);
    ack(&w, gone->attempt, 2, true, 0);
    cancel(&w, never->attempt, true);
    hd_buf_clear(&w.journal);
    session_snapshot(&w.agent->session, &w.journal);
    agent_kill(&w);
    agent_start(&w);
    CHECK_INT(w.agent->session.live, 1);
    CHECK_INT(w.agent->session.attempts.n, 2);
    CHECK_INT(w.agent->session.n_stones, 2);
    shim_says(&w, true, shim_state(&w, run->attempt, false, 0));
    assign(&w, run);
    assign(&w, done);
    assign(&w, gone);
    assign(&w, never);
    CHECK_INT(w.n_started, 1);
    world_release(&w);
}

TEST(distrust_refuses_all_that_is_older) {
    struct world w;
    world_init(&w);
    Hodei__V1__Assignment *old = assignment(&w, new_id(&w), EXEC(NOOP));
    session_distrust(&w.agent->session);
    settle_down(&w);
    assign(&w, old);
    CHECK_INT(last_report(&w)->state, STATE(REFUSED));
    pass(&w, 10);
    Hodei__V1__Assignment *young = assignment(&w, new_id(&w), EXEC(NOOP));
    assign(&w, young);
    CHECK_INT(last_report(&w)->state, STATE(SUCCEEDED));
    world_release(&w);
}

TEST_MAIN
