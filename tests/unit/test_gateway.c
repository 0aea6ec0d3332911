// The gateway over real HTTP, with services that this test plays: hd_bus_nats_call below stands in for the bus.
#include "tests/unit/test.h"

#include <stdatomic.h>

#include <curl/curl.h>
#include <openssl/sha.h>

#include "base/pb.h"
#include "hodei/v1/auth.pb-c.h"
#include "hodei/v1/log.pb-c.h"
#include "hodei/v1/pipeline.pb-c.h"
#include "hodei/v1/run.pb-c.h"
#include "services/api-gateway/gateway.h"

// What the services have heard; written on the server's threads, read after the answer.
static char heard_subject[128], heard_source[256], heard_key[64], heard_trace[80], heard_text[128];
static bool heard_dry_run;
static atomic_int authenticated, run_reads;
static enum hd_status bus_status; // of the bus itself, for requests other than to auth

static void answer(const ProtobufCMessage *msg, Hodei__V1__Status status, const char *problem, uint8_t **ret,
                   size_t *ret_len) {
    Hodei__V1__RpcReply reply = HODEI__V1__RPC_REPLY__INIT;
    Hodei__V1__Problem why = HODEI__V1__PROBLEM__INIT;

    reply.status = status;
    if (msg) {
        reply.body.len = protobuf_c_message_get_packed_size(msg);
        reply.body.data = malloc(reply.body.len + 1);
        protobuf_c_message_pack(msg, reply.body.data);
    }
    if (problem) {
        why.text = (char *)problem;
        why.field = "jobs.a.needs[0]";
        why.hint = "mend it";
        why.line = 7;
        why.column = 3;
        reply.problem = &why;
    }
    *ret_len = protobuf_c_message_get_packed_size(&reply.base);
    *ret = malloc(*ret_len + 1);
    protobuf_c_message_pack(&reply.base, *ret);
    free(reply.body.data);
}

static void answer_auth(const Hodei__V1__RpcRequest *envelope, uint8_t **ret, size_t *ret_len) {
    Hodei__V1__AuthenticateRequest *request =
        hodei__v1__authenticate_request__unpack(NULL, envelope->body.len, envelope->body.data);
    Hodei__V1__AuthenticateReply reply = HODEI__V1__AUTHENTICATE_REPLY__INIT;
    Hodei__V1__Principal principal = HODEI__V1__PRINCIPAL__INIT;
    char *all = "*", *reader = "run.read";
    uint8_t good[32], limited[32];

    atomic_fetch_add(&authenticated, 1);
    SHA256((const unsigned char *)"good", 4, good);
    SHA256((const unsigned char *)"reader", 6, limited);
    bool is_good = memcmp(request->token_sha256.data, good, 32) == 0;
    bool is_reader = memcmp(request->token_sha256.data, limited, 32) == 0;
    hodei__v1__authenticate_request__free_unpacked(request, NULL);
    principal.subject = is_good ? "token:admin" : "token:reader";
    principal.tenant = "default";
    principal.n_permissions = 1;
    principal.permissions = is_good ? &all : &reader;
    reply.principal = &principal;
    reply.ttl_ms = 60000;
    answer(is_good || is_reader ? &reply.base : NULL,
           is_good || is_reader ? HODEI__V1__STATUS__STATUS_OK : HODEI__V1__STATUS__STATUS_UNAUTHENTICATED, NULL, ret,
           ret_len);
}

static void answer_apply(const Hodei__V1__RpcRequest *envelope, uint8_t **ret, size_t *ret_len) {
    Hodei__V1__ApplyPipelineRequest *request =
        hodei__v1__apply_pipeline_request__unpack(NULL, envelope->body.len, envelope->body.data);
    Hodei__V1__ApplyPipelineReply reply = HODEI__V1__APPLY_PIPELINE_REPLY__INIT;

    snprintf(heard_source, sizeof(heard_source), "%s", request->source);
    heard_dry_run = request->dry_run;
    hodei__v1__apply_pipeline_request__free_unpacked(request, NULL);
    reply.changed = true;
    if (strcmp(heard_source, "bad") == 0)
        answer(NULL, HODEI__V1__STATUS__STATUS_INVALID, "it is wrong", ret, ret_len);
    else
        answer(&reply.base, HODEI__V1__STATUS__STATUS_OK, NULL, ret, ret_len);
}

static void answer_log(const Hodei__V1__RpcRequest *envelope, uint8_t **ret, size_t *ret_len) {
    Hodei__V1__ReadLogRequest *request =
        hodei__v1__read_log_request__unpack(NULL, envelope->body.len, envelope->body.data);
    Hodei__V1__ReadLogReply reply = HODEI__V1__READ_LOG_REPLY__INIT;
    Hodei__V1__LogEntry entry = HODEI__V1__LOG_ENTRY__INIT, *entries = &entry;
    Hodei__V1__LogFrame frame = HODEI__V1__LOG_FRAME__INIT, *frames = &frame;
    char cursor[16];
    int at = request->cursor[0] - '0';

    at = request->cursor[0] ? at : 0;
    snprintf(cursor, sizeof(cursor), "%d", at < 3 ? at + 1 : 3);
    reply.cursor = cursor;
    frame.data = (ProtobufCBinaryData){.len = 4, .data = (uint8_t *)"ab\0\n"};
    entry.n_frames = 1;
    entry.frames = &frames;
    reply.n_entries = at < 3;
    reply.entries = &entries;
    hodei__v1__read_log_request__free_unpacked(request, NULL);
    answer(&reply.base, HODEI__V1__STATUS__STATUS_OK, NULL, ret, ret_len);
}

static struct gateway gw;
static atomic_int questions_lost; // to auth, by replicas that died with them

// The etag is "2" from the third read on.
static void answer_run(const Hodei__V1__RpcRequest *envelope, uint8_t **ret, size_t *ret_len) {
    Hodei__V1__GetRunRequest *request =
        hodei__v1__get_run_request__unpack(NULL, envelope->body.len, envelope->body.data);
    Hodei__V1__Run reply = HODEI__V1__RUN__INIT;

    reply.id = request->id;
    reply.state = HODEI__V1__RUN_STATE__RUN_STATE_RUNNING;
    reply.etag = atomic_fetch_add(&run_reads, 1) >= 2 ? "2" : "1";
    answer(&reply.base, HODEI__V1__STATUS__STATUS_OK, NULL, ret, ret_len);
    hodei__v1__get_run_request__free_unpacked(request, NULL);
}

enum hd_status hd_bus_nats_call(struct hd_bus *bus, const char *subject, const void *data, size_t len,
                                int64_t timeout_ms, struct hd_err *err, uint8_t **ret, size_t *ret_len) {
    Hodei__V1__RpcRequest *envelope = hodei__v1__rpc_request__unpack(NULL, len, data);
    enum hd_status status = HD_OK;

    (void)bus;
    snprintf(heard_subject, sizeof(heard_subject), "%s", subject);
    snprintf(heard_key, sizeof(heard_key), "%s", envelope->idempotency_key);
    snprintf(heard_trace, sizeof(heard_trace), "%s", envelope->trace);
    snprintf(heard_text, sizeof(heard_text), "%s", envelope->principal ? envelope->principal->subject : "");
    if (strcmp(subject, "hodei.rpc.auth.Authenticate") == 0 && atomic_load(&questions_lost) > 0) {
        CHECK(timeout_ms <= gw.request_timeout_ms / 2); // there is time to ask again
        atomic_fetch_sub(&questions_lost, 1);
        status = hd_err_set(err, HD_TIMEOUT, "no answer");
    } else if (strcmp(subject, "hodei.rpc.auth.Authenticate") == 0)
        answer_auth(envelope, ret, ret_len);
    else if (bus_status != HD_OK)
        status = hd_err_set(err, bus_status, "bus");
    else if (strcmp(subject, "hodei.rpc.pipelines.ApplyPipeline") == 0)
        answer_apply(envelope, ret, ret_len);
    else if (strcmp(subject, "hodei.rpc.observability.ReadLog") == 0)
        answer_log(envelope, ret, ret_len);
    else if (strcmp(subject, "hodei.rpc.orchestrator.GetRun") == 0)
        answer_run(envelope, ret, ret_len);
    else
        answer(NULL, HODEI__V1__STATUS__STATUS_OK, NULL, ret, ret_len);
    hodei__v1__rpc_request__free_unpacked(envelope, NULL);
    return status;
}

// --- the client ---------------------------------------------------------------------------------------------------------

static char base_url[64];
static struct hd_buf got, got_headers;
static CURL *curl;

static void server_start(void) {
    struct mg_server_port port = {0};
    struct hd_err err;

    if (gw.web)
        return;
    gw.cache = auth_cache_new();
    gw.refusals = refusals_new();
    gw.limits = limits_new(0, 0, "");
    gw.request_timeout_ms = 10000;
    gw.waits_max = 2;
    CHECK_INT(gateway_http_start(&gw, "127.0.0.1:0", 4, &err), HD_OK);
    mg_get_server_ports(gw.web, 1, &port);
    snprintf(base_url, sizeof(base_url), "http://127.0.0.1:%d", port.port);
    curl = curl_easy_init();
}

static size_t on_data(char *data, size_t size, size_t n, void *to) {
    hd_buf_add(to, data, size * n);
    return size * n;
}

struct zeros {
    size_t left;
};
static size_t on_read(char *data, size_t size, size_t n, void *from) {
    struct zeros *zeros = from;
    size_t most = size * n < zeros->left ? size * n : zeros->left;

    memset(data, ' ', most);
    zeros->left -= most;
    return most;
}

// Sends and returns the status; headers up to NULL. A body of `chunked` spaces goes without a length.
static long send_with(const char *method, const char *path, const char *body, size_t chunked,
                      const char *const *headers) {
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    struct zeros zeros = {chunked};
    char url[512];
    long status = 0;

    server_start();
    snprintf(url, sizeof(url), "%s%s", base_url, path);
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 20000L);
    for (; headers && *headers; headers++)
        list = curl_slist_append(list, *headers);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    } else if (chunked) {
        list = curl_slist_append(list, "Transfer-Encoding: chunked");
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
        curl_easy_setopt(curl, CURLOPT_READDATA, &zeros);
    }
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &got);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &got_headers);
    hd_buf_clear(&got);
    hd_buf_clear(&got_headers);
    curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(list);
    return status;
}

#define GOOD "Authorization: Bearer good"
#define YAML "Content-Type: application/yaml"
#define JSON "Content-Type: application/json"
#define HEADERS(...) ((const char *const[]){__VA_ARGS__, NULL})

static bool has(const char *text) {
    return got.data && strstr(got.data, text) != NULL;
}

static bool has_header(const char *text) {
    return got_headers.data && strstr(got_headers.data, text) != NULL;
}

TEST(no_token_or_a_wrong_one_is_refused) {
    CHECK_INT(send_with("GET", "/v1/whoami", NULL, 0, NULL), 401);
    CHECK(has_header("WWW-Authenticate: Bearer"));
    CHECK(has("\"type\":\"urn:hodei:problem:unauthenticated\""));
    CHECK_INT(send_with("GET", "/v1/whoami", NULL, 0, HEADERS("Authorization: Basic Z29vZA==")), 401);
    CHECK_INT(send_with("GET", "/v1/whoami", NULL, 0, HEADERS("Authorization: Bearer ")), 401);
    CHECK_INT(send_with("GET", "/v1/whoami", NULL, 0, HEADERS("Authorization: Bearer good x")), 401);
    int before = atomic_load(&authenticated);
    CHECK_INT(send_with("GET", "/v1/whoami", NULL, 0, HEADERS("Authorization: Bearer wrong")), 401);
    CHECK_INT(send_with("GET", "/v1/whoami", NULL, 0, HEADERS("Authorization: Bearer wrong")), 401);
    CHECK_INT(atomic_load(&authenticated) - before, 1);
}

TEST(a_known_token_is_asked_for_once) {
    CHECK_INT(send_with("GET", "/v1/whoami", NULL, 0, HEADERS(GOOD)), 200);
    int before = atomic_load(&authenticated);
    CHECK_INT(send_with("GET", "/v1/whoami", NULL, 0, HEADERS(GOOD)), 200);
    CHECK_INT(atomic_load(&authenticated) - before, 0);
    CHECK_STR(heard_subject, "hodei.rpc.auth.WhoAmI");
    CHECK_STR(heard_text, "token:admin");
}

TEST(another_auth_is_asked_when_one_has_died) {
    atomic_store(&questions_lost, 2);
    CHECK_INT(send_with("GET", "/v1/whoami", NULL, 0, HEADERS("Authorization: Bearer reader")), 200);
    CHECK_INT(atomic_load(&questions_lost), 0);
}

TEST(each_route_asks_for_its_permission) {
    CHECK_INT(send_with("GET", "/v1/runs", NULL, 0, HEADERS("Authorization: Bearer reader")), 200);
    CHECK_INT(send_with("GET", "/v1/workers", NULL, 0, HEADERS("Authorization: Bearer reader")), 403);
    CHECK(has("it needs the permission worker.read"));
}

TEST(yaml_and_json_apply_the_same) {
    CHECK_INT(send_with("POST", "/v1/pipelines", "hodei: v1\n", 0, HEADERS(GOOD, YAML)), 200);
    CHECK_STR(heard_source, "hodei: v1\n");
    CHECK(!heard_dry_run);
    CHECK(has("\"changed\":true"));
    CHECK_INT(send_with("POST", "/v1/pipelines?dry_run=true", "x", 0,
                        HEADERS(GOOD, "Content-Type: text/plain; charset=utf-8")),
              200);
    CHECK_STR(heard_source, "x");
    CHECK(heard_dry_run);
    CHECK_INT(send_with("POST", "/v1/pipelines", "{\"source\":\"y\"}", 0, HEADERS(GOOD, JSON)), 200);
    CHECK_STR(heard_source, "y");
    CHECK(!heard_dry_run);
    CHECK_INT(send_with("POST", "/v1/pipelines:validate", "z", 0, HEADERS(GOOD, YAML)), 200);
    CHECK_STR(heard_source, "z");
    CHECK(heard_dry_run);
}

TEST(a_problem_keeps_its_place) {
    CHECK_INT(send_with("POST", "/v1/pipelines", "bad", 0, HEADERS(GOOD, YAML, "X-Request-Id: my-trace.1")), 400);
    CHECK(has_header("Content-Type: application/problem+json"));
    CHECK(has_header("X-Request-Id: my-trace.1"));
    CHECK(has("\"detail\":\"it is wrong\",\"field\":\"jobs.a.needs[0]\",\"hint\":\"mend it\",\"line\":7,\"column\":3,"
              "\"request_id\":\"my-trace.1\""));
    CHECK_STR(heard_trace, "my-trace.1");
}

TEST(a_strange_request_id_is_replaced) {
    CHECK_INT(send_with("GET", "/v1/whoami", NULL, 0, HEADERS(GOOD, "X-Request-Id: a b\"c")), 200);
    CHECK_INT(strlen(heard_trace), 36);
}

TEST(the_idempotency_key_goes_inward) {
    CHECK_INT(send_with("POST", "/v1/runs", "{\"pipeline\":\"p\"}", 0, HEADERS(GOOD, JSON, "Idempotency-Key: k1")),
              201);
    CHECK_STR(heard_key, "k1");
    char header[256] = "Idempotency-Key: ";
    memset(header + strlen(header), 'k', 129);
    CHECK_INT(send_with("POST", "/v1/runs", "{\"pipeline\":\"p\"}", 0, HEADERS(GOOD, JSON, header)), 400);
    CHECK(has("\"field\":\"Idempotency-Key\""));
}

TEST(bad_bodies_are_refused) {
    CHECK_INT(send_with("POST", "/v1/runs", "", 0, HEADERS(GOOD, JSON)), 400);
    CHECK_INT(send_with("POST", "/v1/runs", "{", 0, HEADERS(GOOD, JSON)), 400);
    CHECK_INT(send_with("POST", "/v1/runs", "{\"pipelin\":\"p\"}", 0, HEADERS(GOOD, JSON)), 400);
    CHECK(has("pipelin"));
    CHECK_INT(send_with("POST", "/v1/runs", "{\"pipeline\":7}", 0, HEADERS(GOOD, JSON)), 400);
    CHECK_INT(send_with("POST", "/v1/runs", "pipeline=p", 0,
                        HEADERS(GOOD, "Content-Type: application/x-www-form-urlencoded")),
              415);
    CHECK_INT(send_with("POST", "/v1/runs", "x: 1", 0, HEADERS(GOOD, YAML)), 415);
    CHECK_INT(send_with("POST", "/v1/runs/r:cancel", "{\"x\":1}", 0, HEADERS(GOOD, JSON)), 400);
    CHECK_INT(send_with("POST", "/v1/runs/r:cancel", "{}", 0, HEADERS(GOOD, JSON)), 200);
    CHECK_INT(send_with("POST", "/v1/pipelines", "\xff\xfe", 0, HEADERS(GOOD, YAML)), 400);
}

TEST(a_deeply_nested_body_is_refused) {
    HD_AUTO_BUF struct hd_buf body = {0};

    for (int i = 0; i < 1000000; i++)
        hd_buf_addc(&body, '[');
    CHECK_INT(send_with("POST", "/v1/runs", body.data, 0, HEADERS(GOOD, JSON)), 400);
    CHECK_INT(send_with("GET", "/v1/whoami", NULL, 0, HEADERS(GOOD)), 200);
}

TEST(a_large_body_is_refused_also_when_it_says_no_length) {
    HD_AUTO_BUF struct hd_buf body = {0};

    for (size_t i = 0; i < BODY_MAX_BYTES + 1; i++)
        hd_buf_addc(&body, 'x');
    CHECK_INT(send_with("POST", "/v1/pipelines", body.data, 0, HEADERS(GOOD, YAML)), 413);
    CHECK_INT(send_with("POST", "/v1/pipelines", NULL, BODY_MAX_BYTES + 1, HEADERS(GOOD, YAML)), 413);
    body.data[BODY_MAX_BYTES] = '\0';
    CHECK_INT(send_with("POST", "/v1/pipelines", body.data, 0, HEADERS(GOOD, YAML)), 200);
    CHECK_INT(send_with("POST", "/v1/pipelines", NULL, 1000, HEADERS(GOOD, YAML)), 400); // blank
    CHECK_INT(send_with("GET", "/v1/whoami", NULL, 0, HEADERS(GOOD)), 200);
}

// The body that was not looked at does not become the next request of the connection.
TEST(an_answer_before_the_body_leaves_the_connection_right) {
    CHECK_INT(send_with("POST", "/v1/pipelines", "GET /v1/nothing HTTP/1.1\r\n\r\n", 0, HEADERS(YAML)), 401);
    CHECK_INT(send_with("GET", "/v1/whoami", NULL, 0, HEADERS(GOOD)), 200);
    CHECK_STR(heard_subject, "hodei.rpc.auth.WhoAmI");
}

TEST(unknown_addresses_and_methods) {
    CHECK_INT(send_with("GET", "/v1/nothing", NULL, 0, HEADERS(GOOD)), 404);
    CHECK_INT(send_with("GET", "/v1/../v1/whoami", NULL, 0, HEADERS(GOOD)), 404);
    CHECK_INT(send_with("PUT", "/v1/runs", "{}", 0, HEADERS(GOOD, JSON)), 405);
    CHECK(has_header("Allow: POST, GET"));
    CHECK_INT(send_with("OPTIONS", "/v1/runs", NULL, 0, HEADERS(GOOD)), 405);
    CHECK_INT(send_with("GET", "/v1/runs?limit=3", NULL, 0, HEADERS(GOOD)), 400);
    CHECK(has("known here: pipeline, page_size, page_token, project"));
    CHECK_INT(send_with("DELETE", "/v1/pipelines/p", NULL, 0, HEADERS(GOOD)), 204);
    CHECK_INT(got.len, 0);
}

TEST(a_service_that_is_away_is_named) {
    bus_status = HD_UNAVAILABLE;
    CHECK_INT(send_with("GET", "/v1/quota", NULL, 0, HEADERS(GOOD)), 503);
    CHECK(has_header("Retry-After: 1"));
    CHECK(has("the service \\\"quota\\\" does not answer"));
    bus_status = HD_TIMEOUT;
    CHECK_INT(send_with("GET", "/v1/quota", NULL, 0, HEADERS(GOOD)), 504);
    bus_status = HD_OK;
}

TEST(a_wait_goes_on_until_something_has_changed) {
    atomic_store(&run_reads, 0);
    CHECK_INT(send_with("GET", "/v1/runs/r1?etag=1&wait_ms=20000", NULL, 0, HEADERS(GOOD)), 200);
    CHECK(has("\"etag\":\"2\""));
    CHECK_INT(atomic_load(&run_reads), 3);
    CHECK_INT(send_with("GET", "/v1/runs/r1?wait_ms=20001", NULL, 0, HEADERS(GOOD)), 400);
    CHECK_INT(atomic_load(&gw.waits), 0);
}

TEST(too_many_waits_are_answered_at_once) {
    atomic_store(&run_reads, 0);
    atomic_store(&gw.waits, gw.waits_max);
    CHECK_INT(send_with("GET", "/v1/runs/r1?etag=1&wait_ms=20000", NULL, 0, HEADERS(GOOD)), 200);
    CHECK_INT(atomic_load(&run_reads), 1);
    CHECK(has("\"etag\":\"1\""));
    atomic_store(&gw.waits, 0);
}

TEST(a_log_as_text_is_its_bytes) {
    CHECK_INT(send_with("GET", "/v1/runs/r1/logs?format=text", NULL, 0, HEADERS(GOOD)), 200);
    CHECK(has_header("Content-Type: text/plain"));
    CHECK_INT(got.len, 12);
    CHECK(got.len == 12 && memcmp(got.data, "ab\0\nab\0\nab\0\n", 12) == 0);
    CHECK_INT(send_with("GET", "/v1/runs/r1/logs?cursor=2", NULL, 0, HEADERS(GOOD, "Accept: text/plain")), 200);
    CHECK_INT(got.len, 4);
    CHECK_INT(send_with("GET", "/v1/runs/r1/logs", NULL, 0, HEADERS(GOOD)), 200);
    CHECK(has("\"data\":\"YWIACg==\""));
    CHECK_INT(send_with("GET", "/v1/runs/r1/logs?format=xml", NULL, 0, HEADERS(GOOD)), 400);
    bus_status = HD_UNAVAILABLE;
    CHECK_INT(send_with("GET", "/v1/runs/r1/logs?format=text", NULL, 0, HEADERS(GOOD)), 503);
    bus_status = HD_OK;
}

TEST(refusals_are_folded_and_bounded) {
    static struct refusal all[REFUSALS_MAX];
    struct refusal one = {.action = "GET /v1/runs", .count = 1};
    struct refusals *refusals = refusals_new();

    for (int i = 0; i < 1000; i++)
        refusals_add(refusals, &one);
    CHECK_INT(refusals_take(refusals, all), 1);
    CHECK_INT(all[0].count, 1000);
    for (int i = 0; i < 1000; i++) {
        snprintf(one.actor, sizeof(one.actor), "user:%d", i);
        refusals_add(refusals, &one);
    }
    size_t n = refusals_take(refusals, all);
    CHECK_INT(n, REFUSALS_MAX);
    CHECK_STR(all[n - 1].action, "various");
    CHECK_INT(all[n - 1].count, 1000 - (REFUSALS_MAX - 1));
    CHECK_INT(refusals_take(refusals, all), 0);
    refusals_free(refusals);
}

TEST(who_is_refused_is_noted) {
    static struct refusal all[REFUSALS_MAX];
    refusals_take(gw.refusals, all);
    CHECK_INT(send_with("PUT", "/v1/quota", "{}", 2,
                        HEADERS("Authorization: Bearer reader", "Content-Type: application/json")),
              403);
    CHECK_INT(send_with("GET", "/v1/quota", NULL, 0, NULL), 401);
    CHECK_INT(send_with("GET", "/v1/tenants", NULL, 0, HEADERS("Authorization: Bearer reader")), 404);
    CHECK(has("there is nothing at /v1/tenants"));
    CHECK_INT(send_with("GET", "/v1/nothing", NULL, 0, HEADERS("Authorization: Bearer reader")), 404); // is no refusal
    CHECK_INT(refusals_take(gw.refusals, all), 3);
    CHECK_STR(all[0].action, "PUT /v1/quota");
    CHECK_STR(all[0].actor, "token:reader");
    CHECK_STR(all[1].actor, "");
}

static long ask_times(int n, const char *const *headers) {
    long status = 0;
    for (int i = 0; i < n; i++)
        status = send_with("GET", "/v1/whoami", NULL, 0, headers);
    return status;
}

TEST(who_asks_too_often_is_told_when_to_come_back) {
    struct limits *none = gw.limits;
    gw.limits = limits_new(1, 0, "");
    CHECK_INT(ask_times(2, NULL), 401);
    CHECK_INT(ask_times(1, NULL), 429); // before its token is looked at
    CHECK(has_header("Retry-After: 1\r\n") && has("urn:hodei:problem:limited") && has("this address"));
    CHECK_INT(ask_times(1, HEADERS(GOOD, "X-Forwarded-For: 10.9.8.7")), 429); // anybody can say that
    limits_free(gw.limits);
    gw.limits = limits_new(1, 0, "127.0.0.1");
    CHECK_INT(ask_times(2, HEADERS(GOOD, "X-Forwarded-For: 10.9.8.7")), 200);
    CHECK_INT(ask_times(1, HEADERS(GOOD, "X-Forwarded-For: 10.9.8.7")), 429);
    CHECK_INT(ask_times(1, HEADERS(GOOD, "X-Forwarded-For: 10.9.8.7, 10.9.8.6")), 200);
    limits_free(gw.limits);
    gw.limits = limits_new(0, 1, "");
    CHECK_INT(ask_times(2, HEADERS(GOOD)), 200);
    CHECK_INT(ask_times(1, HEADERS(GOOD)), 429);
    CHECK(has("this token"));
    CHECK_INT(ask_times(1, NULL), 401); // others are not held up by it
    limits_free(gw.limits);
    gw.limits = none;
}

TEST(browsers_are_kept_out) {
    CHECK_INT(send_with("GET", "/v1/whoami", NULL, 0, HEADERS(GOOD, "Origin: https://a.example")), 200);
    CHECK(has_header("Cache-Control: no-store") && has_header("X-Content-Type-Options: nosniff"));
    CHECK(has_header("X-Frame-Options: DENY") && has_header("Content-Security-Policy: default-src 'none'"));
    CHECK(!has_header("Access-Control-") && !has_header("Strict-Transport-Security"));
    CHECK_INT(send_with("OPTIONS", "/v1/whoami", NULL, 0,
                        HEADERS("Origin: https://a.example", "Access-Control-Request-Method: GET")),
              405);
    hd_strlcpy(gw.origins, "https://a.example, https://b.example", sizeof(gw.origins));
    CHECK_INT(send_with("OPTIONS", "/v1/whoami", NULL, 0,
                        HEADERS("Origin: https://b.example", "Access-Control-Request-Method: GET")),
              204);
    CHECK(has_header("Access-Control-Allow-Origin: https://b.example\r\n") && has_header("Vary: Origin"));
    CHECK_INT(send_with("GET", "/v1/whoami", NULL, 0, HEADERS(GOOD, "Origin: https://a.example")), 200);
    CHECK(has_header("Access-Control-Allow-Origin: https://a.example\r\n"));
    CHECK_INT(send_with("GET", "/v1/whoami", NULL, 0, HEADERS(GOOD, "Origin: https://a.exampl")), 200);
    CHECK(!has_header("Access-Control-"));
    CHECK_INT(send_with("GET", "/v1/whoami", NULL, 0, HEADERS(GOOD, "Origin: null")), 200);
    CHECK(!has_header("Access-Control-"));
    gw.origins[0] = '\0';
}

TEST(stops_while_connections_are_open) {
    CHECK_INT(send_with("GET", "/v1/whoami", NULL, 0, HEADERS(GOOD)), 200);
    gateway_http_stop(&gw);
    auth_cache_free(gw.cache);
    refusals_free(gw.refusals);
    limits_free(gw.limits);
    curl_easy_cleanup(curl);
    hd_buf_release(&got);
    hd_buf_release(&got_headers);
}

TEST_MAIN
