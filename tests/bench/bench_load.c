// The load of `make bench`; prints one JSON object. All times are CLOCK_MONOTONIC in nanoseconds, which Python reads too.
//
//   bench-load spawn SECONDS                              posix_spawn of /bin/true, two spawners, one child each at a time
//   bench-load runs PORT TOKEN-FILE PIPELINE N CALLERS    starts N runs, one request each, CALLERS at once over keep-alive
//   bench-load get PORT TOKEN-FILE|- PATH N CALLERS       asks for PATH N times, CALLERS at once; "-" sends no token
//   bench-load latency PORT TOKEN-FILE PIPELINE N FILE    N runs one after another, each followed to its end; FILE is what the
//                                                         job writes by:
//   bench-load note FILE                                  writes the time into FILE; this is the job itself
//
// One thread and one epoll set for all callers, since the load shares the machine with what it measures.
#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/map.h"

extern char **environ;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void die(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fputs("bench-load: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

static int64_t number(const char *text) {
    int64_t n;
    if (hd_parse_i64(text, &n) != HD_OK || n < 0)
        die("%s is not a number", text);
    return n;
}

// --- spawn -----------------------------------------------------------------------------------------------------------

static uint64_t spawn_until(int64_t end_ns) {
    char *const argv[] = {(char *)"/bin/true", NULL};
    uint64_t n = 0;
    for (; now_ns() < end_ns; n++) {
        pid_t pid;
        int status, failed = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);
        if (failed)
            die("posix_spawn: %s", strerror(failed));
        if (waitpid(pid, &status, 0) != pid || status != 0)
            die("/bin/true has failed");
    }
    return n;
}

static int spawn_main(int64_t seconds) {
    int64_t start = now_ns(), end = start + seconds * 1000000000;
    int pipes[2];
    uint64_t other = 0;
    if (pipe2(pipes, O_CLOEXEC) != 0)
        die("pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        die("fork: %s", strerror(errno));
    uint64_t n = spawn_until(end);
    if (pid == 0)
        _exit(write(pipes[1], &n, sizeof(n)) == sizeof(n) ? 0 : 1);
    close(pipes[1]);
    if (read(pipes[0], &other, sizeof(other)) != sizeof(other) || waitpid(pid, NULL, 0) != pid)
        die("the other spawner has failed");
    printf("{\"spawned\":%" PRIu64 ",\"ns\":%" PRId64 "}\n", n + other, now_ns() - start);
    return 0;
}

// --- HTTP ------------------------------------------------------------------------------------------------------------

struct api {
    struct sockaddr_in address;
    char token[256];
};

static struct api api_open(const char *port, const char *token_file) {
    struct api api = {.address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number(port))}};
    api.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (strcmp(token_file, "-") == 0)
        return api;
    HD_AUTO_FD int fd = open(token_file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, api.token, sizeof(api.token) - 1);
    if (n <= 0)
        die("%s: cannot be read", token_file);
    api.token[strcspn(api.token, "\r\n")] = '\0';
    return api;
}

static int api_connect(const struct api *api) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&api->address, sizeof(api->address)) != 0)
        die("cannot connect to the API: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static void request(const struct api *api, struct hd_buf *out, const char *method, const char *path, const char *body) {
    hd_buf_clear(out);
    hd_buf_addf(out, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n", method, path);
    if (*api->token)
        hd_buf_addf(out, "Authorization: Bearer %s\r\n", api->token);
    if (*body)
        hd_buf_addf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
    hd_buf_addf(out, "\r\n%s", body);
}

static void send_all(int fd, const struct hd_buf *out) {
    for (size_t done = 0; done < out->len;) {
        ssize_t n = write(fd, out->data + done, out->len - done);
        if (n < 0 && errno != EINTR)
            die("writing to the API: %s", strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
}

// Reads what there is; true once a whole answer is in `in`, which starts at *ret_body.
static bool answer(int fd, struct hd_buf *in, const char **ret_body) {
    hd_buf_reserve(in, 16384);
    ssize_t n = read(fd, in->data + in->len, 16384);
    if (n <= 0)
        die("the API has closed the connection: %.200s", in->len ? in->data : strerror(errno));
    in->len += (size_t)n;
    in->data[in->len] = '\0';
    const char *end = strstr(in->data, "\r\n\r\n"), *length = strcasestr(in->data, "\r\nContent-Length:");
    if (!end)
        return false;
    if (!length || length > end)
        die("an answer without Content-Length: %.300s", in->data);
    size_t body = strtoul(length + strlen("\r\nContent-Length:"), NULL, 10);
    *ret_body = end + 4;
    if (in->len < (size_t)(*ret_body - in->data) + body)
        return false;
    if (!hd_starts_with(in->data, "HTTP/1.1 2"))
        die("the API answers: %.500s", in->data);
    return true;
}

// --- many runs at once -----------------------------------------------------------------------------------------------

struct caller {
    int fd;
    int64_t sent_ns;
    struct hd_buf in;
};

// Sends `out` n times.
static int many_main(const struct api *api, const struct hd_buf *out, size_t n, size_t callers) {
    struct caller *all = hd_calloc(callers, sizeof(*all));
    int64_t *took = hd_calloc(n, sizeof(*took));
    size_t sent = 0, done = 0;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < callers; i++) {
        all[i].fd = api_connect(api);
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = i};
        epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event);
    }
    int64_t first = now_ns();
    for (; sent < callers && sent < n; sent++) {
        all[sent].sent_ns = now_ns();
        send_all(all[sent].fd, out);
    }
    while (done < n) {
        struct epoll_event events[64];
        int got = epoll_wait(epoll, events, 64, 60000);
        if (got <= 0)
            die("no answer for a minute");
        for (int i = 0; i < got; i++) {
            struct caller *caller = &all[events[i].data.u64];
            const char *text;
            if (!answer(caller->fd, &caller->in, &text))
                continue;
            hd_buf_clear(&caller->in);
            took[done++] = now_ns() - caller->sent_ns;
            if (sent == n)
                continue;
            sent++;
            caller->sent_ns = now_ns();
            send_all(caller->fd, out);
        }
    }
    printf("{\"first_ns\":%" PRId64 ",\"last_ns\":%" PRId64 ",\"request_ns\":[", first, now_ns());
    for (size_t i = 0; i < n; i++)
        printf("%s%" PRId64, i ? "," : "", took[i]);
    printf("]}\n");
    return 0;
}

static int runs_main(const struct api *api, const char *pipeline, size_t n, size_t callers) {
    HD_AUTO_BUF struct hd_buf out = {0};
    char body[256];
    snprintf(body, sizeof(body), "{\"pipeline\":\"%s\"}", pipeline);
    request(api, &out, "POST", "/v1/runs", body);
    return many_main(api, &out, n, callers);
}

static int get_main(const struct api *api, const char *path, size_t n, size_t callers) {
    HD_AUTO_BUF struct hd_buf out = {0};
    request(api, &out, "GET", path, "");
    return many_main(api, &out, n, callers);
}

// --- one after another -----------------------------------------------------------------------------------------------

static const char *call(const struct api *api, int fd, struct hd_buf *in, const char *method, const char *path,
                        const char *body) {
    HD_AUTO_BUF struct hd_buf out = {0};
    const char *text = NULL;
    request(api, &out, method, path, body);
    hd_buf_clear(in);
    send_all(fd, &out);
    while (!answer(fd, in, &text)) {
    }
    return text;
}

static void text_of(const char *json, const char *key, char *ret, size_t size) {
    cJSON *tree = cJSON_Parse(json);
    const char *value = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(tree, key));
    hd_strlcpy(ret, value ? value : "", size);
    cJSON_Delete(tree);
}

// Follows a run to its end, as a user's client does; dies where it has not succeeded.
static void follow(const struct api *api, int fd, struct hd_buf *in, const char *id) {
    char path[256], etag[128] = "", state[64] = "";
    do {
        snprintf(path, sizeof(path), "/v1/runs/%s?wait_ms=20000&etag=%s", id, etag);
        const char *run = call(api, fd, in, "GET", path, "");
        text_of(run, "etag", etag, sizeof(etag));
        text_of(run, "state", state, sizeof(state));
    } while (strcasestr(state, "running"));
    if (!strcasestr(state, "succeeded"))
        die("run %s is %s", id, state);
}

static int64_t noted(const char *file) {
    char text[64] = "";
    HD_AUTO_FD int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
        die("the job has written nothing to %s", file);
    return number(text);
}

static int latency_main(const struct api *api, const char *pipeline, size_t n, const char *file) {
    struct hd_buf in = {0};
    char body[256], id[64];
    int fd = api_connect(api);
    snprintf(body, sizeof(body), "{\"pipeline\":\"%s\"}", pipeline);
    printf("{\"runs\":[");
    for (size_t i = 0; i < n; i++) {
        unlink(file);
        int64_t submit = now_ns();
        text_of(call(api, fd, &in, "POST", "/v1/runs", body), "id", id, sizeof(id));
        int64_t accepted = now_ns();
        follow(api, fd, &in, id);
        int64_t result = now_ns();
        printf("%s{\"accepted\":%" PRId64 ",\"start\":%" PRId64 ",\"result\":%" PRId64 "}", i ? "," : "",
               accepted - submit, noted(file) - submit, result - submit);
    }
    printf("]}\n");
    return 0;
}

static int note_main(const char *file) {
    int64_t now = now_ns();
    char text[32];
    int len = snprintf(text, sizeof(text), "%" PRId64, now);
    HD_AUTO_FD int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return fd < 0 || write(fd, text, (size_t)len) != len;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "note") == 0)
        return note_main(argv[2]);
    if (argc == 3 && strcmp(argv[1], "spawn") == 0)
        return spawn_main(number(argv[2]));
    if (argc != 7)
        die("see the head of tests/bench/bench_load.c");
    struct api api = api_open(argv[2], argv[3]);
    size_t n = (size_t)number(argv[5]);
    if (strcmp(argv[1], "runs") == 0)
        return runs_main(&api, argv[4], n, (size_t)number(argv[6]));
    if (strcmp(argv[1], "get") == 0)
        return get_main(&api, argv[4], n, (size_t)number(argv[6]));
    if (strcmp(argv[1], "latency") == 0)
        return latency_main(&api, argv[4], n, argv[6]);
    die("%s is not known", argv[1]);
    return 1;
}
