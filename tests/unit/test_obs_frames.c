#include "base/uuid.h"
#include "services/observability/frames.h"
#include "test.h"

static struct frames_piece piece(uint64_t first, uint64_t end) {
    return (struct frames_piece){.first = first, .end = end};
}
static struct frames_piece waiting(uint64_t first, uint64_t end) {
    return (struct frames_piece){.first = first, .end = end, .waits = true};
}

TEST(in_order) {
    struct frames_piece p[] = {piece(0, 3), piece(3, 4), piece(4, 9)};
    CHECK_INT(frames_plan(0, p, 3), 9);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(p[i].verdict, FRAMES_TAKE);
        CHECK_INT(p[i].from, p[i].first);
    }
}

TEST(nothing) {
    CHECK_INT(frames_plan(7, NULL, 0), 7);
}

TEST(reordered_within_a_batch) {
    struct frames_piece p[] = {piece(5, 9), piece(0, 2), piece(2, 5)};
    CHECK_INT(frames_plan(0, p, 3), 9);
    CHECK_INT(p[0].first, 0); // and that is the order to store them in
    CHECK_INT(p[1].first, 2);
    CHECK_INT(p[2].first, 5);
}

TEST(sent_again_cut_differently) {
    struct frames_piece p[] = {piece(0, 4), piece(2, 12), piece(8, 10)};
    CHECK_INT(frames_plan(4, p, 3), 12);
    CHECK_INT(p[0].verdict, FRAMES_KNOWN);
    CHECK_INT(p[1].verdict, FRAMES_TAKE);
    CHECK_INT(p[1].from, 4);
    CHECK_INT(p[2].verdict, FRAMES_KNOWN);
}

TEST(gap_waits_and_is_filled) {
    struct frames_piece early[] = {piece(10, 12)};
    CHECK_INT(frames_plan(3, early, 1), 3);
    CHECK_INT(early[0].verdict, FRAMES_EARLY);
    struct frames_piece p[] = {waiting(10, 12), piece(3, 8)};
    CHECK_INT(frames_plan(3, p, 2), 8);
    CHECK_INT(p[0].verdict, FRAMES_TAKE);
    CHECK_INT(p[1].verdict, FRAMES_EARLY);
    struct frames_piece q[] = {waiting(10, 12), piece(7, 11)};
    CHECK_INT(frames_plan(8, q, 2), 12);
    CHECK_INT(q[0].from, 8);
    CHECK_INT(q[1].from, 11); // the overlap is not stored twice
}

TEST(what_waits_is_bounded) {
    struct frames_piece p[FRAMES_EARLY_MAX + 2];
    for (uint64_t i = 0; i < FRAMES_EARLY_MAX + 2; i++)
        p[i] = piece(10 + 2 * i, 11 + 2 * i);
    CHECK_INT(frames_plan(0, p, FRAMES_EARLY_MAX + 2), 0);
    CHECK_INT(p[FRAMES_EARLY_MAX - 1].verdict, FRAMES_EARLY);
    CHECK_INT(p[FRAMES_EARLY_MAX].verdict, FRAMES_DROP);
    CHECK_INT(p[FRAMES_EARLY_MAX + 1].verdict, FRAMES_DROP);
}

TEST(the_same_early_twice) {
    struct frames_piece p[] = {piece(10, 12), waiting(10, 12), piece(10, 12)};
    CHECK_INT(frames_plan(0, p, 3), 0);
    unsigned kept = 0;
    for (int i = 0; i < 3; i++)
        kept += p[i].verdict == FRAMES_EARLY;
    CHECK_INT(kept, 1);
}

// Random cuts, in random order, with doubles and losses that are sent again: every frame is stored once and in order.
TEST(any_order_stores_every_frame_once) {
    struct hd_rng rng;
    hd_rng_seed(&rng, 42);
    for (int round = 0; round < 200; round++) {
        uint64_t next = 0, stored = 0;
        struct frames_piece kept[FRAMES_EARLY_MAX + 8] = {0};
        size_t n_kept = 0;
        for (int step = 0; step < 400 && next < 100; step++) {
            struct frames_piece p[FRAMES_EARLY_MAX + 8];
            size_t n = n_kept;
            memcpy(p, kept, n_kept * sizeof(*p));
            for (uint64_t i = hd_rng_below(&rng, 4) + 1; i > 0; i--) {
                uint64_t first = hd_rng_below(&rng, 100);
                uint64_t end = first + 1 + hd_rng_below(&rng, 20);
                p[n++] = piece(first, end > 100 ? 100 : end);
            }
            next = frames_plan(next, p, n);
            n_kept = 0;
            for (size_t i = 0; i < n; i++) {
                if (p[i].verdict == FRAMES_TAKE) {
                    CHECK_INT(p[i].from, stored);
                    stored = p[i].end;
                } else if (p[i].verdict == FRAMES_EARLY) {
                    CHECK(p[i].first > next);
                    kept[n_kept] = p[i];
                    kept[n_kept++].waits = true;
                }
            }
            CHECK_INT(stored, next);
            CHECK(n_kept <= FRAMES_EARLY_MAX);
        }
        CHECK_INT(next, 100);
    }
}

TEST_MAIN
