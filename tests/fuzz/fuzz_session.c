// The agent's session under any order of assignments, cancels, news of the shim, acknowledgements, time, full disks and restarts,
// two bytes a step: what, and of which attempt. However it goes, no attempt is handed to a shim twice, and what is recorded can
// be replayed.
#include "agent/connection/logs.h"
#include "agent/connection/reports.h"
#include "agent/executor/executor.h"
#include "agent/stream/journal.h"
#include "agent/stream/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ATTEMPTS 16
#define WALL 1700000000000

struct world {
    struct session session;
    struct hd_arena arena, records;
    struct hd_rng rng;
    struct hd_now now;
    struct hd_buf journal; // the disk
    struct hd_uuid ids[ATTEMPTS];
    char texts[ATTEMPTS][HD_UUID_TEXT];
    unsigned starts[ATTEMPTS];
    bool disk_full;
};

static const struct executor_env env = {.state = "/s", .path = "/bin", .home = "/"};
static const struct hd_uuid session_id = {{1}};

static void must(bool ok) {
    if (!ok)
        abort();
}

static void restart(struct world *w);

static enum hd_status read_spool(void *arg, const char *attempt, uint64_t from, void *ret, size_t len,
                                 size_t *ret_len) {
    (void)arg;
    (void)attempt;
    memset(ret, (int)(from & 1), len); // frames of nothing, or of what is not valid
    *ret_len = len < 64 ? len : 64;
    return from > 4096 ? HD_MISSING : HD_OK;
}

static void end_turn(struct world *w) {
    struct session *session = &w->session;
    if (w->disk_full && session->fx.journal.len)
        session_undo(session);
    else
        hd_buf_add(&w->journal, session->fx.journal.data, session->fx.journal.len);
    for (size_t i = 0; i < session->fx.shim.n_jobs; i++)
        for (size_t k = 0; k < ATTEMPTS; k++)
            if (strcmp(session->fx.shim.jobs[i]->attempt, w->texts[k]) == 0)
                must(++w->starts[k] == 1);
    session_carried_out(session);
    reports_due(session);
    while (reports_take(session)) {
    }
    logs_due(session);
    while (logs_take(session, read_spool, NULL)) {
    }
    must(session->live <= session->attempts.n && session->attempts.n <= ATTEMPTS);
}

static void assign(struct world *w, unsigned which, unsigned how) {
    Hodei__V1__Assignment one = HODEI__V1__ASSIGNMENT__INIT, *list[] = {&one};
    Hodei__V1__CancelAttempt cancel = HODEI__V1__CANCEL_ATTEMPT__INIT, *cancels[] = {&cancel};
    Hodei__V1__Work work = HODEI__V1__WORK__INIT;
    Hodei__V1__Step step = HODEI__V1__STEP__INIT, *steps[] = {&step};

    step.script = (char *)"true";
    one.attempt = cancel.attempt = w->texts[which];
    one.session = how & 1 ? (char *)"01900000-0000-7000-8000-000000000000" : w->session.text;
    one.executor = how & 2 ? HODEI__V1__EXECUTOR__EXECUTOR_NOOP : HODEI__V1__EXECUTOR__EXECUTOR_SHELL;
    one.steps = steps;
    one.n_steps = 1;
    cancel.forget = (how & 4) != 0;
    work.assignments = list;
    work.n_assignments = !(how & 8);
    work.cancels = cancels;
    work.n_cancels = (how & 16) != 0;
    (void)session_work(&w->session, &work, !(how & 32));
}

static void shim_says(struct world *w, unsigned which, unsigned how) {
    Hodei__V1__ShimState state = HODEI__V1__SHIM_STATE__INIT, *states[] = {&state};
    Hodei__V1__ShimMessage msg = HODEI__V1__SHIM_MESSAGE__INIT;

    state.attempt = w->texts[which];
    state.started = how & 1;
    state.ended = (how & 2) != 0;
    state.state = HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_SUCCEEDED + (how >> 4 & 3);
    state.log_frames = how & 4 ? 3 : 0;
    state.log_bytes = how & 4 ? 300 : 0;
    msg.hello = (how & 8) != 0;
    msg.states = states;
    msg.n_states = how != 0x88; // a hello of a shim that knows nothing
    session_shim(&w->session, &msg);
}

static void acknowledge(struct world *w, unsigned which, unsigned how) {
    Hodei__V1__ReportAck report = HODEI__V1__REPORT_ACK__INIT, *reports[] = {&report};
    Hodei__V1__LogAck log = HODEI__V1__LOG_ACK__INIT, *logs[] = {&log};
    Hodei__V1__Acks acks = HODEI__V1__ACKS__INIT;

    report.attempt = log.attempt = w->texts[which];
    report.number = how & 3;
    report.final = (how & 4) != 0;
    log.next_frame = how >> 4;
    acks.session = w->session.text;
    acks.reports = reports;
    acks.n_reports = !(how & 8);
    acks.logs = logs;
    acks.n_logs = 1;
    session_acks(&w->session, &acks);
}

static void turn(struct world *w, unsigned what, unsigned how) {
    unsigned which = what >> 4;
    hd_arena_reset(&w->arena);
    session_begin(&w->session, &w->arena, w->now);
    switch (what & 7) {
    case 0:
    case 1:
        assign(w, which, how);
        break;
    case 2:
        shim_says(w, which, how);
        break;
    case 3:
        acknowledge(w, which, how);
        break;
    case 4:
        session_shim_gone(&w->session);
        break;
    case 5:
        w->disk_full = how & 1;
        break;
    case 6:
        w->now.mono_ms += (int64_t)how * how * 20;
        w->now.wall_ms += (int64_t)how * how * 20;
        break;
    default:
        if (how & 1)
            restart(w);
        else if (how == 2)
            session_cancel_all(&w->session);
        break;
    }
    end_turn(w);
}

static void each(void *session, const Hodei__V1__JournalRecord *record) {
    session_replay(session, record);
}

// kill -9: what is on the disk is all that is left.
static void restart(struct world *w) {
    session_release(&w->session);
    session_init(&w->session, session_id, "w", 4, &env);
    hd_arena_reset(&w->arena);
    session_begin(&w->session, &w->arena, w->now);
    must(journal_decode(&w->records, (const uint8_t *)w->journal.data, w->journal.len, each, &w->session) ==
         w->journal.len);
    if (w->disk_full)
        return;
    hd_buf_clear(&w->journal);
    session_snapshot(&w->session, &w->journal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct world w = {.now = {.wall_ms = WALL, .mono_ms = 1000}};
    hd_arena_init(&w.arena);
    hd_arena_init(&w.records);
    hd_rng_seed(&w.rng, 1);
    for (int i = 0; i < ATTEMPTS; i++) {
        w.ids[i] = hd_uuid7(WALL + i * 1000, &w.rng);
        hd_uuid_format(w.ids[i], w.texts[i]);
    }
    session_init(&w.session, session_id, "w", 4, &env);
    for (size_t i = 0; i + 1 < size && i < 2000; i += 2)
        turn(&w, data[i], data[i + 1]);
    session_release(&w.session);
    hd_buf_release(&w.journal);
    hd_arena_release(&w.records);
    hd_arena_release(&w.arena);
    return 0;
}
