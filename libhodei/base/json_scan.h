// A strict pass over JSON text before cJSON parses it; private to libhodei/base.
//
// cJSON 1.7.15 takes more than RFC 8259 allows (control characters, "01", "1.", bytes that are not UTF-8) and cuts texts at
// \u0000. This pass holds the text to the grammar of tokens and bounds depth and number of values; the structure is left
// to cJSON.
#ifndef HD_BASE_JSON_SCAN_H
#define HD_BASE_JSON_SCAN_H

#include <stddef.h>

#include "base/status.h"

#define HD_JSON_MAX_VALUES 200000

enum hd_status hd_json_scan(const char *json, size_t len, struct hd_err *err) HD_MUST_USE;
// Says at which line and column the byte `at` is. Columns count bytes.
void hd_json_err_at(const char *json, size_t at, struct hd_err *err);

#endif
