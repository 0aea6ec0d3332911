// The resource monitor: how busy the machine is, for heartbeats and metrics. Reads /proc; what cannot be read is 0.
#ifndef HD_AGENT_MONITOR_H
#define HD_AGENT_MONITOR_H

#include "base/metrics.h"
#include "hodei/v1/worker.pb-c.h"

enum monitor_metric { MONITOR_CPU, MONITOR_MEMORY, MONITOR_DISK, MONITOR_LOAD, MONITOR_COUNT };
extern struct hd_metric monitor_metrics[MONITOR_COUNT];

struct monitor {
    int dir_fd;           // whose file system counts; borrowed
    uint64_t busy, total; // of /proc/stat at the last reading
};
void monitor_read(struct monitor *monitor, Hodei__V1__WorkerLoad *ret);

#endif
