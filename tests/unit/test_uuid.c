#include "base/uuid.h"
#include "tests/unit/test.h"

TEST(rng_is_xoshiro256starstar) {
    // First outputs of the reference implementation for the state 1, 2, 3, 4.
    struct hd_rng rng = {{1, 2, 3, 4}};
    static const uint64_t want[] = {11520, 0, 1509978240, 1215971899390074240};
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
        CHECK(hd_rng_next(&rng) == want[i]);
}

TEST(rng_below_stays_below_and_reaches_all) {
    struct hd_rng rng;
    hd_rng_seed(&rng, 0);
    unsigned seen = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t n = hd_rng_below(&rng, 10);
        CHECK(n < 10);
        seen |= 1u << n;
    }
    CHECK_INT(seen, 1023);
    CHECK_INT(hd_rng_below(&rng, 1), 0);
    CHECK(hd_rng_below(&rng, UINT64_MAX) < UINT64_MAX);
}

TEST(uuid7_has_time_version_and_variant) {
    struct hd_rng rng;
    hd_rng_seed(&rng, 42);
    int64_t time = INT64_C(1645557742000); // of the example in RFC 9562
    struct hd_uuid id = hd_uuid7(time, &rng), next = hd_uuid7(time + 1, &rng), same = hd_uuid7(time, &rng);
    char text[HD_UUID_TEXT];
    hd_uuid_format(id, text);
    CHECK_INT(strlen(text), 36);
    CHECK(strncmp(text, "017f22e2-79b0-7", 15) == 0);
    CHECK(strchr("89ab", text[19]) != NULL);
    CHECK_INT(hd_uuid_time_ms(id), time);
    CHECK(hd_uuid_cmp(id, next) < 0 && hd_uuid_cmp(next, id) > 0 && hd_uuid_cmp(id, id) == 0);
    CHECK(!hd_uuid_eq(id, same));
    hd_rng_seed(&rng, 42);
    CHECK(hd_uuid_eq(id, hd_uuid7(time, &rng))); // exact for a seed
}

TEST(uuid_text_round_trip_and_refusals) {
    struct hd_uuid id, kept = {{9}};
    char text[HD_UUID_TEXT];
    CHECK(hd_uuid_parse("017F22E2-79B0-7CC3-98C4-DC0C0C07398F", &id) == HD_OK);
    hd_uuid_format(id, text);
    CHECK_STR(text, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    static const char *const bad[] = {"",
                                      "017f22e2",
                                      "017f22e279b07cc398c4dc0c0c07398f",
                                      "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
                                      "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0",
                                      "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
                                      "017f22e2-79b0-7cc3-98c4_dc0c0c07398f",
                                      " 17f22e2-79b0-7cc3-98c4-dc0c0c07398f",
                                      NULL};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(hd_uuid_parse(bad[i], &kept) == HD_INVALID);
    CHECK_INT(kept.b[0], 9);
    CHECK(hd_uuid_zero((struct hd_uuid){0}) && !hd_uuid_zero(kept));
}

TEST(clocks_and_kernel_randomness) {
    struct hd_now a = hd_now_read(), b = hd_now_read();
    CHECK(a.wall_ms > INT64_C(1700000000000));
    CHECK(b.mono_ms >= a.mono_ms);
    unsigned char one[300] = {0}, two[300] = {0};
    hd_random_bytes(one, sizeof(one));
    hd_random_bytes(two, sizeof(two));
    CHECK(memcmp(one, two, sizeof(one)) != 0);
}

TEST_MAIN
