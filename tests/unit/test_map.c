#include "tests/unit/test.h"

#include "base/map.h"

TEST(put_get_remove) {
    struct hd_map map = {0};
    int a, b;
    CHECK(!hd_map_get(&map, 0));
    CHECK(!hd_map_remove(&map, 7));
    CHECK(!hd_map_put(&map, 0, &a));
    CHECK(hd_map_put(&map, 0, &b) == &a);
    CHECK(hd_map_get(&map, 0) == &b);
    CHECK_INT(map.n, 1);
    CHECK(hd_map_remove(&map, 0) == &b);
    CHECK(!hd_map_get(&map, 0));
    CHECK_INT(map.n, 0);
    hd_map_release(&map);
    hd_map_release(&map);
}

// Against a plain array: collisions, growth and holes in the middle of a run must not lose or invent a key.
TEST(like_an_array) {
    enum { KEYS = 500 };
    static char values[KEYS];
    bool there[KEYS] = {false};
    struct hd_map map = {0};
    size_t n = 0;
    uint64_t x = 88172645463325252u;
    for (int step = 0; step < 20000; step++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        size_t k = x % KEYS;
        bool remove = (x >> 32) % 2;
        void *was = remove ? hd_map_remove(&map, k) : hd_map_put(&map, k, &values[k]);
        CHECK(was == (there[k] ? &values[k] : NULL));
        n = n + (!remove && !there[k]) - (remove && there[k]);
        there[k] = !remove;
        CHECK_INT(map.n, n);
    }
    for (size_t k = 0; k < KEYS; k++)
        CHECK(hd_map_get(&map, k) == (there[k] ? &values[k] : NULL));
    size_t pos = 0, seen = 0;
    uint64_t key = 0;
    for (void *v; (v = hd_map_next(&map, &pos, &key)); seen++)
        CHECK(v == &values[key]);
    CHECK_INT(seen, n);
    hd_map_release(&map);
}

TEST(hash_sees_every_byte) {
    char text[] = "label=value, another";
    uint64_t h = hd_hash(text, sizeof(text), 0);
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] ^= 1;
        CHECK(hd_hash(text, sizeof(text), 0) != h);
        text[i] ^= 1;
    }
    CHECK(hd_hash("", 0, 0) != hd_hash("\0", 1, 0));
    CHECK(hd_hash(text, sizeof(text), 1) != h);
}

TEST_MAIN
