// The working set: the rows that one transaction touches, as they were and as they are to be. Pure.
//
// A store loads rows into it, pure functions change them, orc_finish (finish.h) settles counters, saves what is dirty, and
// says what the difference between `was` and now means: so no handler can change a row and forget to tell. Rules:
// - Every change of a job or an attempt happens with its run loaded for update; the run is the lock of all that is in it.
// - A row is loaded once; loading it again finds the same struct with its changes.
// - Everything lives in the batch's arena; structs never move. Texts are never NULL.
#ifndef ORC_WS_H
#define ORC_WS_H

#include "base/arena.h"
#include "base/quota.h"
#include "base/uuid.h"
#include "base/value.h"
#include "hodei/v1/flow.pb-c.h"
#include "services/orchestrator/machine.h"

struct orc_run {
    struct hd_uuid id;
    const char *tenant, *pipeline, *project;
    uint32_t version;
    int state, was; // was: as loaded; 0 of a new one
    int64_t created_ms, started_ms, ended_ms;
    uint32_t total, ended, succeeded, failed; // failed or timed out
    int64_t revision;                         // rises with every change of the run or of what is in it
    const char *key;                          // idempotency key, "" where there is none
    uint64_t fingerprint;                     // of the request that made it
    const uint8_t *request;                   // packed StartRunRequest where it has an env, else empty
    size_t request_len;
    uint32_t rows;      // jobs that it has rows for: the index of the next
    uint32_t main_left; // jobs of the definition, without those of finally, that have not ended
    int64_t due_ms;     // its timeout, 0: none
    int cause;
    const char *origin, *actor;
    bool paused, held;             // held: it waits for its concurrency group, and none of its jobs is decided
    struct hd_uuid rerun_of;       // zero: none
    struct hd_uuid started_by;     // the run of another pipeline whose end started it; zero: none
    uint32_t depth;                // how many stand before it in such a chain
    const struct hd_value *inputs; // filled by orc_inputs
    bool amended;                  // changed after its insert, in the same transaction
    bool locked, dirty, duplicate; // duplicate: not inserted, its key is taken
    const Hodei__V1__CompiledPipeline *plan; // the compiled version, filled by orc_plans; jobs are its indexes
    struct orc_run *chain;
};

// What the ends of needs, and of the jobs of a matrix, leave behind.
enum orc_job_flag {
    ORC_SAW_FAILURE = 1, // a need failed, or was skipped because of a failure
    ORC_SAW_CANCEL = 2,  // likewise
    ORC_SAW_SKIP = 4,    // a need was skipped, and that was not accepted as optional
    ORC_UNMET = 8,       // a need ended in a way that is not accepted
    ORC_ALLOWED = 16,    // it failed, and that is allowed
    ORC_CHILD_FAILED = 32,
    ORC_CHILD_CANCELLED = 64,
    ORC_CHILD_ALLOWED = 128,
    ORC_APPROVED = 256,
    ORC_KEPT = 512,         // its result is another run's
    ORC_MARKED = 1024,      // somebody marked it as done
    ORC_IN_GROUP = 2048,    // it holds a slot of its concurrency group
    ORC_WORKER_GONE = 4096, // the worker of its live attempt is gone; it is held for it (on_worker_lost: hold)
};
// What a QUEUED job waits for before it waits for quota. TOO_LARGE: it asks for more than its tenant may use in all.
enum orc_hold {
    ORC_HOLD_BACKOFF = 1,
    ORC_HOLD_APPROVAL = 2,
    ORC_HOLD_PAUSE = 4,
    ORC_HOLD_GROUP = 8,
    ORC_HOLD_TOO_LARGE = 16
};
#define ORC_NONE UINT32_MAX

struct orc_job {
    struct orc_run *run;
    uint32_t idx, spec; // spec: index in the plan
    uint32_t parent;    // idx of the job whose matrix it is of, or ORC_NONE
    uint32_t ordinal;   // in its matrix, from 1
    const char *matrix; // its values, JSON; "": none
    uint32_t flags, was_flags, hold, was_hold, retries;
    int64_t due_ms;                                            // when a timer looks at it; 0: never
    uint32_t children, first_child, next_child, open_children; // of a job with a matrix, once it is expanded
    bool priority_dirty;
    int cause, was_cause;
    const char *message;
    const char *avoid_worker; // "": none; the next attempt goes elsewhere if it can
    const char *outputs;      // JSON; "": none; NULL: not loaded
    bool outputs_dirty, told; // told: those that wait for its end know it
    const char *pool;
    int32_t priority;
    int state, was, ended_state; // ended_state: the state before, within a change
    uint32_t deps_left;
    uint64_t key, was_key;                // of the offer, from READY to the end of its attempt; 0 before the first
    uint32_t attempts, losses, approvals; // approvals: for views only, 0 where they were not counted
    struct hd_uuid attempt;               // the last one
    int64_t queued_ms, ready_ms, started_ms, ended_ms;
    bool dirty;
    struct orc_job *chain;
};

// A session of a worker between two losses. Incarnation 0: of a release that knows none.
struct orc_life {
    struct hd_uuid session;
    int64_t incarnation;
};
static inline bool orc_life_gone(struct orc_life lost, struct hd_uuid session, int64_t incarnation) {
    return hd_uuid_eq(lost.session, session) && (lost.incarnation == 0 || incarnation <= lost.incarnation);
}

struct orc_attempt {
    struct hd_uuid id;
    struct orc_job *job;
    uint32_t number;
    int state, was;
    const char *worker;
    struct hd_uuid session;
    int64_t incarnation; // of the session when it was placed; of the assignment, when it is assigned again
    uint64_t key;
    int64_t assigned_ms, changed_ms; // by our clock: when it got its state
    int64_t gone_ms;                 // when its worker was lost and it was held for it; 0: it is not
    int64_t started_ms, ended_ms;    // by the worker's
    int32_t exit_code, signal;
    int cause;
    const char *message;
    int64_t user_ms, system_ms, max_rss_bytes;
    uint64_t log_frames;
    bool dirty;
    struct orc_attempt *chain;
};

// Of a tenant, or of one of its projects: "<tenant>/<project>", whose jobs count in both. A project without limits of its own has none.
struct orc_tenant {
    const char *name;
    const char *tenant, *project; // project "": the tenant itself
    struct hd_quota limit, used;  // used.of[HD_QUOTA_MINUTES_MONTH] follows from job_ms
    uint64_t version;
    int64_t queued;             // those that wait for quota and nothing else
    int64_t parts;              // of these, those of the tenant's projects
    int64_t day, month, job_ms; // what the runs and the minutes in `used` are of
    uint32_t marks, weight;     // marks that were crossed; weight in fair sharing
    int64_t marked_ms;          // when the last was
    uint32_t crossed;           // in this transaction, upwards
    size_t started;             // runs that this transaction makes
    bool granted;               // false: limit is not known yet
    bool borrow;                // may use what others leave of theirs
    bool blocked;               // while jobs are admitted: one of the project did not fit
    bool dirty, regranted;      // regranted: the limits are to be saved, too
};

#define ORC_WS_TABLE(type)                                                                                             \
    struct {                                                                                                           \
        type **items;                                                                                                  \
        size_t n, cap;                                                                                                 \
        type **buckets;                                                                                                \
        size_t n_buckets;                                                                                              \
    }
struct orc_ws {
    struct hd_arena *arena;
    ORC_WS_TABLE(struct orc_run) runs;
    ORC_WS_TABLE(struct orc_job) jobs;
    ORC_WS_TABLE(struct orc_attempt) attempts;
    struct orc_tenant **tenants; // few
    size_t n_tenants, cap_tenants;
};

// A job by its run's id, before it is loaded.
struct orc_job_ref {
    struct hd_uuid run;
    uint32_t idx;
};

void orc_ws_init(struct orc_ws *ws, struct hd_arena *arena);
struct orc_run *orc_ws_run(const struct orc_ws *ws, struct hd_uuid id); // NULL: not loaded
struct orc_job *orc_ws_job(const struct orc_ws *ws, struct hd_uuid run, uint32_t idx);
struct orc_attempt *orc_ws_attempt(const struct orc_ws *ws, struct hd_uuid id);
struct orc_tenant *orc_ws_tenant(const struct orc_ws *ws, const char *name);
// Where a run's jobs wait: its tenant, or where that is not the default one its project.
const char *orc_account(struct hd_arena *arena, const struct orc_run *run);
bool orc_in_project(const struct orc_run *run);
// The row of its project; NULL: it is in none, or it is not loaded.
struct orc_tenant *orc_ws_part(const struct orc_ws *ws, const struct orc_run *run);
bool orc_tenant_counts(const struct orc_tenant *tenant, const struct orc_run *run);

// Each gives a zeroed struct with its key set. It must not be there yet.
struct orc_run *orc_ws_add_run(struct orc_ws *ws, struct hd_uuid id);
struct orc_job *orc_ws_add_job(struct orc_ws *ws, struct orc_run *run, uint32_t idx);
struct orc_attempt *orc_ws_add_attempt(struct orc_ws *ws, struct hd_uuid id, struct orc_job *job);
struct orc_tenant *orc_ws_add_tenant(struct orc_ws *ws, const char *name);

// In the order of locks.
int orc_uuid_order(const void *a, const void *b);
int orc_ref_order(const void *a, const void *b);
// Of pointers to jobs: who is admitted first.
int orc_admission_order(const void *a, const void *b);
// Sorts and drops doubles; returns how many are left.
size_t orc_uuids_unique(struct hd_uuid *ids, size_t n);
size_t orc_refs_unique(struct orc_job_ref *refs, size_t n);
size_t orc_texts_unique(const char **texts, size_t n);

#endif
