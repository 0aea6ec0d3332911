#include "agent/connection/reports.h"

#include "base/pb.h"

#define STATE(x) HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_##x
#define REPORTS_OUTPUTS_BYTES (1u << 20)
#define NUMBER_START 1
#define NUMBER_END 2

void reports_started(struct session *session, struct attempt *attempt) {
    if (attempt->report != REPORT_NONE)
        return;
    attempt->report = REPORT_STARTED;
    attempt->report_due_ms = session->now.mono_ms + SESSION_FOLD_MS;
    queue_add(&session->folding, CHAIN_REPORT, attempt);
}

void reports_ended(struct session *session, struct attempt *attempt) {
    if (attempt->report == REPORT_DONE)
        return;
    attempt->report = REPORT_ENDED;
    queue_add(&session->unsent, CHAIN_REPORT, attempt);
}

void reports_unwanted(struct session *session, struct attempt *attempt) {
    attempt->report = REPORT_DONE;
    queue_leave(CHAIN_REPORT, attempt);
    session_settle(session, attempt);
}

void reports_acked(struct session *session, struct attempt *attempt, uint32_t number, bool final) {
    if (attempt->report == REPORT_DONE)
        return;
    if (attempt->ended && number >= NUMBER_END) {
        reports_unwanted(session, attempt);
    } else if (final) {
        // Decided elsewhere while it runs, or before its end was heard.
        if (!attempt->ended)
            session_shim_cancel(session, attempt->text);
        reports_unwanted(session, attempt);
    } else if (attempt->report == REPORT_STARTED) {
        attempt->report = REPORT_TOLD;
        queue_leave(CHAIN_REPORT, attempt);
    }
}

void reports_keep_outputs(struct session *session, struct attempt *attempt, Hodei__V1__EnvVar **outputs, size_t n) {
    Hodei__V1__AttemptReport only = HODEI__V1__ATTEMPT_REPORT__INIT;
    uint8_t *data;
    free(HD_STEAL(attempt->outputs));
    if (n == 0)
        return;
    only.outputs = outputs;
    only.n_outputs = n;
    hd_pb_pack(session->arena, &only.base, &data, &attempt->outputs_len);
    attempt->outputs = hd_calloc(1, attempt->outputs_len);
    memcpy(attempt->outputs, data, attempt->outputs_len);
}

static void fill_outputs(struct hd_arena *arena, const struct attempt *attempt, Hodei__V1__AttemptReport *report) {
    ProtobufCMessage *msg = NULL;
    if (!attempt->outputs || hd_pb_unpack(arena, &hodei__v1__attempt_report__descriptor, attempt->outputs,
                                          attempt->outputs_len, NULL, &msg) != HD_OK)
        return;
    report->outputs = ((Hodei__V1__AttemptReport *)msg)->outputs;
    report->n_outputs = ((Hodei__V1__AttemptReport *)msg)->n_outputs;
}

static void fill(struct hd_arena *arena, const struct attempt *attempt, Hodei__V1__AttemptReport *report) {
    *report = (Hodei__V1__AttemptReport)HODEI__V1__ATTEMPT_REPORT__INIT;
    report->attempt = (char *)(uintptr_t)attempt->text;
    report->number = NUMBER_START;
    report->state = STATE(RUNNING);
    report->started_at_ms = attempt->started_at_ms;
    if (!attempt->ended)
        return;
    report->number = NUMBER_END;
    report->state = attempt->state;
    report->ended_at_ms = attempt->ended_at_ms;
    report->exit_code = attempt->exit_code;
    report->signal = attempt->signal;
    report->cause = attempt->cause;
    if (attempt->message)
        report->message = attempt->message;
    report->log_frames = attempt->log_frames;
    fill_outputs(arena, attempt, report);
    if (!attempt->user_ms && !attempt->system_ms && !attempt->max_rss_bytes)
        return;
    Hodei__V1__Usage *usage = HD_NEW(arena, Hodei__V1__Usage);
    *usage = (Hodei__V1__Usage)HODEI__V1__USAGE__INIT;
    usage->user_ms = attempt->user_ms;
    usage->system_ms = attempt->system_ms;
    usage->max_rss_bytes = attempt->max_rss_bytes;
    report->usage = usage;
}

void reports_pack_end(struct hd_arena *arena, const struct attempt *attempt, uint8_t **ret, size_t *ret_len) {
    Hodei__V1__AttemptReport report;
    fill(arena, attempt, &report);
    hd_pb_pack(arena, &report.base, ret, ret_len);
}

// Of one that is dead by now nothing is needed: it is settled.
void reports_record_end(struct session *session, struct attempt *attempt) {
    uint8_t *data;
    size_t len;
    if (attempt->dead)
        return;
    reports_pack_end(session->arena, attempt, &data, &len);
    session_record(session, &attempt->id, HODEI__V1__JOURNAL_RECORD__KIND__KIND_ENDED, data, len);
}

void reports_restore_end(struct session *session, struct attempt *attempt, const Hodei__V1__AttemptReport *report) {
    attempt->started = report->started_at_ms != 0;
    attempt->started_at_ms = report->started_at_ms;
    attempt->ended_at_ms = report->ended_at_ms;
    attempt->exit_code = report->exit_code;
    attempt->signal = report->signal;
    attempt->log_frames = report->log_frames;
    if (report->usage) {
        attempt->user_ms = report->usage->user_ms;
        attempt->system_ms = report->usage->system_ms;
        attempt->max_rss_bytes = report->usage->max_rss_bytes;
    }
    reports_keep_outputs(session, attempt, report->outputs, report->n_outputs);
    session_end(session, attempt, report->state, report->cause, report->message);
}

static void move_due(struct attempt_queue *from, struct attempt_queue *to, int64_t now_ms) {
    while (from->head && from->head->report_due_ms <= now_ms)
        queue_add(to, CHAIN_REPORT, from->head);
}

void reports_due(struct session *session) {
    move_due(&session->folding, &session->unsent, session->now.mono_ms);
    move_due(&session->sent, &session->unsent, session->now.mono_ms);
}

Hodei__V1__AttemptReports *reports_take(struct session *session) {
    struct hd_arena *arena = session->arena;
    size_t cap = 0;
    if (!session->unsent.head)
        return NULL;
    Hodei__V1__AttemptReports *msg = HD_NEW(arena, Hodei__V1__AttemptReports);
    *msg = (Hodei__V1__AttemptReports)HODEI__V1__ATTEMPT_REPORTS__INIT;
    msg->worker = (char *)(uintptr_t)session->worker;
    msg->session = session->text;
    size_t outputs_bytes = 0; // a message has a bound, and outputs may be large
    while (session->unsent.head && msg->n_reports < REPORTS_MAX && outputs_bytes < REPORTS_OUTPUTS_BYTES) {
        struct attempt *attempt = session->unsent.head;
        outputs_bytes += attempt->outputs ? attempt->outputs_len : 0;
        Hodei__V1__AttemptReport *report = HD_NEW(arena, Hodei__V1__AttemptReport);
        fill(arena, attempt, report);
        HD_GROW(arena, msg->reports, msg->n_reports, cap);
        msg->reports[msg->n_reports++] = report;
        attempt->report_due_ms = session->now.mono_ms + SESSION_AGAIN_MS;
        queue_add(&session->sent, CHAIN_REPORT, attempt);
    }
    return msg;
}
