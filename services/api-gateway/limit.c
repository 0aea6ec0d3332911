// Who asks too often, by address before anything of the request is looked at, and by token once it is known to be one.
#include <pthread.h>

#include "base/map.h"
#include "services/api-gateway/gateway.h"
#include "services/api-gateway/rate.h"

// The mutex is held for the walk of four buckets: a stripe for each set would cost more than it saves.
struct limits {
    pthread_mutex_t mutex;
    uint64_t seed;
    char trusted[512];
    struct rate address, token;
};

struct limits *limits_new(int64_t address_per_s, int64_t token_per_s, const char *trusted) {
    struct limits *limits = hd_calloc(1, sizeof(*limits));

    pthread_mutex_init(&limits->mutex, NULL);
    hd_random_bytes(&limits->seed, sizeof(limits->seed));
    hd_strlcpy(limits->trusted, trusted, sizeof(limits->trusted));
    limits->address.per_s = address_per_s;
    limits->token.per_s = token_per_s;
    limits->address.burst = address_per_s * 2;
    limits->token.burst = token_per_s * 2;
    return limits;
}

void limits_free(struct limits *limits) {
    if (!limits)
        return;
    pthread_mutex_destroy(&limits->mutex);
    free(limits);
}

static enum hd_status take(struct exchange *ex, struct rate *rate, const void *data, size_t len, const char *whose) {
    struct limits *limits = ex->gw->limits;
    uint64_t key = hd_hash(data, len, limits->seed);

    pthread_mutex_lock(&limits->mutex);
    int64_t wait_ms = rate_take(rate, key, hd_now_read().mono_ms);
    pthread_mutex_unlock(&limits->mutex);
    if (!wait_ms)
        return HD_OK;
    hd_metric_add(&gateway_metrics[METRIC_LIMITED], 1);
    hd_err_set(&ex->err, HD_LIMITED, "too many requests from this %s: more than %lld a second", whose,
               (long long)rate->per_s);
    hd_err_hint(&ex->err, "try again after the time in Retry-After; use wait_ms in place of asking often");
    hd_err_retry_after(&ex->err, wait_ms);
    return HD_LIMITED;
}

void exchange_client(const struct exchange *ex, char ret[64]) {
    rate_client(ex->info->remote_addr, ex->gw->limits->trusted, mg_get_header(ex->conn, "X-Forwarded-For"), ret);
}

enum hd_status exchange_limit_address(struct exchange *ex) {
    struct limits *limits = ex->gw->limits;
    char client[64];
    uint8_t bytes[8];

    if (!limits->address.per_s)
        return HD_OK;
    exchange_client(ex, client);
    size_t len = rate_address(client, bytes);
    return take(ex, &limits->address, bytes, len, "address");
}

enum hd_status exchange_limit_token(struct exchange *ex) {
    struct limits *limits = ex->gw->limits;
    const char *token = mg_get_header(ex->conn, "Authorization");

    if (!limits->token.per_s || !token)
        return HD_OK;
    return take(ex, &limits->token, token, strlen(token), "token");
}
