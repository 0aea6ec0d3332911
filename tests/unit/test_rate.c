#include <stdlib.h>

#include "services/api-gateway/rate.h"
#include "tests/unit/test.h"

static struct rate rate;

static void reset(int64_t per_s, int64_t burst) {
    memset(&rate, 0, sizeof(rate));
    rate.per_s = per_s;
    rate.burst = burst;
}

TEST(bucket) {
    reset(10, 20);
    for (int i = 0; i < 20; i++)
        CHECK(rate_take(&rate, 7, 1000) == 0);
    CHECK(rate_take(&rate, 7, 1000) == 100); // the next tenth of a second
    CHECK(rate_take(&rate, 8, 1000) == 0);   // another one is another one
    CHECK(rate_take(&rate, 7, 1099) == 1);
    CHECK(rate_take(&rate, 7, 1100) == 0);
    CHECK(rate_take(&rate, 7, 1100) == 100);
    int n = 0;
    for (int64_t ms = 1101; ms <= 11100; ms++)
        n += rate_take(&rate, 7, ms) == 0;
    CHECK(n == 100); // ten a second, and nothing is saved up while it is empty
    n = 0;
    for (int i = 0; i < 100; i++)
        n += rate_take(&rate, 7, INT64_MAX / 2) == 0; // however long it was away: the burst, and no overflow
    CHECK(n == 20);
    CHECK(rate_take(&rate, 7, 5) > 0); // a clock that goes back gives nothing
    reset(0, 0);
    for (int i = 0; i < 1000; i++)
        CHECK(rate_take(&rate, 7, 1) == 0);
}

// Strangers with as many keys as they like: whoever has used up theirs stays limited.
TEST(crowd) {
    reset(1, 10);
    for (int i = 0; i < 10; i++)
        CHECK(rate_take(&rate, 5, 0) == 0);
    for (uint64_t i = 1; i < 100000; i++)
        CHECK(rate_take(&rate, 5 + i * RATE_SETS, 0) == 0);
    CHECK(rate_take(&rate, 5, 0) > 0);
    CHECK(rate_take(&rate, 0, 0) == 0);
}

static bool same(const char *a, const char *b) {
    uint8_t one[8] = {0}, other[8] = {0};
    size_t n = rate_address(a, one);
    return n == rate_address(b, other) && memcmp(one, other, n) == 0;
}

TEST(address) {
    uint8_t bytes[8];
    CHECK(!same("10.0.0.1", "10.0.0.2") && same("10.0.0.1", "::ffff:10.0.0.1"));
    CHECK(same("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff") && !same("2001:db8:1:2::1", "2001:db8:1:3::1"));
    CHECK(rate_address("", bytes) == 0 && rate_address("10.0.0.1, 10.0.0.2", bytes) == 0);
}

static void client(const char *remote, const char *trusted, const char *forwarded, const char *want) {
    char got[64];
    rate_client(remote, trusted, forwarded, got);
    CHECK_STR(got, want);
}

TEST(client_of_proxy) {
    client("10.0.0.1", "", "1.2.3.4", "10.0.0.1"); // anybody may write that header
    client("10.0.0.1", "10.0.0.10,10.0.0.11", "1.2.3.4", "10.0.0.1");
    client("10.0.0.1", "10.0.0.9, 10.0.0.1", "1.2.3.4", "1.2.3.4");
    client("10.0.0.1", "10.0.0.1", "6.6.6.6, 1.2.3.4 ", "1.2.3.4"); // the last is the proxy's own word
    client("10.0.0.1", "10.0.0.1", "1.2.3.4, nonsense", "10.0.0.1");
    client("10.0.0.1", "10.0.0.1", "", "10.0.0.1");
    client("10.0.0.1", "10.0.0.1", NULL, "10.0.0.1");
}

TEST_MAIN
