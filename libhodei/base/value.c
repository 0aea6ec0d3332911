#include "base/value.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "base/pb.h"

#define WHOLE_MAX 9007199254740992.0 // 2^53

const struct hd_value hd_value_null = {.kind = HD_NULL};

const char *hd_kind_name(enum hd_kind kind) {
    static const char *const names[] = {"null", "true or false", "a number", "a text", "a list", "a map", "a value"};
    return names[kind];
}

const struct hd_value *hd_value_bool(struct hd_arena *arena, bool truth) {
    struct hd_value *value = HD_NEW(arena, struct hd_value);
    *value = (struct hd_value){.kind = HD_BOOL, .truth = truth};
    return value;
}

const struct hd_value *hd_value_number(struct hd_arena *arena, double number) {
    struct hd_value *value = HD_NEW(arena, struct hd_value);
    *value = (struct hd_value){.kind = HD_NUMBER, .number = number};
    return value;
}

const struct hd_value *hd_value_string(struct hd_arena *arena, const char *text, size_t len) {
    struct hd_value *value = HD_NEW(arena, struct hd_value);
    *value = (struct hd_value){.kind = HD_STRING, .text = text, .n = len};
    return value;
}

const struct hd_value *hd_value_text(struct hd_arena *arena, const char *text) {
    return hd_value_string(arena, text, strlen(text));
}

struct hd_value *hd_value_new(struct hd_arena *arena, enum hd_kind kind, size_t room) {
    struct hd_value *value = HD_NEW(arena, struct hd_value);
    value->kind = kind;
    value->items = HD_NEW_ARRAY(arena, room, const struct hd_value *);
    if (kind == HD_MAP)
        value->names = HD_NEW_ARRAY(arena, room, const char *);
    return value;
}

void hd_value_add(struct hd_value *list, const struct hd_value *item) {
    list->items[list->n++] = item;
}

void hd_value_set(struct hd_value *map, const char *name, const struct hd_value *value) {
    map->names[map->n] = name;
    map->items[map->n++] = value;
}

const struct hd_value *hd_value_get(const struct hd_value *map, const char *name) {
    for (size_t i = 0; map && map->kind == HD_MAP && i < map->n; i++)
        if (strcmp(map->names[i], name) == 0)
            return map->items[i];
    return NULL;
}

bool hd_value_equal(const struct hd_value *a, const struct hd_value *b) {
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case HD_BOOL:
        return a->truth == b->truth;
    case HD_NUMBER:
        return a->number == b->number;
    case HD_STRING:
        return a->n == b->n && memcmp(a->text, b->text, a->n) == 0;
    case HD_LIST:
        for (size_t i = 0; a->n == b->n && i < a->n; i++)
            if (!hd_value_equal(a->items[i], b->items[i]))
                return false;
        return a->n == b->n;
    case HD_MAP:
        for (size_t i = 0; a->n == b->n && i < a->n; i++) {
            const struct hd_value *other = hd_value_get(b, a->names[i]);
            if (!other || !hd_value_equal(a->items[i], other))
                return false;
        }
        return a->n == b->n;
    default:
        return true;
    }
}

// --- JSON -------------------------------------------------------------------------------------------------------------

static enum hd_status take(struct hd_arena *arena, const cJSON *json, struct hd_err *err, const struct hd_value **ret) {
    if (cJSON_IsString(json)) {
        *ret = hd_value_text(arena, hd_arena_strdup(arena, json->valuestring));
    } else if (cJSON_IsNumber(json)) {
        if (!isfinite(json->valuedouble))
            return hd_err_set(err, HD_INVALID, "a number of the JSON text is too large");
        *ret = hd_value_number(arena, json->valuedouble);
    } else if (cJSON_IsBool(json)) {
        *ret = hd_value_bool(arena, cJSON_IsTrue(json));
    } else if (cJSON_IsNull(json)) {
        *ret = &hd_value_null;
    } else {
        struct hd_value *all =
            hd_value_new(arena, cJSON_IsObject(json) ? HD_MAP : HD_LIST, (size_t)cJSON_GetArraySize(json));
        const cJSON *item;
        cJSON_ArrayForEach(item, json) {
            const struct hd_value *value;
            HD_TRY(take(arena, item, err, &value));
            if (all->kind == HD_LIST)
                hd_value_add(all, value);
            else if (!hd_value_get(all, item->string))
                hd_value_set(all, hd_arena_strdup(arena, item->string), value);
            else
                return hd_err_set(err, HD_INVALID, "\"%.60s\" stands twice in a map of the JSON text", item->string);
        }
        *ret = all;
    }
    return HD_OK;
}

enum hd_status hd_value_read(struct hd_arena *arena, const char *json, size_t len, struct hd_err *err,
                             const struct hd_value **ret) {
    const char *end = NULL;
    HD_TRY(hd_json_scan(json, len, err));
    cJSON *tree = cJSON_ParseWithLengthOpts(json, len, &end, 0);
    while (tree && end < json + len && strchr(" \t\r\n", *end))
        end++;
    if (!tree || end != json + len) {
        cJSON_Delete(tree);
        hd_err_set(err, HD_INVALID, "this is not JSON");
        hd_json_err_at(json, end && end >= json ? (size_t)(end - json) : 0, err);
        return HD_INVALID;
    }
    enum hd_status status = take(arena, tree, err, ret);
    cJSON_Delete(tree);
    return status;
}

static void write_number(struct hd_buf *out, double number) {
    char text[40];
    if (number == floor(number) && fabs(number) <= WHOLE_MAX) {
        hd_buf_addf(out, "%.0f", number == 0 ? 0.0 : number);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) { // the shortest that reads as the same number
        snprintf(text, sizeof(text), "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            break;
    }
    hd_buf_adds(out, text);
}

void hd_value_write(struct hd_buf *out, const struct hd_value *value) {
    switch (value->kind) {
    case HD_BOOL:
        hd_buf_adds(out, value->truth ? "true" : "false");
        break;
    case HD_NUMBER:
        write_number(out, value->number);
        break;
    case HD_STRING:
        hd_json_add_string(out, value->text, value->n);
        break;
    case HD_LIST:
    case HD_MAP:
        hd_buf_addc(out, value->kind == HD_LIST ? '[' : '{');
        for (size_t i = 0; i < value->n; i++) {
            hd_buf_adds(out, i ? "," : "");
            if (value->kind == HD_MAP) {
                hd_json_add_string(out, value->names[i], strlen(value->names[i]));
                hd_buf_addc(out, ':');
            }
            hd_value_write(out, value->items[i]);
        }
        hd_buf_addc(out, value->kind == HD_LIST ? ']' : '}');
        break;
    default:
        hd_buf_adds(out, "null");
    }
}

void hd_value_print(struct hd_buf *out, const struct hd_value *value) {
    if (value->kind == HD_STRING)
        hd_buf_add(out, value->text, value->n);
    else if (value->kind != HD_NULL)
        hd_value_write(out, value);
}
