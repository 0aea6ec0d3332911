#include "base/resources.h"

#include "tests/unit/test.h"

static int64_t cpu(const char *text) {
    int64_t milli = -1;
    return hd_cpu_parse(text, &milli) == HD_OK ? milli : -1;
}

static int64_t bytes(const char *text) {
    int64_t n = -1;
    return hd_bytes_parse(text, &n) == HD_OK ? n : -1;
}

static void formats(enum hd_resource resource, int64_t amount, const char *want) {
    HD_AUTO_BUF struct hd_buf out = {0};
    hd_resource_format(resource, amount, &out);
    CHECK_STR(out.data, want);
}

TEST(cpus_are_read_as_written) {
    CHECK_INT(cpu("2"), 2000);
    CHECK_INT(cpu("0.5"), 500);
    CHECK_INT(cpu("1.125"), 1125);
    CHECK_INT(cpu("500m"), 500);
    CHECK_INT(cpu("0"), 0);
    static const char *const wrong[] = {
        "", "-1", ".5", "1.", "1.2345", "1e3", "1 ", "2x", "0.5m", "9999999999999999999", "1.1.1"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        CHECK_INT(cpu(wrong[i]), -1);
}

TEST(bytes_need_a_unit) {
    CHECK_INT(bytes("512Mi"), INT64_C(512) << 20);
    CHECK_INT(bytes("1Gi"), INT64_C(1) << 30);
    CHECK_INT(bytes("2G"), 2000000000);
    CHECK_INT(bytes("1.5Gi"), INT64_C(3) << 29);
    CHECK_INT(bytes("3k"), 3000);
    CHECK_INT(bytes("1024Ti"), HD_RESOURCE_MAX);
    static const char *const wrong[] = {"",   "512", "1GB", "1 Gi", "-1Gi", "Gi", "1025Ti", "9223372036854775807Ti",
                                        "1gi"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        CHECK_INT(bytes(wrong[i]), -1);
}

TEST(amounts_are_said_for_people) {
    formats(HD_CPU_MILLI, 1000, "1 CPU");
    formats(HD_CPU_MILLI, 16000, "16 CPUs");
    formats(HD_CPU_MILLI, 250, "0.25 CPUs");
    formats(HD_CPU_MILLI, 0, "0 CPUs");
    formats(HD_MEMORY_BYTES, INT64_C(8) << 30, "8 GiB of memory");
    formats(HD_MEMORY_BYTES, INT64_C(3) << 29, "1.5 GiB of memory");
    formats(HD_DISK_BYTES, 512, "512 B of disk");
    formats(HD_GPU, 1, "1 GPU");
    formats(HD_GPU, 2, "2 GPUs");
}

TEST(sums_do_not_overflow) {
    Hodei__V1__Resources msg = HODEI__V1__RESOURCES__INIT;
    msg.cpu_milli = INT64_MAX;
    msg.memory_bytes = -5;
    msg.gpu = 3;
    struct hd_resources ask = hd_resources_read(&msg), sum = {{INT64_MAX - 1}};
    CHECK_INT(ask.of[HD_CPU_MILLI], HD_RESOURCE_MAX);
    CHECK_INT(ask.of[HD_MEMORY_BYTES], 0);
    CHECK(!hd_resources_none(&ask));
    hd_resources_add(&sum, &ask);
    CHECK_INT(sum.of[HD_CPU_MILLI], INT64_MAX);
    hd_resources_take(&sum, &(struct hd_resources){{INT64_MAX, 0, 0, 5}});
    CHECK(hd_resources_none(&sum));
}

TEST(what_is_short_is_named) {
    struct hd_resources capacity = {{4000, 100, 100, 1}}, used = {{1000, 50, 0, 0}};
    struct hd_resources left = hd_resources_left(&capacity, &used);
    CHECK_INT(hd_resources_short(&(struct hd_resources){{3000, 50, 100, 1}}, &left), HD_RESOURCES);
    CHECK_INT(hd_resources_short(&(struct hd_resources){{3001, 51, 0, 0}}, &left), HD_CPU_MILLI);
    CHECK_INT(hd_resources_short(&(struct hd_resources){{0, 51, 0, 0}}, &left), HD_MEMORY_BYTES);
    CHECK_INT(hd_resources_short(&(struct hd_resources){{0, 0, 0, 2}}, &left), HD_GPU);
}

TEST_MAIN
