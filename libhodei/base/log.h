// Log: one JSON object a line on standard error, with fixed keys (time, level, service, msg, tenant, run, job, worker, trace).
//
// Thread-safe (one write(2) a line). The level and the service's name are the only mutable globals of the library.
#ifndef HD_BASE_LOG_H
#define HD_BASE_LOG_H

#include "base/status.h"

enum hd_log_level { HD_LOG_DEBUG, HD_LOG_INFO, HD_LOG_WARN, HD_LOG_ERROR };

struct hd_log_fields {
    const char *tenant, *run, *job, *worker, *trace; // NULL: left out
};

void hd_log_setup(const char *service, enum hd_log_level level);
enum hd_status hd_log_level_parse(const char *text, enum hd_log_level *ret) HD_MUST_USE;
void hd_log(enum hd_log_level level, const struct hd_log_fields *fields, const char *fmt, ...) HD_PRINTF(3, 4);
#define hd_debug(...) hd_log(HD_LOG_DEBUG, NULL, __VA_ARGS__)
#define hd_info(...) hd_log(HD_LOG_INFO, NULL, __VA_ARGS__)
#define hd_warn(...) hd_log(HD_LOG_WARN, NULL, __VA_ARGS__)
#define hd_error(...) hd_log(HD_LOG_ERROR, NULL, __VA_ARGS__)

#endif
