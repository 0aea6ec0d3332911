#include "services/orchestrator/ws.h"

#include "base/scope.h"

static uint64_t mix(uint64_t x) {
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return x ^ (x >> 32);
}
// The last eight bytes of a UUIDv7 are random.
static uint64_t uuid_hash(struct hd_uuid id) {
    uint64_t low;
    memcpy(&low, id.b + 8, sizeof low);
    return mix(low);
}
static uint64_t run_hash(const struct orc_run *run) {
    return uuid_hash(run->id);
}
static uint64_t job_hash(const struct orc_job *job) {
    return uuid_hash(job->run->id) + mix(job->idx + 1u);
}
static uint64_t attempt_hash(const struct orc_attempt *attempt) {
    return uuid_hash(attempt->id);
}

// Adds to the list and its chained hash index, which doubles with it.
#define TABLE_ADD(ws, table, item, hash)                                                                               \
    do {                                                                                                               \
        HD_GROW((ws)->arena, (table)->items, (table)->n, (table)->cap);                                                \
        (table)->items[(table)->n++] = (item);                                                                         \
        size_t from_ = (table)->n - 1;                                                                                 \
        if ((table)->n > (table)->n_buckets) {                                                                         \
            (table)->n_buckets = (table)->n_buckets ? (table)->n_buckets * 4 : 16;                                     \
            (table)->buckets = hd_arena_alloc_array((ws)->arena, (table)->n_buckets, sizeof(*(table)->buckets));       \
            from_ = 0;                                                                                                 \
        }                                                                                                              \
        for (size_t i_ = from_; i_ < (table)->n; i_++) {                                                               \
            size_t at_ = hash((table)->items[i_]) & ((table)->n_buckets - 1);                                          \
            (table)->items[i_]->chain = (table)->buckets[at_];                                                         \
            (table)->buckets[at_] = (table)->items[i_];                                                                \
        }                                                                                                              \
    } while (0)
#define TABLE_FIRST(table, hash) ((table)->n_buckets ? (table)->buckets[(hash) & ((table)->n_buckets - 1)] : NULL)

void orc_ws_init(struct orc_ws *ws, struct hd_arena *arena) {
    *ws = (struct orc_ws){.arena = arena};
}

struct orc_run *orc_ws_run(const struct orc_ws *ws, struct hd_uuid id) {
    struct orc_run *run = TABLE_FIRST(&ws->runs, uuid_hash(id));
    while (run && !hd_uuid_eq(run->id, id))
        run = run->chain;
    return run;
}

struct orc_job *orc_ws_job(const struct orc_ws *ws, struct hd_uuid run, uint32_t idx) {
    struct orc_job *job = TABLE_FIRST(&ws->jobs, uuid_hash(run) + mix(idx + 1u));
    while (job && !(job->idx == idx && hd_uuid_eq(job->run->id, run)))
        job = job->chain;
    return job;
}

struct orc_attempt *orc_ws_attempt(const struct orc_ws *ws, struct hd_uuid id) {
    struct orc_attempt *attempt = TABLE_FIRST(&ws->attempts, uuid_hash(id));
    while (attempt && !hd_uuid_eq(attempt->id, id))
        attempt = attempt->chain;
    return attempt;
}

bool orc_in_project(const struct orc_run *run) {
    return strcmp(run->project, HD_PROJECT_DEFAULT) != 0;
}

const char *orc_account(struct hd_arena *arena, const struct orc_run *run) {
    return orc_in_project(run) ? hd_arena_printf(arena, "%s/%s", run->tenant, run->project) : run->tenant;
}

bool orc_tenant_counts(const struct orc_tenant *tenant, const struct orc_run *run) {
    return strcmp(tenant->tenant, run->tenant) == 0 &&
           (!*tenant->project || strcmp(tenant->project, run->project) == 0);
}

struct orc_tenant *orc_ws_part(const struct orc_ws *ws, const struct orc_run *run) {
    for (size_t i = 0; i < ws->n_tenants; i++)
        if (*ws->tenants[i]->project && orc_tenant_counts(ws->tenants[i], run))
            return ws->tenants[i];
    return NULL;
}

struct orc_tenant *orc_ws_tenant(const struct orc_ws *ws, const char *name) {
    for (size_t i = 0; i < ws->n_tenants; i++)
        if (strcmp(ws->tenants[i]->name, name) == 0)
            return ws->tenants[i];
    return NULL;
}

struct orc_run *orc_ws_add_run(struct orc_ws *ws, struct hd_uuid id) {
    struct orc_run *run = HD_NEW(ws->arena, struct orc_run);
    run->id = id;
    run->key = run->actor = "";
    run->origin = "api";
    run->project = HD_PROJECT_DEFAULT;
    TABLE_ADD(ws, &ws->runs, run, run_hash);
    return run;
}

struct orc_job *orc_ws_add_job(struct orc_ws *ws, struct orc_run *run, uint32_t idx) {
    struct orc_job *job = HD_NEW(ws->arena, struct orc_job);
    job->run = run;
    job->idx = job->spec = idx;
    job->parent = ORC_NONE;
    job->matrix = job->message = job->avoid_worker = "";
    TABLE_ADD(ws, &ws->jobs, job, job_hash);
    return job;
}

struct orc_attempt *orc_ws_add_attempt(struct orc_ws *ws, struct hd_uuid id, struct orc_job *job) {
    struct orc_attempt *attempt = HD_NEW(ws->arena, struct orc_attempt);
    attempt->id = id;
    attempt->job = job;
    attempt->message = "";
    TABLE_ADD(ws, &ws->attempts, attempt, attempt_hash);
    return attempt;
}

struct orc_tenant *orc_ws_add_tenant(struct orc_ws *ws, const char *name) {
    struct orc_tenant *tenant = HD_NEW(ws->arena, struct orc_tenant);
    tenant->name = hd_arena_strdup(ws->arena, name);
    tenant->weight = 1;
    tenant->limit = hd_quota_unlimited();
    const char *slash = strchr(tenant->name, '/');
    tenant->tenant = slash ? hd_arena_strndup(ws->arena, tenant->name, (size_t)(slash - tenant->name)) : tenant->name;
    tenant->project = slash ? slash + 1 : "";
    tenant->granted = slash != NULL;
    tenant->limit.of[HD_QUOTA_JOBS] = slash ? HD_QUOTA_UNLIMITED : 0;
    HD_GROW(ws->arena, ws->tenants, ws->n_tenants, ws->cap_tenants);
    ws->tenants[ws->n_tenants++] = tenant;
    return tenant;
}

int orc_uuid_order(const void *a, const void *b) {
    return memcmp(a, b, sizeof(struct hd_uuid));
}

int orc_ref_order(const void *a, const void *b) {
    const struct orc_job_ref *x = a, *y = b;
    int order = hd_uuid_cmp(x->run, y->run);
    return order ? order : (x->idx > y->idx) - (x->idx < y->idx);
}

int orc_admission_order(const void *a, const void *b) {
    const struct orc_job *x = *(const struct orc_job *const *)a, *y = *(const struct orc_job *const *)b;
    if (x->priority != y->priority)
        return x->priority > y->priority ? -1 : 1;
    if (x->queued_ms != y->queued_ms)
        return x->queued_ms < y->queued_ms ? -1 : 1;
    int order = hd_uuid_cmp(x->run->id, y->run->id);
    return order ? order : (x->idx > y->idx) - (x->idx < y->idx);
}

static int text_order(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

size_t orc_uuids_unique(struct hd_uuid *ids, size_t n) {
    size_t kept = 0;
    if (n == 0)
        return 0;
    qsort(ids, n, sizeof *ids, orc_uuid_order);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || !hd_uuid_eq(ids[kept - 1], ids[i]))
            ids[kept++] = ids[i];
    return kept;
}

size_t orc_refs_unique(struct orc_job_ref *refs, size_t n) {
    size_t kept = 0;
    if (n == 0)
        return 0;
    qsort(refs, n, sizeof *refs, orc_ref_order);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || orc_ref_order(&refs[kept - 1], &refs[i]) != 0)
            refs[kept++] = refs[i];
    return kept;
}

size_t orc_texts_unique(const char **texts, size_t n) {
    size_t kept = 0;
    if (n == 0)
        return 0;
    qsort(texts, n, sizeof *texts, text_order);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || strcmp(texts[kept - 1], texts[i]) != 0)
            texts[kept++] = texts[i];
    return kept;
}
