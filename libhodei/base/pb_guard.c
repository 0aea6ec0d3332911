// Guarded unpack: what protobuf-c 1.4.1 does not check is checked on the wire bytes first.
#include "base/pb.h"

#include <string.h>

#include "base/pb_field.h"

// Structures may be larger than their wire bytes (a list of small messages about 13 times); beyond this it is an attack.
#define BUDGET_BASE (64u << 10)
#define BUDGET_FACTOR 32
#define BUDGET_MAX (64u << 20)

#define MAX_FIELD_NUMBER ((1u << 29) - 1)

struct wire {
    const uint8_t *p, *end;
    struct hd_err *err;
};

static enum hd_status broken(const struct wire *wire, const char *what) {
    return hd_err_set(wire->err, HD_INVALID, "message is not valid protobuf: %s", what);
}

static enum hd_status read_varint(struct wire *wire, uint64_t *ret) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (wire->p == wire->end)
            return broken(wire, "it ends within a number");
        uint8_t byte = *wire->p++;
        if (shift < 64)
            value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) {
            *ret = value;
            return HD_OK;
        }
    }
    return broken(wire, "a number is longer than 10 bytes");
}

static enum hd_status skip(struct wire *wire, uint64_t n) {
    if (n > (uint64_t)(wire->end - wire->p))
        return broken(wire, "it ends within a field");
    wire->p += n;
    return HD_OK;
}

static enum hd_status check_message(struct wire *wire, const ProtobufCMessageDescriptor *desc, unsigned depth);

// Puts the name of the field before the place that an inner message has named.
static enum hd_status name_place(struct wire *wire, const ProtobufCFieldDescriptor *field, enum hd_status status) {
    if (status != HD_OK && wire->err) {
        if (wire->err->field[0])
            hd_err_field(wire->err, "%s.%s", field->name, wire->err->field);
        else
            hd_err_field(wire->err, "%s", field->name);
    }
    return status;
}

static enum hd_status check_content(struct wire *wire, const ProtobufCFieldDescriptor *field, const uint8_t *data,
                                    size_t len, unsigned depth) {
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        struct wire inner = {data, data + len, wire->err};
        return check_message(&inner, field->descriptor, depth + 1);
    }
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        if (memchr(data, 0, len))
            return broken(wire, "a text has a zero byte");
        if (!hd_utf8_valid(data, len))
            return broken(wire, "a text is not UTF-8");
    }
    return HD_OK;
}

// protobuf-c merges a message field that comes in pieces wrongly, and nobody who is honest sends one so.
static bool in_pieces(const ProtobufCMessageDescriptor *desc, const ProtobufCFieldDescriptor *field, uint64_t *seen) {
    size_t index = (size_t)(field - desc->fields);
    if (field->type != PROTOBUF_C_TYPE_MESSAGE || field->label == PROTOBUF_C_LABEL_REPEATED || index >= 64)
        return false;
    bool again = *seen >> index & 1;
    *seen |= UINT64_C(1) << index;
    return again;
}

static enum hd_status check_delimited(struct wire *wire, const ProtobufCMessageDescriptor *desc,
                                      const ProtobufCFieldDescriptor *field, uint64_t *seen, unsigned depth) {
    uint64_t len = 0;
    HD_TRY(read_varint(wire, &len));
    const uint8_t *data = wire->p;
    HD_TRY(skip(wire, len));
    if (!field)
        return HD_OK;
    if (in_pieces(desc, field, seen))
        return name_place(wire, field, broken(wire, "a message comes in pieces"));
    return name_place(wire, field, check_content(wire, field, data, len, depth));
}

static enum hd_status check_message(struct wire *wire, const ProtobufCMessageDescriptor *desc, unsigned depth) {
    if (depth > HD_PB_MAX_DEPTH)
        return broken(wire, "it is nested too deeply");
    uint64_t seen = 0;
    while (wire->p < wire->end) {
        uint64_t tag = 0, ignored;
        HD_TRY(read_varint(wire, &tag));
        if (tag >> 3 == 0 || tag >> 3 > MAX_FIELD_NUMBER)
            return broken(wire, "a field number is out of range");
        switch (tag & 7) {
        case PROTOBUF_C_WIRE_TYPE_VARINT:
            HD_TRY(read_varint(wire, &ignored));
            break;
        case PROTOBUF_C_WIRE_TYPE_64BIT:
            HD_TRY(skip(wire, 8));
            break;
        case PROTOBUF_C_WIRE_TYPE_32BIT:
            HD_TRY(skip(wire, 4));
            break;
        case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
            HD_TRY(check_delimited(wire, desc, protobuf_c_message_descriptor_get_field(desc, (unsigned)(tag >> 3)),
                                   &seen, depth));
            break;
        default:
            return broken(wire, "a wire type is not known");
        }
    }
    return HD_OK;
}

enum hd_status hd_pb_unpack(struct hd_arena *arena, const ProtobufCMessageDescriptor *desc, const void *data,
                            size_t len, struct hd_err *err, ProtobufCMessage **ret) {
    if (len > HD_PB_MAX_BYTES)
        return hd_err_set(err, HD_INVALID, "message has %zu bytes, at most %u are taken", len, HD_PB_MAX_BYTES);
    struct wire wire = {data, len ? (const uint8_t *)data + len : data, err};
    HD_TRY(check_message(&wire, desc, 1));

    size_t saved = hd_pb_budget_enter(arena, len);
    arena->over_budget = false;
    ProtobufCMessage *msg = protobuf_c_message_unpack(desc, &arena->pb, len, len ? data : (const uint8_t *)"");
    arena->budget_bytes = saved;
    if (!msg && arena->over_budget)
        return hd_err_set(err, HD_INVALID, "message needs too much memory for its %zu bytes", len);
    if (!msg)
        return hd_err_set(err, HD_INVALID, "message is not a valid %s", desc->short_name);
    *ret = msg;
    return HD_OK;
}

size_t hd_pb_budget_enter(struct hd_arena *arena, size_t input_bytes) {
    size_t saved = arena->budget_bytes, allowed = BUDGET_BASE + input_bytes * BUDGET_FACTOR;
    if (allowed > BUDGET_MAX)
        allowed = BUDGET_MAX;
    if (!saved || arena->used_bytes + allowed < saved)
        arena->budget_bytes = arena->used_bytes + allowed;
    return saved;
}

ProtobufCMessage *hd_pb_new(struct hd_arena *arena, const ProtobufCMessageDescriptor *desc) {
    ProtobufCMessage *msg = hd_arena_alloc(arena, desc->sizeof_message);
    desc->message_init(msg);
    return msg;
}

void hd_pb_pack(struct hd_arena *arena, const ProtobufCMessage *msg, uint8_t **ret, size_t *ret_len) {
    size_t len = protobuf_c_message_get_packed_size(msg);
    uint8_t *data = hd_arena_alloc(arena, len);
    *ret_len = protobuf_c_message_pack(msg, data);
    *ret = data;
}
