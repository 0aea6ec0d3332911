// Amounts of what machines have and jobs ask for: hodei.v1.Resources as an array, so that one loop holds for all of them.
//
// Amounts are whole and never negative; what comes from outside is cut to HD_RESOURCE_MAX, so that a sum of thousands is far
// from an overflow. A sum that would still overflow stays at the greatest number, and then nothing fits.
#ifndef HD_BASE_RESOURCES_H
#define HD_BASE_RESOURCES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "hodei/v1/common.pb-c.h"

enum hd_resource { HD_CPU_MILLI, HD_MEMORY_BYTES, HD_DISK_BYTES, HD_GPU, HD_RESOURCES };
#define HD_RESOURCE_MAX (INT64_C(1) << 50)

struct hd_resources {
    int64_t of[HD_RESOURCES];
};

struct hd_resources hd_resources_read(const Hodei__V1__Resources *msg); // NULL: nothing
void hd_resources_write(const struct hd_resources *from, Hodei__V1__Resources *ret);
bool hd_resources_none(const struct hd_resources *amounts);
// The first that `ask` has more of than `free`, or HD_RESOURCES: it fits.
enum hd_resource hd_resources_short(const struct hd_resources *ask, const struct hd_resources *free);
void hd_resources_add(struct hd_resources *sum, const struct hd_resources *more);
void hd_resources_take(struct hd_resources *sum, const struct hd_resources *less); // stops at 0
struct hd_resources hd_resources_left(const struct hd_resources *capacity, const struct hd_resources *used);

// "2", "0.5" or "500m" CPUs; "512Mi", "1.5Gi", "2G" bytes: a unit is needed. HD_INVALID also above HD_RESOURCE_MAX.
enum hd_status hd_cpu_parse(const char *text, int64_t *ret_milli) HD_MUST_USE;
enum hd_status hd_bytes_parse(const char *text, int64_t *ret_bytes) HD_MUST_USE;
// For people: "1.5 CPUs", "512 MiB of memory", "1 GPU".
void hd_bytes_format(int64_t bytes, struct hd_buf *out); // "1.5 GiB"
void hd_resource_format(enum hd_resource resource, int64_t amount, struct hd_buf *out);

#endif
