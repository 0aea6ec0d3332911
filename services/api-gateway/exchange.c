#include "services/api-gateway/gateway.h"

#include "base/log.h"
#include "base/pb.h"

// The caller's X-Request-Id where it is a sane one, else a new UUID.
static void trace_set(struct exchange *ex) {
    const char *given = mg_get_header(ex->conn, "X-Request-Id");
    struct hd_rng rng;

    if (given && strlen(given) <= TRACE_MAX && hd_name_valid(given)) {
        hd_strlcpy(ex->trace, given, sizeof(ex->trace));
        return;
    }
    hd_rng_seed_os(&rng);
    hd_uuid_format(hd_uuid7(hd_now_read().wall_ms, &rng), ex->trace);
}

static bool accepts_text(struct exchange *ex) {
    const char *accept = mg_get_header(ex->conn, "Accept");

    return accept && hd_starts_with(accept, "text/plain");
}

static enum hd_status format_take(struct exchange *ex) {
    if (!ex->match.route->text)
        return HD_OK;
    const char *format = query_take(&ex->query, "format");
    ex->text = format ? hd_streq(format, "text") : accepts_text(ex);
    if (format && !ex->text && !hd_streq(format, "json")) {
        hd_err_set(&ex->err, HD_INVALID, "format \"%.40s\" is not known", format);
        hd_err_field(&ex->err, "format");
        hd_err_hint(&ex->err, "use json or text");
        return HD_INVALID;
    }
    return HD_OK;
}

static enum hd_status find(struct exchange *ex) {
    enum hd_status status =
        route_find(&ex->arena, ex->info->request_method, ex->info->local_uri_raw, &ex->err, &ex->match, &ex->allow);

    if (status == HD_PRECONDITION)
        ex->http_status = 405;
    return status;
}

static enum hd_status prepare(struct exchange *ex, ProtobufCMessage **ret) {
    HD_TRY(find(ex));
    if (!ex->match.route->open) {
        HD_TRY(exchange_authenticate(ex));
        HD_TRY(exchange_limit_token(ex));
        HD_TRY(exchange_authorize(ex));
    }
    HD_TRY(query_parse(&ex->arena, ex->info->query_string, &ex->err, &ex->query));
    HD_TRY(format_take(ex));
    HD_TRY(body_read(ex, ret));
    HD_TRY(route_fill(&ex->arena, &ex->match, &ex->query, *ret, &ex->err));
    if (ex->match.route->dry_run)
        HD_TRY(hd_pb_set_text(&ex->arena, *ret, "dry_run", "true", &ex->err));
    return HD_OK;
}

void exchange_phase(struct exchange *ex, enum conn_phase phase, size_t bytes) {
    conns_phase(ex->gw->conns, ex->conn, phase, (int64_t)bytes, hd_now_read().mono_ms);
}

static int answer(struct exchange *ex) {
    ProtobufCMessage *request, *reply;

    if (framing_check(ex) != HD_OK || exchange_limit_address(ex) != HD_OK)
        return reply_problem(ex);
    if (hd_streq(ex->info->request_method, "OPTIONS")) {
        int status = reply_preflight(ex);
        if (status)
            return status;
    }
    if (prepare(ex, &request) != HD_OK)
        return reply_problem(ex);
    if (!ex->match.route->service)
        return reply_description(ex);
    if (run_seen(ex, request) != HD_OK)
        return reply_problem(ex);
    if (ex->text)
        return reply_log_text(ex, request);
    if (route_call(ex, request, &reply) != HD_OK)
        return reply_problem(ex);
    return reply_message(ex, reply);
}

int gateway_exchange(struct gateway *gw, struct mg_connection *conn) {
    struct exchange ex = {.gw = gw, .conn = conn, .info = mg_get_request_info(conn)};

    hd_arena_init(&ex.arena);
    trace_set(&ex);
    conns_bind_peer(gw->conns, conn, ex.info->remote_addr, ex.info->remote_port);
    exchange_phase(&ex, CONN_WORKING, 0);
    int status = answer(&ex);
    exchange_phase(&ex, CONN_IDLE, 0);
    if (status >= 500) {
        struct hd_log_fields fields = {.trace = ex.trace, .tenant = ex.principal ? ex.principal->tenant : NULL};
        hd_log(HD_LOG_WARN, &fields, "%s %.200s: %d: %s", ex.info->request_method, ex.info->local_uri_raw, status,
               ex.err.text);
    }
    hd_arena_release(&ex.arena);
    return status;
}
