// Who may hold a connection, and for how long.
//
// civetweb gives every connection a thread, so whoever is slow would keep one from everybody else. A connection stands here from accept()
// to its close, with what it is doing:
//
// - An address that has `per_address` of them gets no more. Addresses of this machine and of trusted proxies are not counted: they
//   speak for many.
// - A body, and an answer that is being read, must move at CONNS_BYTES_PER_S after a first CONNS_GRACE_MS; a TLS handshake and a head must
//   be there within CONNS_GRACE_MS. What is past its time is cut off.
// - While fewer than a quarter of the threads is free, each new connection takes the place of the one that has made no progress for longest.
//   Requests that the platform is working on are never cut off.
//
// Threads: civetweb's that accepts, its workers, and the loop that sweeps, so there is a mutex; it is held for a look through the table. A
// cut is a shutdown of the socket, under the mutex, while it is not closed yet; so it cannot hit another file. Every function takes
// NULL for `conns` (a gateway in a test has none) and does nothing.
#ifndef HD_GATEWAY_CONNS_H
#define HD_GATEWAY_CONNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONNS_GRACE_MS 10000
#define CONNS_BYTES_PER_S 32768
#define CONNS_LAST_MS 3000 // after the first cut, to say why

enum conn_phase {
    CONN_OPENING, // TLS handshake, request line, headers
    CONN_IDLE,    // between two requests
    CONN_BODY,
    CONN_WORKING, // on our side
    CONN_SENDING,
};

struct conns_counts {
    int64_t refused; // since their address had too many
    int64_t slow;    // cut off past their time
    int64_t shed;    // cut off to make room
};

struct sockaddr;
struct conns;
// `seats` is the number of threads, per_address 0: no limit. Copies `trusted` (addresses, separated by commas). Never NULL.
struct conns *conns_new(unsigned seats, unsigned per_address, const char *trusted);
void conns_free(struct conns *conns);

// A connection that was accepted. False: it must be closed at once.
bool conns_admit(struct conns *conns, int fd, const struct sockaddr *from, int64_t now_mono_ms);
// `handle` is whoever serves it, from now on its name here. By its socket, or by the other end.
void conns_bind_fd(struct conns *conns, const void *handle, int fd);
void conns_bind_peer(struct conns *conns, const void *handle, const char *address, int port);
// It does that now. A new phase has its grace; within one, `bytes` that came (of a body) or are to go (of an answer) give time for as many.
void conns_phase(struct conns *conns, const void *handle, enum conn_phase phase, int64_t bytes, int64_t now_mono_ms);
bool conns_is_cut(struct conns *conns, const void *handle);
void conns_left(struct conns *conns, const void *handle); // before its socket is closed
// No more are accepted (the listening socket is shut down). Returns when every connection has its answer and none is being asked on, at
// that time at the latest.
void conns_finish(struct conns *conns, int64_t until_mono_ms);
void conns_sweep(struct conns *conns, int64_t now_mono_ms);
struct conns_counts conns_counts(struct conns *conns);
unsigned conns_open(struct conns *conns);

// Which table hears of what civetweb accepts. There is no call for that in civetweb, so accept() stands in conns.c, before libc's.
void conns_listen(struct conns *conns); // NULL: none

#endif
