// Values of the expression language, which are those of JSON. Pure; everything lives in an arena, and a value that is made is not
// changed again, so values share their parts.
//
// Numbers are doubles, as in JSON for most readers; whole ones up to 2^53 print without a point. Texts hold no NUL and are UTF-8.
#ifndef HD_BASE_VALUE_H
#define HD_BASE_VALUE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"

enum hd_kind {
    HD_NULL,
    HD_BOOL,
    HD_NUMBER,
    HD_STRING,
    HD_LIST,
    HD_MAP,
    HD_ANY
}; // HD_ANY: of types only, not known yet

struct hd_value {
    enum hd_kind kind;
    bool truth;
    double number;
    const char *text; // HD_STRING
    size_t n;         // items, members, or bytes of the text
    const struct hd_value **items;
    const char **names; // HD_MAP: of the items
};

const char *hd_kind_name(enum hd_kind kind); // "a text", "a number", …
extern const struct hd_value hd_value_null;
const struct hd_value *hd_value_bool(struct hd_arena *arena, bool truth);
const struct hd_value *hd_value_number(struct hd_arena *arena, double number);
const struct hd_value *hd_value_string(struct hd_arena *arena, const char *text, size_t len); // borrows the text
const struct hd_value *hd_value_text(struct hd_arena *arena, const char *text);               // borrows the text
// Growing ones, for whoever makes a list or a map: items may be added until it is handed out.
struct hd_value *hd_value_new(struct hd_arena *arena, enum hd_kind kind, size_t room);
void hd_value_add(struct hd_value *list, const struct hd_value *item);                   // room must be left
void hd_value_set(struct hd_value *map, const char *name, const struct hd_value *value); // room must be left
// A member of a map; NULL where there is none, or where it is no map.
const struct hd_value *hd_value_get(const struct hd_value *map, const char *name);
bool hd_value_equal(const struct hd_value *a, const struct hd_value *b); // depth is bounded by the reader of JSON

// HD_INVALID with line and column. Depth and number of values are bounded as for requests.
enum hd_status hd_value_read(struct hd_arena *arena, const char *json, size_t len, struct hd_err *err,
                             const struct hd_value **ret) HD_MUST_USE;
void hd_value_write(struct hd_buf *out, const struct hd_value *value); // JSON, in one line
// As it stands in a text: a text as it is, null as nothing, lists and maps as JSON.
void hd_value_print(struct hd_buf *out, const struct hd_value *value);

#endif
