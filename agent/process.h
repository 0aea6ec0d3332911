// The agent as a process: settings, state folder, signals, the loop. One thread besides those of nats.c.
//
// The state folder holds `session` (the id), `lock`, `journal`, `shim.sock`, and the folders of workspaces and spools; one agent at a time uses it.
// SIGTERM: nothing more is taken; on-stop says whether the jobs may end first, go on under the shim (the next agent adopts them), or
// are stopped and told of as lost to the worker. A second SIGTERM leaves at once. SIGHUP reads the settings again.
#ifndef HD_AGENT_PROCESS_H
#define HD_AGENT_PROCESS_H

#include "base/settings.h"

// Everything from argv to the exit code.
int agent_main(const struct hd_setting *settings, size_t n_settings, int argc, char **argv);

#endif
