// The gateway's memory of tokens.
#include "tests/unit/test.h"

#include "services/api-gateway/auth_cache.h"

static struct hd_arena arena;

static void hash_make(uint8_t ret[TOKEN_HASH_BYTES], unsigned set, unsigned n) {
    memset(ret, 0, TOKEN_HASH_BYTES);
    ret[0] = (uint8_t)set;
    ret[1] = (uint8_t)(set >> 8);
    memcpy(ret + 8, &n, sizeof(n));
}

static enum auth_cached get(struct auth_cache *cache, unsigned n, int64_t now, struct hd_str *ret) {
    uint8_t hash[TOKEN_HASH_BYTES];

    hash_make(hash, 3, n);
    return auth_cache_get(cache, hash, now, &arena, ret);
}

static void put_version(struct auth_cache *cache, unsigned n, int64_t now, int64_t ttl, const char *text,
                        int64_t version) {
    uint8_t hash[TOKEN_HASH_BYTES];

    hash_make(hash, 3, n);
    auth_cache_put(
        cache, hash, now,
        &(struct auth_answer){.data = text, .len = text ? strlen(text) : 0, .ttl_ms = ttl, .version = version});
}

static void put(struct auth_cache *cache, unsigned n, int64_t now, int64_t ttl, const char *text) {
    put_version(cache, n, now, ttl, text, 1);
    auth_cache_confirm(cache, 1, now);
}

TEST(keeps_until_the_time_is_over) {
    struct auth_cache *cache = auth_cache_new();
    struct hd_str value = {0};

    hd_arena_init(&arena);
    CHECK_INT(get(cache, 1, 100, &value), AUTH_CACHE_MISS);
    put(cache, 1, 100, 50, "alice");
    CHECK_INT(get(cache, 1, 149, &value), AUTH_CACHE_KNOWN);
    CHECK(hd_str_eq(value, "alice"));
    CHECK_INT(get(cache, 2, 149, &value), AUTH_CACHE_MISS);
    CHECK_INT(get(cache, 1, 150, &value), AUTH_CACHE_MISS);
    put(cache, 1, 150, 0, "alice");
    CHECK_INT(get(cache, 1, 150, &value), AUTH_CACHE_MISS);
    hd_arena_release(&arena);
    auth_cache_free(cache);
}

TEST(a_newer_answer_replaces_the_older) {
    struct auth_cache *cache = auth_cache_new();
    struct hd_str value = {0};

    hd_arena_init(&arena);
    put(cache, 1, 0, 1000, NULL);
    CHECK_INT(get(cache, 1, 1, &value), AUTH_CACHE_UNKNOWN);
    put(cache, 1, 1, 1000, "bob");
    CHECK_INT(get(cache, 1, 2, &value), AUTH_CACHE_KNOWN);
    put(cache, 1, 2, 1000, NULL);
    CHECK_INT(get(cache, 1, 3, &value), AUTH_CACHE_UNKNOWN);
    hd_arena_release(&arena);
    auth_cache_free(cache);
}

TEST(a_full_set_gives_up_what_ends_first) {
    struct auth_cache *cache = auth_cache_new();
    struct hd_str value = {0};

    hd_arena_init(&arena);
    put(cache, 1, 0, 400, "one");
    put(cache, 2, 0, 200, "two");
    put(cache, 3, 0, 300, "three");
    put(cache, 4, 0, 500, "four");
    put(cache, 5, 0, 600, "five");
    CHECK_INT(get(cache, 2, 1, &value), AUTH_CACHE_MISS);
    CHECK_INT(get(cache, 1, 1, &value), AUTH_CACHE_KNOWN);
    CHECK(hd_str_eq(value, "one"));
    CHECK_INT(get(cache, 5, 1, &value), AUTH_CACHE_KNOWN);
    CHECK(hd_str_eq(value, "five"));
    hd_arena_release(&arena);
    auth_cache_free(cache);
}

TEST(what_is_too_large_is_not_kept) {
    struct auth_cache *cache = auth_cache_new();
    struct hd_str value = {0};
    static uint8_t large[AUTH_CACHE_VALUE_MAX + 1];
    uint8_t hash[TOKEN_HASH_BYTES];

    hd_arena_init(&arena);
    hash_make(hash, 3, 9);
    auth_cache_confirm(cache, 1, 0);
    auth_cache_put(cache, hash, 0, &(struct auth_answer){large, sizeof(large), 1000, 1});
    CHECK_INT(get(cache, 9, 1, &value), AUTH_CACHE_MISS);
    auth_cache_put(cache, hash, 0, &(struct auth_answer){large, sizeof(large) - 1, 1000, 1});
    CHECK_INT(get(cache, 9, 1, &value), AUTH_CACHE_KNOWN);
    CHECK_INT(value.len, AUTH_CACHE_VALUE_MAX);
    hd_arena_release(&arena);
    auth_cache_free(cache);
}

TEST(an_answer_is_good_as_long_as_its_version_was_confirmed_lately) {
    struct auth_cache *cache = auth_cache_new();
    struct hd_str value = {0};

    hd_arena_init(&arena);
    put_version(cache, 1, 0, 60000, "alice", 7);
    CHECK_INT(get(cache, 1, 5000, &value), AUTH_CACHE_MISS); // nobody has confirmed anything
    auth_cache_confirm(cache, 7, 5000);
    CHECK_INT(get(cache, 1, 6999, &value), AUTH_CACHE_KNOWN);
    CHECK_INT(get(cache, 1, 7000, &value), AUTH_CACHE_MISS); // auth is away: nothing old is used
    auth_cache_confirm(cache, 7, 7000);
    CHECK_INT(get(cache, 1, 8999, &value), AUTH_CACHE_KNOWN);
    auth_cache_confirm(cache, 8, 8000);
    CHECK_INT(get(cache, 1, 8001, &value), AUTH_CACHE_MISS);
    auth_cache_confirm(cache, 7, 7500); // an answer that comes late is no news
    CHECK_INT(get(cache, 1, 8002, &value), AUTH_CACHE_MISS);
    put_version(cache, 1, 8003, 60000, "alice", 9); // newer than what the loop has heard
    CHECK_INT(get(cache, 1, 8004, &value), AUTH_CACHE_KNOWN);
    put_version(cache, 2, 8003, 60000, NULL, 9);
    CHECK_INT(get(cache, 2, 8004, &value), AUTH_CACHE_UNKNOWN);
    auth_cache_confirm(cache, 5, 8500); // a database was restored: versions come again
    CHECK_INT(get(cache, 1, 8501, &value), AUTH_CACHE_MISS);
    CHECK_INT(get(cache, 2, 8501, &value), AUTH_CACHE_MISS);
    hd_arena_release(&arena);
    auth_cache_free(cache);
}

TEST_MAIN
