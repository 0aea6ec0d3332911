// The loop: events, then what they lead to, then what the agent is told.
#include "agent/shim/shim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/names.h"

#define EVENTS_MAX 128
#define NICE_BEFORE 10
#define STARTS_A_TURN                                                                                                  \
    8 // a start blocks for part of a millisecond; what has ended meanwhile must not wait for all of them

enum hd_status shim_watch(struct shim *shim, struct source *source, int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = source};
    source->fd = fd;
    if (epoll_ctl(shim->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0)
        return HD_OK;
    source->fd = -1;
    return HD_INTERNAL;
}

void shim_stop_all(struct shim *shim) {
    shim->leave = true;
    while (shim->waiting.head)
        job_stop(shim->waiting.head, STOP_CANCEL);
    for (struct job *job = shim->active.head, *next; job; job = next) {
        next = job->next;
        job_stop(job, STOP_CANCEL);
    }
}

static void hear_signals(struct source *source, uint32_t events) {
    struct shim *shim = (struct shim *)((char *)source - offsetof(struct shim, signals));
    struct signalfd_siginfo info[16];
    (void)events;
    for (ssize_t n; (n = read(source->fd, info, sizeof(info))) > 0;)
        for (size_t i = 0; i < (size_t)n / sizeof(*info); i++) {
            if (info[i].ssi_signo == SIGCHLD)
                shim->reap = true;
            else if (!init_signal(shim, (int)info[i].ssi_signo) && info[i].ssi_signo != SIGHUP)
                shim_stop_all(shim);
        }
}

// What an earlier shim left: nobody knows its results any more, so its processes and workspaces go.
static void clean_up(struct shim *shim) {
    tree_kill_leftovers(shim->work);
    DIR *dir = opendir(shim->work);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            trash_add(shim, hd_arena_printf(&shim->scratch, "%s%s", shim->work, entry->d_name));
    if (dir)
        closedir(dir);
}

static int signals_open(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

// As many descriptors as we may have: a job takes up to five. Jobs get what we were given.
static void raise_files(struct shim *shim) {
    if (getrlimit(RLIMIT_NOFILE, &shim->files) != 0)
        abort();
    struct rlimit most = {shim->files.rlim_max, shim->files.rlim_max};
    (void)setrlimit(RLIMIT_NOFILE, &most);
}

// A little before the jobs, where we may: one that takes all of the machine must still be stopped.
static void raise_priority(struct shim *shim) {
    errno = 0;
    shim->nice = getpriority(PRIO_PROCESS, 0);
    if (errno == 0)
        (void)setpriority(PRIO_PROCESS, 0, shim->nice - NICE_BEFORE);
}

enum hd_status shim_init(struct shim *shim, const char *dir, int listen_fd, struct hd_err *err) {
    *shim = (struct shim){.state = dir, .listener.fd = -1, .signals.fd = -1, .conn.fd = -1};
    hd_arena_init(&shim->scratch);
    host_init(&shim->host);
    if (asprintf(&shim->work, "%s/" HD_STATE_WORKSPACES "/", dir) < 0 ||
        asprintf(&shim->kept, "%s/" HD_STATE_KEPT "/", dir) < 0)
        abort();
    raise_files(shim);
    raise_priority(shim);
    hd_random_bytes(&shim->id, sizeof(shim->id));
    shim->id |= 1; // never 0
    shim->now = hd_now_read();
    shim->idle_since_ms = shim->now.mono_ms;
    shim->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    shim->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int signals = signals_open();
    if (shim->epoll_fd < 0 || shim->null_fd < 0 || signals < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        return hd_err_set(err, HD_UNAVAILABLE, "the shim cannot start: %s", strerror(errno));
    shim->listener.ready = wire_accept;
    shim->signals.ready = hear_signals;
    if (fcntl(listen_fd, F_SETFD, FD_CLOEXEC) != 0 || fcntl(listen_fd, F_SETFL, O_NONBLOCK) != 0 ||
        shim_watch(shim, &shim->listener, listen_fd, EPOLLIN) != HD_OK ||
        shim_watch(shim, &shim->signals, signals, EPOLLIN) != HD_OK)
        return hd_err_set(err, HD_INVALID, "--listen-fd=%d is no listening socket: %s", listen_fd, strerror(errno));
    clean_up(shim);
    return HD_OK;
}

static void free_job(struct job *job) {
    free(job->workspace);
    free(job->spool);
    free(job->message);
    free(job->backlog.marks);
    names_release(job);
    free(job);
}

// One that is dead may still be in the dirty list: it is not told of any more.
static void bury(struct shim *shim) {
    for (struct job *job; (job = shim->dead);) {
        shim->dead = job->next;
        for (struct job **at = &shim->dirty; job->dirty && *at; at = &(*at)->next_dirty)
            if (*at == job) {
                *at = job->next_dirty;
                break;
            }
        free_job(job);
    }
}

void shim_release(struct shim *shim) {
    size_t pos = 0;
    wire_close(shim);
    init_release(shim);
    for (struct job *job; (job = hd_map_next(&shim->jobs, &pos, NULL));)
        free_job(job);
    hd_map_release(&shim->jobs);
    hd_map_release(&shim->pids);
    hd_buf_release(&shim->in);
    hd_buf_release(&shim->out);
    hd_buf_release(&shim->trash);
    cgroups_release(shim);
    host_release(&shim->host);
    hd_arena_release(&shim->scratch);
    hd_close_fd(&shim->listener.fd);
    hd_close_fd(&shim->signals.fd);
    hd_close_fd(&shim->null_fd);
    hd_close_fd(&shim->epoll_fd);
    free(shim->work);
    free(shim->kept);
}

static bool leaves(struct shim *shim) {
    bool jobs = shim->waiting.head || shim->active.head;
    if (jobs)
        shim->busy_ms = shim->now.mono_ms;
    else if (shim->n_fresh && (shim->leave || shim->shutdown || shim->now.mono_ms - shim->busy_ms >= SHIM_FRESH_MS))
        workspaces_drop_fresh(shim);
    bool stuck = shim->stuck_groups.len && shim->stuck_rounds < SHIM_STUCK_ROUNDS;
    bool busy = jobs || shim->n_fresh || shim->trash.len || stuck;
    if (busy || shim->conn.fd >= 0 || shim->jobs.n)
        shim->idle_since_ms = shim->now.mono_ms;
    if (busy)
        return false;
    if (shim->leave)
        return !shim->agent.pid;
    if (shim->agent.argv)
        return false;
    return !shim->jobs.n && (shim->shutdown || shim->now.mono_ms - shim->idle_since_ms >= SHIM_IDLE_MS);
}

static int wait_ms(struct shim *shim) {
    int64_t due = shim_next_deadline(shim), idle = shim->idle_since_ms + SHIM_IDLE_MS, lease = spools_due(shim);
    due = lease < due ? lease : due;
    due = init_due(shim) < due ? init_due(shim) : due;
    if (shim->waiting.head || (shim->trash.len && !shim->remover))
        return 0;
    if (shim->stuck_ms && shim->stuck_ms < due)
        due = shim->stuck_ms;
    if (shim->n_fresh && !shim->active.head && shim->busy_ms + SHIM_FRESH_MS < due)
        due = shim->busy_ms + SHIM_FRESH_MS;
    if (shim->conn.fd < 0 && !shim->jobs.n && idle < due)
        due = idle;
    if (due == SHIM_NEVER)
        return -1;
    int64_t wait = due - shim->now.mono_ms;
    return wait < 0 ? 0 : wait > 60000 ? 60000 : (int)wait;
}

void shim_run(struct shim *shim) {
    struct epoll_event events[EVENTS_MAX];
    while (!leaves(shim)) {
        int n = epoll_wait(shim->epoll_fd, events, EVENTS_MAX, wait_ms(shim));
        shim->now = hd_now_read();
        hd_arena_reset(&shim->scratch);
        for (int i = 0; i < n; i++) {
            struct source *source = events[i].data.ptr;
            if (source->fd >= 0)
                source->ready(source, events[i].events);
        }
        init_tend(shim);
        if (shim->reap)
            tree_reap(shim);
        shim->reap = false;
        shim_deadlines(shim);
        tree_look(shim);
        spools_tend(shim);
        if (shim->finishing)
            tree_sweep(shim);
        shim_start_waiting(shim, STARTS_A_TURN);
        bury(shim);
        wire_announce(shim);
        trash_some(shim);
        cgroups_tidy(shim);
    }
}
