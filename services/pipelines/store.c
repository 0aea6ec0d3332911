#include "services/pipelines/schedules.h"

#define MADE_RECENTLY_MS 10000 // longer than any request waits

enum {
    GET,
    NEWEST,
    MADE,
    MAKE,
    LOCK,
    ADD,
    LIST,
    UNCONFIRMED,
    CONFIRM,
    DUE,
    ASKED,
    OF_PIPELINE,
    ONE,
    PAGE,
    PUT,
    DROP,
    COUNT
};
_Static_assert(COUNT == PIP_SQL_COUNT, "each statement has its row");

#define COLUMNS "v.name, v.version, v.jobs, v.digest, v.deleted, v.confirmed, p.created_at_ms, v.created_at_ms"
#define SCHEDULE_COLUMNS                                                                                               \
    "s.id, s.tenant, s.pipeline, s.expr, s.timezone, s.overlap, s.catch_up, s.tick_ms, s.again_ms, s.step, s.tag,"     \
    " s.tries, s.refusals, s.paused, s.paused_reason, s.last_tick_ms, s.last_outcome, s.last_error, s.last_run"
#define SCHEDULES "SELECT " SCHEDULE_COLUMNS " FROM schedules s "
#define JOINED " FROM pipelines p JOIN versions v ON v.tenant = p.tenant AND v.name = p.name "

const struct hd_sql pip_sql[PIP_SQL_COUNT] = {
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
    // A run started before the orchestrator has the newest version would be one of the version before, or refused.
    [DUE] = {"pip_schedules_due",
             SCHEDULES "WHERE s.again_ms BETWEEN 0 AND $1::bigint AND EXISTS (SELECT 1 FROM pipelines p JOIN versions v"
                       " ON v.tenant = p.tenant AND v.name = p.name AND v.version = p.version"
                       " WHERE p.tenant = s.tenant AND p.name = s.pipeline AND v.confirmed)"
                       " ORDER BY s.again_ms LIMIT $2::int FOR UPDATE OF s SKIP LOCKED"},
    [ASKED] = {"pip_schedules_asked",
               SCHEDULES "WHERE s.tag = ANY($1::bigint[]) AND s.tag <> 0 ORDER BY s.id FOR UPDATE"},
    [OF_PIPELINE] = {"pip_schedules_of_pipeline",
                     SCHEDULES "WHERE s.tenant = $1::text AND s.pipeline = $2::text ORDER BY s.id FOR UPDATE"},
    [ONE] = {"pip_schedule", SCHEDULES "WHERE s.tenant = $1::text AND s.id = $2::uuid FOR UPDATE"},
    [PAGE] = {"pip_schedules_page", SCHEDULES "WHERE s.tenant = $1::text AND ($2::text = '' OR s.pipeline = $2::text)"
                                              " AND (s.pipeline, s.id) > ($3::text COLLATE \"C\", $4::uuid)"
                                              " ORDER BY s.pipeline, s.id LIMIT $5::int"},
    [PUT] =
        {"pip_schedules_put",
         "INSERT INTO schedules (id, tenant, pipeline, expr, timezone, overlap, catch_up, tick_ms, again_ms, step,"
         " tag, tries, refusals, paused, paused_reason, last_tick_ms, last_outcome, last_error, last_run)"
         " SELECT id, tenant, pipeline, expr, timezone, overlap, catch_up <> 0, tick_ms, again_ms, step, tag, tries,"
         " refusals, paused, paused_reason, last_tick_ms, last_outcome, last_error, last_run FROM unnest($1::uuid[],"
         " $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $7::int[], $8::bigint[], $9::bigint[],"
         " $10::int[], $11::bigint[], $12::int[], $13::int[], $14::int[], $15::text[], $16::bigint[], $17::int[],"
         " $18::text[], $19::text[]) AS u (id, tenant, pipeline, expr, timezone, overlap, catch_up, tick_ms,"
         " again_ms, step, tag, tries, refusals, paused, paused_reason, last_tick_ms, last_outcome, last_error,"
         " last_run) ON CONFLICT (id) DO UPDATE SET overlap = excluded.overlap, catch_up = excluded.catch_up,"
         " tick_ms = excluded.tick_ms, again_ms = excluded.again_ms, step = excluded.step, tag = excluded.tag,"
         " tries = excluded.tries, refusals = excluded.refusals, paused = excluded.paused,"
         " paused_reason = excluded.paused_reason, last_tick_ms = excluded.last_tick_ms,"
         " last_outcome = excluded.last_outcome, last_error = excluded.last_error, last_run = excluded.last_run"},
    [DROP] = {"pip_schedules_drop", "DELETE FROM schedules WHERE id = ANY($1::uuid[])"},
};

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

// --- schedules --------------------------------------------------------------------------------------------------------

static void row_schedules(struct hd_ctx *cx, const struct hd_rows *rows, struct pip_schedule **ret, size_t *ret_n) {
    struct pip_schedule *list = HD_NEW_ARRAY(cx->arena, rows->n, struct pip_schedule);

    for (size_t i = 0; i < rows->n; i++)
        list[i] = (struct pip_schedule){.id = hd_row_uuid(rows, i, 0),
                                        .tenant = hd_row_text(rows, i, 1),
                                        .pipeline = hd_row_text(rows, i, 2),
                                        .expr = hd_row_text(rows, i, 3),
                                        .timezone = hd_row_text(rows, i, 4),
                                        .overlap = (Hodei__V1__Overlap)hd_row_int(rows, i, 5),
                                        .catch_up = hd_row_bool(rows, i, 6),
                                        .tick_ms = hd_row_int(rows, i, 7),
                                        .again_ms = hd_row_int(rows, i, 8),
                                        .step = (enum pip_step)hd_row_int(rows, i, 9),
                                        .tag = hd_row_int(rows, i, 10),
                                        .tries = (int32_t)hd_row_int(rows, i, 11),
                                        .refusals = (int32_t)hd_row_int(rows, i, 12),
                                        .paused = (enum pip_paused)hd_row_int(rows, i, 13),
                                        .paused_reason = hd_row_text(rows, i, 14),
                                        .last_tick_ms = hd_row_int(rows, i, 15),
                                        .last_outcome = (Hodei__V1__TickOutcome)hd_row_int(rows, i, 16),
                                        .last_error = hd_row_text(rows, i, 17),
                                        .last_run = hd_row_text(rows, i, 18)};
    *ret = list;
    *ret_n = rows->n;
}

enum hd_status pip_store_due(struct hd_ctx *cx, unsigned limit, struct pip_schedule **ret, size_t *ret_n) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &pip_sql[DUE], &rows, HD_I64(cx->now.wall_ms), HD_I32((int32_t)limit)));
    row_schedules(cx, &rows, ret, ret_n);
    return HD_OK;
}

enum hd_status pip_store_asked(struct hd_ctx *cx, const int64_t *tags, size_t n, struct pip_schedule **ret,
                               size_t *ret_n) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &pip_sql[ASKED], &rows, HD_I64S(tags, n)));
    row_schedules(cx, &rows, ret, ret_n);
    return HD_OK;
}

enum hd_status pip_store_schedules(struct hd_ctx *cx, const char *tenant, const char *pipeline,
                                   struct pip_schedule **ret, size_t *ret_n) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &pip_sql[OF_PIPELINE], &rows, HD_TEXT(tenant), HD_TEXT(pipeline)));
    row_schedules(cx, &rows, ret, ret_n);
    return HD_OK;
}

enum hd_status pip_store_schedule(struct hd_ctx *cx, const char *tenant, struct hd_uuid id, struct pip_schedule **ret,
                                  size_t *ret_n) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &pip_sql[ONE], &rows, HD_TEXT(tenant), HD_UUID(id)));
    row_schedules(cx, &rows, ret, ret_n);
    return HD_OK;
}

enum hd_status pip_store_schedules_page(struct hd_ctx *cx, const char *tenant, const char *pipeline, const char *after,
                                        struct hd_uuid after_id, uint32_t limit, struct pip_schedule **ret,
                                        size_t *ret_n) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &pip_sql[PAGE], &rows, HD_TEXT(tenant), HD_TEXT(pipeline), HD_TEXT(after), HD_UUID(after_id),
                  HD_I32((int32_t)limit)));
    row_schedules(cx, &rows, ret, ret_n);
    return HD_OK;
}

// The columns of rows to be written, as arrays.
struct columns {
    struct hd_uuid *id;
    const char **tenant, **pipeline, **expr, **timezone, **paused_reason, **last_error, **last_run;
    int32_t *overlap, *catch_up, *step, *tries, *refusals, *paused, *last_outcome;
    int64_t *tick_ms, *again_ms, *tag, *last_tick_ms;
};

static struct columns columns_new(struct hd_arena *arena, size_t n) {
    struct columns c = {.id = HD_NEW_ARRAY(arena, n, struct hd_uuid)};
    const char ***texts[] = {&c.tenant,        &c.pipeline,   &c.expr,    &c.timezone,
                             &c.paused_reason, &c.last_error, &c.last_run};
    int32_t **i32s[] = {&c.overlap, &c.catch_up, &c.step, &c.tries, &c.refusals, &c.paused, &c.last_outcome};
    int64_t **i64s[] = {&c.tick_ms, &c.again_ms, &c.tag, &c.last_tick_ms};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        *texts[i] = HD_NEW_ARRAY(arena, n, const char *);
    for (size_t i = 0; i < sizeof(i32s) / sizeof(i32s[0]); i++)
        *i32s[i] = HD_NEW_ARRAY(arena, n, int32_t);
    for (size_t i = 0; i < sizeof(i64s) / sizeof(i64s[0]); i++)
        *i64s[i] = HD_NEW_ARRAY(arena, n, int64_t);
    return c;
}

static void columns_set(struct columns *c, size_t i, const struct pip_schedule *schedule) {
    c->id[i] = schedule->id;
    c->tenant[i] = schedule->tenant;
    c->pipeline[i] = schedule->pipeline;
    c->expr[i] = schedule->expr;
    c->timezone[i] = schedule->timezone;
    c->overlap[i] = (int32_t)schedule->overlap;
    c->catch_up[i] = schedule->catch_up;
    c->tick_ms[i] = schedule->tick_ms;
    c->again_ms[i] = schedule->again_ms;
    c->step[i] = (int32_t)schedule->step;
    c->tag[i] = schedule->tag;
    c->tries[i] = schedule->tries;
    c->refusals[i] = schedule->refusals;
    c->paused[i] = (int32_t)schedule->paused;
    c->paused_reason[i] = schedule->paused_reason;
    c->last_tick_ms[i] = schedule->last_tick_ms;
    c->last_outcome[i] = (int32_t)schedule->last_outcome;
    c->last_error[i] = schedule->last_error;
    c->last_run[i] = schedule->last_run;
}

enum hd_status pip_store_put_schedules(struct hd_ctx *cx, const struct pip_schedule *schedules, size_t n) {
    if (n == 0)
        return HD_OK;
    struct columns c = columns_new(cx->arena, n);
    for (size_t i = 0; i < n; i++)
        columns_set(&c, i, &schedules[i]);
    return HD_RUN(cx, &pip_sql[PUT], NULL, HD_UUIDS(c.id, n), HD_TEXTS(c.tenant, n), HD_TEXTS(c.pipeline, n),
                  HD_TEXTS(c.expr, n), HD_TEXTS(c.timezone, n), HD_I32S(c.overlap, n), HD_I32S(c.catch_up, n),
                  HD_I64S(c.tick_ms, n), HD_I64S(c.again_ms, n), HD_I32S(c.step, n), HD_I64S(c.tag, n),
                  HD_I32S(c.tries, n), HD_I32S(c.refusals, n), HD_I32S(c.paused, n), HD_TEXTS(c.paused_reason, n),
                  HD_I64S(c.last_tick_ms, n), HD_I32S(c.last_outcome, n), HD_TEXTS(c.last_error, n),
                  HD_TEXTS(c.last_run, n));
}

enum hd_status pip_store_drop_schedules(struct hd_ctx *cx, const struct hd_uuid *ids, size_t n) {
    return n ? HD_RUN(cx, &pip_sql[DROP], NULL, HD_UUIDS(ids, n)) : HD_OK;
}
