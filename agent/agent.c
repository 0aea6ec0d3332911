#include "agent/agent.h"

#include <inttypes.h>
#include <stdio.h>

#include "agent/connection/reports.h"
#include "agent/stream/journal.h"
#include "base/log.h"
#include "base/pb.h"

#define HINT_ACKS 0
#define REPORTS_OUT_MAX 2
#define REPORTS_PAUSE_MAX_MS 20
#define LOGS_OUT_MAX 12 // 3 MiB: what bounds the memory that logs take, however many jobs write
#define WORK_AGAIN_MS 500
#define COMPLAIN_MS 10000
#define PROBE_MS 1000 // of a journal that could not be written
#define SHIM_AWAY_MS 5000
enum tag { TAG_REPORT = 1, TAG_LOG };

enum hd_status agent_init(struct agent *agent, const struct agent_def *def, const struct agent_env *env,
                          struct hd_now now, struct hd_err *err) {
    agent->def = *def;
    agent->env = *env;
    agent->boot = hd_rng_next(env->rng);
    hd_arena_init(&agent->arena);
    session_init(&agent->session, def->session, agent->def.worker, def->slots, &agent->def.executor);
    agent->session.capacity = def->capacity;
    session_begin(&agent->session, &agent->arena, now);
    connection_init(&agent->connection, &agent->def.connection, env->rng);
    agent->connection.unfit = agent->unfit;
    enum hd_status status =
        env->bus->ops->listen(env->bus, hd_subject(&agent->arena, HD_SUBJECT_ACK, def->worker), NULL, HINT_ACKS, err);
    return status == HD_UNAVAILABLE ? HD_OK : status; // the bus does it once it is connected
}

void agent_release(struct agent *agent) {
    session_release(&agent->session);
    hd_arena_release(&agent->arena);
}

// --- what arrives ----------------------------------------------------------------------------------------------------

static void take_work(struct agent *agent, struct hd_arrived *arrived) {
    struct hd_err err = {0};
    ProtobufCMessage *msg = NULL;
    bool may_start = !agent->stopping && connection_has_lease(&agent->connection, agent->session.now.mono_ms);
    agent->again[agent->n_works] = false;
    if (hd_pb_unpack(&agent->arena, &hodei__v1__work__descriptor, arrived->data, arrived->len, &err, &msg) != HD_OK) {
        hd_warn("a message on the work stream is given up: %s", err.text);
        hd_metric_add(&session_metrics[SESSION_M_FOREIGN], 1);
    } else {
        agent->again[agent->n_works] = !session_work(&agent->session, (const Hodei__V1__Work *)msg, may_start);
    }
    agent->works[agent->n_works++] = *arrived;
}

static void take_acks(struct agent *agent, const struct hd_arrived *arrived) {
    ProtobufCMessage *msg = NULL;
    if (hd_pb_unpack(&agent->arena, &hodei__v1__acks__descriptor, arrived->data, arrived->len, NULL, &msg) == HD_OK)
        session_acks(&agent->session, (const Hodei__V1__Acks *)msg);
    else
        hd_metric_add(&session_metrics[SESSION_M_FOREIGN], 1);
}

static void published(struct agent *agent, const struct hd_arrived *arrived) {
    unsigned *out = arrived->tag == TAG_REPORT ? &agent->reports_out : &agent->logs_out;
    *out -= *out > 0; // one that failed is said again in its time
}

static bool receive(struct agent *agent) {
    struct hd_bus *bus = agent->env.bus;
    size_t n = bus->ops->receive(bus, agent->arrived, AGENT_ARRIVALS);
    for (size_t i = 0; i < n; i++) {
        struct hd_arrived *arrived = &agent->arrived[i];
        if (arrived->kind == HD_ARRIVED_FEED) {
            take_work(agent, arrived);
            continue; // acknowledged after the journal
        }
        if (arrived->kind == HD_ARRIVED_HINT)
            take_acks(agent, arrived);
        else if (arrived->kind == HD_ARRIVED_ANSWER)
            connection_answer(&agent->connection, bus, &agent->session, arrived);
        else if (arrived->kind == HD_ARRIVED_PUBLISHED)
            published(agent, arrived);
        bus->ops->done(bus, arrived);
    }
    return n > 0;
}

// --- what is carried out ---------------------------------------------------------------------------------------------

static bool write_journal(struct agent *agent) {
    struct effects *fx = &agent->session.fx;
    struct hd_err err = {0};
    bool probe = agent->n_works || agent->session.now.mono_ms >= agent->probe_ms;
    if (!fx->journal.len && *agent->journal_problem && probe) {
        // No work comes while it cannot be written, so nothing else would show that it can be again; and what was not written then must
        // be, before any work counts as taken. Said twice a floor is what it was.
        journal_encode_floor(&fx->journal, agent->session.floor_ms);
        fx->sync = true;
    }
    if (!fx->journal.len)
        return true;
    agent->probe_ms = agent->session.now.mono_ms + PROBE_MS;
    if (agent->env.record(agent->env.arg, fx->journal.data, fx->journal.len, fx->sync, &err) == HD_OK) {
        agent->journal_problem[0] = '\0';
        return true;
    }
    hd_strlcpy(agent->journal_problem, err.text, sizeof(agent->journal_problem));
    if (agent->session.now.mono_ms >= agent->complained_ms) {
        agent->complained_ms = agent->session.now.mono_ms + COMPLAIN_MS;
        hd_error("%s: no work is taken until it can be written", err.text);
    }
    return false;
}

static void settle_works(struct agent *agent, bool recorded) {
    struct hd_bus *bus = agent->env.bus;
    for (size_t i = 0; i < agent->n_works; i++) {
        if (recorded && !agent->again[i])
            bus->ops->ack(bus, &agent->works[i]);
        else
            bus->ops->nak(bus, &agent->works[i], WORK_AGAIN_MS);
        bus->ops->done(bus, &agent->works[i]);
    }
    agent->n_works = 0;
}

static void tell_shim(struct agent *agent) {
    Hodei__V1__ShimMessage *msg = &agent->session.fx.shim;
    bool new_shim = agent->session.shim_up && agent->told_hello != agent->session.hello;
    bool renewed = new_shim || agent->connection.lease_until_ms > agent->told_lease_ms;
    if (renewed) // it ends what may not outlive it, also when this process is gone
        agent->told_lease_ms = msg->lease_until_ms = agent->connection.lease_until_ms;
    if (new_shim) {
        agent->told_hello = agent->session.hello;
        msg->spool_max_bytes = agent->def.spool_max_bytes;
    }
    if (renewed || msg->n_jobs || msg->n_cancels || msg->n_forgets || msg->n_log_acks)
        agent->env.to_shim(agent->env.arg, msg);
}

// True: what was taken is on the disk and on its way.
static bool carry_out(struct agent *agent) {
    bool recorded = write_journal(agent);
    if (!recorded)
        session_undo(&agent->session);
    tell_shim(agent);
    session_carried_out(&agent->session);
    return recorded;
}

static void publish(struct agent *agent, const char *subject, const ProtobufCMessage *msg, enum tag tag) {
    char id[64];
    uint8_t *data;
    size_t len;
    hd_pb_pack(&agent->arena, msg, &data, &len);
    snprintf(id, sizeof(id), "agent.%016" PRIx64 ".%" PRIu64, agent->boot, ++agent->last_id);
    agent->env.bus->ops->publish(agent->env.bus, subject, data, len, id, tag);
}

// Between two messages: the more attempts there are, the more ends a message should carry. After a quiet time nothing waits.
static int64_t reports_pause_ms(const struct agent *agent) {
    int64_t pause = agent->session.live / 8;
    return pause < REPORTS_PAUSE_MAX_MS ? pause : REPORTS_PAUSE_MAX_MS;
}

static void tell_reports(struct agent *agent) {
    const Hodei__V1__AttemptReports *reports;
    reports_due(&agent->session);
    if (agent->session.now.mono_ms < agent->reports_at_ms)
        return;
    while (agent->reports_out < REPORTS_OUT_MAX && (reports = reports_take(&agent->session))) {
        const char *subject = hd_arena_printf(&agent->arena, HD_SUBJECT_REPORT ".%s.attempts", agent->session.worker);
        publish(agent, subject, &reports->base, TAG_REPORT);
        agent->reports_out++;
        agent->reports_at_ms = agent->session.now.mono_ms + reports_pause_ms(agent);
    }
}

static void tell_logs(struct agent *agent) {
    const Hodei__V1__LogChunks *chunks;
    logs_due(&agent->session);
    while (agent->logs_out < LOGS_OUT_MAX &&
           (chunks = logs_take(&agent->session, agent->env.read_log, agent->env.arg))) {
        const Hodei__V1__LogChunk *chunk = chunks->chunks[0];
        publish(agent, hd_subject_log(&agent->arena, chunk->worker, chunk->tenant, chunk->run, chunk->job_index),
                &chunks->base, TAG_LOG);
        agent->logs_out++;
    }
}

// --- the turn --------------------------------------------------------------------------------------------------------

// One reason, the one that people can do most about first.
static const char *why_unfit(const struct agent *agent) {
    const char *machine = agent->session.unfit;
    if (agent->stopping)
        return "its agent is being stopped";
    if (*machine || *agent->journal_problem)
        return *machine ? machine : agent->journal_problem;
    if (!agent->session.shim_up && agent->session.now.mono_ms > agent->shim_since_ms + SHIM_AWAY_MS)
        return "its shim, which starts jobs, is not there";
    return "";
}

// Told with heartbeats; a change at once, so that nothing is placed here in vain.
static void watch_fitness(struct agent *agent) {
    struct session *session = &agent->session;
    if (session->shim_up != agent->shim_was_up || !agent->shim_since_ms)
        agent->shim_since_ms = session->now.mono_ms;
    agent->shim_was_up = session->shim_up;
    session->unfit = agent->env.unfit ? agent->env.unfit(agent->env.arg, session->now.mono_ms) : "";
    const char *why = why_unfit(agent);
    if (hd_streq(why, agent->unfit))
        return;
    hd_strlcpy(agent->unfit, why, sizeof(agent->unfit));
    hd_metric_set(&session_metrics[SESSION_M_UNFIT], *why != '\0');
    if (*why)
        hd_warn("no work is taken: %s", why);
    else
        hd_info("work is taken again");
    connection_beat_now(&agent->connection, session);
}

static void watch_bus(struct agent *agent) {
    if (!agent->env.bus->ops->connected(agent->env.bus) && agent->connection.was_connected)
        hd_warn("NATS is not connected; jobs go on");
}

bool agent_turn(struct agent *agent, struct hd_now now) {
    const Hodei__V1__ShimMessage *said;
    hd_arena_reset(&agent->arena);
    session_begin(&agent->session, &agent->arena, now);
    watch_bus(agent);
    watch_fitness(agent);
    bool did = receive(agent);
    while ((said = agent->env.from_shim(agent->env.arg, &agent->arena))) {
        session_shim(&agent->session, said);
        did = true;
    }
    settle_works(agent, carry_out(agent));
    if (agent->env.bus->ops->connected(agent->env.bus)) {
        tell_reports(agent);
        tell_logs(agent);
        (void)carry_out(agent); // a log that cannot be read settles its attempt
    }
    connection_turn(&agent->connection, agent->env.bus, &agent->session);
    agent->env.bus->ops->flush(agent->env.bus);
    return did;
}

int64_t agent_due_ms(const struct agent *agent) {
    if (!agent->env.bus->ops->connected(agent->env.bus)) // nothing can be told
        return SESSION_NEVER;
    int64_t due = session_due_ms(&agent->session);
    if (*agent->journal_problem && agent->probe_ms < due)
        due = agent->probe_ms;
    if (!agent->connection.asking && agent->connection.due_ms < due)
        due = agent->connection.due_ms;
    if (agent->session.unsent.head && agent->reports_out < REPORTS_OUT_MAX && agent->reports_at_ms < due)
        due = agent->reports_at_ms;
    if (agent->session.log_ready.head && agent->logs_out < LOGS_OUT_MAX)
        due = 0;
    return due;
}

void agent_change(struct agent *agent, const struct agent_profile *profile, struct hd_now now) {
    struct connection_def *def = &agent->def.connection;
    agent->session.slots = profile->slots;
    agent->session.capacity = profile->capacity;
    def->labels = profile->labels;
    def->n_labels = profile->n_labels;
    def->taints = profile->taints;
    def->n_taints = profile->n_taints;
    agent->session.now = now;
    if (!agent->stopping)
        connection_join_again(&agent->connection, &agent->session);
}

void agent_stop(struct agent *agent, bool jobs, struct hd_now now) {
    hd_arena_reset(&agent->arena);
    session_begin(&agent->session, &agent->arena, now);
    agent->stopping = true;
    connection_stop_feed(&agent->connection, agent->env.bus);
    if (!jobs)
        return;
    session_cancel_all(&agent->session);
    (void)carry_out(agent);
}

bool agent_idle(const struct agent *agent) {
    return !agent->session.unsent.head && !agent->session.sent.head && !agent->session.folding.head &&
           !agent->session.log_ready.head && !agent->session.log_sent.head && !agent->reports_out && !agent->logs_out;
}
