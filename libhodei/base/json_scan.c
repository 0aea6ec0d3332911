#include "base/json_scan.h"

#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/pb.h"

struct scan {
    const char *text;
    size_t len, at;
    unsigned depth;
    size_t values;
    struct hd_err *err;
};

void hd_json_err_at(const char *json, size_t at, struct hd_err *err) {
    unsigned line = 1, column = 1;
    for (size_t i = 0; i < at; i++) {
        column++;
        if (json[i] == '\n') {
            line++;
            column = 1;
        }
    }
    hd_err_at(err, line, column);
}

static enum hd_status refuse(const struct scan *scan, const char *what) {
    hd_err_set(scan->err, HD_INVALID, "not valid JSON: %s", what);
    hd_json_err_at(scan->text, scan->at, scan->err);
    return HD_INVALID;
}

static int peek(const struct scan *scan) {
    return scan->at < scan->len ? (unsigned char)scan->text[scan->at] : -1;
}

static bool digit(int c) {
    return c >= '0' && c <= '9';
}

static void skip_digits(struct scan *scan) {
    while (digit(peek(scan)))
        scan->at++;
}

// -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?, of a length that cJSON does not cut.
static enum hd_status scan_number(struct scan *scan) {
    size_t start = scan->at;
    if (peek(scan) == '-')
        scan->at++;
    if (!digit(peek(scan)))
        return refuse(scan, "a digit is expected after \"-\"");
    bool zero = peek(scan) == '0';
    scan->at++;
    if (zero && digit(peek(scan)))
        return refuse(scan, "a number begins with 0");
    skip_digits(scan);
    if (peek(scan) == '.') {
        scan->at++;
        if (!digit(peek(scan)))
            return refuse(scan, "a digit is expected after \".\"");
        skip_digits(scan);
    }
    if (peek(scan) == 'e' || peek(scan) == 'E') {
        scan->at++;
        if (peek(scan) == '+' || peek(scan) == '-')
            scan->at++;
        if (!digit(peek(scan)))
            return refuse(scan, "a digit is expected in the exponent");
        skip_digits(scan);
    }
    if (scan->at - start > 60)
        return refuse(scan, "a number is longer than 60 characters");
    return HD_OK;
}

static enum hd_status scan_escape(struct scan *scan) {
    scan->at++;
    int c = peek(scan);
    if (c != 'u') {
        if (c <= 0 || !strchr("\"\\/bfnrt", c))
            return refuse(scan, "\"\\\" begins no escape here");
        scan->at++;
        return HD_OK;
    }
    unsigned value = 0;
    for (int i = 1; i <= 4; i++) {
        int h = scan->at + i < scan->len ? (unsigned char)scan->text[scan->at + i] : -1;
        if (!digit(h) && !(h >= 'a' && h <= 'f') && !(h >= 'A' && h <= 'F'))
            return refuse(scan, "\"\\u\" needs four hexadecimal digits");
        value = value << 4 | (unsigned)(digit(h) ? h - '0' : (h | 0x20) - 'a' + 10);
    }
    if (value == 0)
        return refuse(scan, "\\u0000 is not allowed in a text");
    scan->at += 5;
    return HD_OK;
}

static enum hd_status scan_string(struct scan *scan) {
    size_t start = ++scan->at;
    for (;;) {
        int c = peek(scan);
        if (c < 0)
            return refuse(scan, "a text has no end");
        if (c == '"')
            break;
        if (c < 0x20)
            return refuse(scan, "a control character stands in a text: write it as an escape");
        if (c == '\\')
            HD_TRY(scan_escape(scan));
        else
            scan->at++;
    }
    if (!hd_utf8_valid(scan->text + start, scan->at - start))
        return refuse(scan, "a text is not UTF-8");
    scan->at++;
    return HD_OK;
}

static enum hd_status scan_word(struct scan *scan) {
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t n = strlen(words[i]);
        if (scan->len - scan->at >= n && memcmp(scan->text + scan->at, words[i], n) == 0) {
            scan->at += n;
            return HD_OK;
        }
    }
    return refuse(scan, scan->at ? "an unexpected character" : "a JSON object is expected");
}

static enum hd_status scan_token(struct scan *scan) {
    int c = peek(scan);
    switch (c) {
    case ' ':
    case '\t':
    case '\n':
    case '\r':
    case ',':
    case ':':
        scan->at++;
        return HD_OK;
    case '{':
    case '[':
        if (++scan->depth > HD_JSON_MAX_DEPTH)
            return refuse(scan, "it is nested more than 32 deep");
        break;
    case '}':
    case ']':
        if (scan->depth-- == 0)
            return refuse(scan, "a bracket closes nothing");
        scan->at++;
        return HD_OK;
    default:
        break;
    }
    if (++scan->values > HD_JSON_MAX_VALUES)
        return refuse(scan, "it has more than 200000 values");
    if (c == '{' || c == '[') {
        scan->at++;
        return HD_OK;
    }
    if (c == '"')
        return scan_string(scan);
    return c == '-' || digit(c) ? scan_number(scan) : scan_word(scan);
}

enum hd_status hd_json_scan(const char *json, size_t len, struct hd_err *err) {
    struct scan scan = {.text = json, .len = len, .err = err};
    while (scan.at < scan.len)
        HD_TRY(scan_token(&scan));
    if (scan.depth)
        return refuse(&scan, "a bracket is not closed");
    return HD_OK;
}
