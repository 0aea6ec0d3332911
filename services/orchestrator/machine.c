#include "services/orchestrator/machine.h"

#define RUN(x) HODEI__V1__RUN_STATE__RUN_STATE_##x
#define JOB(x) HODEI__V1__JOB_STATE__JOB_STATE_##x
#define ATT(x) HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_##x

static const struct orc_rule run_rules[] = {
    {RUN(RUNNING), ORC_RUN_CANCEL, RUN(CANCELLING), ORC_ALWAYS, "a user asks"},
    {RUN(RUNNING), ORC_RUN_ALL_ENDED, RUN(SUCCEEDED), ORC_ALL_SUCCEEDED, "no job failed"},
    {RUN(RUNNING), ORC_RUN_ALL_ENDED, RUN(FAILED), ORC_SOME_FAILED, "a job failed or timed out"},
    {RUN(RUNNING), ORC_RUN_ALL_ENDED, RUN(CANCELLED), ORC_ALWAYS, "a job was stopped on its worker"},
    {RUN(CANCELLING), ORC_RUN_ALL_ENDED, RUN(FAILED), ORC_OUT_OF_TIME, "its time was over, or its group full"},
    {RUN(CANCELLING), ORC_RUN_ALL_ENDED, RUN(CANCELLED), ORC_ALWAYS, "the last job ended"},
};
static const char *const run_events[] = {"cancel", "all ended"};

static const struct orc_rule job_rules[] = {
    {JOB(WAITING), ORC_JOB_NEEDS_MET, JOB(QUEUED), ORC_ALWAYS, "what it needs has ended as wanted"},
    {JOB(WAITING), ORC_JOB_SKIP, JOB(SKIPPED), ORC_ALWAYS, "its needs or its condition say so"},
    {JOB(WAITING), ORC_JOB_BREAK, JOB(FAILED), ORC_ALWAYS, "its condition or its matrix cannot be evaluated"},
    {JOB(WAITING), ORC_JOB_CHILDREN, JOB(FAILED), ORC_SOME_FAILED, "a job of its matrix failed"},
    {JOB(WAITING), ORC_JOB_CHILDREN, JOB(CANCELLED), ORC_SOME_CANCELLED, "a job of its matrix was cancelled"},
    {JOB(WAITING), ORC_JOB_CHILDREN, JOB(SUCCEEDED), ORC_ALWAYS, "all jobs of its matrix succeeded"},
    {JOB(WAITING), ORC_JOB_CANCEL, JOB(CANCELLED), ORC_ALWAYS, ""},
    {JOB(QUEUED), ORC_JOB_ADMIT, JOB(READY), ORC_ALWAYS, "the tenant's grant has room"},
    {JOB(QUEUED), ORC_JOB_SKIP, JOB(SKIPPED), ORC_ALWAYS, "a user asks"},
    {JOB(QUEUED), ORC_JOB_BREAK, JOB(FAILED), ORC_ALWAYS, "it waited longer than its queue_timeout"},
    {JOB(QUEUED), ORC_JOB_CANCEL, JOB(CANCELLED), ORC_ALWAYS, ""},
    {JOB(READY), ORC_JOB_PLACE, JOB(ACTIVE), ORC_ALWAYS, "key and epoch are right"},
    {JOB(READY), ORC_JOB_HOLD, JOB(QUEUED), ORC_ALWAYS, "the offer is withdrawn"},
    {JOB(READY), ORC_JOB_SKIP, JOB(SKIPPED), ORC_ALWAYS, "a user asks"},
    {JOB(READY), ORC_JOB_BREAK, JOB(FAILED), ORC_ALWAYS, "it waited longer than its queue_timeout"},
    {JOB(READY), ORC_JOB_CANCEL, JOB(CANCELLED), ORC_ALWAYS, "the offer is withdrawn"},
    {JOB(ACTIVE), ORC_JOB_CANCEL, JOB(CANCELLING), ORC_ALWAYS, "the worker is told"},
    {JOB(ACTIVE), ORC_JOB_SUCCEED, JOB(SUCCEEDED), ORC_ALWAYS, ""},
    {JOB(ACTIVE), ORC_JOB_FAIL, JOB(QUEUED), ORC_MAY_TRY_AGAIN, "its retry rule says so"},
    {JOB(ACTIVE), ORC_JOB_FAIL, JOB(FAILED), ORC_ALWAYS, ""},
    {JOB(ACTIVE), ORC_JOB_STOP, JOB(CANCELLED), ORC_ALWAYS, "stopped on its worker"},
    {JOB(ACTIVE), ORC_JOB_TIME_OUT, JOB(QUEUED), ORC_MAY_TRY_AGAIN, "its retry rule says so"},
    {JOB(ACTIVE), ORC_JOB_TIME_OUT, JOB(TIMED_OUT), ORC_ALWAYS, ""},
    {JOB(ACTIVE), ORC_JOB_LOSE, JOB(READY), ORC_MAY_TRY_AGAIN, "on_worker_lost is requeue, and not too often"},
    {JOB(ACTIVE), ORC_JOB_LOSE, JOB(FAILED), ORC_ALWAYS, "no other attempt is allowed"},
    {JOB(ACTIVE), ORC_JOB_RETRY, JOB(QUEUED), ORC_IS_HELD, "its worker is gone, and a user gives it up"},
    {JOB(ACTIVE), ORC_JOB_MARK, JOB(SUCCEEDED), ORC_IS_HELD, "its worker is gone, and a user says so"},
    {JOB(ACTIVE), ORC_JOB_REFUSE, JOB(READY), ORC_MAY_TRY_AGAIN, "the worker had no room"},
    {JOB(ACTIVE), ORC_JOB_REFUSE, JOB(FAILED), ORC_ALWAYS, "refused too often"},
    {JOB(CANCELLING), ORC_JOB_CANCEL, JOB(CANCELLING), ORC_ALWAYS, "said again"},
    {JOB(CANCELLING), ORC_JOB_SUCCEED, JOB(SUCCEEDED), ORC_ALWAYS, "it was faster"},
    {JOB(CANCELLING), ORC_JOB_FAIL, JOB(FAILED), ORC_ALWAYS, "it was faster"},
    {JOB(CANCELLING), ORC_JOB_STOP, JOB(CANCELLED), ORC_ALWAYS, "the worker confirms"},
    {JOB(CANCELLING), ORC_JOB_TIME_OUT, JOB(TIMED_OUT), ORC_ALWAYS, "it was faster"},
    {JOB(CANCELLING), ORC_JOB_LOSE, JOB(CANCELLED), ORC_ALWAYS, "nobody is left to confirm"},
    {JOB(CANCELLING), ORC_JOB_REFUSE, JOB(CANCELLED), ORC_ALWAYS, "it never started"},
    {JOB(FAILED), ORC_JOB_RETRY, JOB(QUEUED), ORC_ALWAYS, "a user asks, and the run goes on"},
    {JOB(FAILED), ORC_JOB_MARK, JOB(SUCCEEDED), ORC_ALWAYS, "a user says so, and the run goes on"},
    {JOB(CANCELLED), ORC_JOB_RETRY, JOB(QUEUED), ORC_ALWAYS, "a user asks, and the run goes on"},
    {JOB(CANCELLED), ORC_JOB_MARK, JOB(SUCCEEDED), ORC_ALWAYS, "a user says so, and the run goes on"},
    {JOB(TIMED_OUT), ORC_JOB_RETRY, JOB(QUEUED), ORC_ALWAYS, "a user asks, and the run goes on"},
    {JOB(TIMED_OUT), ORC_JOB_MARK, JOB(SUCCEEDED), ORC_ALWAYS, "a user says so, and the run goes on"},
    {JOB(SKIPPED), ORC_JOB_RESET, JOB(WAITING), ORC_ALWAYS, "what it was skipped for is open again"},
};
static const char *const job_events[] = {"needs met",
                                         "skip",
                                         "break",
                                         "matrix ended",
                                         "hold",
                                         "retry",
                                         "mark done",
                                         "reset",
                                         "admit",
                                         "place",
                                         "cancel",
                                         "attempt succeeded",
                                         "attempt failed",
                                         "attempt cancelled",
                                         "attempt timed out",
                                         "attempt lost",
                                         "attempt refused"};

static const struct orc_rule attempt_rules[] = {
    {ATT(ASSIGNED), ORC_ATTEMPT_START, ATT(RUNNING), ORC_ALWAYS, ""},
    {ATT(ASSIGNED), ORC_ATTEMPT_SUCCEED, ATT(SUCCEEDED), ORC_ALWAYS, "start and end in one report"},
    {ATT(ASSIGNED), ORC_ATTEMPT_FAIL, ATT(FAILED), ORC_ALWAYS, "start and end in one report, or never started"},
    {ATT(ASSIGNED), ORC_ATTEMPT_STOP, ATT(CANCELLED), ORC_ALWAYS, "cancelled before its start was reported"},
    {ATT(ASSIGNED), ORC_ATTEMPT_TIME_OUT, ATT(TIMED_OUT), ORC_ALWAYS, ""},
    {ATT(ASSIGNED), ORC_ATTEMPT_LOSE, ATT(LOST), ORC_ALWAYS, ""},
    {ATT(ASSIGNED), ORC_ATTEMPT_REFUSE, ATT(REFUSED), ORC_ALWAYS, "the agent had no room"},
    {ATT(ASSIGNED), ORC_ATTEMPT_GONE, ATT(ASSIGNED), ORC_ALWAYS, "on_worker_lost is hold"},
    {ATT(ASSIGNED), ORC_ATTEMPT_BACK, ATT(ASSIGNED), ORC_IS_HELD, ""},
    {ATT(RUNNING), ORC_ATTEMPT_SUCCEED, ATT(SUCCEEDED), ORC_ALWAYS, ""},
    {ATT(RUNNING), ORC_ATTEMPT_FAIL, ATT(FAILED), ORC_ALWAYS, ""},
    {ATT(RUNNING), ORC_ATTEMPT_STOP, ATT(CANCELLED), ORC_ALWAYS, ""},
    {ATT(RUNNING), ORC_ATTEMPT_TIME_OUT, ATT(TIMED_OUT), ORC_ALWAYS, ""},
    {ATT(RUNNING), ORC_ATTEMPT_LOSE, ATT(LOST), ORC_ALWAYS, "the worker, or its memory, is gone"},
    {ATT(RUNNING), ORC_ATTEMPT_GONE, ATT(RUNNING), ORC_ALWAYS, "on_worker_lost is hold"},
    {ATT(RUNNING), ORC_ATTEMPT_BACK, ATT(RUNNING), ORC_IS_HELD, ""},
};
static const char *const attempt_events[] = {"started", "succeeded", "failed",      "cancelled",  "timed out",
                                             "lost",    "refused",   "worker gone", "worker back"};

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
const struct orc_machine orc_run_machine = {
    "run", run_rules, LEN(run_rules), &hodei__v1__run_state__descriptor, run_events, ORC_RUN_EVENTS, RUN(RUNNING)};
const struct orc_machine orc_job_machine = {
    "job", job_rules, LEN(job_rules), &hodei__v1__job_state__descriptor, job_events, ORC_JOB_EVENTS, JOB(WAITING)};
const struct orc_machine orc_attempt_machine = {
    "attempt",      attempt_rules,      LEN(attempt_rules), &hodei__v1__attempt_state__descriptor,
    attempt_events, ORC_ATTEMPT_EVENTS, ATT(ASSIGNED)};

const struct orc_rule *orc_machine_next(const struct orc_machine *machine, int from, int event, unsigned facts) {
    for (size_t i = 0; i < machine->n; i++) {
        const struct orc_rule *rule = &machine->rules[i];
        if (rule->from == from && rule->event == event && (rule->guard & facts) == rule->guard)
            return rule;
    }
    return NULL;
}

bool orc_machine_final(const struct orc_machine *machine, int state) {
    for (size_t i = 0; i < machine->n; i++)
        if (machine->rules[i].from == state)
            return false;
    return true;
}

// "READY" for JOB_STATE_READY.
static const char *state_name(const struct orc_machine *machine, int state) {
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(machine->states, state);
    const char *at = value ? strstr(value->name, "STATE_") : NULL;
    return at ? at + strlen("STATE_") : "UNKNOWN";
}

void orc_machine_print(const struct orc_machine *machine, struct hd_buf *out) {
    hd_buf_addf(out, "stateDiagram-v2\n    [*] --> %s\n", state_name(machine, machine->first));
    for (size_t i = 0; i < machine->n; i++) {
        const struct orc_rule *rule = &machine->rules[i];
        hd_buf_addf(out, "    %s --> %s: %s", state_name(machine, rule->from), state_name(machine, rule->to),
                    machine->events[rule->event]);
        hd_buf_addf(out, rule->note[0] ? " (%s)\n" : "%s\n", rule->note);
    }
    for (unsigned i = 0; i < machine->states->n_values; i++) {
        int state = machine->states->values[i].value;
        if (state != 0 && orc_machine_final(machine, state))
            hd_buf_addf(out, "    %s --> [*]\n", state_name(machine, state));
    }
}
