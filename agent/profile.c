#include "agent/profile.h"

#include <string.h>
#include <unistd.h>

#include "agent/monitor/capacity.h"

// "key=value,key=value", cut in place; the registry checks the rest.
static enum hd_status next_pair(const char *setting, char **rest, struct hd_err *err, char **ret_key,
                                char **ret_value) {
    char *word = strsep(rest, ",");
    while (word && !*word)
        word = strsep(rest, ",");
    char *equals = word ? strchr(word, '=') : NULL;
    if (word && (!equals || equals == word))
        return hd_err_set(err, HD_INVALID, "%s: \"%.80s\" is not key=value", setting, word);
    if (word)
        *equals = '\0';
    *ret_key = word;
    *ret_value = word ? equals + 1 : NULL;
    return HD_OK;
}

static enum hd_status parse_labels(struct profile *profile, const char *text, struct hd_err *err) {
    char *rest = hd_arena_strdup(&profile->arena, text), *key, *value;
    size_t cap = 0;
    for (;;) {
        HD_TRY(next_pair("labels", &rest, err, &key, &value));
        if (!key)
            return HD_OK;
        HD_GROW(&profile->arena, profile->is.labels, profile->is.n_labels, cap);
        Hodei__V1__Label *label = profile->is.labels[profile->is.n_labels++] =
            HD_NEW(&profile->arena, Hodei__V1__Label);
        *label = (Hodei__V1__Label)HODEI__V1__LABEL__INIT;
        label->key = key;
        label->value = value;
    }
}

static enum hd_status parse_taints(struct profile *profile, const char *text, struct hd_err *err) {
    char *rest = hd_arena_strdup(&profile->arena, text), *key, *value;
    size_t cap = 0;
    for (;;) {
        HD_TRY(next_pair("taints", &rest, err, &key, &value));
        if (!key)
            return HD_OK;
        HD_GROW(&profile->arena, profile->is.taints, profile->is.n_taints, cap);
        Hodei__V1__Taint *taint = profile->is.taints[profile->is.n_taints++] =
            HD_NEW(&profile->arena, Hodei__V1__Taint);
        *taint = (Hodei__V1__Taint)HODEI__V1__TAINT__INIT;
        taint->key = key;
        taint->value = value;
    }
}

static unsigned slots_of(const struct hd_settings *settings) {
    int64_t slots = hd_settings_int(settings, "slots");
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (slots)
        return (unsigned)slots;
    return cpus > 2 ? (unsigned)(cpus < 4000 ? 2 * cpus : 8000) : 4;
}

enum hd_status profile_read(struct profile *profile, const struct hd_settings *settings, int dir_fd,
                            struct hd_err *err) {
    *profile = (struct profile){0};
    hd_arena_init(&profile->arena);
    profile->is.slots = slots_of(settings);
    HD_TRY(parse_labels(profile, hd_settings_text(settings, "labels"), err));
    HD_TRY(parse_taints(profile, hd_settings_text(settings, "taints"), err));
    return capacity_choose(settings, dir_fd, err, &profile->is.capacity);
}

void profile_release(struct profile *profile) {
    hd_arena_release(&profile->arena);
}
