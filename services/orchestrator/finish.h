// How every handler that changes something ends: what it decided is settled, saved, and told.
//
// The handler adds to struct orc_out only what no difference of rows can show; everything else (offers, withdrawn offers, accepted
// and freed places, assignments, cancels, events) follows from `was` and now of each row in the working set.
#ifndef ORC_FINISH_H
#define ORC_FINISH_H

#include "services/orchestrator/graph.h"
#include "services/orchestrator/orchestrator.h"

struct orc_feed; // messages being filled
struct orc_work;
struct orc_out {
    struct orc_feed *feeds; // by pool
    struct orc_work *works; // by worker
};

// Settles runs and tenant counters, admits, saves, publishes.
enum hd_status orc_finish(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws,
                          struct orc_out *out) HD_MUST_USE;

struct orc_chance orc_chance(struct hd_ctx *cx);
// Loads what the contexts of the assignments of the jobs that are in the working set name.
enum hd_status orc_load_context(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws) HD_MUST_USE;

// Loads all that is open in the runs, and the attempts that must be told of a cancel.
enum hd_status orc_load_open(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws, struct hd_uuid *ids,
                             size_t n) HD_MUST_USE;

// Writes down what somebody did to a run, and tells it.
enum hd_status orc_audit(struct hd_ctx *cx, struct orchestrator *orc, struct orc_run *run,
                         const struct orc_done *done) HD_MUST_USE;

// commands.c. known: the item has its answer, or its error; ask with the run locked, so that of two at once the second finds the
// answer of the first. keep: with its reply filled.
struct orc_command_key orc_command_key(struct hd_ctx *cx, const struct hd_item *item, const char *method);
enum hd_status orc_command_known(struct hd_ctx *cx, struct orchestrator *orc, struct hd_item *item,
                                 const struct orc_command_key *key, bool *ret) HD_MUST_USE;
enum hd_status orc_command_keep(struct hd_ctx *cx, struct orchestrator *orc, const struct hd_item *item,
                                struct orc_command_key *key) HD_MUST_USE;

// handlers_start.c: starts runs as StartRun does; items that fail have written nothing.
struct orc_origin {
    const char *what;  // api, cron, pipeline
    struct hd_uuid by; // the run whose end started it; zero: none
    uint32_t depth;
};
enum hd_status orc_start_runs(struct hd_ctx *cx, struct orchestrator *orc, struct hd_item *items, size_t n,
                              const struct orc_origin *origins) HD_MUST_USE;
// handlers_follow.c: what is to be started for the runs of the working set that end.
enum hd_status orc_follow_ends(struct hd_ctx *cx, struct orchestrator *orc, const struct orc_ws *ws) HD_MUST_USE;

// groups.c. A step: members enter, leave, and take their turn; ret_changed: jobs changed, look at the graph again.
enum hd_status orc_groups_step(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws, bool first,
                               bool *ret_changed) HD_MUST_USE;
enum hd_status orc_groups_sweep(struct hd_ctx *cx, struct orchestrator *orc) HD_MUST_USE;

// --- publish.c: fills messages of at most 500 items, sends those that are full -----------------------------------------------
void orc_out_diff(struct hd_ctx *cx, struct orc_ws *ws, struct orc_out *out);
void orc_out_flush(struct hd_ctx *cx, struct orc_out *out);

// Pool feeds.
void orc_out_reset(struct orc_out *out, struct hd_ctx *cx, const char *pool, uint64_t epoch); // first of its pool
void orc_out_offer(struct orc_out *out, struct hd_ctx *cx, struct orc_ws *ws, const struct orc_job *job);
void orc_out_result(struct orc_out *out, struct hd_ctx *cx, const char *pool, uint64_t key, bool accepted);
// What the place takes up and whose it is comes from the run; NULL: it is not known.
void orc_out_held(struct orc_out *out, struct hd_ctx *cx, const struct orc_pool_entry *entry, const char *pool,
                  const struct orc_run *run);
void orc_out_freed(struct orc_out *out, struct hd_ctx *cx, const char *pool, uint64_t key, bool refused);
void orc_out_withdrawn(struct orc_out *out, struct hd_ctx *cx, const char *pool, uint64_t key);
// Work streams.
// What its context names is in the working set (orc_load_context).
void orc_out_assign(struct orc_out *out, struct hd_ctx *cx, struct orc_ws *ws, const struct orc_attempt *attempt);
void orc_out_cancel(struct orc_out *out, struct hd_ctx *cx, const char *worker, const char *attempt, bool forget);

char *orc_id_text(struct hd_arena *arena, struct hd_uuid id);

// --- events.c: facts for whoever cares, one message a tenant -------------------------------------------------------------------
void orc_events(struct hd_ctx *cx, const struct orc_ws *ws);

// --- change.c: the way of news about attempts, from reports, heartbeats and lost sessions -------------------------------------------
struct orc_news_item {
    struct hd_uuid attempt;
    struct hd_uuid session; // it must be of this one; zero: any
    const char *worker;     // "": any
    struct orc_attempt_news news;
};
// Loads the runs, jobs, direct dependents and attempts that the references name, locked.
enum hd_status orc_load_attempts(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws,
                                 const struct orc_attempt_ref *refs, size_t n) HD_MUST_USE;
// Applies news in the given order. ret_final[i]: nothing more is wanted of that attempt.
enum hd_status orc_apply_news(struct hd_ctx *cx, struct orc_ws *ws, const struct orc_news_item *items, size_t n,
                              bool *ret_final) HD_MUST_USE;

#endif
