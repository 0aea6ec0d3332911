#include "agent/stream/session.h"

#include <stdlib.h>
#include <string.h>

#include "agent/connection/logs.h"
#include "agent/connection/reports.h"
#include "agent/executor/executor.h"
#include "agent/stream/journal.h"
#include "base/log.h"
#include "base/pb.h"

#define STATE(x) HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_##x
#define CAUSE(x) HODEI__V1__CAUSE__CAUSE_##x
#define KIND(x) HODEI__V1__JOURNAL_RECORD__KIND__KIND_##x
#define STONE_SETTLED ((void *)1)
#define STONE_NEVER ((void *)2)

struct hd_metric session_metrics[SESSION_M_COUNT] = {
    [SESSION_M_TAKEN] = {"hodei_agent_attempts_taken_total", NULL, "Attempts recorded and started", HD_COUNTER},
    [SESSION_M_AGAIN] = {"hodei_agent_assignments_again_total", NULL, "Assignments that came again", HD_COUNTER},
    [SESSION_M_REFUSED] = {"hodei_agent_attempts_refused_total", NULL, "Assignments refused, unstarted", HD_COUNTER},
    [SESSION_M_FOREIGN] = {"hodei_agent_foreign_total", NULL, "What was for another session, or not valid", HD_COUNTER},
    [SESSION_M_CANCELS] = {"hodei_agent_cancels_total", NULL, "Cancels taken", HD_COUNTER},
    [SESSION_M_ENDED] = {"hodei_agent_attempts_ended_total", NULL, "Attempts that ended", HD_COUNTER},
    [SESSION_M_LOST] = {"hodei_agent_attempts_lost_total", NULL, "Attempts that no shim knew any more", HD_COUNTER},
    [SESSION_M_SETTLED] = {"hodei_agent_attempts_settled_total", NULL, "Attempts that nobody wants more of",
                           HD_COUNTER},
    [SESSION_M_LIVE] = {"hodei_agent_attempts_live", NULL, "Attempts that have not ended", HD_GAUGE},
    [SESSION_M_HELD] = {"hodei_agent_attempts_held", NULL, "Attempts held, ended ones included", HD_GAUGE},
    [SESSION_M_GAPS] = {"hodei_agent_log_gaps_total", NULL, "Gaps told of in logs: output that had to be dropped",
                        HD_COUNTER},
    [SESSION_M_UNFIT] = {"hodei_agent_unfit", NULL, "1: no work is taken, heartbeats say why", HD_GAUGE},
    [SESSION_M_TOMBSTONES] = {"hodei_agent_tombstones", NULL, "Attempts that must not be started again", HD_GAUGE},
};

// --- queues ----------------------------------------------------------------------------------------------------------

void queue_leave(enum attempt_chain chain, struct attempt *attempt) {
    struct attempt_link *link = &attempt->links[chain];
    if (!link->queue)
        return;
    *(link->prev ? &link->prev->links[chain].next : &link->queue->head) = link->next;
    *(link->next ? &link->next->links[chain].prev : &link->queue->tail) = link->prev;
    *link = (struct attempt_link){0};
}

void queue_add(struct attempt_queue *queue, enum attempt_chain chain, struct attempt *attempt) {
    queue_leave(chain, attempt);
    attempt->links[chain] = (struct attempt_link){.queue = queue, .prev = queue->tail};
    *(queue->tail ? &queue->tail->links[chain].next : &queue->head) = attempt;
    queue->tail = attempt;
}

// --- life ------------------------------------------------------------------------------------------------------------

void session_init(struct session *session, struct hd_uuid id, const char *worker, unsigned slots,
                  const struct executor_env *env) {
    *session = (struct session){.worker = worker, .slots = slots, .env = env, .unfit = ""};
    session->fx.shim = (Hodei__V1__ShimMessage)HODEI__V1__SHIM_MESSAGE__INIT;
    hd_uuid_format(id, session->text);
}

static void attempt_free(struct attempt *attempt) {
    free(attempt->detail);
    free(attempt->message);
    free(attempt->outputs);
    free(attempt->log);
    free(attempt);
}

static void free_dead(struct session *session) {
    for (struct attempt *next, *attempt = session->dead; attempt; attempt = next) {
        next = attempt->next_turn;
        attempt_free(attempt);
    }
    session->dead = NULL;
}

// A settled one of the turn may be in both lists of it, so it is freed only where it is dead, and not before the next turn.
static void forget_made(struct session *session) {
    struct attempt **dead = &session->dead;
    for (struct attempt *next, *attempt = session->made; attempt; attempt = next) {
        next = attempt->next_turn;
        attempt->next_turn = NULL;
        attempt->fresh = false;
        if (attempt->dead) {
            attempt->next_turn = *dead;
            *dead = attempt;
        }
    }
    session->made = NULL;
}

void session_release(struct session *session) {
    struct attempt *attempt;
    forget_made(session);
    free_dead(session);
    for (size_t pos = 0; (attempt = hd_map_next(&session->attempts, &pos, NULL));)
        attempt_free(attempt);
    hd_map_release(&session->attempts);
    hd_map_release(&session->tombstones);
    hd_buf_release(&session->fx.journal);
    free(session->stones);
    *session = (struct session){0};
}

void session_carried_out(struct session *session) {
    hd_buf_clear(&session->fx.journal);
    session->fx = (struct effects){.journal = session->fx.journal};
    session->fx.shim = (Hodei__V1__ShimMessage)HODEI__V1__SHIM_MESSAGE__INIT;
}

void session_begin(struct session *session, struct hd_arena *arena, struct hd_now now) {
    forget_made(session);
    free_dead(session);
    session->arena = arena;
    session->now = now;
    session_carried_out(session);
    hd_metric_set(&session_metrics[SESSION_M_LIVE], session->live);
    hd_metric_set(&session_metrics[SESSION_M_HELD], (int64_t)session->attempts.n);
    hd_metric_set(&session_metrics[SESSION_M_TOMBSTONES], (int64_t)session->n_stones);
}

static void vacate(struct session *session, const struct attempt *attempt) {
    if (attempt->ended)
        return;
    session->live--;
    hd_resources_take(&session->occupied, &attempt->asks);
}

static struct tombstone *stone_at(struct session *session, size_t i) { // from the oldest
    return &session->stones[(session->first_stone + i) % session->cap_stones];
}

void session_made(struct session *session, struct attempt *attempt) {
    attempt->fresh = true;
    attempt->next_turn = session->made;
    session->made = attempt;
}

// A tombstone of this turn: it stands among the last ones.
static void unbury(struct session *session, struct hd_uuid id) {
    size_t at = session->n_stones;
    while (at > 0 && !hd_uuid_eq(stone_at(session, at - 1)->id, id))
        at--;
    if (!at)
        return;
    for (; at < session->n_stones; at++)
        *stone_at(session, at - 1) = *stone_at(session, at);
    session->n_stones--;
    hd_map_remove(&session->tombstones, session_key(id));
}

// Nothing of it may be said, since it is not on the disk.
void session_undo(struct session *session) {
    for (struct attempt *attempt = session->made; attempt; attempt = attempt->next_turn) {
        if (attempt->dead)
            continue;
        if (attempt->buried)
            unbury(session, attempt->id);
        hd_map_remove(&session->attempts, session_key(attempt->id));
        vacate(session, attempt);
        queue_leave(CHAIN_REPORT, attempt);
        queue_leave(CHAIN_LOG, attempt);
        attempt->dead = true; // freed by the next turn
        hd_metric_add(&session_metrics[SESSION_M_TAKEN], -(int64_t)attempt->taken);
    }
    session->fx.shim.n_jobs = 0;
}

// --- attempts and tombstones ----------------------------------------------------------------------------------------

// Ids are random in their second half; two of the same hash are not going to be seen.
uint64_t session_key(struct hd_uuid id) {
    return hd_hash(id.b, sizeof(id.b), 0);
}

struct attempt *session_find(const struct session *session, struct hd_uuid id) {
    struct attempt *attempt = hd_map_get(&session->attempts, session_key(id));
    return attempt && hd_uuid_eq(attempt->id, id) ? attempt : NULL;
}

struct attempt *session_add(struct session *session, struct hd_uuid id, const Hodei__V1__Resources *asks) {
    struct attempt *attempt = hd_calloc(1, sizeof(*attempt));
    attempt->id = id;
    attempt->asks = hd_resources_read(asks);
    hd_resources_add(&session->occupied, &attempt->asks);
    hd_uuid_format(id, attempt->text);
    hd_map_put(&session->attempts, session_key(id), attempt);
    session->live++;
    return attempt;
}

int session_tombstone(const struct session *session, struct hd_uuid id) {
    return (int)(uintptr_t)hd_map_get(&session->tombstones, session_key(id));
}

// The oldest goes; what is as old as it cannot be started any more, so that it is not missed. An id from the future would stop
// all work, and the floor stays at our clock.
static void drop_stone(struct session *session) {
    const struct tombstone *stone = &session->stones[session->first_stone];
    int64_t time_ms = hd_uuid_time_ms(stone->id);
    time_ms = time_ms < session->now.wall_ms ? time_ms : session->now.wall_ms;
    if (time_ms > session->floor_ms)
        session->floor_ms = time_ms;
    hd_map_remove(&session->tombstones, session_key(stone->id));
    session->first_stone = (session->first_stone + 1) % session->cap_stones;
    session->n_stones--;
}

static void grow_stones(struct session *session) {
    size_t cap = session->cap_stones ? session->cap_stones * 2 : 64;
    struct tombstone *stones = hd_calloc(cap, sizeof(*stones));
    for (size_t i = 0; i < session->n_stones; i++)
        stones[i] = session->stones[(session->first_stone + i) % session->cap_stones];
    free(session->stones);
    session->stones = stones;
    session->cap_stones = cap;
    session->first_stone = 0;
}

void session_bury(struct session *session, struct hd_uuid id, bool settled) {
    int is = session_tombstone(session, id);
    if (is) {
        if (settled)
            hd_map_put(&session->tombstones, session_key(id), STONE_SETTLED);
        return;
    }
    while (session->n_stones &&
           (session->n_stones >= SESSION_TOMBSTONES_MAX ||
            session->stones[session->first_stone].since_ms + SESSION_TOMBSTONE_MS < session->now.mono_ms))
        drop_stone(session);
    if (session->n_stones == session->cap_stones)
        grow_stones(session);
    *stone_at(session, session->n_stones++) = (struct tombstone){id, session->now.mono_ms};
    hd_map_put(&session->tombstones, session_key(id), settled ? STONE_SETTLED : STONE_NEVER);
}

// --- effects ---------------------------------------------------------------------------------------------------------

void session_record(struct session *session, const struct hd_uuid *id, Hodei__V1__JournalRecord__Kind kind,
                    const void *data, size_t len) {
    journal_encode(&session->fx.journal, id, kind, data, len);
    session->fx.sync = session->fx.sync || kind == KIND(TAKEN) || kind == KIND(TOMBSTONE);
}

void session_record_taken(struct session *session, const struct attempt *attempt, const void *assignment, size_t len) {
    journal_encode_taken(&session->fx.journal, &attempt->id, attempt->shim, assignment, len);
    session->fx.sync = true;
}

void session_shim_cancel(struct session *session, const char *attempt) {
    Hodei__V1__ShimMessage *out = &session->fx.shim;
    Hodei__V1__ShimCancel *cancel = HD_NEW(session->arena, Hodei__V1__ShimCancel);
    *cancel = (Hodei__V1__ShimCancel)HODEI__V1__SHIM_CANCEL__INIT;
    cancel->attempt = hd_arena_strdup(session->arena, attempt);
    HD_GROW(session->arena, out->cancels, out->n_cancels, session->fx.cap_cancels);
    out->cancels[out->n_cancels++] = cancel;
}

void session_shim_forget(struct session *session, const char *attempt) {
    Hodei__V1__ShimMessage *out = &session->fx.shim;
    Hodei__V1__ShimForget *forget = HD_NEW(session->arena, Hodei__V1__ShimForget);
    *forget = (Hodei__V1__ShimForget)HODEI__V1__SHIM_FORGET__INIT;
    forget->attempt = hd_arena_strdup(session->arena, attempt);
    HD_GROW(session->arena, out->forgets, out->n_forgets, session->fx.cap_forgets);
    out->forgets[out->n_forgets++] = forget;
}

// --- the end ---------------------------------------------------------------------------------------------------------

void session_end(struct session *session, struct attempt *attempt, Hodei__V1__AttemptState state,
                 Hodei__V1__Cause cause, const char *message) {
    if (attempt->ended)
        return;
    vacate(session, attempt);
    attempt->ended = true;
    attempt->state = state;
    attempt->cause = cause;
    if (!attempt->ended_at_ms)
        attempt->ended_at_ms = session->now.wall_ms;
    free(attempt->message);
    attempt->message = message && *message ? strdup(message) : NULL;
    hd_metric_add(&session_metrics[SESSION_M_ENDED], 1);
    reports_ended(session, attempt);
    session_settle(session, attempt);
}

void session_lose(struct session *session, struct attempt *attempt) {
    hd_metric_add(&session_metrics[SESSION_M_LOST], 1);
    logs_orphan(session, attempt);
    session_end(session, attempt, STATE(LOST), CAUSE(SHIM_LOST),
                "the process that looked after the job is gone, and the job with it");
    reports_record_end(session, attempt);
}

// The agent was gone between writing it down and handing it over, and the shim that would have it is the same: it never started.
static void unstarted(struct session *session, struct attempt *attempt) {
    session_end(session, attempt, STATE(REFUSED), CAUSE(STATE_LOST),
                "the agent was stopped before it could hand the job over: it never started");
    reports_record_end(session, attempt);
}

void session_settle(struct session *session, struct attempt *attempt) {
    if (attempt->dead || !attempt->ended || attempt->report != REPORT_DONE || !logs_stored(attempt))
        return;
    session_record(session, &attempt->id, KIND(SETTLED), NULL, 0);
    session_bury(session, attempt->id, true);
    if (attempt->hello)
        session_shim_forget(session, attempt->text);
    session->spools_left |= attempt->log && attempt->log->orphan;
    hd_map_remove(&session->attempts, session_key(attempt->id));
    queue_leave(CHAIN_REPORT, attempt);
    queue_leave(CHAIN_LOG, attempt);
    hd_metric_add(&session_metrics[SESSION_M_SETTLED], 1);
    attempt->dead = true;
    if (attempt->fresh) // the next turn finds it in its list
        return;
    attempt->next_turn = session->dead;
    session->dead = attempt;
}

// --- the shim --------------------------------------------------------------------------------------------------------

// One that we do not hold: it was settled, or our records are gone.
static void stray(struct session *session, const Hodei__V1__ShimState *state) {
    if (state->ended)
        session_shim_forget(session, state->attempt);
    else
        session_shim_cancel(session, state->attempt);
}

static void take_end(struct session *session, struct attempt *attempt, const Hodei__V1__ShimState *state) {
    attempt->exit_code = state->exit_code;
    attempt->signal = state->signal;
    attempt->ended_at_ms = state->ended_at_ms;
    attempt->log_frames = state->log_frames;
    if (state->usage) {
        attempt->user_ms = state->usage->user_ms;
        attempt->system_ms = state->usage->system_ms;
        attempt->max_rss_bytes = state->usage->max_rss_bytes;
    }
    reports_keep_outputs(session, attempt, state->outputs, state->n_outputs);
    if (attempt->stopped && !attempt->cancelled && state->state == STATE(CANCELLED))
        session_end(session, attempt, STATE(LOST), CAUSE(WORKER_LOST), "the worker was stopped");
    else
        session_end(session, attempt, state->state, state->cause, state->message);
    reports_record_end(session, attempt);
}

static void take_state(struct session *session, const Hodei__V1__ShimState *state) {
    struct hd_uuid id;
    struct attempt *attempt = hd_uuid_parse(state->attempt, &id) == HD_OK ? session_find(session, id) : NULL;
    if (!attempt) {
        stray(session, state);
        return;
    }
    attempt->hello = session->hello;
    attempt->pid = state->ended ? 0 : (pid_t)state->pid;
    if (state->usage)
        attempt->steps_cpu_ms = state->usage->user_ms + state->usage->system_ms;
    if (state->started && !attempt->started) {
        attempt->started = true;
        attempt->started_at_ms = state->started_at_ms;
        if (!state->ended)
            reports_started(session, attempt);
    }
    if (state->log_frames)
        logs_grown(session, attempt, state);
    if (state->ended && !attempt->ended)
        take_end(session, attempt, state);
    else if (state->ended)
        session_settle(session, attempt);
}

// All that the shim has was named: what it does not name, it does not have.
static void after_hello(struct session *session) {
    struct attempt *attempt, **lost = NULL;
    size_t n = 0, cap = 0;
    for (size_t pos = 0; (attempt = hd_map_next(&session->attempts, &pos, NULL));) {
        if (attempt->hello == session->hello) {
            if (!attempt->ended && (attempt->cancelled || attempt->stopped || attempt->report == REPORT_DONE))
                session_shim_cancel(session, attempt->text);
            continue;
        }
        HD_GROW(session->arena, lost, n, cap);
        lost[n++] = attempt;
    }
    for (size_t i = 0; i < n; i++) {
        lost[i]->hello = 0;
        if (lost[i]->ended)
            logs_orphan(session, lost[i]);
        else if (session->shim && lost[i]->shim == session->shim && !lost[i]->started)
            unstarted(session, lost[i]);
        else
            session_lose(session, lost[i]);
    }
}

void session_shim(struct session *session, const Hodei__V1__ShimMessage *msg) {
    if (msg->hello) {
        session->hello++;
        session->shim = msg->shim;
        session->shim_up = true;
    }
    for (size_t i = 0; i < msg->n_states; i++)
        take_state(session, msg->states[i]);
    if (msg->hello)
        after_hello(session);
}

void session_shim_gone(struct session *session) {
    session->shim_up = false;
}

// --- acknowledgements, due times -------------------------------------------------------------------------------------

void session_acks(struct session *session, const Hodei__V1__Acks *acks) {
    struct hd_uuid id;
    if (strcmp(acks->session, session->text) != 0)
        return;
    for (size_t i = 0; i < acks->n_reports; i++) {
        const Hodei__V1__ReportAck *ack = acks->reports[i];
        struct attempt *attempt = hd_uuid_parse(ack->attempt, &id) == HD_OK ? session_find(session, id) : NULL;
        if (attempt)
            reports_acked(session, attempt, ack->number, ack->final);
    }
    for (size_t i = 0; i < acks->n_logs; i++) {
        const Hodei__V1__LogAck *ack = acks->logs[i];
        struct attempt *attempt = hd_uuid_parse(ack->attempt, &id) == HD_OK ? session_find(session, id) : NULL;
        if (attempt)
            logs_acked(session, attempt, ack->next_frame);
    }
}

int64_t session_due_ms(const struct session *session) {
    int64_t due = SESSION_NEVER;
    if (session->folding.head)
        due = session->folding.head->report_due_ms;
    if (session->sent.head && session->sent.head->report_due_ms < due)
        due = session->sent.head->report_due_ms;
    if (session->log_sent.head && session->log_sent.head->log->progress_ms + SESSION_AGAIN_MS < due)
        due = session->log_sent.head->log->progress_ms + SESSION_AGAIN_MS;
    return due;
}

char **session_held(const struct session *session, size_t *ret_n) {
    char **list = HD_NEW_ARRAY(session->arena, session->attempts.n, char *);
    struct attempt *attempt;
    *ret_n = 0;
    for (size_t pos = 0; (attempt = hd_map_next(&session->attempts, &pos, NULL));)
        if (attempt->report != REPORT_DONE || !attempt->ended)
            list[(*ret_n)++] = attempt->text;
    return list;
}

// --- the journal -----------------------------------------------------------------------------------------------------

static void replay_taken(struct session *session, struct hd_uuid id, const Hodei__V1__JournalRecord *record) {
    ProtobufCMessage *msg = NULL;
    if (session_find(session, id) || session_tombstone(session, id) ||
        hd_pb_unpack(session->arena, &hodei__v1__assignment__descriptor, record->assignment.data,
                     record->assignment.len, NULL, &msg) != HD_OK)
        return;
    const Hodei__V1__Assignment *detail = (const Hodei__V1__Assignment *)msg;
    const struct executor *executor = executor_of(detail->executor);
    struct attempt *attempt = session_add(session, id, detail->resources);
    attempt->shim = record->shim;
    if (executor && executor->resume) {
        executor->resume(session, attempt);
        return;
    }
    attempt->detail = hd_calloc(1, record->assignment.len);
    if (record->assignment.len) // what a damaged disk left may be empty
        memcpy(attempt->detail, record->assignment.data, record->assignment.len);
    attempt->detail_len = record->assignment.len;
}

static void replay_settled(struct session *session, struct hd_uuid id) {
    struct attempt *attempt = session_find(session, id);
    session_bury(session, id, true);
    if (!attempt)
        return;
    vacate(session, attempt);
    hd_map_remove(&session->attempts, session_key(id));
    queue_leave(CHAIN_REPORT, attempt);
    queue_leave(CHAIN_LOG, attempt);
    attempt_free(attempt);
}

// Without a TAKEN before it where it never was with a shim.
static void replay_ended(struct session *session, struct hd_uuid id, const Hodei__V1__JournalRecord *record) {
    struct attempt *attempt = session_find(session, id);
    ProtobufCMessage *msg = NULL;
    if ((attempt && attempt->ended) || (!attempt && session_tombstone(session, id) == (int)(uintptr_t)STONE_SETTLED) ||
        hd_pb_unpack(session->arena, &hodei__v1__attempt_report__descriptor, record->report.data, record->report.len,
                     NULL, &msg) != HD_OK)
        return;
    reports_restore_end(session, attempt ? attempt : session_add(session, id, NULL),
                        (const Hodei__V1__AttemptReport *)msg);
}

void session_replay(struct session *session, const Hodei__V1__JournalRecord *record) {
    struct hd_uuid id;
    if (record->kind == KIND(FLOOR)) {
        session->floor_ms = record->floor_ms > session->floor_ms ? record->floor_ms : session->floor_ms;
        return;
    }
    if (hd_uuid_parse(record->attempt, &id) != HD_OK)
        return;
    if (record->kind == KIND(TAKEN))
        replay_taken(session, id, record);
    else if (record->kind == KIND(ENDED))
        replay_ended(session, id, record);
    else if (record->kind == KIND(SETTLED))
        replay_settled(session, id);
    else if (record->kind == KIND(TOMBSTONE))
        session_bury(session, id, false);
}

void session_distrust(struct session *session) {
    struct attempt *attempt;
    int64_t newest_ms = session->now.wall_ms;
    for (size_t pos = 0; (attempt = hd_map_next(&session->attempts, &pos, NULL));)
        if (hd_uuid_time_ms(attempt->id) > newest_ms)
            newest_ms = hd_uuid_time_ms(attempt->id);
    if (newest_ms > session->floor_ms)
        session->floor_ms = newest_ms;
}

void session_snapshot(const struct session *session, struct hd_buf *out) {
    const struct attempt *attempt;
    struct hd_arena arena;
    journal_encode_floor(out, session->floor_ms);
    for (size_t i = 0; i < session->n_stones; i++) {
        const struct tombstone *stone = &session->stones[(session->first_stone + i) % session->cap_stones];
        bool settled = hd_map_get(&session->tombstones, session_key(stone->id)) == STONE_SETTLED;
        journal_encode(out, &stone->id, settled ? KIND(SETTLED) : KIND(TOMBSTONE), NULL, 0);
    }
    hd_arena_init(&arena);
    for (size_t pos = 0; (attempt = hd_map_next(&session->attempts, &pos, NULL));) {
        if (attempt->detail)
            journal_encode_taken(out, &attempt->id, attempt->shim, attempt->detail, attempt->detail_len);
        if (!attempt->ended)
            continue;
        uint8_t *end;
        size_t len;
        reports_pack_end(&arena, attempt, &end, &len);
        journal_encode(out, &attempt->id, KIND(ENDED), end, len);
    }
    hd_arena_release(&arena);
}
