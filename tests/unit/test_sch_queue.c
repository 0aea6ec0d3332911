// Who goes first: priority and ageing, fair share, age; classes that fit nowhere hide nobody.
#include <time.h>

#include "base/buf.h"
#include "tests/unit/sch_world.h"
#include "tests/unit/test.h"

static const struct sch_offer *best(struct world *w, int64_t now_ms) {
    return sch_queue_best(&w->pool.queue, now_ms);
}

TEST(priority_then_age) {
    struct world w;
    world_init(&w, SCH_PACK);
    const struct sch_offer *low = offer(&w, (struct ask){.ready_at_ms = 1});
    const struct sch_offer *late = offer(&w, (struct ask){.priority = 5, .ready_at_ms = 9});
    const struct sch_offer *early = offer(&w, (struct ask){.priority = 5, .ready_at_ms = 8});
    CHECK(best(&w, 0) == early);
    sch_queue_take(&w.pool.queue, (struct sch_offer *)(uintptr_t)early);
    CHECK(best(&w, 0) == late);
    sch_queue_take(&w.pool.queue, (struct sch_offer *)(uintptr_t)late);
    CHECK(best(&w, 0) == low);
    sch_queue_take(&w.pool.queue, (struct sch_offer *)(uintptr_t)low);
    CHECK(best(&w, 0) == NULL);
    world_release(&w);
}

TEST(a_band_that_waits_rises) {
    struct world w;
    world_init(&w, SCH_PACK);
    w.rules.ageing_ms = 1000;
    const struct sch_offer *low = offer(&w, (struct ask){.ready_at_ms = 0});
    const struct sch_offer *high = offer(&w, (struct ask){.priority = 10, .ready_at_ms = 9000});
    CHECK(best(&w, 9000) == high);
    CHECK(best(&w, 9999) == high);
    const struct sch_offer *fresh = offer(&w, (struct ask){.priority = 10, .ready_at_ms = 11000});
    sch_queue_drop(&w.pool.queue, hd_map_remove(&w.pool.offers, high->key));
    CHECK(best(&w, 10999) == fresh); // equal ranks: the higher priority
    CHECK(best(&w, 11000) == low);
    w.rules.ageing_ms = 0;
    CHECK(best(&w, 11000) == fresh);
    world_release(&w);
}

TEST(nothing_starves_under_a_stream_of_higher_priority) {
    struct world w;
    world_init(&w, SCH_PACK);
    w.rules.ageing_ms = 100;
    const struct sch_offer *low = offer(&w, (struct ask){.ready_at_ms = 0});
    int64_t now_ms = 0;
    offer(&w, (struct ask){.priority = 50});
    for (; now_ms < 100000 && best(&w, now_ms) != low; now_ms += 10) {
        offer(&w, (struct ask){.priority = 50, .ready_at_ms = now_ms});
        sch_queue_take(&w.pool.queue, sch_queue_best(&w.pool.queue, now_ms));
    }
    CHECK(now_ms >= 50 * 100);
    CHECK(now_ms <= 52 * 100);
    world_release(&w);
}

// How many of the first n placements each tenant gets.
static void serve(struct world *w, size_t n, size_t ret[3]) {
    memset(ret, 0, 3 * sizeof(*ret));
    for (size_t i = 0; i < n; i++) {
        struct sch_offer *next = sch_queue_best(&w->pool.queue, NOW.wall_ms);
        sch_queue_take(&w->pool.queue, next);
        ret[*next->tenant->name - 'a']++;
    }
}

TEST(tenants_share_by_their_weights) {
    static struct sch_weight weights[] = {{"b", 3}};
    struct world w;
    size_t got[3];
    world_init(&w, SCH_PACK);
    w.rules = (struct sch_rules){.weights = weights, .n_weights = 1};
    sch_queue_capacity(&w.pool.queue, 100, &(struct hd_resources){0});
    for (int i = 0; i < 100; i++) {
        offer(&w, (struct ask){.tenant = "a", .ready_at_ms = i}); // a's are all older
        offer(&w, (struct ask){.tenant = "b", .ready_at_ms = 1000 + i});
    }
    serve(&w, 40, got);
    CHECK_INT(got[0], 10);
    CHECK_INT(got[1], 30);
    for (int i = 0; i < 100; i++)
        offer(&w, (struct ask){.tenant = "c", .ready_at_ms = 2000 + i});
    serve(&w, 10, got); // c has nothing yet, so that it catches up first
    CHECK_INT(got[2], 10);
    world_release(&w);
}

TEST(a_weight_comes_with_the_offers_and_may_change) {
    struct world w;
    size_t got[3];
    world_init(&w, SCH_PACK);
    sch_queue_capacity(&w.pool.queue, 100, &(struct hd_resources){0});
    for (int i = 0; i < 100; i++) {
        offer(&w, (struct ask){.tenant = "a", .ready_at_ms = i});
        offer(&w, (struct ask){.tenant = "b", .ready_at_ms = 1000 + i, .weight = 3});
    }
    serve(&w, 40, got);
    CHECK_INT(got[0], 10);
    CHECK_INT(got[1], 30);
    offer(&w, (struct ask){.tenant = "b", .ready_at_ms = 2000}); // without a word of it: as it was
    serve(&w, 4, got);
    CHECK_INT(got[1], 3);
    offer(&w, (struct ask){.tenant = "b", .ready_at_ms = 2000, .weight = 1});
    serve(&w, 12, got); // a catches up
    CHECK_INT(got[0], 12);
    world_release(&w);
}

TEST(a_share_is_the_dominant_one) {
    struct world w;
    size_t got[3];
    world_init(&w, SCH_PACK);
    sch_queue_capacity(&w.pool.queue, 1000, &(struct hd_resources){{90000, 180 * GIB}});
    for (int i = 0; i < 100; i++) { // the example of the paper: 9 CPUs, 18 GB; 1 CPU and 4 GB against 3 CPUs and 1 GB
        offer(&w, (struct ask){.tenant = "a", .resources = {{1000, 4 * GIB}}, .ready_at_ms = i});
        offer(&w, (struct ask){.tenant = "b", .resources = {{3000, 1 * GIB}}, .ready_at_ms = i});
    }
    serve(&w, 50, got); // two thirds each: 30 of a's hold 120 GiB of 180, 20 of b's hold 60 CPUs of 90
    CHECK_INT(got[0], 30);
    CHECK_INT(got[1], 20);
    world_release(&w);
}

TEST(places_held_from_before_count_for_their_tenant) {
    struct world w;
    size_t got[3];
    world_init(&w, SCH_PACK);
    sch_queue_capacity(&w.pool.queue, 10, &(struct hd_resources){0});
    for (uint64_t key = 1000; key < 1004; key++)
        hd_map_put(&w.pool.offers, key, sch_queue_add_live(&w.pool.queue, key, "a", &(struct hd_resources){0}));
    hd_map_put(&w.pool.offers, 2000, sch_queue_add_live(&w.pool.queue, 2000, "", &(struct hd_resources){0}));
    for (int i = 0; i < 10; i++) {
        offer(&w, (struct ask){.tenant = "a", .ready_at_ms = i});
        offer(&w, (struct ask){.tenant = "b", .ready_at_ms = 100 + i});
    }
    serve(&w, 6, got);
    CHECK_INT(got[0], 1);
    CHECK_INT(got[1], 5);
    world_release(&w);
}

TEST(a_blocked_class_hides_nobody) {
    struct world w;
    world_init(&w, SCH_PACK);
    struct sch_worker *one = worker(&w, "w1", 2, (struct hd_resources){{2000}}, NULL, NULL);
    for (int i = 0; i < 50; i++)
        offer(&w, (struct ask){.labels = "os=none", .priority = 50, .ready_at_ms = i});
    struct sch_offer *first = offer(&w, (struct ask){.ready_at_ms = 100});
    offer(&w, (struct ask){.ready_at_ms = 101});
    offer(&w, (struct ask){.ready_at_ms = 102});
    CHECK_STR(place(&w), "w1");
    CHECK_STR(place(&w), "w1");
    CHECK_STR(place(&w), "");
    CHECK(sch_queue_best(&w.pool.queue, 0) == NULL);
    CHECK_INT(w.pool.queue.waiting, 51);
    end(&w, first);
    CHECK_STR(place(&w), "w1");
    one->labels = pairs(&w, "os=none");
    one->slots = 3;
    sch_pool_changed(&w.pool);
    CHECK_STR(place(&w), "w1");
    world_release(&w);
}

// The order against a plain one, with offers that come and go and classes that are blocked.
static const struct sch_offer *plainly(const struct world *w, int64_t now_ms) {
    const struct sch_offer *best_offer = NULL, *o;
    int64_t ranks[3] = {INT64_MIN, INT64_MIN, INT64_MIN};
    for (size_t pos = 0; (o = hd_map_next(&w->pool.offers, &pos, NULL));) {
        int64_t rank = sch_band_rank(&w->pool.queue, o->priority, o->ready_at_ms, now_ms);
        if (o->state == SCH_WAITING && !o->class->blocked && rank > ranks[o->priority])
            ranks[o->priority] = rank;
    }
    int band = ranks[2] >= ranks[1] && ranks[2] >= ranks[0] ? 2 : ranks[1] >= ranks[0] ? 1 : 0;
    for (size_t pos = 0; (o = hd_map_next(&w->pool.offers, &pos, NULL));) {
        if (o->state != SCH_WAITING || o->class->blocked || o->priority != band)
            continue;
        int64_t share = o->tenant->share, least = best_offer ? best_offer->tenant->share : 0;
        if (!best_offer || share < least || (share == least && sch_offer_older(o, best_offer)))
            best_offer = o;
    }
    return best_offer;
}

TEST(the_order_is_that_of_a_plain_search) {
    static const char *const tenants[] = {"a", "b", "c"}, *const labels[] = {NULL, "x=1", "x=2", "y=1"};
    struct hd_rng rng;
    hd_rng_seed(&rng, 3);
    for (int round = 0; round < 20; round++) {
        struct world w;
        struct sch_offer *made[400];
        size_t n = 0;
        world_init(&w, SCH_PACK);
        w.rules.ageing_ms = 50;
        sch_queue_capacity(&w.pool.queue, 64, &(struct hd_resources){{64000}});
        for (int64_t now_ms = 0; now_ms < 400; now_ms++) {
            struct sch_offer *at = n ? made[hd_rng_below(&rng, n)] : NULL;
            unsigned what = (unsigned)hd_rng_below(&rng, 8);
            if (what < 3)
                made[n++] = offer(&w, (struct ask){.tenant = tenants[hd_rng_below(&rng, 3)],
                                                   .labels = labels[hd_rng_below(&rng, 4)],
                                                   .priority = (int)hd_rng_below(&rng, 3),
                                                   .resources = {{(int64_t)hd_rng_below(&rng, 3) * 1000}},
                                                   .ready_at_ms = (int64_t)hd_rng_below(&rng, 400)});
            else if (what == 3 && at)
                (at->class->blocked ? sch_queue_open : sch_queue_block)(&w.pool.queue, at->class);
            else if (what == 4 && at && at->state == SCH_WAITING)
                sch_queue_take(&w.pool.queue, at);
            else if (what == 5 && at) {
                hd_map_remove(&w.pool.offers, at->key);
                sch_queue_drop(&w.pool.queue, at);
                for (size_t i = 0; i < n; i++)
                    if (made[i] == at)
                        made[i--] = made[--n];
            } else if (what == 6) {
                sch_queue_capacity(&w.pool.queue, 1 + (int64_t)hd_rng_below(&rng, 99), &(struct hd_resources){{32000}});
            }
            CHECK(best(&w, now_ms) == plainly(&w, now_ms));
        }
        world_release(&w);
    }
}

TEST_MAIN
