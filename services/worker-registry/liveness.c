#include "services/worker-registry/liveness.h"

#include "base/buf.h"

// A tick that comes later than this says that the process or its database stood still.
#define STALL_MIN_MS 3000
// So few may always be lost: a share of three workers says nothing.
#define LOST_ALWAYS_ALLOWED 2

void liveness_init(struct liveness *live) {
    *live = (struct liveness){0};
}

void liveness_release(struct liveness *live) {
    free(live->seen);
    *live = (struct liveness){0};
}

static struct liveness_seen *find(const struct liveness *live, const char *name) {
    size_t low = 0, high = live->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int order = strcmp(name, live->seen[mid].name);
        if (order == 0)
            return &live->seen[mid];
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

static bool same_life(const struct liveness_seen *seen, struct hd_uuid session, int64_t beats) {
    return hd_uuid_eq(seen->session, session) && seen->beats == beats;
}

void liveness_observe(struct liveness *live, const struct liveness_times *times, const struct liveness_row *rows,
                      size_t n, bool connected, int64_t now_mono_ms) {
    int64_t stall_ms = times->margin_ms > STALL_MIN_MS ? times->margin_ms : STALL_MIN_MS;
    bool cut_off = !connected || live->tick_mono_ms == 0 || now_mono_ms - live->tick_mono_ms > stall_ms;
    struct liveness_seen *next = malloc((n ? n : 1) * sizeof(*next));

    if (!next)
        abort();
    for (size_t i = 0; i < n; i++) {
        const struct liveness_seen *old = find(live, rows[i].name);
        hd_strlcpy(next[i].name, rows[i].name, sizeof(next[i].name));
        next[i].session = rows[i].session;
        next[i].beats = rows[i].beats;
        next[i].since_mono_ms =
            old && !cut_off && same_life(old, rows[i].session, rows[i].beats) ? old->since_mono_ms : now_mono_ms;
    }
    free(live->seen);
    live->seen = next;
    live->n = n;
    live->tick_mono_ms = now_mono_ms;
}

bool liveness_lease_over(const struct liveness *live, const struct liveness_times *times, const char *name,
                         struct hd_uuid session, int64_t beats, int64_t now_mono_ms) {
    const struct liveness_seen *seen = find(live, name);
    return seen && same_life(seen, session, beats) && now_mono_ms - seen->since_mono_ms >= times->lease_ms;
}

bool liveness_too_many(size_t silent, size_t live, int64_t percent) {
    return silent > LOST_ALWAYS_ALLOWED && (int64_t)silent * 100 > (int64_t)live * percent;
}

struct liveness_decision liveness_decide(const struct liveness *live, const struct liveness_times *times,
                                         const struct liveness_row *rows, size_t n, int64_t now_mono_ms,
                                         struct hd_arena *arena) {
    struct liveness_decision ret = {.verdicts = HD_NEW_ARRAY(arena, n ? n : 1, enum liveness_verdict)};

    for (size_t i = 0; i < n; i++) {
        const struct liveness_seen *seen = find(live, rows[i].name);
        int64_t silent_ms = seen ? now_mono_ms - seen->since_mono_ms : 0;
        ret.silent += silent_ms >= 2 * times->heartbeat_ms;
        if (silent_ms >= times->lease_ms + times->margin_ms) {
            ret.verdicts[i] = LIVENESS_EXPIRED;
            ret.expired++;
        } else if (silent_ms >= 2 * times->heartbeat_ms && !rows[i].suspect) {
            ret.verdicts[i] = LIVENESS_SILENT;
        }
    }
    // By all that are silent: those of one fault expire within a few heartbeats, not in one sweep.
    ret.alarm = ret.expired > 0 && liveness_too_many(ret.silent, n, times->lost_percent_max);
    for (size_t i = 0; ret.alarm && i < n; i++)
        if (ret.verdicts[i] == LIVENESS_EXPIRED)
            ret.verdicts[i] = rows[i].suspect ? LIVENESS_ALIVE : LIVENESS_SILENT;
    return ret;
}
