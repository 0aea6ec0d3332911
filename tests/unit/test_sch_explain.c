// Why a job waits: every reason, and the sentence that names what to change.
#include "base/buf.h"
#include "tests/unit/sch_world.h"
#include "tests/unit/test.h"

#define REASON(x) HODEI__V1__PLACE_REASON__PLACE_REASON_##x

static struct sch_verdict verdict_of(struct world *w, const struct sch_offer *of) {
    sch_pool_reopen(&w->pool);
    while (sch_pool_next(&w->pool, NOW.wall_ms))
        ;
    return sch_pool_explain(&w->arena, &w->pool, of, NOW);
}

static void expect(struct world *w, struct ask ask, int reason, const char *text) {
    struct sch_verdict got = verdict_of(w, offer(w, ask));
    CHECK_INT(got.reason, reason);
    CHECK_STR(got.text, text);
}

TEST(what_the_workers_are) {
    struct world w;
    world_init(&w, SCH_PACK);
    expect(&w, (struct ask){0}, REASON(NO_WORKER), "pool \"default\" has no worker: start an agent for it");
    worker(&w, "w1", 4, (struct hd_resources){{8000, 16 * GIB, 0, 0}}, "os=linux,disk=ssd", NULL);
    worker(&w, "w2", 4, (struct hd_resources){{4000, 32 * GIB, 0, 0}}, "os=linux,zone=a", NULL);
    worker(&w, "w3", 4, (struct hd_resources){{64000, 64 * GIB, 0, 4}}, "os=linux,zone=b", "gpu=only");
    expect(&w, (struct ask){.executor = HODEI__V1__EXECUTOR__EXECUTOR_DOCKER}, REASON(EXECUTOR),
           "none of 3 workers of pool \"default\" has the executor docker: start one that has");
    expect(&w, (struct ask){.labels = "os=mac"}, REASON(LABEL),
           "no worker of pool \"default\" has the label os=mac: 3 of 3 workers lack only that");
    expect(&w, (struct ask){.labels = "zone=a,arch=arm64"}, REASON(LABEL),
           "no worker of pool \"default\" has the label arch=arm64: 1 of 3 workers lacks only that");
    expect(
        &w, (struct ask){.labels = "zone=a,disk=ssd"}, REASON(LABEL),
        "no worker of pool \"default\" has the label disk=ssd together with the others that the job asks for: 1 of 3 "
        "workers lacks only that");
    expect(&w, (struct ask){.labels = "x=1,y=2"}, REASON(LABEL),
           "no worker of pool \"default\" has the label x=1: start one that has");
    expect(&w, (struct ask){.labels = "disk=ssd", .resources = {{16000}}}, REASON(TOO_LARGE),
           "the job asks for 16 CPUs, and the largest of 1 worker of pool \"default\" has 8 CPUs: ask for less, or "
           "start a "
           "larger worker");
    expect(&w, (struct ask){.resources = {{0, 128 * GIB}}}, REASON(TOO_LARGE),
           "the job asks for 128 GiB of memory, and the largest of 3 workers of pool \"default\" has 64 GiB of memory: "
           "ask "
           "for less, or start a larger worker");
    expect(&w, (struct ask){.resources = {{0, 0, 0, 8}}}, REASON(TOO_LARGE),
           "the job asks for 8 GPUs, and the largest of 3 workers of pool \"default\" has 4 GPUs: ask for less, or "
           "start a "
           "larger worker");
    expect(&w, (struct ask){.resources = {{0, 0, 0, 1}}}, REASON(TAINT),
           "1 worker of pool \"default\" would do, and 1 of them has the taint gpu=only: let the job tolerate it");
    CHECK_INT(w.pool.queue.waiting, 9); // the first one had only to wait for a worker
    world_release(&w);
}

TEST(large_in_parts_is_not_large_enough) {
    struct world w;
    world_init(&w, SCH_PACK);
    worker(&w, "w1", 4, (struct hd_resources){{8000, 1 * GIB, 0, 0}}, NULL, NULL);
    worker(&w, "w2", 4, (struct hd_resources){{1000, 8 * GIB, 0, 0}}, NULL, NULL);
    expect(
        &w, (struct ask){.resources = {{8000, 8 * GIB}}}, REASON(TOO_LARGE),
        "none of 2 workers of pool \"default\" has all that the job asks for at once: ask for less, or start a larger "
        "worker");
    world_release(&w);
}

TEST(silent_workers) {
    struct world w;
    world_init(&w, SCH_PACK);
    worker(&w, "w1", 4, (struct hd_resources){0}, NULL, NULL)->state = HODEI__V1__WORKER_STATE__WORKER_STATE_SUSPECT;
    expect(&w, (struct ask){0}, REASON(OFFLINE),
           "1 worker of pool \"default\" could run it, and none is online: look at its agent");
    world_release(&w);
}

TEST(cordoned_and_unfit_workers) {
    struct world w;
    world_init(&w, SCH_PACK);
    struct sch_worker *w1 = worker(&w, "w1", 4, (struct hd_resources){0}, NULL, NULL);
    struct sch_worker *w2 = worker(&w, "w2", 4, (struct hd_resources){0}, NULL, NULL);
    w1->cordoned = true;
    hd_strlcpy(w2->unfit, "9 MiB of disk are free", sizeof(w2->unfit));
    expect(&w, (struct ask){0}, REASON(UNFIT),
           "2 workers of pool \"default\" could run it, and they take no work at the moment: worker \"w2\" says: "
           "9 MiB of disk are free");
    w2->cordoned = w2->draining = true;
    w1->state = HODEI__V1__WORKER_STATE__WORKER_STATE_SUSPECT;
    expect(&w, (struct ask){0}, REASON(CORDONED),
           "1 worker of pool \"default\" could run it, and it is being drained: hodei worker uncordon w2, or start "
           "another one");
    w1->state = ONLINE;
    w1->cordoned = false; // one that takes work is enough
    sch_pool_changed(&w.pool);
    CHECK_STR(place(&w), "w1");
    world_release(&w);
}

TEST(busy_with_position_and_estimate) {
    struct world w;
    world_init(&w, SCH_PACK);
    worker(&w, "w1", 2, (struct hd_resources){{4000}}, NULL, NULL);
    for (int i = 0; i < 2; i++)
        offer(&w, (struct ask){.ready_at_ms = i});
    for (int i = 2; i < 5; i++)
        offer(&w, (struct ask){.ready_at_ms = i});
    offer(&w, (struct ask){.labels = "os=none", .ready_at_ms = 0}); // stands in nobody's way
    const struct sch_offer *last = offer(&w, (struct ask){.ready_at_ms = 6});
    struct sch_verdict got = verdict_of(&w, last);
    CHECK_INT(got.reason, REASON(BUSY));
    CHECK_STR(got.text,
              "every slot of 1 worker of pool \"default\" that can run it is busy: it is number 4 of 4 in the "
              "queue; more workers would shorten it");
    CHECK_INT(got.position, 4);
    CHECK_INT(got.queued, 4);
    CHECK_INT(got.estimate_ms, 0);
    sch_rate_add(&w.pool.rate, 120, NOW.mono_ms); // two a second
    got = verdict_of(&w, last);
    CHECK_STR(got.text,
              "every slot of 1 worker of pool \"default\" that can run it is busy: it is number 4 of 4 in the "
              "queue, about 3 s; more workers would shorten it");
    struct sch_offer *running = NULL;
    for (size_t pos = 0; (running = hd_map_next(&w.pool.offers, &pos, NULL));)
        if (running->worker)
            break;
    got = sch_pool_explain(&w.arena, &w.pool, running, NOW);
    CHECK_INT(got.reason, REASON(PLACED));
    CHECK_STR(got.text, "it has a place on worker \"w1\"");
    world_release(&w);
}

TEST(busy_for_what_is_asked) {
    struct world w;
    world_init(&w, SCH_PACK);
    worker(&w, "w1", 4, (struct hd_resources){{4000}}, NULL, NULL);
    offer(&w, (struct ask){.resources = {{2500}}});
    expect(&w, (struct ask){.resources = {{2000}}, .ready_at_ms = 1}, REASON(BUSY),
           "none of 1 worker of pool \"default\" that can run it has 2 CPUs free at the moment, the most is 1.5 CPUs: "
           "it is "
           "number 1 of 1 in the queue; more workers would shorten it");
    world_release(&w);
}

TEST(avoiding_the_worker_before) {
    struct world w;
    world_init(&w, SCH_PACK);
    struct sch_worker *one = worker(&w, "w1", 1, (struct hd_resources){0}, NULL, NULL);
    worker(&w, "w2", 1, (struct hd_resources){0}, "os=linux", NULL);
    offer(&w, (struct ask){.labels = "os=linux"});
    expect(&w, (struct ask){.avoid = "w1", .ready_at_ms = 1}, REASON(AVOID),
           "worker \"w1\" has room, and the attempt before ran there (retry.avoid_worker): wait for 1 other worker of "
           "pool \"default\" that can run it, or start another one");
    sch_pool_give(one, &(struct hd_resources){0}); // with both busy it is busy
    expect(&w, (struct ask){.avoid = "w1", .ready_at_ms = 2}, REASON(BUSY),
           "every slot of 1 worker of pool \"default\" that can run it is busy: it is number 2 of 2 in the queue; more "
           "workers would shorten it");
    world_release(&w);
}

TEST(behind_higher_priority) {
    struct world w;
    world_init(&w, SCH_PACK);
    worker(&w, "w1", 1, (struct hd_resources){0}, NULL, NULL);
    for (int i = 0; i < 3; i++)
        offer(&w, (struct ask){.priority = 7, .ready_at_ms = i});
    expect(
        &w, (struct ask){.priority = 5}, REASON(PRIORITY),
        "every slot of 1 worker of pool \"default\" that can run it is busy, and 2 jobs of higher priority go first: "
        "raise its priority above 5; it is number 3 of 3 in the queue");
    world_release(&w);
}

TEST(behind_tenants_with_less) {
    struct world w;
    world_init(&w, SCH_PACK);
    worker(&w, "w1", 4, (struct hd_resources){0}, NULL, NULL);
    for (int i = 0; i < 4; i++)
        offer(&w, (struct ask){.tenant = "acme", .ready_at_ms = i});
    while (*place(&w))
        ;
    for (int i = 0; i < 2; i++)
        offer(&w, (struct ask){.tenant = "b", .ready_at_ms = 100 + i});
    expect(&w, (struct ask){.tenant = "acme", .ready_at_ms = 50}, REASON(FAIR_SHARE),
           "every slot of 1 worker of pool \"default\" that can run it is busy, and its tenant \"acme\" has 4 jobs "
           "running: "
           "2 jobs of tenants with less go first, as the weights of the tenants say; it is number 3 of 3 in the queue");
    world_release(&w);
}

TEST(the_rate_is_of_the_last_minute) {
    struct sch_rate rate = {0};
    CHECK_INT(sch_rate_estimate_ms(&rate, 10, 1000), 0);
    sch_rate_add(&rate, 60, 600000);
    CHECK_INT(sch_rate_estimate_ms(&rate, 10, 600000), 10001);
    CHECK_INT(sch_rate_estimate_ms(&rate, 10, 600000 + 60000 + 30000), 20001); // half of it has left the minute
    CHECK_INT(sch_rate_estimate_ms(&rate, 10, 600000 + 180000), 0);
}

TEST_MAIN
