#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/shim/shim.h"
#include "base/log.h"

static int open_dir(int at, const char *name) {
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    // What is refused here and is a directory (a link would be ELOOP) is a job's own `chmod 0`.
    if (fd < 0 && errno == EACCES && fchmodat(at, name, 0700, 0) == 0)
        fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd;
}

static bool dots(const char *name) {
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool is_dir(int at, const char *name) {
    struct stat st;
    return fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

// Empties the directory `name` of `top`: files go, directories move up into `top` under new names. So the depth of a job's tree
// costs neither stack nor descriptors. Returns entries handled; *ret_stuck where one would not go.
static unsigned flatten(int top, const char *name, unsigned most, bool *ret_stuck) {
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
        if (unlinkat(fd, entry->d_name, 0) == 0 || unlinkat(fd, entry->d_name, AT_REMOVEDIR) == 0)
            continue;
        if (errno == EACCES && fchmod(fd, 0700) == 0 && unlinkat(fd, entry->d_name, 0) == 0)
            continue;
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
        bool writable = !is_dir(fd, entry->d_name) || fchmodat(fd, entry->d_name, 0700, 0) == 0;
        if (!writable || renameat(fd, entry->d_name, top, up) != 0)
            *ret_stuck = true;
    }
    closedir(dir);
    return done;
}

bool remove_some(const char *path, unsigned entries) {
    if (rmdir(path) == 0 || errno == ENOENT || errno == ENOTDIR)
        return false;
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
        if (unlinkat(top, entry->d_name, 0) == 0 || unlinkat(top, entry->d_name, AT_REMOVEDIR) == 0)
            continue;
        if (errno == EACCES && fchmod(top, 0700) == 0 && unlinkat(top, entry->d_name, 0) == 0)
            continue;
        if (!is_dir(top, entry->d_name)) {
            stuck = true;
            continue;
        }
        done += flatten(top, entry->d_name, entries, &stuck);
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

enum hd_status workspace_make(const char *path, struct hd_err *err) {
    if (mkdir(path, 0700) == 0)
        return HD_OK;
    return hd_err_set(err, HD_INTERNAL, "cannot make the workspace %s: %s", path, strerror(errno));
}

void trash_add(struct shim *shim, const char *path) {
    if (rmdir(path) == 0 || errno == ENOENT) // the usual case: nothing was left in it
        return;
    hd_buf_add(&shim->trash, path, strlen(path) + 1);
}

void trash_some(struct shim *shim, unsigned entries) {
    if (shim->trash.len && !remove_some(shim->trash.data, entries))
        hd_buf_consume(&shim->trash, strlen(shim->trash.data) + 1);
}
