#include "services/api-gateway/gateway.h"

#include <ctype.h>
#include <strings.h>

#include "base/pb.h"

#define DROP_MAX_BYTES (16u << 20)

enum media { MEDIA_NONE, MEDIA_JSON, MEDIA_YAML, MEDIA_OTHER };

static enum media media_type(const char *header) {
    static const struct {
        const char *name;
        enum media media;
    } types[] = {
        {"application/json", MEDIA_JSON}, {"application/yaml", MEDIA_YAML}, {"application/x-yaml", MEDIA_YAML},
        {"text/yaml", MEDIA_YAML},        {"text/x-yaml", MEDIA_YAML},      {"text/plain", MEDIA_YAML},
    };
    size_t len = header ? strcspn(header, "; \t") : 0;

    if (len == 0)
        return MEDIA_NONE;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strlen(types[i].name) == len && strncasecmp(types[i].name, header, len) == 0)
            return types[i].media;
    return MEDIA_OTHER;
}

// Most clients send all before they read: what is a little too large is taken and dropped, so that they see the answer and not a
// broken connection. With Expect: 100-continue nothing is on its way.
static void drop_rest(struct exchange *ex) {
    char chunk[16u << 10];
    size_t dropped = 0;

    if (mg_get_header(ex->conn, "Expect"))
        return;
    for (int n; dropped < DROP_MAX_BYTES && (n = mg_read(ex->conn, chunk, sizeof(chunk))) > 0; dropped += (size_t)n)
        exchange_phase(ex, CONN_BODY, (size_t)n);
}

static enum hd_status too_large(struct exchange *ex) {
    drop_rest(ex);
    ex->http_status = 413;
    return hd_err_set(&ex->err, HD_INVALID, "the body is larger than %u bytes", BODY_MAX_BYTES);
}

static enum hd_status broken_off(struct exchange *ex, size_t got) {
    if (conns_is_cut(ex->gw->conns, ex->conn)) {
        ex->http_status = 408;
        return hd_err_set(&ex->err, HD_TIMEOUT, "the body came too slowly: %zu bytes so far", got);
    }
    if (ex->info->content_length >= 0)
        return hd_err_set(&ex->err, HD_INVALID, "the body ended after %zu of %lld bytes", got,
                          ex->info->content_length);
    return hd_err_set(&ex->err, HD_INVALID, "the body ended too early or is badly chunked");
}

// Counts what really arrives: a chunked body says no length, and a length may lie.
static enum hd_status read_all(struct exchange *ex, struct hd_buf *ret) {
    const char *expect = mg_get_header(ex->conn, "Expect");
    const size_t step = 32u << 10;

    if (ex->info->content_length > (long long)BODY_MAX_BYTES)
        return too_large(ex);
    if (expect && strcasecmp(expect, "100-continue") == 0)
        mg_printf(ex->conn, "HTTP/1.1 100 Continue\r\n\r\n");
    exchange_phase(ex, CONN_BODY, 0);
    for (;;) {
        hd_buf_reserve(ret, step);
        int n = mg_read(ex->conn, ret->data + ret->len, step);
        if (n < 0)
            return broken_off(ex, ret->len);
        if (n == 0)
            break;
        ret->len += (size_t)n;
        exchange_phase(ex, CONN_BODY, (size_t)n);
        if (ret->len > BODY_MAX_BYTES)
            return too_large(ex);
    }
    if (ex->info->content_length >= 0 && ret->len != (size_t)ex->info->content_length)
        return broken_off(ex, ret->len);
    exchange_phase(ex, CONN_WORKING, 0);
    hd_buf_addc(ret, '\0'); // a C string for those who need one
    ret->len--;
    return HD_OK;
}

static enum hd_status not_supported(struct exchange *ex, const char *header) {
    ex->http_status = 415;
    hd_err_set(&ex->err, HD_INVALID, "the Content-Type %.80s is not taken here",
               header ? header : "is missing and none");
    hd_err_hint(&ex->err, ex->match.route->body == BODY_PIPELINE
                              ? "send application/yaml, or application/json with \"source\""
                              : "send application/json");
    return HD_INVALID;
}

static enum hd_status from_yaml(struct exchange *ex, const struct hd_buf *body, ProtobufCMessage **ret) {
    ProtobufCMessage *request = hd_pb_new(&ex->arena, ex->match.route->request);

    if (!hd_utf8_valid(body->data, body->len) || (body->len && memchr(body->data, '\0', body->len)))
        return hd_err_set(&ex->err, HD_INVALID, "the body is not UTF-8 text");
    HD_TRY(
        hd_pb_set_text(&ex->arena, request, "source", hd_arena_strndup(&ex->arena, body->data, body->len), &ex->err));
    *ret = request;
    return HD_OK;
}

static bool blank(const struct hd_buf *body) {
    for (size_t i = 0; i < body->len; i++)
        if (!isspace((unsigned char)body->data[i]))
            return false;
    return true;
}

enum hd_status body_read(struct exchange *ex, ProtobufCMessage **ret) {
    HD_AUTO_BUF struct hd_buf body = {0};
    const struct route *route = ex->match.route;
    const char *header = mg_get_header(ex->conn, "Content-Type");
    enum media media = media_type(header);

    HD_TRY(read_all(ex, &body));
    if (route->body == BODY_NONE) {
        // "{}" is what clients send that always send something.
        if (!blank(&body) && !hd_streq(body.data, "{}"))
            return hd_err_set(&ex->err, HD_INVALID, "%s %s takes no body", route->method, route->path);
        *ret = hd_pb_new(&ex->arena, route->request);
        return HD_OK;
    }
    if (blank(&body) && route->body == BODY_OPTIONAL) {
        *ret = hd_pb_new(&ex->arena, route->request);
        return HD_OK;
    }
    if (blank(&body)) {
        hd_err_set(&ex->err, HD_INVALID, "the body is empty");
        hd_err_hint(&ex->err, route->body == BODY_PIPELINE ? "send the pipeline as YAML" : "send a JSON object");
        return HD_INVALID;
    }
    if (media == MEDIA_YAML && route->body == BODY_PIPELINE)
        return from_yaml(ex, &body, ret);
    if (media != MEDIA_JSON)
        return not_supported(ex, header);
    if (ex->query.n && route->body == BODY_PIPELINE)
        return hd_err_set(&ex->err, HD_INVALID, "with a JSON body, \"%.60s\" belongs into the body",
                          ex->query.params[0].name);
    return hd_json_to_pb(&ex->arena, route->request, body.data, body.len, &ex->err, ret);
}
