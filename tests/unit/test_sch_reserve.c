// Workers that are kept free for jobs that have waited long.
#include "tests/unit/test.h"

#include "tests/unit/sch_world.h"

#define LATER_MS (NOW.wall_ms + 60000)

static struct sch_offer *place_at(struct world *w, int64_t now_ms) {
    sch_pool_reopen(&w->pool);
    return sch_pool_next(&w->pool, now_ms);
}

static struct sch_offer *small(struct world *w, const char *tenant) {
    return offer(w, (struct ask){.tenant = tenant, .resources = {{500, 0}}, .ready_at_ms = NOW.wall_ms});
}

static struct sch_offer *large(struct world *w, const char *tenant, int64_t ready_at_ms) {
    return offer(w, (struct ask){.tenant = tenant, .resources = {{2000, 0}}, .ready_at_ms = ready_at_ms});
}

static void begin(struct world *w) {
    world_init(w, SCH_PACK);
    w->rules.reserve_ms = 60000;
}

TEST(a_large_job_is_not_passed_over_for_ever) {
    struct world w;
    begin(&w);
    struct sch_worker *w1 = worker(&w, "w1", 4, (struct hd_resources){{2000, 0}}, NULL, NULL);
    struct sch_offer *running[2] = {small(&w, "b"), small(&w, "b")}, *big;
    CHECK(place_at(&w, NOW.wall_ms) && place_at(&w, NOW.wall_ms));
    big = large(&w, "a", NOW.wall_ms);
    CHECK(!place_at(&w, NOW.wall_ms));
    CHECK(!sch_reserve_due(&w.pool, LATER_MS - 1)); // it has not waited long enough
    struct sch_offer *more = small(&w, "b");
    CHECK(place_at(&w, LATER_MS - 1) == more);
    CHECK(sch_reserve_due(&w.pool, LATER_MS));
    CHECK(w.pool.reserved == w1 && w1->reserved_for == big->key);
    CHECK(!sch_reserve_due(&w.pool, LATER_MS)); // one at a time
    struct sch_offer *late = small(&w, "b");
    end(&w, running[0]);
    CHECK(!place_at(&w, LATER_MS)); // there is room for it, and it is kept
    end(&w, running[1]);
    CHECK(!place_at(&w, LATER_MS));
    end(&w, more);
    CHECK(place_at(&w, LATER_MS) == big);
    CHECK(big->worker == w1 && !w.pool.reserved && !w1->reserved_for);
    CHECK(!place_at(&w, LATER_MS));
    end(&w, big);
    CHECK(place_at(&w, LATER_MS) == late);
    world_release(&w);
}

TEST(who_could_never_be_held_reserves_nothing) {
    struct world w;
    begin(&w);
    worker(&w, "w1", 1, (struct hd_resources){{2000, 0}}, NULL, NULL);
    struct sch_worker *closed = worker(&w, "w2", 9, (struct hd_resources){{9000, 0}}, NULL, NULL);
    closed->cordoned = true;
    sch_pool_changed(&w.pool);
    offer(&w, (struct ask){.resources = {{3000, 0}}});
    CHECK(!place_at(&w, NOW.wall_ms));
    CHECK(!sch_reserve_due(&w.pool, LATER_MS));
    w.rules.reserve_ms = 0; // switched off
    closed->cordoned = false;
    sch_pool_changed(&w.pool);
    CHECK(place_at(&w, NOW.wall_ms));
    large(&w, "a", 0);
    struct sch_offer *one = small(&w, "b");
    while (place_at(&w, NOW.wall_ms))
        ;
    CHECK(one->worker);
    offer(&w, (struct ask){.resources = {{9000, 0}}});
    CHECK(!place_at(&w, NOW.wall_ms));
    CHECK(!sch_reserve_due(&w.pool, LATER_MS));
    world_release(&w);
}

// Where it failed before it is only tried again where there is no other, also one that is silent now.
TEST(the_worker_to_avoid_is_not_kept_free) {
    struct world w;
    begin(&w);
    struct sch_worker *bad = worker(&w, "bad", 4, (struct hd_resources){{2000, 0}}, NULL, NULL);
    struct sch_offer *one = small(&w, "b");
    CHECK(place_at(&w, NOW.wall_ms) == one);
    struct sch_worker *other = worker(&w, "other", 4, (struct hd_resources){{2000, 0}}, NULL, NULL);
    other->state = HODEI__V1__WORKER_STATE__WORKER_STATE_SUSPECT;
    sch_pool_changed(&w.pool);
    struct sch_offer *big = offer(&w, (struct ask){.avoid = "bad", .resources = {{2000, 0}}});
    CHECK(!place_at(&w, LATER_MS));
    CHECK(!sch_reserve_due(&w.pool, LATER_MS) && !bad->reserved_for);
    other->state = ONLINE;
    sch_pool_changed(&w.pool);
    struct sch_offer *two = small(&w, "c");
    sch_pool_give(other, &two->asks);
    CHECK(place_at(&w, LATER_MS) == two);
    CHECK(sch_reserve_due(&w.pool, LATER_MS) && other->reserved_for == big->key);
    sch_pool_leave(other); // now there is no other
    CHECK(!place_at(&w, LATER_MS));
    CHECK(sch_reserve_due(&w.pool, LATER_MS) && bad->reserved_for == big->key);
    world_release(&w);
}

TEST(a_reservation_ends_with_its_reason) {
    struct world w;
    begin(&w);
    struct sch_worker *w1 = worker(&w, "w1", 4, (struct hd_resources){{2000, 0}}, NULL, NULL);
    struct sch_worker *w2 = worker(&w, "w2", 4, (struct hd_resources){{2000, 0}}, NULL, NULL);
    struct sch_offer *running[3];
    for (int i = 0; i < 3; i++) {
        running[i] = small(&w, "b");
        CHECK(place_at(&w, NOW.wall_ms) == running[i]);
    }
    CHECK(w1->used == 3 && w2->used == 0);
    sch_pool_give(w2, &running[0]->asks);
    struct sch_offer *big = large(&w, "a", 0);
    CHECK(!place_at(&w, NOW.wall_ms));
    CHECK(sch_reserve_due(&w.pool, LATER_MS));
    CHECK(w.pool.reserved == w2); // which has the fewest jobs
    w2->cordoned = true;
    sch_pool_changed(&w.pool);
    CHECK(!place_at(&w, LATER_MS));
    CHECK(!w.pool.reserved && !w2->reserved_for);
    CHECK(sch_reserve_due(&w.pool, LATER_MS));
    CHECK(w.pool.reserved == w1);
    sch_pool_leave(w1);
    CHECK(!w.pool.reserved && !w1->reserved_for);
    sch_pool_join(&w.pool, w1);
    CHECK(!place_at(&w, LATER_MS));
    CHECK(sch_reserve_due(&w.pool, LATER_MS));
    struct sch_offer *late = small(&w, "b");
    CHECK(!place_at(&w, LATER_MS));
    hd_map_remove(&w.pool.offers, big->key); // it was cancelled
    sch_queue_drop(&w.pool.queue, big);
    CHECK(place_at(&w, LATER_MS) == late);
    CHECK(!w.pool.reserved);
    world_release(&w);
}

TEST(who_finds_another_worker_gives_its_own_back) {
    struct world w;
    begin(&w);
    struct sch_worker *w1 = worker(&w, "w1", 4, (struct hd_resources){{2000, 0}}, NULL, NULL);
    struct sch_offer *one = small(&w, "b"), *big;
    CHECK(place_at(&w, NOW.wall_ms) == one);
    big = large(&w, "a", 0);
    CHECK(!place_at(&w, NOW.wall_ms));
    CHECK(sch_reserve_due(&w.pool, LATER_MS));
    struct sch_worker *w2 = worker(&w, "w2", 4, (struct hd_resources){{2000, 0}}, NULL, NULL);
    w.pool.dirty = false;
    CHECK(place_at(&w, LATER_MS) == big);
    CHECK(big->worker == w2 && !w.pool.reserved && !w1->reserved_for && w.pool.dirty);
    world_release(&w);
}

TEST(it_is_for_whom_the_order_would_take_first) {
    struct world w;
    begin(&w);
    worker(&w, "w1", 4, (struct hd_resources){{2000, 0}}, NULL, NULL);
    struct sch_offer *one = small(&w, "a");
    CHECK(place_at(&w, NOW.wall_ms) == one);
    large(&w, "a", 10); // older, and its tenant has something
    struct sch_offer *poorer = large(&w, "b", 20);
    CHECK(!place_at(&w, NOW.wall_ms));
    CHECK(sch_reserve_due(&w.pool, LATER_MS));
    CHECK_INT(w.pool.reserved->reserved_for, poorer->key);
    sch_reserve_end(&w.pool);
    struct sch_offer *urgent = offer(&w, (struct ask){.tenant = "a", .resources = {{1900, 0}}, .priority = 5});
    CHECK(!place_at(&w, NOW.wall_ms));
    CHECK(sch_reserve_due(&w.pool, LATER_MS));
    CHECK_INT(w.pool.reserved->reserved_for, urgent->key);
    struct sch_verdict v = sch_pool_explain(&w.arena, &w.pool, urgent, NOW);
    CHECK(strstr(v.text, "worker \"w1\" takes nothing else until it has room for it"));
    v = sch_pool_explain(&w.arena, &w.pool, poorer, NOW);
    CHECK(strstr(v.text, "worker \"w1\" is kept free for a job that has waited long"));
    world_release(&w);
}

TEST_MAIN
