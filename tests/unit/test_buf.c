#include "base/buf.h"

#include <fcntl.h>

#include "tests/unit/test.h"

TEST(building) {
    HD_AUTO_BUF struct hd_buf buf = {0};
    hd_buf_adds(&buf, "ab");
    hd_buf_addc(&buf, 'c');
    hd_buf_addf(&buf, "%d", 42);
    hd_buf_add_hex(&buf, "\x00\xff\x1a", 3);
    CHECK_STR(buf.data, "abc4200ff1a");
    hd_buf_consume(&buf, 3);
    CHECK_STR(buf.data, "4200ff1a");
    CHECK_INT(buf.len, 8);
    hd_buf_consume(&buf, 100);
    CHECK_STR(buf.data, "");
    hd_buf_addf(&buf, "%0500d", 7); // longer than the first guess
    CHECK_INT(buf.len, 500);
    CHECK_INT(strlen(buf.data), 500);
    hd_buf_clear(&buf);
    hd_buf_add(&buf, "a\0b", 3);
    CHECK_INT(buf.len, 3);
    hd_buf_adds(&buf, NULL);
    hd_buf_add(&buf, NULL, 0);
    CHECK_INT(buf.len, 3);
}

TEST(stealing) {
    struct hd_buf buf = {0};
    HD_AUTO_FREE char *empty = hd_buf_steal(&buf);
    CHECK_STR(empty, "");
    hd_buf_adds(&buf, "x");
    HD_AUTO_FREE char *text = hd_buf_steal(&buf);
    CHECK_STR(text, "x");
    CHECK(buf.data == NULL && buf.len == 0);
    hd_buf_release(&buf);
    char *moved = HD_STEAL(text);
    CHECK(text == NULL);
    free(moved);
}

TEST(comparing) {
    CHECK(hd_str_eq(HD_STR("ab"), "ab"));
    CHECK(!hd_str_eq(HD_STR("ab"), "abc"));
    CHECK(!hd_str_eq(HD_STR("abc"), "ab"));
    CHECK(hd_str_eq(hd_str(NULL), ""));
    CHECK(hd_streq(NULL, "") && hd_streq(NULL, NULL) && !hd_streq(NULL, "a"));
    CHECK(hd_starts_with("abc", "ab") && !hd_starts_with("a", "ab") && hd_starts_with("", ""));
}

TEST(strlcpy_cuts_and_terminates) {
    char small[4] = "zzz";
    CHECK_INT(hd_strlcpy(small, "abcdef", sizeof(small)), 6);
    CHECK_STR(small, "abc");
    CHECK_INT(hd_strlcpy(small, "x", sizeof(small)), 1);
    CHECK_STR(small, "x");
}

TEST(integers) {
    int64_t n = 5;
    CHECK(hd_parse_i64("-9223372036854775808", &n) == HD_OK && n == INT64_MIN);
    CHECK(hd_parse_i64("9223372036854775807", &n) == HD_OK && n == INT64_MAX);
    CHECK(hd_parse_i64("007", &n) == HD_OK && n == 7);
    CHECK(hd_parse_i64("-0", &n) == HD_OK && n == 0);
    n = 5;
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1x",
                                      "0x1",
                                      "1.0",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999999",
                                      NULL};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(hd_parse_i64(bad[i], &n) == HD_INVALID);
    CHECK_INT(n, 5);
}

TEST(utf8) {
    static const char *const good[] = {
        "", "a", "\xC3\xA9", "\xE2\x82\xAC", "\xED\x9F\xBF", "\xEE\x80\x80", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"};
    static const char *const bad[] = {
        "\x80",         "\xC3",         "\xC0\x80",         "\xC1\xBF",         "\xE0\x9F\xBF",
        "\xED\xA0\x80", "\xE2\x82",     "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
        "\xFF",         "a\xE2\x28\xA1"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        CHECK(hd_utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(!hd_utf8_valid(bad[i], strlen(bad[i])));
    CHECK(hd_utf8_valid(NULL, 0));
}

TEST(edit_distance) {
    CHECK_INT(hd_edit_distance("steps", "steps", 3), 0);
    CHECK_INT(hd_edit_distance("setps", "steps", 3), 1); // neighbours swapped
    CHECK_INT(hd_edit_distance("need", "needs", 3), 1);
    CHECK_INT(hd_edit_distance("", "abc", 3), 3);
    CHECK_INT(hd_edit_distance("kitten", "sitting", 3), 3);
    CHECK_INT(hd_edit_distance("abc", "xyz", 2), 3);
    char wide[80];
    memset(wide, 'a', sizeof(wide) - 1);
    wide[sizeof(wide) - 1] = '\0';
    CHECK_INT(hd_edit_distance(wide, wide, 2), 3);
}

TEST(fd_is_closed_and_errno_kept) {
    int saved;
    {
        HD_AUTO_FD int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        CHECK(fd >= 0);
        saved = fd;
    }
    CHECK_INT(fcntl(saved, F_GETFD), -1);
    HD_AUTO_FD int none = -1;
    CHECK_INT(none, -1);
}

TEST_MAIN
