// What control groups a worker may make for its jobs: found out once, at the start of the agent, by trying.
//
// Where version 2 hands down its controllers, they limit jobs. Where it is there with its core alone, as on hybrid hosts, it still
// holds the processes of a job together, so that they can be killed as one, and version 1 limits those jobs that ask for
// something. Without rights to either there are none. The shim makes the groups (agent/shim/cgroup.c).
#ifndef HD_AGENT_CGROUPS_H
#define HD_AGENT_CGROUPS_H

#include <stdbool.h>
#include <stddef.h>

#define CGROUPS_PATH 1024

struct cgroups {
    // Folders that are this worker's own, to be made; "" where it cannot have one.
    char tree[CGROUPS_PATH], memory[CGROUPS_PATH], cpu[CGROUPS_PATH];
    bool tree_limits; // memory, cpu and pids can be limited in `tree`
    char why[256];    // there is no `tree`
    bool undivided;   // a service of systemd that has no group of its own for the agent
};

// `name` is of the folders; ours alone on this machine.
void cgroups_detect(const char *name, struct cgroups *ret);
const char *cgroups_layout(const struct cgroups *groups); // v2, hybrid, tree, v1 or none
// What holds for jobs, in a sentence.
void cgroups_describe(const struct cgroups *groups, char *ret, size_t size);

// Pure. The folder in which the process of these two files of /proc/self (mountinfo and cgroup) is, in the hierarchy of a controller
// of version 1, or of version 2 (NULL). False: it is not mounted, or the process is not below what is mounted.
bool cgroups_own(const char *mountinfo, const char *cgroup, const char *controller, char *ret, size_t size);

#endif
