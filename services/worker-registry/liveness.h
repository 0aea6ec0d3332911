// Who is silent, and for how long. Pure.
//
// A worker's row counts its signs of life; what is timed here, on this process's monotonic clock, is how long ago that count
// was last seen to rise. So no wall clock and no clock of another machine matters, replicas need not agree, and a process
// that has just started gives everybody a full grace. Whenever this process itself may have been cut off (bus down, or its
// own clock tick came late), every silence starts anew.
#ifndef HD_REGISTRY_LIVENESS_H
#define HD_REGISTRY_LIVENESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/uuid.h"

#define LIVENESS_NAME 65 // longest worker name with the NUL

struct liveness_times {
    int64_t heartbeat_ms, lease_ms, margin_ms;
    int64_t lost_percent_max; // above that share at once nobody is lost
};
// A live worker as its row says.
struct liveness_row {
    const char *name;
    struct hd_uuid session;
    int64_t beats;
    bool suspect;
};
// What is known of it; ordered by name.
struct liveness_seen {
    char name[LIVENESS_NAME];
    struct hd_uuid session;
    int64_t beats;
    int64_t since_mono_ms; // the count was first seen at this value
};
struct liveness {
    struct liveness_seen *seen; // heap
    size_t n;
    int64_t tick_mono_ms; // of the last observation; 0: none
};
void liveness_init(struct liveness *live);
void liveness_release(struct liveness *live);
// Takes in all live rows (ordered by name, no doubles). `connected`: the bus is up now.
void liveness_observe(struct liveness *live, const struct liveness_times *times, const struct liveness_row *rows,
                      size_t n, bool connected, int64_t now_mono_ms);
// True only where the session is known to have been silent for the whole lease.
bool liveness_lease_over(const struct liveness *live, const struct liveness_times *times, const char *name,
                         struct hd_uuid session, int64_t beats, int64_t now_mono_ms);

enum liveness_verdict { LIVENESS_ALIVE, LIVENESS_SILENT, LIVENESS_EXPIRED };
struct liveness_decision {
    enum liveness_verdict *verdicts; // one a row
    size_t silent;                   // for two heartbeats or longer, the expired included
    size_t expired;                  // whose lease and margin are over, spared ones included
    bool alarm;                      // too many are silent: none is lost, the expired are SILENT instead
};
// Decides on the rows that were just observed.
struct liveness_decision liveness_decide(const struct liveness *live, const struct liveness_times *times,
                                         const struct liveness_row *rows, size_t n, int64_t now_mono_ms,
                                         struct hd_arena *arena);
// More than `percent` of `live` and more than two.
bool liveness_too_many(size_t silent, size_t live, int64_t percent);

#endif
