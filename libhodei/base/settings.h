// Settings from flags, environment and a YAML file, in this order of precedence; one table a program.
//
// --name=value or --name value; HODEI_NAME_WITH_UNDERSCORES; `name: value` in the file named by --config. An unknown flag or
// key is an error that names the nearest. --help and --print-settings print from the table (secrets as "***") and end.
#ifndef HD_BASE_SETTINGS_H
#define HD_BASE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum hd_setting_type {
    HD_SET_TEXT,
    HD_SET_INT,
    HD_SET_BOOL,
    HD_SET_DURATION
}; // durations: 500ms, 10s, 5m, 2h → int64 ms
struct hd_setting {
    const char *name; // "lease-ttl"
    enum hd_setting_type type;
    const char *value; // default as text, NULL: empty / 0 / false
    const char *help;
    bool secret; // printed as ***; taken from the environment, a file (name-file) or the YAML file, not from a flag
    int64_t min, max; // for INT and DURATION; both 0: any
};
struct hd_settings; // the values; made by parse

struct hd_settings_table {
    const struct hd_setting *rows;
    size_t n;
};
// Parses argv by the rows of all tables. `usage` is the first line of --help. HD_OK, or HD_INVALID with what to mend.
// *ret_done is set when --help or --print-settings has printed to standard output and the program should end with 0.
// Words that are no flags (a single dash is none: -o) are left in argv after argv[0] and counted in *argc.
enum hd_status hd_settings_parse(const char *usage, const struct hd_settings_table *tables, size_t n_tables, int *argc,
                                 char **argv, struct hd_err *err, struct hd_settings **ret, bool *ret_done) HD_MUST_USE;
void hd_settings_free(struct hd_settings *settings);
// A name that is in no table is a bug (assert).
const char *hd_settings_text(const struct hd_settings *settings, const char *name); // "" where empty
int64_t hd_settings_int(const struct hd_settings *settings, const char *name);      // also DURATION, in ms
bool hd_settings_bool(const struct hd_settings *settings, const char *name);
// Whether a setting has the same value in both.
bool hd_settings_same(const struct hd_settings *a, const struct hd_settings *b, const char *name);
// "10s", "5m", "1h30m", "250ms" → milliseconds; the pipeline language uses it too.
enum hd_status hd_duration_parse(const char *text, int64_t *ret_ms) HD_MUST_USE;

#endif
