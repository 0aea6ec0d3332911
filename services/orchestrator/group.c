#include "services/orchestrator/group.h"

#include <stdlib.h>

static int by_creation(const void *a, const void *b) {
    const struct orc_member *x = a, *y = b;
    int order = hd_uuid_cmp(x->run, y->run);
    return order ? order : (x->idx + 1 > y->idx + 1) - (x->idx + 1 < y->idx + 1); // the run itself before its jobs
}

static int by_asking(const void *a, const void *b) {
    const struct orc_member *x = a, *y = b;
    return x->seq != y->seq ? (x->seq > y->seq) - (x->seq < y->seq) : by_creation(a, b);
}

void orc_group_turns(struct orc_member *members, size_t n, int64_t capacity, bool by_ready) {
    int64_t room = capacity;
    const struct orc_member *blocks = NULL; // the first that is yet to come
    if (n > 1)
        qsort(members, n, sizeof(*members), by_ready ? by_asking : by_creation);
    for (size_t i = 0; i < n; i++)
        room -= members[i].state == ORC_MEMBER_HOLDING;
    for (size_t i = 0; i < n; i++) {
        struct orc_member *member = &members[i];
        member->turn = false;
        if (member->state == ORC_MEMBER_PLANNED && !by_ready && !blocks)
            blocks = member;
        if (member->state != ORC_MEMBER_WAITING || member->doomed || room <= 0)
            continue;
        if (blocks && !hd_uuid_eq(blocks->run, member->run))
            continue;
        member->turn = true;
        room--;
    }
}
