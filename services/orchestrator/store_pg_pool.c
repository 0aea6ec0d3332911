// Who leads pools, what stands in them, and which sessions of workers are gone.
#include "services/orchestrator/store_pg.h"

// --- leases and pools -----------------------------------------------------------------------------------------------------------
enum hd_status orc_pg_lease_take(ORC_CALL, struct orc_lease *inout, int64_t ttl_ms, bool release) {
    struct hd_rows rows = {0};
    int64_t asked = (int64_t)inout->epoch;
    (void)store;
    if (release)
        HD_TRY(
            ORC_RUN_SQL(cx, ORC_SQL_LEASE_RELEASE, NULL, HD_TEXT(inout->pool), HD_TEXT(inout->holder), HD_I64(asked)));
    else
        HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_LEASE_TAKE, &rows, HD_TEXT(inout->pool), HD_TEXT(inout->holder), HD_I64(asked),
                           HD_I64(ttl_ms)));
    inout->granted = rows.n > 0;
    if (!inout->granted)
        HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_LEASE_READ, &rows, HD_TEXT(inout->pool)));
    inout->epoch = rows.n ? (uint64_t)hd_row_int(&rows, 0, 0) : 0;
    inout->fresh = inout->granted && (int64_t)inout->epoch != asked; // epochs only rise
    return HD_OK;
}

enum hd_status orc_pg_leases_hold(ORC_CALL, struct orc_lease *inout, size_t n) {
    const char **pools = HD_NEW_ARRAY(cx->arena, n, const char *);
    struct hd_rows rows;
    (void)store;
    for (size_t i = 0; i < n; i++) {
        pools[i] = inout[i].pool;
        inout[i].epoch = 0;
        inout[i].holder = "";
    }
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_LEASES_HOLD, &rows, HD_TEXTS(pools, n)));
    for (size_t r = 0; r < rows.n; r++) {
        for (size_t i = 0; i < n; i++) {
            if (strcmp(inout[i].pool, hd_row_text(&rows, r, 0)) != 0)
                continue;
            inout[i].holder = hd_row_text(&rows, r, 1);
            inout[i].epoch = (uint64_t)hd_row_int(&rows, r, 2);
        }
    }
    return HD_OK;
}

enum hd_status orc_pg_pool_entries(ORC_CALL, const char *pool, unsigned limit, struct orc_pool_entry **ret,
                                   size_t *ret_n) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_POOL_ENTRIES, &rows, HD_TEXT(pool), HD_I64(limit)));
    struct orc_pool_entry *entries = HD_NEW_ARRAY(cx->arena, rows.n, struct orc_pool_entry);
    for (size_t i = 0; i < rows.n; i++)
        entries[i] = (struct orc_pool_entry){.job = {hd_row_uuid(&rows, i, 0), (uint32_t)hd_row_int(&rows, i, 1)},
                                             .state = (int)hd_row_int(&rows, i, 2),
                                             .key = (uint64_t)hd_row_int(&rows, i, 3),
                                             .since_ms = hd_row_int(&rows, i, 4),
                                             .worker = hd_row_text(&rows, i, 5)};
    *ret = entries;
    *ret_n = rows.n;
    return HD_OK;
}

// --- sessions -----------------------------------------------------------------------------------------------------------------
// The columns of `lives`.
static struct hd_uuid *sessions_of(struct hd_ctx *cx, const struct orc_life *lives, size_t n, int64_t **ret) {
    struct hd_uuid *sessions = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    *ret = HD_NEW_ARRAY(cx->arena, n, int64_t);
    for (size_t i = 0; i < n; i++) {
        sessions[i] = lives[i].session;
        (*ret)[i] = lives[i].incarnation;
    }
    return sessions;
}

enum hd_status orc_pg_sessions_lose(ORC_CALL, const struct orc_life *lives, size_t n) {
    int64_t *incarnations;
    struct hd_uuid *sessions = sessions_of(cx, lives, n, &incarnations);
    (void)store;
    return ORC_RUN_SQL(cx, ORC_SQL_SESSIONS_LOSE, NULL, HD_UUIDS(sessions, n), HD_I64S(incarnations, n),
                       HD_I64(cx->now.wall_ms));
}

enum hd_status orc_pg_sessions_revive(ORC_CALL, const struct orc_life *lives, const int64_t *seen_ms, size_t n) {
    int64_t *incarnations;
    struct hd_uuid *sessions = sessions_of(cx, lives, n, &incarnations);
    (void)store;
    return ORC_RUN_SQL(cx, ORC_SQL_SESSIONS_REVIVE, NULL, HD_UUIDS(sessions, n), HD_I64S(incarnations, n),
                       HD_I64S(seen_ms, n));
}

enum hd_status orc_pg_sessions_lost(ORC_CALL, const struct hd_uuid *sessions, size_t n, struct orc_life **ret,
                                    size_t *ret_n) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_SESSIONS_LOST, &rows, HD_UUIDS(sessions, n)));
    *ret = HD_NEW_ARRAY(cx->arena, rows.n, struct orc_life);
    *ret_n = rows.n;
    for (size_t i = 0; i < rows.n; i++)
        (*ret)[i] = (struct orc_life){hd_row_uuid(&rows, i, 0), hd_row_int(&rows, i, 1)};
    return HD_OK;
}

enum hd_status orc_pg_sessions_prune(ORC_CALL, int64_t before_ms) {
    (void)store;
    return ORC_RUN_SQL(cx, ORC_SQL_SESSIONS_PRUNE, NULL, HD_I64(before_ms));
}
