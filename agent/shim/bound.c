// What the spools may take on the disk.
//
// While the worker has its lease somebody takes the logs: a job that is SHIM_SPOOL_AHEAD before what is stored is not read from, so
// that nothing is lost. Once the lease is over nobody does, perhaps for hours, and a job must not stand still for that: then all
// spools together may take what the agent said, and of the longest the oldest pieces are dropped. The agent hears up to where, and
// tells it as a gap. Where a file system cannot give back a part of a file, a full spool holds its job up instead.
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "agent/shim/shim.h"
#include "base/log.h"

#define DROP_TO(max) ((max) - (max) / 16) // so that not every frame looks for the longest

static bool cut_off(const struct shim *shim) {
    return shim->lease_until_ms && shim->now.mono_ms >= shim->lease_until_ms && shim->spools.max_bytes;
}

static uint64_t gone_byte(const struct job *job) {
    uint64_t dropped = job->backlog.dropped_byte;
    return dropped > job->acked_byte ? dropped : job->acked_byte;
}

static void count(struct job *job) {
    uint64_t waits = job->log_bytes - gone_byte(job);
    job->shim->spools.bytes += waits - job->backlog.counted; // wraps to a difference
    job->backlog.counted = waits;
}

bool spool_full(const struct job *job) {
    const struct spools *spools = &job->shim->spools;
    if (cut_off(job->shim))
        return spools->bytes > spools->max_bytes;
    return job->log_bytes - gone_byte(job) > SHIM_SPOOL_AHEAD;
}

// --- marks -----------------------------------------------------------------------------------------------------------

static void pass_marks(struct backlog *log, uint64_t byte) {
    while (log->n && log->marks[log->first].byte <= byte) {
        log->first++;
        log->n--;
    }
}

static void add_mark(struct job *job) {
    struct backlog *log = &job->backlog;
    uint64_t last = log->n ? log->marks[log->first + log->n - 1].byte : gone_byte(job);
    if (job->log_bytes < last + SPOOL_PIECE)
        return;
    if (log->first + log->n == log->cap && log->first >= log->cap / 2 && log->first) {
        memmove(log->marks, log->marks + log->first, log->n * sizeof(*log->marks));
        log->first = 0;
    } else if (log->first + log->n == log->cap) {
        size_t cap = log->cap ? log->cap * 2 : 16;
        struct spool_mark *marks = realloc(log->marks, cap * sizeof(*marks));
        if (!marks)
            abort();
        log->marks = marks;
        log->cap = cap;
    }
    log->marks[log->first + log->n++] = (struct spool_mark){job->log_frames, job->log_bytes};
}

// --- dropping --------------------------------------------------------------------------------------------------------

static struct job *longest(const struct shim *shim) {
    struct job *job, *found = NULL;
    for (size_t pos = 0; (job = hd_map_next(&shim->jobs, &pos, NULL));)
        if (job->backlog.n && (!found || job->backlog.counted > found->backlog.counted))
            found = job;
    return found;
}

// Gives the bytes back to the disk. The agent reads under a shared lock, so that it sees all of a piece or nothing; while it
// does, the piece is dropped a little later.
static bool make_hole(struct job *job, uint64_t byte) {
    int fd = job->spool_fd >= 0 ? job->spool_fd : open(job->spool, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    bool done = false;
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        done = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)job->punched_byte,
                         (off_t)(byte - job->punched_byte)) == 0;
        if (!done && (errno == EOPNOTSUPP || errno == ENOSYS)) {
            job->shim->spools.no_holes = true;
            hd_warn("the file system of %s cannot give back a part of a file: while the worker is cut off, jobs stand "
                    "still "
                    "once the spools are full",
                    job->spool);
        }
        (void)flock(fd, LOCK_UN);
    }
    if (fd >= 0 && fd != job->spool_fd)
        close(fd);
    if (done)
        job->punched_byte = byte;
    return done;
}

// At least one piece, and as many as it takes.
static bool drop_from(struct job *job) {
    const struct spools *spools = &job->shim->spools;
    struct backlog *log = &job->backlog;
    uint64_t excess = spools->bytes - DROP_TO(spools->max_bytes), from = gone_byte(job);
    size_t i = 0;
    while (i + 1 < log->n && log->marks[log->first + i].byte - from < excess)
        i++;
    struct spool_mark mark = log->marks[log->first + i];
    if (!make_hole(job, mark.byte))
        return false;
    log->dropped_frame = mark.frame;
    log->dropped_byte = mark.byte;
    pass_marks(log, mark.byte);
    count(job);
    job_dirty(job);
    return true;
}

static void hold_bound(struct shim *shim) {
    struct spools *spools = &shim->spools;
    if (!cut_off(shim) || spools->bytes <= spools->max_bytes)
        return;
    while (!spools->no_holes && spools->bytes > DROP_TO(spools->max_bytes)) {
        struct job *job = longest(shim);
        if (!job || !drop_from(job))
            return;
    }
}

// --- what changes ----------------------------------------------------------------------------------------------------

void spool_grew(struct job *job) {
    add_mark(job);
    count(job);
    hold_bound(job->shim);
}

void spool_shrank(struct job *job) {
    pass_marks(&job->backlog, gone_byte(job));
    count(job);
}

void spool_forgotten(struct job *job) {
    job->shim->spools.bytes -= job->backlog.counted;
    job->backlog.counted = 0;
}

// The lease has ended or is there again, or there is room again: jobs that stood still for the one rule go on by the other.
void spools_tend(struct shim *shim) {
    struct spools *spools = &shim->spools;
    bool cut = cut_off(shim), changed = cut != spools->was_cut;
    spools->was_cut = cut;
    if (changed && cut)
        hd_warn("the worker's lease is over: output of jobs is kept up to %llu MiB, the oldest is dropped then",
                (unsigned long long)(spools->max_bytes >> 20));
    if (cut)
        hold_bound(shim);
    if (!spools->paused || (!changed && !cut))
        return;
    spools->paused = false;
    for (struct job *job = shim->active.head; job; job = job->next)
        if (spool_full(job))
            spools->paused = true;
        else
            pipes_resume(job);
}

int64_t spools_due(const struct shim *shim) {
    return shim->spools.paused && !shim->spools.was_cut && shim->lease_until_ms ? shim->lease_until_ms : SHIM_NEVER;
}
