// Workspaces: made, and removed in a few steps here or, where there is much of it, by a process of its own, so that it does not hold
// up other jobs. Nothing outside is ever touched: links are removed and not followed, at every level. Depth costs nothing.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "agent/shim/shim.h"
#include "base/log.h"

#define KEEP(x) HODEI__V1__SHIM_HOST__KEEP__KEEP_##x
#define ENTRIES_HERE 64     // in one turn of the loop
#define FILE_HERE (8 << 20) // bytes: to free the blocks of a larger one takes long
#define ENTRIES_THERE 4096
#define NICE 10

extern char **environ;

// By a descriptor, so that what takes its place meanwhile (other jobs of the same user run) is not changed: a link to a file of root's.
static bool open_up(int at, const char *name) {
    char path[64];
    HD_AUTO_FD int fd = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return fd >= 0 && chmod(path, 0700) == 0;
}

static int open_dir(int at, const char *name) {
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == EACCES && open_up(at, name)) // a job's own `chmod 0`
        fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd;
}

// False: it stays, for what errno says. A large file is left to somebody with more time (EFBIG).
static bool drop(int at, const char *name, int64_t file_max) {
    struct stat st;
    if (file_max && fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
        st.st_blocks * INT64_C(512) > file_max) {
        errno = EFBIG;
        return false;
    }
    return unlinkat(at, name, 0) == 0 || unlinkat(at, name, AT_REMOVEDIR) == 0 ||
           (errno == EACCES && fchmod(at, 0700) == 0 && unlinkat(at, name, 0) == 0);
}

static bool dots(const char *name) {
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool is_dir(int at, const char *name) {
    struct stat st;
    return fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

// Empties the directory `name` of `top`: files go, directories move up into `top` under new names. So the depth of a job's tree
// costs neither stack nor descriptors. Returns entries handled; *ret_stuck where one would not go; `most` where one is too large.
static unsigned flatten(int top, const char *name, unsigned most, int64_t file_max, bool *ret_stuck) {
    unsigned done = 0;
    int fd = open_dir(top, name);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        hd_close_fd(&fd);
        *ret_stuck = true;
        return 1;
    }
    const struct dirent *entry;
    while (done < most && (entry = readdir(dir))) {
        if (dots(entry->d_name))
            continue;
        done++;
        if (drop(fd, entry->d_name, file_max))
            continue;
        if (errno == EFBIG) {
            done = most;
            break;
        }
        char up[64];
        static const char digits[] = "0123456789abcdef";
        uint8_t random[12];
        hd_random_bytes(random, sizeof(random));
        for (size_t i = 0; i < sizeof(random); i++) {
            up[2 * i] = digits[random[i] >> 4];
            up[2 * i + 1] = digits[random[i] & 15];
        }
        up[2 * sizeof(random)] = '\0';
        // Moving a directory writes its "..", which needs the right to write in it.
        bool writable = !is_dir(fd, entry->d_name) || open_up(fd, entry->d_name);
        if (!writable || renameat(fd, entry->d_name, top, up) != 0)
            *ret_stuck = true;
    }
    closedir(dir);
    return done;
}

bool remove_some(const char *path, unsigned entries, int64_t file_max) {
    if (rmdir(path) == 0 || errno == ENOENT)
        return false;
    if (errno == ENOTDIR) { // a job put something else in its place: that goes, not what it may point to
        if (unlink(path) != 0)
            hd_warn("cannot remove %s: %s", path, strerror(errno));
        return false;
    }
    int top = open_dir(AT_FDCWD, path);
    DIR *dir = top >= 0 ? fdopendir(top) : NULL;
    if (!dir) {
        hd_warn("cannot remove %s: %s", path, strerror(errno));
        hd_close_fd(&top);
        return false;
    }
    unsigned done = 0;
    bool stuck = false;
    const struct dirent *entry;
    while (done < entries && (entry = readdir(dir))) {
        if (dots(entry->d_name))
            continue;
        done++;
        if (drop(top, entry->d_name, file_max))
            continue;
        if (errno == EFBIG)
            break;
        if (!is_dir(top, entry->d_name)) {
            stuck = true;
            continue;
        }
        done += flatten(top, entry->d_name, entries, file_max, &stuck);
        (void)unlinkat(top, entry->d_name, AT_REMOVEDIR);
    }
    closedir(dir);
    if (rmdir(path) == 0)
        return false;
    if (stuck) {
        hd_warn("cannot remove all of %s: something in it is mounted or protected", path);
        return false;
    }
    return true;
}

int remove_all(const char *path) {
    (void)setpriority(PRIO_PROCESS, 0, NICE);
    while (remove_some(path, ENTRIES_THERE, 0))
        ;
    return access(path, F_OK) == 0;
}

// --- workspaces ------------------------------------------------------------------------------------------------------

// As it was made: nothing in it, and nobody has changed what it is.
static bool is_fresh(const struct shim *shim, const char *path) {
    const struct shim_host *host = &shim->host;
    struct stat st;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        hd_close_fd(&fd);
        return false;
    }
    bool fresh = fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0700 &&
                 st.st_uid == (host->has_user ? host->uid : geteuid()) &&
                 st.st_gid == (host->has_user ? host->gid : getegid()) && flistxattr(fd, NULL, 0) <= 0;
    const struct dirent *entry;
    while (fresh && (entry = readdir(dir)))
        fresh = dots(entry->d_name);
    closedir(dir);
    return fresh;
}

// Where a job left its folder as it was, the next one gets it under its own name: on a busy disk making and removing folders takes
// longer than starting a process.
static bool take_fresh(struct shim *shim, const char *path) {
    while (shim->n_fresh) {
        HD_AUTO_FREE char *from = shim->fresh[--shim->n_fresh];
        if (rename(from, path) == 0)
            return true;
        trash_add(shim, from);
    }
    return false;
}

static bool put_fresh(struct shim *shim, const char *path) {
    if (shim->n_fresh >= SHIM_FRESH_MAX || !is_fresh(shim, path))
        return false;
    char *kept = strdup(path);
    if (!kept)
        abort();
    shim->fresh[shim->n_fresh++] = kept;
    return true;
}

void workspaces_drop_fresh(struct shim *shim) {
    while (shim->n_fresh) {
        HD_AUTO_FREE char *path = shim->fresh[--shim->n_fresh];
        if (rmdir(path) != 0)
            trash_add(shim, path);
    }
}

enum hd_status workspace_make(const struct job *job, struct hd_err *err) {
    struct shim *shim = job->shim;
    const struct shim_host *host = &shim->host;
    if (take_fresh(shim, job->workspace) ||
        (mkdir(job->workspace, 0700) == 0 && (!host->has_user || lchown(job->workspace, host->uid, host->gid) == 0)))
        return HD_OK;
    return hd_err_set(err, HD_INTERNAL, "cannot make the workspace %s: %s", job->workspace, strerror(errno));
}

// Ids of attempts sort by their time: the oldest goes.
static void drop_oldest_kept(struct shim *shim) {
    DIR *dir = opendir(shim->kept);
    const struct dirent *entry;
    char oldest[HD_UUID_TEXT] = "";
    unsigned n = 0;
    while (dir && (entry = readdir(dir))) {
        if (strlen(entry->d_name) != HD_UUID_TEXT - 1)
            continue;
        n++;
        if (!*oldest || strcmp(entry->d_name, oldest) < 0)
            hd_strlcpy(oldest, entry->d_name, sizeof(oldest));
    }
    if (dir)
        closedir(dir);
    if (n <= shim->host.kept_max)
        return;
    // Under a name that is not counted, for the time until it is gone.
    const char *from = hd_arena_printf(&shim->scratch, "%s%s", shim->kept, oldest);
    const char *to = hd_arena_printf(&shim->scratch, "%s%s.gone", shim->work, oldest);
    if (rename(from, to) == 0)
        trash_add(shim, to);
}

void workspace_drop(struct job *job) {
    struct shim *shim = job->shim;
    bool keep = shim->host.keep == KEEP(ALWAYS) ||
                (shim->host.keep == KEEP(FAILED) && job->state != HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_SUCCEEDED);
    char path[4200];
    snprintf(path, sizeof(path), "%s" SHIM_OUTPUT_SUFFIX, job->workspace);
    (void)unlink(path);
    if (put_fresh(shim, job->workspace) || rmdir(job->workspace) == 0 || errno == ENOENT)
        return;
    snprintf(path, sizeof(path), "%s%s", shim->kept, job->attempt);
    if (keep && errno != ENOTDIR && rename(job->workspace, path) == 0)
        drop_oldest_kept(shim);
    else
        trash_add(shim, job->workspace);
}

// --- what is to be removed -------------------------------------------------------------------------------------------

void trash_add(struct shim *shim, const char *path) {
    hd_buf_add(&shim->trash, path, strlen(path) + 1);
}

static void trash_next(struct shim *shim) {
    hd_buf_consume(&shim->trash, strlen(shim->trash.data) + 1);
}

// Ourselves, with the signals as they come.
static bool spawn_remover(struct shim *shim, const char *path) {
    posix_spawnattr_t attr;
    sigset_t none;
    char *argv[] = {(char *)(uintptr_t) "hodei-shim", hd_arena_printf(&shim->scratch, "--remove=%s", path), NULL};
    sigemptyset(&none);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    int failed = posix_spawn(&shim->remover, "/proc/self/exe", NULL, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    if (failed)
        shim->remover = 0;
    return !failed;
}

void trash_some(struct shim *shim) {
    if (!shim->trash.len || shim->remover)
        return;
    if (!remove_some(shim->trash.data, ENTRIES_HERE, FILE_HERE))
        trash_next(shim);
    else if (!spawn_remover(shim, shim->trash.data) && !remove_some(shim->trash.data, ENTRIES_HERE, 0))
        trash_next(shim);
}

bool trash_reap(struct shim *shim, pid_t pid, int status) {
    if (!shim->remover || pid != shim->remover)
        return false;
    shim->remover = 0;
    if (status != 0)
        hd_warn("%s could not be removed whole", shim->trash.data);
    trash_next(shim);
    return true;
}
