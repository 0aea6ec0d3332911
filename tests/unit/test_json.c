#include "base/pb.h"

#include "base/pb_field.h"
#include "hodei/v1/flow.pb-c.h"
#include "hodei/v1/log.pb-c.h"
#include "hodei/v1/quota.pb-c.h"
#include "hodei/v1/shim.pb-c.h"
#include "hodei/v1/worker.pb-c.h"
#include "tests/unit/test.h"

static struct hd_arena arena;
static struct hd_err err;
static ProtobufCMessage *msg;

static enum hd_status read_text(const ProtobufCMessageDescriptor *desc, const char *json, size_t len) {
    hd_arena_release(&arena);
    hd_arena_init(&arena);
    hd_err_clear(&err);
    msg = NULL;
    // An exact copy, so that the sanitizer sees a read past its end.
    char *copy = malloc(len ? len : 1);
    memcpy(copy, json, len);
    enum hd_status status = hd_json_to_pb(&arena, desc, copy, len, &err, &msg);
    free(copy);
    return status;
}

static enum hd_status read_json(const ProtobufCMessageDescriptor *desc, const char *json) {
    return read_text(desc, json, strlen(json));
}

#define RUN (&hodei__v1__run__descriptor)
#define COMPILED (&hodei__v1__compiled_pipeline__descriptor)

static void check_round_trip(const ProtobufCMessageDescriptor *desc, const char *json) {
    CHECK_INT(read_json(desc, json), HD_OK);
    if (!msg) {
        printf("%s: %s: %s\n", json, err.field, err.text);
        return;
    }
    HD_AUTO_BUF struct hd_buf out = {0};
    hd_pb_to_json(msg, &out);
    CHECK_STR(out.data, json);
}

TEST(round_trips) {
    check_round_trip(RUN, "{}");
    check_round_trip(
        RUN, "{\"id\":\"x\",\"state\":\"running\",\"jobs_total\":4294967295,"
             "\"jobs\":[{\"name\":\"a \\\"\\\\ \xC3\xA9\",\"state\":\"timed_out\",\"needs\":[\"b\",\"\"]},{}]}");
    check_round_trip(&hodei__v1__attempt__descriptor, "{\"exit_code\":-2147483648,\"signal\":2147483647,"
                                                      "\"usage\":{\"user_ms\":-5}}");
    check_round_trip(&hodei__v1__log_frame__descriptor, "{\"stream\":\"stderr\",\"data\":\"/wCAYQ==\"}");
    check_round_trip(&hodei__v1__compiled_job__descriptor, "{\"needs\":[0,7],\"on_worker_lost\":\"hold\"}");
    check_round_trip(&hodei__v1__journal_record__descriptor, "{\"kind\":\"taken\"}"); // an enum within a message
    check_round_trip(&hodei__v1__worker__descriptor, "{\"executors\":[\"noop\",\"unspecified\"]}");
    check_round_trip(&hodei__v1__placement_result__descriptor, "{\"accepted\":true}");
}

TEST(large_integers_are_strings) {
    check_round_trip(&hodei__v1__grant__descriptor,
                     "{\"version\":9007199254740991,\"concurrent_jobs\":-9007199254740991}");
    check_round_trip(&hodei__v1__grant__descriptor,
                     "{\"version\":\"18446744073709551615\",\"concurrent_jobs\":\"-9223372036854775808\"}");
    CHECK_INT(read_json(&hodei__v1__grant__descriptor, "{\"version\":\"5\"}"), HD_OK);
    CHECK_INT(((Hodei__V1__Grant *)msg)->version, 5);
    static const char *const bad[] = {"9007199254740992", "9007199254740993", "-9007199254740992", "1e999", "1e19"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char json[80];
        snprintf(json, sizeof(json), "{\"concurrent_jobs\":%s}", bad[i]);
        CHECK_INT(read_json(&hodei__v1__grant__descriptor, json), HD_INVALID);
        CHECK_STR(err.field, "concurrent_jobs");
        CHECK_STR(err.hint, "write it as a string");
    }
    CHECK_INT(read_json(&hodei__v1__grant__descriptor, "{\"version\":\"18446744073709551616\"}"), HD_INVALID);
    CHECK_INT(read_json(&hodei__v1__grant__descriptor, "{\"version\":\"-1\"}"), HD_INVALID);
    CHECK_INT(read_json(&hodei__v1__grant__descriptor, "{\"version\":-1}"), HD_INVALID);
    CHECK_INT(read_json(&hodei__v1__grant__descriptor, "{\"concurrent_jobs\":\"9223372036854775808\"}"), HD_INVALID);
    CHECK_INT(read_json(&hodei__v1__grant__descriptor, "{\"version\":\"\"}"), HD_INVALID);
    CHECK_INT(read_json(&hodei__v1__grant__descriptor, "{\"version\":\" 1\"}"), HD_INVALID);
}

TEST(narrow_integers_keep_their_range) {
    CHECK_INT(read_json(RUN, "{\"version\":4294967296}"), HD_INVALID);
    CHECK_INT(read_json(RUN, "{\"version\":-1}"), HD_INVALID);
    CHECK_INT(read_json(RUN, "{\"version\":1.5}"), HD_INVALID);
    CHECK_INT(read_json(RUN, "{\"version\":\"1\"}"), HD_INVALID); // strings are for 64 bits
    CHECK_INT(read_json(RUN, "{\"version\":1e3}"), HD_OK);
    CHECK_INT(((Hodei__V1__Run *)msg)->version, 1000);
    CHECK_INT(read_json(&hodei__v1__attempt__descriptor, "{\"exit_code\":2147483648}"), HD_INVALID);
}

TEST(errors_name_the_place_and_the_nearest_key) {
    CHECK_INT(read_json(COMPILED, "{\"jobs\":[{},{},{},{\"name\":5}]}"), HD_INVALID);
    CHECK_STR(err.field, "jobs[3].name");
    CHECK_STR(err.text, "a text is expected here, not a number");
    CHECK_INT(read_json(COMPILED, "{\"jobs\":[{\"steps\":[{\"scirpt\":\"x\"}]}]}"), HD_INVALID);
    CHECK_STR(err.field, "jobs[0].steps[0].scirpt");
    CHECK_STR(err.hint, "did you mean \"script\"?");
    CHECK_INT(read_json(&hodei__v1__env_var__descriptor, "{\"qqqqqq\":1}"), HD_INVALID);
    CHECK_STR(err.hint, "known keys: name, value, template");
    CHECK_INT(read_json(&hodei__v1__empty__descriptor, "{\"a\":1}"), HD_INVALID);
    CHECK_STR(err.hint, "no keys are known here");
    CHECK_INT(read_json(COMPILED, "{\"Tenant\":\"x\"}"), HD_INVALID); // names are exact
    CHECK_INT(read_json(COMPILED, "{\"jobs\":[{\"executor\":\"shel\"}]}"), HD_INVALID);
    CHECK_STR(err.field, "jobs[0].executor");
    CHECK_STR(err.hint, "did you mean \"shell\"?");
    CHECK_INT(read_json(COMPILED, "{\"jobs\":[{\"executor\":\"SHELL\"}]}"), HD_INVALID);
    CHECK_STR(err.hint, "write one of: shell, docker, kubernetes, noop");
    CHECK_INT(read_json(COMPILED, "{\"jobs\":[{\"executor\":1}]}"), HD_INVALID);
    CHECK_INT(read_json(COMPILED, "{\"jobs\":[{\"needs\":[1,true]}]}"), HD_INVALID);
    CHECK_STR(err.field, "jobs[0].needs[1]");
}

TEST(wrong_types_are_refused) {
    static const char *const bad[] = {"{\"deleted\":1}",
                                      "{\"deleted\":\"true\"}",
                                      "{\"name\":null}",
                                      "{\"jobs\":{}}",
                                      "{\"jobs\":[[]]}",
                                      "{\"jobs\":[null]}",
                                      "{\"version\":\"x\"}",
                                      "{\"version\":true}",
                                      "{\"name\":[\"x\"]}",
                                      "[]",
                                      "5",
                                      "\"x\"",
                                      "null",
                                      "true"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK_INT(read_json(COMPILED, bad[i]), HD_INVALID);
    CHECK_INT(read_json(&hodei__v1__log_frame__descriptor, "{\"data\":5}"), HD_INVALID);
    CHECK_INT(read_json(&hodei__v1__log_frame__descriptor, "{\"data\":\"a\"}"), HD_INVALID);
    CHECK_INT(read_json(&hodei__v1__log_frame__descriptor, "{\"data\":\"a!==\"}"), HD_INVALID);
}

TEST(duplicate_keys_are_refused) {
    CHECK_INT(read_json(COMPILED, "{\"name\":\"a\",\"tenant\":\"t\",\"name\":\"b\"}"), HD_INVALID);
    CHECK_STR(err.field, "name");
    CHECK_INT(read_json(COMPILED, "{\"jobs\":[{\"steps\":[],\"steps\":[]}]}"), HD_INVALID);
    CHECK_STR(err.field, "jobs[0].steps");
    CHECK_INT(read_json(COMPILED, "{\"jobs\":[{\"name\":\"a\"},{\"name\":\"a\"}]}"), HD_OK);
}

TEST(text_that_is_not_json_is_refused_with_line_and_column) {
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "}",
        "{]",
        "{\"name\"}",
        "{\"name\":}",
        "{\"name\":\"a\",}",
        "{,}",
        "{\"name\" \"a\"}",
        "{\"name\":\"a\"} x",
        "{}{}",
        "{\"version\":01}",
        "{\"version\":1.}",
        "{\"version\":.5}",
        "{\"version\":+1}",
        "{\"version\":-}",
        "{\"version\":1e}",
        "{\"version\":0x1}",
        "{\"version\":NaN}",
        "{\"name\":'a'}",
        "{name:\"a\"}",
        "{\"name\":\"\\u0000\"}",
        "{\"name\":\"a\\u0000b\"}",
        "{\"na\\u0000me\":\"a\"}",
        "{\"name\":\"\\x\"}",
        "{\"name\":\"\\u12\"}",
        "{\"name\":\"\\ud800\"}",
        "{\"name\":\"\\udc00\\ud800\"}",
        "{\"name\":\"a\nb\"}",
        "{\"name\":\"a\tb\"}",
        "{\"name\":\"\xFF\"}",
        "{\"name\":\"\xED\xA0\x80\"}",
        "\xEF\xBB\xBF{}",
        "{\"name\":\"a",
        "{\"name\":\"a\\",
        "{\"name\":\"a\\u00",
        "{/* */}",
        "\f{}",
        "{\"deleted\":tru}",
        "{\"deleted\":TRUE}",
        "{\"version\":1 2}",
        "{\"version\":1,,\"name\":\"x\"}",
        "{\"version\":1:2}",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (read_json(COMPILED, bad[i]) != HD_INVALID)
            printf("taken: %s\n", bad[i]);
        CHECK(err.status == HD_INVALID && err.text[0]);
    }
    CHECK_INT(read_text(COMPILED, "{}\0", 3), HD_INVALID);
    CHECK_INT(read_text(COMPILED, "{\"name\":\"a\0b\"}", 14), HD_INVALID);
    CHECK_INT(read_json(COMPILED, "{\n  \"name\": 'a'\n}"), HD_INVALID);
    CHECK_INT(err.line, 2);
    CHECK_INT(err.column, 11);
    CHECK_INT(read_json(COMPILED, " \r\n\t{ \"name\" : \"\\ud83d\\udc1f\\/\" } \n"), HD_OK);
    CHECK_STR(((Hodei__V1__CompiledPipeline *)msg)->name, "\xF0\x9F\x90\x9F/");
}

TEST(depth_and_size_are_bounded) {
    static char text[5u << 20];
    memset(text, '[', 100000);
    CHECK_INT(read_text(COMPILED, text, 100000), HD_INVALID);
    CHECK(strstr(err.text, "32 deep") != NULL);
    CHECK_INT(read_text(COMPILED, text, sizeof(text)), HD_INVALID);
    // Small text, large structures: refused before the memory is taken.
    HD_AUTO_BUF struct hd_buf many = {0};
    hd_buf_adds(&many, "{\"jobs\":[{}");
    for (int i = 0; i < 150000; i++)
        hd_buf_adds(&many, ",{}");
    hd_buf_adds(&many, "]}");
    CHECK_INT(read_text(COMPILED, many.data, many.len), HD_INVALID);
    CHECK(strstr(err.text, "memory") != NULL);
    CHECK(arena.used_bytes < (64u << 20));
    CHECK_INT(arena.budget_bytes, 0);
}

TEST(a_key_of_a_megabyte_is_refused_shortly) {
    HD_AUTO_BUF struct hd_buf text = {0};
    hd_buf_adds(&text, "{\"");
    for (int i = 0; i < 100000; i++)
        hd_buf_adds(&text, "keykeykeyk");
    hd_buf_adds(&text, "\":1}");
    CHECK_INT(read_text(COMPILED, text.data, text.len), HD_INVALID);
    CHECK(strlen(err.text) < 150);
}

TEST(empty_lists_only_where_asked_for) {
    CHECK_INT(read_json(&hodei__v1__list_runs_reply__descriptor, "{}"), HD_OK);
    HD_AUTO_BUF struct hd_buf out = {0};
    hd_pb_to_json(msg, &out);
    CHECK_STR(out.data, "{}");
    hd_buf_clear(&out);
    hd_pb_to_json_all(msg, &out);
    CHECK_STR(out.data, "{\"runs\":[]}");
}

TEST(unknown_enum_number_and_broken_text_still_give_json) {
    CHECK_INT(read_json(RUN, "{}"), HD_OK);
    Hodei__V1__Run *run = (Hodei__V1__Run *)msg;
    run->state = (Hodei__V1__RunState)77;
    char bad[] = "a\xFF\x01\x7F";
    run->id = bad;
    run->pipeline = NULL; // not set at all
    HD_AUTO_BUF struct hd_buf out = {0};
    hd_pb_to_json(msg, &out);
    CHECK_STR(out.data, "{\"id\":\"a\xEF\xBF\xBD\\u0001\\u007f\",\"state\":\"unknown\"}");
    CHECK_STR(hd_pb_enum_name(&arena, &hodei__v1__run_state__descriptor, 77), "unknown");
    CHECK_STR(hd_pb_enum_name(&arena, &hodei__v1__job_state__descriptor, 10), "timed_out");
    CHECK_STR(hd_pb_enum_name(&arena, &hodei__v1__on_worker_lost__descriptor, 0), "requeue");
    CHECK_STR(hd_pb_enum_name(&arena, &hodei__v1__log_stream__descriptor, 3), "system");
}

TEST(parameters_from_text) {
    hd_arena_release(&arena);
    hd_arena_init(&arena);
    Hodei__V1__GetRunRequest *get =
        (Hodei__V1__GetRunRequest *)hd_pb_new(&arena, &hodei__v1__get_run_request__descriptor);
    CHECK_INT(hd_pb_set_text(&arena, &get->base, "id", "r1", &err), HD_OK);
    CHECK_STR(get->id, "r1");
    CHECK_INT(hd_pb_set_text(&arena, &get->base, "wait_ms", "20000", &err), HD_OK);
    CHECK_INT(get->wait_ms, 20000);
    CHECK_INT(hd_pb_set_text(&arena, &get->base, "wait_ms", "2x", &err), HD_INVALID);
    CHECK_STR(err.field, "wait_ms");
    CHECK_INT(hd_pb_set_text(&arena, &get->base, "id", "\xFF", &err), HD_INVALID);
    CHECK_INT(hd_pb_set_text(&arena, &get->base, "nope", "1", &err), HD_MISSING);
    Hodei__V1__Run *run = (Hodei__V1__Run *)hd_pb_new(&arena, RUN);
    CHECK_INT(hd_pb_set_text(&arena, &run->base, "state", "failed", &err), HD_OK);
    CHECK_INT(run->state, HODEI__V1__RUN_STATE__RUN_STATE_FAILED);
    CHECK_INT(hd_pb_set_text(&arena, &run->base, "state", "fialed", &err), HD_INVALID);
    CHECK_STR(err.hint, "did you mean \"failed\"?");
    CHECK_INT(hd_pb_set_text(&arena, &run->base, "version", "4294967296", &err), HD_INVALID);
    CHECK_INT(hd_pb_set_text(&arena, &run->base, "jobs", "x", &err), HD_MISSING);
    Hodei__V1__ListRunsRequest *list =
        (Hodei__V1__ListRunsRequest *)hd_pb_new(&arena, &hodei__v1__list_runs_request__descriptor);
    CHECK_INT(hd_pb_set_text(&arena, &list->base, "state", "failed,cancelled", &err), HD_OK);
    CHECK_INT(list->n_state, 2);
    CHECK_INT(list->state[1], HODEI__V1__RUN_STATE__RUN_STATE_CANCELLED);
    CHECK_INT(hd_pb_set_text(&arena, &list->base, "state", "", &err), HD_OK);
    CHECK_INT(list->n_state, 0);
    CHECK_INT(hd_pb_set_text(&arena, &list->base, "state", "failed,,cancelled", &err), HD_INVALID);
    CHECK_STR(err.field, "state");
    char many[3 * 101 + 1] = "";
    for (int i = 0; i < 101; i++)
        hd_strlcpy(many + 3 * i, "x1,", 4);
    CHECK_INT(hd_pb_set_text(&arena, &list->base, "state", many, &err), HD_INVALID);
    CHECK(strstr(err.text, "at most 100"));
}

TEST(base64) {
    static const struct {
        const char *plain, *text;
    } rows[] = {{"", ""},        {"f", "Zg=="},        {"fo", "Zm8="},
                {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"\xFB\xEF\xFF", "++//"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        HD_AUTO_BUF struct hd_buf out = {0};
        hd_base64_add(&out, (const uint8_t *)rows[i].plain, strlen(rows[i].plain));
        CHECK_STR(out.data, rows[i].text);
        uint8_t back[16];
        size_t len;
        CHECK_INT(hd_base64_decode(rows[i].text, strlen(rows[i].text), back, &len), HD_OK);
        CHECK_INT(len, strlen(rows[i].plain));
        CHECK(memcmp(back, rows[i].plain, len) == 0);
    }
    uint8_t back[16];
    size_t len;
    CHECK_INT(hd_base64_decode("-_-_Zg", 6, back, &len), HD_OK); // URL alphabet, no padding
    CHECK_INT(len, 4);
    static const char *const bad[] = {"Z", "Zg=", "Z===", "====", "Zh==", "Zm9=", "Zg==Zg==", "Z g=", "Zm9v\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK_INT(hd_base64_decode(bad[i], strlen(bad[i]), back, &len), HD_INVALID);
    hd_arena_release(&arena);
}

TEST_MAIN
