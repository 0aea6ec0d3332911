// Logs of attempts: from their spool files to the stream, kept until observability has stored them. Pure but for log_read_fn.
//
// Each attempt has a window of 16 chunks and 1 MiB on its way; without progress for 5 s it goes back to what is stored. A job
// that writes faster is not read from by the shim until then, since it is told how far the log is stored. What the shim had to drop while
// the worker was cut off goes as a gap, in its place among the chunks.
#ifndef HD_AGENT_LOGS_H
#define HD_AGENT_LOGS_H

#include "agent/stream/session.h"
#include "hodei/v1/log.pb-c.h"

#define LOG_CHUNK_BYTES (256u << 10)
#define LOG_CHUNK_FRAMES 512u
#define LOG_WINDOW_BYTES (1u << 20)
#define LOG_FRAME_BYTES (32u << 10)
#define LOG_GAP_FRAMES (1u << 30) // of one gap

// Up to `len` bytes of an attempt's spool from `from` into `ret`; *ret_len is 0 at the end. HD_MISSING: there is no such file.
typedef enum hd_status log_read_fn(void *arg, const char *attempt, uint64_t from, void *ret, size_t len,
                                   size_t *ret_len);

void logs_grown(struct session *session, struct attempt *attempt, const Hodei__V1__ShimState *state);
void logs_orphan(struct session *session, struct attempt *attempt); // no shim has it: what its file has is sent
void logs_acked(struct session *session, struct attempt *attempt, uint64_t next_frame);
bool logs_stored(const struct attempt *attempt);

void logs_due(struct session *session); // what was not acknowledged in time goes again
// The next chunk, in the arena of the turn; NULL: nothing is to be sent.
Hodei__V1__LogChunks *logs_take(struct session *session, log_read_fn *read, void *arg);

#endif
