#include "base/metrics.h"

#include <inttypes.h>

void hd_metrics_format(const struct hd_metric *metrics, size_t n, struct hd_buf *out) {
    for (size_t i = 0; i < n; i++) {
        const struct hd_metric *m = &metrics[i];
        if (i == 0 || !hd_streq(m->name, metrics[i - 1].name)) {
            hd_buf_addf(out, "# HELP %s ", m->name);
            for (const char *p = m->help ? m->help : ""; *p; p++) {
                if (*p == '\n')
                    hd_buf_adds(out, "\\n");
                else if (*p == '\\')
                    hd_buf_adds(out, "\\\\");
                else
                    hd_buf_addc(out, *p);
            }
            hd_buf_addf(out, "\n# TYPE %s %s\n", m->name, m->type == HD_COUNTER ? "counter" : "gauge");
        }
        int64_t value = atomic_load_explicit(&m->value, memory_order_relaxed);
        hd_buf_adds(out, m->name);
        if (m->labels && *m->labels)
            hd_buf_addf(out, "{%s}", m->labels);
        hd_buf_addf(out, " %" PRId64 "\n", value);
    }
}
