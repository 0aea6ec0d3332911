// From argv to the exit code: settings, signals, connections, the loop.
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/doors.h"
#include "base/map.h"
#include "service/health.h"
#include "service/migrations.h"
#include "service/runner.h"
#include "service/service_impl.h"

#define EVENTS_MAX 64
#define DRAIN_MS 800 // for what is still on its way to its stream
#define DUE_MAX_MS 60000

static const struct hd_setting common_settings[] = {
    {"nats", HD_SET_TEXT, "nats://127.0.0.1:4222", "addresses of nats-server, separated by commas"},
    {"nats-user", HD_SET_TEXT, NULL, "user at nats-server"},
    {"nats-password", HD_SET_TEXT, NULL, "its password", .secret = true},
    {"nats-ca", HD_SET_TEXT, NULL,
     "PEM file of who signs nats-server's certificate; with it the connection must be TLS"},
    {"nats-replicas", HD_SET_INT, "1",
     "servers that keep a copy of each stream: 3 with a cluster of three; the same for all services", .min = 1,
     .max = 5},
    {"nats-inbox", HD_SET_TEXT, NULL, "prefix of this process's inboxes; empty: _INBOX. and the name of the service"},
    {"listen", HD_SET_TEXT, "127.0.0.1:0", "host:port of /livez, /readyz, /metrics; empty: none, port 0: a free one"},
    {"log-level", HD_SET_TEXT, "info", "debug, info, warn or error"},
};
static const struct hd_setting store_settings[] = {
    {"postgres", HD_SET_TEXT, NULL,
     "how to reach PostgreSQL, as libpq takes it; keep a password in PGPASSWORD or a passfile"},
};
#define LEN(a) (sizeof(a) / sizeof(*(a)))

struct process {
    const struct hd_service_def *def;
    struct hd_settings *settings;
    struct hd_rng rng;
    struct hd_bus *bus;
    struct hd_db *db;
    struct hd_service *service;
    struct health *health;
    struct health_source health_source;
    int epoll_fd, signal_fd;
};

static bool owns_schema(const struct hd_service_def *def) {
    return def->n_sql || def->n_migrations;
}

static int usage_error(const struct hd_err *err) {
    fprintf(stderr, "%s%s%s\n", err->text, *err->hint ? "\n" : "", err->hint); // the text names the setting
    return 2;
}

// --- the database of a service ---------------------------------------------------------------------------------------

struct hd_db *hd_service_db_new(const struct hd_service_def *def, const char *conninfo) {
    const struct hd_sql *tables[HD_DB_TABLES_MAX] = {def->sql, tx_pg_sql};
    size_t lens[HD_DB_TABLES_MAX] = {def->n_sql, tx_pg_sql_len}, n = 2;
    for (size_t i = 0; i < def->n_more_sql && n < HD_DB_TABLES_MAX; i++, n++) {
        tables[n] = def->more_sql[i].rows;
        lens[n] = def->more_sql[i].n;
    }
    const struct hd_db_def db = {
        .schema = def->name,
        .tables = tables,
        .table_lens = lens,
        .n_tables = n,
        .migrations = def->migrations,
        .n_migrations = def->n_migrations,
        .runner_migrations = hd_embedded_migrations,
        .n_runner_migrations = LEN(hd_embedded_migrations),
    };
    return hd_db_new(conninfo, &db);
}

// --- start -----------------------------------------------------------------------------------------------------------

static enum hd_status parse(struct process *process, int argc, char **argv, struct hd_err *err, bool *ret_done) {
    const struct hd_service_def *def = process->def;
    struct hd_settings_table tables[3] = {{common_settings, LEN(common_settings)}, {def->settings, def->n_settings}};
    char usage[256];
    enum hd_log_level level;
    size_t n = 2;
    if (owns_schema(def))
        tables[n++] = (struct hd_settings_table){store_settings, LEN(store_settings)};
    snprintf(usage, sizeof(usage), "hodei-%s: %s", def->name, def->about ? def->about : "");
    HD_TRY(hd_settings_parse(usage, tables, n, &argc, argv, err, &process->settings, ret_done));
    if (*ret_done)
        return HD_OK;
    if (argc > 1)
        return hd_err_set(err, HD_INVALID, "\"%.80s\" is no setting: settings are written --name=value", argv[1]);
    if (hd_log_level_parse(hd_settings_text(process->settings, "log-level"), &level) != HD_OK)
        return hd_err_set(err, HD_INVALID, "log-level: \"%.40s\" is not debug, info, warn or error",
                          hd_settings_text(process->settings, "log-level"));
    hd_log_setup(def->name, level);
    return HD_OK;
}

// Before any thread: all of them inherit the mask, so that only the loop hears signals.
static void open_loop(struct process *process) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        abort();
    process->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    process->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (process->signal_fd < 0 || process->epoll_fd < 0)
        abort();
}

static void watch(struct process *process, enum loop_kind kind, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = loop_key(kind, fd)};
    if (fd < 0 || epoll_ctl(process->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        abort();
}

static const char *or_null(const char *text) {
    return *text ? text : NULL;
}

// --- health ----------------------------------------------------------------------------------------------------------

static bool is_ready(const void *arg, struct hd_buf *why) {
    const struct hd_service *service = arg;
    bool bus = service->env.bus->ops->connected(service->env.bus);
    bool db = !service->env.db || hd_db_connected(service->env.db);
    bool leaving = service->stopping || service->leave_mono_ms;
    if (leaving)
        hd_buf_adds(why, "stopping\n");
    if (!bus)
        hd_buf_adds(why, "NATS is not connected\n");
    if (!db)
        hd_buf_adds(why, "PostgreSQL is not connected\n");
    return bus && db && !leaving;
}

static void add_metrics(const void *arg, struct hd_buf *out) {
    const struct hd_service *service = arg;
    hd_metrics_format(service->metrics, RM_COUNT, out);
    hd_metrics_format(service->def->metrics, service->def->n_metrics, out);
}

static enum hd_status open_health(struct process *process, const char *listen, struct hd_err *err) {
    process->health_source = (struct health_source){is_ready, add_metrics, process->service};
    HD_TRY(health_new(listen, &process->health_source, err, &process->health));
    watch(process, LOOP_HEALTH, health_fd(process->health));
    return HD_OK;
}

static enum hd_status start(struct process *process, struct hd_err *err) {
    const struct hd_settings *settings = process->settings;
    const struct hd_service_def *def = process->def;
    char name[128], inbox[128];
    hd_rng_seed_os(&process->rng);
    open_loop(process);
    snprintf(name, sizeof(name), "hodei-%s", def->name);
    snprintf(inbox, sizeof(inbox), "_INBOX.%s", def->name);
    const char *given = or_null(hd_settings_text(settings, "nats-inbox"));
    process->bus =
        hd_bus_nats_new(&(struct hd_bus_nats_def){.urls = hd_settings_text(settings, "nats"),
                                                  .user = or_null(hd_settings_text(settings, "nats-user")),
                                                  .password = or_null(hd_settings_text(settings, "nats-password")),
                                                  .ca = or_null(hd_settings_text(settings, "nats-ca")),
                                                  .name = name,
                                                  .replicas = (unsigned)hd_settings_int(settings, "nats-replicas"),
                                                  .door = hd_door_find(def->name),
                                                  .inbox = given ? given : inbox});
    if (owns_schema(def))
        process->db = hd_service_db_new(def, hd_settings_text(settings, "postgres"));
    process->service = service_make(
        def, &(struct hd_service_env){
                 .bus = process->bus, .tx = process->db ? &hd_tx_pg : NULL, .db = process->db, .rng = &process->rng});
    process->service->settings = settings;
    process->service->epoll_fd = process->epoll_fd;
    watch(process, LOOP_SIGNAL, process->signal_fd);
    watch(process, LOOP_BUS, process->bus->ops->fd(process->bus));
    const char *listen = hd_settings_text(settings, "listen");
    if (*listen)
        HD_TRY(open_health(process, listen, err));
    return HD_OK;
}

// A wrong statement or migration must stop the start; a server that is away must not.
static enum hd_status check_store(struct process *process, struct hd_err *err) {
    if (!process->db)
        return HD_OK;
    struct hd_service *service = process->service;
    service->cx.now = hd_now_read();
    enum hd_status status = hd_db_connect(&service->cx);
    *err = service->cx.err;
    if (status != HD_UNAVAILABLE && status != HD_TIMEOUT)
        return status;
    hd_warn("%s; going on to try", err->text);
    return HD_OK;
}

// --- the loop --------------------------------------------------------------------------------------------------------

// Asked a second time it ends at once.
static void leave(struct hd_service *service) {
    int64_t ms = service->def->leaving && !service->leave_mono_ms ? service->def->leaving(service->self) : 0;
    if (ms > 0)
        service->leave_mono_ms = hd_now_read().mono_ms + ms;
    else
        hd_service_stop(service);
}

static void dispatch(struct process *process, const struct epoll_event *event) {
    int fd = loop_key_fd(event->data.u64);
    struct signalfd_siginfo info;
    switch (loop_key_kind(event->data.u64)) {
    case LOOP_BUS: // the turn receives
        return;
    case LOOP_SIGNAL:
        while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
            leave(process->service);
        return;
    case LOOP_WATCH:
        service_fd_ready(process->service, fd, event->events, hd_now_read());
        return;
    case LOOP_HEALTH:
        health_turn(process->health);
        return;
    }
}

static void wait_and_dispatch(struct process *process, int64_t until_mono_ms) {
    struct epoll_event events[EVENTS_MAX];
    int64_t wait = until_mono_ms - hd_now_read().mono_ms;
    wait = wait < 0 ? 0 : wait > DUE_MAX_MS ? DUE_MAX_MS : wait;
    int n = epoll_wait(process->epoll_fd, events, EVENTS_MAX, (int)wait);
    if (n < 0 && errno != EINTR)
        abort();
    for (int i = 0; i < n; i++)
        dispatch(process, &events[i]);
}

static void run(struct process *process) {
    struct hd_service *service = process->service;
    service_open(service);
    hd_info("started, version %s", HD_VERSION);
    while (!service->stopping) {
        bool did = hd_service_turn(service, hd_now_read());
        int64_t due = service_due_mono_ms(service), leave_at = service->leave_mono_ms;
        if (leave_at && hd_now_read().mono_ms >= leave_at)
            hd_service_stop(service);
        else if (!service->stopping)
            wait_and_dispatch(process, did ? 0 : leave_at && leave_at < due ? leave_at : due);
    }
    hd_info("stopping");
    service_drain(service, hd_now_read());
    int64_t end = hd_now_read().mono_ms + DRAIN_MS;
    while (service->outbox.n_rows && hd_now_read().mono_ms < end) { // rows that stay are said again by the next process
        wait_and_dispatch(process, end);
        hd_service_turn(service, hd_now_read());
    }
}

static void release(struct process *process) {
    health_free(process->health);
    if (process->service && process->service->self && process->def->release)
        process->def->release(process->service->self);
    hd_service_free(process->service);
    hd_db_free(process->db);
    if (process->bus)
        process->bus->ops->free(process->bus);
    if (process->epoll_fd >= 0)
        close(process->epoll_fd);
    if (process->signal_fd >= 0)
        close(process->signal_fd);
    hd_settings_free(process->settings);
}

int hd_service_main(const struct hd_service_def *def, int argc, char **argv) {
    struct process process = {.def = def, .epoll_fd = -1, .signal_fd = -1};
    struct hd_err err = {0};
    bool done = false;
    int code = 0;
    if (parse(&process, argc, argv, &err, &done) != HD_OK)
        code = usage_error(&err);
    else if (!done && start(&process, &err) != HD_OK)
        code = usage_error(&err);
    if (code || done) {
        release(&process);
        return code;
    }
    enum hd_status status = check_store(&process, &err);
    if (status == HD_OK && def->init)
        status = def->init(process.service, process.settings, &process.service->self, &err);
    if (status == HD_OK) {
        run(&process);
    } else {
        hd_error("cannot start: %s", err.text);
        code = status == HD_INVALID ? usage_error(&err) : 1;
    }
    release(&process);
    if (code == 0 && !done)
        hd_info("stopped");
    return code;
}
