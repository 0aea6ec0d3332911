// The worker registry: who the workers are, and which of them are there.
//
// The truth is the table `workers`. Kept in memory: when each worker was last seen to be alive (struct liveness, see there
// why), and what is under way: short lists whose loss costs one more question, so that they may change before a commit.
#ifndef HD_REGISTRY_REGISTRY_H
#define HD_REGISTRY_REGISTRY_H

#include "hodei/v1/worker.pb-c.h"
#include "service/mem.h"
#include "service/push.h"
#include "service/service.h"
#include "services/worker-registry/liveness.h"
#include "services/worker-registry/machine.h"

extern const struct hd_service_def registry_def; // service.c

#define REGISTRY_SHA256_BYTES 32
#define MODE(x) HODEI__V1__CORDON_MODE__CORDON_MODE_##x
#define REGISTRY_STREAMS_MAX 32 // work streams made after one commit

struct registry_stream {
    char worker[LIVENESS_NAME];
    struct hd_uuid session;
};
struct registry {
    struct hd_service *service; // borrowed
    struct liveness_times times;
    int64_t forget_ms;
    bool has_token;
    uint8_t token_sha256[REGISTRY_SHA256_BYTES];
    struct liveness live;
    bool alarm; // the last sweep found too many lost at once
    // Streams to make after the commit, and those made that the table does not know of yet.
    struct registry_stream due[REGISTRY_STREAMS_MAX], made[REGISTRY_STREAMS_MAX];
    size_t n_due, n_made;
    struct hd_push push_lost;
};

enum registry_metric {
    REG_M_JOINS,
    REG_M_JOINS_REFUSED,
    REG_M_BEATS,
    REG_M_BEATS_UNKNOWN,
    REG_M_ONLINE,
    REG_M_SUSPECT,
    REG_M_LOST,
    REG_M_LOST_TOLD,
    REG_M_ALARM,
    REG_M_STREAMS,
    REG_M_STREAMS_FAILED,
    REG_M_ASKS_FAILED,
    REG_M_COUNT
};
extern struct hd_metric registry_metrics[REG_M_COUNT];
enum registry_answer_kind { REG_A_RECONCILE, REG_A_LOST };
extern const struct hd_push_def registry_push_lost; // lost.c

// registry.c. By hand: new, the service, attach. `token` is the join token, "": none; NULL comes back where it cannot be hashed.
struct registry *registry_new(const struct liveness_times *times, int64_t forget_ms, const char *token);
void registry_attach(struct registry *self, struct hd_service *service);
enum hd_status registry_init(struct hd_service *service, const struct hd_settings *settings, void **ret_self,
                             struct hd_err *err);
void registry_release(void *self);

hd_handler registry_join;                                      // join.c: Join
hd_handler registry_heartbeat;                                 // heartbeat.c: Heartbeat
hd_handler registry_reconciled;                                // heartbeat.c: answer
hd_handler registry_list;                                      // fleet.c: ListWorkers
hd_handler registry_get;                                       // fleet.c: GetWorker
hd_handler registry_cordon, registry_drain, registry_uncordon; // steer.c: Cordon, Drain, Uncordon
hd_handler registry_get_fleet;                                 // fleet.c: GetFleet
hd_handler registry_sweep;                                     // sweep.c: timer, who is silent
hd_handler registry_forget;                                    // sweep.c: timer, rows of long lost workers go
hd_handler registry_tell_lost;                             // lost.c: timer, unconfirmed losses go to the orchestrator
hd_handler registry_lost_told;                             // lost.c: answer
hd_handler registry_streams;                               // streams.c: timer, which work streams must be made
void registry_after_commit(struct hd_ctx *cx, void *self); // streams.c: makes them

// validate.c: pure. HD_INVALID names the field.
enum hd_status registry_check_join(const Hodei__V1__JoinRequest *request, struct hd_err *err,
                                   struct hd_uuid *ret_session) HD_MUST_USE;
enum hd_status registry_check_heartbeat(const Hodei__V1__HeartbeatRequest *request, struct hd_err *err,
                                        struct hd_uuid *ret_session) HD_MUST_USE;

// One worker of a batch: its row, locked, or none yet.
struct worker {
    const char *name;
    enum registry_state state; // REG_NONE: no row
    struct hd_uuid session;
    struct hd_uuid loaded_session; // zero: there was no row
    const char *pool;
    struct hd_bytes profile; // hodei.v1.Worker as it joined
    int64_t joined_at_ms, heartbeat_at_ms, beats;
    int64_t incarnation; // of the session
    int32_t running;
    bool stream_ready;
    int32_t cordon; // hodei.v1.CordonMode
    const char *cordon_actor, *cordon_reason;
    int64_t cordon_at_ms;
    const char *unfit;     // why its agent takes no work; "": it does
    struct hd_bytes usage; // hodei.v1.Worker with load and jobs
    bool fresh;            // gave a sign of life in this batch
    bool beat, joined;     // what must be written
    bool steered;          // its cordon must be written
    bool changed;          // the fleet changed
};
struct workers {
    struct worker *rows; // by name
    size_t n;
};
struct workers_query {
    const char *pool;      // "": every one
    const char *after;     // a name; "": from the first
    const int32_t *states; // n_states 0: all
    size_t n_states;
    int64_t limit;
};
struct worker *workers_find(const struct workers *workers, const char *name);
// Takes a step of the machine: the only place that writes `state`. REG_STEP, or nothing was changed. A session that is lost by it
// is added to `lost`.
struct lost_list {
    const char **workers;
    struct hd_uuid *sessions;
    int64_t *incarnations;
    size_t n, cap; // cap bounds both: at most one a step
};
struct lost_list lost_list_new(struct hd_arena *arena, size_t cap);
struct registry_step worker_step(struct worker *worker, enum registry_event event, struct registry_facts facts,
                                 struct lost_list *lost);

// fleet.c: writes what changed and the lost sessions, and publishes the difference.
enum hd_status registry_save(struct hd_ctx *cx, struct workers *workers, const struct lost_list *lost) HD_MUST_USE;
// As others see it: without load and jobs, which change with every heartbeat.
enum hd_status worker_message(struct hd_ctx *cx, const struct worker *worker, Hodei__V1__Worker **ret) HD_MUST_USE;
// All that is known of it, jobs and actions too.
enum hd_status worker_full_message(struct hd_ctx *cx, const struct worker *worker, Hodei__V1__Worker *ret) HD_MUST_USE;

// The tables, behind one interface with two implementations: PostgreSQL, and an in-memory twin for the simulator. The tests of the
// registry run on both, so that the twin cannot drift.
struct registry_store {
    // Locks the rows of these names (doubles are folded); has an entry for each.
    enum hd_status (*load)(struct hd_ctx *cx, const char **names, size_t n, struct workers *ret);
    enum hd_status (*save)(struct hd_ctx *cx, const struct workers *workers);
    enum hd_status (*live)(struct hd_ctx *cx, struct liveness_row **ret, size_t *ret_n);               // by name
    enum hd_status (*list)(struct hd_ctx *cx, const struct workers_query *query, struct workers *ret); // by name
    // Without a lock, for readers; its state is REG_NONE where there is no row.
    enum hd_status (*get)(struct hd_ctx *cx, const char *name, struct worker *ret);
    // What people did to a worker, the newest first, at most 100.
    enum hd_status (*actions)(struct hd_ctx *cx, const char *worker, Hodei__V1__WorkerAction ***ret, size_t *ret_n);
    enum hd_status (*add_action)(struct hd_ctx *cx, const char *worker, const Hodei__V1__WorkerAction *action);
    enum hd_status (*forget)(struct hd_ctx *cx, int64_t before_ms);
    enum hd_status (*fleet_version)(struct hd_ctx *cx, int64_t *ret);
    enum hd_status (*fleet_bump)(struct hd_ctx *cx, int64_t *ret);
    enum hd_status (*lose)(struct hd_ctx *cx, const struct lost_list *lost);
    // Which of these workers have a loss that the orchestrator has not confirmed.
    enum hd_status (*untold_of)(struct hd_ctx *cx, const char **names, size_t n, struct lost_list *ret);
    enum hd_status (*untold)(struct hd_ctx *cx, unsigned skip, unsigned limit, int64_t *ret_seqs,
                             struct lost_list *ret);
    enum hd_status (*told)(struct hd_ctx *cx, const int64_t *seqs, size_t n);
    enum hd_status (*streams_due)(struct hd_ctx *cx, struct registry_stream *ret, size_t max, size_t *ret_n);
    enum hd_status (*streams_made)(struct hd_ctx *cx, const struct registry_stream *made, size_t n);
    enum hd_status (*tokens_known)(struct hd_ctx *cx, const struct hd_bytes *hashes, size_t n, struct hd_bytes **ret,
                                   size_t *ret_n);
};
#define REGISTRY_SQL_COUNT 20
extern const struct hd_sql registry_sql[REGISTRY_SQL_COUNT]; // store_pg.c
extern const struct registry_store registry_pg_store, registry_mem_store;
static inline const struct registry_store *registry_store(const struct hd_ctx *cx) {
    return cx->store ? ((const struct hd_mem *)cx->store)->ops : &registry_pg_store;
}
void registry_by_name(const char **names, size_t n, struct hd_arena *arena,
                      struct workers *ret); // of REG_NONE, no doubles

// The twin (store_mem.c), of hd_mem_tx. Several replicas may share one.
struct registry_mem;
struct registry_mem *registry_mem_new(void);
void registry_mem_free(struct registry_mem *mem);
struct hd_mem *registry_mem_base(struct registry_mem *mem);
bool registry_mem_find(const struct registry_mem *mem, const char *name, struct worker *ret);

#endif
