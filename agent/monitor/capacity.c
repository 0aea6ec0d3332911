#include "agent/monitor/capacity.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define PATH_MAX_BYTES 2048
#define CPUS_MAX 8192
#define GPUS_MAX 1024

static bool read_file(const char *path, char *ret, size_t size) {
    HD_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret, size - 1);
    ret[n > 0 ? n : 0] = '\0';
    return n > 0;
}

// --- CPUs ------------------------------------------------------------------------------------------------------------

static int64_t cpu_milli(void) {
    cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
    size_t size = CPU_ALLOC_SIZE(CPUS_MAX);
    if (!set)
        abort();
    int64_t cpus = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : sysconf(_SC_NPROCESSORS_ONLN);
    CPU_FREE(set);
    return cpus > 0 ? cpus * 1000 : 0;
}

// --- limits of control groups ----------------------------------------------------------------------------------------------------------

// Lines are <id>:<controllers>:<path>; that of version 2 is 0::<path>. Where both are there, the limit is that of version 1.
bool capacity_cgroup(const char *text, char *ret_path, size_t size, bool *ret_v2) {
    const char *v1 = strstr(text, ":memory:"), *at = v1 ? v1 + strlen(":memory:") : NULL;
    if (!v1) {
        const char *v2 = strstr(text, "\n0::");
        at = strncmp(text, "0::", 3) == 0 ? text + 3 : v2 ? v2 + 4 : NULL;
    }
    size_t len = at ? strcspn(at, "\n") : 0;
    if (!len || len >= size)
        return false;
    memcpy(ret_path, at, len);
    ret_path[len] = '\0';
    *ret_v2 = !v1;
    return true;
}

// A number; 0 of "max".
static int64_t read_bytes(const char *text) {
    return strtoll(text, NULL, 10);
}

// "<quota> <period>" of microseconds.
static int64_t read_quota(const char *text) {
    char *rest;
    int64_t quota = strtoll(text, &rest, 10), period = strtoll(rest, NULL, 10);
    return quota > 0 && period > 0 && quota < INT64_MAX / 1000 ? quota * 1000 / period : 0;
}

// The smallest limit of the group and of all those around it, and `most` where there is none.
static int64_t smallest_limit(const char *root, const char *group, const char *file,
                              int64_t (*read_limit)(const char *text), int64_t most) {
    char path[PATH_MAX_BYTES + 64], cut[PATH_MAX_BYTES], text[64];
    hd_strlcpy(cut, group, sizeof(cut));
    for (;;) {
        char *slash = strrchr(cut, '/');
        snprintf(path, sizeof(path), "%s%s/%s", root, hd_streq(cut, "/") ? "" : cut, file);
        int64_t limit = read_file(path, text, sizeof(text)) ? read_limit(text) : 0;
        most = limit > 0 && limit < most ? limit : most;
        if (!slash)
            return most;
        *slash = '\0';
    }
}

static void limit_by_groups(struct hd_resources *amounts) {
    char text[8192], group[PATH_MAX_BYTES];
    int64_t *memory = &amounts->of[HD_MEMORY_BYTES], *cpu = &amounts->of[HD_CPU_MILLI];
    bool v2;
    if (!read_file("/proc/self/cgroup", text, sizeof(text)) || !capacity_cgroup(text, group, sizeof(group), &v2))
        return;
    if (!v2) {
        *memory = smallest_limit("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes", read_bytes, *memory);
        return;
    }
    *memory = smallest_limit("/sys/fs/cgroup", group, "memory.max", read_bytes, *memory);
    *cpu = smallest_limit("/sys/fs/cgroup", group, "cpu.max", read_quota, *cpu);
}

static int64_t memory_bytes(void) {
    char text[8192];
    const char *at = read_file("/proc/meminfo", text, sizeof(text)) ? strstr(text, "MemTotal:") : NULL;
    return at ? strtoll(at + strlen("MemTotal:"), NULL, 10) * 1024 : 0;
}

int64_t capacity_gpus(const char *dev) {
    DIR *dir = opendir(dev);
    const struct dirent *entry;
    int64_t n = 0;
    while (dir && (entry = readdir(dir))) {
        const char *number = entry->d_name + strlen("nvidia");
        n += hd_starts_with(entry->d_name, "nvidia") && *number && strspn(number, "0123456789") == strlen(number);
    }
    if (dir)
        closedir(dir);
    return n;
}

// --- all -------------------------------------------------------------------------------------------------------------

void capacity_detect(int dir_fd, struct hd_resources *ret) {
    struct statvfs fs;
    *ret = (struct hd_resources){
        {[HD_CPU_MILLI] = cpu_milli(), [HD_MEMORY_BYTES] = memory_bytes(), [HD_GPU] = capacity_gpus("/dev")}};
    limit_by_groups(ret);
    if (fstatvfs(dir_fd, &fs) == 0)
        ret->of[HD_DISK_BYTES] = (int64_t)(fs.f_bavail * fs.f_frsize);
    for (size_t i = 0; i < HD_RESOURCES; i++)
        ret->of[i] = ret->of[i] < HD_RESOURCE_MAX ? ret->of[i] : HD_RESOURCE_MAX;
}

static enum hd_status choose_bytes(const struct hd_settings *settings, const char *name, struct hd_err *err,
                                   int64_t *ret) {
    const char *text = hd_settings_text(settings, name);
    if (!*text || hd_bytes_parse(text, ret) == HD_OK)
        return HD_OK;
    hd_err_set(err, HD_INVALID, "%s: \"%.40s\" is not an amount of bytes", name, text);
    hd_err_hint(err, "for example 512Mi, 16Gi or 2T");
    return HD_INVALID;
}

static enum hd_status choose_gpus(const struct hd_settings *settings, struct hd_err *err, int64_t *ret) {
    const char *text = hd_settings_text(settings, "gpu");
    int64_t n = *ret;
    if (*text && (hd_parse_i64(text, &n) != HD_OK || n < 0 || n > GPUS_MAX)) {
        hd_err_set(err, HD_INVALID, "gpu: \"%.40s\" is not a number of GPUs from 0 to %d", text, GPUS_MAX);
        return HD_INVALID;
    }
    *ret = n;
    return HD_OK;
}

enum hd_status capacity_choose(const struct hd_settings *settings, int dir_fd, struct hd_err *err,
                               struct hd_resources *ret) {
    const char *cpu = hd_settings_text(settings, "cpu");
    capacity_detect(dir_fd, ret);
    if (*cpu && hd_cpu_parse(cpu, &ret->of[HD_CPU_MILLI]) != HD_OK) {
        hd_err_set(err, HD_INVALID, "cpu: \"%.40s\" is not a number of CPUs", cpu);
        hd_err_hint(err, "for example 4, 1.5 or 500m");
        return HD_INVALID;
    }
    HD_TRY(choose_bytes(settings, "memory", err, &ret->of[HD_MEMORY_BYTES]));
    HD_TRY(choose_bytes(settings, "disk", err, &ret->of[HD_DISK_BYTES]));
    return choose_gpus(settings, err, &ret->of[HD_GPU]);
}
