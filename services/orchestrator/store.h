// The store: what the orchestrator asks of its tables. Two implementations: PostgreSQL (store_pg.c) and the simulator's
// twin in memory (store_mem.c); tests/integration/test_orc_store.c runs one suite on both.
//
// All calls happen inside the transaction that the runner has opened. Loads put rows into the working set, where a row
// that is there already is left alone. Locks are taken in this order: leases, runs (by id), groups, tenants (by name); jobs and
// attempts are covered by their run's lock. Whoever holds a tenant takes further runs with SKIP LOCKED only.
// Rows of another tenant are never filtered here: the caller compares run->tenant.
#ifndef ORC_STORE_H
#define ORC_STORE_H

#include "base/ctx.h"
#include "base/scope.h"
#include "service/service.h"
#include "services/orchestrator/group.h"
#include "services/orchestrator/ws.h"

struct orc_version {
    const char *tenant, *name;
    const char *project; // where the pipeline is; of put and newest
    uint32_t version;
    bool found, deleted;
    const uint8_t *data; // packed CompiledPipeline
    size_t len;
};
struct orc_run_key {
    const char *tenant, *key;
    bool found;
    struct hd_uuid run;
    uint64_t fingerprint;
};
struct orc_runs_query {
    const char *tenant;
    const char *pipeline;  // "": all
    const char *project;   // likewise
    struct hd_parts parts; // of the tenant
    struct hd_uuid before; // zero: from the newest
    struct hd_uuid since;  // and from this one on; zero: to the oldest
    const int32_t *states; // only these; n_states 0: all
    size_t n_states;
    unsigned limit;
};
struct orc_attempt_ref {
    struct hd_uuid id;
    struct orc_job_ref job;
};
struct orc_lease {
    const char *pool, *holder;
    uint64_t epoch; // asked: what the holder thinks it has; answered: what stands
    bool granted;
    bool fresh; // granted under a new epoch
};
// A job of a pool that is READY or has a live attempt.
struct orc_pool_entry {
    struct orc_job_ref job;
    int state;
    uint64_t key;
    int64_t since_ms;   // READY: when; else when the attempt got its state
    const char *worker; // "" while READY
};

// What somebody did.
struct orc_done {
    struct hd_uuid run;
    int64_t at_ms;
    const char *actor, *action, *job, *reason, *result;
};
// The answer to a command with an idempotency key.
struct orc_command_key {
    const char *tenant, *key;
    uint64_t fingerprint;
    bool found;
    const uint8_t *reply; // packed SteerReply
    size_t reply_len;
};

// What a tenant's counters say, and how many jobs of one kind there are in truth; a tenant without jobs has one row with the pipeline "".
struct orc_usage {
    const char *tenant; // rows of one stand together
    int64_t jobs, cpu_milli, memory_bytes, gpu, pending, queued, parts;
    const char *pipeline;
    uint32_t version, spec; // of the compiled version
    int64_t is_counted, is_pending, is_queued, is_parts;
};

// A pipeline that is started when runs of another one end.
struct orc_listener {
    const char *tenant, *source, *name; // name: is started
    uint32_t version, accepts;          // accepts: bits of NeedAccept
};
struct orc_ended { // a run that ends
    struct hd_uuid run;
    const char *tenant, *pipeline;
    uint32_t mask; // how: one bit of NeedAccept
};
struct orc_follow_up { // a run that has ended, and what is to be started for it
    struct hd_uuid run;
    const char *pipeline;
};
// Of a concurrency group.
struct orc_group {
    const char *tenant, *name;
    int64_t capacity;
    bool by_ready;
};
struct orc_group_entry { // one that enters, or will
    struct orc_group group;
    struct hd_uuid run;
    uint32_t idx;
    int state;
};

#define ORC_CALL struct hd_ctx *cx, void *store
struct orc_store_ops {
    // Compiled versions. put: a known one is left alone, but a tombstone marks it.
    enum hd_status (*versions_put)(ORC_CALL, const struct orc_version *versions, size_t n);
    enum hd_status (*versions_newest)(ORC_CALL, struct orc_version *inout, size_t n); // by tenant and name; no data
    enum hd_status (*versions_get)(ORC_CALL, struct orc_version *inout, size_t n);    // by version too; with data

    // Loads. With `lock` for update, in id order; a run that is gone is just not there afterwards.
    enum hd_status (*runs_load)(ORC_CALL, struct orc_ws *ws, struct hd_uuid *ids, size_t n, bool lock);
    enum hd_status (*runs_by_key)(ORC_CALL, struct orc_run_key *inout, size_t n);
    enum hd_status (*runs_list)(ORC_CALL, struct orc_ws *ws, const struct orc_runs_query *query); // newest first
    // Jobs of runs that are in the working set.
    enum hd_status (*jobs_load)(ORC_CALL, struct orc_ws *ws, struct orc_job_ref *refs, size_t n);
    enum hd_status (*jobs_load_open)(ORC_CALL, struct orc_ws *ws, const struct hd_uuid *runs, size_t n); // not ended
    enum hd_status (*jobs_page)(ORC_CALL, struct orc_ws *ws, struct hd_uuid run, uint32_t from, unsigned limit);
    // The best QUEUED jobs of a row of tenants with their runs, locked; those that somebody else holds are left out.
    enum hd_status (*jobs_queued)(ORC_CALL, struct orc_ws *ws, const char *tenant, unsigned limit);
    // Outputs of jobs that are in the working set; "" where there are none.
    enum hd_status (*outputs_load)(ORC_CALL, struct orc_ws *ws, struct orc_job_ref *refs, size_t n);
    // What has a due_ms that has come, the longest waiting first; not locked.
    enum hd_status (*runs_due)(ORC_CALL, int64_t now_ms, unsigned limit, struct hd_uuid **ret, size_t *ret_n);
    enum hd_status (*jobs_due)(ORC_CALL, int64_t now_ms, unsigned limit, struct orc_job_ref **ret, size_t *ret_n);
    enum hd_status (*attempts_find)(ORC_CALL, const struct hd_uuid *ids, size_t n, struct orc_attempt_ref **ret,
                                    size_t *ret_n);
    enum hd_status (*attempts_find_live)(ORC_CALL, const struct hd_uuid *sessions, size_t n,
                                         struct orc_attempt_ref **ret, size_t *ret_n);
    enum hd_status (*attempts_load)(ORC_CALL, struct orc_ws *ws, const struct hd_uuid *ids,
                                    size_t n); // jobs are loaded
    // The last 20 attempts of each job from..to (to is not in it).
    enum hd_status (*attempts_page)(ORC_CALL, struct orc_ws *ws, struct hd_uuid run, uint32_t from, uint32_t to);
    // Locks; makes rows of those that are missing, without a grant.
    enum hd_status (*tenants_load)(ORC_CALL, struct orc_ws *ws, const char **names, size_t n); // projects, too
    enum hd_status (*tenants_read)(ORC_CALL, struct orc_ws *ws, const char **names, size_t n); // those that are there
    // What the counters say and what there is, in one view of the tables. names NULL: of all tenants.
    enum hd_status (*usage_count)(ORC_CALL, const char **names, size_t n, struct orc_usage **ret, size_t *ret_n);
    // What the tenants but these leave of their concurrency limits together, and whether one of them waits for what is its own. Others who
    // ask wait until the transaction ends.
    enum hd_status (*tenants_spare)(ORC_CALL, const char **names, size_t n, struct hd_quota *ret, bool *ret_waiting);
    // Projects of a tenant with QUEUED jobs, as names of their rows, in order.
    enum hd_status (*parts_waiting)(ORC_CALL, const char *tenant, const char ***ret, size_t *ret_n);
    // Tenants with QUEUED jobs and room, who may borrow, or without a grant.
    enum hd_status (*tenants_waiting)(ORC_CALL, unsigned limit, const char ***ret, size_t *ret_n);

    // Writes. runs_insert: new runs, in the order of tenant and key; marks `duplicate` where the key is taken.
    enum hd_status (*runs_insert)(ORC_CALL, struct orc_ws *ws);
    enum hd_status (*save)(ORC_CALL, struct orc_ws *ws); // all that is dirty; raises the revision of runs

    // Runs that start when others end. put: what versions listen to, which are all there by now; what older versions did is taken away.
    // add: for those that listen with their newest version, unless that is a tombstone. take: locked, those of others left out.
    enum hd_status (*listeners_put)(ORC_CALL, const struct orc_listener *listeners, size_t n,
                                    const struct orc_version *versions, size_t n_versions);
    enum hd_status (*follow_ups_add)(ORC_CALL, const struct orc_ended *ended, size_t n, size_t *ret_added);
    enum hd_status (*follow_ups_take)(ORC_CALL, unsigned limit, struct orc_follow_up **ret, size_t *ret_n);
    enum hd_status (*follow_ups_drop)(ORC_CALL, const struct orc_follow_up *follow_ups, size_t n);
    // What people do. The run is locked.
    enum hd_status (*actions_add)(ORC_CALL, const struct orc_done *done);
    enum hd_status (*actions_list)(ORC_CALL, struct hd_uuid run, unsigned limit, struct orc_done **ret,
                                   size_t *ret_n); // the last
    enum hd_status (*approvals_add)(ORC_CALL, const struct orc_job *job, const char *actor);
    // Counts those of the run's jobs in the working set.
    enum hd_status (*approvals_count)(ORC_CALL, struct orc_ws *ws, struct hd_uuid run);
    enum hd_status (*approvals_list)(ORC_CALL, const struct orc_job *job, const char ***ret, size_t *ret_n);
    // Concurrency groups. enter: locks the groups in the order of tenant and name, makes them, and takes over what the entry says of them;
    // a member that is there keeps the higher state.
    enum hd_status (*groups_enter)(ORC_CALL, struct orc_group_entry *entries, size_t n);
    enum hd_status (*groups_leave)(ORC_CALL, const struct orc_job_ref *refs, size_t n, size_t *ret_left);
    enum hd_status (*group_members)(ORC_CALL, struct orc_group *inout, bool lock, struct orc_member **ret,
                                    size_t *ret_n);
    enum hd_status (*group_hold)(ORC_CALL, const struct orc_group *group, const struct orc_member *member);
    enum hd_status (*group_doom)(ORC_CALL, const struct orc_group *group, const struct orc_member *member);
    // Groups of jobs and runs, "" where there is none; and groups in which somebody waits or is doomed, not locked.
    enum hd_status (*groups_of)(ORC_CALL, const struct orc_job_ref *refs, size_t n, struct orc_group *ret);
    enum hd_status (*groups_waiting)(ORC_CALL, unsigned limit, struct orc_group **ret, size_t *ret_n);
    // Others with this key wait until the transaction ends.
    enum hd_status (*command_find)(ORC_CALL, struct orc_command_key *inout);
    enum hd_status (*command_put)(ORC_CALL, const struct orc_command_key *key);
    enum hd_status (*commands_prune)(ORC_CALL, int64_t before_ms);

    // Leases of pools, by the store's clock.
    enum hd_status (*lease_take)(ORC_CALL, struct orc_lease *inout, int64_t ttl_ms, bool release);
    enum hd_status (*leases_hold)(ORC_CALL, struct orc_lease *inout, size_t n); // by pool; they stand until the commit
    // READY ones first; of one priority the oldest of each tenant, then the second of each, so that a cut hides no tenant.
    enum hd_status (*pool_entries)(ORC_CALL, const char *pool, unsigned limit, struct orc_pool_entry **ret,
                                   size_t *ret_n);

    // Sessions that are gone, each once, up to an incarnation. One that is known to be gone up to a later one is left so.
    enum hd_status (*sessions_lose)(ORC_CALL, const struct orc_life *lives, size_t n);
    // They were seen alive, each once: those of an earlier incarnation are no longer of interest; where one is not known, those lost
    // before `seen_ms`.
    enum hd_status (*sessions_revive)(ORC_CALL, const struct orc_life *lives, const int64_t *seen_ms, size_t n);
    enum hd_status (*sessions_lost)(ORC_CALL, const struct hd_uuid *sessions, size_t n, struct orc_life **ret,
                                    size_t *ret_n); // those of them that are gone
    enum hd_status (*sessions_prune)(ORC_CALL, int64_t before_ms);
    // Live attempts of what is gone, placed while the loss was being written; and those held for a worker that is gone whose job is
    // to be cancelled.
    enum hd_status (*attempts_orphaned)(ORC_CALL, unsigned limit, struct orc_attempt_ref **ret, size_t *ret_n);
};
extern const struct orc_store_ops orc_pg_store; // its store is unused: it works on cx->db

// The twin. One may be shared by several services on one clock: turns of a service are whole transactions, so nothing
// overlaps. A crash (no commit, no rollback) is mended by the next begin, which undoes what was open.
struct orc_mem;
struct orc_mem *orc_mem_new(void);
void orc_mem_free(struct orc_mem *mem);
extern const struct orc_store_ops orc_mem_store;

// For invariants and tests: a copy of everything committed so far (or being changed) as a working set, in the arena. Plans are not
// filled. Runs, jobs, attempts in the order in which they were made.
void orc_mem_snapshot(const struct orc_mem *mem, struct hd_arena *arena, struct orc_ws *ret);
struct orc_mem_counts {
    size_t runs, jobs, attempts, tenants, outbox_waiting, dead_letters;
    int64_t rows_written; // inserts and updates since the start, for the cost budget
};
struct orc_mem_counts orc_mem_count(const struct orc_mem *mem);
const char *orc_mem_dead_letter(const struct orc_mem *mem, size_t i); // its error; NULL past the end
uint64_t orc_mem_epoch(const struct orc_mem *mem, const char *pool);  // 0: never led

#endif
