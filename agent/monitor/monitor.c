#include "agent/monitor/monitor.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/buf.h"

struct hd_metric monitor_metrics[MONITOR_COUNT] = {
    [MONITOR_CPU] = {"hodei_agent_machine_cpu_used_milli", NULL, "Thousandths of a core in use", HD_GAUGE},
    [MONITOR_MEMORY] = {"hodei_agent_machine_memory_free_bytes", NULL, "Memory that could be had", HD_GAUGE},
    [MONITOR_DISK] = {"hodei_agent_machine_disk_free_bytes", NULL, "Room beside the state folder", HD_GAUGE},
    [MONITOR_LOAD] = {"hodei_agent_machine_load_milli", NULL, "Load average of a minute, in thousandths", HD_GAUGE},
};

static bool read_file(const char *path, char *ret, size_t size) {
    HD_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret, size - 1);
    ret[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static void read_cpu(struct monitor *monitor, Hodei__V1__WorkerLoad *ret) {
    char text[512];
    uint64_t t[8] = {0}, total = 0;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    ret->cpu_milli_total = cpus > 0 ? cpus * 1000 : 0;
    if (!read_file("/proc/stat", text, sizeof(text)) ||
        sscanf(text, "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
               &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7]) < 4)
        return;
    for (size_t i = 0; i < 8; i++)
        total += t[i];
    uint64_t busy = total - t[3] - t[4]; // idle, waiting for disks
    if (monitor->total && total > monitor->total && busy >= monitor->busy)
        ret->cpu_milli_used =
            (int64_t)((busy - monitor->busy) * (uint64_t)ret->cpu_milli_total / (total - monitor->total));
    monitor->busy = busy;
    monitor->total = total;
}

static int64_t meminfo(const char *text, const char *name) {
    const char *at = strstr(text, name);
    int64_t kib = 0;
    return at && sscanf(at + strlen(name), " %" SCNd64, &kib) == 1 ? kib * 1024 : 0;
}

void monitor_read(struct monitor *monitor, Hodei__V1__WorkerLoad *ret) {
    char text[4096];
    struct statvfs fs;
    double load;
    read_cpu(monitor, ret);
    if (read_file("/proc/meminfo", text, sizeof(text))) {
        ret->memory_bytes_total = meminfo(text, "MemTotal:");
        ret->memory_bytes_free = meminfo(text, "MemAvailable:");
    }
    if (fstatvfs(monitor->dir_fd, &fs) == 0) {
        ret->disk_bytes_total = (int64_t)(fs.f_blocks * fs.f_frsize);
        ret->disk_bytes_free = (int64_t)(fs.f_bavail * fs.f_frsize);
    }
    if (getloadavg(&load, 1) == 1)
        ret->load_milli = (int64_t)(load * 1000);
    hd_metric_set(&monitor_metrics[MONITOR_CPU], ret->cpu_milli_used);
    hd_metric_set(&monitor_metrics[MONITOR_MEMORY], ret->memory_bytes_free);
    hd_metric_set(&monitor_metrics[MONITOR_DISK], ret->disk_bytes_free);
    hd_metric_set(&monitor_metrics[MONITOR_LOAD], ret->load_milli);
}
