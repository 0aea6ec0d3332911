#include "base/resources.h"

#include <inttypes.h>
#include <string.h>

struct hd_resources hd_resources_read(const Hodei__V1__Resources *msg) {
    struct hd_resources amounts = {0};
    if (!msg)
        return amounts;
    amounts = (struct hd_resources){{
        [HD_CPU_MILLI] = msg->cpu_milli,
        [HD_MEMORY_BYTES] = msg->memory_bytes,
        [HD_DISK_BYTES] = msg->disk_bytes,
        [HD_GPU] = msg->gpu,
    }};
    for (size_t i = 0; i < HD_RESOURCES; i++) {
        int64_t amount = amounts.of[i];
        amounts.of[i] = amount < 0 ? 0 : amount < HD_RESOURCE_MAX ? amount : HD_RESOURCE_MAX;
    }
    return amounts;
}

void hd_resources_write(const struct hd_resources *from, Hodei__V1__Resources *ret) {
    *ret = (Hodei__V1__Resources)HODEI__V1__RESOURCES__INIT;
    ret->cpu_milli = from->of[HD_CPU_MILLI];
    ret->memory_bytes = from->of[HD_MEMORY_BYTES];
    ret->disk_bytes = from->of[HD_DISK_BYTES];
    ret->gpu = from->of[HD_GPU];
}

bool hd_resources_none(const struct hd_resources *amounts) {
    for (size_t i = 0; i < HD_RESOURCES; i++)
        if (amounts->of[i])
            return false;
    return true;
}

enum hd_resource hd_resources_short(const struct hd_resources *ask, const struct hd_resources *free) {
    unsigned i = 0;
    while (i < HD_RESOURCES && ask->of[i] <= free->of[i])
        i++;
    return (enum hd_resource)i;
}

void hd_resources_add(struct hd_resources *sum, const struct hd_resources *more) {
    for (size_t i = 0; i < HD_RESOURCES; i++)
        if (__builtin_add_overflow(sum->of[i], more->of[i], &sum->of[i]))
            sum->of[i] = INT64_MAX;
}

void hd_resources_take(struct hd_resources *sum, const struct hd_resources *less) {
    for (size_t i = 0; i < HD_RESOURCES; i++)
        sum->of[i] = sum->of[i] > less->of[i] ? sum->of[i] - less->of[i] : 0;
}

struct hd_resources hd_resources_left(const struct hd_resources *capacity, const struct hd_resources *used) {
    struct hd_resources left = *capacity;
    hd_resources_take(&left, used);
    return left;
}

// --- texts -----------------------------------------------------------------------------------------------------------

// "12.345" in thousandths; *text is left behind it.
static enum hd_status take_thousandths(const char **text, int64_t *ret) {
    const char *p = *text;
    int64_t amount = 0;
    int places = 0;
    bool point = false;
    if (*p < '0' || *p > '9')
        return HD_INVALID;
    for (; (*p >= '0' && *p <= '9') || (*p == '.' && !point); p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        places += point;
        if (places > 3 || __builtin_mul_overflow(amount, 10, &amount) ||
            __builtin_add_overflow(amount, *p - '0', &amount))
            return HD_INVALID;
    }
    if (point && places == 0)
        return HD_INVALID;
    for (; places < 3; places++)
        if (__builtin_mul_overflow(amount, 10, &amount))
            return HD_INVALID;
    *text = p;
    *ret = amount;
    return HD_OK;
}

enum hd_status hd_cpu_parse(const char *text, int64_t *ret_milli) {
    int64_t milli;
    HD_TRY(take_thousandths(&text, &milli));
    if (strcmp(text, "m") == 0) {
        if (milli % 1000)
            return HD_INVALID;
        milli /= 1000;
    } else if (*text) {
        return HD_INVALID;
    }
    if (milli > HD_RESOURCE_MAX)
        return HD_INVALID;
    *ret_milli = milli;
    return HD_OK;
}

static const struct {
    const char *name;
    int64_t bytes;
} byte_units[] = {
    {"Ki", INT64_C(1) << 10},
    {"Mi", INT64_C(1) << 20},
    {"Gi", INT64_C(1) << 30},
    {"Ti", INT64_C(1) << 40},
    {"k", 1000},
    {"M", 1000000},
    {"G", 1000000000},
    {"T", INT64_C(1000000000000)},
};

enum hd_status hd_bytes_parse(const char *text, int64_t *ret_bytes) {
    int64_t amount;
    HD_TRY(take_thousandths(&text, &amount));
    for (size_t i = 0; i < sizeof(byte_units) / sizeof(byte_units[0]); i++) {
        if (strcmp(text, byte_units[i].name) != 0)
            continue;
        if (__builtin_mul_overflow(amount, byte_units[i].bytes, &amount) || amount / 1000 > HD_RESOURCE_MAX)
            return HD_INVALID;
        *ret_bytes = amount / 1000;
        return HD_OK;
    }
    return HD_INVALID;
}

// With at most one decimal, rounded down, so that what is free is never said to be more.
void hd_bytes_format(int64_t bytes, struct hd_buf *out) {
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    size_t unit = 0;
    int64_t whole = bytes, rest = 0;
    for (; whole >= 1024 && unit + 1 < sizeof(names) / sizeof(names[0]); unit++) {
        rest = whole % 1024;
        whole /= 1024;
    }
    if (rest * 10 / 1024)
        hd_buf_addf(out, "%" PRId64 ".%" PRId64 " %s", whole, rest * 10 / 1024, names[unit]);
    else
        hd_buf_addf(out, "%" PRId64 " %s", whole, names[unit]);
}

static void format_cpu(int64_t milli, struct hd_buf *out) {
    char text[40];
    snprintf(text, sizeof(text), "%" PRId64 ".%03" PRId64, milli / 1000, milli % 1000);
    size_t len = strlen(text);
    while (text[len - 1] == '0')
        len--;
    len -= text[len - 1] == '.';
    hd_buf_add(out, text, len);
    hd_buf_adds(out, milli == 1000 ? " CPU" : " CPUs");
}

void hd_resource_format(enum hd_resource resource, int64_t amount, struct hd_buf *out) {
    switch (resource) {
    case HD_CPU_MILLI:
        format_cpu(amount, out);
        break;
    case HD_MEMORY_BYTES:
    case HD_DISK_BYTES:
        hd_bytes_format(amount, out);
        hd_buf_adds(out, resource == HD_MEMORY_BYTES ? " of memory" : " of disk");
        break;
    default:
        hd_buf_addf(out, "%" PRId64 " GPU%s", amount, amount == 1 ? "" : "s");
    }
}
