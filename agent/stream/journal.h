// The journal: what must be known after a crash of the agent or the machine. One append-only file of JournalRecords.
//
// A record is its length, a checksum (4 bytes each, little-endian) and the packed message. Reading stops at the first record that
// is not whole; where anything stands behind the last whole one, *ret_damaged says so and the file is cut there: a batch that
// was not finished was never started, but whether it was that nobody can tell, so the caller distrusts (session_distrust).
// Appending is one write and, where asked for, one fdatasync a batch. A failed append leaves the file as it was.
#ifndef HD_AGENT_JOURNAL_H
#define HD_AGENT_JOURNAL_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/uuid.h"
#include "hodei/v1/shim.pb-c.h"

#define JOURNAL_RECORD_MAX ((1u << 20) + (256u << 10)) // an end carries outputs
#define JOURNAL_REWRITE_BYTES (4u << 20)               // and twice what it was after the last time
#define JOURNAL_FILE_MAX (256u << 20)                  // a larger one is not ours

// Pure. `data` is the assignment or the report, by the kind.
void journal_encode(struct hd_buf *out, const struct hd_uuid *id, Hodei__V1__JournalRecord__Kind kind, const void *data,
                    size_t len);
// TAKEN, for that shim (0: not known).
void journal_encode_taken(struct hd_buf *out, const struct hd_uuid *id, uint64_t shim, const void *assignment,
                          size_t len);
void journal_encode_floor(struct hd_buf *out, int64_t floor_ms);
// Calls `each` for every whole record; returns the bytes that they take. The arena is reset between records.
size_t journal_decode(struct hd_arena *arena, const uint8_t *data, size_t len,
                      void (*each)(void *arg, const Hodei__V1__JournalRecord *record), void *arg);

struct journal {
    int dir_fd, fd; // of the folder (borrowed) and the file
    uint64_t bytes, rewrite_at;
};
// Opens or makes the file `journal` in the folder and replays it.
enum hd_status journal_open(struct journal *journal, int dir_fd, struct hd_arena *arena,
                            void (*each)(void *arg, const Hodei__V1__JournalRecord *record), void *arg,
                            struct hd_err *err, bool *ret_damaged) HD_MUST_USE;
void journal_close(struct journal *journal);
enum hd_status journal_append(struct journal *journal, const void *data, size_t len, bool sync,
                              struct hd_err *err) HD_MUST_USE;
bool journal_large(const struct journal *journal);
// Puts `data` in its place, whole or not at all.
enum hd_status journal_rewrite(struct journal *journal, const void *data, size_t len, struct hd_err *err) HD_MUST_USE;

#endif
