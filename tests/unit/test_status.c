#include "base/status.h"

#include <strings.h>

#include "hodei/v1/common.pb-c.h"
#include "tests/unit/test.h"

TEST(table_is_whole_and_maps_as_documented) {
    for (int i = 0; i < HD_STATUS_COUNT; i++) {
        const struct hd_status_info *info = hd_status_info((enum hd_status)i);
        CHECK(info->name && *info->name && info->title && *info->title);
        CHECK(info->http >= 200 && info->http < 600);
        for (int j = 0; j < i; j++) {
            CHECK(strcmp(info->name, hd_status_info((enum hd_status)j)->name) != 0);
            CHECK(info->exit_code != hd_status_info((enum hd_status)j)->exit_code);
            CHECK(info->grpc != hd_status_info((enum hd_status)j)->grpc);
        }
    }
    CHECK_INT(hd_status_info(HD_MISSING)->http, 404);
    CHECK_INT(hd_status_info(HD_UNAUTHENTICATED)->http, 401);
    CHECK_INT(hd_status_info(HD_LIMITED)->http, 429);
    CHECK_INT(hd_status_info(HD_UNAVAILABLE)->http, 503);
    CHECK_INT(hd_status_info(HD_OK)->exit_code, 0);
    CHECK_INT(hd_status_info(HD_INVALID)->delivery, HD_DELIVER_DEAD_LETTER);
    CHECK_INT(hd_status_info(HD_UNAVAILABLE)->delivery, HD_DELIVER_RETRY);
    CHECK_STR(hd_status_info((enum hd_status)99)->name, "internal");
    CHECK_STR(hd_status_info((enum hd_status) - 1)->name, "internal");
}

TEST(values_and_names_are_those_of_the_schema) {
    CHECK_INT(hodei__v1__status__descriptor.n_values, HD_STATUS_COUNT);
    for (int i = 0; i < HD_STATUS_COUNT; i++) {
        const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(&hodei__v1__status__descriptor, i);
        CHECK(value && strcasecmp(value->name + strlen("STATUS_"), hd_status_info((enum hd_status)i)->name) == 0);
    }
}

TEST(error_keeps_all_parts_and_wraps) {
    struct hd_err err = {0};
    CHECK_INT(hd_err_set(&err, HD_MISSING, "job %s", "build"), HD_MISSING);
    hd_err_field(&err, "jobs[%d]", 3);
    hd_err_hint(&err, "add it");
    hd_err_at(&err, 4, 7);
    hd_err_retry_after(&err, 2001);
    CHECK_INT(hd_err_wrap(&err, "run %d", 5), HD_MISSING);
    CHECK_STR(err.text, "run 5: job build");
    CHECK_STR(err.field, "jobs[3]");
    CHECK_STR(err.hint, "add it");
    CHECK_INT(err.line, 4);
    CHECK_INT(err.column, 7);
    CHECK_INT(err.retry_after_s, 3);
    hd_err_retry_after(&err, -5);
    CHECK_INT(err.retry_after_s, 1);
    // A new error has nothing of the old one.
    hd_err_set(&err, HD_INVALID, "other");
    CHECK_STR(err.field, "");
    CHECK_STR(err.hint, "");
    CHECK_INT(err.line, 0);
    CHECK_INT(err.retry_after_s, 0);
    // The text may come from the error itself.
    hd_err_set(&err, HD_INTERNAL, "again: %s", err.text);
    CHECK_STR(err.text, "again: other");
    hd_err_field(&err, "a.%s", err.text);
    hd_err_field(&err, "b.%s", err.field);
    CHECK_STR(err.field, "b.a.again: other");
}

TEST(error_may_be_null) {
    CHECK_INT(hd_err_set(NULL, HD_DENIED, "x"), HD_DENIED);
    hd_err_field(NULL, "x");
    hd_err_hint(NULL, "x");
    hd_err_at(NULL, 1, 1);
    hd_err_clear(NULL);
}

TEST(long_texts_are_cut_between_characters) {
    char text[600];
    for (size_t shift = 0; shift < 4; shift++) {
        // A four-byte character, so that the border falls inside it at every shift but one.
        memset(text, 'a', shift);
        size_t n = shift;
        for (; n + 4 < sizeof(text); n += 4)
            memcpy(text + n, "\xF0\x9F\x90\x9F", 4);
        text[n] = '\0';
        struct hd_err err;
        hd_err_set(&err, HD_INVALID, "%s", text);
        size_t len = strlen(err.text);
        CHECK(len < sizeof(err.text) && len > sizeof(err.text) - 6);
        CHECK_INT((len - shift) % 4, 0);
        hd_err_wrap(&err, "x");
        len = strlen(err.text);
        CHECK(len < sizeof(err.text));
        CHECK_INT((len - shift - 3) % 4, 0);
    }
}

TEST(texts_are_always_utf8) {
    struct hd_err err;
    hd_err_set(&err, HD_INVALID, "a %.3s b\xFF\xC3\xA9\xE2", "xy\xC3\xA9");
    CHECK_STR(err.text, "a xy? b?\xC3\xA9?");
    hd_err_field(&err, "\xC9");
    CHECK_STR(err.field, "?");
}

TEST_MAIN
