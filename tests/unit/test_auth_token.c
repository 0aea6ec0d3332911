#include "services/auth/token.h"
#include "test.h"

TEST(form) {
    CHECK(auth_token_valid("hodei_0123456789abcdefghijklmnopqrstuvwxyzABCDE-_"));
    CHECK(!auth_token_valid("hodei_0123456789abcdefghijklmnopqrstuvwxyzABCDE-"));   // 42
    CHECK(!auth_token_valid("hodei_0123456789abcdefghijklmnopqrstuvwxyzABCDE-_x")); // 44
    CHECK(!auth_token_valid("hodei_0123456789abcdefghijklmnopqrstuvwxyzABCDE-+"));
    CHECK(!auth_token_valid("hodei_0123456789abcdefghijklmnopqrstuvwxyzABCDE-\n"));
    CHECK(!auth_token_valid("Hodei_0123456789abcdefghijklmnopqrstuvwxyzABCDE-_"));
    CHECK(!auth_token_valid("hodei_"));
    CHECK(!auth_token_valid("hod"));
    CHECK(!auth_token_valid(""));
    CHECK(!auth_token_valid(NULL));
}

TEST(a_formatted_one_is_valid) {
    uint8_t random[AUTH_TOKEN_RANDOM_BYTES] = {0};
    char text[AUTH_TOKEN_TEXT];
    auth_token_format(random, text);
    CHECK_STR(text, "hodei_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    random[0] = 0xfb;
    random[31] = 0xff;
    auth_token_format(random, text);
    CHECK_STR(text, "hodei_-wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAP8");
    CHECK(auth_token_valid(text));
}

TEST(ttl_ends_with_the_token) {
    CHECK_INT(auth_ttl_ms(0, 5000), 60000);
    CHECK_INT(auth_ttl_ms(100000, 5000), 60000);
    CHECK_INT(auth_ttl_ms(5700, 5000), 700);
    CHECK(auth_ttl_ms(5000, 5000) <= 0);
    CHECK(auth_ttl_ms(1, 5000) <= 0);
}

TEST(last_used_is_coarse) {
    CHECK(auth_touch_due(0, 1700000000000));
    CHECK(!auth_touch_due(1700000000000 - 299999, 1700000000000));
    CHECK(auth_touch_due(1700000000000 - 300000, 1700000000000));
    CHECK(!auth_touch_due(1700000000000 + 5, 1700000000000));
}

TEST_MAIN
