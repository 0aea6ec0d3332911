#include "base/metrics.h"
#include "tests/unit/test.h"

TEST(format) {
    static struct hd_metric metrics[] = {
        {"hodei_x_requests_total", "kind=\"rpc\"", "Requests\nby kind", HD_COUNTER, 0},
        {"hodei_x_requests_total", "kind=\"feed\"", "Requests by kind", HD_COUNTER, 0},
        {"hodei_x_queue_items", NULL, "Waiting", HD_GAUGE, 0},
    };
    hd_metric_add(&metrics[0], 2);
    hd_metric_add(&metrics[0], 3);
    hd_metric_set(&metrics[2], -7);
    HD_AUTO_BUF struct hd_buf out = {0};
    hd_metrics_format(metrics, 3, &out);
    CHECK_STR(out.data, "# HELP hodei_x_requests_total Requests\\nby kind\n"
                        "# TYPE hodei_x_requests_total counter\n"
                        "hodei_x_requests_total{kind=\"rpc\"} 5\n"
                        "hodei_x_requests_total{kind=\"feed\"} 0\n"
                        "# HELP hodei_x_queue_items Waiting\n"
                        "# TYPE hodei_x_queue_items gauge\n"
                        "hodei_x_queue_items -7\n");
}

TEST_MAIN
