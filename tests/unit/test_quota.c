#include "base/quota.h"

#include "hodei/v1/quota.pb-c.h"
#include "tests/unit/test.h"

static struct hd_quota limit_of(enum hd_quota_dim dim, int64_t amount) {
    struct hd_quota limit = hd_quota_unlimited();
    limit.of[dim] = amount;
    return limit;
}

static void formats(enum hd_quota_dim dim, int64_t amount, const char *want) {
    HD_AUTO_BUF struct hd_buf out = {0};
    hd_quota_format(dim, amount, &out);
    CHECK_STR(out.data, want);
}

TEST(a_limit_that_is_not_there_is_none_and_one_of_0_is_one) {
    Hodei__V1__Grant grant = HODEI__V1__GRANT__INIT;
    struct hd_quota limit = hd_quota_unlimited();
    grant.concurrent_jobs = 7;
    grant.gpu_limit_case = HODEI__V1__GRANT__GPU_LIMIT_GPU;
    hd_quota_read(&grant.base, &limit);
    CHECK_INT(limit.of[HD_QUOTA_JOBS], 7);
    CHECK_INT(limit.of[HD_QUOTA_GPU], 0);
    CHECK_INT(limit.of[HD_QUOTA_CPU], HD_QUOTA_UNLIMITED);
    Hodei__V1__Quota quota = HODEI__V1__QUOTA__INIT;
    limit.of[HD_QUOTA_RUNS_DAY] = 3;
    hd_quota_write(&limit, &quota.base);
    CHECK_INT(quota.concurrent_jobs, 7);
    CHECK_INT(quota.gpu_limit_case, HODEI__V1__QUOTA__GPU_LIMIT_GPU);
    CHECK_INT(quota.runs_day, 3);
    CHECK_INT(quota.cpu_milli_limit_case, HODEI__V1__QUOTA__CPU_MILLI_LIMIT__NOT_SET);
}

TEST(what_is_used_of_each_limit_is_told) {
    Hodei__V1__QuotaUsage usage = HODEI__V1__QUOTA_USAGE__INIT;
    struct hd_quota used;
    for (unsigned i = 0; i < HD_QUOTA_DIMS; i++)
        used.of[i] = i + 1;
    hd_quota_write(&used, &usage.base);
    CHECK_INT(usage.concurrent_jobs, 1);
    CHECK_INT(usage.memory_bytes, 3);
    CHECK_INT(usage.job_minutes_month, HD_QUOTA_MINUTES_MONTH + 1);
    CHECK_INT(usage.pipelines, HD_QUOTA_PIPELINES + 1);
}

TEST(the_first_limit_that_a_job_goes_over_is_named) {
    Hodei__V1__Resources resources = HODEI__V1__RESOURCES__INIT;
    resources.cpu_milli = 500;
    resources.memory_bytes = 100;
    struct hd_quota asks = hd_quota_of_job(&resources), used = {{0}}, limit = limit_of(HD_QUOTA_MEMORY, 250);
    CHECK_INT(asks.of[HD_QUOTA_JOBS], 1);
    CHECK_INT(hd_quota_short(&limit, &used, &asks), HD_QUOTA_DIMS);
    hd_quota_add(&used, &asks, 1);
    CHECK_INT(hd_quota_short(&limit, &used, &asks), HD_QUOTA_DIMS);
    hd_quota_add(&used, &asks, 1);
    CHECK_INT(hd_quota_short(&limit, &used, &asks), HD_QUOTA_MEMORY);
    hd_quota_add(&used, &asks, -1);
    CHECK_INT(used.of[HD_QUOTA_MEMORY], 100);
    CHECK_INT(used.of[HD_QUOTA_JOBS], 1);
    limit = limit_of(HD_QUOTA_JOBS, 1);
    CHECK_INT(hd_quota_short(&limit, &used, &asks), HD_QUOTA_JOBS);
    CHECK_INT(hd_quota_never(&limit, &asks), HD_QUOTA_DIMS);
    limit = limit_of(HD_QUOTA_CPU, 499);
    CHECK_INT(hd_quota_never(&limit, &asks), HD_QUOTA_CPU);
    limit = limit_of(HD_QUOTA_CPU, 0);
    resources.cpu_milli = 0;
    asks = hd_quota_of_job(&resources);
    CHECK_INT(hd_quota_short(&limit, &used, &asks), HD_QUOTA_DIMS); // it asks for none
}

TEST(sums_neither_overflow_nor_fall_below_0) {
    struct hd_quota sum = {{0}}, more = {{0}};
    more.of[HD_QUOTA_MEMORY] = INT64_MAX - 1;
    hd_quota_add(&sum, &more, 1);
    hd_quota_add(&sum, &more, 1);
    CHECK_INT(sum.of[HD_QUOTA_MEMORY], INT64_MAX);
    hd_quota_add(&sum, &more, -2);
    CHECK_INT(sum.of[HD_QUOTA_MEMORY], 0);
    CHECK_INT(hd_quota_room(5, 9), 0);
    CHECK_INT(hd_quota_room(9, 5), 4);
    CHECK_INT(hd_quota_room(HD_QUOTA_UNLIMITED, 5), INT64_MAX);
}

TEST(marks_are_crossed_once_at_80_and_100_percent) {
    const struct {
        int64_t used;
        uint32_t marks;
    } steps[] = {{79, 0}, {80, 1}, {79, 1}, {99, 1}, {100, 3}, {96, 3}, {94, 1}, {100, 3}, {150, 3}, {76, 1}, {74, 0}};
    struct hd_quota limit = limit_of(HD_QUOTA_JOBS, 100), used = {{0}};
    uint32_t marks = 0;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        used.of[HD_QUOTA_JOBS] = steps[i].used;
        marks = hd_quota_marks(&limit, &used, marks);
        CHECK_INT(marks, steps[i].marks);
    }
    limit = limit_of(HD_QUOTA_RUNS_DAY, INT64_C(1) << 50);
    used.of[HD_QUOTA_RUNS_DAY] = INT64_MAX;
    CHECK_INT(hd_quota_marks(&limit, &used, 0), 3u << (2 * HD_QUOTA_RUNS_DAY));
}

TEST(days_and_months_are_those_of_utc) {
    const int64_t day = 86400000;
    CHECK_INT(hd_quota_day(20 * day - 1) + 1, hd_quota_day(20 * day));
    const int64_t feb29 = INT64_C(1709164800000), mar1 = INT64_C(1709251200000); // 2024
    CHECK_INT(hd_quota_month(feb29) + 1, hd_quota_month(mar1));
    CHECK_INT(hd_quota_month(mar1 - 1), hd_quota_month(feb29));
    const int64_t jan1 = INT64_C(1767225600000); // 2026
    CHECK_INT(hd_quota_month(jan1 - 1) + 1, hd_quota_month(jan1));
    CHECK_INT(hd_quota_month(jan1) + 12, hd_quota_month(jan1 + 365 * day));
}

TEST(amounts_for_people) {
    formats(HD_QUOTA_JOBS, 1, "1 concurrent job");
    formats(HD_QUOTA_CPU, 1500, "1.5 CPUs");
    formats(HD_QUOTA_MEMORY, INT64_C(3) << 29, "1.5 GiB of memory");
    formats(HD_QUOTA_RUNS_DAY, 20, "20 runs a day");
    formats(HD_QUOTA_MINUTES_MONTH, 2, "2 job minutes a month");
}

TEST_MAIN
