// The agent as it is, with its shim and a real nats-server; whoever includes this is registry, orchestrator and observability.
#ifndef HD_TESTS_AGENT_WORLD_H
#define HD_TESTS_AGENT_WORLD_H

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "adapter/bus.h"
#include "base/map.h"
#include "base/pb.h"
#include "hodei/v1/common.pb-c.h"
#include "hodei/v1/flow.pb-c.h"
#include "hodei/v1/log.pb-c.h"
#include "hodei/v1/worker.pb-c.h"
#include "tests/unit/test.h"

#define STATE(x) HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_##x
#define EXEC(x) HODEI__V1__EXECUTOR__EXECUTOR_##x
#define RUN "01900000-0000-7000-8000-00000000abcd"
#define PATIENCE_MS 20000

extern char **environ;

struct attempt { // what the orchestrator knows of one
    char id[HD_UUID_TEXT];
    int state; // 0: nothing heard
    int exit_code;
    uint64_t frames, log_frames;
};
struct world {
    char folder[64], bin[1024], url[64];
    unsigned port;
    pid_t nats, agent;
    struct hd_bus *bus;
    struct hd_rng rng;
    struct hd_arena arena;
    struct attempt *attempts;
    struct hd_map by_id; // hash of the text → attempt
    size_t n, cap, ended;
    struct hd_buf log;
    char session[HD_UUID_TEXT];
    unsigned beats, joins;
    bool deaf; // acknowledges nothing
};

// --- processes -------------------------------------------------------------------------------------------------------

static inline pid_t spawn(struct world *w, const char *log, char *const argv[]) {
    posix_spawn_file_actions_t actions;
    char path[200];
    pid_t pid = 0;
    snprintf(path, sizeof(path), "%s/%s.log", w->folder, log);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    CHECK_INT(posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static inline void end(pid_t pid, int signo) {
    if (pid > 0) {
        kill(pid, signo);
        waitpid(pid, NULL, 0);
    }
}

static inline void agent_start(struct world *w) {
    char program[1100], state[128], nats[100];
    snprintf(program, sizeof(program), "%s/hodei-agent", w->bin);
    snprintf(state, sizeof(state), "--state=%s/state", w->folder);
    snprintf(nats, sizeof(nats), "--nats=%s", w->url);
    char *argv[] = {program,
                    "--name=w1",
                    "--slots=2000",
                    "--listen=127.0.0.1:0",
                    "--on-stop=stop",
                    "--stop-timeout=3s",
                    "--nats-user=agent",
                    state,
                    nats,
                    NULL};
    w->agent = spawn(w, "agent", argv);
}

// With the rights that an agent has in `hodei dev`, so that what it may not do shows here.
static inline void write_conf(const char *path, unsigned port, const char *folder) {
    FILE *file = fopen(path, "we");
    CHECK(file != NULL);
    fprintf(file,
            "listen: \"127.0.0.1:%u\"\njetstream { store_dir: \"%s\" }\nports_file_dir: \"%s\"\n"
            "authorization { users: [ { user: services, password: s }, { user: agent, password: a, permissions: {\n"
            "  publish: [\"hodei.rpc.worker-registry.Join\", \"hodei.rpc.worker-registry.Heartbeat\", "
            "\"hodei.report.>\",\n"
            "    \"hodei.log.>\", \"$JS.API.CONSUMER.MSG.NEXT.>\", \"$JS.ACK.>\"]\n"
            "  subscribe: [\"_INBOX.agent.>\", \"hodei.ack.>\"] } } ] }\n",
            port, folder, folder);
    fclose(file);
}

// `port_wanted` 0: a free one.
static inline bool nats_start(struct world *w, unsigned port_wanted) {
    char folder[100], conf[120], file[160];
    snprintf(folder, sizeof(folder), "%s/nats", w->folder);
    snprintf(conf, sizeof(conf), "%s/nats.conf", folder);
    mkdir(folder, 0700);
    for (int tries = 0; tries < 20; tries++) {
        unsigned port = port_wanted ? port_wanted : 20000 + (unsigned)hd_rng_below(&w->rng, 20000);
        char *argv[] = {"nats-server", "-c", conf, NULL};
        write_conf(conf, port, folder);
        w->nats = spawn(w, "nats", argv);
        snprintf(file, sizeof(file), "%s/nats-server_%ld.ports", folder, (long)w->nats);
        for (int i = 0; i < 500; i++) { // until its file is there, or it ends
            if (access(file, F_OK) == 0) {
                w->port = port;
                snprintf(w->url, sizeof(w->url), "nats://127.0.0.1:%u", port);
                return true;
            }
            if (waitpid(w->nats, NULL, WNOHANG) == w->nats)
                break;
            poll(NULL, 0, 10);
        }
    }
    return false;
}

// --- the other side --------------------------------------------------------------------------------------------------

static inline ProtobufCMessage *unpack(struct world *w, const ProtobufCMessageDescriptor *desc, const void *data,
                                       size_t len) {
    ProtobufCMessage *msg = NULL;
    CHECK_INT(hd_pb_unpack(&w->arena, desc, data, len, NULL, &msg), HD_OK);
    return msg;
}

static inline void send_msg(struct world *w, const char *subject, const ProtobufCMessage *msg) {
    uint8_t *data;
    size_t len;
    hd_pb_pack(&w->arena, msg, &data, &len);
    w->bus->ops->send(w->bus, subject, data, len);
}

static inline void serve(struct world *w, const struct hd_arrived *arrived) {
    const Hodei__V1__RpcRequest *request =
        (const Hodei__V1__RpcRequest *)unpack(w, &hodei__v1__rpc_request__descriptor, arrived->data, arrived->len);
    Hodei__V1__RpcReply reply = HODEI__V1__RPC_REPLY__INIT;
    Hodei__V1__JoinReply join = HODEI__V1__JOIN_REPLY__INIT;
    Hodei__V1__HeartbeatReply beat = HODEI__V1__HEARTBEAT_REPLY__INIT;
    struct hd_err err = {0};
    if (arrived->table == 0) {
        const Hodei__V1__JoinRequest *asked = (const Hodei__V1__JoinRequest *)unpack(
            w, &hodei__v1__join_request__descriptor, request->body.data, request->body.len);
        CHECK_STR(asked->name, "w1");
        CHECK_STR(asked->token, "secret");
        hd_strlcpy(w->session, asked->session, sizeof(w->session));
        CHECK_INT(w->bus->ops->ensure_work(w->bus, "w1", w->session, &err), HD_OK);
        join.lease_ms = 15000;
        join.heartbeat_ms = 500;
        join.stream = "WORK_w1";
        join.consumer = w->session;
        hd_pb_pack(&w->arena, &join.base, &reply.body.data, &reply.body.len);
        w->joins++;
    } else {
        const Hodei__V1__HeartbeatRequest *asked = (const Hodei__V1__HeartbeatRequest *)unpack(
            w, &hodei__v1__heartbeat_request__descriptor, request->body.data, request->body.len);
        if (asked->stream_missing)
            CHECK_INT(w->bus->ops->ensure_work(w->bus, "w1", w->session, &err), HD_OK);
        beat.lease_ms = 15000;
        hd_pb_pack(&w->arena, &beat.base, &reply.body.data, &reply.body.len);
        w->beats++;
    }
    send_msg(w, arrived->reply, &reply.base);
}

static inline struct attempt *attempt_of(const struct world *w, const char *id) {
    return hd_map_get(&w->by_id, hd_hash(id, strlen(id), 0));
}

static inline void take_reports(struct world *w, const struct hd_arrived *arrived) {
    const Hodei__V1__AttemptReports *msg = (const Hodei__V1__AttemptReports *)unpack(
        w, &hodei__v1__attempt_reports__descriptor, arrived->data, arrived->len);
    Hodei__V1__Acks acks = HODEI__V1__ACKS__INIT;
    acks.session = msg->session;
    acks.reports = HD_NEW_ARRAY(&w->arena, msg->n_reports, Hodei__V1__ReportAck *);
    for (size_t i = 0; i < msg->n_reports; i++) {
        const Hodei__V1__AttemptReport *report = msg->reports[i];
        struct attempt *attempt = attempt_of(w, report->attempt);
        if (!attempt)
            continue;
        bool had_end = attempt->state > STATE(RUNNING);
        if (had_end)
            CHECK(report->state == STATE(RUNNING) || (int)report->state == attempt->state);
        else
            attempt->state = (int)report->state;
        attempt->exit_code = report->exit_code;
        attempt->log_frames = report->log_frames;
        w->ended += !had_end && attempt->state > STATE(RUNNING);
        Hodei__V1__ReportAck *ack = HD_NEW(&w->arena, Hodei__V1__ReportAck);
        *ack = (Hodei__V1__ReportAck)HODEI__V1__REPORT_ACK__INIT;
        ack->attempt = report->attempt;
        ack->number = report->number;
        ack->final = attempt->state > STATE(RUNNING);
        acks.reports[acks.n_reports++] = ack;
    }
    if (!w->deaf)
        send_msg(w, "hodei.ack.w1", &acks.base);
}

static inline void take_logs(struct world *w, const struct hd_arrived *arrived) {
    const Hodei__V1__LogChunks *chunks =
        (const Hodei__V1__LogChunks *)unpack(w, &hodei__v1__log_chunks__descriptor, arrived->data, arrived->len);
    for (size_t i = 0; i < chunks->n_chunks; i++) {
        const Hodei__V1__LogChunk *chunk = chunks->chunks[i];
        struct attempt *attempt = attempt_of(w, chunk->attempt);
        Hodei__V1__Acks acks = HODEI__V1__ACKS__INIT;
        Hodei__V1__LogAck ack = HODEI__V1__LOG_ACK__INIT, *list = &ack;
        for (size_t k = 0; attempt && k < chunk->n_frames; k++) {
            if (chunk->first_frame + k != attempt->frames)
                continue; // known already, or too early
            hd_buf_add(&w->log, chunk->frames[k]->data.data, chunk->frames[k]->data.len);
            attempt->frames++;
        }
        acks.session = chunk->session;
        acks.logs = &list;
        acks.n_logs = 1;
        ack.attempt = chunk->attempt;
        ack.next_frame = attempt ? attempt->frames : 0;
        if (!w->deaf)
            send_msg(w, "hodei.ack.w1", &acks.base);
    }
}

static inline void turn(struct world *w) {
    struct hd_arrived arrived[64];
    struct pollfd fd = {.fd = w->bus->ops->fd(w->bus), .events = POLLIN};
    poll(&fd, 1, 100);
    hd_arena_reset(&w->arena);
    for (size_t n; (n = w->bus->ops->receive(w->bus, arrived, 64));) {
        for (size_t i = 0; i < n; i++) {
            if (arrived[i].kind == HD_ARRIVED_RPC)
                serve(w, &arrived[i]);
            else if (arrived[i].kind == HD_ARRIVED_FEED && arrived[i].table == 0)
                take_reports(w, &arrived[i]);
            else if (arrived[i].kind == HD_ARRIVED_FEED)
                take_logs(w, &arrived[i]);
            if (arrived[i].kind == HD_ARRIVED_FEED)
                w->bus->ops->ack(w->bus, &arrived[i]);
            w->bus->ops->done(w->bus, &arrived[i]);
        }
        w->bus->ops->flush(w->bus);
    }
}

#define UNTIL(w, cond)                                                                                                 \
    do {                                                                                                               \
        int64_t until_ = hd_now_read().mono_ms + PATIENCE_MS;                                                          \
        while (!(cond) && hd_now_read().mono_ms < until_)                                                              \
            turn(w);                                                                                                   \
        CHECK(cond);                                                                                                   \
    } while (0)

static inline void world_init(struct world *w) {
    struct hd_err err = {0};
    *w = (struct world){.folder = "/tmp/hodei-agent-XXXXXX"};
    hd_rng_seed_os(&w->rng);
    hd_arena_init(&w->arena);
    CHECK(mkdtemp(w->folder) != NULL);
    ssize_t n = readlink("/proc/self/exe", w->bin, sizeof(w->bin) - 1);
    w->bin[n > 0 ? n : 0] = '\0';
    char agent[1100];
    do { // in the folder of this program, or one above it
        *(strrchr(w->bin, '/') ? strrchr(w->bin, '/') : w->bin) = '\0';
        snprintf(agent, sizeof(agent), "%s/hodei-agent", w->bin);
    } while (*w->bin && access(agent, X_OK) != 0);
    setenv("HODEI_JOIN_TOKEN", "secret", 1);
    setenv("HODEI_NATS_PASSWORD", "a", 1);
    CHECK(nats_start(w, 0));
    w->bus =
        hd_bus_nats_new(&(struct hd_bus_nats_def){.urls = w->url, .user = "services", .password = "s", .name = "test"});
    const struct hd_bus_ops *ops = w->bus->ops;
    int64_t until = hd_now_read().mono_ms + PATIENCE_MS;
    while (!ops->connected(w->bus) && hd_now_read().mono_ms < until)
        poll(NULL, 0, 5);
    CHECK_INT(ops->ensure_streams(w->bus, &err), HD_OK);
    CHECK_INT(ops->serve(w->bus, "worker-registry", "Join", 0, &err), HD_OK);
    CHECK_INT(ops->serve(w->bus, "worker-registry", "Heartbeat", 1, &err), HD_OK);
    CHECK_INT(ops->feed_open(w->bus, "REPORTS", "orchestrator", "", true, 1000, 0, &err), HD_OK);
    CHECK_INT(ops->feed_open(w->bus, "LOGS", "observability", "", true, 1000, 1, &err), HD_OK);
    agent_start(w);
    UNTIL(w, w->beats > 0);
}

static inline void world_release(struct world *w) {
    char command[200];
    end(w->agent, SIGTERM); // takes its jobs and the shim along
    w->bus->ops->free(w->bus);
    end(w->nats, SIGKILL);
    snprintf(command, sizeof(command), "rm -rf %s", w->folder);
    if (getenv("HODEI_KEEP") || system(command) != 0)
        printf("kept %s\n", w->folder);
    hd_map_release(&w->by_id);
    free(w->attempts);
    hd_buf_release(&w->log);
    hd_arena_release(&w->arena);
}

// --- what they use -----------------------------------------------------------------------------------------------------

static inline int64_t status_kib(pid_t pid, const char *name) {
    char path[64], line[256];
    int64_t kib = 0;
    snprintf(path, sizeof(path), "/proc/%ld/status", (long)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, name, strlen(name)) == 0)
            kib = strtoll(line + strlen(name), NULL, 10);
    if (file)
        fclose(file);
    return kib;
}

// The first child; 0: none.
static inline pid_t child_of(pid_t pid) {
    char path[64], text[64] = "";
    snprintf(path, sizeof(path), "/proc/%ld/task/%ld/children", (long)pid, (long)pid);
    HD_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    return n > 0 ? (pid_t)strtol(text, NULL, 10) : 0;
}

// Entries of a folder; -1: it is not there.
static inline int64_t entries_of(const char *path) {
    DIR *dir = opendir(path);
    int64_t n = dir ? 0 : -1;
    const struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        n += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return n;
}

// --- work ------------------------------------------------------------------------------------------------------------

static inline void room_for(struct world *w, size_t n) { // before the first: the map points into the array
    w->attempts = hd_calloc(n, sizeof(*w->attempts));
    w->cap = n;
}

static inline Hodei__V1__Assignment *assignment(struct world *w, Hodei__V1__Executor executor, const char *script,
                                                struct attempt **ret) {
    Hodei__V1__Assignment *made = HD_NEW(&w->arena, Hodei__V1__Assignment);
    Hodei__V1__Step *step = HD_NEW(&w->arena, Hodei__V1__Step);
    struct attempt *attempt = &w->attempts[w->n++];
    *made = (Hodei__V1__Assignment)HODEI__V1__ASSIGNMENT__INIT;
    *step = (Hodei__V1__Step)HODEI__V1__STEP__INIT;
    hd_uuid_format(hd_uuid7(hd_now_read().wall_ms, &w->rng), attempt->id);
    hd_map_put(&w->by_id, hd_hash(attempt->id, strlen(attempt->id), 0), attempt);
    made->attempt = attempt->id;
    made->session = w->session;
    made->tenant = "default";
    made->run = RUN;
    made->job = "build";
    made->number = 1;
    made->executor = executor;
    made->pipeline = "p";
    made->timeout_ms = 60000;
    made->cancel_grace_ms = 1000;
    if (script) {
        if (*script == '/') { // the program itself
            step->argv = HD_NEW_ARRAY(&w->arena, 1, char *);
            step->argv[step->n_argv++] = (char *)(uintptr_t)script;
        } else {
            step->script = (char *)(uintptr_t)script;
        }
        made->steps = HD_NEW_ARRAY(&w->arena, 1, Hodei__V1__Step *);
        made->steps[made->n_steps++] = step;
    }
    if (ret)
        *ret = attempt;
    return made;
}

static inline void publish(struct world *w, const Hodei__V1__Work *work) {
    char id[32];
    uint8_t *data;
    size_t len;
    snprintf(id, sizeof(id), "%" PRIx64, hd_rng_next(&w->rng));
    hd_pb_pack(&w->arena, &work->base, &data, &len);
    w->bus->ops->publish(w->bus, "hodei.work.w1", data, len, id, 0);
    w->bus->ops->flush(w->bus);
}

static inline struct attempt *start(struct world *w, const char *script) {
    struct attempt *attempt;
    Hodei__V1__Work work = HODEI__V1__WORK__INIT;
    Hodei__V1__Assignment *one = assignment(w, EXEC(SHELL), script, &attempt);
    work.assignments = &one;
    work.n_assignments = 1;
    publish(w, &work);
    return attempt;
}

static inline void cancel(struct world *w, struct attempt *attempt) {
    Hodei__V1__Work work = HODEI__V1__WORK__INIT;
    Hodei__V1__CancelAttempt one = HODEI__V1__CANCEL_ATTEMPT__INIT, *list = &one;
    one.attempt = attempt->id;
    work.cancels = &list;
    work.n_cancels = 1;
    publish(w, &work);
}

static inline bool over(const struct attempt *attempt) {
    return attempt->state > STATE(RUNNING) && attempt->frames == attempt->log_frames;
}

static inline void log_text(struct world *w, const char *want) {
    hd_buf_addc(&w->log, '\0');
    CHECK_STR(w->log.data, want);
    hd_buf_clear(&w->log);
}

// --- tests -----------------------------------------------------------------------------------------------------------

// Milliseconds that the agent takes for so many jobs, each of which must succeed once.
static inline int64_t measure(struct world *w, Hodei__V1__Executor executor, const char *script, size_t total) {
    size_t sent = 0, first = w->n;
    int64_t begin = hd_now_read().mono_ms;
    w->ended = 0;
    int64_t patience_ms = PATIENCE_MS + (int64_t)total * 10;
    while (w->ended < total && hd_now_read().mono_ms < begin + patience_ms) {
        hd_arena_reset(&w->arena);
        while (sent < total && sent - w->ended < 1000) {
            Hodei__V1__Work work = HODEI__V1__WORK__INIT;
            Hodei__V1__Assignment *list[100];
            for (; work.n_assignments < 100 && sent < total; sent++)
                list[work.n_assignments++] = assignment(w, executor, script, NULL);
            work.assignments = list;
            publish(w, &work);
        }
        turn(w);
    }
    int64_t took = hd_now_read().mono_ms - begin;
    CHECK_INT(w->ended, total);
    for (size_t i = first; i < w->n; i++)
        CHECK_INT(w->attempts[i].state, STATE(SUCCEEDED));
    return took > 0 ? took : 1;
}

#endif
