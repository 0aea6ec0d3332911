#include "base/settings.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/settings_impl.h"

#define MAX_VALUE_FILE_BYTES (64u << 10)

static char *copy_text(const char *text) {
    char *copy = strdup(text);
    if (!copy)
        abort();
    return copy;
}

struct value *hd_settings_find(const struct hd_settings *settings, const char *name, bool *ret_file) {
    for (size_t i = 0; i < settings->n; i++) {
        struct value *value = &settings->values[i];
        size_t len = strlen(value->row->name);
        if (strncmp(value->row->name, name, len) != 0)
            continue;
        if (name[len] && !(value->row->secret && hd_streq(name + len, "-file")))
            continue;
        *ret_file = name[len] != '\0';
        return value;
    }
    return NULL;
}

enum hd_status hd_settings_unknown(const struct hd_settings *settings, const char *prefix, const char *name,
                                   struct hd_err *err) {
    const char *near = NULL;
    unsigned best = 4;
    for (size_t i = 0; i < settings->n; i++) {
        unsigned distance = hd_edit_distance(settings->values[i].row->name, name, 3);
        if (distance < best) {
            best = distance;
            near = settings->values[i].row->name;
        }
    }
    hd_err_set(err, HD_INVALID, "there is no setting %s%.100s", prefix, name);
    hd_err_field(err, "%s", name);
    if (near)
        hd_err_hint(err, "did you mean %s%s?", prefix, near);
    else
        hd_err_hint(err, "--help lists the settings");
    return HD_INVALID;
}

static enum hd_status parse_bool(const char *text, int64_t *ret) {
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (hd_streq(text, words[i])) {
            *ret = i & 1;
            return HD_OK;
        }
    }
    return HD_INVALID;
}

static enum hd_status parse_number(const struct hd_setting *row, const char *text, int64_t *ret) {
    *ret = 0;
    if (row->type == HD_SET_TEXT || !*text)
        return HD_OK;
    if (row->type == HD_SET_BOOL)
        return parse_bool(text, ret);
    return row->type == HD_SET_INT ? hd_parse_i64(text, ret) : hd_duration_parse(text, ret);
}

static enum hd_status check(const struct hd_setting *row, const char *text, int64_t *ret, struct hd_err *err) {
    static const char *const wanted[] = {
        [HD_SET_TEXT] = "a text",
        [HD_SET_INT] = "a whole number",
        [HD_SET_BOOL] = "true or false",
        [HD_SET_DURATION] = "a time such as 500ms, 10s, 5m or 1h30m",
    };
    const char *shown = row->secret ? "***" : text;
    if (parse_number(row, text, ret) != HD_OK) {
        hd_err_set(err, HD_INVALID, "%s: \"%.100s\" is not %s", row->name, shown, wanted[row->type]);
        hd_err_field(err, "%s", row->name);
        return HD_INVALID;
    }
    bool ranged = (row->type == HD_SET_INT || row->type == HD_SET_DURATION) && (row->min || row->max);
    if (ranged && (*ret < row->min || *ret > row->max)) {
        const char *unit = row->type == HD_SET_DURATION ? " ms" : "";
        hd_err_set(err, HD_INVALID, "%s: %s is not from %" PRId64 " to %" PRId64 "%s", row->name, shown, row->min,
                   row->max, unit);
        hd_err_field(err, "%s", row->name);
        return HD_INVALID;
    }
    return HD_OK;
}

// The content of a small file, without the newline that editors put at its end.
static enum hd_status read_value_file(const char *name, const char *path, struct hd_buf *ret, struct hd_err *err) {
    FILE *file = fopen(path, "re");
    if (!file)
        return hd_err_set(err, HD_INVALID, "%s-file: %s: %s", name, path, strerror(errno));
    hd_buf_reserve(ret, MAX_VALUE_FILE_BYTES + 1);
    ret->len = fread(ret->data, 1, MAX_VALUE_FILE_BYTES + 1, file);
    bool failed = ferror(file);
    fclose(file);
    if (failed || ret->len > MAX_VALUE_FILE_BYTES || memchr(ret->data, 0, ret->len))
        return hd_err_set(err, HD_INVALID, "%s-file: %s is not a text file of at most %u bytes", name, path,
                          MAX_VALUE_FILE_BYTES);
    if (ret->len && ret->data[ret->len - 1] == '\n')
        ret->len--;
    if (ret->len && ret->data[ret->len - 1] == '\r')
        ret->len--;
    ret->data[ret->len] = '\0';
    return HD_OK;
}

enum hd_status hd_settings_set(struct value *value, const char *text, bool file, enum source source,
                               struct hd_err *err) {
    HD_AUTO_BUF struct hd_buf content = {0};
    if (file) {
        HD_TRY(read_value_file(value->row->name, text, &content, err));
        text = content.data;
    }
    int64_t number;
    HD_TRY(check(value->row, text, &number, err));
    char *copy = copy_text(text);
    free(value->text);
    value->text = copy;
    value->number = number;
    value->source = source;
    return HD_OK;
}

void hd_settings_env_name(const char *name, char *ret, size_t size) {
    size_t n = hd_strlcpy(ret, "HODEI_", size);
    for (; *name && n + 1 < size; name++) {
        char c = *name == '-' ? '_' : *name;
        ret[n++] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
    }
    ret[n] = '\0';
}

static enum hd_status take_environment(struct hd_settings *settings, struct hd_err *err) {
    for (size_t i = 0; i < settings->n; i++) {
        struct value *value = &settings->values[i];
        char name[128], file_name[136];
        hd_settings_env_name(value->row->name, name, sizeof(name));
        snprintf(file_name, sizeof(file_name), "%s_FILE", name);
        const char *text = getenv(name), *file = value->row->secret ? getenv(file_name) : NULL;
        if (!text && !file)
            continue;
        enum hd_status status = hd_settings_set(value, text ? text : file, !text, FROM_ENVIRONMENT, err);
        if (status != HD_OK) {
            hd_err_wrap(err, "environment variable %s", text ? name : file_name);
            return status;
        }
    }
    return HD_OK;
}

// What the command line says besides settings.
struct words {
    const char *config;
    bool help, print;
    int kept; // words that are no flags
};

// Takes the flag argv[i]; returns in *ret_used how many words it has.
static enum hd_status take_flag(struct hd_settings *settings, char **argv, struct words *words, int *ret_used,
                                struct hd_err *err) {
    const char *name = argv[0] + 2, *equals = strchr(name, '=');
    char plain[128];
    if (!equals) {
        hd_strlcpy(plain, name, sizeof(plain));
    } else {
        size_t len = (size_t)(equals - name) < sizeof(plain) - 1 ? (size_t)(equals - name) : sizeof(plain) - 1;
        memcpy(plain, name, len);
        plain[len] = '\0';
    }
    *ret_used = 1;
    bool help = hd_streq(plain, "help"), print = hd_streq(plain, "print-settings"), file = false;
    if ((help || print) && !equals) {
        words->help |= help;
        words->print |= print;
        return HD_OK;
    }
    bool config = hd_streq(plain, "config");
    struct value *value = config ? NULL : hd_settings_find(settings, plain, &file);
    if (!config && !value)
        return hd_settings_unknown(settings, "--", plain, err);
    if (value && value->row->secret && !file) {
        hd_err_set(err, HD_INVALID, "--%s is a secret, and flags can be seen by every user of the machine", plain);
        char env[128];
        hd_settings_env_name(plain, env, sizeof(env));
        hd_err_hint(err, "write it to a file for --%s-file, or set %s", plain, env);
        return HD_INVALID;
    }
    const char *text = equals ? equals + 1 : NULL;
    if (!text && value && value->row->type == HD_SET_BOOL && !file) {
        text = "true";
    } else if (!text) {
        text = argv[1];
        *ret_used = 2;
        if (!text)
            return hd_err_set(err, HD_INVALID, "--%s needs a value", plain);
    }
    if (config) {
        words->config = text;
        return HD_OK;
    }
    return hd_settings_set(value, text, file, FROM_FLAG, err);
}

// Flags are taken out; every other word moves up. After "--" all words are kept.
static enum hd_status take_flags(struct hd_settings *settings, int argc, char **argv, bool keep, struct words *words,
                                 struct hd_err *err) {
    int kept = 1, i = 1;
    while (i < argc) {
        if (hd_streq(argv[i], "--")) {
            for (i++; i < argc; i++)
                if (keep)
                    argv[kept++] = argv[i];
            break;
        }
        int used = 1;
        if (hd_starts_with(argv[i], "--"))
            HD_TRY(take_flag(settings, argv + i, words, &used, err));
        else if (keep)
            argv[kept++] = argv[i];
        i += used;
    }
    if (keep)
        argv[kept] = NULL;
    words->kept = kept;
    return HD_OK;
}

static enum hd_status make_values(const struct hd_settings_table *tables, size_t n_tables, struct hd_settings *settings,
                                  struct hd_err *err) {
    size_t total = 0;
    for (size_t i = 0; i < n_tables; i++)
        total += tables[i].n;
    settings->values = calloc(total ? total : 1, sizeof(*settings->values));
    if (!settings->values)
        abort();
    for (size_t i = 0; i < n_tables; i++) {
        for (size_t j = 0; j < tables[i].n; j++) {
            struct value *value = &settings->values[settings->n++];
            value->row = &tables[i].rows[j];
            if (value->row->value)
                HD_TRY(hd_settings_set(value, value->row->value, false, FROM_DEFAULT, err));
            else
                value->text = copy_text(""); // not set: the row's range is for values only
        }
    }
    return HD_OK;
}

// The command line is read twice: first for --config, whose file is below the environment and the flags in rank.
static enum hd_status fill(struct hd_settings *settings, const struct hd_settings_table *tables, size_t n_tables,
                           int *argc, char **argv, struct words *words, struct hd_err *err) {
    HD_TRY(make_values(tables, n_tables, settings, err));
    HD_TRY(take_flags(settings, *argc, argv, false, words, err));
    if (words->help)
        return HD_OK;
    const char *config = words->config ? words->config : getenv("HODEI_CONFIG");
    if (config && *config)
        HD_TRY(hd_settings_read_file(settings, config, err));
    HD_TRY(take_environment(settings, err));
    HD_TRY(take_flags(settings, *argc, argv, true, words, err));
    *argc = words->kept;
    return HD_OK;
}

enum hd_status hd_settings_parse(const char *usage, const struct hd_settings_table *tables, size_t n_tables, int *argc,
                                 char **argv, struct hd_err *err, struct hd_settings **ret, bool *ret_done) {
    struct hd_settings *settings = calloc(1, sizeof(*settings));
    if (!settings)
        abort();
    struct words words = {0};
    enum hd_status status = fill(settings, tables, n_tables, argc, argv, &words, err);
    if (status != HD_OK) {
        hd_settings_free(settings);
        return status;
    }
    if (words.help)
        hd_settings_help(settings, usage);
    else if (words.print)
        hd_settings_print(settings);
    *ret = settings;
    *ret_done = words.help || words.print;
    return HD_OK;
}

void hd_settings_free(struct hd_settings *settings) {
    if (!settings)
        return;
    for (size_t i = 0; i < settings->n; i++) {
        if (settings->values[i].text && settings->values[i].row->secret)
            explicit_bzero(settings->values[i].text, strlen(settings->values[i].text));
        free(settings->values[i].text);
    }
    free(settings->values);
    free(settings);
}

static const struct value *get(const struct hd_settings *settings, const char *name) {
    bool file = false;
    const struct value *value = hd_settings_find(settings, name, &file);
    assert(value && !file);
    return value;
}

const char *hd_settings_text(const struct hd_settings *settings, const char *name) {
    return get(settings, name)->text;
}

bool hd_settings_same(const struct hd_settings *a, const struct hd_settings *b, const char *name) {
    bool file;
    const struct value *x = hd_settings_find(a, name, &file), *y = hd_settings_find(b, name, &file);
    return x && y && hd_streq(x->text, y->text);
}

int64_t hd_settings_int(const struct hd_settings *settings, const char *name) {
    return get(settings, name)->number;
}

bool hd_settings_bool(const struct hd_settings *settings, const char *name) {
    return get(settings, name)->number != 0;
}
