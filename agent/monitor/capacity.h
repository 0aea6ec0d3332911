// What this machine offers to jobs: as the settings say, else as it is found. Reads /proc and /sys.
#ifndef HD_AGENT_CAPACITY_H
#define HD_AGENT_CAPACITY_H

#include "base/resources.h"
#include "base/settings.h"

// CPUs that this process may run on and memory of the machine, both at most the limit of any control group around the process; disk
// that is free in the folder; GPUs by their devices /dev/nvidia<number>. What cannot be read is 0.
void capacity_detect(int dir_fd, struct hd_resources *ret);
// How many nvidia<number> a folder has.
int64_t capacity_gpus(const char *dev);
// The settings cpu, memory, disk and gpu win over what is found.
enum hd_status capacity_choose(const struct hd_settings *settings, int dir_fd, struct hd_err *err,
                               struct hd_resources *ret) HD_MUST_USE;
// Of /proc/self/cgroup: the path of the group that limits memory, and whether it is of version 2. Pure.
bool capacity_cgroup(const char *text, char *ret_path, size_t size, bool *ret_v2);

#endif
