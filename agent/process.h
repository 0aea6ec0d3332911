// The agent as a process: settings, state folder, signals, the loop. One thread besides those of nats.c.
//
// The state folder holds `session` (the id), `lock`, `journal`, `shim.sock`, `work/` and `spool/`; one agent at a time uses it.
// SIGTERM: nothing more is taken; with stop-jobs the jobs are stopped and told of as lost to the worker, else they go on under
// the shim and the next agent adopts them. A second SIGTERM leaves at once.
#ifndef HD_AGENT_PROCESS_H
#define HD_AGENT_PROCESS_H

#include "base/settings.h"

// Everything from argv to the exit code.
int agent_main(const struct hd_setting *settings, size_t n_settings, int argc, char **argv);

#endif
