// hodei-shim: see shim.h. Started by the agent, which passes it the listening socket and what it has found out of the machine.
#include <stdio.h>
#include <stdlib.h>

#include "agent/shim/shim.h"
#include "base/log.h"
#include "base/settings.h"

static const struct hd_setting settings_table[] = {
    {"state", HD_SET_TEXT, NULL, "state folder of the agent"},
    {"listen-fd", HD_SET_INT, "3", "descriptor of the socket that the agent has bound", .min = 0, .max = 1023},
    {"uid", HD_SET_INT, "-1", "user of jobs; -1: the shim's", .min = -1, .max = UINT32_MAX - 1},
    {"gid", HD_SET_INT, "-1", "its group", .min = -1, .max = UINT32_MAX - 1},
    {"groups", HD_SET_TEXT, NULL, "all its groups, separated by commas"},
    {"cgroup-tree", HD_SET_TEXT, NULL, "folder of version 2 for the groups of jobs; empty: none"},
    {"cgroup-limits", HD_SET_BOOL, NULL, "memory, cpu and pids can be limited there"},
    {"cgroup-memory", HD_SET_TEXT, NULL, "the same of version 1, for memory"},
    {"cgroup-cpu", HD_SET_TEXT, NULL, "the same of version 1, for CPU time"},
    {"processes", HD_SET_INT, "4096", "of one job at once; 0: any number", .min = 0, .max = 1 << 22},
    {"keep-workspaces", HD_SET_TEXT, "never", "never, failed or always"},
    {"kept-workspaces", HD_SET_INT, "10", "as many, the newest", .min = 1, .max = 10000},
    {"remove", HD_SET_TEXT, NULL, "removes this folder, and does nothing else"},
};

static int refuse(const struct hd_err *err) {
    fprintf(stderr, "%s\n", err->text);
    return 2;
}

static enum hd_status read_groups(const char *text, struct shim_def *ret, struct hd_err *err) {
    ret->groups = hd_calloc(strlen(text) + 1, sizeof(*ret->groups));
    for (char *end; *text; text = end + (*end == ',')) {
        ret->groups[ret->n_groups++] = (gid_t)strtoul(text, &end, 10);
        if (end == text || (*end && *end != ','))
            return hd_err_set(err, HD_INVALID, "--groups are numbers, separated by commas");
    }
    return HD_OK;
}

static enum hd_status read_keep(const char *text, enum keep *ret, struct hd_err *err) {
    static const char *const names[] = {[KEEP_NONE] = "never", [KEEP_FAILED] = "failed", [KEEP_ALL] = "always"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (hd_streq(text, names[i])) {
            *ret = (enum keep)i;
            return HD_OK;
        }
    return hd_err_set(err, HD_INVALID, "--keep-workspaces is never, failed or always");
}

static enum hd_status read_def(const struct hd_settings *settings, struct shim_def *ret, struct hd_err *err) {
    int64_t uid = hd_settings_int(settings, "uid"), gid = hd_settings_int(settings, "gid");
    *ret = (struct shim_def){.state = hd_settings_text(settings, "state"),
                             .listen_fd = (int)hd_settings_int(settings, "listen-fd"),
                             .has_user = uid >= 0,
                             .uid = (uid_t)uid,
                             .gid = (gid_t)gid,
                             .tree = hd_settings_text(settings, "cgroup-tree"),
                             .memory = hd_settings_text(settings, "cgroup-memory"),
                             .cpu = hd_settings_text(settings, "cgroup-cpu"),
                             .tree_limits = hd_settings_bool(settings, "cgroup-limits"),
                             .processes_max = hd_settings_int(settings, "processes"),
                             .kept_max = (unsigned)hd_settings_int(settings, "kept-workspaces")};
    if (ret->state[0] != '/')
        return hd_err_set(err, HD_INVALID, "--state is no absolute path");
    if ((uid < 0) != (gid < 0))
        return hd_err_set(err, HD_INVALID, "--uid and --gid belong together");
    HD_TRY(read_keep(hd_settings_text(settings, "keep-workspaces"), &ret->keep, err));
    return read_groups(hd_settings_text(settings, "groups"), ret, err);
}

static void run(const struct hd_settings *settings, struct hd_err *err) {
    static struct shim shim;
    struct shim_def def;
    enum hd_status status = read_def(settings, &def, err);
    if (status == HD_OK) {
        status = shim_init(&shim, &def, err);
        if (status == HD_OK)
            shim_run(&shim);
        shim_release(&shim);
    }
    free(def.groups);
}

int main(int argc, char **argv) {
    const struct hd_settings_table table = {settings_table, sizeof(settings_table) / sizeof(settings_table[0])};
    struct hd_settings *settings = NULL;
    struct hd_err err = {0};
    bool done = false;
    int code = 0;
    hd_log_setup("shim", HD_LOG_INFO);
    if (hd_settings_parse("hodei-shim: runs the jobs of an agent; started by it", &table, 1, &argc, argv, &err,
                          &settings, &done) != HD_OK)
        return refuse(&err);
    if (!done && *hd_settings_text(settings, "remove"))
        code = remove_all(hd_settings_text(settings, "remove"));
    else if (!done)
        run(settings, &err);
    hd_settings_free(settings);
    return err.status == HD_OK ? code : refuse(&err);
}
