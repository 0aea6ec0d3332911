// The context of one batch: what a function that does I/O takes. A pure function never takes it.
#ifndef HD_BASE_CTX_H
#define HD_BASE_CTX_H

#include "base/arena.h"
#include "base/log.h"
#include "base/uuid.h"

struct hd_db;
struct hd_bus;

struct hd_ctx {
    struct hd_arena *arena;   // of the batch
    struct hd_db *db;         // NULL in a process that owns no schema
    void *store;              // the in-memory twin instead of db (simulator, tests); else NULL
    struct hd_bus *bus;       // what is said through it goes out after the commit
    struct hd_rng *rng;       // source of new ids, so that the simulator can drive them
    struct hd_now now;        // read once a batch
    int64_t deadline_mono_ms; // of the batch
    struct hd_log_fields log;
    struct hd_err err;
};

#define hd_fail(cx, status, ...) hd_err_set(&(cx)->err, (status), __VA_ARGS__)

static inline struct hd_uuid hd_new_id(struct hd_ctx *cx) {
    return hd_uuid7(cx->now.wall_ms, cx->rng);
}

#endif
