#include <string.h>

#include "base/settings.h"

static const struct {
    const char *name;
    int64_t ms;
} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

// Takes one "<number><unit>" from *text.
static enum hd_status take_part(const char **text, int64_t *ret_ms) {
    const char *p = *text;
    int64_t amount = 0;
    if (*p < '0' || *p > '9')
        return HD_INVALID;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(amount, 10, &amount) || __builtin_add_overflow(amount, *p - '0', &amount))
            return HD_INVALID;
    size_t len = strspn(p, "msdh");
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strlen(units[i].name) != len || strncmp(units[i].name, p, len) != 0)
            continue;
        if (__builtin_mul_overflow(amount, units[i].ms, ret_ms))
            return HD_INVALID;
        *text = p + len;
        return HD_OK;
    }
    return HD_INVALID;
}

enum hd_status hd_duration_parse(const char *text, int64_t *ret_ms) {
    if (!text || !*text)
        return HD_INVALID;
    int64_t total = 0;
    if (strcmp(text, "0") != 0) {
        while (*text) {
            int64_t part;
            HD_TRY(take_part(&text, &part));
            if (__builtin_add_overflow(total, part, &total))
                return HD_INVALID;
        }
    }
    *ret_ms = total;
    return HD_OK;
}
