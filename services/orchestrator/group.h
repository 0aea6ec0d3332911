// Concurrency groups: whose turn it is. Pure.
//
// A group has slots and members. With order created the members of an earlier run go first, and one that is yet to come (a job
// of that run that has not asked) is waited for, so that a later run never overtakes; within a run nobody waits for one that has
// not asked. With order ready they go as they asked.
#ifndef ORC_GROUP_H
#define ORC_GROUP_H

#include "base/uuid.h"

enum orc_member_state { ORC_MEMBER_PLANNED, ORC_MEMBER_WAITING, ORC_MEMBER_HOLDING };
struct orc_member {
    struct hd_uuid run;
    uint32_t idx; // UINT32_MAX: the run itself
    int state;
    int64_t seq;
    bool doomed;
    bool turn; // may take a slot now
};
// Sorts the members into their order and sets `turn`.
void orc_group_turns(struct orc_member *members, size_t n, int64_t capacity, bool by_ready);

#endif
