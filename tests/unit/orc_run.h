// One run of the orchestrator in a working set, its jobs brought to their ends by hand.
#ifndef HD_TESTS_UNIT_ORC_RUN_H
#define HD_TESTS_UNIT_ORC_RUN_H

#include "test.h"

#include "orc_plans.h"
#include "services/orchestrator/advance.h"
#include "services/orchestrator/graph.h"

#define JOB(x) HODEI__V1__JOB_STATE__JOB_STATE_##x
#define RUN(x) HODEI__V1__RUN_STATE__RUN_STATE_##x
#define ATT(x) HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_##x

struct fixture {
    struct hd_arena arena;
    struct hd_rng rng;
    struct orc_chance chance;
    struct orc_ws ws;
    Hodei__V1__CompiledPipeline *plan;
    struct orc_run *run;
};

static inline void setup(struct fixture *f, size_t n_jobs) {
    *f = (struct fixture){.chance.now_ms = 1000};
    hd_arena_init(&f->arena);
    hd_rng_seed(&f->rng, 7);
    f->chance.rng = &f->rng;
    orc_ws_init(&f->ws, &f->arena);
    f->plan = plan_new(&f->arena, "acme", "build", n_jobs);
}

// All jobs are in the working set: nothing is ever wanted.
static inline void advance(struct fixture *f) {
    struct orc_wave wave;
    orc_wave_begin(&wave, &f->ws, &f->chance);
    CHECK(!orc_wave_run(&wave));
}

static inline void start(struct fixture *f) {
    f->run = orc_ws_add_run(&f->ws, hd_uuid7(1000, &f->rng));
    f->run->tenant = "acme";
    f->run->pipeline = "build";
    f->run->state = RUN(RUNNING);
    f->run->plan = f->plan;
    f->run->locked = true;
    orc_run_expand(&f->ws, f->run, &f->chance);
    advance(f);
}

static inline int state(const struct fixture *f, uint32_t idx) {
    return orc_ws_job(&f->ws, f->run->id, idx)->state;
}

// QUEUED → … → the end that `event` makes.
static inline void finish(struct fixture *f, uint32_t idx, enum orc_attempt_event event) {
    struct orc_job *job = orc_ws_job(&f->ws, f->run->id, idx);
    struct orc_attempt_news news = {.event = event, .started_ms = f->chance.now_ms, .ended_ms = f->chance.now_ms + 100};
    if (job->state == JOB(QUEUED))
        CHECK(orc_job_change(job, ORC_JOB_ADMIT, 0, &f->chance));
    struct orc_attempt *attempt =
        orc_job_place(&f->ws, job, hd_uuid7(1000, &f->rng), "w", (struct hd_uuid){{1}}, &f->chance);
    CHECK(attempt != NULL);
    f->chance.now_ms += 100;
    CHECK(orc_attempt_change(&f->ws, attempt, &news, &f->chance));
    f->chance.now_ms -= 100;
    advance(f);
}

#endif
