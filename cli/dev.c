#include "cli/dev.h"

#include <errno.h>
#include <ftw.h>
#include <glob.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "adapter/db_script.h"
#include "base/uuid.h"

#define TICK_MS 25          // while starting: readiness of the API is asked for so often
#define SLOW_START_MS 60000 // then it is said what is missing
#define STOP_AGENT_MS 15000
#define STOP_SERVICE_MS 10000
#define STOP_BASE_MS 30000

static int64_t now_ms(void) {
    return hd_now_read().mono_ms;
}

// Services get it too, with their own users and passwords.
static enum hd_status check_postgres(struct dev *dev) {
    struct cli *cli = dev->cli;
    const char **settings;

    if (!dev->postgres)
        return HD_OK;
    if (dev->tls)
        return hd_err_set(&cli->err, HD_INVALID,
                          "--tls makes a certificate for the private PostgreSQL: leave --postgres out");
    if (strstr(dev->postgres, "://"))
        return hd_err_set(&cli->err, HD_INVALID,
                          "--postgres: write it as words, host=… user=… dbname=…, and not as an address");
    HD_TRY(hd_db_environment(dev->postgres, &cli->arena, &settings, &cli->err));
    for (size_t i = 0; settings[i]; i++)
        if (hd_starts_with(settings[i], "PGPASSWORD=")) {
            hd_err_set(&cli->err, HD_INVALID, "--postgres holds a password, which services would see");
            hd_err_hint(&cli->err, "write it into ~/.pgpass, or name another such file in PGPASSFILE");
            return HD_INVALID;
        }
    return HD_OK;
}

static enum hd_status options(struct dev *dev) {
    struct cli *cli = dev->cli;
    dev->tls = cli_option(cli, "tls");
    const char *data = cli_option(cli, "data"), *home = getenv("HOME"), *share = getenv("XDG_DATA_HOME");

    HD_TRY(cli_option_int(cli, "agents", 0, DEV_AGENTS_MAX, 1, &dev->agents));
    HD_TRY(cli_option_int(cli, "replicas", 1, DEV_REPLICAS_MAX, 1, &dev->replicas));
    HD_TRY(cli_option_int(cli, "slots", 1, 1000, 0, &dev->slots));
    HD_TRY(cli_option_int(cli, "nats-servers", 1, DEV_NATS_MAX, 1, &dev->nats_servers));
    if (dev->nats_servers % 2 == 0)
        return hd_err_set(&cli->err, HD_INVALID, "--nats-servers is 1, 3 or 5: a cluster decides by majority");
    dev->postgres = cli_option(cli, "postgres");
    HD_TRY(check_postgres(dev));
    if (!data && geteuid() == 0)
        data = "/var/lib/hodei";
    else if (!data && share && share[0])
        data = hd_arena_printf(&cli->arena, "%s/hodei", share);
    else if (!data)
        data = hd_arena_printf(&cli->arena, "%s/.local/share/hodei", home ? home : "");
    if (!data[0])
        return hd_err_set(&cli->err, HD_INVALID, "--data is empty");
    if (data[0] != '/') {
        HD_AUTO_FREE char *cwd = getcwd(NULL, 0);
        data = hd_arena_printf(&cli->arena, "%s/%s", cwd ? cwd : "", data);
    }
    char *copy = hd_arena_strdup(&cli->arena, data);
    for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/';)
        copy[--n] = '\0';
    dev->data = copy;
    return HD_OK;
}

static enum hd_status signals(struct dev *dev) {
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN); // a terminal that went away is no reason to die without stopping the rest
    dev->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    dev->watch_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (dev->signal_fd < 0 || dev->watch_fd < 0)
        return hd_err_set(&dev->cli->err, HD_UNAVAILABLE, "signalfd or inotify: %s", strerror(errno));
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) { // a stream of nats-server takes two files
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    return HD_OK;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static enum hd_status start_initdb(struct dev *dev) {
    const char *made = dev_path(dev, "pg.new");
    const char *const none[] = {NULL};

    nftw(made, remove_one, 16, FTW_DEPTH | FTW_PHYS); // of an earlier try
    if (mkdir(made, 0700) < 0 || (dev->pg_user && chown(made, dev->pg_uid, dev->pg_gid) < 0))
        return hd_err_set(&dev->cli->err, HD_UNAVAILABLE, "%s: %s", made, strerror(errno));
    return dev_spawn(dev, "initdb", dev_initdb_argv(dev), none, &dev->initdb);
}

static void start_phase(struct dev *dev, enum dev_phase phase) {
    for (size_t i = 0; i < dev->n_procs; i++)
        if (dev->procs[i].phase == phase)
            dev_start(dev, &dev->procs[i]);
}

static void start_postgres(struct dev *dev) {
    // The server writes its state into its pid file.
    inotify_add_watch(dev->watch_fd, dev_path(dev, "pg"), IN_MODIFY | IN_CREATE | IN_MOVED_TO);
    start_phase(dev, DEV_POSTGRES);
}

static void initdb_ended(struct dev *dev, int status) {
    dev->initdb = 0;
    if (dev->interrupts)
        return;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || rename(dev_path(dev, "pg.new"), dev_path(dev, "pg")) < 0) {
        hd_err_set(&dev->cli->err, HD_UNAVAILABLE, "the database cluster could not be made");
        hd_err_hint(&dev->cli->err, "see %s/log/initdb.log", dev->data);
        dev->failed = true;
        return;
    }
    start_postgres(dev);
}

static void reap(struct dev *dev) {
    bool any = false;
    int status;

    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0; any = true) {
        if (pid == dev->initdb)
            initdb_ended(dev, status);
        else
            dev_ended(dev, pid, status);
    }
    if (any && !dev->interrupts && dev->services_started && dev_describe(dev) != HD_OK)
        dev_say(dev, "%s", dev->cli->err.text);
}

// So that somebody can do a rolling restart.
static void start_who_left(struct dev *dev) {
    for (size_t i = 0; i < dev->n_procs && !dev->interrupts; i++)
        if (dev->services_started && !dev->procs[i].wanted && dev->procs[i].pid == 0)
            dev_start(dev, &dev->procs[i]);
    if (dev->services_started && dev_describe(dev) != HD_OK)
        dev_say(dev, "%s", dev->cli->err.text);
}

// Waits for signals, files that are watched, or the time; then takes in what has happened.
static void wait_events(struct dev *dev, int64_t timeout_ms) {
    struct pollfd fds[] = {{.fd = dev->signal_fd, .events = POLLIN}, {.fd = dev->watch_fd, .events = POLLIN}};
    struct signalfd_siginfo info;
    char drained[4096];

    fflush(stdout);
    poll(fds, 2, (int)timeout_ms);
    while (read(dev->watch_fd, drained, sizeof(drained)) > 0) // only wakes us
        ;
    while (read(dev->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        if (info.ssi_signo == SIGUSR1)
            start_who_left(dev);
        else if (info.ssi_signo != SIGCHLD)
            dev->interrupts++;
    reap(dev);
}

// Line 8 of postmaster.pid, as pg_ctl reads it. The first line is the process, so that an old file does not count.
static bool postgres_ready(struct dev *dev) {
    if (dev->postgres) // it waits for it
        return true;
    FILE *file = fopen(dev_path(dev, "pg/postmaster.pid"), "re");
    char line[256] = "";
    bool ready = false;

    for (int i = 1; file && i <= 8 && fgets(line, sizeof(line), file); i++) {
        if (i == 1 && strtol(line, NULL, 10) != dev->procs[0].pid)
            break;
        ready = i == 8 && hd_starts_with(line, "ready");
    }
    if (file)
        fclose(file);
    return ready;
}

// A file of a process id that has come again would say that a server is ready which is not.
static void forget_ports(struct dev *dev) {
    glob_t found;

    if (glob(dev_path(dev, "nats/nats-server_*.ports"), 0, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++)
        unlink(found.gl_pathv[i]);
    globfree(&found);
}

static bool nats_ready(struct dev *dev) {
    bool ready = true;

    for (size_t i = 0; i < dev->n_procs; i++) {
        const struct dev_proc *proc = &dev->procs[i];
        if (proc->phase == DEV_NATS)
            ready &= proc->pid > 0 && dev_exists(hd_arena_printf(&dev->cli->arena, "%s/nats/nats-server_%ld.ports",
                                                                 dev->data, (long)proc->pid));
    }
    return ready;
}

// Whom the API asks: each has answered once.
static bool answers(struct dev *dev) {
    static const char *const paths[] = {"/v1/whoami", "/v1/pipelines?page_size=1", "/v1/runs?page_size=1",
                                        "/v1/quota?limits_only=true"};
    cJSON *reply = NULL;
    int64_t online = 0;
    const cJSON *worker;

    for (; dev->answered < sizeof(paths) / sizeof(*paths); dev->answered++) {
        if (cli_call(dev->cli, CLI_GET(paths[dev->answered]), &reply) != HD_OK) {
            hd_err_clear(&dev->cli->err);
            return false;
        }
        cJSON_Delete(reply);
        reply = NULL;
    }
    if (dev->agents == 0)
        return true;
    if (cli_call(dev->cli, CLI_GET("/v1/workers?page_size=1000"), &reply) != HD_OK) {
        hd_err_clear(&dev->cli->err);
        return false;
    }
    cJSON_ArrayForEach(worker, j_get(reply, "workers")) online += hd_streq(j_text(worker, "state"), "online");
    cJSON_Delete(reply);
    return online >= dev->agents;
}

static void print_address(struct dev *dev) {
    const char *token = dev_path(dev, "secrets/admin-token"), *logs = dev_path(dev, "log/");
    const char *hodei = hd_arena_printf(&dev->cli->arena, "%s/hodei", dev->bin);
    char secret[128] = "";

    // On a terminal the token itself, for curl; into a file or a journal only where it stands.
    bool shown = isatty(STDOUT_FILENO) && dev_read_secret(dev, "secrets/admin-token", secret) == HD_OK;
    printf("\n  address  %s\n  token    %s%s%s%s\n  logs     %s\n", dev->server, secret, shown ? "  (" : "", token,
           shown ? ")" : "", logs);
    if (dev->tls)
        printf("  CA       %s\n", dev->cli->cacert);
    printf("\nIn another terminal:\n\n  export HODEI_SERVER=%s HODEI_TOKEN=$(cat %s)", dev->server,
           dev_shell_word(dev, token));
    if (dev->tls)
        printf(" HODEI_CACERT=%s", dev_shell_word(dev, dev->cli->cacert));
    putchar('\n');
    printf("  %s pipeline apply hodei.yml\n  %s run start NAME --watch --logs\n  %s worker list\n\n", hodei, hodei,
           hodei);
    fflush(stdout);
}

static void became_ready(struct dev *dev) {
    dev->ready = true;
    int64_t took = now_ms() - dev->began_mono_ms;
    print_address(dev);
    dev_say(dev, "Ready after %" PRId64 ".%" PRId64 " s. Ctrl-C stops everything.", took / 1000, took % 1000 / 100);
    if (dev_describe(dev) != HD_OK)
        dev_say(dev, "%s", dev->cli->err.text);
}

static void say_slow(struct dev *dev, bool *said) {
    if (*said || now_ms() - dev->began_mono_ms < SLOW_START_MS)
        return;
    *said = true;
    if (!dev->services_started)
        dev_say(dev, "Still waiting for %s; see %s/log/", postgres_ready(dev) ? "nats-server" : "PostgreSQL",
                dev->data);
    else
        dev_say(dev, "The API or a worker does not answer yet; see %s/log/", dev->data);
}

static void restart_due(struct dev *dev) {
    bool any = false;

    for (size_t i = 0; i < dev->n_procs; i++) {
        struct dev_proc *proc = &dev->procs[i];
        if (proc->wanted && proc->pid == 0 && now_ms() >= proc->start_at_mono_ms) {
            dev_start(dev, proc);
            any = true;
        }
    }
    if (any && dev_describe(dev) != HD_OK)
        dev_say(dev, "%s", dev->cli->err.text);
}

static int64_t next_due(const struct dev *dev) {
    int64_t due = 60000, now = now_ms();

    for (size_t i = 0; i < dev->n_procs; i++) {
        const struct dev_proc *proc = &dev->procs[i];
        if (proc->wanted && proc->pid == 0 && proc->start_at_mono_ms - now < due)
            due = proc->start_at_mono_ms > now ? proc->start_at_mono_ms - now : 0;
    }
    return due;
}

static enum hd_status restore(struct dev *dev) {
    const char *path = cli_option(dev->cli, "restore");

    if (!path)
        return HD_OK;
    dev_say(dev, "Restoring %s …", path);
    return backup_restore(dev->cli, dev_conninfo(dev, NULL), path, cli_option(dev->cli, "replace"));
}

static void supervise(struct dev *dev) {
    bool said = false;

    while (!dev->interrupts && !dev->failed) {
        if (!dev->services_started && postgres_ready(dev) && nats_ready(dev)) {
            dev->failed = dev_doors_postgres(dev) != HD_OK || restore(dev) != HD_OK;
            if (dev->failed)
                break;
            start_phase(dev, DEV_SERVICE);
            start_phase(dev, DEV_AGENT);
            dev->services_started = true;
            if (dev_describe(dev) != HD_OK)
                dev_say(dev, "%s", dev->cli->err.text);
        }
        if (dev->services_started && !dev->ready && answers(dev))
            became_ready(dev);
        restart_due(dev);
        if (dev->ready)
            dev_tls_tend(dev);
        if (!dev->ready)
            say_slow(dev, &said);
        int64_t due = next_due(dev), most = !dev->services_started ? 1000 : dev->ready ? 60000 : TICK_MS;
        wait_events(dev, due < most ? due : most);
    }
}

static void stop_phase(struct dev *dev, enum dev_phase phase, int signo, int64_t within_ms, int harder) {
    int64_t until = now_ms() + within_ms;
    unsigned interrupts = dev->interrupts;

    dev_signal(dev, phase, signo);
    while (dev_running(dev, phase) && now_ms() < until && dev->interrupts < interrupts + 2)
        wait_events(dev, until - now_ms());
    if (!dev_running(dev, phase))
        return;
    dev_signal(dev, phase, harder);
    until = now_ms() + 5000;
    while (dev_running(dev, phase) && now_ms() < until)
        wait_events(dev, until - now_ms());
}

static void stop_strays(struct dev *dev) {
    int64_t until = now_ms() + 2000;

    for (int signo = SIGTERM; dev_kill_strays(signo) && now_ms() < until + 3000;) {
        wait_events(dev, 50);
        signo = now_ms() < until ? 0 : SIGKILL; // 0: only looks
    }
    reap(dev);
}

static void stop_all(struct dev *dev) {
    if (dev->interrupts)
        dev_say(dev, "\nStopping …");
    else
        dev->interrupts = 1;
    if (dev->initdb > 0)
        kill(dev->initdb, SIGTERM);
    stop_phase(dev, DEV_AGENT, SIGTERM, STOP_AGENT_MS, SIGKILL);
    stop_phase(dev, DEV_SERVICE, SIGTERM, STOP_SERVICE_MS, SIGKILL);
    stop_phase(dev, DEV_NATS, SIGTERM, STOP_BASE_MS, SIGKILL);
    stop_phase(dev, DEV_POSTGRES, SIGINT, STOP_BASE_MS, SIGQUIT);
    stop_strays(dev);
    if (dev->socket_dir && !hd_starts_with(dev->socket_dir, dev->data))
        rmdir(dev->socket_dir);
    unlink(dev_path(dev, "dev.json"));
    if (!dev->failed)
        dev_say(dev, "Stopped. The data stays in %s", dev->data);
}

static enum hd_status begin(struct dev *dev) {
    struct cli *cli = dev->cli;

    HD_TRY(options(dev));
    HD_TRY(signals(dev));
    HD_TRY(dev_folders(dev));
    HD_TRY(dev_find(dev));
    HD_TRY(dev_tls(dev));
    dev_stop_leftovers(dev); // before ports are chosen: they hold some
    HD_TRY(dev_plan(dev));
    cli->server = dev->server;
    HD_TRY(cli_token_read(cli, dev_path(dev, "secrets/admin-token")));
    inotify_add_watch(dev->watch_fd, dev_path(dev, "nats"), IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO);
    forget_ports(dev);
    start_phase(dev, DEV_NATS);
    if (dev->postgres)
        return HD_OK;
    if (dev_exists(dev_path(dev, "pg"))) {
        start_postgres(dev);
        return HD_OK;
    }
    return start_initdb(dev);
}

int cmd_dev(struct cli *cli) {
    struct dev dev = {.cli = cli, .lock_fd = -1, .signal_fd = -1, .watch_fd = -1, .began_mono_ms = now_ms()};

    cli->answer_ms = 2000;
    if (begin(&dev) != HD_OK) {
        dev.failed = true;
        if (dev.n_procs)
            stop_all(&dev);
        return cli_failed(cli);
    }
    printf("Hodei Pipelines " HD_VERSION ", data in %s\nStarting …\n", dev.data);
    fflush(stdout);
    supervise(&dev);
    stop_all(&dev);
    return dev.failed ? cli_failed(cli) : 0;
}
