#include "services/api-gateway/auth_cache.h"

#include <pthread.h>

#define SETS 1024u
#define WAYS 4u

struct entry {
    uint8_t hash[TOKEN_HASH_BYTES];
    int64_t until_mono_ms; // 0: free
    uint8_t *data;         // NULL: no such token
    size_t len;
};
struct auth_cache {
    pthread_mutex_t lock;
    struct entry entries[SETS][WAYS];
};

static void *must(void *ptr) {
    if (!ptr)
        abort();
    return ptr;
}

struct auth_cache *auth_cache_new(void) {
    struct auth_cache *cache = must(calloc(1, sizeof(*cache)));

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
    free(cache);
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

enum auth_cached auth_cache_get(struct auth_cache *cache, const uint8_t hash[TOKEN_HASH_BYTES], int64_t now_mono_ms,
                                struct hd_arena *arena, struct hd_str *ret) {
    enum auth_cached found = AUTH_CACHE_MISS;

    pthread_mutex_lock(&cache->lock);
    const struct entry *entry = find(cache, hash);
    if (entry && now_mono_ms < entry->until_mono_ms) {
        found = entry->data ? AUTH_CACHE_KNOWN : AUTH_CACHE_UNKNOWN;
        if (entry->data)
            *ret = (struct hd_str){hd_arena_memdup(arena, entry->data, entry->len), entry->len};
    }
    pthread_mutex_unlock(&cache->lock);
    return found;
}

void auth_cache_put(struct auth_cache *cache, const uint8_t hash[TOKEN_HASH_BYTES], int64_t now_mono_ms, int64_t ttl_ms,
                    const void *data, size_t len) {
    if (ttl_ms <= 0 || len > AUTH_CACHE_VALUE_MAX)
        return;
    uint8_t *copy = NULL;
    if (data) {
        copy = must(malloc(len ? len : 1));
        memcpy(copy, data, len);
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
    *entry = (struct entry){.until_mono_ms = now_mono_ms + ttl_ms, .data = copy, .len = len};
    memcpy(entry->hash, hash, TOKEN_HASH_BYTES);
    pthread_mutex_unlock(&cache->lock);
    free(old);
}
