// What the gateway remembers of tokens for a moment: by the token's hash, whom it stands for, or that it is not known.
//
// Shared by the threads of the HTTP server, so it has a mutex. The house rule is one hand-over queue and no mutex; here the
// threads are civetweb's own, one a connection, and each of them needs the answer at once. The lock is held for one
// lookup in four places and a copy of at most 4 KiB, never over a call.
//
// Bounded: 1024 sets of 4 entries; a full set gives up the entry that runs out first. Time comes in as an argument.
#ifndef HD_GATEWAY_AUTH_CACHE_H
#define HD_GATEWAY_AUTH_CACHE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"

#define TOKEN_HASH_BYTES 32
#define AUTH_CACHE_VALUE_MAX 4096 // larger principals are not kept

struct auth_cache;
struct auth_cache *auth_cache_new(void); // auth_cache_free
void auth_cache_free(struct auth_cache *cache);

enum auth_cached {
    AUTH_CACHE_MISS,
    AUTH_CACHE_KNOWN,  // *ret is the packed principal, in the arena
    AUTH_CACHE_UNKNOWN // no such token
};
enum auth_cached auth_cache_get(struct auth_cache *cache, const uint8_t hash[TOKEN_HASH_BYTES], int64_t now_mono_ms,
                                struct hd_arena *arena, struct hd_str *ret);
// Keeps a packed principal, or with len 0 and data NULL the fact that there is none.
void auth_cache_put(struct auth_cache *cache, const uint8_t hash[TOKEN_HASH_BYTES], int64_t now_mono_ms, int64_t ttl_ms,
                    const void *data, size_t len);

#endif
