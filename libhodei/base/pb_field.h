// How protobuf-c lays out fields; private to pb_*.c. Bools are ints, lists are a count and an array, presence lies in a
// has-flag, a oneof's case, or nowhere (proto3), and an empty string may be a shared default that must not be changed.
#ifndef HD_BASE_PB_FIELD_H
#define HD_BASE_PB_FIELD_H

#include "base/pb.h"

// Numbers that a double, and with it every JSON reader, holds exactly.
#define HD_JSON_MAX_INT ((INT64_C(1) << 53) - 1)

static inline void *hd_pb_at(const ProtobufCMessage *msg, unsigned offset) {
    return (char *)(uintptr_t)msg + offset;
}

size_t hd_pb_scalar_size(ProtobufCType type); // of one element
// Whether a field that is not a list is there and not at its default.
bool hd_pb_present(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field);
// Writes presence (has-flag or oneof case) after a field's value was written.
void hd_pb_mark(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field);

// The JSON name of an enum value: lower case, without the type's prefix.
size_t hd_pb_enum_text(const ProtobufCEnumDescriptor *desc, const char *value_name, char *ret, size_t size);
// The number of a JSON name. HD_INVALID with the nearest name, or all of them, as the hint.
enum hd_status hd_pb_enum_parse(const ProtobufCEnumDescriptor *desc, const char *text, struct hd_err *err, int *ret);

// Lets the arena's budget grow by what input of this size may need; returns the value to put back.
size_t hd_pb_budget_enter(struct hd_arena *arena, size_t input_bytes);

void hd_base64_add(struct hd_buf *out, const uint8_t *data, size_t len);
// Standard or URL alphabet, padding may be missing. `ret` has room for len / 4 * 3 + 3 bytes.
enum hd_status hd_base64_decode(const char *text, size_t len, uint8_t *ret, size_t *ret_len) HD_MUST_USE;

#endif
