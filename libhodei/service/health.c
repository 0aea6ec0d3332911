// /livez, /readyz and /metrics. At most 16 connections of one request each; when all are taken the oldest goes, so that a
// silent peer costs nobody anything and no timer is needed.
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/map.h"
#include "service/health.h"

#define CONNECTIONS 16
#define REQUEST_MAX 4096

struct connection {
    int fd; // -1: free
    uint64_t order;
    bool answering;
    struct hd_buf buf; // the request, then what is left of the answer
};
struct health {
    const struct health_source *source;
    int epoll_fd, listen_fd;
    uint64_t accepted;
    struct connection connections[CONNECTIONS];
};

// --- answers ---------------------------------------------------------------------------------------------------------

static void answer(const struct health_source *source, struct connection *connection) {
    HD_AUTO_BUF struct hd_buf body = {0};
    const char *status = "200 OK", *type = "text/plain; charset=utf-8", *request = connection->buf.data;
    if (hd_starts_with(request, "GET /livez ")) {
        hd_buf_adds(&body, "ok\n");
    } else if (hd_starts_with(request, "GET /readyz ")) {
        if (source->ready(source->arg, &body))
            hd_buf_adds(&body, "ok\n");
        else
            status = "503 Service Unavailable";
    } else if (hd_starts_with(request, "GET /metrics ")) {
        type = "text/plain; version=0.0.4; charset=utf-8";
        source->metrics(source->arg, &body);
    } else {
        status = hd_starts_with(request, "GET ") ? "404 Not Found" : "405 Method Not Allowed";
        hd_buf_adds(&body, "GET /livez, /readyz or /metrics\n");
    }
    hd_buf_clear(&connection->buf);
    hd_buf_addf(&connection->buf, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                status, type, body.len);
    hd_buf_add(&connection->buf, body.data, body.len);
    connection->answering = true;
}

// --- connections -----------------------------------------------------------------------------------------------------

static void hang_up(struct connection *connection) {
    if (connection->fd >= 0)
        close(connection->fd); // leaves the epoll by itself
    connection->fd = -1;
    hd_buf_release(&connection->buf);
    *connection = (struct connection){.fd = -1};
}

static void write_some(struct health *health, struct connection *connection) {
    while (connection->buf.len) {
        ssize_t n = send(connection->fd, connection->buf.data, connection->buf.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            struct epoll_event event = {.events = EPOLLOUT, .data.fd = connection->fd};
            (void)epoll_ctl(health->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event);
            return;
        }
        if (n <= 0)
            break;
        hd_buf_consume(&connection->buf, (size_t)n);
    }
    (void)shutdown(connection->fd, SHUT_WR);
    hang_up(connection);
}

static void read_some(struct health *health, struct connection *connection) {
    char chunk[1024];
    ssize_t n = recv(connection->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || connection->buf.len + (size_t)n > REQUEST_MAX) {
        hang_up(connection);
        return;
    }
    hd_buf_add(&connection->buf, chunk, (size_t)n);
    if (!memmem(connection->buf.data, connection->buf.len, "\r\n\r\n", 4))
        return;
    answer(health->source, connection);
    write_some(health, connection);
}

static void take_connection(struct health *health) {
    int fd = accept4(health->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct connection *place = &health->connections[0];
    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct connection *other = &health->connections[i];
        if (place->fd >= 0 && (other->fd < 0 || other->order < place->order))
            place = other;
    }
    hang_up(place);
    *place = (struct connection){.fd = fd, .order = ++health->accepted};
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(health->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        hang_up(place);
}

static void event_of(struct health *health, int fd) {
    if (fd == health->listen_fd) {
        take_connection(health);
        return;
    }
    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct connection *connection = &health->connections[i];
        if (connection->fd != fd)
            continue;
        if (connection->answering)
            write_some(health, connection);
        else
            read_some(health, connection);
        return;
    }
}

int health_fd(const struct health *health) {
    return health->epoll_fd;
}

void health_turn(struct health *health) {
    struct epoll_event events[CONNECTIONS + 1];
    int n = epoll_wait(health->epoll_fd, events, CONNECTIONS + 1, 0);
    for (int i = 0; i < n; i++)
        event_of(health, events[i].data.fd);
}

// --- listening -------------------------------------------------------------------------------------------------------

// "host:port", "[::1]:port", ":port".
static enum hd_status split(const char *address, char *host, size_t size, const char **ret_port, struct hd_err *err) {
    const char *colon = strrchr(address, ':');
    size_t len = colon ? (size_t)(colon - address) : 0;
    if (!colon || !colon[1] || len >= size)
        return hd_err_set(err, HD_INVALID, "listen: \"%.100s\" is not host:port", address);
    bool brackets = len >= 2 && address[0] == '[' && address[len - 1] == ']';
    memcpy(host, address + brackets, len - 2 * brackets);
    host[len - 2 * brackets] = '\0';
    *ret_port = colon + 1;
    return HD_OK;
}

static enum hd_status open_listener(const char *address, struct hd_err *err, int *ret_fd) {
    char host[256];
    const char *port = NULL;
    HD_TRY(split(address, host, sizeof(host), &port, err));
    struct addrinfo want = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found = NULL;
    int failed = getaddrinfo(*host ? host : NULL, port, &want, &found);
    if (failed)
        return hd_err_set(err, HD_INVALID, "listen: %.100s: %s", address, gai_strerror(failed));
    HD_AUTO_FD int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
              bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, 64) == 0;
    int why = errno;
    freeaddrinfo(found);
    if (!ok)
        return hd_err_set(err, HD_UNAVAILABLE, "cannot listen on %.100s: %s", address, strerror(why));
    *ret_fd = fd;
    fd = -1;
    return HD_OK;
}

// The port stands at the same place in the addresses of both families.
static unsigned port_of(int fd) {
    struct sockaddr_in6 name = {0};
    socklen_t len = sizeof(name);
    return getsockname(fd, (struct sockaddr *)&name, &len) == 0 ? ntohs(name.sin6_port) : 0;
}

enum hd_status health_new(const char *address, const struct health_source *source, struct hd_err *err,
                          struct health **ret) {
    int fd = -1;
    HD_TRY(open_listener(address, err, &fd));
    struct health *health = hd_calloc(1, sizeof(*health));
    *health = (struct health){.source = source, .epoll_fd = epoll_create1(EPOLL_CLOEXEC), .listen_fd = fd};
    for (size_t i = 0; i < CONNECTIONS; i++)
        health->connections[i].fd = -1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(health->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        health_free(health);
        return hd_err_set(err, HD_INTERNAL, "epoll: %s", strerror(errno));
    }
    hd_info("health and metrics on port %u", port_of(fd));
    *ret = health;
    return HD_OK;
}

void health_free(struct health *health) {
    if (!health)
        return;
    for (size_t i = 0; i < CONNECTIONS; i++)
        hang_up(&health->connections[i]);
    close(health->listen_fd);
    hd_close_fd(&health->epoll_fd);
    free(health);
}
