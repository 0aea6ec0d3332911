// JSON → message: a strict pass over the text, cJSON for the tree, then one walk along the descriptors.
#include "base/pb.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/json_scan.h"
#include "base/pb_field.h"

// Where the walk is: a chain on the stack, written out only for an error.
struct place {
    const struct place *outer;
    const char *name; // NULL in a list
    int index;
};
struct reader {
    struct hd_arena *arena;
    struct hd_err *err;
};

static void add_place(const struct place *place, struct hd_buf *out) {
    if (!place)
        return;
    add_place(place->outer, out);
    if (!place->name)
        hd_buf_addf(out, "[%d]", place->index);
    else
        hd_buf_addf(out, "%s%s", out->len ? "." : "", place->name);
}

// Completes an error that is set already.
static enum hd_status at_place(struct reader *r, const struct place *place) {
    HD_AUTO_BUF struct hd_buf path = {0};
    add_place(place, &path);
    if (path.len)
        hd_err_field(r->err, "%s", path.data);
    return HD_INVALID;
}

static const char *kind_of(const cJSON *json) {
    if (cJSON_IsString(json))
        return "a text";
    if (cJSON_IsNumber(json))
        return "a number";
    if (cJSON_IsBool(json))
        return "true or false";
    if (cJSON_IsNull(json))
        return "null";
    return cJSON_IsArray(json) ? "a list" : "an object";
}

static enum hd_status expected(struct reader *r, const struct place *place, const char *what, const cJSON *json) {
    hd_err_set(r->err, HD_INVALID, "%s is expected here, not %s", what, kind_of(json));
    return at_place(r, place);
}

static enum hd_status out_of_memory(struct reader *r, const struct place *place) {
    hd_err_set(r->err, HD_INVALID, "this input needs too much memory");
    return at_place(r, place);
}

static bool is_wide(ProtobufCType type) {
    return hd_pb_scalar_size(type) == 8;
}

static bool is_unsigned(ProtobufCType type) {
    return type == PROTOBUF_C_TYPE_UINT32 || type == PROTOBUF_C_TYPE_FIXED32 || type == PROTOBUF_C_TYPE_UINT64 ||
           type == PROTOBUF_C_TYPE_FIXED64;
}

static enum hd_status parse_u64(const char *text, uint64_t *ret) {
    uint64_t value = 0;
    if (!*text)
        return HD_INVALID;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (unsigned)(*text - '0'), &value))
            return HD_INVALID;
    }
    *ret = value;
    return HD_OK;
}

// Writes an integer from its decimal text, in the range of its type.
static enum hd_status integer_from_text(ProtobufCType type, const char *text, void *ret) {
    if (is_unsigned(type)) {
        uint64_t value;
        HD_TRY(parse_u64(text, &value));
        if (!is_wide(type) && value > UINT32_MAX)
            return HD_INVALID;
        memcpy(ret, &value, hd_pb_scalar_size(type)); // little-endian, as all that we build for
        return HD_OK;
    }
    int64_t value;
    HD_TRY(hd_parse_i64(text, &value));
    if (!is_wide(type) && (value < INT32_MIN || value > INT32_MAX))
        return HD_INVALID;
    memcpy(ret, &value, hd_pb_scalar_size(type));
    return HD_OK;
}

static enum hd_status not_in_range(struct hd_err *err, ProtobufCType type) {
    if (is_unsigned(type))
        return hd_err_set(err, HD_INVALID, "a whole number from 0 to %" PRIu64 " is expected here",
                          is_wide(type) ? UINT64_MAX : (uint64_t)UINT32_MAX);
    return hd_err_set(err, HD_INVALID, "a whole number from %" PRId64 " to %" PRId64 " is expected here",
                      is_wide(type) ? INT64_MIN : (int64_t)INT32_MIN, is_wide(type) ? INT64_MAX : (int64_t)INT32_MAX);
}

static enum hd_status read_integer(struct reader *r, const struct place *place, ProtobufCType type, const cJSON *json,
                                   void *ret) {
    char digits[32];
    const char *text = digits;
    if (is_wide(type) && cJSON_IsString(json)) {
        text = json->valuestring;
    } else if (!cJSON_IsNumber(json)) {
        return expected(r, place, "a whole number", json);
    } else {
        double value = json->valuedouble;
        if (value > (double)HD_JSON_MAX_INT || value < -(double)HD_JSON_MAX_INT) {
            hd_err_set(r->err, HD_INVALID, "the number is too large for JSON");
            if (is_wide(type))
                hd_err_hint(r->err, "write it as a string");
            return at_place(r, place);
        }
        if (value != floor(value)) {
            hd_err_set(r->err, HD_INVALID, "a whole number is expected here, not a fraction");
            return at_place(r, place);
        }
        snprintf(digits, sizeof(digits), "%" PRId64, (int64_t)value);
    }
    if (integer_from_text(type, text, ret) == HD_OK)
        return HD_OK;
    not_in_range(r->err, type);
    return at_place(r, place);
}

static enum hd_status read_double(struct reader *r, const struct place *place, ProtobufCType type, const cJSON *json,
                                  void *ret) {
    if (!cJSON_IsNumber(json))
        return expected(r, place, "a number", json);
    double value = json->valuedouble;
    float narrow = (float)value;
    if (!isfinite(value) || (type == PROTOBUF_C_TYPE_FLOAT && !isfinite(narrow))) {
        hd_err_set(r->err, HD_INVALID, "the number is out of range");
        return at_place(r, place);
    }
    if (type == PROTOBUF_C_TYPE_FLOAT)
        memcpy(ret, &narrow, sizeof(narrow));
    else
        memcpy(ret, &value, sizeof(value));
    return HD_OK;
}

static enum hd_status read_string(struct reader *r, const struct place *place, const cJSON *json, void *ret) {
    if (!cJSON_IsString(json))
        return expected(r, place, "a text", json);
    size_t len = strlen(json->valuestring);
    char *copy = hd_arena_try_alloc(r->arena, len + 1);
    if (!copy)
        return out_of_memory(r, place);
    memcpy(copy, json->valuestring, len + 1);
    *(char **)ret = copy;
    return HD_OK;
}

static enum hd_status read_bytes(struct reader *r, const struct place *place, const cJSON *json, void *ret) {
    if (!cJSON_IsString(json))
        return expected(r, place, "base64 text", json);
    ProtobufCBinaryData *bytes = ret;
    size_t len = strlen(json->valuestring);
    uint8_t *data = hd_arena_try_alloc(r->arena, len / 4 * 3 + 3);
    if (!data)
        return out_of_memory(r, place);
    if (hd_base64_decode(json->valuestring, len, data, &bytes->len) != HD_OK) {
        hd_err_set(r->err, HD_INVALID, "the text is not base64");
        return at_place(r, place);
    }
    bytes->data = data;
    return HD_OK;
}

static enum hd_status read_enum(struct reader *r, const struct place *place, const ProtobufCEnumDescriptor *desc,
                                const cJSON *json, void *ret) {
    if (!cJSON_IsString(json))
        return expected(r, place, "a text", json);
    if (hd_pb_enum_parse(desc, json->valuestring, r->err, ret) != HD_OK)
        return at_place(r, place);
    return HD_OK;
}

static enum hd_status read_bool(struct reader *r, const struct place *place, const cJSON *json, void *ret) {
    if (!cJSON_IsBool(json))
        return expected(r, place, "true or false", json);
    *(protobuf_c_boolean *)ret = cJSON_IsTrue(json) ? 1 : 0;
    return HD_OK;
}

static enum hd_status read_message(struct reader *r, const struct place *place, const ProtobufCMessageDescriptor *desc,
                                   const cJSON *json, ProtobufCMessage **ret);

static enum hd_status read_value(struct reader *r, const struct place *place, const ProtobufCFieldDescriptor *field,
                                 const cJSON *json, void *ret) {
    switch (field->type) {
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return read_double(r, place, field->type, json, ret);
    case PROTOBUF_C_TYPE_BOOL:
        return read_bool(r, place, json, ret);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(r, place, field->descriptor, json, ret);
    case PROTOBUF_C_TYPE_STRING:
        return read_string(r, place, json, ret);
    case PROTOBUF_C_TYPE_BYTES:
        return read_bytes(r, place, json, ret);
    case PROTOBUF_C_TYPE_MESSAGE:
        return read_message(r, place, field->descriptor, json, ret);
    default:
        return read_integer(r, place, field->type, json, ret);
    }
}

static enum hd_status read_list(struct reader *r, const struct place *place, ProtobufCMessage *msg,
                                const ProtobufCFieldDescriptor *field, const cJSON *json) {
    if (!cJSON_IsArray(json))
        return expected(r, place, "a list", json);
    size_t n = 0, size = hd_pb_scalar_size(field->type);
    for (const cJSON *item = json->child; item; item = item->next)
        n++;
    if (!n)
        return HD_OK;
    char *items = hd_arena_try_alloc(r->arena, n * size);
    if (!items)
        return out_of_memory(r, place);
    struct place inner = {.outer = place};
    for (const cJSON *item = json->child; item; item = item->next, inner.index++)
        HD_TRY(read_value(r, &inner, field, item, items + (size_t)inner.index * size));
    *(char **)hd_pb_at(msg, field->offset) = items;
    *(size_t *)hd_pb_at(msg, field->quantifier_offset) = n;
    return HD_OK;
}

static enum hd_status unknown_key(struct reader *r, const struct place *place, const ProtobufCMessageDescriptor *desc,
                                  const char *key) {
    const char *near = NULL;
    unsigned best = 4;
    for (unsigned i = 0; i < desc->n_fields; i++) {
        unsigned distance = hd_edit_distance(desc->fields[i].name, key, 3);
        if (distance < best && distance < strlen(key)) {
            best = distance;
            near = desc->fields[i].name;
        }
    }
    hd_err_set(r->err, HD_INVALID, "the key \"%.80s\" is not known here", key);
    if (near) {
        hd_err_hint(r->err, "did you mean \"%s\"?", near);
    } else {
        HD_AUTO_BUF struct hd_buf names = {0};
        for (unsigned i = 0; i < desc->n_fields; i++)
            hd_buf_addf(&names, "%s%s", i ? ", " : "", desc->fields[i].name);
        hd_err_hint(r->err, names.len ? "known keys: %s" : "no keys are known here%s", names.len ? names.data : "");
    }
    return at_place(r, place);
}

// Whether a oneof of the message has its choice already.
static bool chosen(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field) {
    uint32_t which;
    if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
        return false;
    memcpy(&which, hd_pb_at(msg, field->quantifier_offset), sizeof(which));
    return which != 0;
}

static enum hd_status read_member(struct reader *r, const struct place *outer, ProtobufCMessage *msg, const cJSON *json,
                                  uint8_t *seen) {
    struct place place = {.outer = outer, .name = json->string};
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(msg->descriptor, json->string);
    if (!field)
        return unknown_key(r, &place, msg->descriptor, json->string);
    size_t index = (size_t)(field - msg->descriptor->fields);
    if (seen[index / 8] >> (index % 8) & 1) {
        hd_err_set(r->err, HD_INVALID, "the key \"%s\" stands here twice", field->name);
        return at_place(r, &place);
    }
    seen[index / 8] |= (uint8_t)(1u << (index % 8));
    if (chosen(msg, field)) {
        hd_err_set(r->err, HD_INVALID, "only one of the keys that exclude each other may be set");
        return at_place(r, &place);
    }
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return read_list(r, &place, msg, field, json);
    HD_TRY(read_value(r, &place, field, json, hd_pb_at(msg, field->offset)));
    hd_pb_mark(msg, field);
    return HD_OK;
}

static enum hd_status read_message(struct reader *r, const struct place *place, const ProtobufCMessageDescriptor *desc,
                                   const cJSON *json, ProtobufCMessage **ret) {
    if (!cJSON_IsObject(json))
        return expected(r, place, "an object", json);
    ProtobufCMessage *msg = hd_arena_try_alloc(r->arena, desc->sizeof_message);
    uint8_t *seen = msg ? hd_arena_try_alloc(r->arena, desc->n_fields / 8 + 1) : NULL;
    if (!seen)
        return out_of_memory(r, place);
    desc->message_init(msg);
    for (const cJSON *child = json->child; child; child = child->next)
        HD_TRY(read_member(r, place, msg, child, seen));
    *ret = msg;
    return HD_OK;
}

// What cJSON refuses, and what it leaves behind the value.
static enum hd_status parse_tree(const char *json, size_t len, struct hd_err *err, cJSON **ret) {
    const char *end = NULL;
    cJSON *tree = cJSON_ParseWithLengthOpts(json, len, &end, 0);
    size_t at = end && end >= json && end <= json + len ? (size_t)(end - json) : len;
    if (tree)
        at += strspn(json + at, " \t\r\n"); // the caller's copy ends with a NUL
    if (tree && at == len) {
        *ret = tree;
        return HD_OK;
    }
    hd_err_set(err, HD_INVALID, "not valid JSON: %s",
               tree        ? "something follows after its end"
               : at >= len ? "it ends too early"
                           : "an unexpected character");
    hd_json_err_at(json, at, err);
    cJSON_Delete(tree);
    return HD_INVALID;
}

enum hd_status hd_json_to_pb(struct hd_arena *arena, const ProtobufCMessageDescriptor *desc, const char *json,
                             size_t len, struct hd_err *err, ProtobufCMessage **ret) {
    if (len > HD_PB_MAX_BYTES)
        return hd_err_set(err, HD_INVALID, "the JSON text has %zu bytes, at most %u are taken", len, HD_PB_MAX_BYTES);
    HD_TRY(hd_json_scan(json, len, err));
    HD_AUTO_BUF struct hd_buf text = {0};
    hd_buf_add(&text, json, len);
    cJSON *tree;
    HD_TRY(parse_tree(text.data, len, err, &tree));
    struct reader reader = {.arena = arena, .err = err};
    size_t saved = hd_pb_budget_enter(arena, len);
    enum hd_status status = read_message(&reader, NULL, desc, tree, ret);
    arena->budget_bytes = saved;
    cJSON_Delete(tree);
    return status;
}

static enum hd_status set_bool(const char *text, void *ret, struct hd_err *err) {
    bool yes = hd_streq(text, "true");
    if (!yes && !hd_streq(text, "false"))
        return hd_err_set(err, HD_INVALID, "true or false is expected here");
    *(protobuf_c_boolean *)ret = yes;
    return HD_OK;
}

static enum hd_status set_scalar(struct hd_arena *arena, const ProtobufCFieldDescriptor *field, const char *text,
                                 void *ret, struct hd_err *err) {
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        if (!hd_utf8_valid(text, strlen(text)))
            return hd_err_set(err, HD_INVALID, "the text is not UTF-8");
        *(char **)ret = hd_arena_strdup(arena, text);
        return HD_OK;
    case PROTOBUF_C_TYPE_BOOL:
        return set_bool(text, ret, err);
    case PROTOBUF_C_TYPE_ENUM:
        return hd_pb_enum_parse(field->descriptor, text, err, ret);
    case PROTOBUF_C_TYPE_MESSAGE:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return hd_err_set(err, HD_INVALID, "this field cannot be given as a parameter");
    default:
        return integer_from_text(field->type, text, ret) == HD_OK ? HD_OK : not_in_range(err, field->type);
    }
}

// Values separated by commas, each once; a field that was given is not added to.
static enum hd_status set_list(struct hd_arena *arena, const ProtobufCFieldDescriptor *field, const char *text,
                               ProtobufCMessage *msg, struct hd_err *err) {
    size_t size = hd_pb_scalar_size(field->type), n = 0, cap = 1;
    for (const char *p = text; *p; p++)
        cap += *p == ',';
    if (cap > HD_PB_TEXTS_MAX)
        return hd_err_set(err, HD_INVALID, "%zu values, at most %d are taken", cap, HD_PB_TEXTS_MAX);
    char *items = hd_arena_alloc(arena, cap * size), *rest = hd_arena_strdup(arena, text);
    for (char *word = *text ? rest : NULL, *next; word; word = next) {
        if ((next = strchr(word, ',')))
            *next++ = '\0';
        HD_TRY(set_scalar(arena, field, word, items + n++ * size, err));
    }
    *(char **)hd_pb_at(msg, field->offset) = items;
    *(size_t *)hd_pb_at(msg, field->quantifier_offset) = n;
    return HD_OK;
}

enum hd_status hd_pb_set_text(struct hd_arena *arena, ProtobufCMessage *msg, const char *name, const char *text,
                              struct hd_err *err) {
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(msg->descriptor, name);
    bool list = field && field->label == PROTOBUF_C_LABEL_REPEATED;
    if (!field || (list && field->type == PROTOBUF_C_TYPE_MESSAGE)) {
        hd_err_set(err, HD_MISSING, "there is no parameter \"%.80s\"", name);
        hd_err_field(err, "%.80s", name);
        return HD_MISSING;
    }
    enum hd_status status = list ? set_list(arena, field, text, msg, err)
                                 : set_scalar(arena, field, text, hd_pb_at(msg, field->offset), err);
    if (status != HD_OK) {
        hd_err_field(err, "%s", name);
        return status;
    }
    if (list)
        return HD_OK;
    hd_pb_mark(msg, field);
    return HD_OK;
}
