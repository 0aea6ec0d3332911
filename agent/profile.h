// What the worker says of itself: read from the settings at the start and at SIGHUP.
#ifndef HD_AGENT_PROFILE_H
#define HD_AGENT_PROFILE_H

#include "agent/agent.h"
#include "base/settings.h"

struct profile {
    struct agent_profile is; // its labels and taints live in the arena
    struct hd_arena arena;
};
// To be released also after an error. `dir_fd`: the state folder, whose file system is what jobs have.
enum hd_status profile_read(struct profile *profile, const struct hd_settings *settings, int dir_fd,
                            struct hd_err *err) HD_MUST_USE;
void profile_release(struct profile *profile);

#endif
