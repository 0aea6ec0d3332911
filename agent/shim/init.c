// The shim as the first process of a container: it starts the agent, starts it again when it ends, reaps whatever comes to it, and
// hands signals on. So jobs outlive a crash of the agent here too, and it may be replaced.
//
// SIGTERM and SIGINT go to the agent, which drains as its setting on-stop says; when it has left, what still runs is stopped and the
// shim ends. SIGHUP goes to it too. An agent that ends with 2 has refused its settings: then the shim ends with 2, unless jobs run.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/shim/shim.h"
#include "base/log.h"

#define SOCKET_NAME "shim.sock"
#define AGAIN_FIRST_MS 200
#define AGAIN_MAX_MS 30000
#define STEADY_MS 60000 // after which a crash is the first one again
#define EXIT_USAGE 2

extern char **environ;

// --- start -----------------------------------------------------------------------------------------------------------

// The agent gets the environment as it was given. Jobs may read that of their parent, so the originals are wiped.
static char **take_environ(void) {
    size_t n = 0;
    while (environ[n])
        n++;
    char **kept = hd_calloc(n + 1, sizeof(*kept));
    for (size_t i = 0; i < n; i++) {
        kept[i] = strdup(environ[i]);
        if (!kept[i])
            abort();
        if (hd_starts_with(environ[i], "HODEI_"))
            memset(environ[i], 0, strlen(environ[i]));
    }
    return kept;
}

static void make_folders(const char *path) {
    char part[4096];
    hd_strlcpy(part, path, sizeof(part));
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(part, 0755); // what fails shows in the last
        *slash = '/';
    }
    (void)mkdir(part, 0700);
}

enum hd_status init_listen(const char *state, struct hd_err *err, int *ret_fd) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    make_folders(state);
    HD_AUTO_FD int dir = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    HD_AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (dir < 0 || fd < 0)
        return hd_err_set(err, HD_UNAVAILABLE, "state folder %.200s: %s", state, strerror(errno));
    snprintf(name.sun_path, sizeof(name.sun_path), "/proc/self/fd/%d/" SOCKET_NAME, dir);
    (void)unlinkat(dir, SOCKET_NAME, 0);
    if (fchmod(fd, 0600) != 0 || bind(fd, (const struct sockaddr *)&name, sizeof(name)) != 0 || listen(fd, 8) != 0)
        return hd_err_set(err, HD_UNAVAILABLE, "cannot make the socket %.200s/" SOCKET_NAME ": %s", state,
                          strerror(errno));
    *ret_fd = fd;
    fd = -1;
    return HD_OK;
}

void init_begin(struct shim *shim, char **argv) {
    shim->agent = (struct agent_process){.argv = argv, .env = take_environ()};
}

void init_release(struct shim *shim) {
    for (size_t i = 0; shim->agent.env && shim->agent.env[i]; i++)
        free(shim->agent.env[i]);
    free(HD_STEAL(shim->agent.env));
}

// --- the agent -------------------------------------------------------------------------------------------------------

static int spawn(struct agent_process *agent) {
    posix_spawnattr_t attr;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    int failed = posix_spawn(&agent->pid, agent->argv[0], NULL, &attr, agent->argv, agent->env);
    posix_spawnattr_destroy(&attr);
    return failed;
}

static void start(struct shim *shim) {
    struct agent_process *agent = &shim->agent;
    int failed = spawn(agent);
    agent->since_ms = shim->now.mono_ms;
    if (!failed) {
        hd_info("started the agent, process %ld", (long)agent->pid);
        return;
    }
    agent->pid = 0;
    agent->again_ms = shim->now.mono_ms + AGAIN_MAX_MS;
    hd_error("cannot start the agent %s: %s", agent->argv[0], strerror(failed));
}

static void ended(struct shim *shim, int status) {
    struct agent_process *agent = &shim->agent;
    bool usage = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_USAGE;
    agent->pid = 0;
    if (agent->leaving || (usage && !shim->active.head && !shim->waiting.head)) {
        agent->code = usage ? EXIT_USAGE : 0;
        shim_stop_all(shim);
        return;
    }
    if (shim->now.mono_ms - agent->since_ms >= STEADY_MS)
        agent->failures = 0;
    int64_t pause_ms = AGAIN_FIRST_MS;
    for (unsigned i = 0; i < agent->failures && pause_ms < AGAIN_MAX_MS; i++)
        pause_ms *= 2;
    agent->failures += agent->failures < 16;
    agent->again_ms = shim->now.mono_ms + (pause_ms < AGAIN_MAX_MS ? pause_ms : AGAIN_MAX_MS);
    hd_warn("the agent has ended with %s %d and is started again; jobs go on",
            WIFSIGNALED(status) ? "signal" : "exit code", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

bool init_reaped(struct shim *shim, pid_t pid, int status) {
    if (!shim->agent.pid || pid != shim->agent.pid)
        return false;
    ended(shim, status);
    return true;
}

void init_tend(struct shim *shim) {
    struct agent_process *agent = &shim->agent;
    if (!agent->argv)
        return;
    if (!agent->pid && !agent->leaving && !shim->leave && shim->now.mono_ms >= agent->again_ms)
        start(shim);
}

bool init_signal(struct shim *shim, int signal) {
    struct agent_process *agent = &shim->agent;
    if (!agent->argv)
        return false;
    agent->leaving = agent->leaving || signal == SIGTERM || signal == SIGINT;
    if (agent->pid)
        (void)kill(agent->pid, signal == SIGINT ? SIGTERM : signal);
    else if (agent->leaving)
        shim_stop_all(shim);
    return true;
}

int64_t init_due(const struct shim *shim) {
    const struct agent_process *agent = &shim->agent;
    return agent->argv && !agent->pid && !agent->leaving && !shim->leave ? agent->again_ms : SHIM_NEVER;
}
