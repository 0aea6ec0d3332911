// The form of a token: "hodei_" and 43 characters of base64url (32 random bytes). Pure.
#ifndef HD_AUTH_TOKEN_H
#define HD_AUTH_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AUTH_SHA256_BYTES 32
// How long the gateway may keep an answer while the policy version stays the same; the end of a token is respected besides.
#define AUTH_TTL_MS 60000
// `last_used` is written at most this often a token, so that reading stays reading.
#define AUTH_TOUCH_MS (5 * 60 * 1000)

#define AUTH_TOKEN_RANDOM_BYTES 32
#define AUTH_TOKEN_TEXT 50 // with the NUL
bool auth_token_valid(const char *text);
void auth_token_format(const uint8_t random[AUTH_TOKEN_RANDOM_BYTES], char ret[AUTH_TOKEN_TEXT]);
// How long an answer may be kept: at most to the token's end. 0 or less: it has ended. expires_at_ms 0: never.
int64_t auth_ttl_ms(int64_t expires_at_ms, int64_t now_wall_ms);
bool auth_touch_due(int64_t last_used_at_ms, int64_t now_wall_ms);

#endif
