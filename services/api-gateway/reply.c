#include "services/api-gateway/gateway.h"
#include "services/api-gateway/gzip.h"
#include "services/api-gateway/openapi.h"

#include <assert.h>
#include <pthread.h>

#include "base/pb.h"

static void add_text_member(struct hd_buf *out, const char *key, const char *text) {
    hd_buf_addf(out, ",\"%s\":", key);
    hd_json_add_string(out, text, strlen(text));
}

void problem_format(struct hd_buf *out, const struct hd_err *err, int http_status, const char *trace) {
    const struct hd_status_info *info = hd_status_info(err->status);

    hd_buf_addf(out, "{\"type\":\"urn:hodei:problem:%s\"", info->name);
    add_text_member(out, "title", info->title);
    hd_buf_addf(out, ",\"status\":%d", http_status);
    add_text_member(out, "detail", err->text);
    if (err->field[0])
        add_text_member(out, "field", err->field);
    if (err->hint[0])
        add_text_member(out, "hint", err->hint);
    if (err->line)
        hd_buf_addf(out, ",\"line\":%u", err->line);
    if (err->column)
        hd_buf_addf(out, ",\"column\":%u", err->column);
    if (trace[0])
        add_text_member(out, "request_id", trace);
    hd_buf_adds(out, "}\n");
}

// NULL: the request is no page's, or its origin is not listed.
static const char *origin(const struct exchange *ex) {
    const char *given = mg_get_header(ex->conn, "Origin"), *list = ex->gw->origins;
    size_t len = given ? strlen(given) : 0;

    for (const char *at = list; len && *at; at += strcspn(at, ","), at += *at == ',') {
        at += strspn(at, " ");
        if (strncmp(at, given, len) == 0 && (at[len] == ',' || at[len] == ' ' || !at[len]))
            return given;
    }
    return NULL;
}

static void add_origin(struct hd_buf *out, const struct exchange *ex) {
    const char *allowed = origin(ex);

    if (ex->gw->origins[0])
        hd_buf_adds(out, "Vary: Origin\r\n");
    if (allowed)
        hd_buf_addf(out,
                    "Access-Control-Allow-Origin: %s\r\nAccess-Control-Expose-Headers: X-Request-Id, Retry-After\r\n",
                    allowed);
}

const char *hsts_header(const struct gateway *gw) {
    return gw->tls ? "Strict-Transport-Security: max-age=31536000\r\n" : "";
}

static void send_all(struct exchange *ex, int status, const char *type, const char *headers,
                     const struct hd_buf *body) {
    HD_AUTO_BUF struct hd_buf out = {0}, packed = {0};
    bool close = ex->close || atomic_load(&ex->gw->stopping);
    bool large = type && body->len >= GZIP_MIN_BYTES;
    bool pack = large && gzip_accepted(mg_get_header(ex->conn, "Accept-Encoding")) &&
                gzip_add(&packed, body->data, body->len) == HD_OK;

    if (close)
        mg_disable_connection_keep_alive(ex->conn);
    hd_buf_addf(&out, "HTTP/1.1 %d %s\r\n" COMMON_HEADERS "%sX-Request-Id: %s\r\n%s", status,
                mg_get_response_code_text(ex->conn, status), hsts_header(ex->gw), ex->trace, headers);
    add_origin(&out, ex);
    if (close)
        hd_buf_adds(&out, "Connection: close\r\n");
    if (pack)
        body = &packed;
    if (large)
        hd_buf_addf(&out, "%sVary: Accept-Encoding\r\n", pack ? "Content-Encoding: gzip\r\n" : "");
    if (type)
        hd_buf_addf(&out, "Content-Type: %s\r\nContent-Length: %zu\r\n", type, body->len);
    hd_buf_adds(&out, "\r\n");
    if (type)
        hd_buf_add(&out, body->data, body->len);
    exchange_phase(ex, CONN_SENDING, out.len);
    mg_write(ex->conn, out.data, out.len);
}

static const char *text_of(const ProtobufCMessage *msg, const char *name) {
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(msg->descriptor, name);

    assert(field && field->type == PROTOBUF_C_TYPE_STRING && field->label != PROTOBUF_C_LABEL_REPEATED);
    return *(char *const *)(const void *)((const char *)msg + field->offset);
}

int reply_message(struct exchange *ex, const ProtobufCMessage *msg) {
    HD_AUTO_BUF struct hd_buf body = {0};
    int status = ex->match.route->success;

    if (status == 204) {
        send_all(ex, status, NULL, "", NULL);
        return status;
    }
    if (ex->match.route->verbatim)
        hd_buf_adds(&body, text_of(msg, ex->match.route->verbatim));
    else
        hd_pb_to_json_all(msg, &body);
    hd_buf_addc(&body, '\n');
    send_all(ex, status, "application/json", "", &body);
    return status;
}

// It takes milliseconds, and is always the same.
static struct hd_buf description;

static void describe(void) {
    openapi_add(&description);
    hd_buf_addc(&description, '\n');
}

int reply_description(struct exchange *ex) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, describe);
    send_all(ex, 200, "application/json", "", &description);
    return 200;
}

int reply_problem(struct exchange *ex) {
    HD_AUTO_BUF struct hd_buf body = {0}, headers = {0};
    int status = ex->http_status ? ex->http_status : hd_status_info(ex->err.status)->http;

    if (status == 401)
        hd_buf_adds(&headers, "WWW-Authenticate: Bearer realm=\"hodei\"\r\n");
    if (status == 405 && ex->allow)
        hd_buf_addf(&headers, "Allow: %s\r\n", ex->allow);
    if (status == 429 || status == 503)
        hd_buf_addf(&headers, "Retry-After: %lld\r\n", ex->err.retry_after_s ? (long long)ex->err.retry_after_s : 1);
    ex->close = ex->close || status == 413 || status == 408; // the rest of the body is not read
    problem_format(&body, &ex->err, status, ex->trace);
    send_all(ex, status, "application/problem+json", headers.data ? headers.data : "", &body);
    return status;
}

int reply_preflight(struct exchange *ex) {
    if (!origin(ex) || !mg_get_header(ex->conn, "Access-Control-Request-Method"))
        return 0;
    send_all(ex, 204, NULL,
             "Access-Control-Allow-Methods: GET, POST, PUT, DELETE\r\n"
             "Access-Control-Allow-Headers: Authorization, Content-Type, Idempotency-Key, X-Request-Id\r\n"
             "Access-Control-Max-Age: 600\r\n",
             NULL);
    return 204;
}

void reply_text_begin(struct exchange *ex) {
    HD_AUTO_BUF struct hd_buf cors = {0};

    add_origin(&cors, ex);
    mg_printf(ex->conn,
              "HTTP/1.1 200 OK\r\n" COMMON_HEADERS
              "%sX-Request-Id: %s\r\n%sContent-Type: text/plain; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n",
              hsts_header(ex->gw), ex->trace, cors.data ? cors.data : "");
}
