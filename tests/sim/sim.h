// The simulator: the real handlers of orchestrator, scheduler, worker-registry and quota (two replicas each) and the real agent, in one
// process, on the in-memory bus, a simulated clock and the stores' twins. A seed drives everything.
//
// world.c    replicas, time, faults, the order in which everybody has a turn
// peers.c    everybody else: users, pipelines, observability (logs)
// worker.c   a machine: disk (journal), shim (jobs that outlive the agent), agent
// check.c    invariants, after each step and at the end
// real.c     the orchestrators on a real PostgreSQL
// main.c     options, mutants
#ifndef HD_TESTS_SIM_SIM_H
#define HD_TESTS_SIM_SIM_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "base/buf.h"
#include "base/map.h"
#include "base/pb.h"
#include "hodei/v1/common.pb-c.h"
#include "hodei/v1/flow.pb-c.h"
#include "hodei/v1/log.pb-c.h"
#include "hodei/v1/quota.pb-c.h"
#include "services/orchestrator/advance.h"
#include "services/orchestrator/mem.h"
#include "services/orchestrator/orchestrator.h"
#include "services/quota/quota.h"
#include "services/scheduler/scheduler.h"
#include "services/worker-registry/registry.h"

#define SIM_REPLICAS 2
#define SIM_WORKERS 3
#define SIM_PIPELINES 3
#define SIM_RUNS 8
#define SIM_FLOOD 8 // runs that come again and again, of one tenant
#define SIM_FLOOD_JOBS 4
#define SIM_TENANTS 2
#define SIM_JOBS 8
#define SIM_SHIM_JOBS 512
#define SIM_TRACE 60
#define SIM_FRAMES 300     // of one job's log, at most
#define SIM_FRAME_DATA 8   // bytes of each: its number
#define SIM_PROJECT "part" // of the first tenant
#define SIM_TOKEN "join me"
#define SIM_GROUP "turnstile" // of concurrency
#define SIM_CPU_MILLI 2000    // every worker has that much, so that every job fits each of them
#define SIM_LEASE_MS 15000
#define SIM_LOST_MS 20000 // lease and margin

enum sim_mutant {
    MUTANT_NONE,
    MUTANT_JOURNAL,     // the agent's disk forgets what it was told to keep
    MUTANT_KEYS,        // the store knows no idempotency keys
    MUTANT_LOST_UPDATE, // the store drops a changed row now and then
    MUTANT_SESSIONS,    // the registry never says that a worker is lost
    MUTANT_ROOM,        // agents say that they have twice what they have
    MUTANT_FOLLOW,      // the store forgets what is to be started for a run that has ended, now and then
    MUTANT_HOLD,        // the orchestrator takes on_worker_lost: hold for requeue
    MUTANT_COUNTERS,    // the store drops a change of a tenant's counters now and then
    MUTANT_LIMITS,      // the orchestrator sees twice the memory that a tenant may use
    MUTANT_PARTS,       // the orchestrator sees no limits of projects
    MUTANT_COUNT
};

enum sim_kind { SIM_ORCHESTRATOR, SIM_SCHEDULER, SIM_REGISTRY, SIM_QUOTA, SIM_KINDS };
#define SIM_SERVICES (SIM_KINDS * SIM_REPLICAS) // the first ones are the orchestrators

struct sim;
struct replica {
    struct sim *sim;
    enum sim_kind kind;
    const char *name;
    struct hd_service *service; // NULL: down
    struct hd_db *db;           // of an orchestrator on a real PostgreSQL; else NULL
    struct hd_bus *bus;
    struct orchestrator *orc;
    struct scheduler *sch;
    struct registry *reg;
    struct quota *quota;
    struct hd_rng rng;
    int64_t back_ms; // when it is started again; or goes on, where it is paused
    int64_t skew_ms; // of its wall clock
    bool crashed;
};

struct shim_job {
    char attempt[HD_UUID_TEXT];
    bool used, ended, told_start, told_end, cancelled, exclusive;
    const char *group;          // of concurrency, as its tenant, who has one; NULL: none
    int64_t started_ms, end_ms; // mono
    int outcome;                // AttemptState
    struct hd_resources asks;
    uint32_t frames, told_frames, acked_frame; // of its log: in the spool, said to the agent, said to be stored
};
struct sim_worker {
    struct sim *sim;
    char name[16];
    struct hd_uuid session;
    char session_text[HD_UUID_TEXT];
    unsigned slots;
    struct hd_resources capacity, told; // told: what its agent says that it is
    struct agent *agent;                // NULL: down
    struct hd_bus *bus;
    struct hd_buf journal;
    struct shim_job jobs[SIM_SHIM_JOBS];
    bool hello_said, machine_gone; // machine_gone: at least once
    int64_t full_until_ms;         // its disk
    bool behind;                   // the journal lacks something
    int64_t back_ms, skew_ms;      // skew_ms: of its wall clock
    int64_t fence_ms;              // mono: until when the shim lets exclusive jobs run; 0: it was not told
    int64_t incarnation, before;   // in which the registry has it, and had it before; 0: none
};

struct sim_pipeline {
    unsigned tenant;
    char name[24];
    Hodei__V1__CompiledPipeline *plan;
    bool holds[SIM_JOBS]; // on_worker_lost: hold
    bool put, asked;
};
struct sim_run {
    char key[32];
    int pipeline;
    int64_t at_ms, cancel_at_ms; // 0: not cancelled
    struct hd_uuid id;
    bool asked, accepted, cancel_asked, cancel_accepted;
    bool flood; // it comes again as long as others have not ended
};

struct sim {
    uint64_t seed;
    const char *postgres; // a real one, as libpq takes it; NULL: the store's twin
    enum sim_mutant mutant;
    bool trace, quiet, failed;
    struct hd_rng rng;
    struct hd_arena arena;
    struct hd_memnet *net;
    struct hd_now now;
    int64_t began_ms;
    struct orc_mem *mem;
    struct orc_store_ops store_ops; // of the twin, or of a mutant of it
    struct registry_mem *registry;
    struct registry_store registry_ops; // of the twin, or of a mutant of it
    struct quota_mem *quota;
    struct replica replicas[SIM_SERVICES];
    struct hd_bus *peer;
    struct sim_worker workers[SIM_WORKERS];
    size_t n_workers;
    struct hd_quota limits[SIM_TENANTS + 1]; // of the tenants, and of the project of the first, within its own
    bool limits_asked[SIM_TENANTS + 1];
    unsigned group_slots; // of SIM_GROUP, of each tenant
    struct sim_pipeline pipelines[SIM_PIPELINES + 1];
    size_t n_pipelines;
    struct sim_run runs[SIM_RUNS + SIM_FLOOD];
    size_t n_runs;
    unsigned again;         // runs of the flood that came after others
    int64_t quiet_ms;       // mono: since when no more faults happen
    struct hd_map starts;   // attempt (hash) → number of starts
    struct hd_map outcomes; // attempt (hash) → outcome
    struct hd_map written;  // attempt (hash) → frames of its log, on machines that have never gone
    struct hd_map stored;   // attempt (hash) → frames of its log that observability has
    struct hd_map ends;     // of runs, jobs, attempts (hash) → state at their end
    char events[SIM_TRACE][160];
    unsigned n_events, crashes, wipes, held, decided; // held: jobs whose worker was gone; decided: by somebody
    bool decision_asked;
    uint64_t checked; // changes of the tables, at the last look
};

// main.c
void sim_event(struct sim *sim, const char *fmt, ...) HD_PRINTF(2, 3);
void sim_fail(struct sim *sim, const char *fmt, ...) HD_PRINTF(2, 3);
static inline bool sim_chance(struct sim *sim, unsigned of) { // one of so many; never in the quiet phase
    return !sim->quiet && hd_rng_below(&sim->rng, of) == 0;
}
static inline int64_t sim_between(struct sim *sim, int64_t low, int64_t high) {
    return low + (int64_t)hd_rng_below(&sim->rng, (uint64_t)(high - low + 1));
}

// Of a wall clock: mostly little, of some an hour.
static inline int64_t sim_skew(struct sim *sim) {
    int64_t most = hd_rng_below(&sim->rng, 4) ? 400 : 3600000;
    return sim_between(sim, -most, most);
}

extern const char *const sim_tenants[SIM_TENANTS]; // peers.c

// world.c
void sim_init(struct sim *sim, uint64_t seed, enum sim_mutant mutant);
void sim_release(struct sim *sim);
void sim_run(struct sim *sim);
void replica_turn(struct replica *replica);

// real.c
void real_open(const char *conninfo);
void real_begin(struct sim *sim); // of a seed: nothing is in the tables
void real_turns(struct sim *sim); // of both orchestrators
void real_look(struct sim *sim);  // at the tables: sim->mem says what is in them
void real_close(void);

// peers.c
void peers_init(struct sim *sim);
void peers_turn(struct sim *sim);
bool peers_limits_set(const struct sim *sim, size_t i, struct quota_limit *ret); // those that are meant
bool peers_done(const struct sim *sim);                                          // every user has an answer
const char *peers_group(const struct sim *sim, const char *attempt); // of concurrency, as its tenant; NULL: none
uint64_t peers_stored(const struct sim *sim, const char *attempt);   // frames of its log
bool peers_will_cancel(const struct sim *sim, const char *attempt);  // or have cancelled, the run of it

// worker.c
void worker_init(struct sim *sim, size_t i);
void worker_release(struct sim_worker *worker);
void worker_turn(struct sim_worker *worker);
void worker_crash(struct sim_worker *worker, bool machine); // the agent alone, or its jobs too

// check.c
void check_start(struct sim *sim, struct sim_worker *worker, const char *attempt);
void check_step(struct sim *sim);
void check_end(struct sim *sim);
bool check_all_ended(const struct sim *sim);
bool check_all_stored(const struct sim *sim);
uint64_t check_key(const char *attempt);

#endif
