#include "base/tz.h"

#include <string.h>

#include "base/calendar.h"

#define HEADER_BYTES 44
#define OFFSET_MAX_S (26 * 3600) // as RFC 8536 says
#define HOUR_MAX 167             // in a rule: a week, less an hour

const struct hd_zone hd_zone_utc = {0};

// --- names ------------------------------------------------------------------------------------------------------------

static bool letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static bool digit(char c) {
    return c >= '0' && c <= '9';
}

bool hd_zone_name_valid(const char *name) {
    size_t n = 0;

    for (; name[n]; n++) {
        bool inside = n > 0 && name[n - 1] != '/';
        if (n == HD_ZONE_NAME_MAX || !(letter(name[n]) || (inside && (digit(name[n]) || strchr("_+-/", name[n])))))
            return false;
    }
    return n > 0 && name[0] >= 'A' && name[0] <= 'Z' && name[n - 1] != '/';
}

// --- the rule: "CET-1CEST,M3.5.0,M10.5.0/3" ---------------------------------------------------------------------------

// Each takes its part from *p and tells whether it was there.
static bool take_char(const char **p, char c) {
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

static bool take_number(const char **p, int min, int max, int *ret) {
    int n = 0;

    if (!digit(**p))
        return false;
    for (; digit(**p); (*p)++) {
        n = n * 10 + **p - '0';
        if (n > max)
            return false;
    }
    *ret = n;
    return n >= min;
}

static bool take_abbreviation(const char **p) {
    const char *start = *p;

    if (take_char(p, '<')) {
        while (letter(**p) || digit(**p) || **p == '+' || **p == '-')
            (*p)++;
        return take_char(p, '>');
    }
    while (letter(**p))
        (*p)++;
    return *p - start >= 3;
}

// [+-]h[:m[:s]]
static bool take_time(const char **p, int32_t *ret_s) {
    bool negative = take_char(p, '-');
    int hours, minutes = 0, seconds = 0;

    if (!negative)
        (void)take_char(p, '+');
    if (!take_number(p, 0, HOUR_MAX, &hours))
        return false;
    if (take_char(p, ':')) {
        if (!take_number(p, 0, 59, &minutes))
            return false;
        if (take_char(p, ':') && !take_number(p, 0, 59, &seconds))
            return false;
    }
    int32_t total = hours * 3600 + minutes * 60 + seconds;
    *ret_s = negative ? -total : total;
    return true;
}

// POSIX counts offsets west of Greenwich.
static bool take_offset(const char **p, int32_t *ret_s) {
    if (!take_time(p, ret_s) || *ret_s > OFFSET_MAX_S || *ret_s < -OFFSET_MAX_S)
        return false;
    *ret_s = -*ret_s;
    return true;
}

static bool take_change(const char **p, struct hd_zone_change *ret) {
    *ret = (struct hd_zone_change){.kind = HD_ZONE_ZERO_BASED, .time_s = 2 * 3600};
    if (!take_char(p, ','))
        return false;
    if (take_char(p, 'M')) {
        ret->kind = HD_ZONE_WEEKDAY;
        if (!take_number(p, 1, 12, &ret->month) || !take_char(p, '.') || !take_number(p, 1, 5, &ret->week) ||
            !take_char(p, '.') || !take_number(p, 0, 6, &ret->day))
            return false;
    } else if (take_char(p, 'J')) {
        ret->kind = HD_ZONE_JULIAN;
        if (!take_number(p, 1, 365, &ret->day))
            return false;
    } else if (!take_number(p, 0, 365, &ret->day)) {
        return false;
    }
    return !take_char(p, '/') || take_time(p, &ret->time_s);
}

static bool parse_rule(const char *text, struct hd_zone_rule *ret) {
    const char *p = text;

    *ret = (struct hd_zone_rule){.present = true};
    if (!take_abbreviation(&p) || !take_offset(&p, &ret->standard_offset_s))
        return false;
    if (!*p)
        return true;
    ret->has_summer = true;
    ret->summer_offset_s = ret->standard_offset_s + 3600;
    if (!take_abbreviation(&p) || (*p != ',' && !take_offset(&p, &ret->summer_offset_s)))
        return false;
    return take_change(&p, &ret->to_summer) && take_change(&p, &ret->to_standard) && !*p;
}

static int64_t change_local_s(const struct hd_zone_change *change, int year) {
    struct hd_date date = {year, 1, 1};
    int64_t days = hd_date_days(date);

    switch (change->kind) {
    case HD_ZONE_JULIAN:
        days += change->day - 1 + (change->day > 59 && hd_month_days(year, 2) == 29);
        break;
    case HD_ZONE_ZERO_BASED:
        days += change->day;
        break;
    case HD_ZONE_WEEKDAY:
        date.month = change->month;
        days = hd_date_days(date);
        days += (change->day - hd_date_weekday(days) + 7) % 7 + 7 * (change->week - 1);
        if (hd_date_of(days).month != change->month) // the fifth is the last
            days -= 7;
        break;
    }
    return days * HD_DAY_S + change->time_s;
}

static struct hd_zone_span rule_span(const struct hd_zone_rule *rule, int64_t utc_s) {
    struct hd_zone_span span = {INT64_MIN, INT64_MAX, rule->standard_offset_s};

    if (!rule->has_summer)
        return span;
    int year = hd_date_of(hd_floor_div(utc_s, HD_DAY_S)).year;
    // A change that falls on the moment of another replaces it: where summer never ends, its end and its start coincide.
    for (int y = year - 1; y <= year + 1; y++) {
        const struct {
            int64_t at_s;
            int32_t offset_s;
        } summer = {change_local_s(&rule->to_summer, y) - rule->standard_offset_s, rule->summer_offset_s},
          standard = {change_local_s(&rule->to_standard, y) - rule->summer_offset_s, rule->standard_offset_s},
          changes[2] = {summer.at_s < standard.at_s ? summer : standard,
                        summer.at_s < standard.at_s ? standard : summer};
        for (int i = 0; i < 2; i++) {
            if (changes[i].at_s <= utc_s && changes[i].at_s >= span.from_s) {
                span.from_s = changes[i].at_s;
                span.offset_s = changes[i].offset_s;
            } else if (changes[i].at_s > utc_s && changes[i].at_s < span.until_s) {
                span.until_s = changes[i].at_s;
            }
        }
    }
    return span;
}

// --- TZif -------------------------------------------------------------------------------------------------------------

struct header {
    int version;
    uint32_t n_is_utc, n_is_standard, n_leaps, n_times, n_types, n_chars;
};

static uint64_t big_endian(const uint8_t *p, size_t len) {
    uint64_t n = 0;

    for (size_t i = 0; i < len; i++)
        n = n << 8 | p[i];
    return n;
}

static bool read_header(const uint8_t *p, size_t len, struct header *ret) {
    uint32_t *counts[] = {&ret->n_is_utc, &ret->n_is_standard, &ret->n_leaps,
                          &ret->n_times,  &ret->n_types,       &ret->n_chars};

    if (len < HEADER_BYTES || memcmp(p, "TZif", 4) != 0)
        return false;
    ret->version = p[4] ? p[4] - '0' : 1;
    for (size_t i = 0; i < 6; i++) {
        *counts[i] = (uint32_t)big_endian(p + 20 + 4 * i, 4);
        if (*counts[i] > HD_ZONE_BYTES_MAX)
            return false;
    }
    return ret->n_types > 0;
}

static size_t body_bytes(const struct header *h, size_t time_bytes) {
    return h->n_times * (time_bytes + 1) + (size_t)h->n_types * 6 + h->n_chars + h->n_leaps * (time_bytes + 4) +
           h->n_is_standard + h->n_is_utc;
}

static bool read_body(struct hd_arena *arena, const uint8_t *p, const struct header *h, size_t time_bytes,
                      struct hd_zone *ret) {
    const uint8_t *indexes = p + h->n_times * time_bytes, *types = indexes + h->n_times;
    int64_t *at_s = HD_NEW_ARRAY(arena, h->n_times, int64_t);
    int32_t *offset_s = HD_NEW_ARRAY(arena, h->n_times, int32_t);

    for (uint32_t i = 0; i < h->n_types; i++) {
        int32_t offset = (int32_t)big_endian(types + (size_t)i * 6, 4);
        if (offset > OFFSET_MAX_S || offset < -OFFSET_MAX_S)
            return false;
    }
    for (uint32_t i = 0; i < h->n_times; i++) {
        uint64_t at = big_endian(p + i * time_bytes, time_bytes);
        at_s[i] = time_bytes == 4 ? (int32_t)at : (int64_t)at;
        if (indexes[i] >= h->n_types || (i > 0 && at_s[i] <= at_s[i - 1]))
            return false;
        offset_s[i] = (int32_t)big_endian(types + (size_t)indexes[i] * 6, 4);
    }
    ret->n = h->n_times;
    ret->at_s = at_s;
    ret->offset_s = offset_s;
    ret->first_offset_s = (int32_t)big_endian(types, 4);
    return true;
}

// "\n<rule>\n"; an empty rule is none.
static bool read_footer(struct hd_arena *arena, const uint8_t *p, size_t len, struct hd_zone_rule *ret) {
    const uint8_t *end = len > 1 && p[0] == '\n' ? memchr(p + 1, '\n', len - 1) : NULL;

    if (!end)
        return false;
    return end == p + 1 || parse_rule(hd_arena_strndup(arena, (const char *)p + 1, (size_t)(end - p - 1)), ret);
}

enum hd_status hd_zone_parse(struct hd_arena *arena, const void *data, size_t len, struct hd_err *err,
                             const struct hd_zone **ret) {
    const uint8_t *p = data, *end = p + len;
    struct hd_zone *zone = HD_NEW(arena, struct hd_zone);
    size_t time_bytes = 4;
    struct header h;

    if (len > HD_ZONE_BYTES_MAX || !read_header(p, len, &h))
        return hd_err_set(err, HD_INVALID, "this is not the data of a time zone");
    p += HEADER_BYTES;
    if (h.version >= 2 && body_bytes(&h, 4) <= (size_t)(end - p)) { // the same again, with times of 64 bits
        p += body_bytes(&h, 4);
        time_bytes = 8;
        if (!read_header(p, (size_t)(end - p), &h))
            return hd_err_set(err, HD_INVALID, "the data of the time zone is damaged");
        p += HEADER_BYTES;
    }
    if (h.n_leaps)
        return hd_err_set(err, HD_INVALID, "this time zone counts leap seconds, which Unix time does not");
    if (body_bytes(&h, time_bytes) > (size_t)(end - p) || !read_body(arena, p, &h, time_bytes, zone))
        return hd_err_set(err, HD_INVALID, "the data of the time zone is damaged");
    p += body_bytes(&h, time_bytes);
    if (time_bytes == 8 && !read_footer(arena, p, (size_t)(end - p), &zone->rule))
        return hd_err_set(err, HD_INVALID, "the rule at the end of the time zone is damaged");
    *ret = zone;
    return HD_OK;
}

// --- looking up -------------------------------------------------------------------------------------------------------

struct hd_zone_span hd_zone_span_at(const struct hd_zone *zone, int64_t utc_s) {
    size_t low = 0, high = zone->n; // how many changes are not after it

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (zone->at_s[middle] <= utc_s)
            low = middle + 1;
        else
            high = middle;
    }
    struct hd_zone_span span = {low ? zone->at_s[low - 1] : INT64_MIN, low < zone->n ? zone->at_s[low] : INT64_MAX,
                                low ? zone->offset_s[low - 1] : zone->first_offset_s};
    if (low < zone->n || !zone->rule.present)
        return span;
    struct hd_zone_span rule = rule_span(&zone->rule, utc_s);
    if (rule.from_s > span.from_s)
        span.from_s = rule.from_s;
    span.until_s = rule.until_s;
    span.offset_s = rule.offset_s;
    return span;
}

int64_t hd_zone_to_local(const struct hd_zone *zone, int64_t utc_s) {
    return utc_s + hd_zone_span_at(zone, utc_s).offset_s;
}

int64_t hd_zone_to_utc(const struct hd_zone *zone, int64_t local_s) {
    struct hd_zone_span span = hd_zone_span_at(zone, local_s - OFFSET_MAX_S); // no clock shows it yet

    while (span.until_s != INT64_MAX && local_s - span.offset_s >= span.until_s)
        span = hd_zone_span_at(zone, span.until_s);
    int64_t utc_s = local_s - span.offset_s;
    return utc_s > span.from_s ? utc_s : span.from_s;
}
