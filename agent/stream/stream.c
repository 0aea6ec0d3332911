#include "agent/stream/stream.h"

#include <stdlib.h>
#include <string.h>

#include "agent/connection/reports.h"
#include "agent/executor/executor.h"
#include "base/names.h"
#include "base/pb.h"

#define STATE(x) HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_##x
#define CAUSE(x) HODEI__V1__CAUSE__CAUSE_##x
#define KIND(x) HODEI__V1__JOURNAL_RECORD__KIND__KIND_##x
#define TOMBSTONE_SETTLED 1

// An attempt that exists only to be told of: it never started here.
static struct attempt *answer(struct session *session, struct hd_uuid id, Hodei__V1__AttemptState state,
                              Hodei__V1__Cause cause, const char *message) {
    struct attempt *attempt = session_add(session, id, NULL);
    session_end(session, attempt, state, cause, message);
    session_made(session, attempt);
    return attempt;
}

// It is never started, and the owner hears so. The record makes that hold after a restart.
static void refuse(struct session *session, struct hd_uuid id, Hodei__V1__AttemptState state, Hodei__V1__Cause cause,
                   const char *message) {
    session_record(session, &id, KIND(TOMBSTONE), NULL, 0);
    session_bury(session, id, false);
    answer(session, id, state, cause, message)->buried = true;
    hd_metric_add(&session_metrics[SESSION_M_REFUSED], 1);
}

static const char *problem_of(const Hodei__V1__Assignment *assignment) {
    struct hd_uuid run;
    if (!hd_token_valid(assignment->tenant))
        return "the assignment's tenant is not valid";
    if (hd_uuid_parse(assignment->run, &run) != HD_OK)
        return "the assignment's run is not a UUID";
    if (!hd_name_valid(assignment->job))
        return "the assignment's job is not a valid name";
    if (!executor_of(assignment->executor))
        return "this worker does not have the executor that the job asks for";
    return NULL;
}

static void take(struct session *session, struct hd_uuid id, const Hodei__V1__Assignment *assignment) {
    const struct executor *executor = executor_of(assignment->executor);
    struct attempt *attempt = session_add(session, id, assignment->resources);
    Hodei__V1__Assignment detail = *assignment;
    uint8_t *data;
    size_t len;
    detail.n_steps = detail.n_env = detail.n_outputs = 0;
    detail.context = (char *)(uintptr_t) "";
    hd_pb_pack(session->arena, &detail.base, &data, &len);
    attempt->shim = session->shim;
    session_record_taken(session, attempt, data, len);
    if (!executor->resume) { // the shim has it, and its log must say whose it is
        attempt->detail = hd_calloc(1, len);
        memcpy(attempt->detail, data, len);
        attempt->detail_len = len;
    }
    attempt->taken = true;
    session_made(session, attempt);
    hd_metric_add(&session_metrics[SESSION_M_TAKEN], 1);
    executor->start(session, attempt, assignment);
}

// An assignment for what has a tombstone: the owner does not know of it yet.
static void answer_tombstone(struct session *session, struct hd_uuid id) {
    if (session_tombstone(session, id) == TOMBSTONE_SETTLED)
        answer(session, id, STATE(LOST), CAUSE(STATE_LOST), "the worker has settled this attempt before");
    else
        answer(session, id, STATE(REFUSED), CAUSE(CANCELLED), "it was cancelled or refused before it was started");
}

// NULL: it fits beside what is there.
static const char *no_room(const struct session *session, const Hodei__V1__Assignment *assignment) {
    struct hd_resources asks = hd_resources_read(assignment->resources);
    struct hd_resources left = hd_resources_left(&session->capacity, &session->occupied);
    enum hd_resource lacks = hd_resources_short(&asks, &left);
    HD_AUTO_BUF struct hd_buf text = {0};
    if (*session->unfit)
        return session->unfit;
    if (session->live >= session->slots)
        return "the worker has no free slot";
    if (lacks == HD_RESOURCES)
        return NULL;
    hd_buf_adds(&text, "the job asks for ");
    hd_resource_format(lacks, asks.of[lacks], &text);
    hd_buf_adds(&text, ", and the worker has ");
    hd_resource_format(lacks, left.of[lacks], &text);
    hd_buf_adds(&text, " left");
    return hd_arena_strdup(session->arena, text.data);
}

static void assign(struct session *session, const Hodei__V1__Assignment *assignment) {
    struct hd_uuid id;
    if (hd_uuid_parse(assignment->attempt, &id) != HD_OK || strcmp(assignment->session, session->text) != 0) {
        hd_metric_add(&session_metrics[SESSION_M_FOREIGN], 1);
        return;
    }
    bool other = assignment->incarnation && session->incarnation && assignment->incarnation != session->incarnation;
    const char *problem = problem_of(assignment), *room = no_room(session, assignment);
    if (session_find(session, id))
        hd_metric_add(&session_metrics[SESSION_M_AGAIN], 1);
    else if (session_tombstone(session, id))
        answer_tombstone(session, id);
    else if (hd_uuid_time_ms(id) <= session->floor_ms)
        answer(session, id, STATE(REFUSED), CAUSE(STATE_LOST), "the assignment is too old to be started safely");
    else if (other)
        refuse(session, id, STATE(REFUSED), CAUSE(STATE_LOST), "the worker was taken for lost since it was assigned");
    else if (problem)
        refuse(session, id, STATE(FAILED), CAUSE(START_FAILED), problem);
    else if (room)
        refuse(session, id, STATE(REFUSED), CAUSE(NO_ROOM), room);
    else
        take(session, id, assignment);
}

static void cancel_held(struct session *session, struct attempt *attempt, bool forget) {
    if (!attempt->ended) {
        attempt->cancelled = true;
        session_shim_cancel(session, attempt->text);
    }
    if (forget)
        reports_unwanted(session, attempt);
}

static void cancel(struct session *session, const Hodei__V1__CancelAttempt *cancelled) {
    struct hd_uuid id;
    if (hd_uuid_parse(cancelled->attempt, &id) != HD_OK) {
        hd_metric_add(&session_metrics[SESSION_M_FOREIGN], 1);
        return;
    }
    hd_metric_add(&session_metrics[SESSION_M_CANCELS], 1);
    struct attempt *attempt = session_find(session, id);
    if (attempt) {
        cancel_held(session, attempt, cancelled->forget);
        return;
    }
    bool buries = !session_tombstone(session, id) && hd_uuid_time_ms(id) > session->floor_ms;
    if (buries) {
        session_record(session, &id, KIND(TOMBSTONE), NULL, 0);
        session_bury(session, id, false);
    }
    if (!cancelled->forget && session->attempts.n < SESSION_HELD_MAX)
        answer(session, id, STATE(CANCELLED), CAUSE(CANCELLED), "it was cancelled before it was started")->buried =
            buries;
}

bool session_work(struct session *session, const Hodei__V1__Work *work, bool may_start) {
    bool start = may_start && session->shim_up && session->attempts.n < SESSION_HELD_MAX;
    for (size_t i = 0; start && i < work->n_assignments; i++)
        assign(session, work->assignments[i]);
    for (size_t i = 0; i < work->n_cancels; i++)
        cancel(session, work->cancels[i]);
    return start || work->n_assignments == 0;
}

void session_cancel_all(struct session *session) {
    struct attempt *attempt;
    for (size_t pos = 0; (attempt = hd_map_next(&session->attempts, &pos, NULL));) {
        if (attempt->ended)
            continue;
        attempt->stopped = true;
        session_shim_cancel(session, attempt->text);
    }
}
