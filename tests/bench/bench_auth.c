// The gateway alone, over a bus that answers at once: what a decision costs, and an HTTP server to measure with and without one.
//
//   bench-auth TOKEN     prints {"check_us": …, "port": …} and serves until its standard input ends
//
// check_us is one cached decision: the token's SHA-256, the lookup, the principal unpacked, the permission looked for.
#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/map.h"
#include "base/pb.h"
#include "hodei/v1/auth.pb-c.h"
#include "services/api-gateway/gateway.h"

#define CHECKS 200000

static const char *fixed_header; // of every request, where it is set

// Stands before civetweb's own, so that a decision can be asked for without a connection.
const char *mg_get_header(const struct mg_connection *conn, const char *name) {
    static const char *(*next)(const struct mg_connection *, const char *);
    if (fixed_header)
        return hd_streq(name, "Authorization") ? fixed_header : NULL;
    if (!next)
        next = (const char *(*)(const struct mg_connection *, const char *))dlsym(RTLD_NEXT, "mg_get_header");
    return next(conn, name);
}

// What the role developer has.
static char *permissions[] = {"pipeline.read", "pipeline.write", "run.read", "run.start",
                              "run.cancel",    "run.steer",      "log.read", "worker.read"};

static void answer(const ProtobufCMessage *msg, uint8_t **ret, size_t *ret_len) {
    Hodei__V1__RpcReply reply = HODEI__V1__RPC_REPLY__INIT;
    reply.body.len = msg ? protobuf_c_message_get_packed_size(msg) : 0;
    HD_AUTO_FREE uint8_t *body = hd_calloc(1, reply.body.len + 1);
    if (msg)
        protobuf_c_message_pack(msg, body);
    reply.body.data = body;
    *ret_len = protobuf_c_message_get_packed_size(&reply.base);
    *ret = hd_calloc(1, *ret_len + 1);
    protobuf_c_message_pack(&reply.base, *ret);
}

enum hd_status hd_bus_nats_call(struct hd_bus *bus, const char *subject, const void *data, size_t len,
                                int64_t timeout_ms, struct hd_err *err, uint8_t **ret, size_t *ret_len) {
    Hodei__V1__AuthenticateReply reply = HODEI__V1__AUTHENTICATE_REPLY__INIT;
    Hodei__V1__Principal principal = HODEI__V1__PRINCIPAL__INIT;
    (void)bus;
    (void)data;
    (void)len;
    (void)timeout_ms;
    (void)err;
    principal.subject = "service-account:ci";
    principal.tenant = "default";
    principal.permissions = permissions;
    principal.n_permissions = sizeof(permissions) / sizeof(permissions[0]);
    reply.principal = &principal;
    reply.ttl_ms = 60000;
    reply.policy_version = 1;
    answer(hd_streq(subject, "hodei.rpc.auth.Authenticate") ? &reply.base : NULL, ret, ret_len);
    return HD_OK;
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static double check_us(struct gateway *gw, const char *token) {
    static const struct route route = {.method = "GET", .path = "/v1/workers", .permission = "worker.read"};
    static const struct mg_request_info info = {.remote_addr = "127.0.0.1"};
    char header[256];
    snprintf(header, sizeof(header), "Bearer %s", token);
    fixed_header = header;
    int64_t start = now_ns();
    for (int i = 0; i < CHECKS; i++) {
        struct exchange ex = {.gw = gw, .info = &info, .match = {.route = &route}};
        hd_arena_init(&ex.arena);
        if (exchange_authenticate(&ex) != HD_OK || exchange_authorize(&ex) != HD_OK) {
            fprintf(stderr, "bench-auth: %s\n", ex.err.text);
            exit(1);
        }
        hd_arena_release(&ex.arena);
    }
    fixed_header = NULL;
    return (double)(now_ns() - start) / 1e3 / CHECKS;
}

int main(int argc, char **argv) {
    static struct gateway gw;
    struct mg_server_port port = {0};
    struct hd_err err;
    char byte;
    if (argc != 2) {
        fprintf(stderr, "usage: bench-auth TOKEN\n");
        return 2;
    }
    gw.cache = auth_cache_new();
    gw.refusals = refusals_new();
    gw.limits = limits_new(0, 0, "");
    gw.request_timeout_ms = 10000;
    double us = check_us(&gw, argv[1]);
    if (gateway_http_start(&gw, "127.0.0.1:0", 32, &err) != HD_OK || mg_get_server_ports(gw.web, 1, &port) != 1) {
        fprintf(stderr, "bench-auth: %s\n", err.text);
        return 1;
    }
    printf("{\"check_us\":%.3f,\"port\":%d}\n", us, port.port);
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    gateway_http_stop(&gw);
    auth_cache_free(gw.cache);
    refusals_free(gw.refusals);
    limits_free(gw.limits);
    return 0;
}
