#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/uuid.h"
#include "cli/dev.h"

#define LOG_KEEP_BYTES (16 << 20)
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000
#define STEADY_MS 30000 // a process that has run for so long begins with the shortest backoff again

extern char **environ;

void dev_say(struct dev *dev, const char *fmt, ...) {
    char text[512];
    va_list ap;

    (void)dev;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    printf("%s\n", text);
    fflush(stdout);
}

static const char *log_path(struct dev *dev, const char *name) {
    return hd_arena_printf(&dev->cli->arena, "%s/log/%s.log", dev->data, name);
}

// Our own environment without our own settings, and what is added.
static char **environment(struct dev *dev, const char *const *added) {
    char **list = NULL;
    size_t n = 0, cap = 0;

    for (char **e = environ; *e; e++) {
        if (hd_starts_with(*e, "HODEI_") || hd_starts_with(*e, "PG") || hd_starts_with(*e, "NOTIFY_SOCKET="))
            continue;
        HD_GROW(&dev->cli->arena, list, n, cap);
        list[n++] = *e;
    }
    for (size_t i = 0; added[i]; i++) {
        HD_GROW(&dev->cli->arena, list, n, cap);
        list[n++] = hd_arena_strdup(&dev->cli->arena, added[i]);
    }
    HD_GROW(&dev->cli->arena, list, n, cap);
    list[n] = NULL;
    return list;
}

enum hd_status dev_spawn(struct dev *dev, const char *name, const char *const *argv, const char *const *env,
                         pid_t *ret) {
    const char *log = log_path(dev, name);
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    struct stat st;

    if (stat(log, &st) == 0 && st.st_size > LOG_KEEP_BYTES)
        rename(log, hd_arena_printf(&dev->cli->arena, "%s.1", log));
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    posix_spawn_file_actions_addchdir_np(&files, "/");
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    // A session of its own: Ctrl-C at the terminal is for us, and we stop the others in order.
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    int error = posix_spawn(ret, argv[0], &files, &attributes, (char **)argv, environment(dev, env));
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    if (error)
        return hd_err_set(&dev->cli->err, HD_UNAVAILABLE, "%s: %s", argv[0], strerror(error));
    return HD_OK;
}

// Field 22 of /proc/<pid>/stat: with the process id it names a process for as long as the machine is up. 0: no such process.
static int64_t start_time(pid_t pid) {
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    HD_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (n <= 0)
        return 0;
    text[n] = '\0';
    char *p = strrchr(text, ')'); // the name may hold anything
    for (int field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    return p ? strtoll(p, NULL, 10) : 0;
}

static const char *pid_path(struct dev *dev, const char *name) {
    return hd_arena_printf(&dev->cli->arena, "%s/pids/%s", dev->data, name);
}

static void remember(struct dev *dev, const char *name, pid_t pid) {
    HD_AUTO_BUF struct hd_buf text = {0};

    hd_buf_addf(&text, "%ld %" PRId64 "\n", (long)pid, start_time(pid));
    if (dev_write(dev, pid_path(dev, name), 0600, &text) != HD_OK)
        dev_say(dev, "%s", dev->cli->err.text);
}

void dev_forget(struct dev *dev, const char *name) {
    unlink(pid_path(dev, name));
}

static void later(struct dev_proc *proc, int64_t now) {
    proc->backoff_ms = proc->backoff_ms ? proc->backoff_ms * 2 : BACKOFF_MIN_MS;
    if (proc->backoff_ms > BACKOFF_MAX_MS)
        proc->backoff_ms = BACKOFF_MAX_MS;
    proc->start_at_mono_ms = now + proc->backoff_ms;
}

void dev_start(struct dev *dev, struct dev_proc *proc) {
    int64_t now = hd_now_read().mono_ms;

    proc->wanted = true;
    for (size_t i = 0; i < 2; i++) {
        if (proc->held[i] >= 0)
            close(proc->held[i]);
        proc->held[i] = -1;
    }
    if (dev_spawn(dev, proc->name, proc->argv, proc->env, &proc->pid) != HD_OK) {
        proc->pid = 0;
        later(proc, now);
        dev_say(dev, "%s could not be started (%s); again in %" PRId64 " ms", proc->name, dev->cli->err.text,
                proc->backoff_ms);
        hd_err_clear(&dev->cli->err);
        return;
    }
    proc->started_mono_ms = now;
    proc->starts++;
    remember(dev, proc->name, proc->pid);
}

static bool has_sibling(const struct dev *dev, const struct dev_proc *proc) {
    for (size_t i = 0; proc->service && i < dev->n_procs; i++)
        if (&dev->procs[i] != proc && dev->procs[i].service == proc->service && dev->procs[i].wanted)
            return true;
    return false;
}

void dev_ended(struct dev *dev, pid_t pid, int status) {
    int64_t now = hd_now_read().mono_ms;

    for (size_t i = 0; i < dev->n_procs; i++) {
        struct dev_proc *proc = &dev->procs[i];
        if (proc->pid != pid)
            continue;
        proc->pid = 0;
        dev_forget(dev, proc->name);
        if (!proc->wanted)
            return;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && has_sibling(dev, proc)) {
            proc->wanted = false;
            dev_say(dev, "%s was asked to end; other replicas of it go on", proc->name);
            return;
        }
        if (now - proc->started_mono_ms > STEADY_MS)
            proc->backoff_ms = 0;
        later(proc, now);
        dev_say(dev, "%s ended (%s %d); started again in %" PRId64 " ms; its log: %s", proc->name,
                WIFSIGNALED(status) ? "signal" : "exit code",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), proc->backoff_ms,
                log_path(dev, proc->name));
        return;
    }
}

size_t dev_running(const struct dev *dev, enum dev_phase phase) {
    size_t n = 0;

    for (size_t i = 0; i < dev->n_procs; i++)
        n += dev->procs[i].phase == phase && dev->procs[i].pid > 0;
    return n;
}

void dev_signal(struct dev *dev, enum dev_phase phase, int signo) {
    for (size_t i = 0; i < dev->n_procs; i++) {
        struct dev_proc *proc = &dev->procs[i];
        if (proc->phase != phase)
            continue;
        proc->wanted = false;
        if (proc->pid > 0)
            kill(proc->pid, signo);
    }
}

// --- what an earlier dev left -------------------------------------------------------------------------------------------

struct leftover {
    int fd;
    const char *name;
};

// The process of a pid file, held by a pidfd so that the id cannot pass to another; -1 where it is gone.
static int leftover_open(struct dev *dev, const char *name) {
    char text[64], *end = NULL;
    HD_AUTO_FD int file = open(pid_path(dev, name), O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -1;
    ssize_t n = read(file, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    long pid = strtol(text, &end, 10); // what is no number is 0, and no process
    int64_t started = strtoll(end, NULL, 10);
    int fd = pid > 1 && pid <= INT_MAX ? pidfd_open((pid_t)pid, 0) : -1;
    if (fd >= 0 && start_time((pid_t)pid) != started) {
        close(fd);
        fd = -1;
    }
    if (fd < 0)
        dev_forget(dev, name);
    return fd;
}

static bool gone_within(int fd, int64_t ms) {
    struct pollfd poller = {.fd = fd, .events = POLLIN};

    return poll(&poller, 1, (int)ms) == 1;
}

// Services are safe to kill at any time, and agents are killed so that their jobs live on; an agent that is not wanted any more
// ends its jobs. PostgreSQL and nats-server close their files.
static int leftover_signal(const struct dev *dev, const char *name) {
    if (hd_streq(name, "postgres"))
        return SIGINT;
    if (hd_streq(name, "nats"))
        return SIGTERM;
    bool surplus = hd_starts_with(name, "agent-") && strtoll(name + strlen("agent-"), NULL, 10) > dev->agents;
    return surplus ? SIGTERM : SIGKILL;
}

void dev_stop_leftovers(struct dev *dev) {
    struct leftover left[DEV_PROCS_MAX];
    size_t n = 0;
    DIR *dir = opendir(dev_path(dev, "pids"));
    const struct dirent *entry;

    while (dir && n < DEV_PROCS_MAX && (entry = readdir(dir))) {
        if (entry->d_name[0] == '.' || strchr(entry->d_name, '.'))
            continue;
        const char *name = hd_arena_strdup(&dev->cli->arena, entry->d_name);
        int fd = leftover_open(dev, name);
        if (fd < 0)
            continue;
        left[n++] = (struct leftover){fd, name};
    }
    if (dir)
        closedir(dir);
    if (n)
        dev_say(dev, "stopping %zu processes that an earlier `hodei dev` has left", n);
    // Who talks first, then what is talked to.
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < n; i++) {
            bool base = hd_streq(left[i].name, "postgres") || hd_starts_with(left[i].name, "nats");
            if (base == (round == 1))
                pidfd_send_signal(left[i].fd, leftover_signal(dev, left[i].name), NULL, 0);
        }
        for (size_t i = 0; i < n; i++) {
            bool base = hd_streq(left[i].name, "postgres") || hd_starts_with(left[i].name, "nats");
            if (base == (round == 1) && !gone_within(left[i].fd, 20000)) {
                pidfd_send_signal(left[i].fd, base && left[i].name[0] == 'p' ? SIGQUIT : SIGKILL, NULL, 0);
                gone_within(left[i].fd, 5000);
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        dev_forget(dev, left[i].name);
        close(left[i].fd);
    }
}

// Those whose parents have died come to us (PR_SET_CHILD_SUBREAPER).
size_t dev_kill_strays(int signo) {
    DIR *dir = opendir("/proc");
    const struct dirent *entry;
    size_t n = 0;

    while (dir && (entry = readdir(dir))) {
        char path[300], text[1024];
        long pid = strtol(entry->d_name, NULL, 10);
        if (pid <= 1)
            continue;
        snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
        HD_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
        if (len <= 0)
            continue;
        text[len] = '\0';
        const char *p = strrchr(text, ')');
        if (p && strlen(p) > 4 && strtol(p + 4, NULL, 10) == getpid() && p[2] != 'Z') {
            kill((pid_t)pid, signo);
            n++;
        }
    }
    if (dir)
        closedir(dir);
    return n;
}
