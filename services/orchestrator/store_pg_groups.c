// Concurrency groups.
#include "services/orchestrator/store_pg.h"

static int by_group(const void *a, const void *b) {
    const struct orc_group_entry *x = a, *y = b;
    int order = strcmp(x->group.tenant, y->group.tenant);
    return order ? order : strcmp(x->group.name, y->group.name);
}

enum hd_status orc_pg_groups_enter(ORC_CALL, struct orc_group_entry *entries, size_t n) {
    const char **tenants = HD_NEW_ARRAY(cx->arena, n, const char *), **names = HD_NEW_ARRAY(cx->arena, n, const char *);
    int32_t *capacities = HD_NEW_ARRAY(cx->arena, n, int32_t), *ready = HD_NEW_ARRAY(cx->arena, n, int32_t),
            *idxs = HD_NEW_ARRAY(cx->arena, n, int32_t), *states = HD_NEW_ARRAY(cx->arena, n, int32_t);
    struct hd_uuid *runs = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    (void)store;
    qsort(entries, n, sizeof(*entries), by_group);
    for (size_t i = 0; i < n; i++) {
        tenants[i] = entries[i].group.tenant;
        names[i] = entries[i].group.name;
        capacities[i] = (int32_t)entries[i].group.capacity;
        ready[i] = entries[i].group.by_ready;
        idxs[i] = (int32_t)entries[i].idx;
        states[i] = entries[i].state;
        runs[i] = entries[i].run;
    }
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_GROUPS_MAKE, NULL, HD_TEXTS(tenants, n), HD_TEXTS(names, n), HD_I32S(capacities, n),
                       HD_I32S(ready, n)));
    return ORC_RUN_SQL(cx, ORC_SQL_GROUPS_ENTER, NULL, HD_TEXTS(tenants, n), HD_TEXTS(names, n), HD_UUIDS(runs, n),
                       HD_I32S(idxs, n), HD_I32S(states, n));
}

static void split(struct hd_ctx *cx, const struct orc_job_ref *refs, size_t n, struct hd_uuid **ret_runs,
                  int32_t **ret_idxs) {
    *ret_runs = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    *ret_idxs = HD_NEW_ARRAY(cx->arena, n, int32_t);
    for (size_t i = 0; i < n; i++) {
        (*ret_runs)[i] = refs[i].run;
        (*ret_idxs)[i] = (int32_t)refs[i].idx;
    }
}

enum hd_status orc_pg_groups_leave(ORC_CALL, const struct orc_job_ref *refs, size_t n, size_t *ret_left) {
    struct hd_rows rows;
    struct hd_uuid *runs;
    int32_t *idxs;
    (void)store;
    split(cx, refs, n, &runs, &idxs);
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_GROUPS_LEAVE, &rows, HD_UUIDS(runs, n), HD_I32S(idxs, n)));
    *ret_left = rows.n;
    return HD_OK;
}

enum hd_status orc_pg_group_members(ORC_CALL, struct orc_group *inout, bool lock, struct orc_member **ret,
                                    size_t *ret_n) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, lock ? ORC_SQL_GROUPS_LOCK : ORC_SQL_GROUPS_READ, &rows, HD_TEXT(inout->tenant),
                       HD_TEXT(inout->name)));
    inout->capacity = rows.n ? hd_row_int(&rows, 0, 0) : 0;
    inout->by_ready = rows.n && hd_row_bool(&rows, 0, 1);
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_GROUP_MEMBERS, &rows, HD_TEXT(inout->tenant), HD_TEXT(inout->name)));
    struct orc_member *list = HD_NEW_ARRAY(cx->arena, rows.n, struct orc_member);
    for (size_t i = 0; i < rows.n; i++)
        list[i] = (struct orc_member){.run = hd_row_uuid(&rows, i, 0),
                                      .idx = (uint32_t)hd_row_int(&rows, i, 1),
                                      .state = (int)hd_row_int(&rows, i, 2),
                                      .seq = hd_row_int(&rows, i, 3),
                                      .doomed = hd_row_bool(&rows, i, 4)};
    *ret = list;
    *ret_n = rows.n;
    return HD_OK;
}

enum hd_status orc_pg_group_hold(ORC_CALL, const struct orc_group *group, const struct orc_member *member) {
    (void)store;
    return ORC_RUN_SQL(cx, ORC_SQL_GROUP_HOLD, NULL, HD_TEXT(group->tenant), HD_TEXT(group->name), HD_UUID(member->run),
                       HD_I32((int32_t)member->idx));
}

enum hd_status orc_pg_group_doom(ORC_CALL, const struct orc_group *group, const struct orc_member *member) {
    (void)store;
    return ORC_RUN_SQL(cx, ORC_SQL_GROUP_DOOM, NULL, HD_TEXT(group->tenant), HD_TEXT(group->name), HD_UUID(member->run),
                       HD_I32((int32_t)member->idx));
}

enum hd_status orc_pg_groups_of(ORC_CALL, const struct orc_job_ref *refs, size_t n, struct orc_group *ret) {
    struct hd_rows rows;
    struct hd_uuid *runs;
    int32_t *idxs;
    (void)store;
    split(cx, refs, n, &runs, &idxs);
    for (size_t i = 0; i < n; i++)
        ret[i] = (struct orc_group){.tenant = "", .name = ""};
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_GROUPS_OF, &rows, HD_UUIDS(runs, n), HD_I32S(idxs, n)));
    for (size_t i = 0; i < rows.n; i++)
        ret[hd_row_int(&rows, i, 0) - 1] =
            (struct orc_group){.tenant = hd_row_text(&rows, i, 1), .name = hd_row_text(&rows, i, 2)};
    return HD_OK;
}

enum hd_status orc_pg_groups_waiting(ORC_CALL, unsigned limit, struct orc_group **ret, size_t *ret_n) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_GROUPS_WAITING, &rows, HD_I64(limit)));
    struct orc_group *list = HD_NEW_ARRAY(cx->arena, rows.n, struct orc_group);
    for (size_t i = 0; i < rows.n; i++)
        list[i] = (struct orc_group){.tenant = hd_row_text(&rows, i, 0), .name = hd_row_text(&rows, i, 1)};
    *ret = list;
    *ret_n = rows.n;
    return HD_OK;
}
