// A cron expression on the first line, the data of a time zone after it: never more than it says, always forward, never for ever.
#include "base/cron.h"

#include <stdlib.h>
#include <string.h>

static void follow(const struct hd_cron *cron, const struct hd_zone *zone) {
    static const int64_t from_ms[] = {INT64_MIN, -1, 0, INT64_C(1900000000000), INT64_C(253402200000000), INT64_MAX};

    for (size_t i = 0; i < sizeof(from_ms) / sizeof(from_ms[0]); i++) {
        int64_t at_ms = from_ms[i], next_ms;
        for (int n = 0; n < 20 && hd_cron_next(cron, zone, at_ms, &next_ms) == HD_OK; n++) {
            if (next_ms <= at_ms || next_ms % 1000 != 0)
                abort();
            at_ms = next_ms;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    size_t len = end ? (size_t)(end - data) : size;
    const struct hd_zone *zone = &hd_zone_utc;
    struct hd_arena arena;
    struct hd_err err = {0};
    struct hd_cron cron;

    hd_arena_init(&arena);
    const char *text = hd_arena_strndup(&arena, (const char *)data, len);
    if (end && hd_zone_parse(&arena, end + 1, size - len - 1, &err, &zone) != HD_OK)
        zone = &hd_zone_utc;
    if (hd_cron_parse(text, &err, &cron) == HD_OK)
        follow(&cron, zone);
    else if (!*err.text)
        abort();
    hd_arena_release(&arena);
    return 0;
}
