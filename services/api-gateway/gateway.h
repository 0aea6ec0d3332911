// The API gateway: HTTP/JSON in, requests on the bus out. It owns nothing and decides nothing but who may ask.
//
// Threads: the runner's loop (health, signals, the policy version), and civetweb's, one a connection, which do nothing but read a request, make
// one synchronous call on the bus at a time, and write the answer. What they share is the bus (thread-safe), the token
// cache (auth_cache.h) and atomics; conns.h and tls.h say which of their own.
#ifndef HD_GATEWAY_GATEWAY_H
#define HD_GATEWAY_GATEWAY_H

#include <stdatomic.h>

#include <civetweb.h>

#include "hodei/v1/common.pb-c.h"
#include "service/service.h"
#include "services/api-gateway/auth_cache.h"
#include "services/api-gateway/conns.h"
#include "services/api-gateway/jwt_check.h"
#include "services/api-gateway/refusals.h"
#include "services/api-gateway/routes.h"
#include "services/api-gateway/tls.h"

#define BODY_MAX_BYTES (2u << 20)
#define TRACE_MAX 64
// An API: whatever a browser takes an answer for, it runs nothing, shows it in no frame and keeps no copy.
#define COMMON_HEADERS                                                                                                 \
    "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"                          \
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\n"

struct gateway {
    struct hd_bus *bus; // borrowed
    struct mg_context *web;
    struct conns *conns; // NULL: connections are not looked after
    struct tls *tls;     // NULL: plain HTTP
    struct auth_cache *cache;
    struct refusals *refusals;
    struct refusal sent[REFUSALS_MAX]; // of the loop: on their way to auth
    size_t n_sent;
    struct jwt_keys *jwt_keys;
    struct limits *limits;
    char origins[1024]; // of pages that may ask from browsers, separated by commas
    int64_t request_timeout_ms;
    unsigned waits_max; // requests that may wait for news at once; one more is answered without waiting
    _Atomic unsigned waits;
    int64_t drain_ms;
    _Atomic bool stopping;
};

// One request and its answer. Lives on civetweb's stack, which is small: everything large is in the arena.
struct exchange {
    struct gateway *gw;
    struct mg_connection *conn;
    const struct mg_request_info *info;
    struct hd_arena arena;
    struct hd_err err;
    char trace[TRACE_MAX + 1];
    const char *allow; // for 405
    int http_status;   // of an error; 0: by the kind of err
    struct route_match match;
    struct query query;
    bool text;  // the answer is text/plain
    bool close; // nothing more is read from this connection
    Hodei__V1__Principal *principal;
};

enum gateway_metric {
    METRIC_2XX,
    METRIC_4XX,
    METRIC_5XX,
    METRIC_CACHE_HIT,
    METRIC_CACHE_MISS,
    METRIC_WAITS,
    METRIC_WAITS_REFUSED,
    METRIC_LIMITED,
    METRIC_CONNECTIONS,
    METRIC_CONNECTIONS_REFUSED,
    METRIC_CONNECTIONS_SLOW,
    METRIC_CONNECTIONS_SHED,
    METRIC_CERTIFICATE_END,
    METRIC_COUNT
};
extern struct hd_metric gateway_metrics[METRIC_COUNT];

// http.c: the server. `address` is host:port; with gw->tls it speaks TLS and nothing else.
enum hd_status gateway_http_start(struct gateway *gw, const char *address, int threads, struct hd_err *err) HD_MUST_USE;
void gateway_http_stop(struct gateway *gw); // lets what runs end; waits are ended early
hd_handler gateway_tend;                    // a timer of the loop: slow connections, a certificate that has changed

// exchange.c: one request from its line to the status that was sent.
int gateway_exchange(struct gateway *gw, struct mg_connection *conn);
void exchange_phase(struct exchange *ex, enum conn_phase phase, size_t bytes);

// reply.c: what is written. Each returns the HTTP status.
int reply_message(struct exchange *ex, const ProtobufCMessage *msg);
int reply_problem(struct exchange *ex);
int reply_description(struct exchange *ex); // of the API
int reply_preflight(struct exchange *ex);   // 0: it is none, or its page may not ask
// Begins an answer of text/plain whose length is not known yet; text goes out by mg_send_chunk.
void reply_text_begin(struct exchange *ex);
const char *hsts_header(const struct gateway *gw); // with its line's end; "" where there is no TLS
void problem_format(struct hd_buf *out, const struct hd_err *err, int http_status, const char *trace);

// framing.c: refuses a request whose end is unclear, or whose head is too large.
enum hd_status framing_check(struct exchange *ex) HD_MUST_USE;

// body.c: fills `ret` from the body by the route's rule.
enum hd_status body_read(struct exchange *ex, ProtobufCMessage **ret) HD_MUST_USE;

// auth.c: sets ex->principal from the bearer token, and checks the route's permission.
enum hd_status exchange_authenticate(struct exchange *ex) HD_MUST_USE;
enum hd_status exchange_authorize(struct exchange *ex) HD_MUST_USE;

// policy.c: timers of the loop and the answers to them, and what the threads note for it.
enum gateway_answer { ANSWER_POLICY, ANSWER_RECORDED, ANSWER_COUNT };
hd_handler policy_ask, policy_answered;
hd_handler refusals_send, refusals_answered;
void refusal_note(struct exchange *ex); // ex->err says why

// limit.c: how often an address and a token may ask.
struct limits *limits_new(int64_t address_per_s, int64_t token_per_s, const char *trusted); // 0: no limit
void limits_free(struct limits *limits);
void exchange_client(const struct exchange *ex, char ret[64]); // whose request it is, behind proxies that are trusted
enum hd_status exchange_limit_address(struct exchange *ex) HD_MUST_USE;
enum hd_status exchange_limit_token(struct exchange *ex) HD_MUST_USE;

// call.c: one request on the bus. `timeout_ms` is for this call.
enum hd_status bus_call(struct exchange *ex, const char *service, const char *rpc, const ProtobufCMessage *request,
                        const ProtobufCMessageDescriptor *reply, int64_t timeout_ms,
                        ProtobufCMessage **ret) HD_MUST_USE;
// Whether somebody who may do this in parts of the tenant may do it with this run. He may: then it is no longer said that he may not elsewhere.
enum hd_status run_seen(struct exchange *ex, const ProtobufCMessage *request) HD_MUST_USE;
// The call of the route, again and again while nothing has changed and wait_ms is not over.
enum hd_status route_call(struct exchange *ex, ProtobufCMessage *request, ProtobufCMessage **ret) HD_MUST_USE;

// log_text.c: the bytes of a log from the request's cursor to the end as text/plain.
int reply_log_text(struct exchange *ex, ProtobufCMessage *request);

#endif
