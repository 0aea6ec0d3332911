// Message → JSON.
#include "base/pb.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/pb_field.h"

static size_t utf8_length(const char *p, size_t left) {
    for (size_t n = 2; n <= 4 && n <= left; n++)
        if (hd_utf8_valid(p, n))
            return n;
    return 0;
}

void hd_json_add_string(struct hd_buf *out, const char *text, size_t len) {
    hd_buf_reserve(out, len + 2);
    hd_buf_addc(out, '"');
    size_t plain = 0; // start of what can be copied as it is
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)text[i];
        size_t n = c < 0x80 ? 1 : utf8_length(text + i, len - i);
        if (n && c >= 0x20 && c != '"' && c != '\\' && c != 0x7F) {
            i += n;
            continue;
        }
        hd_buf_add(out, text + plain, i - plain);
        if (c >= 0x80)
            hd_buf_adds(out, "\xEF\xBF\xBD");
        else if (c == '"' || c == '\\')
            hd_buf_addf(out, "\\%c", c);
        else if (c == '\n')
            hd_buf_adds(out, "\\n");
        else if (c == '\t')
            hd_buf_adds(out, "\\t");
        else if (c == '\r')
            hd_buf_adds(out, "\\r");
        else
            hd_buf_addf(out, "\\u%04x", c);
        plain = ++i;
    }
    hd_buf_add(out, text + plain, len - plain);
    hd_buf_addc(out, '"');
}

static void add_signed(struct hd_buf *out, int64_t value) {
    bool exact = value >= -HD_JSON_MAX_INT && value <= HD_JSON_MAX_INT;
    hd_buf_addf(out, exact ? "%" PRId64 : "\"%" PRId64 "\"", value);
}

static void add_unsigned(struct hd_buf *out, uint64_t value) {
    hd_buf_addf(out, value <= (uint64_t)HD_JSON_MAX_INT ? "%" PRIu64 : "\"%" PRIu64 "\"", value);
}

static void add_double(struct hd_buf *out, double value, int digits) {
    if (isnan(value))
        hd_buf_adds(out, "\"NaN\"");
    else if (isinf(value))
        hd_buf_adds(out, value < 0 ? "\"-Infinity\"" : "\"Infinity\"");
    else
        hd_buf_addf(out, "%.*g", digits, value);
}

static void add_enum(struct hd_buf *out, const ProtobufCEnumDescriptor *desc, int value) {
    const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(desc, value);
    char text[128] = "unknown";
    if (found)
        hd_pb_enum_text(desc, found->name, text, sizeof(text));
    hd_json_add_string(out, text, strlen(text));
}

static void add_message(struct hd_buf *out, const ProtobufCMessage *msg, bool all);

static void add_value(struct hd_buf *out, const ProtobufCFieldDescriptor *field, const void *value, bool all) {
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        hd_buf_addf(out, "%" PRId32, *(const int32_t *)value);
        return;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        hd_buf_addf(out, "%" PRIu32, *(const uint32_t *)value);
        return;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        add_signed(out, *(const int64_t *)value);
        return;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        add_unsigned(out, *(const uint64_t *)value);
        return;
    case PROTOBUF_C_TYPE_FLOAT:
        add_double(out, (double)*(const float *)value, 9);
        return;
    case PROTOBUF_C_TYPE_DOUBLE:
        add_double(out, *(const double *)value, 17);
        return;
    case PROTOBUF_C_TYPE_BOOL:
        hd_buf_adds(out, *(const protobuf_c_boolean *)value ? "true" : "false");
        return;
    case PROTOBUF_C_TYPE_ENUM:
        add_enum(out, field->descriptor, *(const int *)value);
        return;
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)value;
        hd_json_add_string(out, text ? text : "", text ? strlen(text) : 0);
        return;
    }
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *bytes = value;
        hd_buf_addc(out, '"');
        hd_base64_add(out, bytes->data, bytes->len);
        hd_buf_addc(out, '"');
        return;
    }
    case PROTOBUF_C_TYPE_MESSAGE:
        add_message(out, *(ProtobufCMessage *const *)value, all);
        return;
    }
}

static void add_list(struct hd_buf *out, const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field, size_t n,
                     bool all) {
    const char *items = n ? *(char *const *)hd_pb_at(msg, field->offset) : NULL;
    size_t size = hd_pb_scalar_size(field->type);
    hd_buf_addc(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            hd_buf_addc(out, ',');
        add_value(out, field, items + i * size, all);
    }
    hd_buf_addc(out, ']');
}

static void add_message(struct hd_buf *out, const ProtobufCMessage *msg, bool all) {
    const char *separator = "";
    hd_buf_addc(out, '{');
    for (unsigned i = 0; i < msg->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &msg->descriptor->fields[i];
        bool list = field->label == PROTOBUF_C_LABEL_REPEATED;
        size_t n = list ? *(const size_t *)hd_pb_at(msg, field->quantifier_offset) : 0;
        if (list ? !n && !all : !hd_pb_present(msg, field))
            continue;
        hd_buf_addf(out, "%s\"%s\":", separator, field->name);
        separator = ",";
        if (list)
            add_list(out, msg, field, n, all);
        else
            add_value(out, field, hd_pb_at(msg, field->offset), all);
    }
    hd_buf_addc(out, '}');
}

void hd_pb_to_json(const ProtobufCMessage *msg, struct hd_buf *out) {
    add_message(out, msg, false);
}

void hd_pb_to_json_all(const ProtobufCMessage *msg, struct hd_buf *out) {
    add_message(out, msg, true);
}
