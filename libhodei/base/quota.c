#include "base/quota.h"

#include <inttypes.h>
#include <string.h>

#include "base/names.h"
#include "base/pb_field.h"

static const struct {
    const char *field, *one, *many;
} dims[HD_QUOTA_DIMS] = {
    [HD_QUOTA_JOBS] = {"concurrent_jobs", "concurrent job", "concurrent jobs"},
    [HD_QUOTA_CPU] = {"cpu_milli", NULL, NULL},
    [HD_QUOTA_MEMORY] = {"memory_bytes", NULL, NULL},
    [HD_QUOTA_GPU] = {"gpu", NULL, NULL},
    [HD_QUOTA_QUEUED] = {"queued_jobs", "queued job", "queued jobs"},
    [HD_QUOTA_RUNS_DAY] = {"runs_day", "run a day", "runs a day"},
    [HD_QUOTA_MINUTES_MONTH] = {"job_minutes_month", "job minute a month", "job minutes a month"},
    [HD_QUOTA_PIPELINES] = {"pipelines", "pipeline", "pipelines"},
    [HD_QUOTA_LOG_BYTES_DAY] = {"log_bytes_day", NULL, NULL},
};

struct hd_quota hd_quota_unlimited(void) {
    struct hd_quota limits;
    for (size_t i = 0; i < HD_QUOTA_DIMS; i++)
        limits.of[i] = HD_QUOTA_UNLIMITED;
    return limits;
}

const char *hd_quota_field(enum hd_quota_dim dim) {
    return dims[dim].field;
}

static const ProtobufCFieldDescriptor *field_of(const ProtobufCMessage *msg, size_t dim) {
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(msg->descriptor, dims[dim].field);
    return field && field->type == PROTOBUF_C_TYPE_INT64 ? field : NULL;
}

// proto3 says "optional" by a oneof of one.
static bool can_miss(const ProtobufCFieldDescriptor *field) {
    return field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
}

void hd_quota_read(const ProtobufCMessage *msg, struct hd_quota *inout) {
    for (size_t i = 0; i < HD_QUOTA_DIMS; i++) {
        const ProtobufCFieldDescriptor *field = field_of(msg, i);
        if (field && (!can_miss(field) || hd_pb_present(msg, field)))
            memcpy(&inout->of[i], hd_pb_at(msg, field->offset), sizeof(int64_t));
    }
}

void hd_quota_write(const struct hd_quota *from, ProtobufCMessage *msg) {
    for (size_t i = 0; i < HD_QUOTA_DIMS; i++) {
        const ProtobufCFieldDescriptor *field = field_of(msg, i);
        if (!field || (from->of[i] < 0 && can_miss(field)))
            continue;
        memcpy(hd_pb_at(msg, field->offset), &from->of[i], sizeof(int64_t));
        hd_pb_mark(msg, field);
    }
}

int64_t hd_quota_room(int64_t limit, int64_t used) {
    if (limit < 0)
        return INT64_MAX;
    return used < limit ? limit - used : 0;
}

enum hd_quota_dim hd_quota_short(const struct hd_quota *limit, const struct hd_quota *used,
                                 const struct hd_quota *asks) {
    for (unsigned i = 0; i < HD_QUOTA_CONCURRENT; i++)
        if (asks->of[i] > 0 && asks->of[i] > hd_quota_room(limit->of[i], used->of[i]))
            return (enum hd_quota_dim)i;
    return HD_QUOTA_DIMS;
}

enum hd_quota_dim hd_quota_never(const struct hd_quota *limit, const struct hd_quota *asks) {
    for (unsigned i = HD_QUOTA_JOBS + 1; i < HD_QUOTA_CONCURRENT; i++)
        if (limit->of[i] >= 0 && asks->of[i] > limit->of[i])
            return (enum hd_quota_dim)i;
    return HD_QUOTA_DIMS;
}

struct hd_quota hd_quota_of_job(const Hodei__V1__Resources *resources) {
    struct hd_resources asks = hd_resources_read(resources);
    return (struct hd_quota){{
        [HD_QUOTA_JOBS] = 1,
        [HD_QUOTA_CPU] = asks.of[HD_CPU_MILLI],
        [HD_QUOTA_MEMORY] = asks.of[HD_MEMORY_BYTES],
        [HD_QUOTA_GPU] = asks.of[HD_GPU],
    }};
}

void hd_quota_add(struct hd_quota *sum, const struct hd_quota *more, int64_t times) {
    for (size_t i = 0; i < HD_QUOTA_DIMS; i++) {
        int64_t amount, result;
        if (__builtin_mul_overflow(more->of[i], times, &amount) || __builtin_add_overflow(sum->of[i], amount, &result))
            result = times < 0 ? 0 : INT64_MAX;
        sum->of[i] = result < 0 ? 0 : result;
    }
}

uint32_t hd_quota_marks(const struct hd_quota *limit, const struct hd_quota *used, uint32_t before) {
    uint32_t marks = 0;
    for (unsigned i = 0; i < HD_QUOTA_DIMS; i++) {
        int64_t all = limit->of[i], now = used->of[i];
        uint32_t near = UINT32_C(1) << (2 * i), full = near << 1;
        if (all <= 0)
            continue;
        bool is_near = now >= all - all / 5 || (before & near && now >= all - all / 4);
        bool is_full = now >= all || (before & full && now >= all - all / 20);
        marks |= (is_near ? near : 0) | (is_full ? full : 0);
    }
    return marks;
}

bool hd_quota_owner_valid(const char *text) {
    const char *slash = strchr(text, '/');
    char tenant[128];

    if (!slash)
        return hd_token_valid(text);
    if ((size_t)(slash - text) >= sizeof(tenant) || !hd_token_valid(slash + 1))
        return false;
    memcpy(tenant, text, (size_t)(slash - text));
    tenant[slash - text] = '\0';
    return hd_token_valid(tenant);
}

int64_t hd_quota_day(int64_t wall_ms) {
    return wall_ms / 86400000;
}

int64_t hd_quota_month(int64_t wall_ms) {
    // Days since 0000-03-01, in eras of 400 years.
    int64_t days = wall_ms / 86400000 + 719468, era = days / 146097, day = days % 146097;
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    int64_t month = (5 * (day - (365 * year + year / 4 - year / 100)) + 2) / 153; // 0: March
    return (era * 400 + year) * 12 + month;
}

void hd_quota_format(enum hd_quota_dim dim, int64_t amount, struct hd_buf *out) {
    if (dim == HD_QUOTA_CPU)
        hd_resource_format(HD_CPU_MILLI, amount, out);
    else if (dim == HD_QUOTA_MEMORY)
        hd_resource_format(HD_MEMORY_BYTES, amount, out);
    else if (dim == HD_QUOTA_GPU)
        hd_resource_format(HD_GPU, amount, out);
    else if (dim == HD_QUOTA_LOG_BYTES_DAY)
        hd_bytes_format(amount, out);
    else
        hd_buf_addf(out, "%" PRId64 " %s", amount, amount == 1 ? dims[dim].one : dims[dim].many);
}
