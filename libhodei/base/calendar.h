// Days of the Gregorian calendar, counted from 1 January 1970. Pure, and right for the years 1 to 9999.
#ifndef HD_BASE_CALENDAR_H
#define HD_BASE_CALENDAR_H

#include <stdint.h>

#define HD_DAY_S INT64_C(86400)
#define HD_TIME_MIN_S INT64_C(-62135596800) // 0001-01-01 00:00:00
#define HD_TIME_MAX_S INT64_C(253402300799) // 9999-12-31 23:59:59

struct hd_date {
    int year, month, day; // month and day from 1
};
int64_t hd_date_days(struct hd_date date); // of 1970-01-01: 0
struct hd_date hd_date_of(int64_t days);
int hd_date_weekday(int64_t days); // 0 is Sunday
int hd_month_days(int year, int month);
int64_t hd_floor_div(int64_t a, int64_t b); // rounds down, b > 0

#endif
