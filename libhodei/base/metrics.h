// Metrics in the Prometheus text format. Counters stand as static tables beside what they count; values are atomics, so
// any thread may add and the /metrics thread may read.
#ifndef HD_BASE_METRICS_H
#define HD_BASE_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"

enum hd_metric_type { HD_COUNTER, HD_GAUGE };
struct hd_metric {
    const char *name;   // hodei_<service>_<what>_<unit>[_total]
    const char *labels; // fixed, for example "kind=\"rpc\"", or NULL; bounded by being written in the source
    const char *help;
    enum hd_metric_type type;
    _Atomic int64_t value;
};
static inline void hd_metric_add(struct hd_metric *metric, int64_t n) {
    atomic_fetch_add_explicit(&metric->value, n, memory_order_relaxed);
}
static inline void hd_metric_set(struct hd_metric *metric, int64_t n) {
    atomic_store_explicit(&metric->value, n, memory_order_relaxed);
}
// Rows of one name stand together; HELP and TYPE are written once a name.
void hd_metrics_format(const struct hd_metric *metrics, size_t n, struct hd_buf *out);

#endif
