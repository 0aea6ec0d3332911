// Which chunks of an attempt follow without a gap. Pure.
//
// Chunks come twice, late, in any order, and cut differently when they are sent again. An attempt's stored frames are always
// 0 .. next-1; a chunk that reaches beyond is taken from `next` on, one that starts after it waits.
#ifndef HD_OBSERVABILITY_FRAMES_H
#define HD_OBSERVABILITY_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAMES_EARLY_MAX 64 // chunks of an attempt that may wait; the agent sends again what is dropped

enum frames_verdict {
    FRAMES_KNOWN, // all of it is stored
    FRAMES_TAKE,  // to be stored from `from` on
    FRAMES_EARLY, // to be kept until what goes before it is there
    FRAMES_DROP   // too many wait already
};
struct frames_piece {
    uint64_t first, end; // first < end
    bool waits;          // it is one that is kept already
    void *chunk;         // the caller's
    enum frames_verdict verdict;
    uint64_t from; // where taken
};
// Orders the pieces by their frames, sets the verdicts, and returns the new `next`. Taken ones are to be stored in the order of
// the array.
uint64_t frames_plan(uint64_t next, struct frames_piece *pieces, size_t n);

#endif
