// sim --seeds N | --seed S | --until-failure N | --mutants
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/sim/sim.h"

#define MUTANT_SEEDS 300 // in which each mutant must be caught
#define FAILURES_SHOWN 3 // then a process stops

void sim_event(struct sim *sim, const char *fmt, ...) {
    char *line = sim->events[sim->n_events++ % SIM_TRACE];
    int n = snprintf(line, sizeof(sim->events[0]), "%8" PRId64 "  ", sim->now.mono_ms - sim->began_ms);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line + n, sizeof(sim->events[0]) - (size_t)n, fmt, ap);
    va_end(ap);
    if (sim->trace)
        printf("%s\n", line);
}

void sim_fail(struct sim *sim, const char *fmt, ...) {
    if (sim->failed)
        return;
    sim->failed = true;
    if (sim->mutant)
        return;
    printf("seed %" PRIu64 ": ", sim->seed);
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    unsigned first = sim->n_events > SIM_TRACE ? sim->n_events - SIM_TRACE : 0;
    for (unsigned i = first; i < sim->n_events && !sim->trace; i++)
        printf("%s\n", sim->events[i % SIM_TRACE]);
    printf("replay: sim --seed %" PRIu64 "\n", sim->seed);
}

static bool run_seed(struct sim *sim, uint64_t seed, enum sim_mutant mutant) {
    sim_init(sim, seed, mutant);
    sim_run(sim);
    bool good = !sim->failed;
    sim_release(sim);
    return good;
}

// Each must be caught: an invariant that never fails says nothing.
static int run_mutants(struct sim *sim) {
    static const char *const names[] = {
        [MUTANT_JOURNAL] = "an agent that forgets its journal",
        [MUTANT_KEYS] = "a store that knows no idempotency keys",
        [MUTANT_COUNTERS] = "a store that drops changes of counters",
        [MUTANT_PARTS] = "an orchestrator that sees no limits of projects",
        [MUTANT_LIMITS] = "an orchestrator that sees twice the memory a tenant may use",
        [MUTANT_LOST_UPDATE] = "a store that drops changed rows",
        [MUTANT_FOLLOW] = "a store that forgets what follows a run",
        [MUTANT_HOLD] = "an orchestrator that does not hold jobs whose worker is gone",
        [MUTANT_ROOM] = "agents that take twice what they have room for",
        [MUTANT_SESSIONS] = "a registry that never tells of lost workers",
    };
    unsigned caught = 0, missed = 0;
    for (int mutant = MUTANT_NONE + 1; mutant < MUTANT_COUNT; mutant++) {
        uint64_t seed = 1;
        while (seed <= MUTANT_SEEDS && run_seed(sim, seed, (enum sim_mutant)mutant))
            seed++;
        bool found = seed <= MUTANT_SEEDS;
        caught += found;
        missed += !found;
        printf("%s: %s", names[mutant], found ? "caught" : "NOT caught\n");
        if (found)
            printf(" with seed %" PRIu64 "\n", seed);
    }
    printf("%u passed, %u failed\n", caught, missed);
    return missed != 0;
}

struct total {
    unsigned passed, failed, crashes, wipes, decided;
};

// Every `step`-th seed from `first` to `last`, until `most` of them have failed.
static struct total run_some(struct sim *sim, uint64_t first, uint64_t last, unsigned step, unsigned most) {
    struct total total = {0};
    for (uint64_t seed = first; seed <= last && total.failed < most; seed += step) {
        bool good = run_seed(sim, seed, MUTANT_NONE);
        total.passed += good;
        total.failed += !good;
        total.crashes += sim->crashes;
        total.wipes += sim->wipes;
        total.decided += sim->decided;
        if (!good)
            fflush(stdout);
    }
    return total;
}

// One process for each processor; what they find comes through a pipe.
static int run_seeds(struct sim *sim, uint64_t seeds) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned processes = n < 1 ? 1 : n > 64 ? 64 : (unsigned)n;
    struct total all = {0}, one;
    int ends[2];
    if (pipe(ends) != 0)
        abort();
    fflush(stdout);
    for (unsigned i = 0; i < processes; i++) {
        pid_t pid = fork();
        if (pid < 0)
            abort();
        if (pid > 0)
            continue;
        one = run_some(sim, 1 + i, seeds, processes, FAILURES_SHOWN);
        fflush(stdout);
        _exit(write(ends[1], &one, sizeof(one)) == (ssize_t)sizeof(one) ? 0 : 1);
    }
    close(ends[1]);
    while (read(ends[0], &one, sizeof(one)) == (ssize_t)sizeof(one)) {
        all.passed += one.passed;
        all.failed += one.failed;
        all.crashes += one.crashes;
        all.wipes += one.wipes;
        all.decided += one.decided;
    }
    close(ends[0]);
    for (int status; wait(&status) > 0;)
        all.failed += status != 0; // it crashed
    printf("%u crashes of services, %u times all streams wiped, %u held jobs decided\n", all.crashes, all.wipes,
           all.decided);
    printf("%u passed, %u failed\n", all.passed, all.failed);
    return all.failed != 0;
}

int main(int argc, char **argv) {
    struct sim *sim = hd_calloc(1, sizeof(*sim));
    int64_t number = 300, last, step;
    int code = 2;
    hd_log_setup("sim", HD_LOG_ERROR + 1);
    if (argc > 2 && hd_streq(argv[1], "--postgres")) {
        sim->postgres = argv[2];
        real_open(sim->postgres);
        argc -= 2;
        argv += 2;
    }
    if (argc == 2 && hd_streq(argv[1], "--mutants")) {
        code = run_mutants(sim);
    } else if (argc == 1 || (argc == 3 && hd_streq(argv[1], "--seeds") && hd_parse_i64(argv[2], &number) == HD_OK)) {
        code = run_seeds(sim, (uint64_t)number);
    } else if (argc == 5 && hd_streq(argv[1], "--some") && hd_parse_i64(argv[2], &number) == HD_OK &&
               hd_parse_i64(argv[3], &last) == HD_OK && hd_parse_i64(argv[4], &step) == HD_OK && step > 0) {
        struct total total = run_some(sim, (uint64_t)number, (uint64_t)last, (unsigned)step, FAILURES_SHOWN);
        printf("%u passed, %u failed\n", total.passed, total.failed);
        code = total.failed != 0;
    } else if (argc == 3 && hd_streq(argv[1], "--until-failure") && hd_parse_i64(argv[2], &number) == HD_OK) {
        code = run_some(sim, 1, (uint64_t)number, 1, 1).failed != 0;
    } else if (argc == 3 && hd_streq(argv[1], "--seed") && hd_parse_i64(argv[2], &number) == HD_OK) {
        sim->trace = true;
        code = !run_seed(sim, (uint64_t)number, MUTANT_NONE);
        printf("%s\n", code ? "0 passed, 1 failed" : "1 passed, 0 failed");
    } else {
        fprintf(stderr, "sim [--postgres CONNINFO] --seeds N | --seed S | --some FIRST LAST STEP | --until-failure N | "
                        "--mutants\n");
    }
    if (sim->postgres)
        real_close();
    free(sim);
    return code;
}
