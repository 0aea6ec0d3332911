#include "base/calendar.h"

#include <stdbool.h>

static const int days_before_month[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};

static bool is_leap(int year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

// From 1 January of year 1 to 1 January of `year`.
static int64_t days_before_year(int year) {
    int64_t whole = year - 1;
    return whole * 365 + whole / 4 - whole / 100 + whole / 400;
}

#define DAYS_BEFORE_1970 719162

int64_t hd_floor_div(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

int hd_month_days(int year, int month) {
    return days_before_month[month] - days_before_month[month - 1] + (month == 2 && is_leap(year));
}

int64_t hd_date_days(struct hd_date date) {
    int64_t in_year = days_before_month[date.month - 1] + (date.month > 2 && is_leap(date.year)) + date.day - 1;
    return days_before_year(date.year) - DAYS_BEFORE_1970 + in_year;
}

struct hd_date hd_date_of(int64_t days) {
    int64_t from_year_1 = days + DAYS_BEFORE_1970;
    int year = (int)(from_year_1 / 366) + 1; // never too late, so that it is only moved on
    while (days_before_year(year + 1) <= from_year_1)
        year++;
    int left = (int)(from_year_1 - days_before_year(year)), month = 1;
    while (left >= hd_month_days(year, month))
        left -= hd_month_days(year, month++);
    return (struct hd_date){year, month, left + 1};
}

int hd_date_weekday(int64_t days) {
    return (int)(days + 4 - hd_floor_div(days + 4, 7) * 7); // 1970-01-01 was a Thursday
}
