#include "services/api-gateway/jwt_check.h"

#include <pthread.h>

#include "base/ed25519.h"
#include "base/pb.h"
#include "hodei/v1/auth.pb-c.h"
#include "services/api-gateway/gateway.h"

#define FETCH_MS 2000

struct known_key {
    char kid[HD_JWT_KID_CHARS + 1];
    uint8_t key[HD_ED25519_KEY_BYTES];
};
struct jwt_keys {
    pthread_mutex_t lock;
    pthread_cond_t fetched;
    struct known_key list[JWT_KEYS_MAX];
    size_t n;
    bool fetching;
    bool asked; // at least once
    int64_t asked_mono_ms;
    enum hd_status last; // of the last question
};

struct jwt_keys *jwt_keys_new(void) {
    struct jwt_keys *keys = calloc(1, sizeof(*keys));

    if (!keys)
        abort();
    pthread_mutex_init(&keys->lock, NULL);
    pthread_cond_init(&keys->fetched, NULL);
    return keys;
}

void jwt_keys_free(struct jwt_keys *keys) {
    if (!keys)
        return;
    pthread_cond_destroy(&keys->fetched);
    pthread_mutex_destroy(&keys->lock);
    free(keys);
}

static bool find(const struct jwt_keys *keys, const char *kid, uint8_t ret[HD_ED25519_KEY_BYTES]) {
    for (size_t i = 0; i < keys->n; i++)
        if (hd_streq(keys->list[i].kid, kid)) {
            memcpy(ret, keys->list[i].key, HD_ED25519_KEY_BYTES);
            return true;
        }
    return false;
}

static enum hd_status ask(struct exchange *ex, const Hodei__V1__GetJwksReply **ret) {
    Hodei__V1__GetJwksRequest request = HODEI__V1__GET_JWKS_REQUEST__INIT;
    ProtobufCMessage *reply;

    HD_TRY(bus_call(ex, "auth", "GetJwks", &request.base, &hodei__v1__get_jwks_reply__descriptor, FETCH_MS, &reply));
    *ret = (const Hodei__V1__GetJwksReply *)reply;
    return HD_OK;
}

static void take(struct jwt_keys *keys, const Hodei__V1__GetJwksReply *reply) {
    keys->n = 0;
    for (size_t i = 0; i < reply->n_keys && keys->n < JWT_KEYS_MAX; i++) {
        const Hodei__V1__SigningKey *key = reply->keys[i];
        struct known_key *to = &keys->list[keys->n];
        if (strlen(key->kid) != HD_JWT_KID_CHARS || key->public_key.len != HD_ED25519_KEY_BYTES)
            continue;
        memcpy(to->kid, key->kid, sizeof(to->kid));
        memcpy(to->key, key->public_key.data, sizeof(to->key));
        keys->n++;
    }
}

// Called and left with the lock held; the call itself is made without it.
static void fetch(struct exchange *ex, struct jwt_keys *keys) {
    const Hodei__V1__GetJwksReply *reply = NULL;

    keys->fetching = true;
    pthread_mutex_unlock(&keys->lock);
    enum hd_status status = ask(ex, &reply);
    pthread_mutex_lock(&keys->lock);
    if (status == HD_OK)
        take(keys, reply);
    keys->last = status;
    keys->asked = true;
    keys->asked_mono_ms = hd_now_read().mono_ms; // after the answer: a slow auth is not asked more often
    keys->fetching = false;
    pthread_cond_broadcast(&keys->fetched);
}

// True when the key is known. Asks auth where it must and may.
static bool key_get(struct exchange *ex, struct jwt_keys *keys, const char *kid, uint8_t ret[HD_ED25519_KEY_BYTES],
                    enum hd_status *ret_last) {
    pthread_mutex_lock(&keys->lock);
    bool known = find(keys, kid, ret);
    int64_t age_ms = hd_now_read().mono_ms - keys->asked_mono_ms;
    bool stale = !keys->asked || age_ms >= JWT_KEYS_FRESH_MS, may = !keys->asked || age_ms >= JWT_KEYS_PAUSE_MS;

    if (!keys->fetching && (stale || (!known && may)))
        fetch(ex, keys);
    else
        while (!known && keys->fetching)
            pthread_cond_wait(&keys->fetched, &keys->lock);
    *ret_last = keys->last;
    // With auth away the copy goes on: the session is asked for there anyway.
    known = find(keys, kid, ret);
    pthread_mutex_unlock(&keys->lock);
    return known;
}

enum hd_status jwt_check(struct exchange *ex, const char *token, size_t len, struct hd_jwt *ret) {
    uint8_t key[HD_ED25519_KEY_BYTES];
    enum hd_status last;

    HD_TRY(hd_jwt_parse(&ex->arena, token, len, &ex->err, ret));
    HD_TRY(hd_jwt_check(&ret->claims, hd_now_read().wall_ms, &ex->err));
    if (!key_get(ex, ex->gw->jwt_keys, ret->kid, key, &last)) {
        if (last == HD_UNAVAILABLE || last == HD_TIMEOUT)
            return hd_err_set(&ex->err, HD_UNAVAILABLE, "access tokens cannot be checked now: auth does not answer");
        return hd_err_set(&ex->err, HD_UNAUTHENTICATED, "the access token is signed by no key of this platform");
    }
    if (!hd_ed25519_verify(key, ret->signed_part.ptr, ret->signed_part.len, ret->signature))
        return hd_err_set(&ex->err, HD_UNAUTHENTICATED, "the access token is not signed by the key that it names");
    return HD_OK;
}
