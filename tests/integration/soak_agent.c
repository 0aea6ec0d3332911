// WARM short jobs (60,000), each a process, and then N more (100,000): what the agent and its shim use stays as it is, and nothing of a job is
// left.
//
//   soak-agent [N [WARM]]
#include "tests/integration/agent_world.h"

#define WARM                                                                                                           \
    60000 // then the agent has all the tombstones that it keeps; after fewer they are among what MORE_KIB allows
// What an allocator keeps of the largest burst of jobs that ended at once: 3 MiB here, and none of it more after 200,000 jobs than after
// 50,000. What stays of each job shows from 60 bytes on.
#define MORE_KIB 6144

struct use {
    int64_t agent_kib, shim_kib, agent_files, shim_files;
};

static int64_t files_of(pid_t pid) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%ld/fd", (long)pid);
    return entries_of(path);
}

static struct use use_of(const struct world *w) {
    pid_t shim = child_of(w->agent);
    return (struct use){status_kib(w->agent, "VmRSS:"), status_kib(shim, "VmRSS:"), files_of(w->agent), files_of(shim)};
}

static int64_t left_in(const struct world *w, const char *folder) {
    char path[128];
    snprintf(path, sizeof(path), "%s/state/%s", w->folder, folder);
    return entries_of(path);
}

// Groups that wait for the next job; none where there are no control groups.
static int64_t groups_of(const struct world *w) {
    char path[256];
    int64_t n = 0;
    const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/hodei-%s", roots[i], w->session);
        DIR *dir = opendir(path);
        const struct dirent *entry;
        while (dir && (entry = readdir(dir)))
            n += entry->d_type == DT_DIR && entry->d_name[0] != '.';
        if (dir)
            closedir(dir);
    }
    return n;
}

int main(int argc, char **argv) {
    struct world w;
    int64_t n = argc > 1 ? strtoll(argv[1], NULL, 10) : 100000;
    size_t warm = argc > 2 ? strtoull(argv[2], NULL, 10) : WARM;
    world_init(&w);
    room_for(&w, (size_t)n + warm);
    (void)measure(&w, EXEC(SHELL), "/bin/true", warm);
    struct use before = use_of(&w);
    int64_t ms = measure(&w, EXEC(SHELL), "/bin/true", (size_t)n);
    struct use after = use_of(&w);
    printf("%" PRId64 " jobs in %" PRId64 " ms; agent %" PRId64 " → %" PRId64 " KiB, shim %" PRId64 " → %" PRId64
           " KiB; files %" PRId64 " → %" PRId64 ", %" PRId64 " → %" PRId64 "\n",
           n, ms, before.agent_kib, after.agent_kib, before.shim_kib, after.shim_kib, before.agent_files,
           after.agent_files, before.shim_files, after.shim_files);
    CHECK(after.shim_kib < before.shim_kib + MORE_KIB);
    CHECK(after.agent_kib < before.agent_kib + MORE_KIB);
    UNTIL(&w, left_in(&w, "work") == 0 && left_in(&w, "spool") == 0);
    UNTIL(&w, child_of(child_of(w.agent)) == 0); // neither a process nor a zombie
    UNTIL(&w, files_of(w.agent) <= before.agent_files + 4);
    CHECK(groups_of(&w) <= 64);
    world_release(&w);
    CHECK_INT(groups_of(&w), 0);
    printf("%u passed, %u failed\n", !test_failures, test_failures != 0);
    return test_failures ? 1 : 0;
}
