#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "agent/shim/shim.h"
#include "hodei/v1/log.pb-c.h"

#define FRAMES_AT_ONCE 8 // of one pipe in one turn, so that a loud job does not starve the others

void pipe_close(struct job_pipe *pipe) {
    if (pipe->source.fd < 0)
        return;
    // Not by closing it alone: a child that is about to close its copies, at its exec, would keep it in the set.
    if (!pipe->paused)
        (void)epoll_ctl(pipe->job->shim->epoll_fd, EPOLL_CTL_DEL, pipe->source.fd, NULL);
    close(pipe->source.fd);
    pipe->source.fd = -1;
    pipe->paused = false;
}

static void pipe_set_paused(struct job_pipe *pipe, bool paused) {
    if (pipe->source.fd < 0 || pipe->paused == paused)
        return;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &pipe->source};
    if (epoll_ctl(pipe->job->shim->epoll_fd, paused ? EPOLL_CTL_DEL : EPOLL_CTL_ADD, pipe->source.fd, &event) == 0)
        pipe->paused = paused;
}

static enum hd_status spool_open(struct job *job) {
    if (job->spool_fd >= 0)
        return HD_OK;
    job->spool_fd = open(job->spool, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    job->spooled |= job->spool_fd >= 0;
    return job->spool_fd >= 0 ? HD_OK : HD_INTERNAL;
}

// Takes whole frames only: one that does not fit on the disk is cut off again.
static enum hd_status spool_write(struct job *job, const struct iovec *parts, size_t len) {
    HD_TRY(spool_open(job));
    ssize_t n = writev(job->spool_fd, parts, 2);
    if (n == (ssize_t)len) {
        job->log_frames++;
        job->log_bytes += len;
        spool_grew(job);
        job_dirty(job);
        return HD_OK;
    }
    if (n >= 0)
        errno = ENOSPC;
    int saved = errno;
    (void)!ftruncate(job->spool_fd, (off_t)job->log_bytes);
    errno = saved;
    return HD_INTERNAL;
}

enum hd_status spool_add(struct job *job, uint8_t stream, const void *data, size_t len) {
    struct spool_header header = {.stream = stream, .len = (uint32_t)len, .at_ms = job->shim->now.wall_ms};
    struct iovec parts[2] = {{&header, sizeof(header)}, {(void *)(uintptr_t)data, len}};
    return spool_write(job, parts, sizeof(header) + len);
}

void spool_say(struct job *job, const char *fmt, ...) {
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    size_t len = (size_t)n < sizeof(line) - 1 ? (size_t)n : sizeof(line) - 2;
    line[len++] = '\n';
    // Best effort: the same words are in the state's message.
    (void)!spool_add(job, HODEI__V1__LOG_STREAM__LOG_STREAM_SYSTEM, line, len);
}

bool pipe_read(struct job_pipe *pipe, unsigned frames) {
    struct job *job = pipe->job;
    struct shim *shim = job->shim;
    for (unsigned i = 0; i < frames && pipe->source.fd >= 0; i++) {
        ssize_t n = read(pipe->source.fd, shim->frame, SHIM_FRAME_DATA);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return false;
        if (n <= 0) {
            pipe_close(pipe);
            return false;
        }
        if (job->stop == STOP_SPOOL)
            continue; // read and dropped, so that the job is not held up in its last moments
        if (spool_add(job, pipe->stream, shim->frame, (size_t)n) != HD_OK) {
            free(job->message);
            HD_AUTO_BUF struct hd_buf text = {0};
            hd_buf_addf(&text, "cannot write its log to %s: %s", job->spool, strerror(errno));
            job->message = hd_buf_steal(&text);
            job_stop(job, STOP_SPOOL);
        }
    }
    return pipe->source.fd >= 0;
}

void pipe_ready(struct source *source, uint32_t events) {
    (void)events;
    struct job_pipe *pipe = (struct job_pipe *)source;
    struct job *job = pipe->job;
    if (source->fd < 0)
        return;
    pipe_read(pipe, FRAMES_AT_ONCE);
    if (source->fd < 0) {
        job_drained(job);
        return;
    }
    if (job->phase == PHASE_RUNNING && spool_full(job)) {
        job->shim->spools.paused = true;
        pipe_set_paused(&job->out[0], true);
        pipe_set_paused(&job->out[1], true);
    }
}

// What is committed is given back to the disk, in large pieces; a file system that cannot do it keeps it until the end.
static void punch(struct job *job) {
    if (job->spool_fd < 0 || job->acked_byte < job->punched_byte + SPOOL_PIECE)
        return;
    (void)!fallocate(job->spool_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)job->punched_byte,
                     (off_t)(job->acked_byte - job->punched_byte));
    job->punched_byte = job->acked_byte;
}

void spool_acked(struct job *job, uint64_t frame, uint64_t byte) {
    if (frame > job->log_frames || byte > job->log_bytes || frame <= job->acked_frame || byte <= job->acked_byte)
        return;
    job->acked_frame = frame;
    job->acked_byte = byte;
    punch(job);
    spool_shrank(job);
    if (!spool_full(job))
        pipes_resume(job);
}

void pipes_resume(struct job *job) {
    pipe_set_paused(&job->out[0], false);
    pipe_set_paused(&job->out[1], false);
}

void spool_close(struct job *job) {
    hd_close_fd(&job->spool_fd);
}
