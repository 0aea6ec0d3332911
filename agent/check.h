// `hodei-agent check`: what this machine has and lacks for an agent with these settings, in words. Changes nothing but a file that it
// makes in the state folder and removes again.
#ifndef HD_AGENT_CHECK_H
#define HD_AGENT_CHECK_H

#include "adapter/bus.h"
#include "base/settings.h"

struct check_def { // all borrowed
    const struct hd_settings *settings;
    const char *name, *shim;
    const char *shim_problem; // "": it is there
    struct hd_bus *bus;
    struct hd_rng *rng;
};
int check_run(const struct check_def *def); // exit code: 0 where nothing is missing, 1 where something is

#endif
