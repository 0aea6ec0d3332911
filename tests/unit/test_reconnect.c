// How long whoever was cut off waits before it tries again.
#include "adapter/bus.h"
#include "tests/unit/test.h"

TEST(pauses_double_up_to_the_longest) {
    static const int64_t want[] = {100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000};
    for (int i = 0; i < (int)(sizeof(want) / sizeof(want[0])); i++)
        CHECK_INT(hd_bus_reconnect_ms(i + 1, 10000), want[i]);
    CHECK_INT(hd_bus_reconnect_ms(0, 10000), 100);
    CHECK_INT(hd_bus_reconnect_ms(INT32_MAX, 3600000), 3600000); // after hours too
    CHECK_INT(hd_bus_reconnect_ms(3, 50), 50);
}

TEST_MAIN
