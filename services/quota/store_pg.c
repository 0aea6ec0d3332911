#include "services/quota/quota.h"

enum { GET, LOCK, SET, MAKE, UNCONFIRMED, CONFIRM = UNCONFIRMED + QUOTA_HOLDERS, COUNT = CONFIRM + QUOTA_HOLDERS };

#define LIMITS                                                                                                         \
    "concurrent_jobs, cpu_milli, memory_bytes, gpu, queued_jobs, runs_day, job_minutes_month, pipelines, "             \
    "log_bytes_day"
#define ALL_OF(row)                                                                                                    \
    row ".concurrent_jobs, " row ".cpu_milli, " row ".memory_bytes, " row ".gpu, " row ".queued_jobs, " row            \
        ".runs_day, " row ".job_minutes_month, " row ".weight, " row ".borrow, " row ".pipelines, " row                \
        ".log_bytes_day"
#define COLUMNS "tenant, version, confirmed AND pipelines_confirmed AND logs_confirmed, weight, borrow, " LIMITS

// Whom a holder has not confirmed to; and that it has.
#define HOLDER(holder, name, column)                                                                                   \
    [UNCONFIRMED + (holder)] = {"quota_unconfirmed_" name, "SELECT " COLUMNS " FROM limits WHERE NOT " column          \
                                                           " ORDER BY tenant LIMIT $1::int OFFSET $2::int"},           \
                   [CONFIRM + (holder)] = {"quota_confirm_" name,                                                      \
                                           "UPDATE limits SET " column                                                 \
                                           " = true WHERE tenant IN (SELECT l.tenant FROM limits l"                    \
                                           " JOIN unnest($1::text[], $2::bigint[]) AS k (tenant, version)"             \
                                           " ON l.tenant = k.tenant AND l.version = k.version"                         \
                                           " WHERE NOT l." column " ORDER BY l.tenant FOR UPDATE OF l)"}

_Static_assert(COUNT == QUOTA_SQL_COUNT, "the header says how many");

const struct hd_sql quota_sql[QUOTA_SQL_COUNT] = {
    [GET] = {"quota_get", "SELECT " COLUMNS " FROM limits WHERE tenant = ANY ($1::text[]) ORDER BY tenant"},
    [LOCK] = {"quota_lock", "SELECT version FROM limits WHERE tenant = $1::text FOR UPDATE"},
    // A holder that has nothing to do with what has changed need not be told.
    [SET] =
        {"quota_set",
         "INSERT INTO limits AS l (tenant, " LIMITS ", weight, borrow, pipelines_confirmed, logs_confirmed, version,"
         " confirmed) VALUES ($1::text, $2::bigint, $3::bigint, $4::bigint, $5::bigint, $6::bigint, $7::bigint,"
         " $8::bigint, $9::bigint, $10::bigint, $11::int, $12::int <> 0, $9::bigint = -1, $10::bigint = -1, 1, false)"
         " ON CONFLICT (tenant) DO UPDATE SET concurrent_jobs = excluded.concurrent_jobs,"
         " cpu_milli = excluded.cpu_milli, memory_bytes = excluded.memory_bytes, gpu = excluded.gpu,"
         " queued_jobs = excluded.queued_jobs, runs_day = excluded.runs_day,"
         " job_minutes_month = excluded.job_minutes_month, pipelines = excluded.pipelines,"
         " log_bytes_day = excluded.log_bytes_day, weight = excluded.weight, borrow = excluded.borrow,"
         " version = l.version + 1, confirmed = false,"
         " pipelines_confirmed = l.pipelines_confirmed AND l.pipelines = excluded.pipelines,"
         " logs_confirmed = l.logs_confirmed AND l.log_bytes_day = excluded.log_bytes_day"
         " WHERE (" ALL_OF("l") ") IS DISTINCT FROM (" ALL_OF("excluded") ")"},
    [MAKE] = {"quota_make", "INSERT INTO limits (tenant, concurrent_jobs, version, confirmed)"
                            " SELECT t, $2::bigint, 1, false FROM unnest($1::text[]) AS u (t)"
                            " WHERE NOT EXISTS (SELECT FROM limits WHERE tenant = t) GROUP BY t ORDER BY t"
                            " ON CONFLICT DO NOTHING"},
    HOLDER(QUOTA_ORCHESTRATOR, "orchestrator", "confirmed"),
    HOLDER(QUOTA_PIPELINES, "pipelines", "pipelines_confirmed"),
    HOLDER(QUOTA_LOGS, "logs", "logs_confirmed"),
};

static void take_rows(struct hd_arena *arena, const struct hd_rows *rows, struct quota_limit **ret, size_t *ret_n) {
    struct quota_limit *limits = HD_NEW_ARRAY(arena, rows->n, struct quota_limit);
    for (size_t i = 0; i < rows->n; i++) {
        limits[i] = (struct quota_limit){.tenant = hd_row_text(rows, i, 0),
                                         .version = (uint64_t)hd_row_int(rows, i, 1),
                                         .confirmed = hd_row_bool(rows, i, 2),
                                         .weight = hd_row_int(rows, i, 3),
                                         .borrow = hd_row_bool(rows, i, 4)};
        for (size_t k = 0; k < HD_QUOTA_DIMS; k++)
            limits[i].limit.of[k] = hd_row_int(rows, i, 5 + k);
    }
    *ret = limits;
    *ret_n = rows->n;
}

static enum hd_status pg_get(struct hd_ctx *cx, const char *const *tenants, size_t n, struct quota_limit **ret,
                             size_t *ret_n) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &quota_sql[GET], &rows, HD_TEXTS(tenants, n)));
    take_rows(cx->arena, &rows, ret, ret_n);
    return HD_OK;
}

static enum hd_status pg_set(struct hd_ctx *cx, const struct quota_limit *limit, uint64_t if_version, bool *ret_stale) {
    const int64_t *of = limit->limit.of;
    struct hd_rows rows;
    *ret_stale = false;
    if (if_version) {
        HD_TRY(HD_RUN(cx, &quota_sql[LOCK], &rows, HD_TEXT(limit->tenant)));
        *ret_stale = rows.n == 0 || (uint64_t)hd_row_int(&rows, 0, 0) != if_version;
        if (*ret_stale)
            return HD_OK;
    }
    return HD_RUN(cx, &quota_sql[SET], NULL, HD_TEXT(limit->tenant), HD_I64(of[HD_QUOTA_JOBS]),
                  HD_I64(of[HD_QUOTA_CPU]), HD_I64(of[HD_QUOTA_MEMORY]), HD_I64(of[HD_QUOTA_GPU]),
                  HD_I64(of[HD_QUOTA_QUEUED]), HD_I64(of[HD_QUOTA_RUNS_DAY]), HD_I64(of[HD_QUOTA_MINUTES_MONTH]),
                  HD_I64(of[HD_QUOTA_PIPELINES]), HD_I64(of[HD_QUOTA_LOG_BYTES_DAY]), HD_I32((int32_t)limit->weight),
                  HD_I32(limit->borrow));
}

static enum hd_status pg_make(struct hd_ctx *cx, const char *const *tenants, size_t n, int64_t concurrent_jobs) {
    return HD_RUN(cx, &quota_sql[MAKE], NULL, HD_TEXTS(tenants, n), HD_I64(concurrent_jobs));
}

static enum hd_status pg_unconfirmed(struct hd_ctx *cx, enum quota_holder holder, unsigned skip, unsigned limit,
                                     struct quota_limit **ret, size_t *ret_n) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &quota_sql[UNCONFIRMED + (int)holder], &rows, HD_I32((int32_t)limit), HD_I32((int32_t)skip)));
    take_rows(cx->arena, &rows, ret, ret_n);
    return HD_OK;
}

static enum hd_status pg_confirm(struct hd_ctx *cx, enum quota_holder holder, const struct hd_push_keys *keys) {
    return HD_RUN(cx, &quota_sql[CONFIRM + (int)holder], NULL, HD_TEXTS(keys->tenants, keys->n),
                  HD_I64S(keys->versions, keys->n));
}

const struct quota_store quota_pg_store = {
    .get = pg_get,
    .set = pg_set,
    .make = pg_make,
    .unconfirmed = pg_unconfirmed,
    .confirm = pg_confirm,
};
