#include "services/auth/keys.h"
#include "test.h"

TEST(a_new_key_is_published_before_it_signs) {
    const struct auth_key_times keys[] = {{0, 0}, {1000000, 1000000 + AUTH_KEY_LEAD_MS}};
    CHECK_INT(auth_key_signer(keys, 0, 5), -1);
    CHECK_INT(auth_key_signer(keys, 2, 1000000), 0);
    CHECK_INT(auth_key_signer(keys, 2, 1000000 + AUTH_KEY_LEAD_MS - 1), 0);
    CHECK_INT(auth_key_signer(keys, 2, 1000000 + AUTH_KEY_LEAD_MS), 1);
}

TEST(an_old_key_stays_until_its_last_token_is_over) {
    const struct auth_key_times keys[] = {{0, 0}, {1, 1000}, {2, 2000}};
    int64_t last_token_ends = 1000 + AUTH_ACCESS_TTL_S * 1000;
    CHECK_INT(auth_keys_over(keys, 3, last_token_ends), 0);
    CHECK_INT(auth_keys_over(keys, 3, 1000 + AUTH_KEY_LINGER_MS - 1), 0);
    CHECK_INT(auth_keys_over(keys, 3, 1000 + AUTH_KEY_LINGER_MS), 1);
    CHECK_INT(auth_keys_over(keys, 3, INT64_C(1) << 50), 2); // the newest is never over
    CHECK_INT(auth_keys_over(keys, 0, INT64_C(1) << 50), 0);
}

TEST(when_a_new_key_is_due) {
    const struct auth_key_times keys[] = {{0, 0}, {1000, 1000}};
    CHECK(auth_key_due(keys, 0, 0, 5));
    CHECK(!auth_key_due(keys, 2, 0, INT64_C(1) << 50));
    CHECK(!auth_key_due(keys, 2, 500, 1499));
    CHECK(auth_key_due(keys, 2, 500, 1500));
}

TEST_MAIN
