#include "services/pipelines/pipelines.h"

#define MADE_RECENTLY_MS 10000 // longer than any request waits

enum { GET, NEWEST, MADE, MAKE, LOCK, ADD, LIST, UNCONFIRMED, CONFIRM };

#define COLUMNS "v.name, v.version, v.jobs, v.digest, v.deleted, v.confirmed, p.created_at_ms, v.created_at_ms"
#define JOINED " FROM pipelines p JOIN versions v ON v.tenant = p.tenant AND v.name = p.name "

const struct hd_sql pip_sql[] = {
    [GET] = {"pip_get", "SELECT " COLUMNS ", v.source" JOINED "WHERE p.tenant = $1::text AND p.name = $2::text"
                        " AND v.version = COALESCE(NULLIF($3::int, 0), p.version)"},
    [NEWEST] = {"pip_newest", "SELECT " COLUMNS JOINED "WHERE p.tenant = $1::text AND p.name = $2::text"
                              " AND v.version = p.version"},
    [MADE] = {"pip_made", "SELECT " COLUMNS JOINED "WHERE p.tenant = $1::text AND p.name = $2::text"
                          " AND v.digest = $3::text AND v.trace = $4::text AND v.created_at_ms >= $5::bigint"
                          " ORDER BY v.version DESC LIMIT 1"},
    [MAKE] = {"pip_make", "INSERT INTO pipelines (tenant, name, version, deleted, created_at_ms)"
                          " VALUES ($1::text, $2::text, 0, true, $3::bigint) ON CONFLICT DO NOTHING"},
    [LOCK] = {"pip_lock", "SELECT 1 FROM pipelines WHERE tenant = $1::text AND name = $2::text FOR UPDATE"},
    [ADD] = {"pip_add",
             "WITH added AS (INSERT INTO versions (tenant, name, version, deleted, jobs, source, digest, compiled,"
             " confirmed, made_by, trace, created_at_ms) VALUES ($1::text, $2::text, $3::int, $4::bool, $5::int,"
             " $6::text, $7::text, $8::bytea, false, $9::text, $10::text, $11::bigint))"
             " UPDATE pipelines SET version = $3::int, deleted = $4::bool WHERE tenant = $1::text AND name = $2::text"},
    [LIST] = {"pip_list", "SELECT " COLUMNS JOINED "WHERE p.tenant = $1::text AND p.name > $2::text AND NOT p.deleted"
                          " AND v.version = p.version ORDER BY p.name LIMIT $3::int"},
    [UNCONFIRMED] = {"pip_unconfirmed",
                     "SELECT tenant, name, version, compiled FROM (SELECT *, row_number() OVER w AS place,"
                     " sum(octet_length(compiled)) OVER w AS bytes FROM (SELECT tenant, name, version, compiled"
                     " FROM versions WHERE NOT confirmed ORDER BY tenant, name, version LIMIT $1::int OFFSET $3::int) u"
                     " WINDOW w AS (ORDER BY tenant, name, version)) s"
                     " WHERE bytes <= $2::bigint OR place = 1 ORDER BY tenant, name, version"},
    [CONFIRM] = {"pip_confirm", "UPDATE versions SET confirmed = true WHERE (tenant, name, version) IN"
                                " (SELECT v.tenant, v.name, v.version FROM versions v"
                                " JOIN unnest($1::text[], $2::text[], $3::bigint[]) AS k (tenant, name, version)"
                                " ON v.tenant = k.tenant AND v.name = k.name AND v.version = k.version"
                                " WHERE NOT v.confirmed ORDER BY v.tenant, v.name, v.version FOR UPDATE OF v)"},
};
const size_t pip_sql_len = sizeof(pip_sql) / sizeof(pip_sql[0]);

static struct pip_version row_version(const struct hd_rows *rows, size_t i) {
    return (struct pip_version){.found = true,
                                .name = hd_row_text(rows, i, 0),
                                .version = (uint32_t)hd_row_int(rows, i, 1),
                                .jobs = (uint32_t)hd_row_int(rows, i, 2),
                                .digest = hd_row_text(rows, i, 3),
                                .deleted = hd_row_bool(rows, i, 4),
                                .confirmed = hd_row_bool(rows, i, 5),
                                .created_at_ms = hd_row_int(rows, i, 6),
                                .updated_at_ms = hd_row_int(rows, i, 7)};
}

enum hd_status pip_store_get(struct hd_ctx *cx, const char *tenant, const char *name, uint32_t version,
                             struct pip_version *ret) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &pip_sql[GET], &rows, HD_TEXT(tenant), HD_TEXT(name), HD_I32((int32_t)version)));
    *ret = rows.n ? row_version(&rows, 0) : (struct pip_version){0};
    if (rows.n)
        ret->source = hd_row_text(&rows, 0, 8);
    return HD_OK;
}

enum hd_status pip_store_newest(struct hd_ctx *cx, const char *tenant, const char *name, struct pip_version *ret) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &pip_sql[NEWEST], &rows, HD_TEXT(tenant), HD_TEXT(name)));
    *ret = rows.n ? row_version(&rows, 0) : (struct pip_version){0};
    return HD_OK;
}

enum hd_status pip_store_made(struct hd_ctx *cx, const char *tenant, const char *name, const char *digest,
                              const char *trace, struct pip_version *ret) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &pip_sql[MADE], &rows, HD_TEXT(tenant), HD_TEXT(name), HD_TEXT(digest), HD_TEXT(trace),
                  HD_I64(cx->now.wall_ms - MADE_RECENTLY_MS)));
    *ret = rows.n ? row_version(&rows, 0) : (struct pip_version){0};
    return HD_OK;
}

enum hd_status pip_store_lock(struct hd_ctx *cx, const char *tenant, const char *name) {
    HD_TRY(HD_RUN(cx, &pip_sql[MAKE], NULL, HD_TEXT(tenant), HD_TEXT(name), HD_I64(cx->now.wall_ms)));
    return HD_RUN(cx, &pip_sql[LOCK], NULL, HD_TEXT(tenant), HD_TEXT(name));
}

enum hd_status pip_store_add(struct hd_ctx *cx, const struct pip_change *change) {
    return HD_RUN(cx, &pip_sql[ADD], NULL, HD_TEXT(change->tenant), HD_TEXT(change->name),
                  HD_I32((int32_t)change->version), HD_BOOL(change->deleted), HD_I32((int32_t)change->jobs),
                  HD_TEXT(change->source), HD_TEXT(change->digest),
                  HD_BYTES(change->compiled.data, change->compiled.len), HD_TEXT(change->made_by),
                  HD_TEXT(change->trace), HD_I64(cx->now.wall_ms));
}

enum hd_status pip_store_list(struct hd_ctx *cx, const char *tenant, const char *after, uint32_t limit,
                              struct pip_version **ret, size_t *ret_n) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &pip_sql[LIST], &rows, HD_TEXT(tenant), HD_TEXT(after), HD_I32((int32_t)limit)));
    struct pip_version *list = HD_NEW_ARRAY(cx->arena, rows.n, struct pip_version);
    for (size_t i = 0; i < rows.n; i++)
        list[i] = row_version(&rows, i);
    *ret = list;
    *ret_n = rows.n;
    return HD_OK;
}

enum hd_status pip_store_unconfirmed(struct hd_ctx *cx, unsigned skip, unsigned limit, int64_t max_bytes,
                                     struct hd_push_keys *ret_keys, struct hd_bytes **ret_compiled) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &pip_sql[UNCONFIRMED], &rows, HD_I32((int32_t)limit), HD_I64(max_bytes), HD_I32((int32_t)skip)));
    struct hd_push_keys keys = {.n = rows.n,
                                .tenants = HD_NEW_ARRAY(cx->arena, rows.n, const char *),
                                .names = HD_NEW_ARRAY(cx->arena, rows.n, const char *),
                                .versions = HD_NEW_ARRAY(cx->arena, rows.n, int64_t)};
    struct hd_bytes *compiled = HD_NEW_ARRAY(cx->arena, rows.n, struct hd_bytes);
    for (size_t i = 0; i < rows.n; i++) {
        keys.tenants[i] = hd_row_text(&rows, i, 0);
        keys.names[i] = hd_row_text(&rows, i, 1);
        keys.versions[i] = hd_row_int(&rows, i, 2);
        compiled[i] = hd_row_bytes(&rows, i, 3);
    }
    *ret_keys = keys;
    *ret_compiled = compiled;
    return HD_OK;
}

enum hd_status pip_store_confirm(struct hd_ctx *cx, const struct hd_push_keys *keys) {
    return HD_RUN(cx, &pip_sql[CONFIRM], NULL, HD_TEXTS(keys->tenants, keys->n), HD_TEXTS(keys->names, keys->n),
                  HD_I64S(keys->versions, keys->n));
}
