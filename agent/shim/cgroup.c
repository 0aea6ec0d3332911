// Control groups of jobs. Three layouts, found out by the agent (executor/cgroups.c):
//
//   version 2 with its controllers: one group an attempt, with its limits;
//   version 2 without them: a group from a pool, which holds the tree together and can be killed as one; the limits that a job
//     asks for are in groups of version 1 of its own, beside it;
//   neither: what is asked for of memory becomes an rlimit, and the tree is what /proc shows (tree.c).
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/shim/shim.h"
#include "base/log.h"

#define PERIOD_US 100000 // of CPU quotas
#define QUOTA_MIN_US 1000
#define STUCK_AGAIN_MS 50 // twice as long each time, where one stays
#define INNER_AT_ONCE 256 // groups within one that are removed in one turn
#define PROCS_ROUNDS 3    // a signal reaches what forks meanwhile too, mostly
#define TEXT_MAX 4096

// --- files -----------------------------------------------------------------------------------------------------------

static enum hd_status write_at(int dir_fd, const char *dir, const char *name, const char *text) {
    char path[TEXT_MAX];
    snprintf(path, sizeof(path), "%s%s%s", dir, *dir ? "/" : "", name);
    HD_AUTO_FD int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? HD_OK : HD_UNAVAILABLE;
}

static bool read_fd(int fd, char *ret, size_t size) {
    ssize_t n = fd < 0 ? -1 : pread(fd, ret, size - 1, 0);
    ret[n > 0 ? n : 0] = '\0';
    return n >= 0;
}

static bool read_at(int dir_fd, const char *dir, const char *name, char *ret, size_t size) {
    char path[TEXT_MAX];
    snprintf(path, sizeof(path), "%s%s%s", dir, *dir ? "/" : "", name);
    HD_AUTO_FD int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
    return read_fd(fd, ret, size);
}

// The number after a word that begins a line; -1: not there.
static int64_t number_of(const char *text, const char *word) {
    for (size_t len = strlen(word); *text;) {
        if (strncmp(text, word, len) == 0 && text[len] == ' ')
            return strtoll(text + len, NULL, 10);
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    return -1;
}

// --- groups that stay for a while ------------------------------------------------------------------------------------

static bool first_folder(int dir_fd, char ret[NAME_MAX + 1]) {
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;
    bool found = false;
    while (dir && !found && (entry = readdir(dir))) {
        found = entry->d_type == DT_DIR && entry->d_name[0] != '.';
        if (found)
            hd_strlcpy(ret, entry->d_name, NAME_MAX + 1);
    }
    if (dir)
        closedir(dir);
    else
        hd_close_fd(&fd);
    return found;
}

// A job that may has made groups within its own (a container engine, systemd-run). One of them goes, that has none of its own; however
// deep they are nested, two descriptors are enough. False: there is none, or it stays.
static bool remove_inner(const char *path) {
    char name[NAME_MAX + 1];
    HD_AUTO_FD int at = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    while (at >= 0 && first_folder(at, name)) {
        if (unlinkat(at, name, AT_REMOVEDIR) == 0)
            return true;
        int below = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        hd_close_fd(&at);
        at = below;
    }
    return false;
}

static void remove_group(struct shim *shim, const char *path) {
    for (unsigned i = 0; i <= INNER_AT_ONCE; i++) {
        if (rmdir(path) == 0 || errno == ENOENT)
            return;
        if (!remove_inner(path))
            break;
    }
    hd_buf_add(&shim->stuck_groups, path, strlen(path) + 1);
    if (!shim->stuck_ms)
        shim->stuck_ms = shim->now.mono_ms + (STUCK_AGAIN_MS << shim->stuck_rounds);
}

static void signal_all(int dir_fd, const char *dir, int signal) {
    HD_AUTO_BUF struct hd_buf text = {0};
    char path[TEXT_MAX];
    snprintf(path, sizeof(path), "%s%scgroup.procs", dir, *dir ? "/" : "");
    HD_AUTO_FD int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
    for (ssize_t n = fd < 0 ? 0 : 1; n > 0; text.len += n > 0 ? (size_t)n : 0) {
        hd_buf_reserve(&text, TEXT_MAX);
        n = read(fd, text.data + text.len, TEXT_MAX);
    }
    hd_buf_addc(&text, '\0');
    for (char *at = text.data, *end; *at; at = end) {
        long pid = strtol(at, &end, 10);
        if (end == at)
            break;
        if (pid > 1)
            (void)kill((pid_t)pid, signal);
    }
}

static void kill_dir(int dir_fd, const char *dir) {
    if (write_at(dir_fd, dir, "cgroup.kill", "1") != HD_OK)
        signal_all(dir_fd, dir, SIGKILL);
}

void cgroups_tidy(struct shim *shim) {
    if (!shim->stuck_ms || shim->now.mono_ms < shim->stuck_ms)
        return;
    struct hd_buf paths = shim->stuck_groups;
    shim->stuck_groups = (struct hd_buf){0};
    shim->stuck_ms = 0;
    shim->stuck_rounds += shim->stuck_rounds < SHIM_STUCK_ROUNDS;
    for (const char *path = paths.data; path < paths.data + paths.len; path += strlen(path) + 1) {
        kill_dir(AT_FDCWD, path);
        remove_group(shim, path);
    }
    if (!shim->stuck_groups.len)
        shim->stuck_rounds = 0;
    hd_buf_release(&paths);
}

// What an earlier shim left, and its processes.
static void take_folder(struct shim *shim, const char *base) {
    if (!*base)
        return;
    if (mkdir(base, 0755) != 0 && errno != EEXIST)
        hd_warn("cannot make the control group %s: %s", base, strerror(errno));
    DIR *dir = opendir(base);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        const char *path = hd_arena_printf(&shim->scratch, "%s/%s", base, entry->d_name);
        kill_dir(AT_FDCWD, path);
        remove_group(shim, path);
    }
    if (dir)
        closedir(dir);
}

void cgroups_init(struct shim *shim) {
    take_folder(shim, shim->host.tree);
    take_folder(shim, shim->host.memory);
    take_folder(shim, shim->host.cpu);
    if (shim->host.tree_limits &&
        write_at(AT_FDCWD, shim->host.tree, "cgroup.subtree_control", "+memory +cpu +pids") != HD_OK) {
        hd_warn("cannot hand on controllers in %s: %s", shim->host.tree, strerror(errno));
        shim->host.tree_limits = false;
    }
}

static void group_free(struct group *group) {
    hd_close_fd(&group->dir_fd);
    hd_close_fd(&group->events_fd);
    hd_close_fd(&group->stat_fd);
    free(group);
}

static void group_remove(struct shim *shim, struct group *group) {
    remove_group(shim, hd_arena_printf(&shim->scratch, "%s/%s", shim->host.tree, group->name));
    group_free(group);
}

void cgroups_release(struct shim *shim) {
    for (struct group *group; (group = shim->groups);) {
        shim->groups = group->next;
        group_remove(shim, group);
    }
    hd_buf_release(&shim->stuck_groups);
    const char *bases[] = {shim->host.tree, shim->host.memory, shim->host.cpu};
    for (size_t i = 0; i < sizeof(bases) / sizeof(*bases); i++)
        if (*bases[i])
            (void)rmdir(bases[i]);
}

// --- making ----------------------------------------------------------------------------------------------------------

static void read_cpu(const struct group *group, int64_t *ret_user_us, int64_t *ret_system_us) {
    char text[TEXT_MAX];
    int64_t user = -1, system = -1;
    if (read_fd(group->stat_fd, text, sizeof(text))) {
        user = number_of(text, "user_usec");
        system = number_of(text, "system_usec");
    }
    *ret_user_us = user > 0 ? user : 0;
    *ret_system_us = system > 0 ? system : 0;
}

// Never a name that is still to be removed: that of the attempt, and of how many it has had.
static struct group *group_make(struct shim *shim, struct job *job, struct hd_err *err) {
    struct group *group = hd_calloc(1, sizeof(*group));
    const char *name = hd_arena_printf(&shim->scratch, "%s.%u", job->attempt, job->groups_had++);
    const char *path = hd_arena_printf(&shim->scratch, "%s/%s", shim->host.tree, name);
    hd_strlcpy(group->name, name, sizeof(group->name));
    group->dir_fd = group->events_fd = group->stat_fd = -1;
    if (mkdir(path, 0755) == 0) {
        group->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        group->events_fd = openat(group->dir_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
        group->stat_fd = openat(group->dir_fd, "cpu.stat", O_RDONLY | O_CLOEXEC);
    }
    if (group->events_fd >= 0)
        return group;
    hd_err_set(err, HD_UNAVAILABLE, "cannot make the control group %.200s: %s", path, strerror(errno));
    group_free(group);
    return NULL;
}

static int64_t quota_us(int64_t cpu_milli) {
    int64_t quota = cpu_milli < INT64_MAX / PERIOD_US ? cpu_milli * (PERIOD_US / 1000) : INT64_MAX;
    return quota > QUOTA_MIN_US ? quota : QUOTA_MIN_US;
}

static enum hd_status limit(int dir_fd, const char *dir, const char *name, int64_t value, struct hd_err *err) {
    char text[32];
    snprintf(text, sizeof(text), "%" PRId64, value);
    if (write_at(dir_fd, dir, name, text) == HD_OK)
        return HD_OK;
    return hd_err_set(err, HD_UNAVAILABLE, "cannot set %s of its control group to %s: %s", name, text, strerror(errno));
}

static enum hd_status limit_tree(const struct job *job, const Hodei__V1__Resources *asks, struct hd_err *err) {
    int fd = job->group->dir_fd;
    char text[64];
    if (job->shim->host.processes_max)
        HD_TRY(limit(fd, "", "pids.max", job->shim->host.processes_max, err));
    if (asks && asks->memory_bytes > 0) {
        HD_TRY(limit(fd, "", "memory.max", asks->memory_bytes, err));
        (void)write_at(fd, "", "memory.swap.max", "0");  // where there is swap, it is no way out
        (void)write_at(fd, "", "memory.oom.group", "1"); // all of it, not a part that the rest waits for
    }
    if (!asks || asks->cpu_milli <= 0)
        return HD_OK;
    int64_t weight = asks->cpu_milli / 10; // of 1 to 10000; a whole CPU is the standard, 100
    HD_TRY(limit(fd, "", "cpu.weight", weight < 1 ? 1 : weight > 10000 ? 10000 : weight, err));
    snprintf(text, sizeof(text), "%" PRId64 " %d", quota_us(asks->cpu_milli), PERIOD_US);
    return write_at(fd, "", "cpu.max", text) == HD_OK
               ? HD_OK
               : hd_err_set(err, HD_UNAVAILABLE, "cannot set cpu.max of its control group: %s", strerror(errno));
}

static enum hd_status make_v1(const struct job *job, const char *base, char **ret, struct hd_err *err) {
    HD_AUTO_BUF struct hd_buf path = {0};
    hd_buf_addf(&path, "%s/%s", base, job->attempt);
    if (mkdir(path.data, 0755) != 0)
        return hd_err_set(err, HD_UNAVAILABLE, "cannot make the control group %.200s: %s", path.data, strerror(errno));
    *ret = hd_buf_steal(&path);
    return HD_OK;
}

static enum hd_status limit_memory(struct job *job, int64_t bytes, struct hd_err *err) {
    HD_TRY(make_v1(job, job->shim->host.memory, &job->memory, err));
    HD_TRY(limit(AT_FDCWD, job->memory, "memory.limit_in_bytes", bytes, err));
    char text[32];
    snprintf(text, sizeof(text), "%" PRId64, bytes);
    (void)write_at(AT_FDCWD, job->memory, "memory.memsw.limit_in_bytes", text); // swap is no way out
    return HD_OK;
}

static enum hd_status limit_cpu(struct job *job, int64_t milli, struct hd_err *err) {
    HD_TRY(make_v1(job, job->shim->host.cpu, &job->cpu, err));
    int64_t shares = milli * 1024 / 1000;
    HD_TRY(limit(AT_FDCWD, job->cpu, "cpu.shares", shares < 2 ? 2 : shares > 262144 ? 262144 : shares, err));
    HD_TRY(limit(AT_FDCWD, job->cpu, "cpu.cfs_period_us", PERIOD_US, err));
    return limit(AT_FDCWD, job->cpu, "cpu.cfs_quota_us", quota_us(milli), err);
}

static enum hd_status take_group(struct job *job, struct hd_err *err) {
    struct shim *shim = job->shim;
    job->group = shim->groups;
    if (job->group) {
        shim->groups = job->group->next;
        shim->n_groups--;
    } else {
        job->group = group_make(shim, job, err);
    }
    if (!job->group)
        return HD_UNAVAILABLE;
    return shim->host.tree_limits ? limit_tree(job, job->spec->resources, err) : HD_OK;
}

static void put_group(struct job *job) {
    struct shim *shim = job->shim;
    bool again = !shim->host.tree_limits && !job->group->killed && shim->n_groups < SHIM_FRESH_MAX && cgroup_empty(job);
    struct group *group = HD_STEAL(job->group);
    if (!again) {
        group_remove(shim, group);
        return;
    }
    group->next = shim->groups;
    shim->groups = group;
    shim->n_groups++;
}

enum hd_status cgroup_enter(struct job *job, struct hd_err *err) {
    const struct shim_host *host = &job->shim->host;
    const Hodei__V1__Resources *asks = job->spec->resources;
    if (*host->tree)
        HD_TRY(take_group(job, err));
    if (asks && asks->memory_bytes > 0 && *host->memory)
        HD_TRY(limit_memory(job, asks->memory_bytes, err));
    if (asks && asks->cpu_milli > 0 && *host->cpu)
        HD_TRY(limit_cpu(job, asks->cpu_milli, err));
    return HD_OK;
}

enum hd_status cgroup_renew(struct job *job, struct hd_err *err) {
    if (!job->group || !job->group->killed)
        return HD_OK;
    cgroup_usage(job);
    put_group(job);
    job->oom_kills = job->memory ? job->oom_kills : 0;
    return take_group(job, err);
}

void cgroup_leave(struct job *job) {
    struct shim *shim = job->shim;
    if (job->memory)
        remove_group(shim, job->memory);
    if (job->cpu)
        remove_group(shim, job->cpu);
    free(HD_STEAL(job->memory));
    free(HD_STEAL(job->cpu));
    if (job->group)
        put_group(job);
}

enum hd_status cgroup_procs(const struct job *job, int ret_fds[2], struct hd_err *err) {
    const char *dirs[2] = {job->memory, job->cpu};
    ret_fds[0] = ret_fds[1] = -1;
    for (size_t i = 0; i < 2; i++) {
        char path[TEXT_MAX];
        if (!dirs[i])
            continue;
        snprintf(path, sizeof(path), "%s/cgroup.procs", dirs[i]);
        ret_fds[i] = open(path, O_WRONLY | O_CLOEXEC);
        if (ret_fds[i] < 0) {
            hd_err_set(err, HD_UNAVAILABLE, "cannot open %.200s: %s", path, strerror(errno));
            hd_close_fd(&ret_fds[0]);
            return HD_UNAVAILABLE;
        }
    }
    return HD_OK;
}

// --- what is in it ---------------------------------------------------------------------------------------------------

bool cgroup_empty(const struct job *job) {
    char text[256];
    return !read_fd(job->group->events_fd, text, sizeof(text)) || number_of(text, "populated") == 0;
}

// Once killed it takes nobody else: there are kernels (6.14 and later) that kill what is cloned into it afterwards too.
void cgroup_kill(const struct job *job) {
    job->group->killed = true;
    kill_dir(job->group->dir_fd, "");
}

void cgroup_signal(const struct job *job, int signal) {
    if (signal == SIGKILL)
        cgroup_kill(job);
    else
        signal_all(job->group->dir_fd, "", signal);
}

int64_t cgroup_count(const struct job *job) {
    char text[TEXT_MAX];
    if (job->shim->host.tree_limits && read_at(job->group->dir_fd, "", "pids.current", text, sizeof(text)))
        return strtoll(text, NULL, 10);
    int64_t n = 0;
    HD_AUTO_FD int fd = openat(job->group->dir_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    for (ssize_t len; fd >= 0 && (len = read(fd, text, sizeof(text))) > 0;)
        for (ssize_t i = 0; i < len; i++)
            n += text[i] == '\n';
    return n;
}

// --- what it has used ------------------------------------------------------------------------------------------------

void cgroup_usage(struct job *job) {
    char text[TEXT_MAX];
    int64_t user, system, peak = 0;
    if (!job->group)
        return;
    read_cpu(job->group, &user, &system);
    job->tree_user_us += user - job->group->user_us;
    job->tree_system_us += system - job->group->system_us;
    job->group->user_us = user;
    job->group->system_us = system;
    if (job->tree_user_us + job->tree_system_us > job->user_us + job->system_us) { // with those that nobody waited for
        job->user_us = job->tree_user_us;
        job->system_us = job->tree_system_us;
    }
    if (job->memory && read_at(AT_FDCWD, job->memory, "memory.max_usage_in_bytes", text, sizeof(text)))
        peak = strtoll(text, NULL, 10);
    else if (job->shim->host.tree_limits && read_at(job->group->dir_fd, "", "memory.peak", text, sizeof(text)))
        peak = strtoll(text, NULL, 10);
    if (peak > job->max_rss_bytes)
        job->max_rss_bytes = peak;
    if (job->shim->host.tree_limits && read_at(job->group->dir_fd, "", "pids.peak", text, sizeof(text)))
        job->processes_peak = strtoll(text, NULL, 10);
}

bool cgroup_oom(struct job *job) {
    char text[TEXT_MAX];
    int64_t kills = 0;
    if (job->memory && read_at(AT_FDCWD, job->memory, "memory.oom_control", text, sizeof(text)))
        kills = number_of(text, "oom_kill");
    else if (job->group && job->shim->host.tree_limits &&
             read_at(job->group->dir_fd, "", "memory.events", text, sizeof(text)))
        kills = number_of(text, "oom_kill");
    bool more = kills > job->oom_kills;
    job->oom_kills = more ? kills : job->oom_kills;
    return more;
}
