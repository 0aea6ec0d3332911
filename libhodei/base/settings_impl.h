// Private to settings*.c.
#ifndef HD_BASE_SETTINGS_IMPL_H
#define HD_BASE_SETTINGS_IMPL_H

#include <stddef.h>

#include "base/settings.h"

enum source { FROM_DEFAULT, FROM_FILE, FROM_ENVIRONMENT, FROM_FLAG };

struct value {
    const struct hd_setting *row;
    enum source source; // where the value is from; sources are read from the lowest rank to the highest
    char *text;         // malloc'ed, never NULL
    int64_t number;     // INT, DURATION, BOOL
};
struct hd_settings {
    struct value *values;
    size_t n;
};

// The text after "name-file" is taken off by `ret_file` where the setting is a secret. NULL: no such setting.
struct value *hd_settings_find(const struct hd_settings *settings, const char *name, bool *ret_file);
// Checks a value by its row and keeps it. With `file`, the text is the name of a file that holds the value.
enum hd_status hd_settings_set(struct value *value, const char *text, bool file, enum source source,
                               struct hd_err *err) HD_MUST_USE;
// HD_INVALID: no such setting, with the nearest as the hint; `prefix` is "--" for flags.
enum hd_status hd_settings_unknown(const struct hd_settings *settings, const char *prefix, const char *name,
                                   struct hd_err *err);
// Takes a flat YAML mapping from a file.
enum hd_status hd_settings_read_file(struct hd_settings *settings, const char *path, struct hd_err *err) HD_MUST_USE;
void hd_settings_help(const struct hd_settings *settings, const char *usage);
void hd_settings_print(const struct hd_settings *settings);
void hd_settings_env_name(const char *name, char *ret, size_t size); // "lease-ttl" → HODEI_LEASE_TTL

#endif
