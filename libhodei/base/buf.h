// Strings and byte buffers.
//
// A borrowed string is const char * or struct hd_str; struct hd_buf builds one on the heap and is always terminated by a
// NUL that does not count. hd_buf_release frees; hd_buf_steal hands the bytes over (free them with free()).
#ifndef HD_BASE_BUF_H
#define HD_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct hd_str {
    const char *ptr;
    size_t len;
};
#define HD_STR(literal) ((struct hd_str){(literal), sizeof(literal) - 1})
struct hd_str hd_str(const char *text); // NULL is empty
bool hd_str_eq(struct hd_str a, const char *b);
bool hd_streq(const char *a, const char *b); // NULL equals ""
bool hd_starts_with(const char *text, const char *prefix);
size_t hd_strlcpy(char *dst, const char *src, size_t size);              // returns strlen(src); always terminates
enum hd_status hd_parse_i64(const char *text, int64_t *ret) HD_MUST_USE; // whole text, base 10
bool hd_utf8_valid(const void *data, size_t len);
// Edit distance, for "did you mean"; at most `max`, else max + 1. Texts above 64 bytes count as far.
unsigned hd_edit_distance(const char *a, const char *b, unsigned max);

struct hd_buf {
    char *data; // NULL only while empty and never grown
    size_t len;
    size_t cap;
};
void hd_buf_release(struct hd_buf *buf);
void hd_buf_clear(struct hd_buf *buf);
void hd_buf_reserve(struct hd_buf *buf, size_t extra);
void hd_buf_add(struct hd_buf *buf, const void *data, size_t len);
void hd_buf_adds(struct hd_buf *buf, const char *text);
void hd_buf_addc(struct hd_buf *buf, char c);
void hd_buf_addf(struct hd_buf *buf, const char *fmt, ...) HD_PRINTF(2, 3);
void hd_buf_consume(struct hd_buf *buf, size_t len); // drops from the front
char *hd_buf_steal(struct hd_buf *buf);              // never NULL
void hd_buf_add_hex(struct hd_buf *buf, const void *data, size_t len);

// Cleanup attributes.
void hd_free_ptr(void *ptr_to_ptr);
void hd_close_fd(int *fd);
#define HD_AUTO_FREE __attribute__((cleanup(hd_free_ptr)))
#define HD_AUTO_BUF __attribute__((cleanup(hd_buf_release)))
#define HD_AUTO_FD __attribute__((cleanup(hd_close_fd)))
#define HD_STEAL(ptr)                                                                                                  \
    ({                                                                                                                 \
        __typeof__(ptr) hd_steal_ = (ptr);                                                                             \
        (ptr) = NULL;                                                                                                  \
        hd_steal_;                                                                                                     \
    })

#endif
