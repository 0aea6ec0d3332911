#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct hd_str hd_str(const char *text) {
    return (struct hd_str){text ? text : "", text ? strlen(text) : 0};
}

bool hd_str_eq(struct hd_str a, const char *b) {
    struct hd_str other = hd_str(b);
    return a.len == other.len && (a.len == 0 || memcmp(a.ptr, other.ptr, a.len) == 0);
}

bool hd_streq(const char *a, const char *b) {
    return strcmp(a ? a : "", b ? b : "") == 0;
}

bool hd_starts_with(const char *text, const char *prefix) {
    return strncmp(text ? text : "", prefix, strlen(prefix)) == 0;
}

size_t hd_strlcpy(char *dst, const char *src, size_t size) {
    size_t len = strlen(src);
    if (size) {
        size_t n = len < size ? len : size - 1;
        memcpy(dst, src, n);
        dst[n] = '\0';
    }
    return len;
}

enum hd_status hd_parse_i64(const char *text, int64_t *ret) {
    if (!text)
        return HD_INVALID;
    bool negative = *text == '-';
    const char *p = text + negative;
    if (!*p)
        return HD_INVALID;
    int64_t value = 0;
    for (; *p; p++) {
        if (*p < '0' || *p > '9')
            return HD_INVALID;
        int digit = *p - '0';
        // Built up on the negative side, whose range is the larger one.
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_sub_overflow(value, digit, &value))
            return HD_INVALID;
    }
    if (!negative && __builtin_sub_overflow(0, value, &value))
        return HD_INVALID;
    *ret = value;
    return HD_OK;
}

// The length of the sequence at p, 0 where it is not valid (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF).
static size_t sequence(const unsigned char *p, size_t len) {
    unsigned char lead = p[0];
    if (lead < 0x80)
        return 1;
    size_t n = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || len < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    if ((lead == 0xE0 && p[1] < 0xA0) || (lead == 0xED && p[1] > 0x9F) || (lead == 0xF0 && p[1] < 0x90) ||
        (lead == 0xF4 && p[1] > 0x8F))
        return 0;
    return n;
}

bool hd_utf8_valid(const void *data, size_t len) {
    const unsigned char *p = data;
    while (len) {
        size_t n = sequence(p, len);
        if (!n)
            return false;
        p += n;
        len -= n;
    }
    return true;
}

#define EDIT_MAX 64

unsigned hd_edit_distance(const char *a, const char *b, unsigned max) {
    size_t la = strlen(a), lb = strlen(b);
    if (la > EDIT_MAX || lb > EDIT_MAX || (la > lb ? la - lb : lb - la) > max)
        return max + 1;
    // Damerau-Levenshtein with adjacent swaps: three rows are enough.
    unsigned rows[3][EDIT_MAX + 1];
    unsigned *before = rows[0], *last = rows[1], *row = rows[2];
    memset(rows, 0, sizeof(rows));
    for (size_t j = 0; j <= lb; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        unsigned *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[lb] <= max ? last[lb] : max + 1;
}

void hd_buf_release(struct hd_buf *buf) {
    free(buf->data);
    *buf = (struct hd_buf){0};
}

void hd_buf_clear(struct hd_buf *buf) {
    buf->len = 0;
    if (buf->data)
        buf->data[0] = '\0';
}

void hd_buf_reserve(struct hd_buf *buf, size_t extra) {
    size_t need;
    if (__builtin_add_overflow(buf->len, extra, &need) || __builtin_add_overflow(need, 1, &need))
        abort();
    if (need <= buf->cap)
        return;
    size_t cap = buf->cap ? buf->cap : 64;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    char *data = realloc(buf->data, cap);
    if (!data) {
        fprintf(stderr, "out of memory: %zu bytes\n", cap);
        abort();
    }
    buf->data = data;
    buf->cap = cap;
    buf->data[buf->len] = '\0';
}

void hd_buf_add(struct hd_buf *buf, const void *data, size_t len) {
    hd_buf_reserve(buf, len);
    if (len)
        memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void hd_buf_adds(struct hd_buf *buf, const char *text) {
    if (text)
        hd_buf_add(buf, text, strlen(text));
}

void hd_buf_addc(struct hd_buf *buf, char c) {
    hd_buf_add(buf, &c, 1);
}

void hd_buf_addf(struct hd_buf *buf, const char *fmt, ...) {
    hd_buf_reserve(buf, 64);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf->data + buf->len, buf->cap - buf->len, fmt, ap);
    va_end(ap);
    if (n < 0) {
        buf->data[buf->len] = '\0';
        return;
    }
    if ((size_t)n >= buf->cap - buf->len) {
        hd_buf_reserve(buf, (size_t)n);
        va_start(ap, fmt);
        vsnprintf(buf->data + buf->len, buf->cap - buf->len, fmt, ap);
        va_end(ap);
    }
    buf->len += (size_t)n;
}

void hd_buf_consume(struct hd_buf *buf, size_t len) {
    if (len >= buf->len) {
        hd_buf_clear(buf);
        return;
    }
    if (!len)
        return;
    buf->len -= len;
    memmove(buf->data, buf->data + len, buf->len + 1);
}

char *hd_buf_steal(struct hd_buf *buf) {
    hd_buf_reserve(buf, 0);
    char *data = buf->data;
    *buf = (struct hd_buf){0};
    return data;
}

void hd_buf_add_hex(struct hd_buf *buf, const void *data, size_t len) {
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = data;
    if (len > SIZE_MAX / 2)
        abort();
    hd_buf_reserve(buf, len * 2);
    for (size_t i = 0; i < len; i++) {
        buf->data[buf->len++] = digits[p[i] >> 4];
        buf->data[buf->len++] = digits[p[i] & 15];
    }
    buf->data[buf->len] = '\0';
}

void hd_free_ptr(void *ptr_to_ptr) {
    void *ptr;
    memcpy(&ptr, ptr_to_ptr, sizeof(ptr));
    free(ptr);
}

void hd_close_fd(int *fd) {
    if (*fd < 0)
        return;
    int saved = errno; // cleanup must not hide the error that is being returned
    close(*fd);
    errno = saved;
    *fd = -1;
}
