// Subjects and cursors, and what is wrong with a chunk. Pure.
#ifndef HD_OBSERVABILITY_PARSE_H
#define HD_OBSERVABILITY_PARSE_H

#include "base/arena.h"
#include "base/uuid.h"
#include "hodei/v1/log.pb-c.h"

#define OBS_FRAME_BYTES (32u << 10)      // of one frame
#define OBS_FRAME_OVERHEAD 24            // what a frame costs in an answer besides its data
#define OBS_MAX_FRAME (INT64_C(1) << 40) // no attempt writes more frames
#define OBS_MAX_GAP (UINT64_C(1) << 30)  // frames of one gap

// hodei.log.<worker>.<tenant>.<run>.<job index>
struct obs_log_subject {
    const char *worker, *tenant, *run;
    uint32_t job_index;
};
enum hd_status obs_parse_log_subject(struct hd_arena *arena, const char *subject, struct hd_err *err,
                                     struct obs_log_subject *ret) HD_MUST_USE;
// hodei.evt.<tenant>.job.ended → the tenant.
enum hd_status obs_parse_event_subject(struct hd_arena *arena, const char *subject, struct hd_err *err,
                                       const char **ret_tenant) HD_MUST_USE;
// A chunk must say what its subject says, since the subject is what the bus let the worker write to.
enum hd_status obs_check_chunk(const struct obs_log_subject *subject, const Hodei__V1__LogChunk *chunk,
                               struct hd_err *err, struct hd_uuid *ret_run, struct hd_uuid *ret_attempt) HD_MUST_USE;
// How many frames it stands for: those of a gap are not there any more.
uint64_t obs_chunk_frames(const Hodei__V1__LogChunk *chunk);
int64_t obs_frames_bytes(Hodei__V1__LogFrame *const *frames, size_t n);

// Where a reader goes on: the chunk with this seq or the next after it, without its first `skip` frames.
struct obs_cursor {
    int64_t seq, skip;
};
enum hd_status obs_cursor_parse(const char *text, struct obs_cursor *ret) HD_MUST_USE; // "" is the start
char *obs_cursor_format(struct hd_arena *arena, struct obs_cursor cursor);

#endif
