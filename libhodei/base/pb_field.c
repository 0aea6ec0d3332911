#include "base/pb_field.h"

#include <string.h>

size_t hd_pb_scalar_size(ProtobufCType type) {
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return 4;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_ENUM:
        return sizeof(int);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    }
    return 0;
}

static bool zero_value(const void *value, ProtobufCType type) {
    static const char zero[16];
    switch (type) {
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)value;
        return !text || !*text;
    }
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)value)->len == 0;
    default:
        return memcmp(value, zero, hd_pb_scalar_size(type)) == 0;
    }
}

bool hd_pb_present(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field) {
    const void *value = hd_pb_at(msg, field->offset);
    bool pointer = field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE;
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        uint32_t which;
        memcpy(&which, hd_pb_at(msg, field->quantifier_offset), sizeof(which));
        return which == field->id && (!pointer || *(void *const *)value);
    }
    if (field->label == PROTOBUF_C_LABEL_NONE)
        return !zero_value(value, field->type);
    if (pointer)
        return *(void *const *)value && *(void *const *)value != field->default_value;
    if (field->label == PROTOBUF_C_LABEL_OPTIONAL)
        return *(const protobuf_c_boolean *)hd_pb_at(msg, field->quantifier_offset);
    return true;
}

void hd_pb_mark(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field) {
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        memcpy(hd_pb_at(msg, field->quantifier_offset), &field->id, sizeof(field->id));
        return;
    }
    if (field->label == PROTOBUF_C_LABEL_OPTIONAL && field->type != PROTOBUF_C_TYPE_STRING &&
        field->type != PROTOBUF_C_TYPE_MESSAGE)
        *(protobuf_c_boolean *)hd_pb_at(msg, field->quantifier_offset) = 1;
}

static bool upper(char c) {
    return c >= 'A' && c <= 'Z';
}

static char to_lower(char c) {
    return upper(c) ? (char)(c - 'A' + 'a') : c;
}

// How many bytes of value_name are the type's name in capitals with underscores: 10 of JOB_STATE_READY for JobState.
static size_t prefix_length(const char *type, const char *value_name) {
    const char *p = value_name;
    for (size_t i = 0; type[i]; i++) {
        bool next_lower = type[i + 1] && !upper(type[i + 1]);
        if (i > 0 && upper(type[i]) && (!upper(type[i - 1]) || next_lower) && *p == '_')
            p++;
        if (to_lower(*p) != to_lower(type[i]))
            return 0;
        p++;
    }
    return *p == '_' && p[1] ? (size_t)(p - value_name) + 1 : 0;
}

size_t hd_pb_enum_text(const ProtobufCEnumDescriptor *desc, const char *value_name, char *ret, size_t size) {
    const char *rest = value_name + prefix_length(desc->short_name, value_name);
    size_t n = 0;
    for (; rest[n] && n + 1 < size; n++)
        ret[n] = to_lower(rest[n]);
    ret[n] = '\0';
    return n;
}

const char *hd_pb_enum_name(struct hd_arena *arena, const ProtobufCEnumDescriptor *desc, int value) {
    const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(desc, value);
    if (!found)
        return "unknown";
    char text[128];
    size_t len = hd_pb_enum_text(desc, found->name, text, sizeof(text));
    return hd_arena_strndup(arena, text, len);
}

enum hd_status hd_pb_enum_parse(const ProtobufCEnumDescriptor *desc, const char *text, struct hd_err *err, int *ret) {
    char all[160] = "", near[128] = "";
    unsigned best = 3;
    for (unsigned i = 0; i < desc->n_values; i++) {
        char name[128];
        size_t len = hd_pb_enum_text(desc, desc->values[i].name, name, sizeof(name)), used = strlen(all);
        if (hd_streq(name, text)) {
            *ret = desc->values[i].value;
            return HD_OK;
        }
        unsigned distance = hd_edit_distance(name, text, 2);
        if (distance < best) {
            best = distance;
            hd_strlcpy(near, name, sizeof(near));
        }
        if (desc->values[i].value != 0 && used + len + 3 < sizeof(all))
            snprintf(all + used, sizeof(all) - used, "%s%s", used ? ", " : "", name);
    }
    hd_err_set(err, HD_INVALID, "\"%.80s\" is not a value of this field", text);
    if (near[0])
        hd_err_hint(err, "did you mean \"%s\"?", near);
    else
        hd_err_hint(err, "write one of: %s", all);
    return HD_INVALID;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void hd_base64_add(struct hd_buf *out, const uint8_t *data, size_t len) {
    hd_buf_reserve(out, len / 3 * 4 + 4);
    char *p = out->data + out->len;
    size_t i = 0;
    for (; i + 3 <= len; i += 3) {
        uint32_t bits = (uint32_t)data[i] << 16 | (uint32_t)data[i + 1] << 8 | data[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6)
            *p++ = base64_digits[bits >> shift & 63];
    }
    if (i < len) {
        bool two = len - i == 2;
        uint32_t bits = (uint32_t)data[i] << 16 | (two ? (uint32_t)data[i + 1] << 8 : 0);
        *p++ = base64_digits[bits >> 18];
        *p++ = base64_digits[bits >> 12 & 63];
        *p++ = two ? base64_digits[bits >> 6 & 63] : '=';
        *p++ = '=';
    }
    *p = '\0';
    out->len = (size_t)(p - out->data);
}

static int base64_value(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

enum hd_status hd_base64_decode(const char *text, size_t len, uint8_t *ret, size_t *ret_len) {
    if (len % 4 == 0)
        for (int i = 0; i < 2 && len && text[len - 1] == '='; i++)
            len--;
    if (len % 4 == 1)
        return HD_INVALID;
    uint32_t bits = 0;
    unsigned n_bits = 0;
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        int value = base64_value(text[i]);
        if (value < 0)
            return HD_INVALID;
        bits = bits << 6 | (uint32_t)value;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            ret[n++] = (uint8_t)(bits >> n_bits);
        }
    }
    if (bits & ((1u << n_bits) - 1))
        return HD_INVALID; // bits that belong to no byte
    *ret_len = n;
    return HD_OK;
}
