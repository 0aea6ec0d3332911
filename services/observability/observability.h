// The observability service: what jobs wrote, and how they fared.
//
// Nothing is kept in memory between batches; PostgreSQL has it all. Lock order: rows of log_runs by id, then the rest of the
// run; then seen_events by digest; then job_stats by key.
#ifndef HD_OBSERVABILITY_OBSERVABILITY_H
#define HD_OBSERVABILITY_OBSERVABILITY_H

#include "service/service.h"
#include "services/observability/frames.h"
#include "services/observability/parse.h"

extern const struct hd_service_def obs_def; // service.c

struct observability {
    struct hd_service *service; // borrowed
    int64_t retention_ms;
};

enum obs_metric {
    OBS_M_STORED,
    OBS_M_KNOWN,
    OBS_M_EARLY,
    OBS_M_DROPPED,
    OBS_M_REFUSED,
    OBS_M_BYTES,
    OBS_M_GAPS,
    OBS_M_GAP_BYTES,
    OBS_M_CUT_BYTES,
    OBS_M_DELETED,
    OBS_M_EVENTS,
    OBS_M_EVENTS_AGAIN,
    OBS_M_COUNT
};
extern struct hd_metric obs_metrics[OBS_M_COUNT];

// observability.c
enum hd_status obs_init(struct hd_service *service, const struct hd_settings *settings, void **ret_self,
                        struct hd_err *err);
void obs_release(void *self);
hd_handler obs_retention; // timer: old logs go, in small bites

hd_handler obs_store_logs; // ingest.c: feed LOGS
hd_handler obs_read_log;   // read.c: ReadLog
hd_handler obs_count_jobs; // stats.c: feed EVENTS
hd_handler obs_job_stats;  // stats.c: JobStats

// quota.c
hd_handler obs_put_grants, obs_get_usage; // PutGrants, GetUsage
struct obs_day {                          // what a tenant has written on a day
    const char *tenant;
    int64_t limit; // -1: none
    int64_t day, bytes;
    int64_t added; // to bytes, by this transaction
    uint32_t marks;
    int64_t closed_limit, closings;
};
void obs_day_turn(struct obs_day *day, int64_t today);
bool obs_day_closed(const struct obs_day *day); // nothing more is kept
// Counts the bytes. False: they are not kept.
bool obs_day_take(struct obs_day *day, int64_t bytes);
void obs_day_mark(struct hd_ctx *cx, struct obs_day *day); // tells of marks that are crossed

// store.c
struct obs_run {
    struct hd_uuid id;
    const char *tenant;
    int64_t last_seq;
    bool found;
};
struct obs_attempt {
    struct hd_uuid run, id;
    uint32_t job_index;
    uint64_t next_frame, was_next_frame;
    int64_t closing;              // of its tenant's that its log has told of
    const char *worker, *session; // whom to acknowledge to
    struct frames_piece *pieces;
    size_t n_pieces, cap_pieces;
};
struct obs_row { // of log_chunks
    const struct obs_attempt *attempt;
    int64_t seq;
    int32_t attempt_number;
    int64_t first_frame;
    int32_t n_frames;
    int64_t bytes;
    const char *job;
    struct hd_bytes frames;
};
#define OBS_SQL_COUNT 21
extern const struct hd_sql obs_sql[OBS_SQL_COUNT];
// Locks the rows, which must be in the order of their ids without doubles; makes those that are not there with the tenant given.
enum hd_status obs_lock_runs(struct hd_ctx *cx, struct obs_run *runs, size_t n) HD_MUST_USE;
// Fills in next_frame, and adds what waits to the pieces, without its content. Ordered by (run, job_index, id), no doubles.
enum hd_status obs_load_attempts(struct hd_ctx *cx, struct obs_attempt *attempts, size_t n) HD_MUST_USE;
enum hd_status obs_load_early(struct hd_ctx *cx, const struct obs_attempt *attempt, uint64_t first_frame,
                              struct hd_bytes *ret) HD_MUST_USE;
enum hd_status obs_save_rows(struct hd_ctx *cx, const struct obs_row *rows, size_t n) HD_MUST_USE;
enum hd_status obs_save_early(struct hd_ctx *cx, const struct obs_attempt *attempt, uint64_t first_frame,
                              size_t n_frames, struct hd_bytes chunk) HD_MUST_USE;
enum hd_status obs_drop_early(struct hd_ctx *cx, const struct obs_attempt *attempt) HD_MUST_USE; // below next_frame
enum hd_status obs_save_attempts(struct hd_ctx *cx, const struct obs_attempt *attempts, size_t n) HD_MUST_USE;
enum hd_status obs_save_runs(struct hd_ctx *cx, const struct obs_run *runs, size_t n) HD_MUST_USE;
// For readers: without a lock. The same order and no doubles.
enum hd_status obs_find_runs(struct hd_ctx *cx, struct obs_run *runs, size_t n) HD_MUST_USE;
// seq, job, attempt_number, first_frame, frames
enum hd_status obs_read_rows(struct hd_ctx *cx, struct hd_uuid run, const char *job, struct obs_cursor from,
                             int64_t max_bytes, struct hd_rows *ret) HD_MUST_USE;
// Fills in what is known of tenants with a limit, and locks that; others have none. Ordered by tenant, no doubles.
enum hd_status obs_lock_days(struct hd_ctx *cx, struct obs_day *days, size_t n) HD_MUST_USE;
enum hd_status obs_save_days(struct hd_ctx *cx, const struct obs_day *days, size_t n) HD_MUST_USE;
enum hd_status obs_read_day(struct hd_ctx *cx, struct obs_day *inout) HD_MUST_USE; // without a lock
struct hd_grants;
enum hd_status obs_save_grants(struct hd_ctx *cx, const struct hd_grants *grants) HD_MUST_USE;
#define OBS_DELETE_BITE 1000
enum hd_status obs_delete_old(struct hd_ctx *cx, int64_t before_ms, int64_t *ret_chunks) HD_MUST_USE;
struct obs_run *obs_run_of(struct obs_run *runs, size_t n, struct hd_uuid id);

struct obs_stat {
    const char *tenant, *pipeline, *job;
    int64_t succeeded, failed, queued_ms, ran_ms;
};
// Notes messages as counted; *ret has a row for each that was not yet. Ordered, no doubles.
enum hd_status obs_note_events(struct hd_ctx *cx, const struct hd_bytes *digests, size_t n,
                               struct hd_rows *ret) HD_MUST_USE;
enum hd_status obs_add_stats(struct hd_ctx *cx, const struct obs_stat *stats, size_t n) HD_MUST_USE;
enum hd_status obs_read_stats(struct hd_ctx *cx, const char *tenant, const char *pipeline,
                              struct hd_rows *ret) HD_MUST_USE;
enum hd_status obs_forget_events(struct hd_ctx *cx, int64_t before_ms) HD_MUST_USE;

#endif
