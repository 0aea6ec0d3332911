// Runs that start when others end: who listens, and what is to be started.
#include "services/orchestrator/store_pg.h"

enum hd_status orc_pg_listeners_put(ORC_CALL, const struct orc_listener *listeners, size_t n,
                                    const struct orc_version *versions, size_t n_versions) {
    const char **tenants = HD_NEW_ARRAY(cx->arena, n_versions, const char *);
    const char **names = HD_NEW_ARRAY(cx->arena, n_versions, const char *);
    int32_t *numbers = HD_NEW_ARRAY(cx->arena, n_versions, int32_t);
    (void)store;
    for (size_t i = 0; i < n_versions; i++) {
        tenants[i] = versions[i].tenant;
        names[i] = versions[i].name;
        numbers[i] = (int32_t)versions[i].version;
    }
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_LISTENERS_PRUNE, NULL, HD_TEXTS(tenants, n_versions), HD_TEXTS(names, n_versions),
                       HD_I32S(numbers, n_versions)));
    if (n == 0)
        return HD_OK;
    tenants = HD_NEW_ARRAY(cx->arena, n, const char *);
    names = HD_NEW_ARRAY(cx->arena, n, const char *);
    numbers = HD_NEW_ARRAY(cx->arena, n, int32_t);
    const char **sources = HD_NEW_ARRAY(cx->arena, n, const char *);
    int32_t *accepts = HD_NEW_ARRAY(cx->arena, n, int32_t);
    for (size_t i = 0; i < n; i++) {
        tenants[i] = listeners[i].tenant;
        sources[i] = listeners[i].source;
        names[i] = listeners[i].name;
        numbers[i] = (int32_t)listeners[i].version;
        accepts[i] = (int32_t)listeners[i].accepts;
    }
    return ORC_RUN_SQL(cx, ORC_SQL_LISTENERS_PUT, NULL, HD_TEXTS(tenants, n), HD_TEXTS(sources, n), HD_TEXTS(names, n),
                       HD_I32S(numbers, n), HD_I32S(accepts, n));
}

enum hd_status orc_pg_follow_ups_add(ORC_CALL, const struct orc_ended *ended, size_t n, size_t *ret_added) {
    struct hd_uuid *ids = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    const char **tenants = HD_NEW_ARRAY(cx->arena, n, const char *), **names = HD_NEW_ARRAY(cx->arena, n, const char *);
    int32_t *masks = HD_NEW_ARRAY(cx->arena, n, int32_t);
    struct hd_rows rows;
    (void)store;
    for (size_t i = 0; i < n; i++) {
        ids[i] = ended[i].run;
        tenants[i] = ended[i].tenant;
        names[i] = ended[i].pipeline;
        masks[i] = (int32_t)ended[i].mask;
    }
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_FOLLOW_UPS_ADD, &rows, HD_UUIDS(ids, n), HD_TEXTS(tenants, n), HD_TEXTS(names, n),
                       HD_I32S(masks, n)));
    *ret_added = rows.n;
    return HD_OK;
}

enum hd_status orc_pg_follow_ups_take(ORC_CALL, unsigned limit, struct orc_follow_up **ret, size_t *ret_n) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_FOLLOW_UPS_TAKE, &rows, HD_I64(limit)));
    *ret = HD_NEW_ARRAY(cx->arena, rows.n, struct orc_follow_up);
    *ret_n = rows.n;
    for (size_t i = 0; i < rows.n; i++)
        (*ret)[i] = (struct orc_follow_up){hd_row_uuid(&rows, i, 0), hd_row_text(&rows, i, 1)};
    return HD_OK;
}

enum hd_status orc_pg_follow_ups_drop(ORC_CALL, const struct orc_follow_up *follow_ups, size_t n) {
    struct hd_uuid *ids = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    const char **names = HD_NEW_ARRAY(cx->arena, n, const char *);
    (void)store;
    for (size_t i = 0; i < n; i++) {
        ids[i] = follow_ups[i].run;
        names[i] = follow_ups[i].pipeline;
    }
    return ORC_RUN_SQL(cx, ORC_SQL_FOLLOW_UPS_DROP, NULL, HD_UUIDS(ids, n), HD_TEXTS(names, n));
}
