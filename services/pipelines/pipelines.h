// The pipelines service: definitions, their versions, and the copy of each compiled version that the orchestrator has.
//
// Versions count from 1 for each tenant and name, without gaps; a deletion is a version of its own (the tombstone), and an
// apply after it goes on counting. Lock order: rows of `pipelines` by tenant and name.
#ifndef HD_PIPELINES_PIPELINES_H
#define HD_PIPELINES_PIPELINES_H

#include "base/scope.h"
#include "hodei/v1/pipeline.pb-c.h"
#include "service/push.h"

#define PIP_PUSH_TIMER "push"
#define PIP_TICKS_TIMER "ticks"
enum pip_answer { PIP_A_PUSHED, PIP_A_LOOKED, PIP_A_CANCELLED, PIP_A_STARTED };

struct pipelines {
    struct hd_service *service; // borrowed
    struct hd_push push;
};

extern const struct hd_service_def pip_def;
// The state; the service comes with pip_attach, before the first turn.
struct pipelines *pip_new(void);
void pip_attach(struct pipelines *self, struct hd_service *service);
void pip_release(void *self);

// change.c
hd_handler pip_apply;  // ApplyPipeline
hd_handler pip_delete; // DeletePipeline

// With the time zones of this machine; an error is the item's.
enum hd_status pip_compile_item(struct hd_ctx *cx, struct hd_item *item, const char *source,
                                Hodei__V1__CompiledPipeline **ret) HD_MUST_USE;

// show.c
hd_handler pip_list_versions; // ListPipelineVersions
hd_handler pip_diff_versions; // DiffPipeline
hd_handler pip_render_plans;  // RenderPipeline
hd_handler pip_get_schema;    // GetPipelineSchema

// read.c
hd_handler pip_get;  // GetPipeline
hd_handler pip_list; // ListPipelines
// False, with the item failed, where the request stands for no tenant.
bool pip_tenant_given(struct hd_item *item);
bool pip_project_valid(struct hd_item *item, const char *project);

// commands.c: before a command, whether its key is known: then the item has its answer, or its error; and after it.
enum hd_status pip_command_known(struct hd_ctx *cx, struct hd_item *item, bool *ret) HD_MUST_USE;
enum hd_status pip_command_keep(struct hd_ctx *cx, const struct hd_item *item,
                                const ProtobufCMessage *reply) HD_MUST_USE;
hd_handler pip_commands_prune; // timer

// push.c
hd_handler pip_push_due;      // timer: what the orchestrator has not confirmed is said again
hd_handler pip_push_answered; // answer of orchestrator.PutVersions

enum pip_metric {
    PIP_M_APPLIED,
    PIP_M_UNCHANGED,
    PIP_M_REFUSED,
    PIP_M_DELETED,
    PIP_M_PUSHED,
    PIP_M_PUSH_FAILED,
    PIP_M_TICK_STARTED,
    PIP_M_TICK_SKIPPED,
    PIP_M_TICK_REFUSED,
    PIP_M_TICK_UNANSWERED,
    PIP_M_PAUSED,
    PIP_METRIC_COUNT
};
extern struct hd_metric pip_metrics[PIP_METRIC_COUNT];

// store.c
struct pip_version {
    const char *name, *digest, *project;
    const char *source;  // from pip_store_get only
    const char *made_by; // from pip_store_versions only
    uint32_t version, jobs;
    bool found, deleted, confirmed;
    int64_t created_at_ms; // of the pipeline
    int64_t updated_at_ms; // of the version
};
struct pip_change { // a version to add
    const char *tenant, *name, *project;
    uint32_t version, jobs;
    bool deleted;
    const char *source, *digest, *made_by, *trace;
    struct hd_bytes compiled;
};
struct pip_command { // with an idempotency key
    const char *tenant, *key;
    uint64_t fingerprint;
    bool found;
    struct hd_bytes reply;
};
#define PIP_SQL_COUNT 26
extern const struct hd_sql pip_sql[PIP_SQL_COUNT];
// Others with this key wait until the transaction ends.
enum hd_status pip_store_command(struct hd_ctx *cx, struct pip_command *inout) HD_MUST_USE;
enum hd_status pip_store_keep_command(struct hd_ctx *cx, const struct pip_command *command) HD_MUST_USE;
enum hd_status pip_store_prune_commands(struct hd_ctx *cx, int64_t before_ms) HD_MUST_USE;
// Reads for somebody (`who`) tell what is in his part of the tenant; the others all.
// Version 0 is the newest. `found` tells.
enum hd_status pip_store_get(struct hd_ctx *cx, const Hodei__V1__Principal *who, const char *name, uint32_t version,
                             struct pip_version *ret) HD_MUST_USE;
enum hd_status pip_store_newest(struct hd_ctx *cx, const char *tenant, const char *name,
                                struct pip_version *ret) HD_MUST_USE;
// The version that a request made not long ago: with its trace and digest ("": a tombstone).
enum hd_status pip_store_made(struct hd_ctx *cx, const char *tenant, const char *name, const char *digest,
                              const char *trace, struct pip_version *ret) HD_MUST_USE;
// Makes the pipeline's row if needed and locks it.
enum hd_status pip_store_lock(struct hd_ctx *cx, const char *tenant, const char *name, const char *project) HD_MUST_USE;
enum hd_status pip_store_add(struct hd_ctx *cx, const struct pip_change *change) HD_MUST_USE;
enum hd_status pip_store_list(struct hd_ctx *cx, const Hodei__V1__Principal *who,
                              const Hodei__V1__ListPipelinesRequest *page, uint32_t limit, struct pip_version **ret,
                              size_t *ret_n) HD_MUST_USE;
// Versions below `before`, newest first, deletions too.
enum hd_status pip_store_versions(struct hd_ctx *cx, const Hodei__V1__Principal *who, const char *name, uint32_t before,
                                  uint32_t limit, struct pip_version **ret, size_t *ret_n) HD_MUST_USE;
// The newest version below `version` that is no deletion; 0: there is none.
enum hd_status pip_store_before(struct hd_ctx *cx, const char *tenant, const char *name, uint32_t version,
                                uint32_t *ret) HD_MUST_USE;
// Compiled versions that are not confirmed, from the `skip`th, at most `limit` and `max_bytes` (but one at least).
enum hd_status pip_store_unconfirmed(struct hd_ctx *cx, unsigned skip, unsigned limit, int64_t max_bytes,
                                     struct hd_push_keys *ret_keys, struct hd_bytes **ret_compiled) HD_MUST_USE;
enum hd_status pip_store_confirm(struct hd_ctx *cx, const struct hd_push_keys *keys) HD_MUST_USE;
// Grants: the highest version counts. lock: of tenants with a limit, before any row of `pipelines`; so nobody else adds to them.
enum hd_status pip_store_put_grants(struct hd_ctx *cx, const char *const *tenants, const int64_t *versions,
                                    const int64_t *pipelines, size_t n) HD_MUST_USE;
enum hd_status pip_store_lock_grants(struct hd_ctx *cx, const char *const *tenants, size_t n) HD_MUST_USE;
struct pip_used {
    int64_t pipelines, limit; // limit -1: none
    uint32_t marks;           // of the limit that have been told of
};
enum hd_status pip_store_used(struct hd_ctx *cx, const char *tenant, struct pip_used *ret) HD_MUST_USE;
enum hd_status pip_store_put_marks(struct hd_ctx *cx, const char *tenant, uint32_t marks) HD_MUST_USE;

// quota.c
hd_handler pip_put_grants, pip_get_usage; // PutGrants, GetUsage
// Whether the tenant may have one more pipeline in the project; if not, the item has failed. The tenant's grant is locked.
enum hd_status pip_quota_check(struct hd_ctx *cx, struct hd_item *item, const char *project, bool *ret) HD_MUST_USE;
// After one was made or deleted: tells of marks of the limit that are crossed.
enum hd_status pip_quota_mark(struct hd_ctx *cx, const char *tenant, const char *project) HD_MUST_USE;

#endif
