#include "base/cron.h"

#include "adapter/zoneinfo.h"
#include "base/buf.h"
#include "base/calendar.h"
#include "tests/unit/cron_table.h"
#include "tests/unit/test.h"

static struct hd_arena arena;

static int64_t at(int year, int month, int day, int hour, int minute) {
    return hd_date_days((struct hd_date){year, month, day}) * HD_DAY_S + hour * 3600 + minute * 60;
}

static const struct hd_zone *zone_named(const char *name) {
    struct hd_ctx cx = {.arena = &arena};
    const struct hd_zone *zone = &hd_zone_utc;
    if (hd_zoneinfo_read(&cx, name, &zone) != HD_OK) {
        test_failures++;
        printf("%s\n", cx.err.text);
    }
    return zone;
}

// Data of a zone with one type before all changes and a rule.
static enum hd_status parse_footer(const char *rule, struct hd_err *err, const struct hd_zone **ret) {
    HD_AUTO_BUF struct hd_buf data = {0};
    static const char header[44] = "TZif2", body[7] = {0};
    for (int i = 0; i < 2; i++) {
        char counted[44];
        memcpy(counted, header, sizeof(counted));
        counted[39] = 1; // types
        counted[43] = 1; // characters
        hd_buf_add(&data, counted, sizeof(counted));
        hd_buf_add(&data, body, sizeof(body));
    }
    hd_buf_addf(&data, "\n%s\n", rule);
    return hd_zone_parse(&arena, data.data, data.len, err, ret);
}
static const struct hd_zone *zone_of_rule(const char *rule) {
    const struct hd_zone *zone = &hd_zone_utc;
    struct hd_err err = {0};
    CHECK(parse_footer(rule, &err, &zone) == HD_OK);
    return zone;
}

static struct hd_cron cron_of(const char *text) {
    struct hd_cron cron = {0};
    struct hd_err err = {0};
    if (hd_cron_parse(text, &err, &cron) != HD_OK) {
        test_failures++;
        printf("%s: %s\n", text, err.text);
    }
    return cron;
}

static int64_t next_s(const char *expr, const struct hd_zone *zone, int64_t after_s) {
    struct hd_cron cron = cron_of(expr);
    int64_t ms;
    return hd_cron_next(&cron, zone, after_s * 1000, &ms) == HD_OK ? ms / 1000 : -1;
}

TEST(days_and_dates_go_both_ways) {
    CHECK_INT(hd_date_days((struct hd_date){1970, 1, 1}), 0);
    CHECK_INT(hd_date_days((struct hd_date){2000, 3, 1}), 11017);
    CHECK_INT(hd_date_days((struct hd_date){1, 1, 1}) * HD_DAY_S, HD_TIME_MIN_S);
    CHECK_INT(hd_date_days((struct hd_date){9999, 12, 31}) * HD_DAY_S + HD_DAY_S - 1, HD_TIME_MAX_S);
    CHECK_INT(hd_date_weekday(0), 4);
    CHECK_INT(hd_date_weekday(-5), 6);
    for (int64_t day = -719162; day < 2932897; day += 13) {
        struct hd_date date = hd_date_of(day);
        if (hd_date_days(date) != day || date.day < 1 || date.day > hd_month_days(date.year, date.month))
            CHECK_INT(hd_date_days(date), day);
    }
}

TEST(the_rule_holds_for_ever) {
    const struct hd_zone *madrid = zone_of_rule("CET-1CEST,M3.5.0,M10.5.0/3");
    CHECK_INT(hd_zone_to_local(madrid, at(2500, 1, 1, 12, 0)), at(2500, 1, 1, 13, 0));
    CHECK_INT(hd_zone_to_local(madrid, at(2500, 7, 1, 12, 0)), at(2500, 7, 1, 14, 0));
    struct hd_zone_span span = hd_zone_span_at(madrid, at(2031, 3, 30, 1, 0)); // the moment itself is summer
    CHECK_INT(span.from_s, at(2031, 3, 30, 1, 0));
    CHECK_INT(span.until_s, at(2031, 10, 26, 1, 0));
    CHECK_INT(span.offset_s, 7200);
    const struct hd_zone *lord_howe = zone_of_rule("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"); // summer over new year
    CHECK_INT(hd_zone_span_at(lord_howe, at(2030, 12, 31, 23, 0)).offset_s, 39600);
    CHECK_INT(hd_zone_span_at(lord_howe, at(2030, 6, 1, 0, 0)).offset_s, 37800);
    const struct hd_zone *dublin = zone_of_rule("IST-1GMT0,M10.5.0,M3.5.0/1"); // winter is the exception
    CHECK_INT(hd_zone_span_at(dublin, at(2030, 1, 1, 0, 0)).offset_s, 0);
    CHECK_INT(hd_zone_span_at(dublin, at(2030, 7, 1, 0, 0)).offset_s, 3600);
    const struct hd_zone *nuuk = zone_of_rule("<-02>2<-01>,M3.5.0/-1,M10.5.0/0"); // on the evening before
    CHECK_INT(hd_zone_span_at(nuuk, at(2030, 7, 1, 0, 0)).from_s, at(2030, 3, 31, 1, 0));
    const struct hd_zone *always = zone_of_rule("XXX3EDT4,0/0,J365/23");
    CHECK_INT(hd_zone_span_at(always, at(2030, 1, 1, 3, 0)).offset_s, -14400);
    CHECK_INT(hd_zone_span_at(always, at(2030, 1, 1, 2, 59)).offset_s, -14400);
    CHECK_INT(hd_zone_span_at(zone_of_rule("<+0545>-5:45"), 0).offset_s, 20700);
    const struct hd_zone *julian = zone_of_rule("AAA0BBB,J60/0,300/0");
    CHECK_INT(hd_zone_span_at(julian, at(2032, 5, 1, 0, 0)).from_s, at(2032, 3, 1, 0, 0)); // 29 February does not count
    CHECK_INT(hd_zone_span_at(julian, at(2032, 5, 1, 0, 0)).until_s, at(2032, 10, 26, 23, 0));
}

TEST(bad_rules_and_damaged_data_are_refused) {
    static const char *const bad[] = {"C",
                                      "CET",
                                      "CET-27",
                                      "CET-1CEST",
                                      "CET-1CEST,M3.5.0",
                                      "CET-1CEST,M13.5.0,M10.5.0",
                                      "CET-1CEST,M3.6.0,M10.5.0",
                                      "CET-1CEST,M3.5.7,M10.5.0",
                                      "CET-1CEST,J0,J10",
                                      "CET-1CEST,366,1",
                                      "CET-1CEST,M3.5.0/168,M10.5.0",
                                      "CET-1CEST,M3.5.0,M10.5.0x",
                                      "<CET-1"};
    struct hd_err err = {0};
    const struct hd_zone *zone;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(parse_footer(bad[i], &err, &zone) == HD_INVALID);
    char data[102] = "TZif2";
    for (size_t len = 0; len <= sizeof(data); len++)
        CHECK(hd_zone_parse(&arena, data, len, &err, &zone) == HD_INVALID);
    data[39] = 1;
    memset(data + 20, 0xff, 4); // more than there is
    CHECK(hd_zone_parse(&arena, data, sizeof(data), &err, &zone) == HD_INVALID);
}

TEST(names_of_zones_stay_in_their_folder) {
    static const char *const good[] = {"Europe/Madrid", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "UTC",
                                       "GB-Eire"};
    static const char *const bad[] = {"",
                                      "/etc/passwd",
                                      "../../etc/passwd",
                                      "Europe/../../x",
                                      "Europe//Madrid",
                                      "Europe/Madrid/",
                                      "Europe/.x",
                                      "localtime",
                                      "right/UTC",
                                      "Europe/Mad rid",
                                      "zone.tab",
                                      "Europe/-x",
                                      "\xc3\x89urope"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        CHECK(hd_zone_name_valid(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(!hd_zone_name_valid(bad[i]));
    struct hd_ctx cx = {.arena = &arena};
    const struct hd_zone *zone;
    CHECK_INT(hd_zoneinfo_read(&cx, "Europe/Madrit", &zone), HD_INVALID);
    CHECK(strstr(cx.err.text, "Europe/Madrit") && strstr(cx.err.hint, "Area/City"));
    CHECK_INT(hd_zoneinfo_read(&cx, "Europe", &zone), HD_INVALID);
    CHECK_INT(hd_zoneinfo_read(&cx, "../zoneinfo/Europe/Madrid", &zone), HD_INVALID);
}

TEST(recorded_changes_and_sub_minute_offsets) {
    const struct hd_zone *monrovia = zone_named("Africa/Monrovia"); // 44 minutes and 30 seconds behind until 1972
    CHECK_INT(hd_zone_to_local(monrovia, at(1971, 6, 1, 12, 0)), at(1971, 6, 1, 11, 15) + 30);
    CHECK_INT(next_s("0 6 * * *", monrovia, at(1971, 6, 1, 12, 0)), at(1971, 6, 2, 6, 44) + 30);
    const struct hd_zone *madrid = zone_named("Europe/Madrid");
    CHECK_INT(hd_zone_to_local(madrid, at(1890, 1, 1, 0, 0)), at(1889, 12, 31, 23, 45) + 16); // before all of them
    CHECK_INT(hd_zone_to_utc(madrid, at(2018, 3, 25, 2, 30)), at(2018, 3, 25, 1, 0));         // left out
    CHECK_INT(hd_zone_to_utc(madrid, at(2018, 10, 28, 2, 30)), at(2018, 10, 28, 0, 30));      // twice
    CHECK_INT(hd_zone_to_utc(madrid, at(2018, 7, 1, 2, 30)), at(2018, 7, 1, 0, 30));
}

TEST(clocks_that_jump) {
    const struct hd_zone *madrid = zone_of_rule("CET-1CEST,M3.5.0,M10.5.0/3");
    int64_t eve = at(2031, 3, 29, 12, 0), jump = at(2031, 3, 30, 1, 0);
    CHECK_INT(next_s("30 2 * * *", madrid, eve), jump);   // left out: at the jump
    CHECK_INT(next_s("0,30 2 * * *", madrid, eve), jump); // both, once
    CHECK_INT(next_s("0,30 2 * * *", madrid, jump), at(2031, 3, 31, 0, 0));
    CHECK_INT(next_s("0 2,3 * * *", madrid, eve), jump); // the same moment is 3:00
    CHECK_INT(next_s("0 2,3 * * *", madrid, jump), at(2031, 3, 31, 0, 0));
    CHECK_INT(next_s("30 * * * *", madrid, at(2031, 3, 30, 0, 30)), at(2031, 3, 30, 1, 30)); // an hour later: 3:30
    CHECK_INT(next_s("0 */2 * * *", madrid, at(2031, 3, 29, 23, 0)), at(2031, 3, 30, 2, 0)); // after 0:00 comes 4:00
    int64_t back = at(2031, 10, 26, 1, 0);
    CHECK_INT(next_s("30 2 * * *", madrid, back - 7200), back - 1800); // twice: the first
    CHECK_INT(next_s("30 2 * * *", madrid, back - 1800), at(2031, 10, 27, 1, 30));
    CHECK_INT(next_s("30 2 * * *", madrid, back + 60), at(2031, 10, 27, 1, 30)); // within the second
    CHECK_INT(next_s("30 * * * *", madrid, back - 1800), back + 1800);           // each hour, both
    CHECK_INT(next_s("0 2 29 2 *", madrid, at(2096, 3, 1, 0, 0)), at(2104, 2, 29, 1, 0));
}

TEST(the_time_is_after_and_at_a_full_minute) {
    struct hd_cron cron = cron_of("* * * * *");
    int64_t ms;
    CHECK(hd_cron_next(&cron, &hd_zone_utc, 0, &ms) == HD_OK && ms == 60000);
    CHECK(hd_cron_next(&cron, &hd_zone_utc, 59999, &ms) == HD_OK && ms == 60000);
    CHECK(hd_cron_next(&cron, &hd_zone_utc, -1, &ms) == HD_OK && ms == 0);
    CHECK(hd_cron_next(&cron, &hd_zone_utc, INT64_MAX, &ms) == HD_MISSING);
    CHECK(hd_cron_next(&cron, &hd_zone_utc, INT64_MIN, &ms) == HD_OK);
}

TEST(fields_mean_what_they_say) {
    static const struct {
        const char *expr;
        int month, day, hour, minute; // after Wednesday, 1 May 2030, 10:07
    } rows[] = {{"* * * * *", 5, 1, 10, 8},      {"*/15 * * * *", 5, 1, 10, 15}, {"5 * * * *", 5, 1, 11, 5},
                {"0-6 * * * *", 5, 1, 11, 0},    {"0 4,22 * * *", 5, 1, 22, 0},  {"0 0 * * 0", 5, 5, 0, 0},
                {"0 0 * * 7", 5, 5, 0, 0},       {"0 0 * * SUN", 5, 5, 0, 0},    {"0 0 * * fri-sun", 5, 3, 0, 0},
                {"0 0 * * 6-7", 5, 4, 0, 0},     {"0 0 * * Wed", 5, 8, 0, 0},    {"0 0 * jul *", 7, 1, 0, 0},
                {"0 0 13 * 5", 5, 3, 0, 0},      {"0 0 */2 * 5", 5, 3, 0, 0},    {"0 0 13 * */2", 6, 13, 0, 0},
                {"0 0 31 4,6,7 *", 7, 31, 0, 0}, {"@hourly", 5, 1, 11, 0},       {"@daily", 5, 2, 0, 0},
                {"@weekly", 5, 5, 0, 0},         {"@monthly", 6, 1, 0, 0},       {" 7\t10  1 5 * ", 0, 0, 0, 0},
                {"0 10-12/2 * * *", 5, 1, 12, 0}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t want =
            rows[i].month ? at(2030, rows[i].month, rows[i].day, rows[i].hour, rows[i].minute) : at(2031, 5, 1, 10, 7);
        int64_t got = next_s(rows[i].expr, &hd_zone_utc, at(2030, 5, 1, 10, 7));
        if (got != want)
            printf("%s:\n", rows[i].expr);
        CHECK_INT(got, want);
    }
    CHECK_INT(next_s("@yearly", &hd_zone_utc, at(2030, 5, 1, 0, 0)), at(2031, 1, 1, 0, 0));
}

TEST(what_is_wrong_is_named) {
    static const struct {
        const char *expr, *text, *hint;
    } rows[] = {
        {"", "this has 0", "for example"},
        {"* * * *", "this has 4", "for example"},
        {"0 0 3 * * *", "this has 6", "no seconds"},
        {"60 * * * *", "minute \"60\": must be from 0 to 59", ""},
        {"* 24 * * *", "hour \"24\": must be from 0 to 23", ""},
        {"* * 0 * *", "day of month \"0\": must be from 1 to 31", ""},
        {"* * * 13 *", "month \"13\": must be from 1 to 12", ""},
        {"* * * * 8", "day of week \"8\": must be from 0 to 7", ""},
        {"99999999999999999999 * * * *", "must be from 0 to 59", ""},
        {"*/0 * * * *", "minute \"*/0\": a step must be from 1 to 59", "write that value"},
        {"*/60 * * * *", "a step must be from 1 to 59", "write that value"},
        {"5/15 * * * *", "a step needs a range", "5-59/15"},
        {"*/ * * * *", "the step is missing", ""},
        {"1,,2 * * * *", "a value is missing", ""},
        {"1- * * * *", "a value is missing", ""},
        {"-5 * * * *", "a value is missing", ""},
        {"* 22-2 * * *", "hour \"22-2\": the range 22-2 goes backwards", "22-23,0-2"},
        {"1x * * * *", "'x' does not belong there", "a list of values"},
        {"* * L * *", "'L' belongs to other kinds of cron", ""},
        {"* * ? * *", "'?' belongs to other kinds of cron", ""},
        {"* * * juny *", "month \"juny\": \"juny\" is not a name", "jan to dec"},
        {"* * * * lun", "day of week \"lun\": \"lun\" is not a name", "sun to sat"},
        {"noon * * * *", "minute \"noon\": \"noon\" is not a number", ""},
        {"@reboot", "\"@reboot\" is not known", "@hourly"},
        {"0 0 30 2 *", "never fires", "the day of month is \"30\", the month \"2\""},
        {"0 0 31 4,6,9,11 *", "never fires", ""},
        {"0 0 30-31 feb */2", "never fires", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct hd_err err = {0};
        struct hd_cron cron = {.minutes = 9};
        CHECK_INT(hd_cron_parse(rows[i].expr, &err, &cron), HD_INVALID);
        if (!strstr(err.text, rows[i].text) || !strstr(err.hint, rows[i].hint) || cron.minutes != 9)
            CHECK_STR(err.text, rows[i].text);
    }
    struct hd_err err = {0};
    struct hd_cron cron;
    CHECK(hd_cron_parse("0 0 30 2 1", &err, &cron) == HD_OK); // on Mondays of February
}

TEST(a_year_in_each_zone_as_python_has_it) {
    for (size_t i = 0; i < sizeof(table_rows) / sizeof(table_rows[0]); i++) {
        const struct row *row = &table_rows[i];
        struct hd_cron cron = cron_of(table_exprs[row->expr]);
        const struct hd_zone *zone = zone_named(table_zones[row->zone]);
        int64_t ms = row->from_s * 1000, last_s = 0;
        uint64_t hash = 0;
        int n = 0;
        while (hd_cron_next(&cron, zone, ms, &ms) == HD_OK && ms / 1000 <= row->end_s) {
            last_s = ms / 1000;
            hash = hash * 1000003 + (uint64_t)last_s;
            n++;
        }
        if (n == row->n && last_s == row->last_s && hash == row->hash)
            continue;
        printf("%s in %s:\n", table_exprs[row->expr], table_zones[row->zone]);
        CHECK_INT(n, row->n);
        CHECK_INT(last_s, row->last_s);
        CHECK(hash == row->hash);
    }
    hd_arena_release(&arena);
}

TEST_MAIN
