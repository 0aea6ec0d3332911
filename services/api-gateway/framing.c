#include "services/api-gateway/gateway.h"

#include <ctype.h>
#include <strings.h>

#define HEAD_MAX_BYTES (16u << 10)

// RFC 9110, 5.6.2
static bool is_token(const char *text) {
    static const char others[] = "!#$%&'*+-.^_`|~";

    for (const char *at = text; *at; at++)
        if (!isalnum((unsigned char)*at) && !strchr(others, *at))
            return false;
    return *text != '\0';
}

static bool is_length(const char *text) {
    size_t digits = strspn(text, "0123456789");

    return digits > 0 && digits <= 15 && !text[digits];
}

static enum hd_status unclear(struct exchange *ex, const char *what) {
    mg_disable_connection_keep_alive(ex->conn);
    ex->close = true;
    hd_err_set(&ex->err, HD_INVALID, "where the body ends is unclear: %s", what);
    hd_err_hint(&ex->err, "send one Content-Length, or Transfer-Encoding: chunked");
    return HD_INVALID;
}

static enum hd_status head_is_small(struct exchange *ex) {
    size_t size = strlen(ex->info->request_uri) + (ex->info->query_string ? strlen(ex->info->query_string) : 0);

    for (int i = 0; i < ex->info->num_headers; i++)
        size += strlen(ex->info->http_headers[i].name) + strlen(ex->info->http_headers[i].value) + 4;
    if (size <= HEAD_MAX_BYTES && ex->info->num_headers < MG_MAX_HEADERS)
        return HD_OK;
    mg_disable_connection_keep_alive(ex->conn);
    ex->close = true;
    ex->http_status = 431;
    return hd_err_set(&ex->err, HD_INVALID,
                      "the request line and headers are larger than %u KiB, or there are %d headers or more",
                      HEAD_MAX_BYTES >> 10, MG_MAX_HEADERS);
}

// Where two programs in a row see the end of a body at different places, one's body is the other's next request (RFC 9112, 11.2).
// So what could be seen in two ways is refused, and nothing more is read from that connection.
enum hd_status framing_check(struct exchange *ex) {
    unsigned lengths = 0, codings = 0;

    HD_TRY(head_is_small(ex));
    for (int i = 0; i < ex->info->num_headers; i++) {
        const struct mg_header *header = &ex->info->http_headers[i];
        if (!is_token(header->name))
            return unclear(ex, "a header has a name that is none");
        if (strcasecmp(header->name, "Content-Length") == 0 && (lengths++ || !is_length(header->value)))
            return unclear(ex, "Content-Length is said twice, or is no number");
        if (strcasecmp(header->name, "Transfer-Encoding") == 0 &&
            (codings++ || strcasecmp(header->value, "chunked") != 0))
            return unclear(ex, "Transfer-Encoding is not \"chunked\" alone");
    }
    if (lengths && codings)
        return unclear(ex, "there is a Content-Length and a Transfer-Encoding");
    return HD_OK;
}
