// The three state machines: runs, jobs, attempts. Pure.
//
// Each is one table of rows {from, event, to, guard, note}; the first row whose guard holds is taken, a missing row
// refuses. orc_machine_next is the only place that says what a state may become, and the diagrams in the docs are printed
// from the same rows.
#ifndef ORC_MACHINE_H
#define ORC_MACHINE_H

#include "base/buf.h"
#include "hodei/v1/run.pb-c.h"

enum orc_run_event { ORC_RUN_CANCEL, ORC_RUN_ALL_ENDED, ORC_RUN_EVENTS };
enum orc_job_event {
    ORC_JOB_NEEDS_MET,
    ORC_JOB_SKIP,     // its needs or its condition say so
    ORC_JOB_BREAK,    // it cannot be decided, or waited too long
    ORC_JOB_CHILDREN, // all jobs of its matrix have ended
    ORC_JOB_HOLD,     // its offer is taken back
    ORC_JOB_RETRY,    // somebody wants it again
    ORC_JOB_MARK,     // somebody says that it is done
    ORC_JOB_RESET,    // it was skipped for what has not happened any more
    ORC_JOB_ADMIT,
    ORC_JOB_PLACE,
    ORC_JOB_CANCEL,
    ORC_JOB_SUCCEED, // this and the rest: its live attempt ended so
    ORC_JOB_FAIL,
    ORC_JOB_STOP,
    ORC_JOB_TIME_OUT,
    ORC_JOB_LOSE,
    ORC_JOB_REFUSE,
    ORC_JOB_EVENTS
};
enum orc_attempt_event {
    ORC_ATTEMPT_START,
    ORC_ATTEMPT_SUCCEED,
    ORC_ATTEMPT_FAIL,
    ORC_ATTEMPT_STOP,
    ORC_ATTEMPT_TIME_OUT,
    ORC_ATTEMPT_LOSE,
    ORC_ATTEMPT_REFUSE,
    ORC_ATTEMPT_GONE, // its worker is gone, and its job is held for it
    ORC_ATTEMPT_BACK, // the worker is there again
    ORC_ATTEMPT_EVENTS
};

// What a guard may ask for; facts are given by the caller as an or of these.
enum orc_guard {
    ORC_ALWAYS = 0,
    ORC_ALL_SUCCEEDED = 1,
    ORC_SOME_FAILED = 2,
    ORC_MAY_TRY_AGAIN = 4,
    ORC_SOME_CANCELLED = 8,
    ORC_OUT_OF_TIME = 16,
    ORC_IS_HELD = 32, // its worker is gone, and nobody has decided
};

struct orc_rule {
    int from, event, to;
    unsigned guard;
    const char *note; // for the diagram
};
struct orc_machine {
    const char *name;
    const struct orc_rule *rules;
    size_t n;
    const ProtobufCEnumDescriptor *states;
    const char *const *events;
    int n_events;
    int first; // state in which one is made
};
extern const struct orc_machine orc_run_machine, orc_job_machine, orc_attempt_machine;

// The row that holds, or NULL: the event is refused in this state.
const struct orc_rule *orc_machine_next(const struct orc_machine *machine, int from, int event, unsigned facts);
// No row leads out of it.
bool orc_machine_final(const struct orc_machine *machine, int state);
// A Mermaid stateDiagram-v2.
void orc_machine_print(const struct orc_machine *machine, struct hd_buf *out);

static inline bool orc_run_ended(int state) {
    return state >= HODEI__V1__RUN_STATE__RUN_STATE_SUCCEEDED;
}
static inline bool orc_job_ended(int state) {
    return state >= HODEI__V1__JOB_STATE__JOB_STATE_SUCCEEDED;
}
// Has a live attempt.
static inline bool orc_job_live(int state) {
    return state == HODEI__V1__JOB_STATE__JOB_STATE_ACTIVE || state == HODEI__V1__JOB_STATE__JOB_STATE_CANCELLING;
}
// Counts against the tenant's limit.
static inline bool orc_job_counted(int state) {
    return state == HODEI__V1__JOB_STATE__JOB_STATE_READY || orc_job_live(state);
}
static inline bool orc_attempt_ended(int state) {
    return state >= HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_SUCCEEDED;
}

#endif
