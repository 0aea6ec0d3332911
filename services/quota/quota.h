// The quota service: limits of tenants, and the grants that the orchestrator enforces.
//
// A grant is a tenant's row with its version, which rises with each change. It is pushed until the orchestrator has
// confirmed that version. Lock order: rows of `limits` by tenant.
#ifndef HD_QUOTA_QUOTA_H
#define HD_QUOTA_QUOTA_H

#include "base/quota.h"
#include "hodei/v1/quota.pb-c.h"
#include "service/mem.h"
#include "service/push.h"

#define QUOTA_JOBS_MAX 1000000
#define QUOTA_TENANT_BYTES 200
#define QUOTA_WEIGHT_MAX 1000
#define QUOTA_USAGE_KEPT 64    // answers of the orchestrator, for those who ask again
#define QUOTA_TENANTS_MAX 1000 // in one GetGrants
#define QUOTA_PUSH_TIMER "push"
#define QUOTA_PUSH_PIPELINES_TIMER "push-pipelines"
#define QUOTA_PUSH_LOGS_TIMER "push-logs"
enum quota_answer { QUOTA_A_PUSHED, QUOTA_A_PUSHED_PIPELINES, QUOTA_A_PUSHED_LOGS, QUOTA_A_USAGE };
// Services that enforce limits: they have copies of the grants, and count what is used.
enum quota_holder { QUOTA_ORCHESTRATOR, QUOTA_PIPELINES, QUOTA_LOGS, QUOTA_HOLDERS };

// What the orchestrator said of a tenant's usage lately.
struct quota_usage {
    uint64_t tag; // hash of the tenant's name and of who counts
    char tenant[QUOTA_TENANT_BYTES];
    int64_t at_mono_ms;
    bool known;    // false: it did not answer
    uint8_t *data; // packed QuotaUsage
    size_t len;
};

struct quota {
    struct hd_service *service; // borrowed
    struct hd_push push[QUOTA_HOLDERS];
    int64_t default_jobs;
    struct quota_usage usage[QUOTA_USAGE_KEPT];
    size_t next_usage;
};

extern const struct hd_service_def quota_def; // service.c

// handlers.c. By hand: new, the service, attach.
struct quota *quota_new(int64_t default_jobs);
void quota_attach(struct quota *self, struct hd_service *service);
enum hd_status quota_init(struct hd_service *service, const struct hd_settings *settings, void **ret_self,
                          struct hd_err *err);
void quota_release(void *self);
// Whose limits a GetQuota or SetQuota is about: the caller's tenant, or "<tenant>/<project>".
const char *quota_owner(struct hd_arena *arena, const struct hd_item *item);
hd_handler quota_get;                                                                    // GetQuota
hd_handler quota_set;                                                                    // SetQuota
hd_handler quota_get_grants;                                                             // GetGrants
hd_handler quota_push_due, quota_push_pipelines_due, quota_push_logs_due;                // timers
hd_handler quota_push_answered, quota_push_pipelines_answered, quota_push_logs_answered; // answers of PutGrants

// usage.c
hd_handler quota_usage_answered; // answer of orchestrator.GetUsage
// Fills `usage` of the reply, or parks the item until the orchestrator has answered. True: parked.
bool quota_usage_fill(struct hd_ctx *cx, struct quota *self, struct hd_item *item);
void quota_usage_release(struct quota *self);

enum quota_metric { QUOTA_M_SET, QUOTA_M_PUSHED, QUOTA_M_PUSH_FAILED, QUOTA_METRIC_COUNT };
extern struct hd_metric quota_metrics[QUOTA_METRIC_COUNT];

struct quota_limit {
    const char *tenant;
    struct hd_quota limit;
    int64_t weight;
    uint64_t version;
    bool borrow, confirmed;
};
// The table, behind one interface with two implementations: PostgreSQL, and an in-memory twin for the simulator.
struct quota_store {
    // Those that are there, by tenant.
    enum hd_status (*get)(struct hd_ctx *cx, const char *const *tenants, size_t n, struct quota_limit **ret,
                          size_t *ret_n);
    // A new version where a limit changes; nothing where all are the same. if_version not 0: only where that is the version that
    // stands, or *ret_stale is set.
    enum hd_status (*set)(struct hd_ctx *cx, const struct quota_limit *limit, uint64_t if_version, bool *ret_stale);
    // Makes the rows that are not there.
    enum hd_status (*make)(struct hd_ctx *cx, const char *const *tenants, size_t n, int64_t concurrent_jobs);
    // Of the holder that has to confirm them, by tenant.
    enum hd_status (*unconfirmed)(struct hd_ctx *cx, enum quota_holder holder, unsigned skip, unsigned limit,
                                  struct quota_limit **ret, size_t *ret_n);
    enum hd_status (*confirm)(struct hd_ctx *cx, enum quota_holder holder, const struct hd_push_keys *keys);
};
#define QUOTA_SQL_COUNT (4 + 2 * QUOTA_HOLDERS)
extern const struct hd_sql quota_sql[QUOTA_SQL_COUNT]; // store_pg.c
extern const struct quota_store quota_pg_store, quota_mem_store;
static inline const struct quota_store *quota_store(const struct hd_ctx *cx) {
    return cx->store ? ((const struct hd_mem *)cx->store)->ops : &quota_pg_store;
}

// The twin (store_mem.c), of hd_mem_tx. Several replicas may share one.
struct quota_mem;
struct quota_mem *quota_mem_new(void);
void quota_mem_free(struct quota_mem *mem);
struct hd_mem *quota_mem_base(struct quota_mem *mem);
bool quota_mem_find(const struct quota_mem *mem, const char *tenant, struct quota_limit *ret);

#endif
