// The orchestrator's store with its transaction, in memory or on a real PostgreSQL: for the suites of behaviour that both must pass.
#ifndef HD_TESTS_INTEGRATION_ORC_STORE_H
#define HD_TESTS_INTEGRATION_ORC_STORE_H

#include "adapter/db.h"
#include "orchestrator/migrations.h"
#include "service/mem.h"
#include "services/orchestrator/sql.h"
#include "services/orchestrator/store.h"
#include "tests/integration/servers.h"

#define JOB(x) HODEI__V1__JOB_STATE__JOB_STATE_##x
#define RUN(x) HODEI__V1__RUN_STATE__RUN_STATE_##x
#define ATT(x) HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_##x
#define RUNNING HODEI__V1__RUN_STATE__RUN_STATE_RUNNING

// --- a store with its transaction -------------------------------------------------------------------------------------------------
struct fixture {
    struct hd_arena arena;
    struct hd_rng rng;
    struct hd_ctx cx;
    const struct orc_store_ops *ops;
    struct orc_mem *mem; // NULL: PostgreSQL
};

static inline void open_pg(struct fixture *f) {
    static const struct hd_sql *const tables[] = {orc_sql};
    static const size_t lens[] = {ORC_SQL_COUNT};
    static const struct hd_db_def def = {.schema = "orchestrator",
                                         .tables = tables,
                                         .table_lens = lens,
                                         .n_tables = 1,
                                         .migrations = hd_embedded_migrations,
                                         .n_migrations =
                                             sizeof hd_embedded_migrations / sizeof hd_embedded_migrations[0]};
    f->ops = &orc_pg_store;
    f->cx.db = hd_db_new(servers_pg(), &def);
    enum hd_status status = hd_db_connect(&f->cx);
    if (status != HD_OK)
        printf("%s\n", f->cx.err.text);
    CHECK_INT(status, HD_OK);
}

static inline void setup(struct fixture *f, bool pg) {
    *f = (struct fixture){.ops = &orc_mem_store};
    hd_arena_init(&f->arena);
    hd_rng_seed_os(&f->rng);
    f->cx = (struct hd_ctx){.arena = &f->arena, .rng = &f->rng, .now = hd_now_read()};
    if (pg)
        open_pg(f);
    else
        f->mem = orc_mem_new();
}

static inline void teardown(struct fixture *f) {
    if (f->cx.db)
        hd_db_free(f->cx.db);
    orc_mem_free(f->mem);
    hd_arena_release(&f->arena);
}

static inline void begin(struct fixture *f) {
    f->cx.now = hd_now_read();
    CHECK_INT(f->mem ? hd_mem_tx.begin(&f->cx, f->mem) : hd_db_begin(&f->cx), HD_OK);
}
static inline void commit(struct fixture *f) {
    CHECK_INT(f->mem ? hd_mem_tx.commit(&f->cx, f->mem) : hd_db_commit(&f->cx), HD_OK);
}
static inline void rollback(struct fixture *f) {
    if (f->mem)
        hd_mem_tx.rollback(&f->cx, f->mem);
    else
        hd_db_rollback(&f->cx);
}
#define DO(f, op, ...) (f)->ops->op(&(f)->cx, (f)->mem, __VA_ARGS__)
#define OK(f, op, ...)                                                                                                 \
    do {                                                                                                               \
        enum hd_status ok_ = DO(f, op, __VA_ARGS__);                                                                   \
        if (ok_ != HD_OK)                                                                                              \
            printf("%s\n", (f)->cx.err.text);                                                                          \
        CHECK_INT(ok_, HD_OK);                                                                                         \
    } while (0)

// Names that no other test uses, since all share one schema.
static inline char *fresh(struct fixture *f, const char *prefix) {
    return hd_arena_printf(&f->arena, "%s-%llx", prefix, (unsigned long long)hd_rng_next(&f->rng));
}

static inline struct orc_run *add_run(struct fixture *f, struct orc_ws *ws, const char *tenant, const char *key,
                                      uint32_t jobs) {
    struct orc_run *run = orc_ws_add_run(ws, hd_new_id(&f->cx));
    run->tenant = tenant;
    run->pipeline = "build";
    run->version = 3;
    run->state = RUNNING;
    run->created_ms = 111;
    run->revision = 1;
    run->key = key;
    run->fingerprint = 0xfedcba9876543210u;
    run->total = run->rows = jobs;
    return run;
}

static inline struct orc_job *add_job(struct orc_ws *ws, struct orc_run *run, uint32_t idx, const char *pool,
                                      int state) {
    struct orc_job *job = orc_ws_add_job(ws, run, idx);
    job->pool = pool;
    job->state = state;
    job->dirty = true;
    return job;
}

static inline void both(void (*suite)(struct fixture *f)) {
    for (int pg = 0; pg < 2; pg++) {
        struct fixture f;
        setup(&f, pg);
        suite(&f);
        teardown(&f);
    }
}

#endif
