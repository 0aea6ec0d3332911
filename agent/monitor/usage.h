// What the processes of jobs use, from one look at /proc. A process belongs to the job whose step's process group or session it is
// in, or whose leader is among its ancestors. What it cannot see is what left all three.
#ifndef HD_AGENT_USAGE_H
#define HD_AGENT_USAGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct usage_job {
    pid_t leader; // of the step that runs
    // Read:
    int64_t cpu_ms;       // of living processes, and of those that they have reaped
    int64_t memory_bytes; // resident; what processes share counts in each
    unsigned processes;
};
void usage_read(struct usage_job *jobs, size_t n);

#endif
