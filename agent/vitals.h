// What heartbeats and metrics say of the machine and its jobs, and whether the machine can take work.
#ifndef HD_AGENT_VITALS_H
#define HD_AGENT_VITALS_H

#include "agent/monitor/monitor.h"
#include "agent/stream/session.h"
#include "base/settings.h"

#define VITALS_JOBS_MAX 100

struct vitals_job {
    char attempt[HD_UUID_TEXT];
    int64_t cpu_ms, memory_bytes, spool_bytes;
    unsigned processes;
};
struct vitals {
    struct monitor monitor;
    int64_t disk_floor_bytes;
    const char *state; // path of the folder, for people; borrowed
    bool low;          // less disk is free than the floor
    int64_t look_ms;   // monotonic: when the disk is looked at again
    char unfit[300];
    struct vitals_job jobs[VITALS_JOBS_MAX]; // of the last heartbeat
    size_t n_jobs;
};

enum hd_status vitals_configure(struct vitals *vitals, const struct hd_settings *settings,
                                struct hd_err *err) HD_MUST_USE;
// Load and jobs, in the session's arena.
void vitals_fill(struct vitals *vitals, const struct session *session, Hodei__V1__HeartbeatRequest *ret);
// "": it can take work. Looks at the disk once a second; it must be a tenth above the floor to be taken as enough again.
const char *vitals_unfit(struct vitals *vitals, int64_t mono_ms);
void vitals_metrics(const struct vitals *vitals, struct hd_buf *out);

#endif
