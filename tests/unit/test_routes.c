// The gateway's route table and the pure part of reading a request line.
#include "tests/unit/test.h"

#include "base/names.h"
#include "base/pb.h"
#include "hodei/v1/log.pb-c.h"
#include "hodei/v1/run.pb-c.h"
#include "services/api-gateway/routes.h"

static struct hd_arena arena;
static struct hd_err err;

static enum hd_status find(const char *method, const char *path, struct route_match *match, const char **allow) {
    hd_arena_init(&arena);
    hd_err_clear(&err);
    return route_find(&arena, method, path, &err, match, allow);
}

static void check_finds(const char *method, const char *path, const char *rpc, const char *field, const char *value) {
    struct route_match match = {0};
    const char *allow = NULL;

    CHECK_INT(find(method, path, &match, &allow), HD_OK);
    CHECK_STR(match.route ? match.route->rpc : "", rpc);
    CHECK_INT(match.n_params, field ? 1 : 0);
    if (field && match.n_params == 1) {
        CHECK_STR(match.params[0].field, field);
        CHECK_STR(match.params[0].value, value);
    }
    hd_arena_release(&arena);
}

TEST(every_address_finds_its_request) {
    check_finds("POST", "/v1/pipelines", "ApplyPipeline", NULL, NULL);
    check_finds("POST", "/v1/pipelines:validate", "ApplyPipeline", NULL, NULL);
    check_finds("GET", "/v1/pipelines/a.b-c_d", "GetPipeline", "name", "a.b-c_d");
    check_finds("DELETE", "/v1/pipelines/x", "DeletePipeline", "name", "x");
    check_finds("POST", "/v1/pipelines:render", "RenderPipeline", NULL, NULL);
    check_finds("GET", "/v1/pipelines:schema", "GetPipelineSchema", NULL, NULL);
    check_finds("GET", "/v1/pipelines/x/versions", "ListPipelineVersions", "name", "x");
    check_finds("GET", "/v1/pipelines/x/diff", "DiffPipeline", "name", "x");
    check_finds("GET", "/v1/runs/0190-a", "GetRun", "id", "0190-a");
    check_finds("POST", "/v1/runs/0190-a:cancel", "CancelRun", "id", "0190-a");
    check_finds("POST", "/v1/schedules/0190-a:pause", "PauseSchedule", "id", "0190-a");
    check_finds("POST", "/v1/schedules/0190-a:resume", "ResumeSchedule", "id", "0190-a");
    check_finds("GET", "/v1/runs/r1/jobs", "ListJobs", "run", "r1");
    check_finds("GET", "/v1/runs/r1/logs", "ReadLog", "run", "r1");
    check_finds("GET", "/v1/whoami", "WhoAmI", NULL, NULL);
}

// Only what is the same for everybody is given without a token, and what makes and ends sessions.
TEST(which_addresses_are_open) {
    static const char *const open[] = {
        "/openapi.json", "/v1/pipelines:schema", "/v1/permissions", "/.well-known/jwks.json",
        "/v1/login",     "/v1/refresh",          "/v1/logout"};
    for (size_t i = 0; i < gateway_routes_len; i++) {
        bool listed = false;
        for (size_t j = 0; j < sizeof(open) / sizeof(open[0]); j++)
            listed |= strcmp(gateway_routes[i].path, open[j]) == 0;
        CHECK_INT(gateway_routes[i].open, listed);
    }
}

TEST(percent_escapes_are_data_and_not_structure) {
    check_finds("GET", "/v1/pipelines/a%2Fb", "GetPipeline", "name", "a/b");
    check_finds("GET", "/v1/pipelines/a%3Acancel", "GetPipeline", "name", "a:cancel");
    check_finds("GET", "/v1/pipelines/a+b", "GetPipeline", "name", "a+b");
}

TEST(what_is_not_there_is_missing) {
    static const char *const paths[] = {"/",
                                        "",
                                        "/v1",
                                        "/v1/",
                                        "/v1/pipelines/",
                                        "/v1/pipelines/a/b",
                                        "/v1/runs/r1/log",
                                        "/v1/runs/r1/logs/",
                                        "/v1/runs//jobs",
                                        "/v2/runs",
                                        "/v1/runs/r1:undo",
                                        "v1/runs"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct route_match match;
        const char *allow = NULL;
        CHECK_INT(find("GET", paths[i], &match, &allow), HD_MISSING);
        hd_arena_release(&arena);
    }
}

TEST(a_wrong_method_says_the_right_ones) {
    struct route_match match;
    const char *allow = NULL;

    CHECK_INT(find("PATCH", "/v1/pipelines/x", &match, &allow), HD_PRECONDITION);
    CHECK_STR(allow, "GET, DELETE");
    hd_arena_release(&arena);
    CHECK_INT(find("GET", "/v1/runs/x:cancel", &match, &allow), HD_PRECONDITION);
    CHECK_STR(allow, "POST");
    hd_arena_release(&arena);
}

TEST(bad_escapes_are_refused) {
    static const char *const paths[] = {"/v1/runs/%", "/v1/runs/%4", "/v1/runs/%zz", "/v1/runs/a%00b",
                                        "/v1/runs/%ff%fe"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct route_match match;
        const char *allow = NULL;
        CHECK_INT(find("GET", paths[i], &match, &allow), HD_INVALID);
        hd_arena_release(&arena);
    }
}

TEST(query_parameters_are_decoded_once) {
    struct query query;

    hd_arena_init(&arena);
    CHECK_INT(query_parse(&arena, "a=1&b=x%20y+z&&c&d=%3D%26", &err, &query), HD_OK);
    CHECK_INT(query.n, 4);
    CHECK_STR(query_take(&query, "a"), "1");
    CHECK_STR(query_take(&query, "b"), "x y z");
    CHECK_STR(query_take(&query, "c"), "");
    CHECK_STR(query_take(&query, "d"), "=&");
    CHECK_INT(query.n, 0);
    CHECK(query_take(&query, "a") == NULL);
    CHECK_INT(query_parse(&arena, "a=1&a=2", &err, &query), HD_INVALID);
    CHECK_STR(err.field, "a");
    CHECK_INT(query_parse(&arena, "a=%g1", &err, &query), HD_INVALID);
    CHECK_INT(query_parse(&arena, "a1&a2&a3&a4&a5&a6&a7&a8&a9&b1&b2&b3&b4&b5&b6&b7", &err, &query), HD_OK);
    CHECK_INT(query_parse(&arena, "a1&a2&a3&a4&a5&a6&a7&a8&a9&b1&b2&b3&b4&b5&b6&b7&b8", &err, &query), HD_INVALID);
    CHECK_INT(query_parse(&arena, NULL, &err, &query), HD_OK);
    hd_arena_release(&arena);
}

static enum hd_status fill(const char *method, const char *path, const char *text, ProtobufCMessage **ret) {
    struct route_match match;
    struct query query;
    const char *allow;

    HD_TRY(find(method, path, &match, &allow));
    HD_TRY(query_parse(&arena, text, &err, &query));
    *ret = hd_pb_new(&arena, match.route->request);
    return route_fill(&arena, &match, &query, *ret, &err);
}

TEST(path_and_query_fill_the_message) {
    ProtobufCMessage *msg;

    CHECK_INT(fill("GET", "/v1/runs/r%207/logs", "job=unit&wait_ms=1500&cursor=abc", &msg), HD_OK);
    const Hodei__V1__ReadLogRequest *request = (const void *)msg;
    CHECK_STR(request->run, "r 7");
    CHECK_STR(request->job, "unit");
    CHECK_STR(request->cursor, "abc");
    CHECK_INT(request->wait_ms, 1500);
    hd_arena_release(&arena);
}

static void check_refused(const char *method, const char *path, const char *text, const char *field, const char *hint) {
    ProtobufCMessage *msg;

    CHECK_INT(fill(method, path, text, &msg), HD_INVALID);
    CHECK_STR(err.field, field);
    if (hint)
        CHECK_STR(err.hint, hint);
    hd_arena_release(&arena);
}

TEST(a_query_parameter_that_does_not_belong_is_refused) {
    check_refused("GET", "/v1/runs", "pipelin=x", "pipelin",
                  "known here: pipeline, page_size, page_token, project, state, since_ms, until_ms");
    check_refused("GET", "/v1/runs/r1", "id=other", "id", "known here: etag, wait_ms");
    check_refused("POST", "/v1/runs", "pipeline=x", "pipeline", "there are none here: put it into the body");
    check_refused("POST", "/v1/pipelines", "source=x", "source", "known here: dry_run, project");
    check_refused("GET", "/v1/runs/r1", "wait_ms=soon", "wait_ms", NULL);
    check_refused("GET", "/v1/runs", "page_size=-1", "page_size", NULL);
}

// What the table promises to the code that uses it.
TEST(the_table_holds_together) {
    for (size_t i = 0; i < gateway_routes_len; i++) {
        const struct route *route = &gateway_routes[i];
        CHECK(hd_token_valid(route->rpc));
        CHECK(route->service ? hd_token_valid(route->service) : route->open); // what the gateway answers itself
        CHECK(route->success == 200 || route->success == 201 || route->success == 204);
        for (const char *p = strchr(route->path, '{'); p; p = strchr(p + 1, '{')) {
            char field[64] = "";
            snprintf(field, sizeof(field), "%.*s", (int)strcspn(p + 1, "}"), p + 1);
            CHECK(protobuf_c_message_descriptor_get_field_by_name(route->request, field) != NULL);
        }
        if (route->waits_on) {
            CHECK(protobuf_c_message_descriptor_get_field_by_name(route->request, "wait_ms") != NULL);
            CHECK(protobuf_c_message_descriptor_get_field_by_name(route->request, route->waits_on) != NULL);
            CHECK(protobuf_c_message_descriptor_get_field_by_name(route->reply, route->waits_on) != NULL);
        }
        for (size_t j = 0; j < i; j++)
            CHECK(
                !(hd_streq(route->method, gateway_routes[j].method) && hd_streq(route->path, gateway_routes[j].path)));
    }
}

TEST_MAIN
