#include "base/cron.h"

#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/calendar.h"

#define TEXT_MAX 200
#define SEARCH_DAYS (40 * 366) // 29 February on a given weekday comes every 28 years, and every 40 around a century
#define MINUTES_OF_DAY 1440

// --- fields -----------------------------------------------------------------------------------------------------------

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                          "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

enum field_id { MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELDS };
static const struct field {
    const char *name;
    int min, max, span; // of a step: less than the span
    const char *const *names;
} fields[FIELDS] = {
    [MINUTE] = {"minute", 0, 59, 60, NULL},
    [HOUR] = {"hour", 0, 23, 24, NULL},
    [DAY] = {"day of month", 1, 31, 31, NULL},
    [MONTH] = {"month", 1, 12, 12, month_names},
    [WEEKDAY] = {"day of week", 0, 7, 7, weekday_names},
};

struct reader {
    const struct field *field;
    struct hd_str text; // of the field
    const char *p, *end;
    struct hd_err *err;
};

static enum hd_status wrong(struct reader *r, const char *hint, const char *fmt, ...) HD_PRINTF(3, 4);
static enum hd_status wrong(struct reader *r, const char *hint, const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    hd_err_setv(r->err, HD_INVALID, fmt, ap);
    va_end(ap);
    hd_err_wrap(r->err, "%s \"%.*s\"", r->field->name, (int)r->text.len, r->text.ptr);
    if (hint)
        hd_err_hint(r->err, "%s", hint);
    return HD_INVALID;
}

static bool take_char(struct reader *r, char c) {
    if (r->p == r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static enum hd_status take_digits(struct reader *r, const char *what, int *ret) {
    int n = 0;

    if (r->p == r->end || !is_digit(*r->p))
        return wrong(r, NULL, "%s is missing", what);
    for (; r->p < r->end && is_digit(*r->p); r->p++)
        n = n < 1000 ? n * 10 + *r->p - '0' : n;
    *ret = n;
    return HD_OK;
}

static bool is_letter(char c) {
    return (c | 32) >= 'a' && (c | 32) <= 'z';
}

static enum hd_status take_name(struct reader *r, int *ret) {
    const char *start = r->p;

    while (r->p < r->end && is_letter(*r->p))
        r->p++;
    size_t len = (size_t)(r->p - start);
    for (int i = 0; r->field->names && r->field->names[i]; i++) {
        if (len == 3 && strncasecmp(start, r->field->names[i], 3) == 0) {
            *ret = i + r->field->min;
            return HD_OK;
        }
    }
    if (!r->field->names)
        return wrong(r, "this field takes numbers, *, lists, ranges and steps", "\"%.*s\" is not a number", (int)len,
                     start);
    return wrong(r, r->field->min ? "write 1 to 12, or jan to dec" : "write 0 to 7, or sun to sat",
                 "\"%.*s\" is not a name", (int)len, start);
}

static enum hd_status take_value(struct reader *r, int *ret) {
    *ret = 0;
    bool letter = r->p < r->end && is_letter(*r->p), word = letter && r->p + 1 < r->end && is_letter(r->p[1]);

    if (r->p < r->end && strchr(word ? "?#" : "?#LW", *r->p))
        return wrong(r, "use *, values, lists, ranges and steps", "'%c' belongs to other kinds of cron", *r->p);
    if (letter)
        return take_name(r, ret);
    HD_TRY(take_digits(r, "a value", ret));
    if (*ret < r->field->min || *ret > r->field->max)
        return wrong(r, NULL, "must be from %d to %d", r->field->min, r->field->max);
    return HD_OK;
}

static enum hd_status take_range(struct reader *r, int *ret_low, int *ret_high, bool *ret_single) {
    *ret_single = false;
    *ret_low = *ret_high = 0;
    if (take_char(r, '*')) {
        *ret_low = r->field->min;
        *ret_high = r->field->min + r->field->span - 1;
        return HD_OK;
    }
    HD_TRY(take_value(r, ret_low));
    if (!take_char(r, '-')) {
        *ret_high = *ret_low;
        *ret_single = true;
        return HD_OK;
    }
    HD_TRY(take_value(r, ret_high));
    if (r->field == &fields[WEEKDAY] && *ret_high == 0 && *ret_low > 0)
        *ret_high = 7; // fri-sun
    if (*ret_low > *ret_high)
        return wrong(r, "split it at the end of the field, for example 22-23,0-2 for the hours from 22 to 2",
                     "the range %d-%d goes backwards", *ret_low, *ret_high);
    return HD_OK;
}

// One item of a list.
static enum hd_status take_item(struct reader *r, uint64_t *bits) {
    int low = 0, high = 0, step = 1;
    bool single;

    HD_TRY(take_range(r, &low, &high, &single));
    if (take_char(r, '/')) {
        if (single)
            return wrong(r, "say where it ends: 5-59/15, or */15", "a step needs a range or * before it");
        HD_TRY(take_digits(r, "the step", &step));
        if (step < 1 || step >= r->field->span)
            return wrong(r, "a larger step would fire at the first value only: write that value",
                         "a step must be from 1 to %d", r->field->span - 1);
    }
    for (int value = low; value <= high; value += step)
        *bits |= UINT64_C(1) << value;
    return HD_OK;
}

static enum hd_status take_field(struct reader *r, uint64_t *ret) {
    uint64_t bits = 0;

    do
        HD_TRY(take_item(r, &bits));
    while (take_char(r, ','));
    if (r->p != r->end)
        return wrong(r, "a field is a list of values, ranges and steps: 0,30 or 9-17 or */15",
                     "'%.*s' does not belong there", (int)(r->end - r->p), r->p);
    *ret = bits;
    return HD_OK;
}

// --- expressions ------------------------------------------------------------------------------------------------------

static const char *expand(const char *text) {
    static const struct {
        const char *name, *text;
    } rows[] = {{"@hourly", "0 * * * *"},
                {"@daily", "0 0 * * *"},
                {"@weekly", "0 0 * * 0"},
                {"@monthly", "0 0 1 * *"},
                {"@yearly", "0 0 1 1 *"}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcasecmp(text, rows[i].name) == 0)
            return rows[i].text;
    return *text == '@' ? NULL : text;
}

static enum hd_status split(const char *text, struct hd_err *err, struct hd_str ret[FIELDS]) {
    size_t n = 0;

    for (const char *p = text + strspn(text, " \t"); *p; p += strspn(p, " \t")) {
        size_t len = strcspn(p, " \t");
        if (n < FIELDS)
            ret[n] = (struct hd_str){p, len};
        n++;
        p += len;
    }
    if (n == FIELDS)
        return HD_OK;
    hd_err_set(err, HD_INVALID,
               "a cron expression has 5 fields: minute, hour, day of month, month, day of week; this has %zu", n);
    hd_err_hint(err, "for example \"30 3 * * 1-5\": at 3:30 from Monday to Friday; there are no seconds and no years");
    return HD_INVALID;
}

// A day of the week comes on every date in the end, so that only dates that no month has remain.
static bool can_fire(const struct hd_cron *cron) {
    bool ever = !cron->any_day && !cron->any_weekday;

    for (int month = 1; month <= 12 && !ever; month++)
        for (int day = 1; day <= hd_month_days(2000, month) && !ever; day++)
            ever = (cron->months >> month & 1) && (cron->days >> day & 1);
    return ever;
}

enum hd_status hd_cron_parse(const char *text, struct hd_err *err, struct hd_cron *ret) {
    struct hd_str parts[FIELDS];
    uint64_t bits[FIELDS];

    if (strlen(text) > TEXT_MAX)
        return hd_err_set(err, HD_INVALID, "a cron expression has at most %d bytes", TEXT_MAX);
    const char *expanded = expand(text);
    if (!expanded) {
        hd_err_set(err, HD_INVALID, "\"%s\" is not known", text);
        hd_err_hint(err, "there are @hourly, @daily, @weekly, @monthly and @yearly");
        return HD_INVALID;
    }
    HD_TRY(split(expanded, err, parts));
    for (int i = 0; i < FIELDS; i++) {
        struct reader r = {&fields[i], parts[i], parts[i].ptr, parts[i].ptr + parts[i].len, err};
        HD_TRY(take_field(&r, &bits[i]));
    }
    struct hd_cron cron = {.minutes = bits[MINUTE],
                           .hours = (uint32_t)bits[HOUR],
                           .days = (uint32_t)bits[DAY],
                           .months = (uint32_t)bits[MONTH],
                           .weekdays = (uint8_t)((bits[WEEKDAY] | bits[WEEKDAY] >> 7) & 127),
                           .any_hour = parts[HOUR].ptr[0] == '*',
                           .any_day = parts[DAY].ptr[0] == '*',
                           .any_weekday = parts[WEEKDAY].ptr[0] == '*'};
    if (!can_fire(&cron)) {
        hd_err_set(err, HD_INVALID, "\"%s\" never fires: none of its months has such a day", text);
        hd_err_hint(err, "the day of month is \"%.*s\", the month \"%.*s\"", (int)parts[DAY].len, parts[DAY].ptr,
                    (int)parts[MONTH].len, parts[MONTH].ptr);
        return HD_INVALID;
    }
    *ret = cron;
    return HD_OK;
}

// --- the next time ----------------------------------------------------------------------------------------------------

static bool day_fits(const struct hd_cron *cron, int64_t days, struct hd_date date) {
    bool day = cron->days >> date.day & 1, weekday = cron->weekdays >> hd_date_weekday(days) & 1;

    return cron->any_day || cron->any_weekday ? day && weekday : day || weekday;
}

// The first minute of a day that fits, from the given one on; -1: none.
static int minute_in_day(const struct hd_cron *cron, int from) {
    for (int hour = from / 60, minute = from % 60; hour < 24; hour++, minute = 0) {
        uint64_t left = cron->minutes >> minute;
        if ((cron->hours >> hour & 1) && left)
            return hour * 60 + minute + __builtin_ctzll(left);
    }
    return -1;
}

// The first time on the clock after `local_s` that fits.
static bool next_local(const struct hd_cron *cron, int64_t local_s, int64_t *ret_s) {
    int64_t minute = hd_floor_div(local_s, 60) + 1, days = hd_floor_div(minute, MINUTES_OF_DAY);
    int from = (int)(minute - days * MINUTES_OF_DAY);
    int64_t end = days + SEARCH_DAYS;

    while (days < end && days * HD_DAY_S <= HD_TIME_MAX_S) {
        struct hd_date date = hd_date_of(days);
        if (!(cron->months >> date.month & 1)) {
            days += hd_month_days(date.year, date.month) - date.day + 1;
            from = 0;
            continue;
        }
        int found = day_fits(cron, days, date) ? minute_in_day(cron, from) : -1;
        if (found >= 0) {
            *ret_s = days * HD_DAY_S + found * 60;
            return true;
        }
        days++;
        from = 0;
    }
    return false;
}

// Times of the day: each at the first moment at which the clock shows it or something later.
static bool next_fixed(const struct hd_cron *cron, const struct hd_zone *zone, int64_t after_s, int64_t *ret_s) {
    int64_t local_s = hd_zone_to_local(zone, after_s);

    while (next_local(cron, local_s, &local_s)) {
        *ret_s = hd_zone_to_utc(zone, local_s);
        if (*ret_s > after_s) // else it comes again, and has fired
            return true;
    }
    return false;
}

// Real time: each moment at which the clock shows a time that fits.
static bool next_elapsed(const struct hd_cron *cron, const struct hd_zone *zone, int64_t after_s, int64_t *ret_s) {
    struct hd_zone_span span = hd_zone_span_at(zone, after_s);
    int64_t local_s = after_s + span.offset_s;

    while (next_local(cron, local_s, &local_s)) {
        *ret_s = local_s - span.offset_s;
        if (*ret_s < span.until_s)
            return true;
        span = hd_zone_span_at(zone, span.until_s);
        local_s = span.from_s - 1 + span.offset_s;
    }
    return false;
}

enum hd_status hd_cron_next(const struct hd_cron *cron, const struct hd_zone *zone, int64_t after_ms, int64_t *ret_ms) {
    int64_t after_s = hd_floor_div(after_ms, 1000), found_s = 0;

    if (after_s < HD_TIME_MIN_S + 2 * HD_DAY_S) // room for any offset
        after_s = HD_TIME_MIN_S + 2 * HD_DAY_S;
    if (after_s > HD_TIME_MAX_S - 2 * HD_DAY_S)
        return HD_MISSING;
    if (!(cron->any_hour ? next_elapsed : next_fixed)(cron, zone, after_s, &found_s))
        return HD_MISSING;
    *ret_ms = found_s * 1000;
    return HD_OK;
}
