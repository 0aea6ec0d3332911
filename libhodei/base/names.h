// Names of subjects, streams and consumers: the only place that knows them. docs/ARCHITECTURE.md lists them, and a test
// holds the two against each other.
#ifndef HD_BASE_NAMES_H
#define HD_BASE_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

#define HD_SUBJECT_RPC "hodei.rpc"            // hodei.rpc.<service>.<Method>: core, queue group <service>
#define HD_SUBJECT_EVENT "hodei.evt"          // hodei.evt.<tenant>.<entity>.<what>: EVENTS
#define HD_SUBJECT_READY "hodei.flow.ready"   // hodei.flow.ready.<pool>: FLOW, orchestrator → leader of the pool
#define HD_SUBJECT_PLACED "hodei.flow.placed" // FLOW, leader → orchestrator
#define HD_SUBJECT_WORK "hodei.work"          // hodei.work.<worker>: WORK_<worker>
#define HD_SUBJECT_REPORT "hodei.report"      // hodei.report.<worker>.attempts: REPORTS
#define HD_SUBJECT_LOG "hodei.log"            // hodei.log.<worker>.<tenant>.<run>.<job index>: LOGS
#define HD_SUBJECT_ACK "hodei.ack"            // hodei.ack.<worker>: core, owner → agent: committed up to here

struct hd_stream {
    const char *name;
    const char *subjects; // one filter
    bool work_queue;      // else limits
    bool memory;          // else file
    int64_t max_age_ms;
    int64_t max_bytes;
    int64_t duplicates_ms;
};
enum hd_stream_id { HD_STREAM_EVENTS, HD_STREAM_FLOW, HD_STREAM_REPORTS, HD_STREAM_LOGS, HD_STREAM_COUNT };
extern const struct hd_stream hd_streams[HD_STREAM_COUNT];
// Settings of WORK_<worker>; name and subjects are filled by the caller.
extern const struct hd_stream hd_work_stream;

// Into the arena. The parts must be valid tokens.
char *hd_subject(struct hd_arena *arena, const char *prefix, const char *a); // prefix.a
char *hd_subject_rpc(struct hd_arena *arena, const char *service, const char *method);
char *hd_subject_event(struct hd_arena *arena, const char *tenant, const char *entity, const char *what);
char *hd_subject_log(struct hd_arena *arena, const char *worker, const char *tenant, const char *run,
                     unsigned job_index);

// A subject token of ours: [A-Za-z0-9_-]{1,64}.
bool hd_token_valid(const char *text);
// A name of the pipeline language: [A-Za-z0-9._-]{1,128}.
bool hd_name_valid(const char *text);

// Folders in the state folder of an agent, with an entry for each attempt. A shim outlives its agent, so they keep their names.
#define HD_STATE_WORKSPACES "work"
#define HD_STATE_SPOOLS "spool"
#define HD_STATE_KEPT "kept" // workspaces that are not removed at the end of their job

#endif
