#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/dev.h"

// Debian keeps servers out of the path of ordinary users.
static const char *program_find(struct dev *dev, const char *name) {
    const char *path = getenv("PATH");
    char *copy = hd_arena_printf(&dev->cli->arena, "%s:/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/bin",
                                 path ? path : "");
    char *save = NULL;

    for (char *dir = strtok_r(copy, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
        const char *full = hd_arena_printf(&dev->cli->arena, "%s/%s", dir, name);
        if (access(full, X_OK) == 0)
            return full;
    }
    return NULL;
}

static const char *postgres_find(struct dev *dev) {
    const char *best = NULL;
    int64_t best_version = 0;
    glob_t found;

    if (glob("/usr/lib/postgresql/*/bin", 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            int64_t version = strtoll(found.gl_pathv[i] + strlen("/usr/lib/postgresql/"), NULL, 10);
            const char *initdb = hd_arena_printf(&dev->cli->arena, "%s/initdb", found.gl_pathv[i]);
            if (version > best_version && access(initdb, X_OK) == 0) {
                best_version = version;
                best = hd_arena_strdup(&dev->cli->arena, found.gl_pathv[i]);
            }
        }
        globfree(&found);
    }
    const char *initdb = best ? NULL : program_find(dev, "initdb");
    return initdb ? hd_arena_strndup(&dev->cli->arena, initdb, strlen(initdb) - strlen("/initdb")) : best;
}

static enum hd_status missing(struct dev *dev, const char *what, const char *package) {
    hd_err_set(&dev->cli->err, HD_PRECONDITION, "%s is not installed", what);
    hd_err_hint(&dev->cli->err, "apt-get install %s", package);
    return HD_PRECONDITION;
}

// Every folder above must let the user of PostgreSQL through.
static enum hd_status check_reachable(struct dev *dev) {
    char *path = hd_arena_strdup(&dev->cli->arena, dev->data);

    for (char *slash = strrchr(path, '/'); slash && slash != path; slash = strrchr(path, '/')) {
        struct stat st;
        *slash = '\0';
        if (stat(path, &st) == 0 && !(st.st_mode & S_IXOTH) && st.st_uid != dev->pg_uid &&
            !(st.st_gid == dev->pg_gid && (st.st_mode & S_IXGRP))) {
            hd_err_set(&dev->cli->err, HD_PRECONDITION, "user %s, as whom PostgreSQL runs, may not enter %s",
                       dev->pg_user, path);
            hd_err_hint(&dev->cli->err,
                        "choose another folder with --data, for example /var/lib/hodei, or do not run as root");
            return HD_PRECONDITION;
        }
    }
    return HD_OK;
}

static enum hd_status user_find(struct dev *dev) {
    const struct passwd *user = getpwnam("postgres");

    if (geteuid() != 0)
        return HD_OK;
    if (!user)
        user = getpwnam("nobody");
    dev->setpriv_bin = program_find(dev, "setpriv");
    if (!user || !dev->setpriv_bin)
        return missing(dev, user ? "setpriv" : "a user that PostgreSQL may run as",
                       user ? "util-linux" : "postgresql-common");
    dev->pg_user = hd_arena_strdup(&dev->cli->arena, user->pw_name);
    dev->pg_uid = user->pw_uid;
    dev->pg_gid = user->pw_gid;
    return check_reachable(dev);
}

// The name of a Unix socket has 107 bytes; a folder that is too deep gets its socket in /tmp.
static enum hd_status socket_folder(struct dev *dev) {
    struct sockaddr_un address;
    const char *dir = dev_path(dev, "run");
    char temp[] = "/tmp/hodei-XXXXXX";

    if (strlen(dir) + strlen("/.s.PGSQL.65535.lock") >= sizeof(address.sun_path)) {
        if (!mkdtemp(temp))
            return hd_err_set(&dev->cli->err, HD_UNAVAILABLE, "%s: %s", temp, strerror(errno));
        dir = hd_arena_strdup(&dev->cli->arena, temp);
    } else if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
        return hd_err_set(&dev->cli->err, HD_UNAVAILABLE, "%s: %s", dir, strerror(errno));
    }
    if (dev->pg_user && chown(dir, dev->pg_uid, dev->pg_gid) < 0)
        return hd_err_set(&dev->cli->err, HD_UNAVAILABLE, "%s: %s", dir, strerror(errno));
    dev->socket_dir = dir;
    return HD_OK;
}

enum hd_status dev_find(struct dev *dev) {
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n <= 0)
        return hd_err_set(&dev->cli->err, HD_INTERNAL, "/proc/self/exe: %s", strerror(errno));
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    dev->bin = hd_arena_strdup(&dev->cli->arena, self);
    dev->nats_bin = program_find(dev, "nats-server");
    if (!dev->nats_bin)
        return missing(dev, "nats-server", "nats-server");
    if (dev->postgres)
        return HD_OK;
    dev->pg_bin = postgres_find(dev);
    if (!dev->pg_bin)
        return missing(dev, "PostgreSQL", "postgresql-15");
    HD_TRY(user_find(dev));
    return socket_folder(dev);
}

// Between the choice of a port and the moment when its service listens, and while it is started again, another dev must not choose it too.
// So each has a name in the abstract namespace of Unix sockets, which ends with this process.
static bool port_reserve(int port) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int n = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "hodei-dev-port-%d", port);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 &&
        bind(fd, (struct sockaddr *)&name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) == 0)
        return true;
    if (fd >= 0)
        close(fd);
    return false;
}

// A port that nobody listens on; 0 asks the kernel for one. -1: taken. The socket keeps it until its process is started.
static int port_try_once(int port, int *ret_fd) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t len = sizeof(address);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0 || !port_reserve(ntohs(address.sin_port))) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    *ret_fd = fd;
    return ntohs(address.sin_port);
}

static int port_try(int port, int *ret_fd) {
    int got = port_try_once(port, ret_fd);

    for (int i = 0; port == 0 && got < 0 && i < 100; i++)
        got = port_try_once(0, ret_fd);
    return got;
}

static enum hd_status http_port(struct dev *dev, int *ret_fd) {
    const char *given = cli_option(dev->cli, "port");
    int64_t port;

    HD_TRY(cli_option_int(dev->cli, "port", 1, 65535, 8080, &port));
    for (int i = 0; i < (given ? 1 : 1000) && port + i <= 65535; i++)
        if ((dev->http_port = port_try((int)port + i, ret_fd)) > 0)
            return HD_OK;
    hd_err_set(&dev->cli->err, HD_CONFLICT, "port %d of 127.0.0.1 is taken", (int)port);
    hd_err_hint(&dev->cli->err, "choose another with --port, or leave it out to get the next free one");
    return HD_CONFLICT;
}

// The first gateway has the API's port, further ones a free one.
enum hd_status dev_ports(struct dev *dev) {
    int api;

    HD_TRY(http_port(dev, &api));
    dev->server = hd_arena_printf(&dev->cli->arena, "%s://127.0.0.1:%d", dev->tls ? "https" : "http", dev->http_port);
    for (size_t i = 0; i < dev->n_procs; i++) {
        struct dev_proc *proc = &dev->procs[i];
        proc->port = port_try(0, &proc->held[0]);
        if (proc->phase == DEV_NATS && dev->nats_servers > 1)
            proc->more_port = port_try(0, &proc->held[1]);
        if (proc->phase == DEV_POSTGRES)
            dev->pg_port = proc->port;
        if (proc->service && hd_streq(proc->service, "api-gateway")) {
            proc->more_port = api >= 0 ? dev->http_port : port_try(0, &proc->held[1]);
            if (api >= 0)
                proc->held[1] = api;
            api = -1;
        }
        if (proc->port < 0 || proc->more_port < 0)
            return hd_err_set(&dev->cli->err, HD_UNAVAILABLE, "there is no free port on 127.0.0.1");
    }
    return HD_OK;
}
