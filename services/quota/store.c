#include "services/quota/quota.h"

enum { GET, SET, MAKE, UNCONFIRMED, CONFIRM };

#define COLUMNS "tenant, concurrent_jobs, version, confirmed"

const struct hd_sql quota_sql[] = {
    [GET] = {"quota_get", "SELECT " COLUMNS " FROM limits WHERE tenant = ANY ($1::text[]) ORDER BY tenant"},
    [SET] =
        {"quota_set",
         "INSERT INTO limits AS l (tenant, concurrent_jobs, version, confirmed) VALUES ($1::text, $2::bigint, 1, false)"
         " ON CONFLICT (tenant) DO UPDATE SET concurrent_jobs = excluded.concurrent_jobs, version = l.version + 1,"
         " confirmed = false WHERE l.concurrent_jobs <> excluded.concurrent_jobs"},
    [MAKE] = {"quota_make", "INSERT INTO limits (tenant, concurrent_jobs, version, confirmed)"
                            " SELECT t, $2::bigint, 1, false FROM unnest($1::text[]) AS u (t)"
                            " WHERE NOT EXISTS (SELECT FROM limits WHERE tenant = t) GROUP BY t ORDER BY t"
                            " ON CONFLICT DO NOTHING"},
    [UNCONFIRMED] = {"quota_unconfirmed",
                     "SELECT " COLUMNS " FROM limits WHERE NOT confirmed ORDER BY tenant LIMIT $1::int OFFSET $2::int"},
    [CONFIRM] = {"quota_confirm", "UPDATE limits SET confirmed = true WHERE tenant IN (SELECT l.tenant FROM limits l"
                                  " JOIN unnest($1::text[], $2::bigint[]) AS k (tenant, version)"
                                  " ON l.tenant = k.tenant AND l.version = k.version"
                                  " WHERE NOT l.confirmed ORDER BY l.tenant FOR UPDATE OF l)"},
};
const size_t quota_sql_len = sizeof(quota_sql) / sizeof(quota_sql[0]);

static void take_rows(struct hd_arena *arena, const struct hd_rows *rows, struct quota_limit **ret, size_t *ret_n) {
    struct quota_limit *limits = HD_NEW_ARRAY(arena, rows->n, struct quota_limit);
    for (size_t i = 0; i < rows->n; i++)
        limits[i] = (struct quota_limit){.tenant = hd_row_text(rows, i, 0),
                                         .concurrent_jobs = hd_row_int(rows, i, 1),
                                         .version = (uint64_t)hd_row_int(rows, i, 2),
                                         .confirmed = hd_row_bool(rows, i, 3)};
    *ret = limits;
    *ret_n = rows->n;
}

enum hd_status quota_store_get(struct hd_ctx *cx, const char *const *tenants, size_t n, struct quota_limit **ret,
                               size_t *ret_n) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &quota_sql[GET], &rows, HD_TEXTS(tenants, n)));
    take_rows(cx->arena, &rows, ret, ret_n);
    return HD_OK;
}

enum hd_status quota_store_set(struct hd_ctx *cx, const char *tenant, int64_t concurrent_jobs) {
    return HD_RUN(cx, &quota_sql[SET], NULL, HD_TEXT(tenant), HD_I64(concurrent_jobs));
}

enum hd_status quota_store_make(struct hd_ctx *cx, const char *const *tenants, size_t n, int64_t concurrent_jobs) {
    return HD_RUN(cx, &quota_sql[MAKE], NULL, HD_TEXTS(tenants, n), HD_I64(concurrent_jobs));
}

enum hd_status quota_store_unconfirmed(struct hd_ctx *cx, unsigned skip, unsigned limit, struct quota_limit **ret,
                                       size_t *ret_n) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &quota_sql[UNCONFIRMED], &rows, HD_I32((int32_t)limit), HD_I32((int32_t)skip)));
    take_rows(cx->arena, &rows, ret, ret_n);
    return HD_OK;
}

enum hd_status quota_store_confirm(struct hd_ctx *cx, const struct hd_push_keys *keys) {
    return HD_RUN(cx, &quota_sql[CONFIRM], NULL, HD_TEXTS(keys->tenants, keys->n), HD_I64S(keys->versions, keys->n));
}
