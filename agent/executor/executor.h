// Executors: what carries out an assignment. A table of two: the shell, through the shim, and the built-in no-op.
//
// Pure: starting one only adds to the effects of the turn.
#ifndef HD_AGENT_EXECUTOR_H
#define HD_AGENT_EXECUTOR_H

#include "agent/stream/session.h"

struct executor_env {
    const char *state; // absolute path of the state folder; borrowed
    const char *path;  // PATH of jobs
    const char *home;  // HOME of jobs
};

struct executor {
    Hodei__V1__Executor kind;
    // The attempt is recorded. Adds a job to the shim's message, or ends the attempt at once.
    void (*start)(struct session *session, struct attempt *attempt, const Hodei__V1__Assignment *assignment);
    // After a restart: the attempt was taken, and its end is not known. NULL: the shim may have it.
    void (*resume)(struct session *session, struct attempt *attempt);
};
extern const struct executor executors[];
extern const size_t n_executors;
const struct executor *executor_of(Hodei__V1__Executor kind); // NULL: none

#endif
