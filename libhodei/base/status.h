// Kinds of result, and the error that goes with one.
//
// Fallible functions return enum hd_status; the kind tells the caller what to do. The text is written once, where the
// failure is known, into a struct hd_err that the caller owns; there is nothing to free. Code that returns an error does
// not log it.
#ifndef HD_BASE_STATUS_H
#define HD_BASE_STATUS_H

#include <stdarg.h>
#include <stdint.h>

#define HD_MUST_USE __attribute__((warn_unused_result))
#define HD_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

// The values are those of hodei.v1.Status.
enum hd_status {
    HD_OK = 0,
    HD_INVALID,
    HD_UNAUTHENTICATED,
    HD_DENIED,
    HD_MISSING,
    HD_CONFLICT,
    HD_PRECONDITION,
    HD_LIMITED,
    HD_TIMEOUT,
    HD_UNAVAILABLE,
    HD_INTERNAL,
    HD_STATUS_COUNT
};

// What the dispatcher does with a message whose handler failed.
enum hd_delivery {
    HD_DELIVER_ACK,        // done with it
    HD_DELIVER_RETRY,      // ask for it again after a delay
    HD_DELIVER_DEAD_LETTER // its content is wrong: keep it in the dead-letter table
};

struct hd_status_info {
    const char *name;          // lower case, as in the API
    const char *title;         // a few words for people
    int http;                  // HTTP status
    int grpc;                  // gRPC code
    int exit_code;             // of the CLI
    enum hd_delivery delivery; // of a stream message
    int retries;               // attempts worth making again by a caller
    int64_t retry_delay_ms;    // before the first of them; doubles, with full jitter
};

// The one table; an unknown status gets the row of HD_INTERNAL.
const struct hd_status_info *hd_status_info(enum hd_status status);

struct hd_err {
    enum hd_status status;
    char text[400];  // one sentence, no secrets
    char field[160]; // the place in the input, empty where there is none
    char hint[200];  // what to do, empty where it is plain
    unsigned line;   // 1-based, 0 where there is none
    unsigned column;
    int64_t retry_after_s; // when it may be worth trying again, 0 where nobody knows
};

// Each writes *err (which may be NULL) and returns `status`. Long texts are cut at a UTF-8 border.
enum hd_status hd_err_set(struct hd_err *err, enum hd_status status, const char *fmt, ...) HD_PRINTF(3, 4);
enum hd_status hd_err_setv(struct hd_err *err, enum hd_status status, const char *fmt, va_list ap);
// These add to an error that is set already.
void hd_err_field(struct hd_err *err, const char *fmt, ...) HD_PRINTF(2, 3);
void hd_err_hint(struct hd_err *err, const char *fmt, ...) HD_PRINTF(2, 3);
void hd_err_at(struct hd_err *err, unsigned line, unsigned column);
void hd_err_retry_after(struct hd_err *err, int64_t wait_ms); // rounded up to seconds, at least one
// Puts context in front of the text: "context: text".
enum hd_status hd_err_wrap(struct hd_err *err, const char *fmt, ...) HD_PRINTF(2, 3);
void hd_err_clear(struct hd_err *err);

#define HD_TRY(expr)                                                                                                   \
    do {                                                                                                               \
        enum hd_status hd_try_ = (expr);                                                                               \
        if (hd_try_ != HD_OK)                                                                                          \
            return hd_try_;                                                                                            \
    } while (0)

#endif
