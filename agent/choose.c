#include "agent/choose.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/names.h"
#include "base/resources.h"

#define SPOOL_MIN (4 << 20)

enum hd_status choose_name(const struct hd_settings *settings, struct hd_err *err, char ret[CHOOSE_NAME]) {
    const char *name = hd_settings_text(settings, "name");
    if (*name) {
        hd_strlcpy(ret, name, CHOOSE_NAME);
    } else {
        if (gethostname(ret, 64) != 0)
            return hd_err_set(err, HD_UNAVAILABLE, "the machine's name cannot be read; give --name");
        for (char *c = ret; *c; c++)
            if (*c == '.')
                *c = '-';
    }
    if (hd_token_valid(ret))
        return HD_OK;
    return hd_err_set(err, HD_INVALID, "name: \"%.70s\" is not 1 to 64 of A-Z a-z 0-9 _ -", ret);
}

enum hd_status choose_shim(const struct hd_settings *settings, struct hd_err *err, char ret[CHOOSE_PROGRAM]) {
    const char *given = hd_settings_text(settings, "shim");
    if (*given) {
        hd_strlcpy(ret, given, CHOOSE_PROGRAM);
    } else {
        ssize_t n = readlink("/proc/self/exe", ret, 4096);
        ret[n > 0 ? n : 0] = '\0';
        char *slash = strrchr(ret, '/');
        if (!slash)
            return hd_err_set(err, HD_UNAVAILABLE, "where this program stands cannot be read; give --shim");
        hd_strlcpy(slash + 1, "hodei-shim", 32);
    }
    if (access(ret, X_OK) == 0)
        return HD_OK;
    hd_err_set(err, HD_PRECONDITION, "the shim %.200s: %s", ret, strerror(errno));
    hd_err_hint(err, "--shim names it; by default it stands beside the agent");
    return HD_PRECONDITION;
}

enum hd_status choose_on_stop(const struct hd_settings *settings, struct hd_err *err, enum on_stop *ret) {
    static const char *const words[] = {"drain", "leave", "stop"};
    const char *text = hd_settings_text(settings, "on-stop");
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (hd_streq(text, words[i])) {
            *ret = (enum on_stop)i;
            return HD_OK;
        }
    return hd_err_set(err, HD_INVALID, "on-stop: \"%.40s\" is not drain, leave or stop", text);
}

enum hd_status choose_spool(const struct hd_settings *settings, struct hd_err *err, uint64_t *ret) {
    const char *text = hd_settings_text(settings, "spool-max");
    int64_t bytes = 0;
    if (hd_bytes_parse(text, &bytes) != HD_OK || bytes < SPOOL_MIN) {
        hd_err_set(err, HD_INVALID, "spool-max: \"%.40s\" is not an amount of bytes, at least 4Mi", text);
        hd_err_hint(err, "for example 256Mi or 10Gi");
        return HD_INVALID;
    }
    *ret = (uint64_t)bytes;
    return HD_OK;
}
