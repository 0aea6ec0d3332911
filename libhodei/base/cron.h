// Cron expressions: five fields (minute, hour, day of month, month, day of week) or @hourly, @daily, @weekly, @monthly,
// @yearly. Pure.
//
// A field is a list of values, ranges (9-17) and steps (*/15, 0-30/10). Months and days of the week also have names (jan, mon);
// Sunday is 0 and 7. Where both days are given, either is enough; where one of them begins with *, both must fit.
//
// When the clocks change, two rules hold, as vixie cron has them:
// - With an hour field that begins with * (every hour, every n hours) real time counts: it fires whenever the clock shows
//   a time that fits. What the clock leaves out does not happen; what it shows twice happens twice.
// - Any other expression means times of the day: one that is left out fires at the moment of the jump, and one that comes
//   twice fires the first time. Several that are left out by one jump fire once.
#ifndef HD_BASE_CRON_H
#define HD_BASE_CRON_H

#include "base/tz.h"

struct hd_cron { // a set of bits each
    uint64_t minutes;
    uint32_t hours, days, months;        // days and months from bit 1
    uint8_t weekdays;                    // bit 0 is Sunday
    bool any_hour, any_day, any_weekday; // the field begins with *
};

// HD_INVALID names the field and says what to do, also where the expression could never fire.
enum hd_status hd_cron_parse(const char *text, struct hd_err *err, struct hd_cron *ret) HD_MUST_USE;
// The first time after `after_ms`, always at a full minute of the clock. HD_MISSING: none before the year 9999 ends.
enum hd_status hd_cron_next(const struct hd_cron *cron, const struct hd_zone *zone, int64_t after_ms,
                            int64_t *ret_ms) HD_MUST_USE;

#endif
