#include "hodei/v1/auth.pb-c.h"
#include "services/api-gateway/gateway.h"

static const struct hd_setting settings[] = {
    {"http", HD_SET_TEXT, "127.0.0.1:8080", "host:port of the API"},
    {"tls-cert", HD_SET_TEXT, NULL,
     "PEM file of the API's certificate and its chain; with it the API speaks TLS alone"},
    {"tls-key", HD_SET_TEXT, NULL, "PEM file of its private key"},
    {"http-threads", HD_SET_INT, "96", "connections served at once; half of them may wait for news", .min = 4,
     .max = 4096},
    {"connections-address", HD_SET_INT, "48", "connections that one address may hold; 0: any", .min = 0, .max = 4096},
    {"rate-address", HD_SET_INT, "1000", "requests a second of one address, and twice as many at once; 0: any",
     .min = 0, .max = 1000000},
    {"rate-token", HD_SET_INT, "1000", "the same of one token", .min = 0, .max = 1000000},
    {"trusted-proxies", HD_SET_TEXT, NULL,
     "addresses of proxies whose X-Forwarded-For is believed, separated by commas"},
    {"cors-origins", HD_SET_TEXT, NULL, "origins whose pages may ask from a browser, separated by commas"},
    {"drain", HD_SET_DURATION, "5s",
     "how long it still serves once asked to end, not ready, so that balancers and proxies hear of it", .max = 60000},
    {"request-timeout", HD_SET_DURATION, "10s", "how long a service may take to answer", .min = 100, .max = 60000},
};

static void release(void *self) {
    struct gateway *gw = self;

    if (!gw)
        return;
    gateway_http_stop(gw);
    conns_free(gw->conns);
    tls_free(gw->tls);
    auth_cache_free(gw->cache);
    refusals_free(gw->refusals);
    jwt_keys_free(gw->jwt_keys);
    limits_free(gw->limits);
    free(gw);
}

static enum hd_status tls_open(const struct hd_settings *values, struct hd_err *err, struct tls **ret) {
    const char *cert = hd_settings_text(values, "tls-cert"), *key = hd_settings_text(values, "tls-key");

    if (!*cert && !*key)
        return HD_OK;
    if (*cert && *key)
        return tls_new(cert, key, err, ret);
    hd_err_set(err, HD_INVALID, "tls-%s is not given, and tls-%s is", *cert ? "key" : "cert", *cert ? "cert" : "key");
    hd_err_hint(err, "give both for TLS, or none for plain HTTP");
    return HD_INVALID;
}

static enum hd_status init(struct hd_service *service, const struct hd_settings *values, void **ret_self,
                           struct hd_err *err) {
    struct gateway *gw = calloc(1, sizeof(*gw));
    int threads = (int)hd_settings_int(values, "http-threads");

    if (!gw)
        abort();
    gw->bus = hd_service_bus(service);
    gw->cache = auth_cache_new();
    gw->refusals = refusals_new();
    gw->jwt_keys = jwt_keys_new();
    gw->limits = limits_new(hd_settings_int(values, "rate-address"), hd_settings_int(values, "rate-token"),
                            hd_settings_text(values, "trusted-proxies"));
    hd_strlcpy(gw->origins, hd_settings_text(values, "cors-origins"), sizeof(gw->origins));
    gw->drain_ms = hd_settings_int(values, "drain");
    gw->request_timeout_ms = hd_settings_int(values, "request-timeout");
    gw->waits_max = (unsigned)threads / 2;
    gw->conns = conns_new((unsigned)threads, (unsigned)hd_settings_int(values, "connections-address"),
                          hd_settings_text(values, "trusted-proxies"));
    enum hd_status status = tls_open(values, err, &gw->tls);
    if (status == HD_OK)
        status = gateway_http_start(gw, hd_settings_text(values, "http"), threads, err);
    if (status != HD_OK) {
        release(gw);
        return status;
    }
    *ret_self = gw;
    return HD_OK;
}

static int64_t leaving(void *self) {
    struct gateway *gw = self;

    atomic_store(&gw->stopping, true); // each answer closes its connection
    return gw->drain_ms;
}

// The bus goes away after this, so the threads that use it must have ended.
static void stopping(struct hd_ctx *cx, void *self) {
    (void)cx;
    gateway_http_stop(self);
}

static const struct hd_timer timers[] = {
    {"policy", 500, policy_ask},
    {"refusals", 2000, refusals_send},
    {"tend", 1000, gateway_tend},
};
static const struct hd_answer answers[ANSWER_COUNT] = {
    [ANSWER_POLICY] = {"policy", &hodei__v1__get_policy_version_reply__descriptor, policy_answered},
    [ANSWER_RECORDED] = {"recorded", &hodei__v1__empty__descriptor, refusals_answered},
};

static const struct hd_service_def def = {
    .name = "api-gateway",
    .about = "HTTP/JSON API: authenticates, authorizes, and passes requests to the services",
    .settings = settings,
    .n_settings = sizeof(settings) / sizeof(settings[0]),
    .answers = answers,
    .n_answers = ANSWER_COUNT,
    .timers = timers,
    .n_timers = sizeof(timers) / sizeof(timers[0]),
    .metrics = gateway_metrics,
    .n_metrics = METRIC_COUNT,
    .init = init,
    .release = release,
    .stopping = stopping,
    .leaving = leaving,
};

int main(int argc, char **argv) {
    return hd_service_main(&def, argc, argv);
}
