#include "agent/executor/shim_client.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/map.h"
#include "base/pb.h"

#define SOCKET_NAME "shim.sock"
#define LISTEN_FD 3
#define ARGS_MAX 32
#define FRAME_MAX HD_PB_MAX_BYTES
#define OUT_MAX (64u << 20)
#define READ_BYTES (256u << 10)
#define RETRY_FIRST_MS 50
#define RETRY_MAX_MS 5000

extern char **environ;

void shim_client_init(struct shim_client *client, int dir_fd, const char *state, const char *program,
                      const char *const *args) {
    *client = (struct shim_client){.dir_fd = dir_fd, .state = state, .program = program, .args = args, .fd = -1};
}

static void drop(struct shim_client *client) {
    hd_close_fd(&client->fd);
    client->fd = -1;
    hd_buf_release(&client->in);
    hd_buf_release(&client->out);
    client->in_taken = 0;
}

void shim_client_release(struct shim_client *client) {
    drop(client);
}

// --- connecting ------------------------------------------------------------------------------------------------------

// By the folder's descriptor, since a path may be longer than an address takes.
static struct sockaddr_un address(const struct shim_client *client) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof(name.sun_path), "/proc/self/fd/%d/" SOCKET_NAME, client->dir_fd);
    return name;
}

static enum hd_status dial(struct shim_client *client, struct hd_err *err) {
    const struct sockaddr_un name = address(client);
    HD_AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&name, sizeof(name)) != 0)
        return hd_err_set(err, errno == ECONNREFUSED || errno == ENOENT ? HD_MISSING : HD_UNAVAILABLE,
                          "cannot connect to the shim at %.200s/" SOCKET_NAME ": %s", client->state, strerror(errno));
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        return hd_err_set(err, HD_INTERNAL, "fcntl: %s", strerror(errno));
    client->fd = fd;
    fd = -1;
    return HD_OK;
}

static enum hd_status listen_socket(const struct shim_client *client, struct hd_err *err, int *ret_fd) {
    const struct sockaddr_un name = address(client);
    HD_AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)unlinkat(client->dir_fd, SOCKET_NAME, 0);
    if (fd < 0 || fchmod(fd, 0600) != 0 || bind(fd, (const struct sockaddr *)&name, sizeof(name)) != 0 ||
        listen(fd, 8) != 0)
        return hd_err_set(err, HD_UNAVAILABLE, "cannot make the socket %.200s/" SOCKET_NAME ": %s", client->state,
                          strerror(errno));
    *ret_fd = fd;
    fd = -1;
    return HD_OK;
}

// Jobs can read the environment of their parent: the agent's settings, some of them secret, are not in it.
static char **clean_environ(void) {
    size_t n = 0, kept = 0;
    while (environ[n])
        n++;
    char **list = hd_calloc(n + 1, sizeof(*list));
    for (size_t i = 0; i < n; i++)
        if (!hd_starts_with(environ[i], "HODEI_"))
            list[kept++] = environ[i];
    return list;
}

// In a session of its own, with no signal blocked or ignored, so that nothing meant for the agent reaches it.
static int spawn(const struct shim_client *client, int listen_fd, pid_t *ret_pid) {
    char state[4200], fd_text[32];
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t actions;
    HD_AUTO_FREE char **env = clean_environ();
    sigset_t none, all;
    snprintf(state, sizeof(state), "--state=%s", client->state);
    snprintf(fd_text, sizeof(fd_text), "--listen-fd=%d", LISTEN_FD);
    char *argv[3 + ARGS_MAX + 1] = {(char *)(uintptr_t)client->program, state, fd_text, NULL};
    for (size_t i = 0; i < ARGS_MAX && client->args[i]; i++)
        argv[3 + i] = (char *)(uintptr_t)client->args[i];
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, listen_fd, LISTEN_FD);
    // The socket of nats.c is not close-on-exec: a shim that held it would keep this agent's pulls alive after its death.
    posix_spawn_file_actions_addclosefrom_np(&actions, LISTEN_FD + 1);
    int failed = posix_spawn(ret_pid, client->program, &actions, &attr, argv, env);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    return failed;
}

static enum hd_status start(struct shim_client *client, struct hd_err *err) {
    HD_AUTO_FD int listener = -1;
    pid_t pid = 0;
    HD_TRY(listen_socket(client, err, &listener));
    int failed = spawn(client, listener, &pid);
    if (failed) {
        hd_err_set(err, HD_UNAVAILABLE, "cannot start the shim %.200s: %s", client->program, strerror(failed));
        hd_err_hint(err, "--shim names it; by default it stands beside the agent");
        return HD_UNAVAILABLE;
    }
    hd_info("started a shim, process %ld", (long)pid);
    return dial(client, err);
}

bool shim_client_tick(struct shim_client *client, struct hd_now now) {
    struct hd_err err = {0};
    if (client->fd >= 0 || now.mono_ms < client->retry_ms)
        return false;
    enum hd_status status = dial(client, &err);
    if (status == HD_OK)
        hd_info("connected to the shim");
    else if (status == HD_MISSING)
        status = start(client, &err);
    int64_t pause_ms = RETRY_FIRST_MS;
    for (unsigned i = 0; i < client->failures && pause_ms < RETRY_MAX_MS; i++)
        pause_ms *= 2;
    client->retry_ms = now.mono_ms + pause_ms; // also for one that ends as soon as it was started
    client->failures += client->failures < 16;
    if (status != HD_OK)
        hd_error("%s%s%s", err.text, *err.hint ? "; " : "", err.hint);
    return status == HD_OK;
}

// --- frames ----------------------------------------------------------------------------------------------------------

static bool read_some(struct shim_client *client) {
    hd_buf_consume(&client->in, client->in_taken);
    client->in_taken = 0;
    for (int i = 0; i < 4; i++) { // what is more comes in the next turn
        hd_buf_reserve(&client->in, READ_BYTES);
        ssize_t n = read(client->fd, client->in.data + client->in.len, READ_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0)
            return false;
        client->in.len += (size_t)n;
        if ((size_t)n < READ_BYTES)
            return true;
    }
    return true;
}

static bool write_some(struct shim_client *client) {
    size_t done = 0;
    while (done < client->out.len) {
        ssize_t n = send(client->fd, client->out.data + done, client->out.len - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    hd_buf_consume(&client->out, done);
    return client->out.len <= OUT_MAX;
}

bool shim_client_io(struct shim_client *client, struct hd_now now) {
    if (client->fd < 0)
        return false;
    if (write_some(client) && read_some(client))
        return true;
    // What it said before it went is lost with it: a hello says all of it again.
    drop(client);
    if (client->retry_ms < now.mono_ms)
        client->retry_ms = now.mono_ms;
    return false;
}

bool shim_client_wants_out(const struct shim_client *client) {
    return client->fd >= 0 && client->out.len;
}

const Hodei__V1__ShimMessage *shim_client_next(struct shim_client *client, struct hd_arena *arena) {
    const uint8_t *at = (const uint8_t *)client->in.data + client->in_taken;
    size_t left = client->in.len - client->in_taken;
    struct hd_err err = {0};
    ProtobufCMessage *msg = NULL;
    if (client->fd < 0 || left < 4)
        return NULL;
    size_t len = (size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 | (size_t)at[3] << 24;
    if (len <= FRAME_MAX && left - 4 < len)
        return NULL;
    if (len > FRAME_MAX ||
        hd_pb_unpack(arena, &hodei__v1__shim_message__descriptor, at + 4, len, &err, &msg) != HD_OK) {
        hd_error("the shim says what is not valid: %s", len > FRAME_MAX ? "a frame is too long" : err.text);
        (void)shutdown(client->fd, SHUT_RDWR); // the next reading drops it
        client->in_taken = client->in.len;
        return NULL;
    }
    client->in_taken += 4 + len;
    client->failures = 0;
    return (const Hodei__V1__ShimMessage *)msg;
}

static void put(struct shim_client *client, const Hodei__V1__ShimMessage *msg, size_t len) {
    hd_buf_reserve(&client->out, len + 4);
    uint8_t *at = (uint8_t *)client->out.data + client->out.len;
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(len >> (8 * i));
    protobuf_c_message_pack(&msg->base, at + 4);
    client->out.len += len + 4;
}

// Jobs in front, in as many frames as they need.
static void put_split(struct shim_client *client, const Hodei__V1__ShimMessage *msg) {
    Hodei__V1__ShimMessage part = *msg;
    size_t len = protobuf_c_message_get_packed_size(&msg->base);
    if (len <= FRAME_MAX || msg->n_jobs <= 1) {
        put(client, msg, len);
        return;
    }
    part.n_jobs = msg->n_jobs / 2;
    part.n_cancels = part.n_forgets = part.n_log_acks = 0;
    put_split(client, &part);
    part = *msg;
    part.jobs += msg->n_jobs / 2;
    part.n_jobs -= msg->n_jobs / 2;
    put_split(client, &part);
}

void shim_client_send(struct shim_client *client, const Hodei__V1__ShimMessage *msg) {
    if (client->fd < 0) // its hello will show what it did not hear
        return;
    put_split(client, msg);
    if (!write_some(client))
        (void)shutdown(client->fd, SHUT_RDWR);
}
