#include "services/auth/throttle.h"
#include "test.h"

#define NOW INT64_C(1800000000000)

static struct auth_throttle decide(int64_t failures, int64_t ago_ms, int64_t good_at_ms, int64_t account) {
    struct auth_guesses standing = {failures, NOW - ago_ms, good_at_ms, account};
    return auth_throttle_decide(&standing, NOW);
}

TEST(a_few_mistakes_cost_nothing) {
    CHECK_INT(decide(0, NOW, 0, 0).refuse_ms, 0);
    CHECK_INT(decide(4, 0, 0, 4).refuse_ms, 0);
    CHECK_INT(decide(4, 0, 0, 4).delay_ms, 0);
    CHECK(!decide(4, 0, 0, 4).known);
}

TEST(a_place_that_guesses_is_refused_for_longer_and_longer) {
    CHECK_INT(decide(5, 0, 0, 5).refuse_ms, 30000);
    CHECK_INT(decide(5, 29999, 0, 5).refuse_ms, 1);
    CHECK_INT(decide(5, 30000, 0, 5).refuse_ms, 0);
    CHECK_INT(decide(6, 0, 0, 6).refuse_ms, 60000);
    CHECK_INT(decide(1000000, 0, 0, 6).refuse_ms, 900000);
    CHECK_INT(decide(1000000, 3600000, 0, 6).refuse_ms, 0);
}

TEST(a_place_that_is_known_is_slowed_and_never_refused) {
    CHECK_INT(decide(1000000, 0, 1, 1000000).refuse_ms, 0);
    CHECK_INT(decide(1000000, 0, 1, 1000000).delay_ms, 2000);
    CHECK(decide(0, NOW, 1, 0).known);
    CHECK_INT(decide(0, NOW, 1, 1000000).delay_ms, 0); // what others do elsewhere does not touch it
}

TEST(an_account_under_attack_slows_new_places_and_refuses_none) {
    CHECK_INT(decide(0, NOW, 0, 19).delay_ms, 0);
    CHECK_INT(decide(0, NOW, 0, 20).delay_ms, 2000);
    CHECK_INT(decide(0, NOW, 0, 1000000).refuse_ms, 0);
}

TEST_MAIN
