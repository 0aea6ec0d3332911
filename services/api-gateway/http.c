#include "services/api-gateway/gateway.h"

#include "base/log.h"

#define FINISH_MS 1000 // for those who have connected and have not asked yet, when we end

struct hd_metric gateway_metrics[METRIC_COUNT] = {
    [METRIC_2XX] = {"hodei_api_gateway_requests_total", "code=\"2xx\"", "Requests answered, by class of status.",
                    HD_COUNTER},
    [METRIC_4XX] = {"hodei_api_gateway_requests_total", "code=\"4xx\"", "Requests answered, by class of status.",
                    HD_COUNTER},
    [METRIC_5XX] = {"hodei_api_gateway_requests_total", "code=\"5xx\"", "Requests answered, by class of status.",
                    HD_COUNTER},
    [METRIC_CACHE_HIT] = {"hodei_api_gateway_tokens_total", "cache=\"hit\"", "Tokens looked up, by where.", HD_COUNTER},
    [METRIC_CACHE_MISS] = {"hodei_api_gateway_tokens_total", "cache=\"miss\"", "Tokens looked up, by where.",
                           HD_COUNTER},
    [METRIC_WAITS] = {"hodei_api_gateway_waits", NULL, "Requests that wait for news now.", HD_GAUGE},
    [METRIC_WAITS_REFUSED] = {"hodei_api_gateway_waits_refused_total", NULL,
                              "Requests answered without waiting, since too many wait.", HD_COUNTER},
    [METRIC_LIMITED] = {"hodei_api_gateway_limited_total", NULL,
                        "Requests refused, since their address or token asks too often.", HD_COUNTER},
    [METRIC_CONNECTIONS] = {"hodei_api_gateway_connections", NULL, "Connections that are open.", HD_GAUGE},
    [METRIC_CONNECTIONS_REFUSED] = {"hodei_api_gateway_connections_cut_total", "why=\"address\"",
                                    "Connections cut off, by why: too many of one address, too slow, to make room.",
                                    HD_COUNTER},
    [METRIC_CONNECTIONS_SLOW] = {"hodei_api_gateway_connections_cut_total", "why=\"slow\"",
                                 "Connections cut off, by why: too many of one address, too slow, to make room.",
                                 HD_COUNTER},
    [METRIC_CONNECTIONS_SHED] = {"hodei_api_gateway_connections_cut_total", "why=\"room\"",
                                 "Connections cut off, by why: too many of one address, too slow, to make room.",
                                 HD_COUNTER},
    [METRIC_CERTIFICATE_END] = {"hodei_api_gateway_certificate_not_after_seconds", NULL,
                                "End of the certificate's validity, in seconds since 1970; 0: no TLS.", HD_GAUGE},
};

#define HEAD_BUFFER                                                                                                    \
    "65536" // more than is taken (framing.c), so that a head that is too large can be answered as what it is

static void count(int http_status) {
    enum gateway_metric metric = http_status >= 500 ? METRIC_5XX : http_status >= 400 ? METRIC_4XX : METRIC_2XX;

    hd_metric_add(&gateway_metrics[metric], 1);
}

static int on_request(struct mg_connection *conn) {
    struct gateway *gw = mg_get_user_data(mg_get_context(conn));
    int status = gateway_exchange(gw, conn);

    count(status);
    return status;
}

// What civetweb itself refuses (a broken request line, a head above HEAD_BUFFER) is answered in the same form.
static int on_error(struct mg_connection *conn, int status, const char *text) {
    const struct gateway *gw = mg_get_user_data(mg_get_context(conn));
    HD_AUTO_BUF struct hd_buf body = {0};
    struct hd_err err;

    hd_err_set(&err, status >= 500 ? HD_INTERNAL : HD_INVALID, "the request could not be read: %s", text ? text : "");
    problem_format(&body, &err, status, "");
    mg_disable_connection_keep_alive(conn);
    mg_printf(conn,
              "HTTP/1.1 %d %s\r\n" COMMON_HEADERS
              "%sContent-Type: application/problem+json\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
              status, mg_get_response_code_text(conn, status), hsts_header(gw), body.len);
    mg_write(conn, body.data, body.len);
    count(status);
    return 0;
}

// --- connections -----------------------------------------------------------------------------------------------------

static void on_handshake(const SSL *ssl, int where, int value) {
    struct gateway *gw = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    (void)value;

    if (where & SSL_CB_HANDSHAKE_START)
        conns_bind_fd(gw->conns, SSL_get_app_data(ssl), SSL_get_fd(ssl)); // civetweb's connection
}

static void on_close(const struct mg_connection *conn) {
    struct gateway *gw = mg_get_user_data(mg_get_context(conn));
    const struct mg_request_info *info = mg_get_request_info(conn);

    if (info)
        conns_bind_peer(gw->conns, conn, info->remote_addr, info->remote_port);
    conns_left(gw->conns, conn);
}

static int on_context(void **ret, void *self) {
    struct gateway *gw = self;

    if (!gw->tls)
        return 0;
    SSL_CTX *ctx = tls_context(gw->tls);
    SSL_CTX_set_app_data(ctx, gw);
    SSL_CTX_set_info_callback(ctx, on_handshake);
    *ret = ctx;
    return 1;
}

enum hd_status gateway_tend(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct gateway *gw = self;
    struct conns_counts counts = conns_counts(gw->conns);
    (void)items, (void)n;

    conns_sweep(gw->conns, cx->now.mono_ms);
    hd_metric_set(&gateway_metrics[METRIC_CONNECTIONS], conns_open(gw->conns));
    hd_metric_set(&gateway_metrics[METRIC_CONNECTIONS_REFUSED], counts.refused);
    hd_metric_set(&gateway_metrics[METRIC_CONNECTIONS_SLOW], counts.slow);
    hd_metric_set(&gateway_metrics[METRIC_CONNECTIONS_SHED], counts.shed);
    if (!gw->tls)
        return HD_OK;
    tls_reload(gw->tls);
    hd_metric_set(&gateway_metrics[METRIC_CERTIFICATE_END], tls_not_after_s(gw->tls));
    return HD_OK;
}

// --- the server ------------------------------------------------------------------------------------------------------

static int on_log(const struct mg_connection *conn, const char *text) {
    (void)conn;
    // Whoever opens a connection could fill the log with handshakes that come to nothing.
    hd_log(hd_starts_with(text, "sslize error") || hd_starts_with(text, "SSL syscall") ? HD_LOG_DEBUG : HD_LOG_WARN,
           NULL, "http server: %s", text);
    return 1;
}

enum hd_status gateway_http_start(struct gateway *gw, const char *address, int threads, struct hd_err *err) {
    char n_threads[16], port_spec[256];
    snprintf(n_threads, sizeof(n_threads), "%d", threads);
    snprintf(port_spec, sizeof(port_spec), "%.250s%s", address, gw->tls ? "s" : "");
    // Nagle's algorithm is off or every answer waits 40 ms; idle connections end soon, since each holds a thread.
    const char *options[] = {"listening_ports",
                             port_spec,
                             "num_threads",
                             n_threads,
                             "enable_keep_alive",
                             "yes",
                             "tcp_nodelay",
                             "1",
                             "keep_alive_timeout_ms",
                             "5000",
                             "request_timeout_ms",
                             "15000",
                             "max_request_size",
                             HEAD_BUFFER,
                             "decode_url",
                             "no",
                             NULL};
    struct mg_callbacks callbacks = {.begin_request = on_request,
                                     .http_error = on_error,
                                     .log_message = on_log,
                                     .connection_close = on_close,
                                     .external_ssl_ctx = on_context};

    mg_init_library(MG_FEATURES_DEFAULT);
    conns_listen(gw->conns);
    gw->web = mg_start(&callbacks, gw, options);
    if (!gw->web) {
        conns_listen(NULL);
        hd_err_set(err, HD_UNAVAILABLE, "the API cannot listen on %.100s", address);
        hd_err_hint(err, "is another program there? choose another address with --http");
        return HD_UNAVAILABLE;
    }
    struct mg_server_port port = {0};
    if (mg_get_server_ports(gw->web, 1, &port) == 1)
        hd_info("API listens on port %d%s", port.port, gw->tls ? ", with TLS" : "");
    return HD_OK;
}

void gateway_http_stop(struct gateway *gw) {
    atomic_store(&gw->stopping, true);
    if (gw->web) {
        conns_finish(gw->conns, hd_now_read().mono_ms + FINISH_MS);
        mg_stop(gw->web);
    }
    gw->web = NULL;
    conns_listen(NULL);
}
