#include "services/api-gateway/conns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/uuid.h"
#include "services/api-gateway/rate.h"

#define QUEUED 64 // accepted and not with a thread yet: civetweb's queue holds 20

struct conn {
    bool open;
    int fd, port;
    char address[INET6_ADDRSTRLEN];
    bool counted; // for its address
    const void *handle;
    enum conn_phase phase;
    int64_t since_ms, deadline_ms; // deadline INT64_MAX: none
    int64_t cut_ms;                // 0: not cut
};
struct conns {
    pthread_mutex_t mutex;
    pthread_cond_t changed; // one has left, or has had its answer
    atomic_int listener;    // what accept() was called with, -1: not yet
    unsigned seats, per_address;
    char trusted[1024];
    struct conns_counts counts;
    size_t n; // of the table
    struct conn table[];
};

struct conns *conns_new(unsigned seats, unsigned per_address, const char *trusted) {
    size_t n = seats + QUEUED;
    struct conns *conns = hd_calloc(1, sizeof(*conns) + n * sizeof(conns->table[0]));

    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&conns->mutex, NULL);
    pthread_cond_init(&conns->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    atomic_store(&conns->listener, -1);
    conns->seats = seats;
    conns->per_address = per_address;
    conns->n = n;
    hd_strlcpy(conns->trusted, trusted, sizeof(conns->trusted));
    return conns;
}

void conns_free(struct conns *conns) {
    if (!conns)
        return;
    pthread_cond_destroy(&conns->changed);
    pthread_mutex_destroy(&conns->mutex);
    free(conns);
}

// --- with the mutex held ---------------------------------------------------------------------------------------------

static struct conn *of_handle(struct conns *conns, const void *handle) {
    for (size_t i = 0; i < conns->n; i++)
        if (conns->table[i].open && conns->table[i].handle == handle)
            return &conns->table[i];
    return NULL;
}

static void cut(struct conn *conn, int64_t now) {
    bool can_answer = conn->phase == CONN_BODY && !conn->cut_ms; // what has come may still be read, and answered

    shutdown(conn->fd, can_answer || conn->phase == CONN_IDLE ? SHUT_RD : SHUT_RDWR);
    conn->deadline_ms = now + CONNS_LAST_MS;
    conn->cut_ms = now;
}

static bool may_be_cut(const struct conn *conn) {
    return conn->open && !conn->cut_ms && conn->phase != CONN_WORKING;
}

static void make_room(struct conns *conns, int64_t now) {
    struct conn *stale = NULL;
    unsigned held = 0;

    for (size_t i = 0; i < conns->n; i++) {
        struct conn *conn = &conns->table[i];
        held += conn->open && !conn->cut_ms;
        if (may_be_cut(conn) && (!stale || conn->since_ms < stale->since_ms))
            stale = conn;
    }
    if (!stale || held < conns->seats - conns->seats / 4)
        return;
    cut(stale, now);
    conns->counts.shed++;
}

static unsigned held_by(const struct conns *conns, const char *address) {
    unsigned held = 0;

    for (size_t i = 0; i < conns->n; i++)
        held += conns->table[i].open && !conns->table[i].cut_ms && hd_streq(conns->table[i].address, address);
    return held;
}

// The other end as text. An address of this machine is no stranger's.
static bool read_peer(const struct sockaddr *from, struct conn *conn) {
    const struct sockaddr_in *four = (const void *)from;
    const struct sockaddr_in6 *six = (const void *)from;
    bool is_six = from->sa_family == AF_INET6;

    conn->port = ntohs(is_six ? six->sin6_port : four->sin_port);
    inet_ntop(from->sa_family, is_six ? (const void *)&six->sin6_addr : (const void *)&four->sin_addr, conn->address,
              sizeof(conn->address));
    return is_six ? !IN6_IS_ADDR_LOOPBACK(&six->sin6_addr) : ntohl(four->sin_addr.s_addr) >> 24 != IN_LOOPBACKNET;
}

static struct conn *free_place(struct conns *conns) {
    for (size_t i = 0; i < conns->n; i++)
        if (!conns->table[i].open)
            return &conns->table[i];
    return NULL;
}

static bool admit(struct conns *conns, struct conn *one, int64_t now) {
    struct conn *place = free_place(conns);
    bool too_many = one->counted && conns->per_address && held_by(conns, one->address) >= conns->per_address;

    conns->counts.refused += too_many || !place;
    if (too_many || !place)
        return false;
    make_room(conns, now);
    *place = *one;
    return true;
}

// --- from outside ----------------------------------------------------------------------------------------------------

bool conns_admit(struct conns *conns, int fd, const struct sockaddr *from, int64_t now_mono_ms) {
    struct conn one = {.open = true, .fd = fd, .since_ms = now_mono_ms, .deadline_ms = now_mono_ms + CONNS_GRACE_MS};

    if (!conns || (from->sa_family != AF_INET && from->sa_family != AF_INET6))
        return true;
    one.counted = read_peer(from, &one) && !rate_listed(conns->trusted, one.address);
    pthread_mutex_lock(&conns->mutex);
    bool yes = admit(conns, &one, now_mono_ms);
    pthread_mutex_unlock(&conns->mutex);
    return yes;
}

void conns_bind_fd(struct conns *conns, const void *handle, int fd) {
    if (!conns)
        return;
    pthread_mutex_lock(&conns->mutex);
    for (size_t i = 0; i < conns->n; i++)
        if (conns->table[i].open && conns->table[i].fd == fd)
            conns->table[i].handle = handle;
    pthread_mutex_unlock(&conns->mutex);
}

void conns_bind_peer(struct conns *conns, const void *handle, const char *address, int port) {
    if (!conns)
        return;
    pthread_mutex_lock(&conns->mutex);
    for (size_t i = 0; !of_handle(conns, handle) && i < conns->n; i++)
        if (conns->table[i].open && conns->table[i].port == port && hd_streq(conns->table[i].address, address))
            conns->table[i].handle = handle;
    pthread_mutex_unlock(&conns->mutex);
}

void conns_phase(struct conns *conns, const void *handle, enum conn_phase phase, int64_t bytes, int64_t now_mono_ms) {
    bool timed = phase == CONN_BODY || phase == CONN_SENDING || phase == CONN_OPENING;

    if (!conns)
        return;
    pthread_mutex_lock(&conns->mutex);
    struct conn *conn = of_handle(conns, handle);
    // What had come whole before the cut is still answered.
    if (conn && (!conn->cut_ms || phase == CONN_WORKING || phase == CONN_SENDING)) {
        int64_t from = conn->phase == phase && timed ? conn->deadline_ms : now_mono_ms + CONNS_GRACE_MS;
        conn->phase = phase;
        conn->since_ms = now_mono_ms;
        conn->deadline_ms = timed ? from + bytes * 1000 / CONNS_BYTES_PER_S : INT64_MAX;
    }
    if (phase == CONN_IDLE)
        pthread_cond_broadcast(&conns->changed);
    pthread_mutex_unlock(&conns->mutex);
}

bool conns_is_cut(struct conns *conns, const void *handle) {
    if (!conns)
        return false;
    pthread_mutex_lock(&conns->mutex);
    const struct conn *conn = of_handle(conns, handle);
    bool is = conn && conn->cut_ms;
    pthread_mutex_unlock(&conns->mutex);
    return is;
}

void conns_left(struct conns *conns, const void *handle) {
    if (!conns)
        return;
    pthread_mutex_lock(&conns->mutex);
    struct conn *conn = of_handle(conns, handle);
    if (conn)
        *conn = (struct conn){0};
    pthread_cond_broadcast(&conns->changed);
    pthread_mutex_unlock(&conns->mutex);
}

static bool all_answered(const struct conns *conns) {
    for (size_t i = 0; i < conns->n; i++)
        if (conns->table[i].open && !conns->table[i].cut_ms && conns->table[i].phase != CONN_IDLE)
            return false;
    return true;
}

void conns_finish(struct conns *conns, int64_t until_mono_ms) {
    struct timespec until = {.tv_sec = until_mono_ms / 1000, .tv_nsec = until_mono_ms % 1000 * 1000000};
    int late = 0;

    if (!conns)
        return;
    pthread_mutex_lock(&conns->mutex);
    if (atomic_load(&conns->listener) >= 0)
        shutdown(atomic_load(&conns->listener),
                 SHUT_RD); // whoever connects now is refused, and can go to another gateway
    while (!late && !all_answered(conns))
        late = pthread_cond_timedwait(&conns->changed, &conns->mutex, &until);
    pthread_mutex_unlock(&conns->mutex);
}

void conns_sweep(struct conns *conns, int64_t now_mono_ms) {
    if (!conns)
        return;
    pthread_mutex_lock(&conns->mutex);
    for (size_t i = 0; i < conns->n; i++) {
        struct conn *conn = &conns->table[i];
        if (!conn->open || now_mono_ms < conn->deadline_ms)
            continue;
        conns->counts.slow += !conn->cut_ms;
        cut(conn, now_mono_ms);
    }
    pthread_mutex_unlock(&conns->mutex);
}

struct conns_counts conns_counts(struct conns *conns) {
    struct conns_counts counts = {0};

    if (!conns)
        return counts;
    pthread_mutex_lock(&conns->mutex);
    counts = conns->counts;
    pthread_mutex_unlock(&conns->mutex);
    return counts;
}

unsigned conns_open(struct conns *conns) {
    unsigned open = 0;

    if (!conns)
        return 0;
    pthread_mutex_lock(&conns->mutex);
    for (size_t i = 0; i < conns->n; i++)
        open += conns->table[i].open;
    pthread_mutex_unlock(&conns->mutex);
    return open;
}

// --- accept ----------------------------------------------------------------------------------------------------------

// The one thing of a process that a process has one of.
static _Atomic(struct conns *) listening;

void conns_listen(struct conns *conns) {
    atomic_store(&listening, conns);
}

// Of the whole process, and before libc's: only civetweb calls it here (the rest takes accept4), and goes on when it fails.
int accept(int fd, struct sockaddr *addr, socklen_t *len);
int accept(int fd, struct sockaddr *addr, socklen_t *len) {
    struct conns *conns = atomic_load(&listening);

    if (conns)
        atomic_store(&conns->listener, fd);
    int got = (int)syscall(SYS_accept4, fd, addr, len, SOCK_CLOEXEC);

    if (got < 0 || !conns || !addr || conns_admit(conns, got, addr, hd_now_read().mono_ms))
        return got;
    close(got);
    errno = ECONNABORTED;
    return -1;
}
