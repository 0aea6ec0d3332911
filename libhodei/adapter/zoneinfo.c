#include "adapter/zoneinfo.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FOLDER "/usr/share/zoneinfo"

static enum hd_status no_such_zone(struct hd_ctx *cx, const char *name) {
    hd_fail(cx, HD_INVALID, "there is no time zone \"%.80s\"", name);
    hd_err_hint(&cx->err, "write UTC or Area/City as it stands below " FOLDER ", for example Europe/Madrid");
    return HD_INVALID;
}

static enum hd_status read_all(struct hd_ctx *cx, FILE *file, const char *name, uint8_t **ret, size_t *ret_len) {
    uint8_t *data = hd_arena_alloc(cx->arena, HD_ZONE_BYTES_MAX);

    *ret_len = fread(data, 1, HD_ZONE_BYTES_MAX, file);
    if (ferror(file)) // a folder, too
        return errno == EISDIR ? no_such_zone(cx, name)
                               : hd_fail(cx, HD_INTERNAL, "time zone %s: %s", name, strerror(errno));
    *ret = data;
    return HD_OK;
}

enum hd_status hd_zoneinfo_read(struct hd_ctx *cx, const char *name, const struct hd_zone **ret) {
    char path[sizeof(FOLDER) + 1 + HD_ZONE_NAME_MAX];
    uint8_t *data = NULL;
    size_t len = 0;

    if (strcmp(name, "UTC") == 0) {
        *ret = &hd_zone_utc;
        return HD_OK;
    }
    if (!hd_zone_name_valid(name))
        return no_such_zone(cx, name);
    snprintf(path, sizeof(path), FOLDER "/%s", name);
    FILE *file = fopen(path, "re");
    if (!file)
        return errno == ENOENT || errno == ENOTDIR
                   ? no_such_zone(cx, name)
                   : hd_fail(cx, HD_INTERNAL, "time zone %s: %s", name, strerror(errno));
    enum hd_status status = read_all(cx, file, name, &data, &len);
    fclose(file);
    HD_TRY(status);
    if (hd_zone_parse(cx->arena, data, len, &cx->err, ret) == HD_OK)
        return HD_OK;
    return hd_err_wrap(&cx->err, "time zone %s", name);
}
