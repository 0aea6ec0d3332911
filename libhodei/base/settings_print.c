// --help and --print-settings.
#include <stdio.h>
#include <string.h>

#include "base/pb.h"
#include "base/settings_impl.h"

static const char *placeholder(enum hd_setting_type type) {
    static const char *const names[] = {
        [HD_SET_TEXT] = "TEXT", [HD_SET_INT] = "N", [HD_SET_BOOL] = "true|false", [HD_SET_DURATION] = "10s"};
    return names[type];
}

void hd_settings_help(const struct hd_settings *settings, const char *usage) {
    printf("%s\n\nSettings: a flag, else HODEI_<NAME> in the environment, else a line in the file of --config.\n\n",
           usage);
    for (size_t i = 0; i < settings->n; i++) {
        const struct hd_setting *row = settings->values[i].row;
        char left[80];
        snprintf(left, sizeof(left), "--%s%s=%s", row->name, row->secret ? "-file" : "",
                 row->secret ? "FILE" : placeholder(row->type));
        printf("  %-34s %s", left, row->help ? row->help : "");
        if (row->value && *row->value && !row->secret)
            printf(" (default: %s)", row->value);
        if (row->secret) {
            char name[80];
            hd_settings_env_name(row->name, name, sizeof(name));
            printf(" (secret: this file, or %s)", name);
        }
        printf("\n");
    }
    printf("  %-34s %s\n  %-34s %s\n  %-34s %s\n", "--config=FILE", "YAML file of `name: value` lines",
           "--print-settings", "print all values and where each is from", "--help", "print this");
}

void hd_settings_print(const struct hd_settings *settings) {
    static const char *const sources[] = {"default", "file", "environment", "flag"};
    HD_AUTO_BUF struct hd_buf out = {0};
    for (size_t i = 0; i < settings->n; i++) {
        const struct value *value = &settings->values[i];
        hd_buf_addf(&out, "%s: ", value->row->name);
        if (value->row->secret && *value->text)
            hd_buf_adds(&out, "\"***\"");
        else if (value->row->type == HD_SET_TEXT)
            hd_json_add_string(&out, value->text, strlen(value->text));
        else if (value->row->type == HD_SET_BOOL)
            hd_buf_adds(&out, value->number ? "true" : "false");
        else
            hd_buf_adds(&out, *value->text ? value->text : "0");
        hd_buf_addf(&out, "  # %s\n", sources[value->source]);
    }
    fwrite(out.data ? out.data : "", 1, out.len, stdout);
}
