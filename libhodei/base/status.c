#include "base/status.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

// CONFLICT is retried because whoever lost a race may win the next one. INTERNAL is a bug, and a bug repeats: it goes
// to the dead letters at once, so that everything behind it goes on.
static const struct hd_status_info table[HD_STATUS_COUNT] = {
    [HD_OK] = {"ok", "done", 200, 0, 0, HD_DELIVER_ACK, 0, 0},
    [HD_INVALID] = {"invalid", "the input is wrong", 400, 3, 2, HD_DELIVER_DEAD_LETTER, 0, 0},
    [HD_UNAUTHENTICATED] = {"unauthenticated", "no valid token", 401, 16, 3, HD_DELIVER_DEAD_LETTER, 0, 0},
    [HD_DENIED] = {"denied", "not allowed", 403, 7, 4, HD_DELIVER_DEAD_LETTER, 0, 0},
    [HD_MISSING] = {"missing", "no such thing", 404, 5, 5, HD_DELIVER_DEAD_LETTER, 0, 0},
    [HD_CONFLICT] = {"conflict", "it exists already, or another change was first", 409, 10, 6, HD_DELIVER_RETRY, 0, 50},
    [HD_PRECONDITION] = {"precondition", "not possible in this state", 412, 9, 7, HD_DELIVER_DEAD_LETTER, 0, 0},
    [HD_LIMITED] = {"limited", "a limit is reached", 429, 8, 8, HD_DELIVER_RETRY, 3, 1000},
    [HD_TIMEOUT] = {"timeout", "no answer in time", 504, 4, 9, HD_DELIVER_RETRY, 0, 500},
    [HD_UNAVAILABLE] = {"unavailable", "try again soon", 503, 14, 10, HD_DELIVER_RETRY, 5, 200},
    [HD_INTERNAL] = {"internal", "an error of the platform itself", 500, 13, 1, HD_DELIVER_DEAD_LETTER, 0, 0},
};

const struct hd_status_info *hd_status_info(enum hd_status status) {
    if ((int)status < 0 || status >= HD_STATUS_COUNT)
        status = HD_INTERNAL;
    return &table[status];
}

// Drops an incomplete UTF-8 sequence from the end of a text that was cut.
static void cut_at_border(char *text, size_t len) {
    size_t start = len;
    while (start > 0 && len - start < 4 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (lead >= 0xC0 && len - start + 1 < want)
        text[start - 1] = '\0';
}

// What callers quote may be cut within a character (%.80s) or be no text at all; an error must always fit into JSON.
static void scrub(char *text) {
    size_t left = strlen(text);
    if (hd_utf8_valid(text, left))
        return;
    while (left) {
        size_t n = 1;
        while (n < 4 && n < left && !hd_utf8_valid(text, n))
            n++;
        if (!hd_utf8_valid(text, n)) {
            *text = '?';
            n = 1;
        }
        text += n;
        left -= n;
    }
}

static void format_text(char *dst, size_t size, const char *fmt, va_list ap) {
    int n = vsnprintf(dst, size, fmt, ap);
    if (n < 0)
        dst[0] = '\0';
    else if ((size_t)n >= size)
        cut_at_border(dst, size - 1);
    scrub(dst);
}

enum hd_status hd_err_setv(struct hd_err *err, enum hd_status status, const char *fmt, va_list ap) {
    if (!err)
        return status;
    // The arguments may lie in the error that is written, so format first.
    char text[sizeof(err->text)];
    format_text(text, sizeof(text), fmt, ap);
    hd_err_clear(err);
    err->status = status;
    memcpy(err->text, text, sizeof(text));
    return status;
}

enum hd_status hd_err_set(struct hd_err *err, enum hd_status status, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    hd_err_setv(err, status, fmt, ap);
    va_end(ap);
    return status;
}

void hd_err_field(struct hd_err *err, const char *fmt, ...) {
    if (!err)
        return;
    char field[sizeof(err->field)];
    va_list ap;
    va_start(ap, fmt);
    format_text(field, sizeof(field), fmt, ap);
    va_end(ap);
    memcpy(err->field, field, sizeof(field));
}

void hd_err_hint(struct hd_err *err, const char *fmt, ...) {
    if (!err)
        return;
    char hint[sizeof(err->hint)];
    va_list ap;
    va_start(ap, fmt);
    format_text(hint, sizeof(hint), fmt, ap);
    va_end(ap);
    memcpy(err->hint, hint, sizeof(hint));
}

void hd_err_at(struct hd_err *err, unsigned line, unsigned column) {
    if (!err)
        return;
    err->line = line;
    err->column = column;
}

void hd_err_retry_after(struct hd_err *err, int64_t wait_ms) {
    if (err)
        err->retry_after_s = wait_ms > 1000 ? (wait_ms - 1) / 1000 + 1 : 1;
}

enum hd_status hd_err_wrap(struct hd_err *err, const char *fmt, ...) {
    if (!err)
        return HD_INTERNAL;
    char context[sizeof(err->text)];
    va_list ap;
    va_start(ap, fmt);
    format_text(context, sizeof(context), fmt, ap);
    va_end(ap);
    char text[sizeof(err->text)];
    int n = snprintf(text, sizeof(text), "%s: %s", context, err->text);
    if (n >= (int)sizeof(text))
        cut_at_border(text, sizeof(text) - 1);
    memcpy(err->text, text, (size_t)(n < (int)sizeof(text) ? n + 1 : (int)sizeof(text)));
    return err->status;
}

void hd_err_clear(struct hd_err *err) {
    if (err)
        memset(err, 0, sizeof(*err));
}
