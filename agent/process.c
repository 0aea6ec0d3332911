#include "agent/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/executor/host.h"
#include "agent/executor/shim_client.h"
#include "agent/monitor/capacity.h"
#include "agent/monitor/monitor.h"
#include "agent/state.h"
#include "agent/stream/journal.h"
#include "base/log.h"
#include "base/pb.h"
#include "service/health.h"

#define EVENTS_MAX 8
#define WAIT_MAX_MS 1000 // also how soon a bus that came back is noticed
#define STOP_QUIET_MS 1500
#define SWEEP_MS (10 * 60 * 1000)
#define TOKEN_MAX 4096

struct process {
    const struct hd_settings *settings;
    struct hd_rng rng;
    struct state state;
    struct journal journal;
    bool journal_behind; // something in memory is not in the file
    struct host host;
    struct shim_client shim;
    uint32_t shim_events; // that are watched
    int shim_watched;     // descriptor, -1: none
    struct monitor monitor;
    struct hd_arena arena;
    struct hd_bus *bus;
    struct agent *agent;
    struct health *health;
    struct health_source health_source;
    int epoll_fd, signal_fd;
    int64_t stop_at_ms; // monotonic; 0: runs
    int64_t sweep_ms;
    bool stop_now, swept;
    char name[80], program[4200];
    const char *home;
};

// --- what the agent needs around it ----------------------------------------------------------------------------------

static enum hd_status rewrite(struct process *process, struct hd_err *err) {
    HD_AUTO_BUF struct hd_buf all = {0};
    session_snapshot(&process->agent->session, &all);
    return journal_rewrite(&process->journal, all.data, all.len, err);
}

// What could not be appended once may never be missing: then the whole is written before anything else.
static enum hd_status record(void *arg, const void *data, size_t len, bool sync, struct hd_err *err) {
    struct process *process = arg;
    if (process->journal_behind)
        HD_TRY(rewrite(process, err));
    process->journal_behind = false;
    enum hd_status status = journal_append(&process->journal, data, len, sync, err);
    process->journal_behind = status != HD_OK;
    return status;
}

static const Hodei__V1__ShimMessage *from_shim(void *arg, struct hd_arena *arena) {
    return shim_client_next(&((struct process *)arg)->shim, arena);
}

static void to_shim(void *arg, const Hodei__V1__ShimMessage *msg) {
    shim_client_send(&((struct process *)arg)->shim, msg);
}

static enum hd_status read_spool(void *arg, const char *attempt, uint64_t from, void *ret, size_t len,
                                 size_t *ret_len) {
    return state_read_spool(&((struct process *)arg)->state, attempt, from, ret, len, ret_len);
}

static void measure(void *arg, Hodei__V1__WorkerLoad *ret) {
    monitor_read(&((struct process *)arg)->monitor, ret);
}

static const char *token(void *arg, struct hd_arena *arena, struct hd_err *err) {
    const struct process *process = arg;
    const char *text = hd_settings_text(process->settings, "join-token");
    (void)arena;
    if (*text)
        return text;
    hd_err_set(err, HD_UNAUTHENTICATED, "there is no join token");
    hd_err_hint(err, "give --join-token-file");
    return NULL;
}

// --- start -----------------------------------------------------------------------------------------------------------

// "key=value,key=value", cut in place; the registry checks the rest.
static enum hd_status next_pair(const char *setting, char **rest, struct hd_err *err, char **ret_key,
                                char **ret_value) {
    char *word = strsep(rest, ",");
    while (word && !*word)
        word = strsep(rest, ",");
    char *equals = word ? strchr(word, '=') : NULL;
    if (word && (!equals || equals == word))
        return hd_err_set(err, HD_INVALID, "%s: \"%.80s\" is not key=value", setting, word);
    if (word)
        *equals = '\0';
    *ret_key = word;
    *ret_value = word ? equals + 1 : NULL;
    return HD_OK;
}

static enum hd_status parse_labels(struct process *process, struct connection_def *def, struct hd_err *err) {
    char *rest = hd_arena_strdup(&process->arena, hd_settings_text(process->settings, "labels")), *key, *value;
    size_t cap = 0;
    for (;;) {
        HD_TRY(next_pair("labels", &rest, err, &key, &value));
        if (!key)
            return HD_OK;
        HD_GROW(&process->arena, def->labels, def->n_labels, cap);
        Hodei__V1__Label *label = def->labels[def->n_labels++] = HD_NEW(&process->arena, Hodei__V1__Label);
        *label = (Hodei__V1__Label)HODEI__V1__LABEL__INIT;
        label->key = key;
        label->value = value;
    }
}

static enum hd_status parse_taints(struct process *process, struct connection_def *def, struct hd_err *err) {
    char *rest = hd_arena_strdup(&process->arena, hd_settings_text(process->settings, "taints")), *key, *value;
    size_t cap = 0;
    for (;;) {
        HD_TRY(next_pair("taints", &rest, err, &key, &value));
        if (!key)
            return HD_OK;
        HD_GROW(&process->arena, def->taints, def->n_taints, cap);
        Hodei__V1__Taint *taint = def->taints[def->n_taints++] = HD_NEW(&process->arena, Hodei__V1__Taint);
        *taint = (Hodei__V1__Taint)HODEI__V1__TAINT__INIT;
        taint->key = key;
        taint->value = value;
    }
}

static enum hd_status choose_name(struct process *process, struct hd_err *err) {
    const char *name = hd_settings_text(process->settings, "name");
    if (*name) {
        hd_strlcpy(process->name, name, sizeof(process->name));
    } else {
        if (gethostname(process->name, 64) != 0)
            return hd_err_set(err, HD_UNAVAILABLE, "the machine's name cannot be read; give --name");
        for (char *c = process->name; *c; c++)
            if (*c == '.')
                *c = '-';
    }
    if (hd_token_valid(process->name))
        return HD_OK;
    return hd_err_set(err, HD_INVALID, "name: \"%.70s\" is not 1 to 64 of A-Z a-z 0-9 _ -", process->name);
}

static enum hd_status choose_shim(struct process *process, struct hd_err *err) {
    const char *given = hd_settings_text(process->settings, "shim");
    if (*given) {
        hd_strlcpy(process->program, given, sizeof(process->program));
    } else {
        ssize_t n = readlink("/proc/self/exe", process->program, 4096);
        process->program[n > 0 ? n : 0] = '\0';
        char *slash = strrchr(process->program, '/');
        if (!slash)
            return hd_err_set(err, HD_UNAVAILABLE, "where this program stands cannot be read; give --shim");
        hd_strlcpy(slash + 1, "hodei-shim", 32);
    }
    if (access(process->program, X_OK) == 0)
        return HD_OK;
    hd_err_set(err, HD_PRECONDITION, "the shim %.200s: %s", process->program, strerror(errno));
    hd_err_hint(err, "--shim names it; by default it stands beside the agent");
    return HD_PRECONDITION;
}

static unsigned slots_of(const struct hd_settings *settings) {
    int64_t slots = hd_settings_int(settings, "slots");
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (slots)
        return (unsigned)slots;
    return cpus > 2 ? (unsigned)(cpus < 4000 ? 2 * cpus : 8000) : 4;
}

static void replay(void *arg, const Hodei__V1__JournalRecord *each) {
    session_replay(&((struct process *)arg)->agent->session, each);
}

static enum hd_status open_journal(struct process *process, struct hd_err *err) {
    struct session *session = &process->agent->session;
    struct hd_arena arena;
    bool damaged = false;
    hd_arena_init(&arena);
    enum hd_status status =
        journal_open(&process->journal, process->state.dir_fd, &arena, replay, process, err, &damaged);
    hd_arena_release(&arena);
    HD_TRY(status);
    if (damaged) {
        hd_warn("the end of the journal was damaged and is cut off: assignments from before now are refused");
        session_distrust(session);
        HD_TRY(rewrite(process, err));
    }
    hd_info("session %s: %zu attempts held, %u of them live", session->text, session->attempts.n, session->live);
    return HD_OK;
}

static const char *or_null(const char *text) {
    return *text ? text : NULL;
}

static struct hd_bus *open_bus(const struct process *process) {
    const struct hd_settings *settings = process->settings;
    return hd_bus_nats_new(&(struct hd_bus_nats_def){
        .urls = hd_settings_text(settings, "nats"),
        .user = or_null(hd_settings_text(settings, "nats-user")),
        .password = or_null(hd_settings_text(settings, "nats-password")),
        .name = hd_arena_printf((struct hd_arena *)(uintptr_t)&process->arena, "hodei-agent %s", process->name),
        .inbox = or_null(hd_settings_text(settings, "nats-inbox"))});
}

static void watch(struct process *process, int fd, int op, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(process->epoll_fd, op, fd, &event) != 0)
        abort();
}

// Before any thread: all of them inherit the mask, so that only the loop hears signals. Shims that end are reaped by the kernel.
static void open_loop(struct process *process) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
        signal(SIGCHLD, SIG_IGN) == SIG_ERR)
        abort();
    process->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    process->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (process->signal_fd < 0 || process->epoll_fd < 0)
        abort();
    watch(process, process->signal_fd, EPOLL_CTL_ADD, EPOLLIN);
}

static bool is_ready(const void *arg, struct hd_buf *why) {
    const struct process *process = arg;
    bool lease = connection_has_lease(&process->agent->connection, hd_now_read().mono_ms);
    if (!process->bus->ops->connected(process->bus))
        hd_buf_adds(why, "NATS is not connected\n");
    if (!lease)
        hd_buf_adds(why, "there is no lease\n");
    if (!process->agent->session.shim_up)
        hd_buf_adds(why, "the shim is not connected\n");
    return lease && process->agent->session.shim_up;
}

static void add_metrics(const void *arg, struct hd_buf *out) {
    (void)arg;
    hd_metrics_format(session_metrics, SESSION_M_COUNT, out);
    hd_metrics_format(monitor_metrics, MONITOR_COUNT, out);
}

static enum hd_status open_health(struct process *process, struct hd_err *err) {
    const char *listen = hd_settings_text(process->settings, "listen");
    if (!*listen)
        return HD_OK;
    process->health_source = (struct health_source){is_ready, add_metrics, process};
    HD_TRY(health_new(listen, &process->health_source, err, &process->health));
    watch(process, health_fd(process->health), EPOLL_CTL_ADD, EPOLLIN);
    return HD_OK;
}

static enum hd_status start(struct process *process, struct hd_err *err) {
    const struct hd_settings *settings = process->settings;
    const char *path = getenv("PATH"), *home = getenv("HOME");
    char session[HD_UUID_TEXT];
    struct agent_def def = {.slots = slots_of(settings)};
    hd_rng_seed_os(&process->rng);
    HD_TRY(choose_name(process, err));
    HD_TRY(choose_shim(process, err));
    HD_TRY(parse_labels(process, &def.connection, err));
    HD_TRY(parse_taints(process, &def.connection, err));
    HD_TRY(state_open(&process->state, hd_settings_text(settings, "state"), hd_now_read(), &process->rng, err));
    HD_TRY(capacity_choose(settings, process->state.dir_fd, err, &def.capacity));
    hd_uuid_format(process->state.session, session);
    HD_TRY(host_prepare(&process->host, settings, session, &process->arena, err));
    open_loop(process);
    process->monitor.dir_fd = process->state.dir_fd;
    shim_client_init(&process->shim, process->state.dir_fd, process->state.path, process->program, process->host.args);
    process->bus = open_bus(process);
    def.worker = process->name;
    def.session = process->state.session;
    def.executor = (struct executor_env){.state = process->state.path,
                                         .path = path && *path ? path : "/usr/local/bin:/usr/bin:/bin",
                                         .home = process->host.home ? process->host.home
                                                 : home             ? home
                                                                    : process->state.path};
    def.connection.pool = hd_settings_text(settings, "pool");
    def.connection.token = token;
    def.connection.measure = measure;
    def.connection.arg = process;
    const struct agent_env env = {process->bus, &process->rng, record, from_shim, to_shim, read_spool, process};
    HD_TRY(agent_init(process->agent, &def, &env, hd_now_read(), err));
    HD_TRY(open_journal(process, err));
    watch(process, process->bus->ops->fd(process->bus), EPOLL_CTL_ADD, EPOLLIN);
    return open_health(process, err);
}

// --- the loop --------------------------------------------------------------------------------------------------------

static void watch_shim(struct process *process) {
    uint32_t events = shim_client_wants_out(&process->shim) ? EPOLLIN | EPOLLOUT : EPOLLIN;
    int fd = process->shim.fd;
    if (fd < 0 || (fd == process->shim_watched && events == process->shim_events))
        return;
    watch(process, fd, fd == process->shim_watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, events);
    process->shim_watched = fd;
    process->shim_events = events;
}

static void shim_went(struct process *process) {
    process->shim_watched = -1; // it left the epoll when it was closed
    session_shim_gone(&process->agent->session);
    if (!process->stop_at_ms)
        hd_warn("the shim's connection is gone");
}

static void tend_shim(struct process *process, struct hd_now now, bool ready) {
    if (process->shim.fd >= 0 && ready && !shim_client_io(&process->shim, now))
        shim_went(process);
    if (!process->stop_at_ms || process->agent->session.live)
        shim_client_tick(&process->shim, now);
    watch_shim(process);
}

static bool is_held(void *arg, struct hd_uuid attempt) {
    return session_find(arg, attempt) != NULL;
}

// Spools whose attempts were settled while no shim was there to remove them.
static void sweep(struct process *process, struct hd_now now) {
    if (!process->agent->session.shim_up || now.mono_ms < process->sweep_ms)
        return;
    process->sweep_ms = now.mono_ms + SWEEP_MS;
    state_sweep_spools(&process->state, is_held, &process->agent->session);
}

static void keep_journal_small(struct process *process) {
    struct hd_err err = {0};
    if (journal_large(&process->journal) && rewrite(process, &err) != HD_OK)
        hd_warn("%s", err.text);
}

static void hear_signals(struct process *process, struct hd_now now) {
    struct signalfd_siginfo info;
    while (read(process->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        process->stop_now = process->stop_at_ms != 0;
        if (process->stop_at_ms)
            continue;
        bool jobs = hd_settings_bool(process->settings, "stop-jobs");
        hd_info(jobs ? "stopping, and the jobs too" : "stopping; jobs go on");
        process->stop_at_ms =
            now.mono_ms + (jobs ? hd_settings_int(process->settings, "stop-timeout") : (int64_t)STOP_QUIET_MS);
        agent_stop(process->agent, jobs, now);
    }
}

static bool leaves(const struct process *process, struct hd_now now) {
    const struct session *session = &process->agent->session;
    if (!process->stop_at_ms)
        return false;
    if (process->stop_now || now.mono_ms >= process->stop_at_ms)
        return true;
    bool jobs = hd_settings_bool(process->settings, "stop-jobs");
    return agent_idle(process->agent) && (!jobs || session->live == 0);
}

// Returns whether the shim's descriptor is ready.
static bool wait_events(struct process *process, struct hd_now now, int64_t due_ms) {
    struct epoll_event events[EVENTS_MAX];
    bool shim_ready = false;
    if (process->stop_at_ms && process->stop_at_ms < due_ms)
        due_ms = process->stop_at_ms;
    if (process->shim.fd < 0 && process->shim.retry_ms < due_ms)
        due_ms = process->shim.retry_ms;
    int64_t wait_ms = due_ms - now.mono_ms;
    wait_ms = wait_ms < 0 ? 0 : wait_ms > WAIT_MAX_MS ? WAIT_MAX_MS : wait_ms;
    int n = epoll_wait(process->epoll_fd, events, EVENTS_MAX, (int)wait_ms);
    for (int i = 0; i < n; i++) {
        int fd = events[i].data.fd;
        if (fd == process->signal_fd)
            hear_signals(process, hd_now_read());
        else if (fd == process->shim_watched)
            shim_ready = true;
        else if (process->health && fd == health_fd(process->health))
            health_turn(process->health);
    }
    return shim_ready;
}

static void run(struct process *process) {
    struct hd_now now = hd_now_read();
    bool shim_ready = false;
    hd_info("started, version %s", HD_VERSION);
    while (!leaves(process, now)) {
        tend_shim(process, now, shim_ready);
        bool did = agent_turn(process->agent, now);
        watch_shim(process);
        sweep(process, now);
        keep_journal_small(process);
        now = hd_now_read();
        shim_ready = wait_events(process, now, did ? 0 : agent_due_ms(process->agent));
        now = hd_now_read();
    }
}

// With its jobs stopped the shim is not needed any more.
static void leave(struct process *process) {
    Hodei__V1__ShimMessage bye = HODEI__V1__SHIM_MESSAGE__INIT;
    if (hd_settings_bool(process->settings, "stop-jobs") && process->agent->session.live == 0) {
        bye.shutdown = true;
        shim_client_send(&process->shim, &bye);
    }
    process->bus->ops->flush(process->bus);
    hd_info("stopped; %u jobs go on", process->agent->session.live);
}

static void release(struct process *process) {
    health_free(process->health);
    shim_client_release(&process->shim);
    journal_close(&process->journal);
    agent_release(process->agent);
    free(process->agent);
    if (process->bus)
        process->bus->ops->free(process->bus);
    hd_close_fd(&process->epoll_fd);
    hd_close_fd(&process->signal_fd);
    state_close(&process->state);
    hd_arena_release(&process->arena);
}

static int usage_error(const struct hd_err *err) {
    fprintf(stderr, "%s%s%s\n", err->text, *err->hint ? "\n" : "", err->hint); // the text names the setting
    return 2;
}

static enum hd_status parse(const struct hd_settings_table *table, int argc, char **argv, struct hd_err *err,
                            struct hd_settings **ret, bool *ret_done) {
    enum hd_log_level level;
    HD_TRY(
        hd_settings_parse("hodei-agent: carries out jobs on this machine", table, 1, &argc, argv, err, ret, ret_done));
    if (*ret_done)
        return HD_OK;
    if (argc > 1)
        return hd_err_set(err, HD_INVALID, "\"%.80s\" is no setting: settings are written --name=value", argv[1]);
    if (hd_log_level_parse(hd_settings_text(*ret, "log-level"), &level) != HD_OK)
        return hd_err_set(err, HD_INVALID, "log-level: \"%.40s\" is not debug, info, warn or error",
                          hd_settings_text(*ret, "log-level"));
    hd_log_setup("agent", level);
    return HD_OK;
}

int agent_main(const struct hd_setting *settings, size_t n_settings, int argc, char **argv) {
    struct process process = {.epoll_fd = -1, .signal_fd = -1, .shim_watched = -1};
    struct hd_settings *values = NULL;
    struct hd_err err = {0};
    bool done = false;
    process.state = (struct state){.dir_fd = -1, .lock_fd = -1, .spool_fd = -1};
    process.shim.fd = process.journal.fd = -1;
    if (parse(&(struct hd_settings_table){settings, n_settings}, argc, argv, &err, &values, &done) != HD_OK || done) {
        hd_settings_free(values);
        return done ? 0 : usage_error(&err);
    }
    process.settings = values;
    process.agent = calloc(1, sizeof(*process.agent));
    if (!process.agent)
        abort();
    hd_arena_init(&process.arena);
    enum hd_status status = start(&process, &err);
    if (status == HD_OK) {
        run(&process);
        leave(&process);
    } else if (status == HD_INVALID) {
        usage_error(&err);
    } else {
        hd_error("cannot start: %s%s%s", err.text, *err.hint ? "; " : "", err.hint);
    }
    release(&process);
    hd_settings_free(values);
    return status == HD_OK ? 0 : status == HD_INVALID ? 2 : 1;
}
