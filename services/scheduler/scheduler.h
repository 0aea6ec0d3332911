// The scheduler: which READY job goes to which worker.
//
// It owns nothing. The fleet comes from the registry, offers and places come from the orchestrator on hodei.flow.ready.<pool>
// while this process leads the pool by a lease; all of it is forgotten when the lease ends and told again to the next
// leader. What it decides counts only once the orchestrator has committed it. One thread, no locks.
#ifndef SCH_SCHEDULER_H
#define SCH_SCHEDULER_H

#include "service/service.h"
#include "services/scheduler/pool.h"

#define SCH_TIMER_LEASE "lease"
#define SCH_TIMER_FLEET "fleet"
#define SCH_TIMER_TEND "tend"
enum sch_answer { SCH_A_LEASE, SCH_A_FLEET };

#define SCH_FULL_MS 2000   // how long a worker that refused is taken for full
#define SCH_RESEND_MS 2000 // without an answer to a placement
#define SCH_UNTOLD_MS                                                                                                  \
    6000 // after this a leader goes on without the reset that it was not told: reconciliation fills the gap
#define SCH_RECONCILE_EVERY 5 // leases
#define SCH_AGEING_MS 600000  // where no setting says otherwise
#define SCH_RESERVE_MS 60000  // the same

struct scheduler {
    struct hd_service *service; // borrowed; NULL until attached
    char holder[HD_UUID_TEXT];
    struct sch_pool *pools;
    struct hd_map workers; // by hash of the name; a name whose hash is taken is not placed on
    uint64_t fleet_version;
    uint64_t fleet_seen;         // counts full lists
    int64_t fleet_asked_mono_ms; // 0: no question is under way
    struct sch_rules rules;
    enum sch_policy policy;
    struct sch_pairs spread_pools; // keys; pools that are spread whatever the policy is
    char *texts;                   // what rules and spread_pools point into
};

enum sch_metric {
    SCH_M_OFFERS,
    SCH_M_WAITING,
    SCH_M_PLACED,
    SCH_M_ACCEPTED,
    SCH_M_STALE,
    SCH_M_REFUSED,
    SCH_M_RESENT,
    SCH_M_RESERVED,
    SCH_M_POOLS,
    SCH_M_WORKERS,
    SCH_METRIC_COUNT
};
extern struct hd_metric sch_metrics[SCH_METRIC_COUNT];
extern const struct hd_service_def sch_def;

// settings.c: weights of tenants, policies of pools.
enum hd_status sch_configure(struct scheduler *scheduler, const struct hd_settings *settings,
                             struct hd_err *err) HD_MUST_USE;
void sch_configure_release(struct scheduler *scheduler);
enum sch_policy sch_policy_of(const struct scheduler *scheduler, const char *pool);

// service.c. For a process, sch_def.init does both.
struct scheduler *sch_new(struct hd_uuid holder);
void sch_attach(struct scheduler *scheduler, struct hd_service *service);
void sch_free(void *self);

// fleet.c
hd_handler sch_fleet_due;      // timer: asks for the fleet
hd_handler sch_fleet_answered; // the answer
hd_handler sch_fleet_changed;  // hint: a difference
// Makes one that is not known; NULL: the name is no name.
struct sch_worker *sch_worker_get(struct scheduler *scheduler, const char *name);
void sch_worker_free(struct sch_worker *worker);
void sch_worker_forget_if_gone(struct scheduler *scheduler, struct sch_worker *worker);
struct sch_pool *sch_pool_find(const struct scheduler *scheduler, const char *name); // NULL: not known

// lease.c
hd_handler sch_lease_due;      // timer: takes or keeps the lease of every pool
hd_handler sch_lease_answered; // the answer
void sch_stopping(struct hd_ctx *cx, void *self);
bool sch_leads(const struct sch_pool *pool, int64_t mono_ms);
void sch_pool_forget(struct scheduler *scheduler, struct sch_pool *pool); // offers and places

// feed.c
hd_handler sch_feed;         // hodei.flow.ready.<pool>
hd_handler sch_explain_jobs; // ask.c: ExplainJobs
hd_handler sch_tend;         // timer: placements without an answer, workers that are no longer full
void sch_offer_drop(struct scheduler *scheduler, struct sch_pool *pool, struct sch_offer *offer);
void sch_place_all(struct hd_ctx *cx, struct scheduler *scheduler); // of every pool that is dirty

#endif
