// Which worker takes a job: fits, room, pack and spread.
#include "base/buf.h"
#include "tests/unit/sch_world.h"
#include "tests/unit/test.h"

static struct hd_resources cpus(int64_t n) {
    return (struct hd_resources){{n * 1000}};
}

TEST(a_worker_fits_by_what_it_is) {
    struct world w;
    world_init(&w, SCH_PACK);
    const struct sch_worker *plain = worker(&w, "w1", 4, cpus(4), "os=linux,arch=amd64", NULL);
    const struct sch_worker *gpu = worker(&w, "w2", 4, cpus(4), "os=linux", "gpu=only");
    struct sch_needs needs = {.executor = SHELL, .labels = pairs(&w, "os=linux")};
    CHECK(sch_fits(plain, &needs));
    CHECK(!sch_fits(gpu, &needs));
    needs.tolerations = pairs(&w, "gpu=never");
    CHECK(!sch_fits(gpu, &needs));
    needs.tolerations = pairs(&w, "gpu=only");
    CHECK(sch_fits(gpu, &needs));
    needs.tolerations = pairs(&w, "x=y,gpu="); // any value
    CHECK(sch_fits(gpu, &needs));
    CHECK(sch_fits(plain, &needs)); // a toleration asks for nothing
    needs.labels = pairs(&w, "arch=arm64");
    CHECK(!sch_fits(plain, &needs));
    needs.labels = pairs(&w, "os=linux,arch=amd64");
    CHECK(sch_fits(plain, &needs));
    needs.executor = NOOP;
    CHECK(!sch_fits(plain, &needs));
    world_release(&w);
}

TEST(room_is_slots_and_every_amount) {
    struct world w;
    world_init(&w, SCH_PACK);
    struct sch_worker *one = worker(&w, "w1", 2, (struct hd_resources){{4000, 8 * GIB, 0, 1}}, NULL, NULL);
    CHECK(sch_has_room(one, &(struct hd_resources){{4000, 8 * GIB, 0, 1}}));
    CHECK(!sch_has_room(one, &(struct hd_resources){{0, 0, 1, 0}}));
    sch_pool_give(one, &(struct hd_resources){{3000, GIB, 0, 1}});
    CHECK(sch_has_room(one, &(struct hd_resources){{1000, 7 * GIB, 0, 0}}));
    CHECK(!sch_has_room(one, &(struct hd_resources){{1001}}));
    CHECK(!sch_has_room(one, &(struct hd_resources){{0, 0, 0, 1}}));
    sch_pool_give(one, &(struct hd_resources){{0}}); // the last slot
    CHECK(!sch_has_room(one, &(struct hd_resources){{0}}));
    CHECK(sch_large_enough(one, &(struct hd_resources){{4000}}));
    sch_pool_take_back(one, &(struct hd_resources){{0}});
    one->full_until_mono_ms = 1;
    CHECK(!sch_has_room(one, &(struct hd_resources){{0}}));
    one->full_until_mono_ms = 0;
    one->state = HODEI__V1__WORKER_STATE__WORKER_STATE_SUSPECT;
    CHECK(!sch_has_room(one, &(struct hd_resources){{0}}));
    world_release(&w);
}

TEST(pack_fills_small_workers_first_and_keeps_gpus) {
    struct world w;
    world_init(&w, SCH_PACK);
    worker(&w, "a-gpu", 2, (struct hd_resources){{8000, 0, 0, 2}}, NULL, NULL);
    worker(&w, "b-large", 2, cpus(16), NULL, NULL);
    worker(&w, "c-small", 2, cpus(4), NULL, NULL);
    for (int i = 0; i < 6; i++)
        offer(&w, (struct ask){.ready_at_ms = i});
    static const char *const want[] = {"c-small", "c-small", "b-large", "b-large", "a-gpu", "a-gpu", ""};
    for (size_t i = 0; i < 7; i++)
        CHECK_STR(place(&w), want[i]);
    world_release(&w);
}

TEST(spread_takes_the_greatest_free_share) {
    struct world w;
    world_init(&w, SCH_SPREAD);
    worker(&w, "w1", 2, cpus(4), NULL, NULL);
    worker(&w, "w2", 4, cpus(8), NULL, NULL);
    for (int i = 0; i < 6; i++)
        offer(&w, (struct ask){.resources = cpus(2), .ready_at_ms = i});
    static const char *const want[] = {"w2", "w1", "w2", "w1", "w2", "w2", ""};
    // Free shares: 1 1, then w2 3/4 against 1, 3/4 against 1/2, 1/2 each (w2 has more slots free)…
    const char *got[7];
    for (size_t i = 0; i < 7; i++)
        got[i] = place(&w);
    size_t on_w1 = 0;
    for (size_t i = 0; i < 6; i++)
        on_w1 += strcmp(got[i], "w1") == 0;
    CHECK_INT(on_w1, 2);
    for (size_t i = 0; i < 3; i++)
        CHECK_STR(got[i], want[i]);
    CHECK_STR(got[6], "");
    world_release(&w);
}

TEST(a_job_waits_for_what_it_asks_and_then_goes) {
    struct world w;
    world_init(&w, SCH_PACK);
    worker(&w, "w1", 4, cpus(4), NULL, NULL);
    struct sch_offer *first = offer(&w, (struct ask){.resources = cpus(3)});
    offer(&w, (struct ask){.resources = cpus(2), .ready_at_ms = 1});
    CHECK_STR(place(&w), "w1");
    CHECK_STR(place(&w), "");
    offer(&w, (struct ask){.resources = cpus(1), .ready_at_ms = 2}); // smaller ones need not wait for it
    CHECK_STR(place(&w), "w1");
    CHECK_STR(place(&w), "");
    end(&w, first);
    CHECK_STR(place(&w), "w1");
    CHECK_INT(w.pool.queue.waiting, 0);
    world_release(&w);
}

TEST(the_fleet_may_change_at_any_time) {
    struct world w;
    world_init(&w, SCH_PACK);
    struct sch_worker *one = worker(&w, "w1", 1, cpus(1), "os=linux", NULL);
    offer(&w, (struct ask){.labels = "os=linux"});
    offer(&w, (struct ask){.labels = "os=linux", .ready_at_ms = 1});
    offer(&w, (struct ask){.labels = "os=mac", .ready_at_ms = 2});
    CHECK_STR(place(&w), "w1");
    CHECK_STR(place(&w), "");
    worker(&w, "w2", 1, cpus(1), "os=linux", NULL);
    sch_pool_leave(one);
    CHECK_STR(place(&w), "w2");
    CHECK_STR(place(&w), "");
    one->labels = pairs(&w, "os=mac");
    one->used = 0;
    sch_pool_join(&w.pool, one);
    CHECK_STR(place(&w), "w1");
    CHECK_STR(place(&w), "");
    world_release(&w);
}

// The index against a plain search over all workers.
static struct sch_worker *plainly(const struct world *w, const struct hd_resources *asks) {
    for (size_t i = 0; i < w->pool.n_workers; i++)
        if (sch_has_room(w->pool.workers[i], asks))
            return w->pool.workers[i];
    return NULL;
}

static struct hd_resources random_amounts(struct hd_rng *rng, int64_t cpu, int64_t gpu) {
    return (struct hd_resources){{(int64_t)hd_rng_below(rng, (uint64_t)cpu + 1) * 500,
                                  (int64_t)hd_rng_below(rng, 9) * GIB, (int64_t)hd_rng_below(rng, 3),
                                  (int64_t)hd_rng_below(rng, (uint64_t)gpu + 1)}};
}

TEST(the_index_finds_what_a_plain_search_finds) {
    struct hd_rng rng;
    hd_rng_seed(&rng, 42);
    for (int round = 0; round < 40; round++) {
        struct world w;
        struct sch_index index[2] = {0};
        const struct sch_needs needs = {.executor = SHELL};
        world_init(&w, SCH_PACK);
        size_t n = hd_rng_below(&rng, 40);
        for (size_t i = 0; i < n; i++)
            worker(&w, hd_arena_printf(&w.arena, "w%02zu", i), 1 + (int64_t)hd_rng_below(&rng, 4),
                   random_amounts(&rng, 16, 2), NULL, NULL);
        sch_workers_sort(w.pool.workers, n);
        for (int k = 0; k < 2; k++)
            sch_index_build(&index[k], w.pool.workers, n, &needs, k ? SCH_SPREAD : SCH_PACK);
        for (int step = 0; step < 200; step++) {
            struct hd_resources asks = random_amounts(&rng, 6, 1);
            struct sch_worker *want = plainly(&w, &asks), *spread = sch_index_best(&index[1], &asks);
            CHECK(sch_index_best(&index[0], &asks) == want);
            CHECK((spread != NULL) == (want != NULL));
            CHECK(!spread || sch_has_room(spread, &asks));
            struct sch_worker *changed = n ? w.pool.workers[hd_rng_below(&rng, n)] : NULL;
            if (want && hd_rng_below(&rng, 3))
                sch_give_place(changed = want, &asks);
            else if (changed && changed->used)
                sch_take_place_back(changed, &asks);
            for (int k = 0; changed && k < 2; k++)
                sch_index_update(&index[k], changed);
        }
        for (int k = 0; k < 2; k++)
            sch_index_release(&index[k]);
        world_release(&w);
    }
}

TEST(the_worker_before_is_avoided_as_long_as_another_could_hold_it) {
    for (int policy = SCH_PACK; policy <= SCH_SPREAD; policy++) {
        struct world w;
        world_init(&w, (enum sch_policy)policy);
        struct sch_worker *one = worker(&w, "w1", 2, cpus(2), "os=linux", NULL);
        struct sch_worker *two = worker(&w, "w2", 1, cpus(4), NULL, NULL);
        offer(&w, (struct ask){.avoid = "w1"});
        CHECK_STR(place(&w), "w2");
        struct sch_offer *waits = offer(&w, (struct ask){.avoid = "w1", .ready_at_ms = 1});
        CHECK_STR(place(&w), ""); // the other is only busy
        offer(&w, (struct ask){.ready_at_ms = 2});
        CHECK_STR(place(&w), "w1"); // it stands in nobody's way
        offer(&w, (struct ask){.avoid = "w1", .labels = "os=linux"});
        CHECK_STR(place(&w), "w1"); // no other fits
        two->state = HODEI__V1__WORKER_STATE__WORKER_STATE_SUSPECT;
        sch_pool_changed(&w.pool);
        CHECK_STR(place(&w), ""); // silent is not gone
        sch_pool_take_back(one, &(struct hd_resources){0});
        sch_pool_leave(two);
        CHECK_STR(place(&w), "w1"); // now there is no other
        CHECK(waits->worker == one);
        world_release(&w);
    }
}

TEST(the_worker_before_is_taken_where_no_other_is_large_enough) {
    struct world w;
    world_init(&w, SCH_PACK);
    worker(&w, "w1", 2, cpus(8), NULL, NULL);
    worker(&w, "w2", 2, cpus(4), NULL, NULL);
    offer(&w, (struct ask){.avoid = "w1", .resources = cpus(6)});
    CHECK_STR(place(&w), "w1");
    offer(&w, (struct ask){.avoid = "w1", .resources = cpus(2)});
    CHECK_STR(place(&w), "w2");
    offer(&w, (struct ask){.avoid = "gone", .resources = cpus(2)});
    CHECK_STR(place(&w), "w2");
    worker(&w, "w3", 1, cpus(6), NULL, NULL); // one that comes later counts
    offer(&w, (struct ask){.avoid = "w1", .resources = cpus(6)});
    CHECK_STR(place(&w), "w3");
    world_release(&w);
}

TEST(what_avoids_different_workers_is_not_one_class) {
    struct world w;
    world_init(&w, SCH_PACK);
    const struct sch_offer *a = offer(&w, (struct ask){.avoid = "w1"}), *b = offer(&w, (struct ask){.avoid = "w2"}),
                           *c = offer(&w, (struct ask){0}), *d = offer(&w, (struct ask){.avoid = "w1"});
    CHECK(a->class == d->class && a->class != b->class && a->class != c->class && b->class != c->class);
    CHECK(c->class->selector->needs.avoid == NULL);
    CHECK_STR(b->class->selector->needs.avoid, "w2");
    world_release(&w);
}

TEST_MAIN
