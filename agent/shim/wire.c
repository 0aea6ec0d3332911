// The agent's connection: one at a time, the newest. Frames are a 4-byte little-endian length and a ShimMessage.
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/shim/shim.h"
#include "base/log.h"
#include "base/pb.h"

#define FRAME_MAX (4u << 20)
#define OUT_MAX (8u << 20) // not read by the agent; what changes meanwhile is said once it reads again
#define STATES_AT_ONCE 4096

void wire_close(struct shim *shim) {
    if (shim->conn.fd < 0)
        return;
    close(shim->conn.fd);
    shim->conn.fd = -1;
    shim->conn_wants_out = false;
    hd_buf_clear(&shim->in);
    hd_buf_clear(&shim->out);
}

// --- out -------------------------------------------------------------------------------------------------------------

static Hodei__V1__ShimState *state_of(struct hd_arena *arena, const struct job *job) {
    Hodei__V1__ShimState *state = HD_NEW(arena, Hodei__V1__ShimState);
    *state = (Hodei__V1__ShimState)HODEI__V1__SHIM_STATE__INIT;
    state->attempt = (char *)(uintptr_t)job->attempt;
    state->started = job->started;
    state->ended = job->phase == PHASE_ENDED;
    state->started_at_ms = job->started_at_ms;
    state->log_frames = job->log_frames;
    state->log_bytes = job->log_bytes;
    state->acked_frame = job->acked_frame;
    state->acked_byte = job->acked_byte;
    state->dropped_frame = job->backlog.dropped_frame;
    state->dropped_byte = job->backlog.dropped_byte;
    state->pid = job->pid;
    state->usage = HD_NEW(arena, Hodei__V1__Usage);
    *state->usage = (Hodei__V1__Usage)HODEI__V1__USAGE__INIT;
    state->usage->user_ms = job->user_us / 1000;
    state->usage->system_ms = job->system_us / 1000;
    state->usage->max_rss_bytes = job->max_rss_bytes;
    if (!state->ended)
        return state;
    state->state = job->state;
    state->exit_code = job->exit_code;
    state->signal = job->signal;
    state->cause = job->cause;
    state->message = job->message ? job->message : (char *)(uintptr_t) "";
    state->ended_at_ms = job->ended_at_ms;
    state->outputs = job->outputs;
    state->n_outputs = job->n_outputs;
    return state;
}

static void put(struct shim *shim, const Hodei__V1__ShimMessage *msg) {
    uint8_t *data;
    size_t len;
    hd_pb_pack(&shim->scratch, &msg->base, &data, &len);
    const uint8_t head[4] = {(uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16), (uint8_t)(len >> 24)};
    hd_buf_add(&shim->out, head, sizeof(head));
    hd_buf_add(&shim->out, data, len);
}

static void want_out(struct shim *shim, bool wanted) {
    struct epoll_event event = {.events = wanted ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = &shim->conn};
    if (shim->conn_wants_out == wanted)
        return;
    shim->conn_wants_out = wanted;
    (void)epoll_ctl(shim->epoll_fd, EPOLL_CTL_MOD, shim->conn.fd, &event);
}

static void write_some(struct shim *shim) {
    while (shim->conn.fd >= 0 && shim->out.len) {
        ssize_t n = send(shim->conn.fd, shim->out.data, shim->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            wire_close(shim);
            return;
        }
        hd_buf_consume(&shim->out, (size_t)n);
    }
    if (shim->conn.fd >= 0)
        want_out(shim, shim->out.len > 0);
}

void wire_announce(struct shim *shim) {
    while (shim->conn.fd >= 0 && shim->dirty && shim->out.len < OUT_MAX) {
        Hodei__V1__ShimMessage msg = HODEI__V1__SHIM_MESSAGE__INIT;
        msg.states = HD_NEW_ARRAY(&shim->scratch, STATES_AT_ONCE, Hodei__V1__ShimState *);
        size_t bytes = 0; // outputs may be large
        for (struct job *job; (job = shim->dirty) && msg.n_states < STATES_AT_ONCE && bytes < SHIM_OUTPUTS_MAX;) {
            shim->dirty = job->next_dirty;
            job->next_dirty = NULL;
            job->dirty = false;
            msg.states[msg.n_states++] = state_of(&shim->scratch, job);
            bytes += job->n_outputs ? protobuf_c_message_get_packed_size(&msg.states[msg.n_states - 1]->base) : 0;
        }
        put(shim, &msg);
    }
    if (shim->conn.fd >= 0 && shim->out.len)
        write_some(shim);
}

static void say_hello(struct shim *shim) {
    Hodei__V1__ShimMessage msg = HODEI__V1__SHIM_MESSAGE__INIT;
    size_t pos = 0;
    msg.hello = true;
    msg.shim = shim->id;
    msg.states = HD_NEW_ARRAY(&shim->scratch, shim->jobs.n, Hodei__V1__ShimState *);
    for (const struct job *job; (job = hd_map_next(&shim->jobs, &pos, NULL));) {
        Hodei__V1__ShimState *state = msg.states[msg.n_states++] = state_of(&shim->scratch, job);
        if (!state->n_outputs)
            continue;
        Hodei__V1__ShimMessage own = HODEI__V1__SHIM_MESSAGE__INIT; // said before: all of them would not fit
        own.states = &state;
        own.n_states = 1;
        put(shim, &own);
        state->n_outputs = 0;
    }
    put(shim, &msg);
    write_some(shim);
}

// --- in --------------------------------------------------------------------------------------------------------------

static void take_message(struct shim *shim, struct batch *batch, const Hodei__V1__ShimMessage *msg) {
    if (msg->lease_until_ms > shim->lease_until_ms)
        shim->lease_until_ms = msg->lease_until_ms;
    if (msg->host)
        host_take(shim, msg->host);
    if (msg->spool_max_bytes)
        shim->spools.max_bytes = msg->spool_max_bytes;
    for (size_t i = 0; i < msg->n_jobs; i++)
        shim_take(shim, batch, msg->jobs[i]);
    for (size_t i = 0; i < msg->n_cancels; i++) {
        struct job *job = shim_job(shim, msg->cancels[i]->attempt);
        if (job)
            job_stop(job, STOP_CANCEL);
    }
    for (size_t i = 0; i < msg->n_forgets; i++) {
        struct job *job = shim_job(shim, msg->forgets[i]->attempt);
        if (job)
            job_forget(job);
    }
    for (size_t i = 0; i < msg->n_log_acks; i++) {
        struct job *job = shim_job(shim, msg->log_acks[i]->attempt);
        if (job)
            spool_acked(job, msg->log_acks[i]->next_frame, msg->log_acks[i]->next_byte);
    }
    shim->shutdown |= msg->shutdown;
}

// False: it is not valid.
static bool take_frame(struct shim *shim, const void *data, size_t len) {
    struct batch *batch = hd_calloc(1, sizeof(*batch));
    struct hd_err err = {0};
    ProtobufCMessage *msg;
    hd_arena_init(&batch->arena);
    batch->refs = 1;
    bool valid = hd_pb_unpack(&batch->arena, &hodei__v1__shim_message__descriptor, data, len, &err, &msg) == HD_OK;
    if (valid)
        take_message(shim, batch, (const Hodei__V1__ShimMessage *)msg);
    else
        hd_warn("the agent says what is not valid: %s", err.text);
    if (--batch->refs == 0) {
        hd_arena_release(&batch->arena);
        free(batch);
    }
    return valid;
}

static size_t frame_len(const struct hd_buf *in) {
    const uint8_t *p = (const uint8_t *)in->data;
    return p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
}

static void take_frames(struct shim *shim) {
    while (shim->conn.fd >= 0 && shim->in.len >= 4) {
        size_t len = frame_len(&shim->in);
        if (len <= FRAME_MAX && shim->in.len < 4 + len)
            return;
        if (len > FRAME_MAX || !take_frame(shim, shim->in.data + 4, len)) {
            wire_close(shim);
            return;
        }
        hd_buf_consume(&shim->in, 4 + len);
    }
}

void wire_ready(struct source *source, uint32_t events) {
    struct shim *shim = (struct shim *)((char *)source - offsetof(struct shim, conn));
    if (source->fd < 0)
        return;
    if (events & EPOLLOUT)
        write_some(shim);
    if (source->fd < 0 || !(events & ~(uint32_t)EPOLLOUT))
        return;
    hd_buf_reserve(&shim->in, 64u << 10);
    ssize_t n = recv(source->fd, shim->in.data + shim->in.len, 64u << 10, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        wire_close(shim);
        return;
    }
    shim->in.len += (size_t)n;
    take_frames(shim);
}

// Whoever may write in the state folder is the agent; the newest is the one that lives.
void wire_accept(struct source *source, uint32_t events) {
    struct shim *shim = (struct shim *)((char *)source - offsetof(struct shim, listener));
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);
    (void)events;
    int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || (peer.uid != geteuid() && peer.uid != 0)) {
        hd_warn("a connection of user %u is refused", (unsigned)peer.uid);
        close(fd);
        return;
    }
    wire_close(shim);
    shim->conn.ready = wire_ready;
    if (shim_watch(shim, &shim->conn, fd, EPOLLIN) != HD_OK) {
        close(fd);
        return;
    }
    say_hello(shim);
}
