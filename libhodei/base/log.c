#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"

#define LINE_MAX_BYTES 4096 // what a pipe takes in one piece
#define CUT_MARK "\xE2\x80\xA6"
#define TEXT_MAX_BYTES 3000 // of the message, before escaping

static struct {
    char service[64];
    enum hd_log_level level;
} setup = {"hodei", HD_LOG_INFO};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void hd_log_setup(const char *service, enum hd_log_level level) {
    hd_strlcpy(setup.service, service, sizeof(setup.service));
    setup.level = level;
}

enum hd_status hd_log_level_parse(const char *text, enum hd_log_level *ret) {
    for (int i = HD_LOG_DEBUG; i <= HD_LOG_ERROR; i++) {
        if (hd_streq(text, level_names[i])) {
            *ret = (enum hd_log_level)i;
            return HD_OK;
        }
    }
    return HD_INVALID;
}

// One line on the stack. Room for the closing "}\n" is always kept.
struct line {
    char data[LINE_MAX_BYTES];
    size_t len;
};

static void put(struct line *line, const char *data, size_t len) {
    memcpy(line->data + line->len, data, len);
    line->len += len;
}

// The bytes of one character at p as they stand in a JSON string; ret has room for 8.
static size_t escape(const char *p, size_t len, char ret[8], size_t *ret_used) {
    unsigned char c = (unsigned char)*p;
    *ret_used = 1;
    if (c == '"' || c == '\\' || c == '\n' || c == '\t') {
        ret[0] = '\\';
        ret[1] = c == '\n' ? 'n' : c == '\t' ? 't' : (char)c;
        return 2;
    }
    if (c < 0x20 || c == 0x7F)
        return (size_t)snprintf(ret, 8, "\\u%04x", c);
    if (c < 0x80) {
        ret[0] = (char)c;
        return 1;
    }
    for (size_t n = 2; n <= 4 && n <= len; n++) {
        if (hd_utf8_valid(p, n)) {
            memcpy(ret, p, n);
            *ret_used = n;
            return n;
        }
    }
    memcpy(ret, "\xEF\xBF\xBD", 3);
    return 3;
}

static void put_field(struct line *line, const char *key, const char *value, size_t reserve) {
    size_t limit = LINE_MAX_BYTES - reserve;
    size_t key_len = strlen(key);
    if (line->len + key_len + 8 > limit)
        return;
    put(line, line->len == 1 ? "\"" : ",\"", line->len == 1 ? 1 : 2);
    put(line, key, key_len);
    put(line, "\":\"", 3);
    for (size_t left = strlen(value); left;) {
        char piece[8];
        size_t used, n = escape(value, left, piece, &used);
        if (line->len + n + 4 > limit) { // 4: the mark of a cut and the quote
            put(line, CUT_MARK, 3);
            break;
        }
        put(line, piece, n);
        value += used;
        left -= used;
    }
    put(line, "\"", 1);
}

// Ends a text that fills its room with an ellipsis, at the border of a character.
static void mark_cut(char *text, size_t size) {
    size_t at = size - 4;
    while (at > 0 && ((unsigned char)text[at] & 0xC0) == 0x80)
        at--;
    memcpy(text + at, CUT_MARK, sizeof(CUT_MARK));
}

// Waits for room rather than lose a line, should standard error not block. Gives up only where the other end is gone.
static void write_line(const char *data, size_t len) {
    int saved = errno; // a log line between a failure and the use of its errno must not change it
    while (len) {
        ssize_t n = write(STDERR_FILENO, data, len);
        if (n >= 0) {
            data += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd fd = {STDERR_FILENO, POLLOUT, 0};
            poll(&fd, 1, -1);
        } else if (errno != EINTR) {
            break;
        }
    }
    errno = saved;
}

void hd_log(enum hd_log_level level, const struct hd_log_fields *fields, const char *fmt, ...) {
    if (level < setup.level)
        return;
    char text[TEXT_MAX_BYTES], time_text[40];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n < 0)
        text[0] = '\0';
    else if ((size_t)n >= sizeof(text))
        mark_cut(text, sizeof(text));
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    struct tm tm;
    gmtime_r(&ts.tv_sec, &tm);
    size_t used = strftime(time_text, sizeof(time_text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(time_text + used, sizeof(time_text) - used, ".%03ldZ", ts.tv_nsec / 1000000);

    struct line line = {.data = "{", .len = 1};
    put_field(&line, "time", time_text, 2);
    put_field(&line, "level", level_names[level], 2);
    put_field(&line, "service", setup.service, 2);
    put_field(&line, "msg", text, 600); // leaves room for the fields behind it
    const char *keys[] = {"tenant", "run", "job", "worker", "trace"};
    const char *values[] = {fields ? fields->tenant : NULL, fields ? fields->run : NULL, fields ? fields->job : NULL,
                            fields ? fields->worker : NULL, fields ? fields->trace : NULL};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (values[i])
            put_field(&line, keys[i], values[i], 2);
    put(&line, "}\n", 2);
    write_line(line.data, line.len);
}
