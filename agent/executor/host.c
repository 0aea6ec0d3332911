#include "agent/executor/host.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"

#define GROUPS_MAX 1024

static void add(struct host *host, const char *arg) {
    size_t n = 0;
    while (host->args[n])
        n++;
    if (n + 1 >= HOST_ARGS)
        abort();
    host->args[n] = arg;
}

static void add_groups(struct host *host, struct hd_arena *arena, const struct passwd *user) {
    HD_AUTO_BUF struct hd_buf text = {0};
    gid_t groups[GROUPS_MAX];
    int n = GROUPS_MAX;
    hd_buf_adds(&text, "--groups=");
    if (getgrouplist(user->pw_name, user->pw_gid, groups, &n) < 0)
        n = GROUPS_MAX;
    for (int i = 0; i < n; i++)
        hd_buf_addf(&text, "%s%u", i ? "," : "", (unsigned)groups[i]);
    add(host, hd_arena_strdup(arena, text.data));
}

static enum hd_status choose_user(struct host *host, const char *name, struct hd_arena *arena, struct hd_err *err) {
    if (!*name)
        return HD_OK;
    errno = 0;
    const struct passwd *user = getpwnam(name);
    if (!user) {
        if (errno && errno != ENOENT && errno != ESRCH)
            return hd_err_set(err, HD_UNAVAILABLE, "user: %.80s cannot be looked up: %s", name, strerror(errno));
        hd_err_set(err, HD_INVALID, "user: there is no user %.80s on this machine", name);
        hd_err_hint(err, "make it: useradd --system --create-home --shell /usr/sbin/nologin NAME");
        return HD_INVALID;
    }
    if (geteuid() != 0 && geteuid() != user->pw_uid) {
        hd_err_set(err, HD_PRECONDITION, "user: only an agent that root has started can run jobs as %.80s", name);
        hd_err_hint(err, "start it as root, or as that user without this setting");
        return HD_PRECONDITION;
    }
    host->user = hd_arena_strdup(arena, user->pw_name);
    host->home = hd_arena_strdup(arena, user->pw_dir);
    if (geteuid() != 0) // it is that user already
        return HD_OK;
    add(host, hd_arena_printf(arena, "--uid=%u", (unsigned)user->pw_uid));
    add(host, hd_arena_printf(arena, "--gid=%u", (unsigned)user->pw_gid));
    add_groups(host, arena, user);
    return HD_OK;
}

static void add_folder(struct host *host, struct hd_arena *arena, const char *name, const char *folder) {
    if (*folder)
        add(host, hd_arena_printf(arena, "--%s=%s", name, folder));
}

static enum hd_status choose_groups(struct host *host, const char *how, const char *session, struct hd_arena *arena,
                                    struct hd_err *err) {
    char words[512];
    if (!hd_streq(how, "auto") && !hd_streq(how, "off"))
        return hd_err_set(err, HD_INVALID, "cgroups: \"%.40s\" is not auto or off", how);
    if (hd_streq(how, "off"))
        hd_strlcpy(host->groups.why, "cgroups is off", sizeof(host->groups.why));
    else
        cgroups_detect(hd_arena_printf(arena, "hodei-%s", session), &host->groups);
    cgroups_describe(&host->groups, words, sizeof(words));
    hd_info("%s; they run as %s", words, host->user ? host->user : "the agent's user");
    add_folder(host, arena, "cgroup-tree", host->groups.tree);
    add_folder(host, arena, "cgroup-memory", host->groups.memory);
    add_folder(host, arena, "cgroup-cpu", host->groups.cpu);
    if (host->groups.tree_limits)
        add(host, "--cgroup-limits");
    return HD_OK;
}

enum hd_status host_prepare(struct host *host, const struct hd_settings *settings, const char *session,
                            struct hd_arena *arena, struct hd_err *err) {
    const char *keep = hd_settings_text(settings, "keep-workspaces");
    *host = (struct host){.home = NULL};
    if (!hd_streq(keep, "never") && !hd_streq(keep, "failed") && !hd_streq(keep, "always"))
        return hd_err_set(err, HD_INVALID, "keep-workspaces: \"%.40s\" is not never, failed or always", keep);
    HD_TRY(choose_user(host, hd_settings_text(settings, "user"), arena, err));
    HD_TRY(choose_groups(host, hd_settings_text(settings, "cgroups"), session, arena, err));
    add(host, hd_arena_printf(arena, "--keep-workspaces=%s", keep));
    add(host,
        hd_arena_printf(arena, "--kept-workspaces=%lld", (long long)hd_settings_int(settings, "kept-workspaces")));
    add(host, hd_arena_printf(arena, "--processes=%lld", (long long)hd_settings_int(settings, "processes")));
    return HD_OK;
}
