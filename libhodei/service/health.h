// /livez, /readyz and /metrics on the loop of the process, without a thread: that /livez answers proves that the loop turns.
//
// One descriptor to watch for reading; health_turn when it is ready. The source must live as long as the health.
#ifndef HD_SERVICE_HEALTH_H
#define HD_SERVICE_HEALTH_H

#include "base/buf.h"

struct health_source {
    bool (*ready)(const void *arg, struct hd_buf *why); // false: `why` has lines that say it
    void (*metrics)(const void *arg, struct hd_buf *out);
    const void *arg;
};
struct health;
// Listens on host:port; HD_INVALID names what is wrong.
enum hd_status health_new(const char *address, const struct health_source *source, struct hd_err *err,
                          struct health **ret) HD_MUST_USE;
void health_free(struct health *health); // NULL: does nothing
int health_fd(const struct health *health);
void health_turn(struct health *health);

#endif
