// The state folder: made where it is missing, locked, with the session's id.
#ifndef HD_AGENT_STATE_H
#define HD_AGENT_STATE_H

#include "base/uuid.h"

struct state {
    char path[4096]; // absolute
    int dir_fd, lock_fd, spool_fd;
    struct hd_uuid session;
};
enum hd_status state_open(struct state *state, const char *path, struct hd_now now, struct hd_rng *rng,
                          struct hd_err *err) HD_MUST_USE;
void state_close(struct state *state);
// Reads of the spool file of an attempt; a log_read_fn with the state as its first argument.
enum hd_status state_read_spool(void *state, const char *attempt, uint64_t from, void *ret, size_t len,
                                size_t *ret_len);
// Removes the spool files of which `held` says no.
void state_sweep_spools(const struct state *state, bool (*held)(void *arg, struct hd_uuid attempt), void *arg);

#endif
