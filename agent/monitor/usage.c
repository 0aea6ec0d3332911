#include "agent/monitor/usage.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/map.h"

#define ANCESTORS_MAX 64

struct process {
    pid_t pid, parent, group, session;
    int64_t ticks, pages;
};
struct processes {
    struct process *items;
    size_t n, cap;
};

// The name stands in brackets and may hold anything, brackets too: what counts comes after the last one.
static bool read_process(const char *pid, struct process *ret) {
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
    HD_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    const char *rest = strrchr(text, ')');
    int parent, group, session;
    int64_t t[4];
    ret->pid = (pid_t)strtol(pid, NULL, 10);
    if (!rest || sscanf(rest + 1,
                        " %*c %d %d %d %*d %*d %*u %*u %*u %*u %*u %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd64
                        " %*d %*d %*d %*d %*u %*u %" SCNd64,
                        &parent, &group, &session, &t[0], &t[1], &t[2], &t[3], &ret->pages) != 8)
        return false;
    ret->parent = parent;
    ret->group = group;
    ret->session = session;
    ret->ticks = t[0] + t[1] + t[2] + t[3];
    return true;
}

static void read_all(struct processes *ret) {
    DIR *dir = opendir("/proc");
    const struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
            continue;
        if (ret->n == ret->cap) {
            ret->cap = ret->cap ? ret->cap * 2 : 256;
            ret->items = realloc(ret->items, ret->cap * sizeof(*ret->items));
            if (!ret->items)
                abort();
        }
        ret->n += read_process(entry->d_name, &ret->items[ret->n]);
    }
    if (dir)
        closedir(dir);
}

static struct usage_job *owner(const struct hd_map *jobs, const struct hd_map *by_pid, const struct process *process) {
    struct usage_job *job = hd_map_get(jobs, (uint64_t)process->group);
    if (!job)
        job = hd_map_get(jobs, (uint64_t)process->session);
    for (int i = 0; !job && process && process->parent > 1 && i < ANCESTORS_MAX; i++) {
        job = hd_map_get(jobs, (uint64_t)process->parent);
        process = hd_map_get(by_pid, (uint64_t)process->parent);
    }
    return job;
}

void usage_read(struct usage_job *jobs, size_t n) {
    struct hd_map by_leader = {0}, by_pid = {0};
    struct processes all = {0};
    const int64_t ticks_s = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < n; i++) {
        jobs[i].cpu_ms = jobs[i].memory_bytes = jobs[i].processes = 0;
        if (jobs[i].leader > 1)
            hd_map_put(&by_leader, (uint64_t)jobs[i].leader, &jobs[i]);
    }
    if (by_leader.n)
        read_all(&all);
    for (size_t i = 0; i < all.n; i++)
        hd_map_put(&by_pid, (uint64_t)all.items[i].pid, &all.items[i]);
    for (size_t i = 0; i < all.n; i++) {
        struct usage_job *job = owner(&by_leader, &by_pid, &all.items[i]);
        if (!job)
            continue;
        job->cpu_ms += all.items[i].ticks * 1000 / (ticks_s > 0 ? ticks_s : 100);
        job->memory_bytes += all.items[i].pages * page;
        job->processes++;
    }
    hd_map_release(&by_leader);
    hd_map_release(&by_pid);
    free(all.items);
}
