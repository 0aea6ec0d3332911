// Protobuf: guarded unpack, pack, and the one walker between messages and JSON.
//
// Every unpack goes through hd_pb_unpack: a pre-pass over the wire bytes checks depth (64), UTF-8, no NUL in strings, and
// the allocator is budgeted (protobuf-c 1.4.1 checks none of these). The message lives in the arena; nobody frees it.
//
// JSON: names are the proto names, exactly; enum values are lower case without the type's prefix (JOB_STATE_READY is
// "ready"); bytes are base64; integers of 2^53 and above are strings, and are taken from strings only. Unknown keys,
// duplicate keys, wrong types, "\u0000", numbers out of range and nesting above 32 are refused, naming the place. Fields at
// their default are left out, except that repeated fields are written as [] when `all` is asked for.
#ifndef HD_BASE_PB_H
#define HD_BASE_PB_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/buf.h"

#define HD_PB_MAX_BYTES (4u << 20)
#define HD_PB_TEXTS_MAX 100 // values of a list that is given as text
#define HD_PB_MAX_DEPTH 64
#define HD_JSON_MAX_DEPTH 32

enum hd_status hd_pb_unpack(struct hd_arena *arena, const ProtobufCMessageDescriptor *desc, const void *data,
                            size_t len, struct hd_err *err, ProtobufCMessage **ret) HD_MUST_USE;
// A new message with all fields at their defaults.
ProtobufCMessage *hd_pb_new(struct hd_arena *arena, const ProtobufCMessageDescriptor *desc);
// Packs into the arena.
void hd_pb_pack(struct hd_arena *arena, const ProtobufCMessage *msg, uint8_t **ret, size_t *ret_len);

enum hd_status hd_json_to_pb(struct hd_arena *arena, const ProtobufCMessageDescriptor *desc, const char *json,
                             size_t len, struct hd_err *err, ProtobufCMessage **ret) HD_MUST_USE;
void hd_pb_to_json(const ProtobufCMessage *msg, struct hd_buf *out);
void hd_pb_to_json_all(const ProtobufCMessage *msg, struct hd_buf *out); // with [] for lists that are empty
// Sets one scalar field by name from text (a path or query parameter). HD_MISSING: no such field; HD_INVALID: wrong value.
enum hd_status hd_pb_set_text(struct hd_arena *arena, ProtobufCMessage *msg, const char *field, const char *text,
                              struct hd_err *err) HD_MUST_USE;
// "ready" for JOB_STATE_READY, by the rule above; "unknown" for a number without a name. Into the arena.
const char *hd_pb_enum_name(struct hd_arena *arena, const ProtobufCEnumDescriptor *desc, int value);
// Writes text as a JSON string with quotes; invalid UTF-8 becomes U+FFFD.
void hd_json_add_string(struct hd_buf *out, const char *text, size_t len);

#endif
