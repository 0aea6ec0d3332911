#include "base/buf.h"
#include "base/names.h"
#include "tests/unit/test.h"

TEST(subjects) {
    struct hd_arena arena;
    hd_arena_init(&arena);
    CHECK_STR(hd_subject(&arena, HD_SUBJECT_READY, "default"), "hodei.flow.ready.default");
    CHECK_STR(hd_subject_rpc(&arena, "quota", "GetGrants"), "hodei.rpc.quota.GetGrants");
    CHECK_STR(hd_subject_event(&arena, "acme", "job", "ended"), "hodei.evt.acme.job.ended");
    CHECK_STR(hd_subject_log(&arena, "w1", "acme", "r-1", 12), "hodei.log.w1.acme.r-1.12");
    hd_arena_release(&arena);
}

TEST(tokens_and_names) {
    CHECK(hd_token_valid("aZ09_-") && hd_name_valid("a.b-c_D9"));
    static const char *const bad[] = {"", "a b", "a*", ">", "a/b", "\xC3\xA9", "a\n", NULL};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(!hd_token_valid(bad[i]) && !hd_name_valid(bad[i]));
    CHECK(!hd_token_valid("a.b"));
    char text[130];
    memset(text, 'a', sizeof(text));
    text[129] = '\0';
    CHECK(!hd_name_valid(text));
    text[128] = '\0';
    CHECK(hd_name_valid(text) && !hd_token_valid(text));
    text[65] = '\0';
    CHECK(!hd_token_valid(text));
    text[64] = '\0';
    CHECK(hd_token_valid(text));
}

TEST(streams_take_their_subjects_and_none_twice) {
    static const struct {
        enum hd_stream_id stream;
        const char *prefix;
    } rows[] = {{HD_STREAM_EVENTS, HD_SUBJECT_EVENT},
                {HD_STREAM_FLOW, HD_SUBJECT_READY},
                {HD_STREAM_FLOW, HD_SUBJECT_PLACED},
                {HD_STREAM_REPORTS, HD_SUBJECT_REPORT},
                {HD_STREAM_LOGS, HD_SUBJECT_LOG}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int s = 0; s < HD_STREAM_COUNT; s++) {
            const char *filter = hd_streams[s].subjects;
            size_t len = strlen(filter) - 1; // without ">"
            CHECK(filter[len] == '>');
            bool takes = strlen(rows[i].prefix) + 1 >= len && strncmp(rows[i].prefix, filter, len - 1) == 0;
            CHECK(takes == (s == (int)rows[i].stream));
        }
    }
    CHECK(!hd_streams[HD_STREAM_EVENTS].work_queue && hd_streams[HD_STREAM_FLOW].work_queue);
    CHECK(hd_work_stream.memory && hd_work_stream.work_queue);
    for (int s = 0; s < HD_STREAM_COUNT; s++) {
        // What is healed by saying it again needs no disk; what others read later does.
        CHECK(hd_streams[s].memory == (s == HD_STREAM_FLOW || s == HD_STREAM_REPORTS));
        CHECK(hd_streams[s].max_age_ms >= hd_streams[s].duplicates_ms); // the server refuses less
    }
    CHECK(hd_work_stream.max_age_ms >= hd_work_stream.duplicates_ms);
}

TEST_MAIN
