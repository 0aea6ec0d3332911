#include "agent/check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent/monitor/capacity.h"
#include "base/pb.h"
#include "base/resources.h"
#include "base/uuid.h"
#include "hodei/v1/common.pb-c.h"
#include "hodei/v1/worker.pb-c.h"

#define CONNECT_MS 4000
#define ANSWER_MS 4000
#define SKEW_NOTE_MS 1000
#define SKEW_MAX_MS 10000
#define FILES_A_JOB 8 // descriptors of the shim: pipes, spool, group; and the agent's own

enum verdict { FINE, NOTE, MISSING }; // NOTE: works, and people should know

struct check {
    const struct check_def *def;
    int missing;
};

static void say(struct check *check, enum verdict verdict, const char *what, const char *fmt, ...) HD_PRINTF(4, 5);
static void say(struct check *check, enum verdict verdict, const char *what, const char *fmt, ...) {
    static const char *const words[] = {"ok", "note", "MISSING"};
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    printf("%-8s%-13s %s\n", words[verdict], what, text);
    fflush(stdout);
    check->missing += verdict == MISSING;
}

// --- the machine -----------------------------------------------------------------------------------------------------

static const char *setting(const struct check *check, const char *name) {
    return hd_settings_text(check->def->settings, name);
}

// The folder itself, or the nearest one above it that is there.
static int open_nearest(const char *path, char *ret, size_t size) {
    hd_strlcpy(ret, path, size);
    for (;;) {
        int fd = open(*ret ? ret : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        char *slash = strrchr(ret, '/');
        if (fd >= 0 || errno != ENOENT || !slash)
            return fd;
        *slash = '\0';
    }
}

static void check_writable(struct check *check, const char *path, int fd) {
    HD_AUTO_FD int lock = openat(fd, "lock", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    HD_AUTO_FD int file = openat(fd, ".check", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool good = file >= 0 && write(file, "x", 1) == 1 && fsync(file) == 0;
    int why = errno;
    (void)unlinkat(fd, ".check", 0);
    if (!good)
        say(check, MISSING, "state folder", "%s cannot be written to: %s", path, strerror(why));
    else if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) != 0)
        say(check, NOTE, "state folder", "%s is used by an agent that runs", path);
    else
        say(check, FINE, "state folder", "%s can be written to", path);
}

static void check_disk(struct check *check, const char *path, int fd) {
    struct statvfs fs;
    int64_t floor = 0;
    HD_AUTO_BUF struct hd_buf text = {0}, want = {0};
    if (fstatvfs(fd, &fs) != 0) {
        say(check, MISSING, "disk", "%s: %s", path, strerror(errno));
        return;
    }
    int64_t free_bytes = (int64_t)(fs.f_bavail * fs.f_frsize);
    (void)!hd_bytes_parse(setting(check, "disk-floor"), &floor);
    hd_resource_format(HD_DISK_BYTES, free_bytes, &text);
    hd_resource_format(HD_DISK_BYTES, floor, &want);
    if (free_bytes < floor)
        say(check, MISSING, "disk",
            "%s is free at %s, less than %s: no work would be taken; free some or lower disk-floor", text.data, path,
            want.data);
    else
        say(check, FINE, "disk", "%s is free at %s", text.data, path);
}

static void check_state(struct check *check) {
    const char *path = setting(check, "state");
    char nearest[4200];
    HD_AUTO_FD int fd = open_nearest(path, nearest, sizeof(nearest));
    const char *at = *nearest ? nearest : "/";
    if (fd < 0) {
        say(check, MISSING, "state folder", "%s: %s; --state names another", at, strerror(errno));
        return;
    }
    if (hd_streq(nearest, path))
        check_writable(check, path, fd);
    else if (faccessat(fd, ".", W_OK, AT_EACCESS) == 0)
        say(check, FINE, "state folder", "%s is not there yet and can be made", path);
    else
        say(check, MISSING, "state folder",
            "%s is not there and cannot be made in %s: make it for this user, or --state", path, at);
    check_disk(check, at, fd);
}

static void check_user(struct check *check) {
    const char *home = getenv("HOME");
    if (geteuid() == 0)
        say(check, NOTE, "user", "the agent runs as root: what jobs may do is then for its settings to say");
    else
        say(check, FINE, "user", "the agent and its jobs run as user %u", (unsigned)geteuid());
    if (!home || access(home, X_OK) != 0)
        say(check, NOTE, "home", "HOME %s: jobs get the state folder instead",
            home ? "is no folder that can be entered" : "is not set");
    if (access("/bin/sh", X_OK) == 0)
        say(check, FINE, "shell", "/bin/sh is there");
    else
        say(check, MISSING, "shell", "/bin/sh: %s; steps that name no shell of their own need it", strerror(errno));
}

static bool has_word(const char *text, const char *word) {
    size_t len = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at += len)
        if ((at == text || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\n' || !at[len]))
            return true;
    return false;
}

static void read_text(const char *path, char *ret, size_t size) {
    HD_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret, size - 1);
    ret[n > 0 ? n : 0] = '\0';
}

// Whether memory, CPU and processes of a job can be limited and counted: by version 2, by version 1, or not.
static void check_cgroups(struct check *check) {
    char v2[512], hybrid[512];
    read_text("/sys/fs/cgroup/cgroup.controllers", v2, sizeof(v2));
    read_text("/sys/fs/cgroup/unified/cgroup.controllers", hybrid, sizeof(hybrid));
    bool v1 = access("/sys/fs/cgroup/memory/memory.limit_in_bytes", R_OK) == 0;
    if (has_word(v2, "memory") && has_word(v2, "pids") && access("/sys/fs/cgroup/cgroup.procs", W_OK) == 0)
        say(check, FINE, "cgroups", "version 2, with the controllers %.*s", (int)strcspn(v2, "\n"), v2);
    else if (v1 && access("/sys/fs/cgroup/memory", W_OK) == 0)
        say(check, FINE, "cgroups", "version 1%s: memory of jobs can be limited and counted",
            access("/sys/fs/cgroup/unified/cgroup.procs", F_OK) == 0 ? " beside a tree of version 2" : "");
    else if (*v2 || *hybrid || v1)
        say(check, NOTE, "cgroups",
            "they are there and this user may not make any: limits of jobs are those of a process; as a service, "
            "Delegate=yes");
    else
        say(check, NOTE, "cgroups",
            "there are none: limits of jobs are those of a process, and usage is what processes report");
}

static void check_limits(struct check *check) {
    struct rlimit files;
    int64_t slots = hd_settings_int(check->def->settings, "slots"), wants = (slots ? slots : 16) * FILES_A_JOB + 64;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || (int64_t)files.rlim_max >= wants)
        say(check, FINE, "files", "%llu open files are allowed", (unsigned long long)files.rlim_max);
    else
        say(check, MISSING, "files",
            "%llu open files are allowed, and %lld slots want %lld: raise the limit (LimitNOFILE)",
            (unsigned long long)files.rlim_max, (long long)slots, (long long)wants);
}

static void check_capacity(struct check *check) {
    struct hd_resources found;
    HD_AUTO_BUF struct hd_buf text = {0};
    capacity_detect(-1, &found);
    hd_resource_format(HD_CPU_MILLI, found.of[HD_CPU_MILLI], &text);
    hd_buf_adds(&text, ", ");
    hd_resource_format(HD_MEMORY_BYTES, found.of[HD_MEMORY_BYTES], &text);
    hd_buf_adds(&text, ", ");
    hd_resource_format(HD_GPU, found.of[HD_GPU], &text);
    say(check, FINE, "machine", "%s", text.data);
}

static void check_shim(struct check *check) {
    if (*check->def->shim_problem)
        say(check, MISSING, "shim", "%s; --shim names it, by default it stands beside the agent",
            check->def->shim_problem);
    else
        say(check, FINE, "shim", "%s", check->def->shim);
}

// --- the platform ----------------------------------------------------------------------------------------------------

static bool check_nats(struct check *check) {
    struct hd_bus *bus = check->def->bus;
    const char *urls = setting(check, "nats");
    int64_t until = hd_now_read().mono_ms + CONNECT_MS;
    struct pollfd none = {.fd = -1};
    while (!bus->ops->connected(bus) && hd_now_read().mono_ms < until)
        (void)poll(&none, 0, 20); // the bus says nothing when it connects
    if (bus->ops->connected(bus)) {
        say(check, FINE, "NATS", "%s answers", urls);
        return true;
    }
    say(check, MISSING, "NATS",
        "%s does not answer within %d s, or refuses the user \"%s\": look at --nats, --nats-user, the password, "
        "--nats-ca "
        "and the network",
        urls, CONNECT_MS / 1000, setting(check, "nats-user"));
    return false;
}

static void check_clock(struct check *check, int64_t registry_ms, const struct hd_now *asked,
                        const struct hd_now *heard) {
    int64_t skew_ms = registry_ms - (asked->wall_ms + heard->wall_ms) / 2, off_ms = skew_ms < 0 ? -skew_ms : skew_ms;
    const char *side = skew_ms < 0 ? "ahead of" : "behind";
    if (!registry_ms)
        say(check, NOTE, "clock", "the registry does not tell its time");
    else if (off_ms < SKEW_NOTE_MS)
        say(check, FINE, "clock", "within %lld ms of the registry's", (long long)off_ms + 1);
    else
        say(check, off_ms < SKEW_MAX_MS ? NOTE : MISSING, "clock",
            "%lld.%lld s %s the registry's: times of logs and results are wrong by that; let NTP set it",
            (long long)(off_ms / 1000), (long long)(off_ms % 1000 / 100), side);
}

// A heartbeat of a session that nobody has: the registry answers that it does not know it, and changes nothing.
static void check_registry(struct check *check) {
    struct hd_arena arena;
    struct hd_err err = {0};
    Hodei__V1__RpcRequest request = HODEI__V1__RPC_REQUEST__INIT;
    Hodei__V1__HeartbeatRequest beat = HODEI__V1__HEARTBEAT_REQUEST__INIT;
    struct hd_now asked = hd_now_read();
    char session[HD_UUID_TEXT];
    uint8_t *data, *answer = NULL;
    size_t len, answer_len = 0;
    ProtobufCMessage *msg = NULL;
    hd_arena_init(&arena);
    hd_uuid_format(hd_uuid7(asked.wall_ms, check->def->rng), session);
    beat.worker = (char *)(uintptr_t)check->def->name;
    beat.session = session;
    hd_pb_pack(&arena, &beat.base, &request.body.data, &request.body.len);
    request.timeout_ms = ANSWER_MS;
    hd_pb_pack(&arena, &request.base, &data, &len);
    enum hd_status status = hd_bus_nats_call(check->def->bus, hd_subject_rpc(&arena, "worker-registry", "Heartbeat"),
                                             data, len, ANSWER_MS, &err, &answer, &answer_len);
    struct hd_now heard = hd_now_read();
    if (status == HD_OK)
        status = hd_pb_unpack(&arena, &hodei__v1__rpc_reply__descriptor, answer, answer_len, &err, &msg);
    const Hodei__V1__RpcReply *reply = (const Hodei__V1__RpcReply *)msg;
    if (status == HD_OK && reply->status == HODEI__V1__STATUS__STATUS_OK)
        status = hd_pb_unpack(&arena, &hodei__v1__heartbeat_reply__descriptor, reply->body.data, reply->body.len, &err,
                              &msg);
    else if (status == HD_OK)
        status = hd_err_set(&err, HD_UNAVAILABLE, "%s", reply->problem ? reply->problem->text : "it refuses");
    if (status == HD_OK) {
        say(check, FINE, "registry", "it answers, in %lld ms", (long long)(heard.mono_ms - asked.mono_ms));
        check_clock(check, ((const Hodei__V1__HeartbeatReply *)msg)->now_ms, &asked, &heard);
    } else {
        say(check, MISSING, "registry", "the worker registry does not answer: %s", err.text);
    }
    free(answer);
    hd_arena_release(&arena);
}

int check_run(const struct check_def *def) {
    struct check check = {.def = def};
    check_capacity(&check);
    check_state(&check);
    check_user(&check);
    check_shim(&check);
    check_cgroups(&check);
    check_limits(&check);
    if (*setting(&check, "join-token"))
        say(&check, FINE, "join token", "there is one; the registry looks at it when the agent joins");
    else
        say(&check, MISSING, "join token", "there is none: give --join-token-file");
    if (check_nats(&check))
        check_registry(&check);
    if (check.missing)
        printf("\n%d thing%s missing for worker \"%s\"\n", check.missing, check.missing == 1 ? " is" : "s are",
               def->name);
    else
        printf("\nnothing is missing for worker \"%s\"\n", def->name);
    return check.missing ? 1 : 0;
}
