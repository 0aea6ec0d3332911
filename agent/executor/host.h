// What the shim is told of this machine and of the settings: the user of jobs, control groups, bounds.
#ifndef HD_AGENT_HOST_H
#define HD_AGENT_HOST_H

#include "agent/executor/cgroups.h"
#include "base/arena.h"
#include "base/metrics.h"
#include "base/settings.h"
#include "hodei/v1/shim.pb-c.h"

struct host {
    struct cgroups groups;
    const char *home, *user;  // of jobs; NULL: as the agent's
    Hodei__V1__ShimHost told; // what the shim hears of it
};

enum host_metric { HOST_TREE, HOST_MEMORY, HOST_CPU, HOST_METRICS };
extern struct hd_metric host_metrics[HOST_METRICS]; // what holds for jobs: 1 or 0

// Looks the user up and finds the control groups; says in the log what holds for jobs. `session` names the groups. All memory is the
// arena's. HD_INVALID: a setting is wrong; HD_PRECONDITION: this machine, or who we are, does not allow it.
enum hd_status host_prepare(struct host *host, const struct hd_settings *settings, const char *session,
                            struct hd_arena *arena, struct hd_err *err) HD_MUST_USE;

#endif
