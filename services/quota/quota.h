// The quota service: limits of tenants, and the grants that the orchestrator enforces.
//
// A grant is a tenant's row with its version, which rises with each change. It is pushed until the orchestrator has
// confirmed that version. Lock order: rows of `limits` by tenant.
#ifndef HD_QUOTA_QUOTA_H
#define HD_QUOTA_QUOTA_H

#include "hodei/v1/quota.pb-c.h"
#include "service/push.h"

#define QUOTA_JOBS_MAX 1000000
#define QUOTA_TENANTS_MAX 1000 // in one GetGrants
#define QUOTA_PUSH_TIMER "push"
enum quota_answer { QUOTA_A_PUSHED };

struct quota {
    struct hd_service *service; // borrowed
    struct hd_push push;
    int64_t default_jobs;
};

// handlers.c
enum hd_status quota_init(struct hd_service *service, const struct hd_settings *settings, void **ret_self,
                          struct hd_err *err);
void quota_release(void *self);
hd_handler quota_get;           // GetQuota
hd_handler quota_set;           // SetQuota
hd_handler quota_get_grants;    // GetGrants
hd_handler quota_push_due;      // timer
hd_handler quota_push_answered; // answer of orchestrator.PutGrants

enum quota_metric { QUOTA_M_SET, QUOTA_M_PUSHED, QUOTA_M_PUSH_FAILED, QUOTA_METRIC_COUNT };
extern struct hd_metric quota_metrics[QUOTA_METRIC_COUNT];

// store.c
struct quota_limit {
    const char *tenant;
    int64_t concurrent_jobs;
    uint64_t version;
    bool confirmed;
};
extern const struct hd_sql quota_sql[];
extern const size_t quota_sql_len;
// Those that are there, by tenant.
enum hd_status quota_store_get(struct hd_ctx *cx, const char *const *tenants, size_t n, struct quota_limit **ret,
                               size_t *ret_n) HD_MUST_USE;
// A new version where the limit changes; nothing where it is the same.
enum hd_status quota_store_set(struct hd_ctx *cx, const char *tenant, int64_t concurrent_jobs) HD_MUST_USE;
// Makes the rows that are not there.
enum hd_status quota_store_make(struct hd_ctx *cx, const char *const *tenants, size_t n,
                                int64_t concurrent_jobs) HD_MUST_USE;
enum hd_status quota_store_unconfirmed(struct hd_ctx *cx, unsigned skip, unsigned limit, struct quota_limit **ret,
                                       size_t *ret_n) HD_MUST_USE;
enum hd_status quota_store_confirm(struct hd_ctx *cx, const struct hd_push_keys *keys) HD_MUST_USE;

#endif
