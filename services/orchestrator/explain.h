// Why a job is where it is: one reason and one sentence. Pure; what only the scheduler knows is left to it.
#ifndef ORC_EXPLAIN_H
#define ORC_EXPLAIN_H

#include "services/orchestrator/graph.h"
#include "services/orchestrator/group.h"

struct orc_reason {
    const char *reason, *text;
};
struct orc_circumstances {
    const struct orc_tenant *tenant; // NULL: not known
    const struct orc_tenant *part;   // its project; NULL: none
    const char *group;               // of the job or run; NULL: none
    struct orc_member *members;      // of the group, in their order
    size_t n_members;
    int64_t capacity;
    size_t approvals; // that the job has
    int64_t now_ms;
};
// Of an attempt that is held for its worker.
const char *orc_gone_text(struct hd_arena *arena, const struct orc_attempt *attempt);
// All jobs of the run, and the live attempts, are in the working set. READY jobs get the reason "ready".
struct orc_reason orc_explain(const struct orc_ws *ws, const struct orc_job *job, const struct orc_circumstances *at);

#endif
