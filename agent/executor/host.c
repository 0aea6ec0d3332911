#include "agent/executor/host.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"

#define KEEP(x) HODEI__V1__SHIM_HOST__KEEP__KEEP_##x
#define GROUPS_MAX 1024

struct hd_metric host_metrics[HOST_METRICS] = {
    [HOST_TREE] = {"hodei_agent_cgroup_tree", NULL, "Jobs have control groups that end them as one", HD_GAUGE},
    [HOST_MEMORY] = {"hodei_agent_cgroup_memory", NULL, "Control groups limit the memory of jobs", HD_GAUGE},
    [HOST_CPU] = {"hodei_agent_cgroup_cpu", NULL, "Control groups limit the CPU time of jobs", HD_GAUGE},
};

static void add_groups(struct host *host, struct hd_arena *arena, const struct passwd *user) {
    gid_t groups[GROUPS_MAX];
    int n = GROUPS_MAX;
    if (getgrouplist(user->pw_name, user->pw_gid, groups, &n) < 0)
        n = GROUPS_MAX; // of more than these the first
    host->told.groups = HD_NEW_ARRAY(arena, (size_t)n, uint32_t);
    for (int i = 0; i < n; i++)
        host->told.groups[host->told.n_groups++] = groups[i];
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
    host->told.other_user = true;
    host->told.uid = user->pw_uid;
    host->told.gid = user->pw_gid;
    add_groups(host, arena, user);
    return HD_OK;
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
    host->told.tree = host->groups.tree;
    host->told.memory = host->groups.memory;
    host->told.cpu = host->groups.cpu;
    host->told.tree_limits = host->groups.tree_limits;
    hd_metric_set(&host_metrics[HOST_TREE], *host->groups.tree != '\0');
    hd_metric_set(&host_metrics[HOST_MEMORY], host->groups.tree_limits || *host->groups.memory);
    hd_metric_set(&host_metrics[HOST_CPU], host->groups.tree_limits || *host->groups.cpu);
    return HD_OK;
}

static enum hd_status choose_keep(struct host *host, const char *text, struct hd_err *err) {
    static const struct {
        const char *text;
        Hodei__V1__ShimHost__Keep keep;
    } rows[] = {{"never", KEEP(NEVER)}, {"failed", KEEP(FAILED)}, {"always", KEEP(ALWAYS)}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        if (hd_streq(text, rows[i].text)) {
            host->told.keep = rows[i].keep;
            return HD_OK;
        }
    return hd_err_set(err, HD_INVALID, "keep-workspaces: \"%.40s\" is not never, failed or always", text);
}

enum hd_status host_prepare(struct host *host, const struct hd_settings *settings, const char *session,
                            struct hd_arena *arena, struct hd_err *err) {
    *host = (struct host){.told = HODEI__V1__SHIM_HOST__INIT};
    HD_TRY(choose_keep(host, hd_settings_text(settings, "keep-workspaces"), err));
    HD_TRY(choose_user(host, hd_settings_text(settings, "user"), arena, err));
    HD_TRY(choose_groups(host, hd_settings_text(settings, "cgroups"), session, arena, err));
    host->told.kept_max = (uint32_t)hd_settings_int(settings, "kept-workspaces");
    host->told.processes_max = hd_settings_int(settings, "processes");
    return HD_OK;
}
