// hodei-shim: see shim.h. Started by the agent, which passes it the listening socket; or as the first process of a container, then
// it starts the agent (init.c).
#include <stdio.h>

#include "agent/shim/shim.h"
#include "base/log.h"
#include "base/settings.h"

static const struct hd_setting settings_table[] = {
    {"state", HD_SET_TEXT, NULL, "state folder of the agent"},
    {"run-agent", HD_SET_TEXT, NULL,
     "program of the agent, to start and start again: as the first process of a container. What "
     "stands behind -- is for it"},
    {"listen-fd", HD_SET_INT, "3", "descriptor of the socket that the agent has bound", .min = 0, .max = 1023},
    {"remove", HD_SET_TEXT, NULL, "removes this folder, and does nothing else"},
};

static int refuse(const struct hd_err *err) {
    fprintf(stderr, "%s\n", err->text);
    return 2;
}

int main(int argc, char **argv) {
    static struct shim shim;
    const struct hd_settings_table table = {settings_table, sizeof(settings_table) / sizeof(settings_table[0])};
    struct hd_settings *settings = NULL;
    struct hd_err err = {0};
    bool done = false;
    int code = 0;
    hd_log_setup("shim", HD_LOG_INFO);
    if (hd_settings_parse("hodei-shim: runs the jobs of an agent; started by it, or starts it (--run-agent)", &table, 1,
                          &argc, argv, &err, &settings, &done) != HD_OK)
        return refuse(&err);
    if (!done && *hd_settings_text(settings, "remove")) {
        code = remove_all(hd_settings_text(settings, "remove"));
    } else if (!done) {
        const char *state = hd_settings_text(settings, "state");
        enum hd_status status = state[0] == '/' ? HD_OK : hd_err_set(&err, HD_INVALID, "--state is no absolute path");
        const char *agent = hd_settings_text(settings, "run-agent");
        int fd = (int)hd_settings_int(settings, "listen-fd");
        if (status == HD_OK && *agent)
            status = init_listen(state, &err, &fd);
        if (status == HD_OK)
            status = shim_init(&shim, state, fd, &err);
        if (status == HD_OK && *agent) {
            argv[0] = (char *)(uintptr_t)agent; // and what was left in argv
            init_begin(&shim, argv);
        } else if (status == HD_OK && argc > 1) {
            status = hd_err_set(&err, HD_INVALID, "\"%.80s\" is no setting", argv[1]);
        }
        if (status == HD_OK)
            shim_run(&shim);
        code = shim.agent.code;
        shim_release(&shim);
    }
    hd_settings_free(settings);
    return err.status == HD_OK ? code : refuse(&err);
}
