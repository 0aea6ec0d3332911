#include "cli/cli.h"

const cJSON *j_get(const cJSON *object, const char *name) {
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

const char *j_text(const cJSON *object, const char *name) {
    const cJSON *item = j_get(object, name);

    return cJSON_IsString(item) && item->valuestring ? item->valuestring : "";
}

int64_t j_int(const cJSON *object, const char *name) {
    const cJSON *item = j_get(object, name);
    int64_t value = 0;

    if (cJSON_IsNumber(item) && item->valuedouble > -9e15 && item->valuedouble < 9e15)
        return (int64_t)item->valuedouble;
    if (cJSON_IsString(item) && hd_parse_i64(item->valuestring, &value) == HD_OK)
        return value;
    return 0;
}
