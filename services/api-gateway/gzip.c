#include "services/api-gateway/gzip.h"

#include <string.h>
#include <strings.h>
#include <zlib.h>

#define WINDOW (15 + 16) // the largest, in gzip's format
#define MEMORY 8         // zlib's own default
#define BLOCK (64u << 10)

static size_t trimmed(const char *from, size_t len) {
    while (len && (from[len - 1] == ' ' || from[len - 1] == '\t'))
        len--;
    return len;
}

// "q=0", "q=0.0": not at all. What is no weight counts as one.
static bool refused(const char *params, size_t len) {
    for (const char *p = params; p < params + len; p++) {
        if (*p != 'q' && *p != 'Q')
            continue;
        for (p++; p < params + len && (*p == ' ' || *p == '='); p++)
            ;
        return p < params + len && strspn(p, "0.") >= trimmed(p, (size_t)(params + len - p));
    }
    return false;
}

bool gzip_accepted(const char *header) {
    bool any = false;
    for (const char *p = header ? header : ""; *p;) {
        p += strspn(p, " \t,");
        size_t len = strcspn(p, ","), name = strcspn(p, ",;");
        size_t name_len = trimmed(p, name);
        bool no = name < len && refused(p + name, len - name);
        if (name_len == 4 && strncasecmp(p, "gzip", 4) == 0)
            return !no;
        if (name_len == 1 && *p == '*')
            any = !no;
        p += len;
    }
    return any;
}

enum hd_status gzip_add(struct hd_buf *out, const void *data, size_t len) {
    z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)len};
    if (len > UINT32_MAX || deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, WINDOW, MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
        return HD_INTERNAL;
    int status;
    do {
        hd_buf_reserve(out, BLOCK);
        z.next_out = (Bytef *)out->data + out->len;
        z.avail_out = BLOCK;
        status = deflate(&z, Z_FINISH);
        out->len += BLOCK - z.avail_out;
    } while (status == Z_OK || status == Z_BUF_ERROR);
    deflateEnd(&z);
    return status == Z_STREAM_END ? HD_OK : HD_INTERNAL;
}
