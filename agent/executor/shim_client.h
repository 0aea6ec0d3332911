// The agent's end of the shim's socket: connects to the shim of the state folder, starts one where none listens.
//
// Frames are a 4-byte little-endian length and a ShimMessage, at most 4 MiB. Messages that would be larger are split. What the
// shim does not read is kept up to 64 MiB; beyond that, or at a frame that is not valid, the connection is dropped and made
// again: the shim's hello then says what it has.
#ifndef HD_AGENT_SHIM_CLIENT_H
#define HD_AGENT_SHIM_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/uuid.h"
#include "hodei/v1/shim.pb-c.h"

struct shim_client {
    int dir_fd;              // of the state folder; borrowed
    const char *state;       // its absolute path; borrowed
    const char *program;     // borrowed
    const char *const *args; // of one that is started, besides; NULL-terminated, borrowed
    int fd;                  // -1: not connected
    struct hd_buf in, out;
    size_t in_taken; // of `in`, given out by shim_client_next
    int64_t retry_ms;
    unsigned failures;
};

void shim_client_init(struct shim_client *client, int dir_fd, const char *state, const char *program,
                      const char *const *args);
void shim_client_release(struct shim_client *client); // the shim lives on
// Connects where that is due. True: a connection was made, and its hello will come.
bool shim_client_tick(struct shim_client *client, struct hd_now now);
// Reads and writes what can be. False: the connection is gone.
bool shim_client_io(struct shim_client *client, struct hd_now now);
bool shim_client_wants_out(const struct shim_client *client);
// The next message, in the arena; NULL: none is whole, or the connection was dropped.
const Hodei__V1__ShimMessage *shim_client_next(struct shim_client *client, struct hd_arena *arena);
void shim_client_send(struct shim_client *client, const Hodei__V1__ShimMessage *msg);

#endif
