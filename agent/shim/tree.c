// Which processes belong to a job, where it has no control group: its process group, its descendants, and those of them that left
// both and came to us, since we are their subreaper. Those are known by what they inherited: process group, session, or the
// HODEI_WORKSPACE in their environment.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/shim/shim.h"

#define TREE_MAX 65536 // processes that are looked at
#define LOOKS 64       // in one sweep, as long as there is something new
#define ENVIRON_MAX (1 << 20)
#define VARIABLE "HODEI_WORKSPACE="

// --- /proc -----------------------------------------------------------------------------------------------------------

static void read_file(const char *path, size_t max, struct hd_buf *ret) {
    HD_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    hd_buf_clear(ret);
    while (fd >= 0 && ret->len < max) {
        hd_buf_reserve(ret, 4096);
        ssize_t n = read(fd, ret->data + ret->len, 4096);
        if (n <= 0)
            break;
        ret->len += (size_t)n;
    }
    hd_buf_addc(ret, '\0');
    ret->len--;
}

struct pids {
    pid_t *items;
    size_t n, cap;
};

static void add_pids(struct hd_arena *arena, const char *text, struct pids *ret) {
    for (char *end; ret->n < TREE_MAX; text = end) {
        long pid = strtol(text, &end, 10);
        if (end == text || pid <= 0)
            return;
        HD_GROW(arena, ret->items, ret->n, ret->cap);
        ret->items[ret->n++] = (pid_t)pid;
    }
}

// The children that any thread of it started.
static void add_children(struct hd_arena *arena, pid_t of, struct pids *ret) {
    HD_AUTO_BUF struct hd_buf text = {0};
    char path[64];
    snprintf(path, sizeof(path), "/proc/%ld/task", (long)of);
    DIR *dir = opendir(path);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        char file[128];
        snprintf(file, sizeof(file), "/proc/%ld/task/%.20s/children", (long)of, entry->d_name);
        read_file(file, 1 << 20, &text);
        add_pids(arena, text.data, ret);
    }
    if (dir)
        closedir(dir);
}

// The attempt in the workspace that it was started with; zero: none of ours.
static struct hd_uuid attempt_of(pid_t pid, const char *work) {
    HD_AUTO_BUF struct hd_buf text = {0};
    char path[64], id[HD_UUID_TEXT];
    struct hd_uuid found = {{0}};
    snprintf(path, sizeof(path), "/proc/%ld/environ", (long)pid);
    read_file(path, ENVIRON_MAX, &text);
    size_t prefix = strlen(VARIABLE), len = strlen(work);
    for (const char *p = text.data; p < text.data + text.len; p += strlen(p) + 1) {
        if (strncmp(p, VARIABLE, prefix) != 0 || strncmp(p + prefix, work, len) != 0)
            continue;
        hd_strlcpy(id, p + prefix + len, sizeof(id));
        if (hd_uuid_parse(id, &found) != HD_OK)
            found = (struct hd_uuid){{0}};
        break;
    }
    return found;
}

// --- signals ---------------------------------------------------------------------------------------------------------

void tree_signal(pid_t leader, int signal) {
    struct hd_arena arena;
    struct pids pids = {0};
    if (signal == SIGKILL) { // at once, before it has more of them; what left the group comes to us, and is swept
        (void)kill(-leader, signal);
        return;
    }
    hd_arena_init(&arena);
    add_children(&arena, leader, &pids);
    for (size_t i = 0; i < pids.n; i++)
        add_children(&arena, pids.items[i], &pids);
    (void)kill(-leader, signal);
    for (size_t i = 0; i < pids.n; i++)
        if (getpgid(pids.items[i]) != leader)
            (void)kill(pids.items[i], signal);
    hd_arena_release(&arena);
}

void tree_kill_leftovers(const char *work) {
    DIR *dir = opendir("/proc");
    const struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        char *end;
        long pid = strtol(entry->d_name, &end, 10);
        if (*end == '\0' && pid > 1 && pid != getpid() && !hd_uuid_zero(attempt_of((pid_t)pid, work)))
            (void)kill((pid_t)pid, SIGKILL);
    }
    if (dir)
        closedir(dir);
}

// --- reaping ---------------------------------------------------------------------------------------------------------

// One that belongs to no job: whatever came to us, or what we have started ourselves.
static void reaped(struct shim *shim, pid_t pid, int status) {
    if (!init_reaped(shim, pid, status))
        trash_reap(shim, pid, status);
}

// Of one that is no leader: true when it has ended.
static bool reap(struct shim *shim, pid_t pid) {
    int status = 0;
    if (waitpid(pid, &status, WNOHANG) != pid)
        return false;
    reaped(shim, pid, status);
    return true;
}

// Orphans that have come to us and ended; leaders are left to their jobs.
static void reap_strays(struct shim *shim) {
    struct pids pids = {0};
    add_children(&shim->scratch, getpid(), &pids);
    for (size_t i = 0; i < pids.n; i++)
        if (!hd_map_get(&shim->pids, (uint64_t)pids.items[i]))
            reap(shim, pids.items[i]);
}

// With control groups nothing depends on who is reaped when.
static void reap_all(struct shim *shim) {
    struct rusage usage;
    int status = 0;
    for (pid_t pid; (pid = wait4(-1, &status, WNOHANG, &usage)) > 0;) {
        struct job *job = hd_map_remove(&shim->pids, (uint64_t)pid);
        if (!job) {
            reaped(shim, pid, status);
            continue;
        }
        job->reaped = true;
        job->status = status;
        job_usage(job, &usage);
        job_exited(job);
    }
}

void tree_reap(struct shim *shim) {
    if (*shim->host.tree) {
        reap_all(shim);
        return;
    }
    bool any = shim->finishing != NULL; // then the sweep reaps
    for (struct job *job = shim->active.head, *next; job; job = next) {
        next = job->next;
        siginfo_t info = {0};
        if (job->phase == PHASE_RUNNING && waitid(P_PID, (id_t)job->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            info.si_pid) {
            job_exited(job);
            any = true;
        }
    }
    if (!any)
        reap_strays(shim);
}

static struct job *job_of_stray(struct shim *shim, pid_t pid) {
    struct job *job = hd_map_get(&shim->pids, (uint64_t)getpgid(pid));
    if (!job)
        job = hd_map_get(&shim->pids, (uint64_t)getsid(pid));
    if (job)
        return job;
    struct hd_uuid id = attempt_of(pid, shim->work);
    char text[HD_UUID_TEXT];
    if (hd_uuid_zero(id))
        return NULL;
    hd_uuid_format(id, text);
    return shim_job(shim, text);
}

// Kills what is left of jobs that are finishing. One that hides from all three marks belongs to no job that can be named: it is
// killed once no other job runs. *ret_waiting: the jobs of those that still live. True: some had ended, and what they left behind came
// to us after we looked.
static bool kill_strays(struct shim *shim, struct hd_map *ret_waiting) {
    struct pids pids = {0};
    bool any = false;
    hd_map_release(ret_waiting);
    *ret_waiting = (struct hd_map){0};
    add_children(&shim->scratch, getpid(), &pids);
    bool alone = true;
    for (const struct job *job = shim->active.head; job; job = job->next)
        alone &= job->finishing;
    for (size_t i = 0; i < pids.n; i++) {
        pid_t pid = pids.items[i];
        if (hd_map_get(&shim->pids, (uint64_t)pid))
            continue;
        bool over = reap(shim, pid);
        any |= over;
        if (over || pid == shim->remover || pid == shim->agent.pid)
            continue;
        struct job *job = job_of_stray(shim, pid);
        if (job ? job->finishing || job->phase == PHASE_ENDED : alone)
            (void)kill(pid, SIGKILL);
        if (job && job->finishing)
            hd_map_put(ret_waiting, (uint64_t)job->pid, job);
    }
    return any;
}

static bool sweep_again(const struct hd_map *waiting, const struct job *job) {
    if (!job->group)
        return hd_map_get(waiting, (uint64_t)job->pid) != NULL;
    if (cgroup_empty(job))
        return false;
    cgroup_kill(job);
    return true;
}

// A process that is being killed shows up again at its SIGCHLD, when its children have come to us.
void tree_sweep(struct shim *shim) {
    struct hd_map waiting = {0};
    struct job *list = HD_STEAL(shim->finishing);
    for (unsigned i = 0; i < LOOKS && !*shim->host.tree && kill_strays(shim, &waiting); i++)
        ;
    while (list) {
        struct job *job = list;
        list = job->next_finishing;
        job->next_finishing = NULL;
        if (sweep_again(&waiting, job)) {
            job->next_finishing = shim->finishing;
            shim->finishing = job;
            continue;
        }
        job->finishing = false;
        job_finish(job);
    }
    hd_map_release(&waiting);
}

// --- too many --------------------------------------------------------------------------------------------------------

int64_t tree_tasks(void) {
    HD_AUTO_BUF struct hd_buf text = {0};
    read_file("/proc/loadavg", 256, &text);
    const char *slash = strchr(text.data, '/');
    return slash ? strtoll(slash + 1, NULL, 10) : 0;
}

// By process group and session; what has left both is not counted.
static void count_by_proc(struct shim *shim) {
    DIR *dir = opendir("/proc");
    const struct dirent *entry;
    for (struct job *job = shim->active.head; job; job = job->next)
        job->processes = 0;
    while (dir && (entry = readdir(dir))) {
        char *end;
        long pid = strtol(entry->d_name, &end, 10);
        if (*end || pid <= 1)
            continue;
        struct job *job = hd_map_get(&shim->pids, (uint64_t)getpgid((pid_t)pid));
        if (!job)
            job = hd_map_get(&shim->pids, (uint64_t)getsid((pid_t)pid));
        if (job)
            job->processes++;
    }
    if (dir)
        closedir(dir);
}

// Counting costs, so it waits until the machine has more tasks than the last time, unless somebody is near the bound.
void tree_look(struct shim *shim) {
    int64_t max = shim->host.processes_max, most = 0;
    if (!max || !shim->active.head || shim->now.mono_ms < shim->look_ms)
        return;
    shim->look_ms = shim->now.mono_ms + SHIM_LOOK_MS;
    int64_t tasks = tree_tasks();
    if (tasks < shim->tasks_seen)
        shim->tasks_seen = tasks;
    if (!shim->look_closely && tasks - shim->tasks_seen < max / 4)
        return;
    shim->tasks_seen = tasks;
    if (!*shim->host.tree)
        count_by_proc(shim);
    for (struct job *job = shim->active.head, *next; job; job = next) {
        next = job->next;
        if (job->group)
            job->processes = cgroup_count(job);
        most = job->processes > most ? job->processes : most;
        if (job->processes >= max)
            job_overran(job);
    }
    shim->look_closely = most >= max / 2;
}
