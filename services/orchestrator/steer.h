// What people do to runs: commands on a run that goes on, and reruns. Pure.
//
// A command on a job needs all jobs of its run in the working set. It either does all that it says, or fails and changes nothing.
#ifndef ORC_STEER_H
#define ORC_STEER_H

#include "services/orchestrator/graph.h"

enum orc_action {
    ORC_CANCEL_JOB,
    ORC_RETRY_JOB,
    ORC_MARK_DONE,
    ORC_SKIP_JOB,
    ORC_APPROVE,
    ORC_REJECT,
    ORC_PAUSE,
    ORC_RESUME,
    ORC_SET_PRIORITY,
    ORC_RERUN,
    ORC_CANCEL_RUN,
    ORC_ACTIONS
};
extern const char *const orc_action_names[ORC_ACTIONS];

struct orc_command {
    enum orc_action action;
    const char *job; // its name; "": none
    const char *actor, *reason;
    int32_t priority;
    int from;               // Hodei__V1__SteerRequest__From
    const char **approvers; // of ORC_APPROVE: who has approved the job before
    size_t n_approvers;
};
// On a run that has not ended. HD_MISSING: no such job; HD_PRECONDITION: not in this state; HD_DENIED: not by this actor.
enum hd_status orc_steer(struct orc_ws *ws, struct orc_run *run, const struct orc_command *command,
                         struct orc_chance *chance, struct hd_err *err, struct orc_job **ret_job) HD_MUST_USE;
// The jobs of `to`, which is new and has the plan of `from`, which has ended and is loaded with all jobs and their outputs. The wave decides
// what begins. Retry and mark done are reruns from their job.
enum hd_status orc_rerun(struct orc_ws *ws, const struct orc_run *from, struct orc_run *to,
                         const struct orc_command *command, struct orc_chance *chance, struct hd_err *err) HD_MUST_USE;
// Makes what WAITING jobs count on agree with the ends of their needs; all jobs of the run are loaded.
void orc_rebuild(struct orc_ws *ws, struct orc_run *run, struct orc_chance *chance);
#endif
