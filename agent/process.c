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
#include "agent/check.h"
#include "agent/choose.h"
#include "agent/executor/host.h"
#include "agent/executor/shim_client.h"
#include "agent/profile.h"
#include "agent/state.h"
#include "agent/stream/journal.h"
#include "agent/vitals.h"
#include "base/log.h"
#include "base/pb.h"
#include "service/health.h"

#define EVENTS_MAX 8
#define WAIT_MAX_MS 1000 // also how soon a bus that came back is noticed
#define STOP_QUIET_MS 1500
#define SWEEP_MS (10 * 60 * 1000)
#define SWEEP_SOON_MS 1000
#define STOP_JOBS_MS 12000 // with on-stop: stop, where no other time is set

struct process {
    struct hd_settings *settings; // owned
    const struct hd_settings_table *table;
    int argc; // as given, to be read again
    char **argv;
    struct profile profile;
    struct hd_rng rng;
    struct state state;
    struct journal journal;
    bool journal_behind; // something in memory is not in the file
    struct host host;
    struct shim_client shim;
    uint32_t shim_events; // that are watched
    int shim_watched;     // descriptor, -1: none
    struct vitals vitals;
    struct hd_arena arena;
    struct hd_bus *bus;
    struct agent *agent;
    struct health *health;
    struct health_source health_source;
    int epoll_fd, signal_fd;
    enum on_stop on_stop;
    bool stopping;
    int64_t stop_at_ms; // monotonic: when it leaves at the latest
    int64_t sweep_ms;
    bool stop_now, swept;
    char name[CHOOSE_NAME], program[CHOOSE_PROGRAM];
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

static void measure(void *arg, const struct session *session, Hodei__V1__HeartbeatRequest *ret) {
    vitals_fill(&((struct process *)arg)->vitals, session, ret);
}

static const char *unfit(void *arg, int64_t mono_ms) {
    return vitals_unfit(&((struct process *)arg)->vitals, mono_ms);
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
    struct hd_arena *arena = (struct hd_arena *)(uintptr_t)&process->arena;
    const char *inbox = or_null(hd_settings_text(settings, "nats-inbox"));
    return hd_bus_nats_new(
        &(struct hd_bus_nats_def){.urls = hd_settings_text(settings, "nats"),
                                  .user = or_null(hd_settings_text(settings, "nats-user")),
                                  .password = or_null(hd_settings_text(settings, "nats-password")),
                                  .ca = or_null(hd_settings_text(settings, "nats-ca")),
                                  .name = hd_arena_printf(arena, "hodei-agent %s", process->name),
                                  .inbox = inbox ? inbox : hd_arena_printf(arena, "_INBOX.agent.%s", process->name),
                                  .reconnect_max_ms = hd_settings_int(settings, "reconnect-max")});
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
    sigaddset(&set, SIGHUP);
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
    hd_metrics_format(session_metrics, SESSION_M_COUNT, out);
    hd_metrics_format(host_metrics, HOST_METRICS, out);
    hd_metrics_format(connection_metrics, CONNECTION_M_COUNT, out);
    vitals_metrics(&((const struct process *)arg)->vitals, out);
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
    struct agent_def def = {0};
    hd_rng_seed_os(&process->rng);
    HD_TRY(choose_name(settings, err, process->name));
    HD_TRY(choose_shim(settings, err, process->program));
    HD_TRY(choose_on_stop(settings, err, &process->on_stop));
    HD_TRY(choose_spool(settings, err, &def.spool_max_bytes));
    HD_TRY(vitals_configure(&process->vitals, settings, err));
    HD_TRY(state_open(&process->state, hd_settings_text(settings, "state"), hd_now_read(), &process->rng, err));
    HD_TRY(profile_read(&process->profile, settings, process->state.dir_fd, err));
    hd_uuid_format(process->state.session, session);
    HD_TRY(host_prepare(&process->host, settings, session, &process->arena, err));
    open_loop(process);
    process->vitals.monitor.dir_fd = process->state.dir_fd;
    process->vitals.state = process->state.path;
    def.slots = process->profile.is.slots;
    def.capacity = process->profile.is.capacity;
    def.connection.labels = process->profile.is.labels;
    def.connection.n_labels = process->profile.is.n_labels;
    def.connection.taints = process->profile.is.taints;
    def.connection.n_taints = process->profile.is.n_taints;
    shim_client_init(&process->shim, process->state.dir_fd, process->state.path, process->program, &process->host.told);
    process->bus = open_bus(process);
    def.worker = process->name;
    def.session = process->state.session;
    def.executor = (struct executor_env){.state = process->state.path,
                                         .path = path && *path ? path : "/usr/local/bin:/usr/bin:/bin",
                                         .home = process->host.home ? process->host.home
                                                 : home             ? home
                                                                    : process->state.path};
    def.connection.pool = hd_arena_strdup(&process->arena, hd_settings_text(settings, "pool"));
    def.connection.token = token;
    def.connection.measure = measure;
    def.connection.arg = process;
    const struct agent_env env = {process->bus, &process->rng, record, from_shim, to_shim, read_spool, unfit, process};
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
    if (!process->stopping)
        hd_warn("the shim's connection is gone");
}

static void tend_shim(struct process *process, struct hd_now now, bool ready) {
    if (process->shim.fd >= 0 && ready && !shim_client_io(&process->shim, now))
        shim_went(process);
    if (!process->stopping || process->agent->session.live)
        shim_client_tick(&process->shim, now);
    watch_shim(process);
}

static bool is_held(void *arg, struct hd_uuid attempt) {
    return session_find(arg, attempt) != NULL;
}

// Spools whose attempts were settled while no shim was there to remove them.
static void sweep(struct process *process, struct hd_now now) {
    bool *left = &process->agent->session.spools_left;
    if (*left && now.mono_ms + SWEEP_SOON_MS < process->sweep_ms)
        process->sweep_ms = now.mono_ms + SWEEP_SOON_MS; // one look for all that are settled meanwhile
    if (!process->agent->session.shim_up || now.mono_ms < process->sweep_ms)
        return;
    process->sweep_ms = now.mono_ms + SWEEP_MS;
    *left = false;
    state_sweep_spools(&process->state, is_held, &process->agent->session);
}

static void keep_journal_small(struct process *process) {
    struct hd_err err = {0};
    if (journal_large(&process->journal) && rewrite(process, &err) != HD_OK)
        hd_warn("%s", err.text);
}

static enum hd_status parse(const struct hd_settings_table *table, int argc, char *const *argv, struct hd_err *err,
                            struct hd_settings **ret, enum hd_log_level *ret_level, bool *ret_done) {
    char **words = hd_calloc((size_t)argc + 1, sizeof(*words)); // parsing takes flags out
    memcpy(words, argv, (size_t)argc * sizeof(*words));
    enum hd_status status = hd_settings_parse(
        "hodei-agent: carries out jobs on this machine; `hodei-agent check` says what is missing for that", table, 1,
        &argc, words, err, ret, ret_done);
    if (status == HD_OK && !*ret_done && argc > 1 && !(argc == 2 && hd_streq(words[1], "check")))
        status = hd_err_set(err, HD_INVALID, "\"%.80s\" is no setting: settings are written --name=value", words[1]);
    if (status == HD_OK && !*ret_done && hd_log_level_parse(hd_settings_text(*ret, "log-level"), ret_level) != HD_OK)
        status = hd_err_set(err, HD_INVALID, "log-level: \"%.40s\" is not debug, info, warn or error",
                            hd_settings_text(*ret, "log-level"));
    free(words);
    return status;
}

static void begin_stop(struct process *process, struct hd_now now) {
    static const char *const texts[] = {"taking no more work, and leaving when the jobs have ended",
                                        "stopping; jobs go on", "stopping, and the jobs too"};
    int64_t timeout_ms = hd_settings_int(process->settings, "stop-timeout");
    hd_info("%s", texts[process->on_stop]);
    if (process->on_stop == ON_STOP_LEAVE)
        timeout_ms = STOP_QUIET_MS;
    else if (process->on_stop == ON_STOP_STOP && !timeout_ms)
        timeout_ms = STOP_JOBS_MS;
    process->stopping = true;
    process->stop_at_ms = timeout_ms ? now.mono_ms + timeout_ms : INT64_MAX;
    agent_stop(process->agent, process->on_stop == ON_STOP_STOP, now);
}

// What cannot be changed while it runs is named; it holds as it was.
static void name_unchanged(const struct process *process, const struct hd_settings *fresh) {
    static const char *const live[] = {"labels", "taints",     "slots",        "cpu",     "memory",     "disk",
                                       "gpu",    "disk-floor", "stop-timeout", "on-stop", "join-token", "log-level"};
    for (size_t i = 0; i < process->table->n; i++) {
        const struct hd_setting *row = &process->table->rows[i];
        bool can = false;
        for (size_t k = 0; k < sizeof(live) / sizeof(live[0]) && !can; k++)
            can = hd_streq(live[k], row->name);
        if (!can && !hd_settings_same(process->settings, fresh, row->name))
            hd_warn("reload: %s is changed only by a restart", row->name);
    }
}

static enum hd_status reload(struct process *process, struct hd_now now, struct hd_err *err) {
    struct hd_settings *fresh = NULL;
    struct profile profile = {0};
    struct vitals vitals = process->vitals;
    enum on_stop on_stop = process->on_stop;
    enum hd_log_level level = HD_LOG_INFO;
    bool done = false;
    enum hd_status status = parse(process->table, process->argc, process->argv, err, &fresh, &level, &done);
    if (status == HD_OK)
        status = vitals_configure(&vitals, fresh, err);
    if (status == HD_OK)
        status = choose_on_stop(fresh, err, &on_stop);
    if (status == HD_OK)
        status = profile_read(&profile, fresh, process->state.dir_fd, err);
    if (status != HD_OK) {
        profile_release(&profile);
        hd_settings_free(fresh);
        return status;
    }
    name_unchanged(process, fresh);
    hd_log_setup("agent", level);
    process->vitals = vitals;
    process->on_stop = on_stop;
    agent_change(process->agent, &profile.is, now);
    profile_release(&process->profile);
    process->profile = profile;
    hd_settings_free(process->settings);
    process->settings = fresh;
    return HD_OK;
}

static void hear_signals(struct process *process, struct hd_now now) {
    struct signalfd_siginfo info;
    struct hd_err err = {0};
    while (read(process->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGHUP && reload(process, now, &err) == HD_OK)
            hd_info("settings are read again");
        else if (info.ssi_signo == SIGHUP)
            hd_error("reload: %s%s%s; all stays as it was", err.text, *err.hint ? ": " : "", err.hint);
        else if (process->stopping)
            process->stop_now = true;
        else
            begin_stop(process, now);
    }
}

// Draining took as long as it may: what still runs is stopped, and told of.
static void stop_draining(struct process *process, struct hd_now now) {
    if (!process->stopping || process->on_stop != ON_STOP_DRAIN || now.mono_ms < process->stop_at_ms)
        return;
    hd_warn("stop-timeout is over: the %u jobs that still run are stopped", process->agent->session.live);
    process->on_stop = ON_STOP_STOP;
    process->stop_at_ms = now.mono_ms + STOP_JOBS_MS;
    agent_stop(process->agent, true, now);
}

static bool leaves(const struct process *process, struct hd_now now) {
    if (!process->stopping)
        return false;
    if (process->stop_now || (process->on_stop != ON_STOP_DRAIN && now.mono_ms >= process->stop_at_ms))
        return true;
    return agent_idle(process->agent) && (process->on_stop == ON_STOP_LEAVE || process->agent->session.live == 0);
}

// Returns whether the shim's descriptor is ready.
static bool wait_events(struct process *process, struct hd_now now, int64_t due_ms) {
    struct epoll_event events[EVENTS_MAX];
    bool shim_ready = false;
    if (process->stopping && process->stop_at_ms < due_ms)
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
        stop_draining(process, now);
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

// With no job the shim is not needed any more.
static void leave(struct process *process) {
    Hodei__V1__ShimMessage bye = HODEI__V1__SHIM_MESSAGE__INIT;
    if (process->on_stop != ON_STOP_LEAVE && process->agent->session.live == 0) {
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
    if (process->agent)
        agent_release(process->agent);
    free(process->agent);
    profile_release(&process->profile);
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

static bool wants_check(int argc, char *const *argv) {
    for (int i = 1; i < argc; i++)
        if (hd_streq(argv[i], "check"))
            return true;
    return false;
}

static int serve(struct process *process) {
    struct hd_err err = {0};
    process->agent = calloc(1, sizeof(*process->agent));
    if (!process->agent)
        abort();
    enum hd_status status = start(process, &err);
    if (status == HD_OK) {
        run(process);
        leave(process);
    } else if (status == HD_INVALID) {
        usage_error(&err);
    } else {
        hd_error("cannot start: %s%s%s", err.text, *err.hint ? "; " : "", err.hint);
    }
    return status == HD_OK ? 0 : status == HD_INVALID ? 2 : 1;
}

static int check(struct process *process) {
    struct hd_err err = {0};
    struct check_def def = {.settings = process->settings, .name = process->name, .shim = process->program};
    hd_rng_seed_os(&process->rng);
    if (choose_name(process->settings, &err, process->name) != HD_OK)
        return usage_error(&err);
    def.shim_problem = choose_shim(process->settings, &err, process->program) == HD_OK ? "" : err.text;
    process->bus = open_bus(process);
    def.bus = process->bus;
    def.rng = &process->rng;
    return check_run(&def);
}

int agent_main(const struct hd_setting *settings, size_t n_settings, int argc, char **argv) {
    const struct hd_settings_table table = {settings, n_settings};
    struct process process = {.epoll_fd = -1, .signal_fd = -1, .shim_watched = -1, .table = &table};
    struct hd_err err = {0};
    enum hd_log_level level = HD_LOG_INFO;
    bool done = false;
    int code;
    process.state = (struct state){.dir_fd = -1, .lock_fd = -1, .spool_fd = -1};
    process.shim.fd = process.journal.fd = -1;
    process.argc = argc;
    process.argv = argv;
    hd_arena_init(&process.arena);
    if (parse(&table, argc, argv, &err, &process.settings, &level, &done) != HD_OK || done) {
        code = done ? 0 : usage_error(&err);
    } else if (wants_check(argc, argv)) {
        hd_log_setup("agent", HD_LOG_ERROR);
        code = check(&process);
    } else {
        hd_log_setup("agent", level);
        code = serve(&process);
    }
    release(&process);
    hd_settings_free(process.settings);
    return code;
}
