#include "agent/executor/cgroups.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

#define OWN_LEAF "agent" // where the agent itself goes: a group with controllers for others may hold no process

// --- the files of /proc ----------------------------------------------------------------------------------------------

static void read_file(const char *path, struct hd_buf *ret) {
    HD_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (ssize_t n = 1; fd >= 0 && n > 0; ret->len += n > 0 ? (size_t)n : 0) {
        hd_buf_reserve(ret, 4096);
        n = read(fd, ret->data + ret->len, 4096);
    }
    hd_buf_addc(ret, '\0');
}

// One of the words between commas, or spaces.
static bool has_word(const char *text, size_t len, const char *word) {
    for (size_t i = 0, n; i < len; i += n + 1) {
        n = strcspn(text + i, ", \n");
        n = n < len - i ? n : len - i;
        if (n == strlen(word) && strncmp(text + i, word, n) == 0)
            return true;
    }
    return false;
}

// Lines are <id>:<controllers>:<path>; that of version 2 is 0::<path>.
static bool own_path(const char *cgroup, const char *controller, const char **ret, size_t *ret_len) {
    for (const char *line = cgroup; *line;) {
        size_t len = strcspn(line, "\n");
        const char *list = memchr(line, ':', len),
                   *path = list ? memchr(list + 1, ':', len - (size_t)(list + 1 - line)) : NULL;
        bool fits = path && (controller ? has_word(list + 1, (size_t)(path - list - 1), controller) : path == list + 1);
        if (fits && path + 1 < line + len) {
            *ret = path + 1;
            *ret_len = (size_t)(line + len - path - 1);
            return true;
        }
        line += len + (line[len] == '\n');
    }
    return false;
}

// Of a line of mountinfo: id parent dev root mountpoint options… - type source options.
static bool read_mount(const char *line, size_t len, const char *controller, struct hd_str *ret_root,
                       struct hd_str *ret_at) {
    const char *field[5], *end = line + len, *dash = memmem(line, len, " - ", 3);
    const char *at = line;
    for (size_t i = 0; i < 5; i++) {
        field[i] = at;
        at = memchr(at, ' ', (size_t)(end - at));
        if (!at)
            return false;
        at++;
    }
    const char *type = dash ? dash + 3 : end, *options = end;
    while (options > type && options[-1] != ' ')
        options--;
    *ret_root = (struct hd_str){field[3], (size_t)(field[4] - field[3]) - 1};
    *ret_at = (struct hd_str){field[4], (size_t)(at - field[4]) - 1};
    if (!controller)
        return hd_starts_with(type, "cgroup2 ");
    return hd_starts_with(type, "cgroup ") && has_word(options, (size_t)(end - options), controller);
}

bool cgroups_own(const char *mountinfo, const char *cgroup, const char *controller, char *ret, size_t size) {
    const char *path;
    size_t len;
    if (!own_path(cgroup, controller, &path, &len))
        return false;
    for (const char *line = mountinfo; *line;) {
        struct hd_str root, at;
        size_t n = strcspn(line, "\n");
        if (read_mount(line, n, controller, &root, &at)) {
            size_t cut = root.len == 1 ? 0 : root.len; // "/" is the prefix of everything
            bool below = len >= cut && strncmp(path, root.ptr, cut) == 0 && (len == cut || path[cut] == '/');
            if (below) {
                size_t rest = len - cut == 1 ? 0 : len - cut;
                int made = snprintf(ret, size, "%.*s%.*s", (int)at.len, at.ptr, (int)rest, path + cut);
                return made > 0 && (size_t)made < size;
            }
        }
        line += n + (line[n] == '\n');
    }
    return false;
}

// --- by trying -------------------------------------------------------------------------------------------------------

static bool has_file(const char *dir, const char *name, int mode) {
    char path[CGROUPS_PATH + 64];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return access(path, mode) == 0;
}

// Makes the folder below `own`, and takes it away again where it was not there; `file` is what must be writable in it.
static bool try_folder(const char *own, const char *name, const char *file, char *ret) {
    char path[CGROUPS_PATH];
    int len = snprintf(path, sizeof(path), "%s/%s", own, name);
    if (len < 0 || (size_t)len >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return false;
    }
    bool made = mkdir(path, 0755) == 0;
    if (!made && errno != EEXIST)
        return false;
    bool good = has_file(path, file, W_OK);
    if (made)
        (void)rmdir(path);
    if (good)
        hd_strlcpy(ret, path, CGROUPS_PATH);
    return good;
}

static bool write_file(const char *dir, const char *name, const char *text) {
    char path[CGROUPS_PATH + 64];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    HD_AUTO_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static bool has_controllers(const char *dir) {
    HD_AUTO_BUF struct hd_buf text = {0};
    char path[CGROUPS_PATH + 64];
    snprintf(path, sizeof(path), "%s/cgroup.controllers", dir);
    read_file(path, &text);
    return has_word(text.data, text.len - 1, "memory") && has_word(text.data, text.len - 1, "cpu") &&
           has_word(text.data, text.len - 1, "pids");
}

// A group that hands controllers on holds no process, but for the root: so the agent goes into one of its own first. Where others are
// in it too (a shell, a whole session), that is not our group to divide, and it stays without limits.
static bool hand_on(const char *base, bool moved) {
    char leaf[CGROUPS_PATH + 16];
    if (!has_controllers(base))
        return false;
    if (!moved && has_file(base, "cgroup.type", F_OK)) {
        snprintf(leaf, sizeof(leaf), "%s/" OWN_LEAF, base);
        if ((mkdir(leaf, 0755) != 0 && errno != EEXIST) || !write_file(leaf, "cgroup.procs", "0"))
            return false;
    }
    return write_file(base, "cgroup.subtree_control", "+memory +cpu +pids");
}

static bool is_service(const char *group) {
    const char *dot = strrchr(group, '.');
    return dot && hd_streq(dot, ".service");
}

static void detect_tree(const char *mountinfo, const char *cgroup, const char *name, struct cgroups *ret) {
    char own[CGROUPS_PATH];
    if (!cgroups_own(mountinfo, cgroup, NULL, own, sizeof(own))) {
        snprintf(ret->why, sizeof(ret->why), "version 2 is not mounted");
        return;
    }
    char *slash = strrchr(own, '/');
    bool moved = slash && hd_streq(slash, "/" OWN_LEAF);
    if (moved) // by an earlier agent, or by systemd (DelegateSubgroup=)
        *slash = '\0';
    // systemd could not start the next agent in a group that hands controllers on while the shim and its jobs live below it.
    ret->undivided = !moved && getenv("INVOCATION_ID") && is_service(own) && has_controllers(own);
    bool limits = !ret->undivided && hand_on(own, moved);
    errno = 0;
    if (try_folder(own, name, "cgroup.kill", ret->tree)) {
        ret->tree_limits = limits;
        return;
    }
    snprintf(ret->why, sizeof(ret->why), "%.150s: %s", own,
             errno == 0 || errno == ENOENT ? "this kernel has no cgroup.kill (5.14)" : strerror(errno));
}

void cgroups_detect(const char *name, struct cgroups *ret) {
    HD_AUTO_BUF struct hd_buf mountinfo = {0}, cgroup = {0};
    char own[CGROUPS_PATH];
    *ret = (struct cgroups){.why = ""};
    read_file("/proc/self/mountinfo", &mountinfo);
    read_file("/proc/self/cgroup", &cgroup);
    detect_tree(mountinfo.data, cgroup.data, name, ret);
    if (ret->tree_limits)
        return;
    if (cgroups_own(mountinfo.data, cgroup.data, "memory", own, sizeof(own)))
        (void)try_folder(own, name, "memory.limit_in_bytes", ret->memory);
    if (cgroups_own(mountinfo.data, cgroup.data, "cpu", own, sizeof(own)))
        (void)try_folder(own, name, "cpu.cfs_quota_us", ret->cpu);
}

// --- in words --------------------------------------------------------------------------------------------------------

const char *cgroups_layout(const struct cgroups *groups) {
    bool v1 = *groups->memory || *groups->cpu;
    if (groups->tree_limits)
        return "v2";
    if (*groups->tree)
        return v1 ? "hybrid" : "tree";
    return v1 ? "v1" : "none";
}

void cgroups_describe(const struct cgroups *groups, char *ret, size_t size) {
    if (groups->tree_limits) {
        snprintf(ret, size, "jobs have control groups of version 2, which limit memory, CPU time and processes");
        return;
    }
    const char *limits = *groups->memory && *groups->cpu ? "memory and CPU time are limited by version 1"
                         : *groups->memory               ? "memory is limited by version 1, CPU time is not limited"
                         : *groups->cpu ? "CPU time is limited by version 1, memory for each process alone (rlimit)"
                                        : "memory is limited for each process alone (rlimit), CPU time is not limited";
    if (*groups->tree)
        snprintf(ret, size, "jobs have control groups of version 2; %s%s", limits,
                 groups->undivided ? "; more needs DelegateSubgroup=agent in the service (systemd 254)" : "");
    else
        snprintf(ret, size, "jobs have no control groups to end them as one (%s); %s", groups->why, limits);
}
