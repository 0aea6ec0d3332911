#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/doors.h"
#include "base/pb.h"
#include "base/uuid.h"
#include "cli/dev.h"

const char *dev_path(struct dev *dev, const char *what) {
    return hd_arena_printf(&dev->cli->arena, "%s/%s", dev->data, what);
}

bool dev_exists(const char *path) {
    struct stat st;

    return stat(path, &st) == 0;
}

static enum hd_status failed(struct dev *dev, const char *path) {
    return hd_err_set(&dev->cli->err, HD_INVALID, "%s: %s", path, strerror(errno));
}

// Whole or not at all: a new file is renamed over the old one.
enum hd_status dev_write(struct dev *dev, const char *path, mode_t mode, const struct hd_buf *text) {
    const char *temp = hd_arena_printf(&dev->cli->arena, "%s.new", path);
    HD_AUTO_FD int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

    if (fd < 0 || fchmod(fd, mode) < 0)
        return failed(dev, temp);
    for (size_t done = 0; done < text->len;) {
        ssize_t n = write(fd, text->data + done, text->len - done);
        if (n < 0 && errno != EINTR)
            return failed(dev, temp);
        done += n > 0 ? (size_t)n : 0;
    }
    if (rename(temp, path) < 0)
        return failed(dev, path);
    return HD_OK;
}

static enum hd_status make_folder(struct dev *dev, const char *path, mode_t mode) {
    if (mkdir(path, mode) < 0 && errno != EEXIST)
        return failed(dev, path);
    return HD_OK;
}

// The folder and those above it.
static enum hd_status make_folders(struct dev *dev, const char *path) {
    char *copy = hd_arena_strdup(&dev->cli->arena, path);

    for (char *p = copy + 1; *p; p++)
        if (*p == '/') {
            *p = '\0';
            if (mkdir(copy, 0755) < 0 && errno != EEXIST)
                return failed(dev, copy);
            *p = '/';
        }
    return make_folder(dev, copy, 0700);
}

static enum hd_status take_lock(struct dev *dev) {
    const char *path = dev_path(dev, "lock");
    HD_AUTO_BUF struct hd_buf text = {0};
    char owner[32] = "";

    dev->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (dev->lock_fd < 0)
        return failed(dev, path);
    if (flock(dev->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        ssize_t n = read(dev->lock_fd, owner, sizeof(owner) - 1);
        if (n > 0)
            owner[strcspn(owner, "\n")] = '\0';
        hd_err_set(&dev->cli->err, HD_CONFLICT, "another `hodei dev` (process %s) uses %s", owner, dev->data);
        hd_err_hint(&dev->cli->err, "stop it, or use another folder with --data");
        return HD_CONFLICT;
    }
    hd_buf_addf(&text, "%ld\n", (long)getpid());
    if (ftruncate(dev->lock_fd, 0) < 0 || pwrite(dev->lock_fd, text.data, text.len, 0) < 0)
        return failed(dev, path);
    return HD_OK;
}

// 32 random bytes as base64url, with a prefix by which leak scanners know it.
static void add_token(struct hd_buf *out, const char *prefix) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t bytes[43];

    hd_random_bytes(bytes, sizeof(bytes));
    hd_buf_adds(out, prefix);
    for (size_t i = 0; i < sizeof(bytes); i++)
        hd_buf_addc(out, digits[bytes[i] & 63]);
}

static enum hd_status make_secret(struct dev *dev, const char *name, const char *prefix) {
    const char *path = dev_path(dev, name);
    HD_AUTO_BUF struct hd_buf text = {0};

    if (dev_exists(path))
        return HD_OK;
    add_token(&text, prefix);
    hd_buf_addc(&text, '\n');
    return dev_write(dev, path, 0600, &text);
}

// A user at nats-server for everyone who talks to it, and a role at PostgreSQL for those who own a schema.
static enum hd_status make_doors(struct dev *dev) {
    struct hd_arena *arena = &dev->cli->arena;

    HD_TRY(make_secret(dev, "secrets/nats-operator", ""));
    for (size_t i = 0; i < hd_doors_len; i++) {
        const struct hd_door *door = &hd_doors[i];
        if (!hd_streq(door->name, "agent"))
            HD_TRY(make_secret(dev, hd_arena_printf(arena, "secrets/nats-%s", door->name), ""));
        if (door->schema) // a passfile of libpq
            HD_TRY(make_secret(dev, hd_arena_printf(arena, "secrets/postgres-%s", door->name),
                               hd_arena_printf(arena, "*:*:*:hodei-%s:", door->name)));
    }
    for (int64_t i = 1; i <= dev->agents; i++)
        HD_TRY(make_secret(dev, hd_arena_printf(arena, "secrets/nats-agent-agent-%lld", (long long)i), ""));
    return HD_OK;
}

enum hd_status dev_folders(struct dev *dev) {
    HD_TRY(make_folders(dev, dev->data));
    HD_TRY(take_lock(dev));
    // As root, PostgreSQL runs as another user that must get through this folder to its own.
    if (geteuid() == 0 && chmod(dev->data, 0711) < 0)
        return failed(dev, dev->data);
    HD_TRY(make_folder(dev, dev_path(dev, "secrets"), 0700));
    HD_TRY(make_folder(dev, dev_path(dev, "log"), 0700));
    HD_TRY(make_folder(dev, dev_path(dev, "pids"), 0700));
    HD_TRY(make_folder(dev, dev_path(dev, "nats"), 0700));
    HD_TRY(make_secret(dev, "secrets/admin-token", "hodei_"));
    HD_TRY(make_secret(dev, "secrets/join-token", "hodei_join_"));
    unlink(dev_path(dev, "secrets/nats-services")); // of versions in which services and agents shared a user each
    unlink(dev_path(dev, "secrets/nats-agent"));
    return make_doors(dev);
}

// A word of a shell, whatever is in it.
const char *dev_shell_word(struct dev *dev, const char *text) {
    HD_AUTO_BUF struct hd_buf out = {0};

    hd_buf_addc(&out, '\'');
    for (; *text; text++)
        hd_buf_addf(&out, *text == '\'' ? "'\\''" : "%c", *text);
    hd_buf_addc(&out, '\'');
    return hd_arena_strdup(&dev->cli->arena, out.data);
}

static void member(struct hd_buf *out, const char *before, const char *key, const char *text) {
    hd_buf_addf(out, "%s\"%s\": ", before, key);
    hd_json_add_string(out, text, strlen(text));
}

static void describe_procs(struct dev *dev, struct hd_buf *out) {
    hd_buf_adds(out, ",\n  \"processes\": [");
    for (size_t i = 0; i < dev->n_procs; i++) {
        const struct dev_proc *proc = &dev->procs[i];
        member(out, i ? ",\n    {" : "\n    {", "name", proc->name);
        hd_buf_addf(out, ", \"pid\": %ld, \"port\": %d, \"starts\": %u", (long)proc->pid, proc->port, proc->starts);
        if (proc->service && proc->more_port)
            hd_buf_addf(out, ", \"http_port\": %d", proc->more_port);
        member(out, ", ", "log", hd_arena_printf(&dev->cli->arena, "%s/log/%s.log", dev->data, proc->name));
        hd_buf_adds(out, "}");
    }
    hd_buf_adds(out, "\n  ]\n}\n");
}

enum hd_status dev_describe(struct dev *dev) {
    HD_AUTO_BUF struct hd_buf json = {0}, env = {0};
    const char *token = dev_path(dev, "secrets/admin-token");

    hd_buf_addf(&json, "{\n  \"pid\": %ld, \"ready\": %s,\n", (long)getpid(), dev->ready ? "true" : "false");
    member(&json, "  ", "server", dev->server);
    if (dev->tls)
        member(&json, ",\n  ", "cacert", dev->cli->cacert);
    member(&json, ",\n  ", "data", dev->data);
    member(&json, ",\n  ", "admin_token_file", token);
    member(&json, ",\n  ", "join_token_file", dev_path(dev, "secrets/join-token"));
    member(&json, ",\n  ", "nats", dev_nats_url(dev));
    member(&json, ",\n  ", "nats_user", "operator");
    member(&json, ",\n  ", "nats_password_file", dev_path(dev, "secrets/nats-operator"));
    member(&json, ",\n  ", "postgres", dev_conninfo(dev, NULL));
    member(&json, ",\n  ", "postgres_socket_dir", dev->socket_dir ? dev->socket_dir : "");
    member(&json, ",\n  ", "postgres_user", dev->pg_user ? dev->pg_user : "");
    describe_procs(dev, &json);
    hd_buf_addf(&env, "export HODEI_SERVER=%s HODEI_TOKEN_FILE=%s", dev->server, dev_shell_word(dev, token));
    if (dev->tls)
        hd_buf_addf(&env, " HODEI_CACERT=%s", dev_shell_word(dev, dev->cli->cacert));
    hd_buf_addc(&env, '\n');
    HD_TRY(dev_write(dev, dev_path(dev, "env"), 0600, &env));
    return dev_write(dev, dev_path(dev, "dev.json"), 0600, &json);
}
