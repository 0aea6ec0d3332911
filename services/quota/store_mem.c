// The twin of store_pg.c.
#include "services/quota/quota.h"

struct mem_limit {
    struct quota_limit l;
    bool confirmed[QUOTA_HOLDERS];
};
struct quota_mem {
    struct hd_mem base;
    struct hd_mem_list limits;
};

static struct mem_limit *find(const struct quota_mem *mem, const char *tenant) {
    for (size_t i = 0; i < mem->limits.n; i++)
        if (strcmp(((struct mem_limit *)mem->limits.items[i])->l.tenant, tenant) == 0)
            return mem->limits.items[i];
    return NULL;
}

static struct quota_limit read(const struct mem_limit *row) {
    struct quota_limit limit = row->l;
    limit.confirmed =
        row->confirmed[QUOTA_ORCHESTRATOR] && row->confirmed[QUOTA_PIPELINES] && row->confirmed[QUOTA_LOGS];
    return limit;
}

static int by_tenant(const void *a, const void *b) {
    return strcmp(((const struct quota_limit *)a)->tenant, ((const struct quota_limit *)b)->tenant);
}

static enum hd_status mem_get(struct hd_ctx *cx, const char *const *tenants, size_t n, struct quota_limit **ret,
                              size_t *ret_n) {
    const struct quota_mem *mem = cx->store;
    *ret = HD_NEW_ARRAY(cx->arena, mem->limits.n + 1, struct quota_limit);
    *ret_n = 0;
    for (size_t i = 0; i < mem->limits.n; i++) {
        const struct mem_limit *row = mem->limits.items[i];
        bool asked = false;
        for (size_t k = 0; k < n; k++)
            asked = asked || strcmp(tenants[k], row->l.tenant) == 0;
        if (asked)
            (*ret)[(*ret_n)++] = read(row);
    }
    qsort(*ret, *ret_n, sizeof(**ret), by_tenant);
    return HD_OK;
}

static struct mem_limit *add(struct quota_mem *mem, const char *tenant) {
    struct mem_limit *row = HD_NEW(&mem->base.arena, struct mem_limit);
    row->l =
        (struct quota_limit){.tenant = hd_mem_text(&mem->base, tenant), .limit = hd_quota_unlimited(), .weight = 1};
    row->confirmed[QUOTA_PIPELINES] = row->confirmed[QUOTA_LOGS] = true;
    hd_mem_push(&mem->base, &mem->limits, row);
    mem->base.rows_written++;
    return row;
}

static bool same(const struct quota_limit *a, const struct quota_limit *b) {
    return memcmp(a->limit.of, b->limit.of, sizeof(a->limit.of)) == 0 && a->weight == b->weight &&
           a->borrow == b->borrow;
}

static enum hd_status mem_set(struct hd_ctx *cx, const struct quota_limit *limit, uint64_t if_version,
                              bool *ret_stale) {
    struct quota_mem *mem = cx->store;
    struct mem_limit *row = find(mem, limit->tenant);
    *ret_stale = if_version && (!row || row->l.version != if_version);
    if (*ret_stale || (row && same(&row->l, limit)))
        return HD_OK;
    if (row)
        hd_mem_touch(&mem->base, row, sizeof(*row));
    else
        row = add(mem, limit->tenant);
    // A holder that has nothing to do with what has changed need not be told.
    row->confirmed[QUOTA_ORCHESTRATOR] = false;
    row->confirmed[QUOTA_PIPELINES] &= row->l.limit.of[HD_QUOTA_PIPELINES] == limit->limit.of[HD_QUOTA_PIPELINES];
    row->confirmed[QUOTA_LOGS] &= row->l.limit.of[HD_QUOTA_LOG_BYTES_DAY] == limit->limit.of[HD_QUOTA_LOG_BYTES_DAY];
    row->l.limit = limit->limit;
    row->l.weight = limit->weight;
    row->l.borrow = limit->borrow;
    row->l.version++;
    mem->base.rows_written++;
    return HD_OK;
}

static enum hd_status mem_make(struct hd_ctx *cx, const char *const *tenants, size_t n, int64_t concurrent_jobs) {
    struct quota_mem *mem = cx->store;
    for (size_t i = 0; i < n; i++) {
        if (find(mem, tenants[i]))
            continue;
        struct mem_limit *row = add(mem, tenants[i]);
        row->l.limit.of[HD_QUOTA_JOBS] = concurrent_jobs;
        row->l.version = 1;
    }
    return HD_OK;
}

static enum hd_status mem_unconfirmed(struct hd_ctx *cx, enum quota_holder holder, unsigned skip, unsigned limit,
                                      struct quota_limit **ret, size_t *ret_n) {
    const struct quota_mem *mem = cx->store;
    struct quota_limit *all = HD_NEW_ARRAY(cx->arena, mem->limits.n + 1, struct quota_limit);
    size_t n = 0;
    for (size_t i = 0; i < mem->limits.n; i++)
        if (!((const struct mem_limit *)mem->limits.items[i])->confirmed[holder])
            all[n++] = read(mem->limits.items[i]);
    qsort(all, n, sizeof(*all), by_tenant);
    *ret = all + (skip < n ? skip : n);
    *ret_n = n - (size_t)(*ret - all) < limit ? n - (size_t)(*ret - all) : limit;
    return HD_OK;
}

static enum hd_status mem_confirm(struct hd_ctx *cx, enum quota_holder holder, const struct hd_push_keys *keys) {
    struct quota_mem *mem = cx->store;
    for (size_t i = 0; i < keys->n; i++) {
        struct mem_limit *row = find(mem, keys->tenants[i]);
        if (!row || row->confirmed[holder] || row->l.version != (uint64_t)keys->versions[i])
            continue;
        hd_mem_touch(&mem->base, row, sizeof(*row));
        row->confirmed[holder] = true;
    }
    return HD_OK;
}

const struct quota_store quota_mem_store = {
    .get = mem_get,
    .set = mem_set,
    .make = mem_make,
    .unconfirmed = mem_unconfirmed,
    .confirm = mem_confirm,
};

struct quota_mem *quota_mem_new(void) {
    struct quota_mem *mem = hd_calloc(1, sizeof(*mem));
    hd_mem_init(&mem->base, &quota_mem_store);
    return mem;
}

void quota_mem_free(struct quota_mem *mem) {
    if (!mem)
        return;
    hd_mem_release(&mem->base);
    free(mem);
}

struct hd_mem *quota_mem_base(struct quota_mem *mem) {
    return &mem->base;
}

bool quota_mem_find(const struct quota_mem *mem, const char *tenant, struct quota_limit *ret) {
    const struct mem_limit *row = find(mem, tenant);
    if (row)
        *ret = read(row);
    return row;
}
