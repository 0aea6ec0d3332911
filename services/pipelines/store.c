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
    VERSIONS,
    BEFORE,
    UNCONFIRMED,
    CONFIRM,
    DUE,
    ASKED,
    OF_PIPELINE,
    ONE,
    PAGE,
    PUT,
    DROP,
    LOCK_COMMAND,
    COMMAND,
    KEEP_COMMAND,
    PRUNE_COMMANDS,
    PUT_GRANTS,
    LOCK_GRANTS,
    USED,
    PUT_MARKS,
    COUNT
};
_Static_assert(COUNT == PIP_SQL_COUNT, "each statement has its row");

#define COLUMNS                                                                                                        \
    "v.name, v.version, v.jobs, v.digest, v.deleted, v.confirmed, p.created_at_ms, v.created_at_ms, p.project"
#define SCHEDULE_COLUMNS                                                                                               \
    "s.id, s.tenant, s.pipeline, s.expr, s.timezone, s.overlap, s.catch_up, s.tick_ms, s.again_ms, s.step, s.tag,"     \
    " s.tries, s.refusals, s.paused, s.paused_reason, s.last_tick_ms, s.last_outcome, s.last_error, s.last_run"
#define SCHEDULES "SELECT " SCHEDULE_COLUMNS " FROM schedules s "
#define JOINED " FROM pipelines p JOIN versions v ON v.tenant = p.tenant AND v.name = p.name "

const struct hd_sql pip_sql[PIP_SQL_COUNT] = {
    [LOCK_COMMAND] = {"pip_lock_command",
                      "SELECT pg_advisory_xact_lock(hashtextextended($1::text || ' ' || $2::text, 1)) IS NULL"},
    [COMMAND] = {"pip_command",
                 "SELECT fingerprint, reply FROM commands WHERE tenant = $1::text AND idem_key = $2::text"},
    [KEEP_COMMAND] = {"pip_keep_command", "INSERT INTO commands (tenant, idem_key, fingerprint, reply, at_ms)"
                                          " VALUES ($1::text, $2::text, $3::bigint, $4::bytea, $5::bigint)"},
    [PRUNE_COMMANDS] = {"pip_prune_commands", "DELETE FROM commands WHERE at_ms < $1::bigint"},
    [PUT_GRANTS] = {"pip_put_grants",
                    "INSERT INTO grants AS g (tenant, version, pipelines)"
                    " SELECT DISTINCT ON (t) t, v, p FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS u (t, v, p)"
                    " ORDER BY t, v DESC ON CONFLICT (tenant) DO UPDATE SET version = excluded.version,"
                    " pipelines = excluded.pipelines WHERE g.version < excluded.version"},
    [LOCK_GRANTS] = {"pip_lock_grants", "SELECT tenant FROM grants WHERE tenant = ANY ($1::text[]) AND pipelines >= 0"
                                        " ORDER BY tenant FOR UPDATE"},
    [USED] = {"pip_used",
              "SELECT (SELECT count(*) FROM pipelines WHERE tenant = split_part($1::text, '/', 1)"
              " AND (position('/' in $1::text) = 0 OR project = split_part($1::text, '/', 2)) AND NOT deleted),"
              " COALESCE((SELECT pipelines FROM grants WHERE tenant = $1::text), -1),"
              " COALESCE((SELECT marks FROM grants WHERE tenant = $1::text), 0)"},
    [PUT_MARKS] = {"pip_put_marks", "UPDATE grants SET marks = $2::int WHERE tenant = $1::text"},
    [GET] = {"pip_get", "SELECT " COLUMNS ", v.source" JOINED "WHERE p.tenant = $1::text AND p.name = $2::text"
                        " AND v.version = COALESCE(NULLIF($3::int, 0), p.version)"},
    [NEWEST] = {"pip_newest", "SELECT " COLUMNS JOINED "WHERE p.tenant = $1::text AND p.name = $2::text"
                              " AND v.version = p.version"},
    [MADE] = {"pip_made", "SELECT " COLUMNS JOINED "WHERE p.tenant = $1::text AND p.name = $2::text"
                          " AND v.digest = $3::text AND v.trace = $4::text AND v.created_at_ms >= $5::bigint"
                          " ORDER BY v.version DESC LIMIT 1"},
    [MAKE] = {"pip_make", "INSERT INTO pipelines (tenant, name, version, deleted, created_at_ms, project)"
                          " VALUES ($1::text, $2::text, 0, true, $3::bigint, $4::text) ON CONFLICT DO NOTHING"},
    [LOCK] = {"pip_lock", "SELECT 1 FROM pipelines WHERE tenant = $1::text AND name = $2::text FOR UPDATE"},
    [ADD] = {"pip_add",
             "WITH added AS (INSERT INTO versions (tenant, name, version, deleted, jobs, source, digest, compiled,"
             " confirmed, made_by, trace, created_at_ms) VALUES ($1::text, $2::text, $3::int, $4::bool, $5::int,"
             " $6::text, $7::text, $8::bytea, false, $9::text, $10::text, $11::bigint))"
             " UPDATE pipelines SET version = $3::int, deleted = $4::bool, project = $12::text"
             " WHERE tenant = $1::text AND name = $2::text"},
    [LIST] = {"pip_list",
              "SELECT " COLUMNS JOINED "WHERE p.tenant = $1::text AND p.name > $2::text AND NOT p.deleted"
              " AND v.version = p.version AND ($4::bool OR p.name = ANY ($5::text[]) OR p.project = ANY ($6::text[]))"
              " AND ($7::text = '' OR p.project = $7::text) ORDER BY p.name LIMIT $3::int"},
    [VERSIONS] = {"pip_versions", "SELECT " COLUMNS ", v.made_by" JOINED
                                  "WHERE p.tenant = $1::text AND p.name = $2::text AND v.version < $3::int"
                                  " ORDER BY v.version DESC LIMIT $4::int"},
    [BEFORE] = {"pip_before", "SELECT COALESCE(max(version), 0) FROM versions WHERE tenant = $1::text"
                              " AND name = $2::text AND version < $3::int AND NOT deleted"},
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
                                              " AND ($6::bool OR s.pipeline = ANY ($7::text[]) OR EXISTS (SELECT"
                                              " FROM pipelines p WHERE p.tenant = s.tenant AND p.name = s.pipeline"
                                              " AND p.project = ANY ($8::text[])))"
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
                                .updated_at_ms = hd_row_int(rows, i, 7),
                                .project = hd_row_text(rows, i, 8)};
}

// What is out of somebody's part of the tenant is not there for him.
static struct pip_version first_seen(const struct hd_rows *rows, const Hodei__V1__Principal *who) {
    struct pip_version version = rows->n ? row_version(rows, 0) : (struct pip_version){0};
    return version.found && hd_within(who, version.project, version.name) ? version : (struct pip_version){0};
}

enum hd_status pip_store_get(struct hd_ctx *cx, const Hodei__V1__Principal *who, const char *name, uint32_t version,
                             struct pip_version *ret) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &pip_sql[GET], &rows, HD_TEXT(who->tenant), HD_TEXT(name), HD_I32((int32_t)version)));
    *ret = first_seen(&rows, who);
    if (ret->found)
        ret->source = hd_row_text(&rows, 0, 9);
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

enum hd_status pip_store_lock(struct hd_ctx *cx, const char *tenant, const char *name, const char *project) {
    HD_TRY(HD_RUN(cx, &pip_sql[MAKE], NULL, HD_TEXT(tenant), HD_TEXT(name), HD_I64(cx->now.wall_ms), HD_TEXT(project)));
    return HD_RUN(cx, &pip_sql[LOCK], NULL, HD_TEXT(tenant), HD_TEXT(name));
}

enum hd_status pip_store_add(struct hd_ctx *cx, const struct pip_change *change) {
    return HD_RUN(cx, &pip_sql[ADD], NULL, HD_TEXT(change->tenant), HD_TEXT(change->name),
                  HD_I32((int32_t)change->version), HD_BOOL(change->deleted), HD_I32((int32_t)change->jobs),
                  HD_TEXT(change->source), HD_TEXT(change->digest),
                  HD_BYTES(change->compiled.data, change->compiled.len), HD_TEXT(change->made_by),
                  HD_TEXT(change->trace), HD_I64(cx->now.wall_ms), HD_TEXT(change->project));
}

enum hd_status pip_store_list(struct hd_ctx *cx, const Hodei__V1__Principal *who,
                              const Hodei__V1__ListPipelinesRequest *page, uint32_t limit, struct pip_version **ret,
                              size_t *ret_n) {
    struct hd_parts parts = hd_parts_of(cx->arena, who);
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &pip_sql[LIST], &rows, HD_TEXT(who->tenant), HD_TEXT(page->page_token), HD_I32((int32_t)limit),
                  HD_BOOL(parts.all), HD_TEXTS(parts.pipelines, parts.n_pipelines),
                  HD_TEXTS(parts.projects, parts.n_projects), HD_TEXT(page->project)));
    struct pip_version *list = HD_NEW_ARRAY(cx->arena, rows.n, struct pip_version);
    for (size_t i = 0; i < rows.n; i++)
        list[i] = row_version(&rows, i);
    *ret = list;
    *ret_n = rows.n;
    return HD_OK;
}

enum hd_status pip_store_versions(struct hd_ctx *cx, const Hodei__V1__Principal *who, const char *name, uint32_t before,
                                  uint32_t limit, struct pip_version **ret, size_t *ret_n) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &pip_sql[VERSIONS], &rows, HD_TEXT(who->tenant), HD_TEXT(name), HD_I32((int32_t)before),
                  HD_I32((int32_t)limit)));
    if (!first_seen(&rows, who).found)
        rows.n = 0;
    struct pip_version *list = HD_NEW_ARRAY(cx->arena, rows.n, struct pip_version);
    for (size_t i = 0; i < rows.n; i++) {
        list[i] = row_version(&rows, i);
        list[i].made_by = hd_row_text(&rows, i, 9);
    }
    *ret = list;
    *ret_n = rows.n;
    return HD_OK;
}

enum hd_status pip_store_before(struct hd_ctx *cx, const char *tenant, const char *name, uint32_t version,
                                uint32_t *ret) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &pip_sql[BEFORE], &rows, HD_TEXT(tenant), HD_TEXT(name), HD_I32((int32_t)version)));
    *ret = rows.n ? (uint32_t)hd_row_int(&rows, 0, 0) : 0;
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

enum hd_status pip_store_schedules_page(struct hd_ctx *cx, const Hodei__V1__Principal *who, const char *pipeline,
                                        const char *after, struct hd_uuid after_id, uint32_t limit,
                                        struct pip_schedule **ret, size_t *ret_n) {
    struct hd_parts parts = hd_parts_of(cx->arena, who);
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &pip_sql[PAGE], &rows, HD_TEXT(who->tenant), HD_TEXT(pipeline), HD_TEXT(after), HD_UUID(after_id),
                  HD_I32((int32_t)limit), HD_BOOL(parts.all), HD_TEXTS(parts.pipelines, parts.n_pipelines),
                  HD_TEXTS(parts.projects, parts.n_projects)));
    row_schedules(cx, &rows, ret, ret_n);
    return HD_OK;
}

// An array of one column: `expr` of `row`, which goes over all schedules.
#define COLUMN(type, name, expr)                                                                                       \
    type *name = HD_NEW_ARRAY(cx->arena, n, type);                                                                     \
    for (size_t i_ = 0; i_ < n; i_++) {                                                                                \
        const struct pip_schedule *row = &schedules[i_];                                                               \
        name[i_] = (expr);                                                                                             \
    }

enum hd_status pip_store_put_schedules(struct hd_ctx *cx, const struct pip_schedule *schedules, size_t n) {
    if (n == 0)
        return HD_OK;
    COLUMN(struct hd_uuid, ids, row->id)
    COLUMN(const char *, tenants, row->tenant)
    COLUMN(const char *, pipelines, row->pipeline)
    COLUMN(const char *, exprs, row->expr)
    COLUMN(const char *, zones, row->timezone)
    COLUMN(int32_t, overlaps, (int32_t)row->overlap)
    COLUMN(int32_t, catch_ups, row->catch_up)
    COLUMN(int64_t, ticks, row->tick_ms)
    COLUMN(int64_t, agains, row->again_ms)
    COLUMN(int32_t, steps, (int32_t)row->step)
    COLUMN(int64_t, tags, row->tag)
    COLUMN(int32_t, tries, row->tries)
    COLUMN(int32_t, refusals, row->refusals)
    COLUMN(int32_t, paused, (int32_t)row->paused)
    COLUMN(const char *, reasons, row->paused_reason)
    COLUMN(int64_t, last_ticks, row->last_tick_ms)
    COLUMN(int32_t, outcomes, (int32_t)row->last_outcome)
    COLUMN(const char *, errors, row->last_error)
    COLUMN(const char *, runs, row->last_run)
    return HD_RUN(cx, &pip_sql[PUT], NULL, HD_UUIDS(ids, n), HD_TEXTS(tenants, n), HD_TEXTS(pipelines, n),
                  HD_TEXTS(exprs, n), HD_TEXTS(zones, n), HD_I32S(overlaps, n), HD_I32S(catch_ups, n),
                  HD_I64S(ticks, n), HD_I64S(agains, n), HD_I32S(steps, n), HD_I64S(tags, n), HD_I32S(tries, n),
                  HD_I32S(refusals, n), HD_I32S(paused, n), HD_TEXTS(reasons, n), HD_I64S(last_ticks, n),
                  HD_I32S(outcomes, n), HD_TEXTS(errors, n), HD_TEXTS(runs, n));
}

enum hd_status pip_store_drop_schedules(struct hd_ctx *cx, const struct hd_uuid *ids, size_t n) {
    return n ? HD_RUN(cx, &pip_sql[DROP], NULL, HD_UUIDS(ids, n)) : HD_OK;
}

// --- commands -----------------------------------------------------------------------------------------------------------

enum hd_status pip_store_command(struct hd_ctx *cx, struct pip_command *inout) {
    struct hd_rows rows;

    HD_TRY(HD_RUN(cx, &pip_sql[LOCK_COMMAND], &rows, HD_TEXT(inout->tenant), HD_TEXT(inout->key)));
    HD_TRY(HD_RUN(cx, &pip_sql[COMMAND], &rows, HD_TEXT(inout->tenant), HD_TEXT(inout->key)));
    inout->found = rows.n > 0;
    if (inout->found) {
        inout->fingerprint = (uint64_t)hd_row_int(&rows, 0, 0);
        inout->reply = hd_row_bytes(&rows, 0, 1);
    }
    return HD_OK;
}

enum hd_status pip_store_keep_command(struct hd_ctx *cx, const struct pip_command *command) {
    return HD_RUN(cx, &pip_sql[KEEP_COMMAND], NULL, HD_TEXT(command->tenant), HD_TEXT(command->key),
                  HD_I64((int64_t)command->fingerprint), HD_BYTES(command->reply.data, command->reply.len),
                  HD_I64(cx->now.wall_ms));
}

enum hd_status pip_store_prune_commands(struct hd_ctx *cx, int64_t before_ms) {
    return HD_RUN(cx, &pip_sql[PRUNE_COMMANDS], NULL, HD_I64(before_ms));
}

enum hd_status pip_store_put_grants(struct hd_ctx *cx, const char *const *tenants, const int64_t *versions,
                                    const int64_t *pipelines, size_t n) {
    return HD_RUN(cx, &pip_sql[PUT_GRANTS], NULL, HD_TEXTS(tenants, n), HD_I64S(versions, n), HD_I64S(pipelines, n));
}

enum hd_status pip_store_lock_grants(struct hd_ctx *cx, const char *const *tenants, size_t n) {
    struct hd_rows rows;
    return HD_RUN(cx, &pip_sql[LOCK_GRANTS], &rows, HD_TEXTS(tenants, n));
}

enum hd_status pip_store_used(struct hd_ctx *cx, const char *tenant, struct pip_used *ret) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &pip_sql[USED], &rows, HD_TEXT(tenant)));
    *ret = (struct pip_used){hd_row_int(&rows, 0, 0), hd_row_int(&rows, 0, 1), (uint32_t)hd_row_int(&rows, 0, 2)};
    return HD_OK;
}

enum hd_status pip_store_put_marks(struct hd_ctx *cx, const char *tenant, uint32_t marks) {
    return HD_RUN(cx, &pip_sql[PUT_MARKS], NULL, HD_TEXT(tenant), HD_I32((int32_t)marks));
}
