// Access tokens at the gateway: verified here, by a copy of auth's keys; then the session is what auth is asked for.
//
// The copy is fetched by RPC: when it is JWT_KEYS_FRESH_MS old (so that a key is here before it signs), and when a token names a key that
// is not in it, at most once in JWT_KEYS_PAUSE_MS, so that tokens with made-up names cannot make the gateway ask. One thread
// fetches, those that need the answer wait for it. Shared by the threads of the HTTP server, so it has a mutex, as the
// token cache has; it is held for a look at a few keys, never over a call.
#ifndef HD_GATEWAY_JWT_CHECK_H
#define HD_GATEWAY_JWT_CHECK_H

#include "base/jwt.h"

#define JWT_KEYS_MAX 16
#define JWT_KEYS_FRESH_MS 30000
#define JWT_KEYS_PAUSE_MS 1000

struct exchange;
struct jwt_keys;
struct jwt_keys *jwt_keys_new(void);
void jwt_keys_free(struct jwt_keys *keys); // NULL: nothing
// Signature, issuer, audience, times. HD_UNAUTHENTICATED, or HD_UNAVAILABLE where the keys cannot be had.
enum hd_status jwt_check(struct exchange *ex, const char *token, size_t len, struct hd_jwt *ret) HD_MUST_USE;

#endif
