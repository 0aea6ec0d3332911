#include "services/api-gateway/auth_cache.h"

#include <pthread.h>

#include <openssl/evp.h>

#define SETS 1024u
#define WAYS 4u

struct entry {
    uint8_t hash[TOKEN_HASH_BYTES];
    int64_t until_mono_ms; // 0: free
    int64_t version;       // of the policy
    uint8_t *data;         // NULL: no such token
    size_t len;
};
struct auth_cache {
    EVP_MD *sha256;
    pthread_mutex_t lock;
    int64_t version; // confirmed
    int64_t confirmed_mono_ms;
    struct entry entries[SETS][WAYS];
};

static void *must(void *ptr) {
    if (!ptr)
        abort();
    return ptr;
}

struct auth_cache *auth_cache_new(void) {
    struct auth_cache *cache = must(calloc(1, sizeof(*cache)));

    cache->sha256 = must(EVP_MD_fetch(NULL, "SHA256", NULL));
    pthread_mutex_init(&cache->lock, NULL);
    return cache;
}

void auth_cache_free(struct auth_cache *cache) {
    if (!cache)
        return;
    for (size_t i = 0; i < SETS; i++)
        for (size_t j = 0; j < WAYS; j++)
            free(cache->entries[i][j].data);
    pthread_mutex_destroy(&cache->lock);
    EVP_MD_free(cache->sha256);
    free(cache);
}

void auth_cache_hash(const struct auth_cache *cache, const void *data, size_t len, uint8_t ret[TOKEN_HASH_BYTES]) {
    if (EVP_Digest(data, len, ret, NULL, cache->sha256, NULL) != 1)
        abort(); // out of memory
}

// The hash is a SHA-256: its first bytes are as good as any.
static struct entry *set_of(struct auth_cache *cache, const uint8_t *hash) {
    return cache->entries[(hash[0] | (unsigned)hash[1] << 8) % SETS];
}

static struct entry *find(struct auth_cache *cache, const uint8_t *hash) {
    struct entry *set = set_of(cache, hash);

    for (size_t i = 0; i < WAYS; i++)
        if (set[i].until_mono_ms && memcmp(set[i].hash, hash, TOKEN_HASH_BYTES) == 0)
            return &set[i];
    return NULL;
}

static bool is_fresh(const struct auth_cache *cache, const struct entry *entry, int64_t now_mono_ms) {
    return entry->version >= cache->version && now_mono_ms < cache->confirmed_mono_ms + AUTH_CACHE_FRESH_MS;
}

enum auth_cached auth_cache_get(struct auth_cache *cache, const uint8_t hash[TOKEN_HASH_BYTES], int64_t now_mono_ms,
                                struct hd_arena *arena, struct hd_str *ret) {
    enum auth_cached found = AUTH_CACHE_MISS;

    pthread_mutex_lock(&cache->lock);
    const struct entry *entry = find(cache, hash);
    if (entry && now_mono_ms < entry->until_mono_ms && (!entry->data || is_fresh(cache, entry, now_mono_ms))) {
        found = entry->data ? AUTH_CACHE_KNOWN : AUTH_CACHE_UNKNOWN;
        if (entry->data)
            *ret = (struct hd_str){hd_arena_memdup(arena, entry->data, entry->len), entry->len};
    }
    pthread_mutex_unlock(&cache->lock);
    return found;
}

void auth_cache_put(struct auth_cache *cache, const uint8_t hash[TOKEN_HASH_BYTES], int64_t now_mono_ms,
                    const struct auth_answer *answer) {
    if (answer->ttl_ms <= 0 || answer->len > AUTH_CACHE_VALUE_MAX)
        return;
    uint8_t *copy = NULL;
    if (answer->data) {
        copy = must(malloc(answer->len ? answer->len : 1));
        memcpy(copy, answer->data, answer->len);
    }
    pthread_mutex_lock(&cache->lock);
    struct entry *entry = find(cache, hash), *set = set_of(cache, hash);
    if (!entry) {
        entry = &set[0];
        for (size_t i = 1; i < WAYS; i++)
            if (set[i].until_mono_ms < entry->until_mono_ms)
                entry = &set[i];
    }
    uint8_t *old = entry->data;
    *entry = (struct entry){
        .until_mono_ms = now_mono_ms + answer->ttl_ms, .version = answer->version, .data = copy, .len = answer->len};
    memcpy(entry->hash, hash, TOKEN_HASH_BYTES);
    pthread_mutex_unlock(&cache->lock);
    free(old);
}

static void forget_all(struct auth_cache *cache) {
    for (size_t i = 0; i < SETS; i++)
        for (size_t j = 0; j < WAYS; j++) {
            free(cache->entries[i][j].data);
            cache->entries[i][j] = (struct entry){0};
        }
}

void auth_cache_confirm(struct auth_cache *cache, int64_t version, int64_t asked_mono_ms) {
    pthread_mutex_lock(&cache->lock);
    if (asked_mono_ms >= cache->confirmed_mono_ms) {
        if (version < cache->version)
            forget_all(cache);
        cache->version = version;
        cache->confirmed_mono_ms = asked_mono_ms;
    }
    pthread_mutex_unlock(&cache->lock);
}
