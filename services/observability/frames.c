#include "services/observability/frames.h"

#include <stdlib.h>

static int by_frames(const void *a, const void *b) {
    const struct frames_piece *x = a, *y = b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    if (x->end != y->end)
        return x->end > y->end ? -1 : 1; // the longest first: it makes the others known
    return (int)y->waits - (int)x->waits;
}

uint64_t frames_plan(uint64_t next, struct frames_piece *pieces, size_t n) {
    size_t waiting = 0;
    uint64_t waits_to = 0; // the end of what is kept or will be

    if (n)
        qsort(pieces, n, sizeof(*pieces), by_frames);
    for (size_t i = 0; i < n; i++)
        waiting += pieces[i].waits;
    for (size_t i = 0; i < n; i++) {
        struct frames_piece *piece = &pieces[i];
        if (piece->end <= next) {
            piece->verdict = FRAMES_KNOWN;
        } else if (piece->first <= next) {
            piece->verdict = FRAMES_TAKE;
            piece->from = next;
            next = piece->end;
        } else if (piece->waits) {
            piece->verdict = FRAMES_EARLY;
            waits_to = piece->end > waits_to ? piece->end : waits_to;
        } else if (piece->end <= waits_to || waiting >= FRAMES_EARLY_MAX) {
            piece->verdict = FRAMES_DROP;
        } else {
            piece->verdict = FRAMES_EARLY;
            waits_to = piece->end;
            waiting++;
        }
    }
    return next;
}
