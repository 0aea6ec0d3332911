#include "services/worker-registry/liveness.h"
#include "test.h"

static const struct liveness_times times = {
    .heartbeat_ms = 5000, .lease_ms = 15000, .margin_ms = 5000, .lost_percent_max = 30};

#define MAX 20
struct world {
    struct liveness live;
    struct liveness_row rows[MAX];
    size_t n;
    char names[MAX][24];
    int64_t now;
    struct hd_arena arena;
    struct liveness_decision decision;
};

static void world_init(struct world *w, size_t n) {
    memset(w, 0, sizeof(*w));
    liveness_init(&w->live);
    hd_arena_init(&w->arena);
    w->n = n;
    w->now = 1000;
    for (size_t i = 0; i < n; i++) {
        snprintf(w->names[i], sizeof(w->names[i]), "w%02zu", i);
        w->rows[i] = (struct liveness_row){.name = w->names[i], .session = {{(uint8_t)(i + 1)}}, .beats = 1};
    }
}
static void world_release(struct world *w) {
    liveness_release(&w->live);
    hd_arena_release(&w->arena);
}
// One sweep a second for `seconds`; worker i beats at each where bit i of `beating` is set.
static void run(struct world *w, unsigned seconds, unsigned beating, bool connected) {
    for (unsigned s = 0; s < seconds; s++) {
        w->now += 1000;
        for (size_t i = 0; i < w->n; i++)
            w->rows[i].beats += (beating >> i) & 1;
        liveness_observe(&w->live, &times, w->rows, w->n, connected, w->now);
        w->decision = liveness_decide(&w->live, &times, w->rows, w->n, w->now, &w->arena);
    }
}

TEST(silent_suspect_lost) {
    struct world w;
    world_init(&w, 2);
    run(&w, 1, 3, true);
    run(&w, 9, 2, true);
    CHECK_INT(w.decision.verdicts[0], LIVENESS_ALIVE); // 9 s
    run(&w, 1, 2, true);
    CHECK_INT(w.decision.verdicts[0], LIVENESS_SILENT); // two heartbeats
    w.rows[0].suspect = true;
    run(&w, 1, 2, true);
    CHECK_INT(w.decision.verdicts[0], LIVENESS_ALIVE); // it is suspect already
    run(&w, 8, 2, true);
    CHECK_INT(w.decision.verdicts[0], LIVENESS_ALIVE); // 19 s
    run(&w, 1, 2, true);
    CHECK_INT(w.decision.verdicts[0], LIVENESS_EXPIRED); // lease and margin
    CHECK_INT(w.decision.verdicts[1], LIVENESS_ALIVE);
    CHECK(!w.decision.alarm);
    world_release(&w);
}

TEST(one_beat_starts_anew) {
    struct world w;
    world_init(&w, 1);
    run(&w, 19, 0, true);
    run(&w, 1, 1, true);
    run(&w, 19, 0, true);
    CHECK(w.decision.verdicts[0] != LIVENESS_EXPIRED);
    run(&w, 1, 0, true);
    CHECK_INT(w.decision.verdicts[0], LIVENESS_EXPIRED);
    world_release(&w);
}

TEST(a_new_process_gives_full_grace) {
    struct world w;
    world_init(&w, 1);
    w.now = 1000000; // the worker may have been silent for long: this process does not know
    run(&w, 20, 0, true);
    CHECK(w.decision.verdicts[0] != LIVENESS_EXPIRED);
    run(&w, 1, 0, true);
    CHECK_INT(w.decision.verdicts[0], LIVENESS_EXPIRED);
    world_release(&w);
}

TEST(own_outage_does_not_count) {
    struct world w;
    world_init(&w, 1);
    run(&w, 15, 0, true);
    run(&w, 60, 0, false); // the bus was away
    CHECK_INT(w.decision.verdicts[0], LIVENESS_ALIVE);
    run(&w, 19, 0, true);
    CHECK(w.decision.verdicts[0] != LIVENESS_EXPIRED);
    w.now += 60000; // the process stood still
    run(&w, 1, 0, true);
    CHECK_INT(w.decision.verdicts[0], LIVENESS_ALIVE);
    run(&w, 19, 0, true);
    CHECK(w.decision.verdicts[0] != LIVENESS_EXPIRED);
    run(&w, 1, 0, true);
    CHECK_INT(w.decision.verdicts[0], LIVENESS_EXPIRED);
    world_release(&w);
}

TEST(another_session_is_another_life) {
    struct world w;
    world_init(&w, 1);
    run(&w, 15, 0, true);
    w.rows[0].session.b[0] = 99;
    run(&w, 1, 0, true);
    CHECK_INT(w.decision.verdicts[0], LIVENESS_ALIVE);
    world_release(&w);
}

TEST(thirty_percent) {
    CHECK(!liveness_too_many(1, 1, 30));
    CHECK(!liveness_too_many(2, 2, 30)); // two may always be lost
    CHECK(liveness_too_many(3, 3, 30));
    CHECK(!liveness_too_many(3, 10, 30)); // exactly 30 % is not more
    CHECK(liveness_too_many(4, 10, 30));
    CHECK(liveness_too_many(3, 9, 30));
    CHECK(!liveness_too_many(10, 10, 100));
}

TEST(too_many_are_spared) {
    struct world w;
    world_init(&w, 10);
    run(&w, 1, 0x3ff, true);
    run(&w, 20, 0x3ff & ~0xfu, true); // four of ten fall silent
    CHECK(w.decision.alarm);
    CHECK_INT(w.decision.expired, 4);
    for (size_t i = 0; i < w.n; i++)
        CHECK_INT(w.decision.verdicts[i], i < 4 ? LIVENESS_SILENT : LIVENESS_ALIVE);
    run(&w, 1, 0x3ff & ~0x7u, true); // one comes back: three may be lost
    CHECK(!w.decision.alarm);
    CHECK_INT(w.decision.verdicts[0], LIVENESS_EXPIRED);
    CHECK_INT(w.decision.verdicts[3], LIVENESS_ALIVE);
    world_release(&w);
}

TEST(workers_come_and_go) {
    struct world w;
    world_init(&w, 4);
    run(&w, 15, 0, true);
    w.rows[0] = w.rows[1]; // w00 is gone
    w.rows[1] = w.rows[3]; // and w02
    w.n = 2;
    run(&w, 6, 0, true);
    CHECK_INT(w.decision.verdicts[0], LIVENESS_EXPIRED);
    CHECK_INT(w.decision.verdicts[1], LIVENESS_EXPIRED);
    world_release(&w);
}

TEST(lease_over) {
    struct world w;
    world_init(&w, 1);
    struct hd_uuid mine = w.rows[0].session, other = {{9}};
    CHECK(!liveness_lease_over(&w.live, &times, "w00", mine, 1, 99000)); // never observed
    run(&w, 1, 0, true);
    CHECK(!liveness_lease_over(&w.live, &times, "w00", mine, 1, w.now + 14999));
    CHECK(liveness_lease_over(&w.live, &times, "w00", mine, 1, w.now + 15000));
    CHECK(!liveness_lease_over(&w.live, &times, "w00", mine, 2, w.now + 15000)); // it has beaten since
    CHECK(!liveness_lease_over(&w.live, &times, "w00", other, 1, w.now + 15000));
    CHECK(!liveness_lease_over(&w.live, &times, "w99", mine, 1, w.now + 15000));
    world_release(&w);
}

TEST_MAIN
