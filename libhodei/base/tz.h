// Time zones: TZif data (RFC 8536) → the offset at any moment, and back from what a clock on the wall shows. Pure: the bytes
// are handed in, and what is made of them lives in the arena.
//
// Past its last recorded change a zone follows the rule in the data's footer (a POSIX TZ text), so that times far ahead
// are right for as long as the law stays. Moments are Unix seconds within the years 1 to 9999; local seconds count the same
// way what a clock shows. A zone never changes and may be shared.
#ifndef HD_BASE_TZ_H
#define HD_BASE_TZ_H

#include <stdbool.h>

#include "base/arena.h"

#define HD_ZONE_BYTES_MAX (32u << 10) // of its data
#define HD_ZONE_NAME_MAX 64

// When in the year a rule changes the clocks.
enum hd_zone_day { HD_ZONE_JULIAN, HD_ZONE_ZERO_BASED, HD_ZONE_WEEKDAY }; // Jn, n, Mm.w.d
struct hd_zone_change {
    enum hd_zone_day kind;
    int day;         // 1..365 (29 February never counts), 0..365, or the weekday
    int month, week; // of HD_ZONE_WEEKDAY; week 5 is the last
    int32_t time_s;  // on the clock before the change; may be below 0 and beyond a day
};
struct hd_zone_rule {
    bool present, has_summer;
    int32_t standard_offset_s, summer_offset_s; // east of Greenwich
    struct hd_zone_change to_summer, to_standard;
};
struct hd_zone {
    size_t n; // recorded changes
    const int64_t *at_s;
    const int32_t *offset_s; // from at_s on
    int32_t first_offset_s;  // before them all
    struct hd_zone_rule rule;
};
extern const struct hd_zone hd_zone_utc; // needs no data

// "Area/City", as below /usr/share/zoneinfo: begins with a capital, and cannot lead out of a folder.
bool hd_zone_name_valid(const char *name);
// HD_INVALID: damaged, or of a kind that counts leap seconds.
enum hd_status hd_zone_parse(struct hd_arena *arena, const void *data, size_t len, struct hd_err *err,
                             const struct hd_zone **ret) HD_MUST_USE;

// The stretch without a change around a moment: [from_s, until_s).
struct hd_zone_span {
    int64_t from_s, until_s; // INT64_MIN, INT64_MAX: without end
    int32_t offset_s;
};
struct hd_zone_span hd_zone_span_at(const struct hd_zone *zone, int64_t utc_s);
int64_t hd_zone_to_local(const struct hd_zone *zone, int64_t utc_s);
// The first moment at which the clock shows `local_s` or later: of a time that comes twice the first, of one that is left
// out the moment of the jump.
int64_t hd_zone_to_utc(const struct hd_zone *zone, int64_t local_s);

#endif
