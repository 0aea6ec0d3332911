#include "agent/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/names.h"

static enum hd_status failed(const struct state *state, struct hd_err *err, const char *what) {
    return hd_err_set(err, HD_UNAVAILABLE, "state folder %.200s: %s: %s", state->path, what, strerror(errno));
}

static enum hd_status make_folder(struct state *state, const char *path, struct hd_err *err) {
    char resolved[PATH_MAX];
    hd_strlcpy(state->path, path, sizeof(state->path));
    for (char *slash = strchr(state->path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(state->path, 0755); // one that fails shows in the last
        *slash = '/';
    }
    if ((mkdir(state->path, 0700) != 0 && errno != EEXIST) || !realpath(state->path, resolved))
        return failed(state, err, "cannot be made");
    hd_strlcpy(state->path, resolved, sizeof(state->path));
    state->dir_fd = open(state->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (state->dir_fd < 0)
        return failed(state, err, "cannot be opened");
    if ((mkdirat(state->dir_fd, HD_STATE_WORKSPACES, 0700) != 0 && errno != EEXIST) ||
        (mkdirat(state->dir_fd, HD_STATE_SPOOLS, 0700) != 0 && errno != EEXIST))
        return failed(state, err, "cannot be written to");
    state->spool_fd = openat(state->dir_fd, HD_STATE_SPOOLS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return state->spool_fd < 0 ? failed(state, err, "spool cannot be opened") : HD_OK;
}

static enum hd_status take_lock(struct state *state, struct hd_err *err) {
    state->lock_fd = openat(state->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (state->lock_fd < 0)
        return failed(state, err, "lock cannot be made");
    if (flock(state->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return HD_OK;
    hd_err_set(err, HD_CONFLICT, "state folder %.200s: another agent uses it", state->path);
    hd_err_hint(err, "each agent needs a folder of its own: --state");
    return HD_CONFLICT;
}

// Whole or not at all, and on the disk before anything is done under it.
static enum hd_status make_session(struct state *state, struct hd_now now, struct hd_rng *rng, struct hd_err *err) {
    char text[HD_UUID_TEXT];
    state->session = hd_uuid7(now.wall_ms, rng);
    hd_uuid_format(state->session, text);
    HD_AUTO_FD int fd =
        openat(state->dir_fd, "session.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || write(fd, text, HD_UUID_TEXT - 1) != HD_UUID_TEXT - 1 || fsync(fd) != 0 ||
        renameat(state->dir_fd, "session.new", state->dir_fd, "session") != 0 || fsync(state->dir_fd) != 0)
        return failed(state, err, "the session cannot be written");
    return HD_OK;
}

static enum hd_status read_session(struct state *state, struct hd_now now, struct hd_rng *rng, struct hd_err *err) {
    char text[HD_UUID_TEXT + 1] = "";
    HD_AUTO_FD int fd = openat(state->dir_fd, "session", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? make_session(state, now, rng, err) : failed(state, err, "session cannot be read");
    ssize_t n = read(fd, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (hd_uuid_parse(text, &state->session) == HD_OK && !hd_uuid_zero(state->session))
        return HD_OK;
    hd_err_set(err, HD_INVALID, "state folder %.200s: the file session holds no UUID", state->path);
    hd_err_hint(err, "remove the folder to begin a new session; what its jobs did is then lost");
    return HD_INVALID;
}

enum hd_status state_open(struct state *state, const char *path, struct hd_now now, struct hd_rng *rng,
                          struct hd_err *err) {
    *state = (struct state){.dir_fd = -1, .lock_fd = -1, .spool_fd = -1};
    if (!*path || strlen(path) >= sizeof(state->path))
        return hd_err_set(err, HD_INVALID, "state: not the path of a folder");
    HD_TRY(make_folder(state, path, err));
    HD_TRY(take_lock(state, err));
    return read_session(state, now, rng, err);
}

void state_close(struct state *state) {
    hd_close_fd(&state->spool_fd);
    hd_close_fd(&state->lock_fd);
    hd_close_fd(&state->dir_fd);
}

enum hd_status state_read_spool(void *arg, const char *attempt, uint64_t from, void *ret, size_t len, size_t *ret_len) {
    const struct state *state = arg;
    HD_AUTO_FD int fd = openat(state->spool_fd, attempt, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    size_t done = 0;
    if (fd < 0)
        return errno == ENOENT ? HD_MISSING : HD_UNAVAILABLE;
    (void)flock(
        fd,
        LOCK_SH); // while it is read, the shim drops nothing of it; where there are no locks, it cannot make holes either
    while (done < len) {
        ssize_t n = pread(fd, (char *)ret + done, len - done, (off_t)(from + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return HD_UNAVAILABLE;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *ret_len = done;
    return HD_OK;
}

void state_sweep_spools(const struct state *state, bool (*held)(void *arg, struct hd_uuid attempt), void *arg) {
    int fd = openat(state->spool_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    struct hd_uuid id;
    if (!dir) {
        hd_close_fd(&fd);
        return;
    }
    while ((entry = readdir(dir)))
        if (hd_uuid_parse(entry->d_name, &id) == HD_OK && !held(arg, id))
            (void)unlinkat(state->spool_fd, entry->d_name, 0);
    closedir(dir);
}
