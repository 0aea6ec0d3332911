// Answers in gzip (RFC 1952), for those who take it.
#ifndef HD_GATEWAY_GZIP_H
#define HD_GATEWAY_GZIP_H

#include "base/buf.h"

#define GZIP_MIN_BYTES 1024 // a smaller answer fits a packet or two as it is

// Of the header Accept-Encoding (RFC 9110, 12.5.3); NULL: there is none, and gzip is not taken.
bool gzip_accepted(const char *header);
// Adds the compressed form. HD_INTERNAL where zlib has no memory; `out` may then hold a part.
enum hd_status gzip_add(struct hd_buf *out, const void *data, size_t len) HD_MUST_USE;

#endif
