// What the gateway remembers of tokens: by the token's hash, what auth has answered, or that it is not known.
//
// An answer belongs to a policy version, which rises with every change after which another answer may be right. It is used as long as auth
// has confirmed, within the last 2 s, that this is the version still: so what is taken back stops within 2 s, whatever messages
// are lost, and where auth is away nothing old is used.
//
// Shared by the threads of the HTTP server, so it has a mutex. The house rule is one hand-over queue and no mutex; here the
// threads are civetweb's own, one a connection, and each of them needs the answer at once. The lock is held for one
// lookup in four places and a copy of at most 16 KiB, never over a call.
//
// Bounded: 1024 sets of 4 entries; a full set gives up the entry that runs out first. Time comes in as an argument.
#ifndef HD_GATEWAY_AUTH_CACHE_H
#define HD_GATEWAY_AUTH_CACHE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"

#define TOKEN_HASH_BYTES 32
#define AUTH_CACHE_VALUE_MAX 16384 // larger answers are not kept
#define AUTH_CACHE_FRESH_MS 2000   // so long is a confirmed version good, from the moment of asking

struct auth_cache;
struct auth_cache *auth_cache_new(void); // auth_cache_free
void auth_cache_free(struct auth_cache *cache);
// The SHA-256 by which tokens are known. The cache holds the algorithm, since to look it up each time takes longer than to use it.
void auth_cache_hash(const struct auth_cache *cache, const void *data, size_t len, uint8_t ret[TOKEN_HASH_BYTES]);

enum auth_cached {
    AUTH_CACHE_MISS,
    AUTH_CACHE_KNOWN,  // *ret is the packed AuthenticateReply, in the arena
    AUTH_CACHE_UNKNOWN // no such token
};
enum auth_cached auth_cache_get(struct auth_cache *cache, const uint8_t hash[TOKEN_HASH_BYTES], int64_t now_mono_ms,
                                struct hd_arena *arena, struct hd_str *ret);
// Keeps a packed answer of that policy version, or with len 0 and data NULL the fact that there is no such token.
struct auth_answer {
    const void *data;
    size_t len;
    int64_t ttl_ms, version;
};
void auth_cache_put(struct auth_cache *cache, const uint8_t hash[TOKEN_HASH_BYTES], int64_t now_mono_ms,
                    const struct auth_answer *answer);
// Auth was asked at that time, and has this version. One that is older than what was confirmed is no news; a lower version that is newer
// (a database was restored) empties the cache.
void auth_cache_confirm(struct auth_cache *cache, int64_t version, int64_t asked_mono_ms);

#endif
