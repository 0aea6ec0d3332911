// Which key signs, and which ones are known: decisions over the keys of the table. Pure.
//
// A new key is published at once and signs only AUTH_KEY_LEAD_MS later, so that everybody who keeps a copy has it before it is
// needed. A key whose successor signs stays known for AUTH_KEY_LINGER_MS: longer than the last token that it signed.
#ifndef HD_AUTH_KEYS_H
#define HD_AUTH_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AUTH_ACCESS_TTL_S 300 // of an access token
#define AUTH_KEY_LEAD_MS (2 * 60 * 1000)
#define AUTH_KEY_LINGER_MS ((AUTH_ACCESS_TTL_S + 60) * 1000)
#define AUTH_KEYS_MAX 8 // known at once

struct auth_key_times { // in the order of signs_from_ms
    int64_t created_ms, signs_from_ms;
};
// The index of the key that signs now: the last that may. -1: none.
int auth_key_signer(const struct auth_key_times *keys, size_t n, int64_t now_ms);
// How many of the first keys are over: their successors have signed for long enough.
size_t auth_keys_over(const struct auth_key_times *keys, size_t n, int64_t now_ms);
// Whether a new key is due: there is none, or the newest is older than `age_ms` (0: by hand only).
bool auth_key_due(const struct auth_key_times *keys, size_t n, int64_t age_ms, int64_t now_ms);

#endif
