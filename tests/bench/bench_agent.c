// The agent alone: nats-server and this program around it, which hands out work and takes what comes back.
//
//   bench-agent N      N jobs of /bin/true, a thousand under way; prints {"jobs","ms","agent_kib","shim_kib"}: the peaks of memory
#include "tests/integration/agent_world.h"

static int64_t peak_kib(pid_t pid) {
    char path[64], line[256];
    int64_t kib = 0;
    snprintf(path, sizeof(path), "/proc/%ld/status", (long)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, "VmHWM:", 6) == 0)
            kib = strtoll(line + 6, NULL, 10);
    if (file)
        fclose(file);
    return kib;
}

// The agent's only child.
static pid_t shim_of(pid_t agent) {
    char path[64], text[64] = "";
    snprintf(path, sizeof(path), "/proc/%ld/task/%ld/children", (long)agent, (long)agent);
    HD_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    return n > 0 ? (pid_t)strtol(text, NULL, 10) : 0;
}

int main(int argc, char **argv) {
    struct world w;
    int64_t n = argc == 2 ? strtoll(argv[1], NULL, 10) : 0;
    if (n <= 0 || n > 10000000) {
        fprintf(stderr, "bench-agent N: how many jobs, 1 to 10000000\n");
        return 2;
    }
    world_init(&w);
    room_for(&w, (size_t)n + 200);
    measure(&w, EXEC(SHELL), "/bin/true", 200); // caches
    int64_t ms = measure(&w, EXEC(SHELL), "/bin/true", (size_t)n);
    printf("{\"jobs\":%" PRId64 ",\"ms\":%" PRId64 ",\"agent_kib\":%" PRId64 ",\"shim_kib\":%" PRId64 "}\n", n, ms,
           peak_kib(w.agent), peak_kib(shim_of(w.agent)));
    world_release(&w);
    return test_failures ? 1 : 0;
}
