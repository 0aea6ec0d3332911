// The agent without a process: session, connection and bus put together, in turns. The process (process.c), the tests and the
// simulator provide what is around it.
//
// A turn: take what has arrived, decide, then carry out in this order: journal (one sync a batch), shim (one message a batch),
// acknowledge the work, reports, logs. Reports and logs leave while few of them are on their way, so that batches grow under
// load. All memory of a turn is the agent's arena.
#ifndef HD_AGENT_AGENT_H
#define HD_AGENT_AGENT_H

#include "agent/connection/connection.h"
#include "agent/connection/logs.h"
#include "agent/executor/executor.h"
#include "agent/stream/session.h"

struct agent_env {
    struct hd_bus *bus; // borrowed
    struct hd_rng *rng; // borrowed
    // Appends to the journal; where `sync`, it is on the disk afterwards.
    enum hd_status (*record)(void *arg, const void *data, size_t len, bool sync, struct hd_err *err);
    // The shim: the next message that it has said (NULL: none), and what is said to it.
    const Hodei__V1__ShimMessage *(*from_shim)(void *arg, struct hd_arena *arena);
    void (*to_shim)(void *arg, const Hodei__V1__ShimMessage *msg);
    log_read_fn *read_log;
    // Why the machine can take no work, in words that stay the same while the reason does; "": it can. NULL: it always can.
    const char *(*unfit)(void *arg, int64_t mono_ms);
    void *arg;
};
struct agent_def {
    const char *worker;
    struct hd_uuid session;
    unsigned slots;
    struct hd_resources capacity;
    uint64_t spool_max_bytes; // of all logs that wait while the worker is cut off
    struct executor_env executor;
    struct connection_def connection;
};

#define AGENT_ARRIVALS 256 // a turn
struct agent {
    struct agent_def def;
    struct agent_env env;
    struct hd_arena arena;
    struct session session;
    int64_t told_lease_ms; // to the shim
    unsigned told_hello;   // the shim of that hello knows the lease and the bound of the spools
    struct connection connection;
    unsigned reports_out, logs_out;       // publications on their way
    uint64_t boot, last_id;               // of message ids
    bool stopping;                        // nothing is taken any more
    int64_t complained_ms, shim_since_ms; // since when the shim is there, or is not
    bool shim_was_up;
    char journal_problem[200]; // "": it can be written
    int64_t probe_ms;          // when it is tried again
    char unfit[300];           // as it was told last
    int64_t reports_at_ms;     // no report is said before
    struct hd_arrived arrived[AGENT_ARRIVALS], works[AGENT_ARRIVALS];
    bool again[AGENT_ARRIVALS]; // of works: to be delivered again
    size_t n_works;
};

// The bus must be there; the agent starts to listen. The session is empty: replay the journal before the first turn.
// What the worker says of itself to the registry.
struct agent_profile {
    unsigned slots;
    struct hd_resources capacity;
    Hodei__V1__Label **labels; // borrowed
    size_t n_labels;
    Hodei__V1__Taint **taints; // borrowed
    size_t n_taints;
};
enum hd_status agent_init(struct agent *agent, const struct agent_def *def, const struct agent_env *env,
                          struct hd_now now, struct hd_err *err) HD_MUST_USE;
void agent_release(struct agent *agent);
bool agent_turn(struct agent *agent, struct hd_now now); // true when it did something
int64_t agent_due_ms(const struct agent *agent);         // mono: the next turn where nothing arrives
// Joins again as another worker, with the same session. What is held stays, also where it is more than fits now.
void agent_change(struct agent *agent, const struct agent_profile *profile, struct hd_now now);
// Takes nothing more; with `jobs` stops them. What is held is still reported by the turns that follow.
void agent_stop(struct agent *agent, bool jobs, struct hd_now now);
// Everything that can be told has been.
bool agent_idle(const struct agent *agent);

#endif
