#include "base/arena.h"
#include "tests/unit/test.h"

TEST(memory_is_zeroed_aligned_and_apart) {
    struct hd_arena arena;
    hd_arena_init(&arena);
    unsigned char *pieces[200];
    for (size_t i = 0; i < 200; i++) {
        size_t size = i * 37 % 5000;
        pieces[i] = hd_arena_alloc(&arena, size);
        CHECK_INT((uintptr_t)pieces[i] % 16, 0);
        for (size_t j = 0; j < size; j++)
            CHECK(pieces[i][j] == 0);
        memset(pieces[i], (int)i, size);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t j = 0; j < i * 37 % 5000; j++)
            CHECK(pieces[i][j] == (unsigned char)i);
    hd_arena_reset(&arena);
    CHECK_INT(arena.used_bytes, 0);
    unsigned char *again = hd_arena_alloc(&arena, 4000);
    for (size_t j = 0; j < 4000; j++)
        CHECK(again[j] == 0); // also where a used block is used again
    hd_arena_release(&arena);
    struct hd_arena zeroed = {0};
    hd_arena_release(&zeroed);
}

TEST(a_large_piece_does_not_waste_the_room_of_small_ones) {
    struct hd_arena arena;
    hd_arena_init(&arena);
    char *before = hd_arena_alloc(&arena, 16);
    memset(hd_arena_alloc(&arena, 8u << 20), 1, 8u << 20);
    char *after = hd_arena_alloc(&arena, 16);
    CHECK_INT(after - before, 16);
    hd_arena_release(&arena);
}

TEST(texts) {
    struct hd_arena arena;
    hd_arena_init(&arena);
    CHECK_STR(hd_arena_strdup(&arena, "abc"), "abc");
    CHECK_STR(hd_arena_strdup(&arena, NULL), "");
    CHECK_STR(hd_arena_strndup(&arena, "abcdef", 3), "abc");
    CHECK_STR(hd_arena_printf(&arena, "%s-%d", "x", 7), "x-7");
    char *wide = hd_arena_printf(&arena, "%050000d", 1);
    CHECK_INT(strlen(wide), 50000);
    CHECK(memcmp(hd_arena_memdup(&arena, "a\0b", 3), "a\0b", 3) == 0);
    hd_arena_release(&arena);
}

TEST(budget_binds_only_the_careful_calls) {
    struct hd_arena arena;
    hd_arena_init(&arena);
    arena.budget_bytes = 1000;
    CHECK(hd_arena_try_alloc(&arena, 900) != NULL);
    CHECK(hd_arena_try_alloc(&arena, 200) == NULL);
    CHECK(hd_arena_try_alloc(&arena, SIZE_MAX) == NULL);
    CHECK(arena.pb.alloc(arena.pb.allocator_data, 200) == NULL);
    CHECK(hd_arena_alloc(&arena, 200) != NULL);
    CHECK(hd_arena_try_alloc(&arena, 1) == NULL);
    arena.budget_bytes = 0;
    CHECK(hd_arena_try_alloc(&arena, 200) != NULL);
    hd_arena_release(&arena);
}

TEST(arrays_grow_and_keep_their_items) {
    struct hd_arena arena;
    hd_arena_init(&arena);
    int *items = NULL;
    size_t n = 0, cap = 0;
    for (int i = 0; i < 1000; i++) {
        HD_GROW(&arena, items, n, cap);
        CHECK(cap > n);
        items[n++] = i;
    }
    for (int i = 0; i < 1000; i++)
        CHECK_INT(items[i], i);
    hd_arena_release(&arena);
}

TEST_MAIN
