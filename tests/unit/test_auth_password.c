#include <poll.h>

#include <openssl/evp.h>

#include "services/auth/key.h"
#include "services/auth/password.h"
#include "test.h"

#define CHEAP ((struct auth_scrypt){4, 1, 1})

static struct hd_err err;

static struct auth_derive ask_of(const char *name, const char *password, const char *prefix) {
    static const uint8_t salt[AUTH_SALT_BYTES] = "0123456789abcde";
    return (struct auth_derive){.purpose = "login",
                                .tenant = "t",
                                .name = name,
                                .password = password,
                                .salt = salt,
                                .cost = CHEAP,
                                .prefix = prefix};
}

// Waits for the pool's descriptor until the question has its answer.
static struct auth_password derived(struct auth_pool *pool, const struct auth_derive *ask, int64_t now_ms) {
    struct auth_password got = {.cost = {0}};
    while (auth_pool_derive(pool, ask, now_ms, &got) == AUTH_DERIVING) {
        struct pollfd fd = {.fd = auth_pool_fd(pool), .events = POLLIN};
        CHECK_INT(poll(&fd, 1, 10000), 1);
        auth_pool_seen(pool);
    }
    return got;
}

TEST(the_answer_is_scrypts) {
    struct auth_pool *pool = NULL;
    uint8_t want[AUTH_PASSWORD_HASH_BYTES];
    CHECK_INT(auth_pool_new(2, &err, &pool), HD_OK);
    struct auth_derive ask = ask_of("ane", "secret", "10.0.0");
    struct auth_password got = derived(pool, &ask, 0);
    CHECK_INT(EVP_PBE_scrypt("secret", 6, ask.salt, AUTH_SALT_BYTES, 16, 1, 1, 1 << 20, want, sizeof(want)), 1);
    CHECK(auth_password_same(got.hash, want));
    want[31] ^= 1;
    CHECK(!auth_password_same(got.hash, want));
    ask.salt = NULL; // a new one each time
    ask.purpose = "set";
    struct auth_password first = derived(pool, &ask, 0), second = derived(pool, &ask, 5);
    CHECK(memcmp(first.salt, second.salt, AUTH_SALT_BYTES) != 0);
    auth_pool_free(pool);
    auth_pool_free(NULL);
}

TEST(an_answer_is_given_in_one_turn_and_not_kept) {
    struct auth_pool *pool = NULL;
    struct auth_password got;
    CHECK_INT(auth_pool_new(1, &err, &pool), HD_OK);
    struct auth_derive ask = ask_of("ane", "secret", "10.0.0");
    derived(pool, &ask, 100);
    CHECK_INT(auth_pool_derive(pool, &ask, 100, &got), AUTH_DERIVED); // the batch is run again
    CHECK_INT(auth_pool_derive(pool, &ask, 101, &got), AUTH_DERIVING);
    auth_pool_free(pool);
}

TEST(an_answer_comes_no_sooner_than_it_may) {
    struct auth_pool *pool = NULL;
    struct auth_password got;
    CHECK_INT(auth_pool_new(1, &err, &pool), HD_OK);
    struct auth_derive ask = ask_of("ane", "secret", "10.0.0");
    ask.delay_ms = 2000;
    CHECK_INT(auth_pool_derive(pool, &ask, 0, &got), AUTH_DERIVING);
    struct pollfd fd = {.fd = auth_pool_fd(pool), .events = POLLIN};
    CHECK_INT(poll(&fd, 1, 10000), 1);
    CHECK_INT(auth_pool_derive(pool, &ask, 1999, &got), AUTH_DERIVING);
    CHECK_INT(auth_pool_derive(pool, &ask, 2000, &got), AUTH_DERIVED);
    auth_pool_free(pool);
}

// Questions that stay under way: their answers may come only later.
static enum auth_derived put(struct auth_pool *pool, int i, const char *prefix, bool known) {
    struct auth_password got;
    char name[32];
    snprintf(name, sizeof(name), "u%d", i);
    struct auth_derive ask = ask_of(name, "secret", prefix);
    ask.delay_ms = 1000;
    ask.known = known;
    return auth_pool_derive(pool, &ask, 0, &got);
}

TEST(strangers_fill_what_is_theirs_and_no_more) {
    struct auth_pool *pool = NULL;
    char prefix[32];
    int n = 0, known = 0;
    CHECK_INT(auth_pool_new(1, &err, &pool), HD_OK);
    for (int i = 0; i < 6; i++)
        n += put(pool, i, "10.0.0", false) == AUTH_DERIVING;
    CHECK_INT(n, AUTH_SLOTS_PREFIX); // of one place
    for (int i = 10; i < 100; i++) {
        snprintf(prefix, sizeof(prefix), "10.1.%d", i);
        n += put(pool, i, prefix, false) == AUTH_DERIVING;
    }
    CHECK_INT(n, AUTH_SLOTS_STRANGERS);
    for (int i = 100; i < 120; i++)
        known += put(pool, i, "10.2.0", true) == AUTH_DERIVING;
    CHECK_INT(known, 2 * AUTH_SLOTS_PREFIX);
    for (int i = 200; i < 240; i++) {
        snprintf(prefix, sizeof(prefix), "10.3.%d", i);
        known += put(pool, i, prefix, true) == AUTH_DERIVING;
    }
    CHECK_INT(known, AUTH_SLOTS - AUTH_SLOTS_STRANGERS);
    auth_pool_free(pool);
}

TEST(what_was_derived_makes_room) {
    struct auth_pool *pool = NULL;
    CHECK_INT(auth_pool_new(2, &err, &pool), HD_OK);
    for (int i = 0; i < 5 * AUTH_SLOTS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "v%d", i);
        struct auth_derive ask = ask_of(name, "secret", "10.0.0");
        CHECK(derived(pool, &ask, 7).cost.log2_n == 4);
    }
    auth_pool_free(pool);
}

TEST(a_sealed_key_opens_with_its_own_key_and_name_alone) {
    uint8_t seal[32] = {1}, other[32] = {2}, secret[32] = {3}, sealed[AUTH_SEALED_BYTES], got[32] = {0};
    CHECK(auth_seal(seal, "kid", secret, sealed));
    struct hd_bytes bytes = {sealed, sizeof(sealed)};
    CHECK(auth_unseal(seal, "kid", bytes, got));
    CHECK_INT(memcmp(got, secret, sizeof(got)), 0);
    CHECK(!auth_unseal(other, "kid", bytes, got));
    CHECK(!auth_unseal(seal, "kie", bytes, got));
    CHECK(!auth_unseal(seal, "kid", (struct hd_bytes){sealed, sizeof(sealed) - 1}, got));
    sealed[20] ^= 1;
    CHECK(!auth_unseal(seal, "kid", bytes, got));
}

TEST_MAIN
