// The agent alone: nats-server and this program around it, which hands out work and takes what comes back.
//
//   bench-agent N      N jobs of /bin/true, a thousand under way; prints {"jobs","ms","agent_kib","shim_kib"}: the peaks of memory
#include "tests/integration/agent_world.h"

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
           status_kib(w.agent, "VmHWM:"), status_kib(child_of(w.agent), "VmHWM:"));
    world_release(&w);
    return test_failures ? 1 : 0;
}
