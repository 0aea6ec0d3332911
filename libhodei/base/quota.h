// What a tenant may use, and what it uses: one amount for each dimension. Pure.
//
// Two kinds of dimension. Over a *concurrency* limit a job waits, and what it takes is given back when its attempt has ended. Over a
// *stock* limit a start is refused. Amounts are whole and never negative; a limit may be HD_QUOTA_UNLIMITED. Days and
// months are those of UTC.
#ifndef HD_BASE_QUOTA_H
#define HD_BASE_QUOTA_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/resources.h"

enum hd_quota_dim {
    HD_QUOTA_JOBS,                         // READY, or with a live attempt
    HD_QUOTA_CPU,                          // millicores that those ask for
    HD_QUOTA_MEMORY,                       // bytes, likewise
    HD_QUOTA_GPU,                          // likewise
    HD_QUOTA_CONCURRENT,                   // so many are concurrency limits; the rest are stock
    HD_QUOTA_QUEUED = HD_QUOTA_CONCURRENT, // jobs that have not been admitted yet and have not ended
    HD_QUOTA_RUNS_DAY,                     // runs made since midnight
    HD_QUOTA_MINUTES_MONTH,                // whole minutes of attempts that have ended since the month began
    HD_QUOTA_COUNTED,                      // so many the orchestrator counts
    HD_QUOTA_PIPELINES = HD_QUOTA_COUNTED, // that are not deleted
    HD_QUOTA_LOG_BYTES_DAY,                // that jobs have written since midnight, as far as they are kept
    HD_QUOTA_DIMS
};
#define HD_QUOTA_UNLIMITED (-1)
#define HD_QUOTA_MAX (INT64_C(1) << 50) // of a limit
#define HD_QUOTA_MS_A_MINUTE 60000

struct hd_quota {
    int64_t of[HD_QUOTA_DIMS];
};

struct hd_quota hd_quota_unlimited(void);
// The field that a dimension has in Grant, Quota, SetQuotaRequest and QuotaUsage.
const char *hd_quota_field(enum hd_quota_dim dim);
// Takes over what is there in a message that has these fields; what is not there stays as it was.
void hd_quota_read(const ProtobufCMessage *msg, struct hd_quota *inout);
// Fills the fields; a dimension without a limit is left out where the field can be.
void hd_quota_write(const struct hd_quota *from, ProtobufCMessage *msg);

// How much more may be used; INT64_MAX without a limit, never negative.
int64_t hd_quota_room(int64_t limit, int64_t used);
// The first concurrency limit that `asks` goes over on top of `used`, or HD_QUOTA_DIMS: it fits.
enum hd_quota_dim hd_quota_short(const struct hd_quota *limit, const struct hd_quota *used,
                                 const struct hd_quota *asks);
// The first that `asks` goes over alone, or HD_QUOTA_DIMS. The number of jobs is not looked at: a limit of 0 jobs is a pause.
enum hd_quota_dim hd_quota_never(const struct hd_quota *limit, const struct hd_quota *asks);
// What a job takes while it is admitted.
struct hd_quota hd_quota_of_job(const Hodei__V1__Resources *resources);
void hd_quota_add(struct hd_quota *sum, const struct hd_quota *more, int64_t times); // times may be -1; stops at 0

// Marks: bit 2·dim at 80 % of a limit, bit 2·dim + 1 at all of it. A mark that is set goes away only below 75 % and 95 %, so that what
// goes up and down at the border crosses it once.
uint32_t hd_quota_marks(const struct hd_quota *limit, const struct hd_quota *used, uint32_t before);

// "<tenant>", or "<tenant>/<project>".
bool hd_quota_owner_valid(const char *text);

// Numbers of the day and of the month, that rise by one.
int64_t hd_quota_day(int64_t wall_ms);
int64_t hd_quota_month(int64_t wall_ms);

// For people: "12 concurrent jobs", "1.5 CPUs", "512 MiB of memory", "3 runs a day".
void hd_quota_format(enum hd_quota_dim dim, int64_t amount, struct hd_buf *out);

#endif
