// Parameters into PostgreSQL's binary format, and cells out of it.
#include <arpa/inet.h>
#include <assert.h>
#include <endian.h>

#include "adapter/db_impl.h"
#include "base/buf.h"

// Type ids of pg_type that an array must name; they never change.
enum oid { OID_BYTEA = 17, OID_INT8 = 20, OID_INT4 = 23, OID_TEXT = 25, OID_UUID = 2950 };

static uint8_t *put_be32(uint8_t *at, uint32_t value) {
    value = htonl(value);
    memcpy(at, &value, sizeof(value));
    return at + sizeof(value);
}

static uint8_t *put_be64(uint8_t *at, uint64_t value) {
    value = htobe64(value);
    memcpy(at, &value, sizeof(value));
    return at + sizeof(value);
}

// --- arrays ----------------------------------------------------------------------------------------------------------

static struct hd_bytes element(const struct hd_param *param, size_t i) {
    switch (param->type) {
    case HD_P_TEXTS: {
        const char *text = param->v.texts[i];
        return (struct hd_bytes){(const uint8_t *)text, text ? strlen(text) : 0};
    }
    case HD_P_BYTESS:
        return param->v.bytess[i];
    case HD_P_UUIDS:
        return (struct hd_bytes){param->v.uuids[i].b, sizeof(param->v.uuids[i].b)};
    case HD_P_I32S:
        return (struct hd_bytes){(const uint8_t *)&param->v.i32s[i], sizeof(int32_t)};
    default:
        assert(param->type == HD_P_I64S);
        return (struct hd_bytes){(const uint8_t *)&param->v.i64s[i], sizeof(int64_t)};
    }
}

static uint8_t *put_element(uint8_t *at, const struct hd_param *param, size_t i) {
    struct hd_bytes item = element(param, i);
    if (!item.data)
        return put_be32(at, UINT32_MAX); // NULL
    at = put_be32(at, (uint32_t)item.len);
    assert(param->v.i32s && param->v.i64s); // one union: an element stands in an array
    if (param->type == HD_P_I32S)
        return put_be32(at, (uint32_t)param->v.i32s[i]);
    if (param->type == HD_P_I64S)
        return put_be64(at, (uint64_t)param->v.i64s[i]);
    memcpy(at, item.data, item.len);
    return at + item.len;
}

static enum oid element_oid(enum hd_param_type type) {
    return type == HD_P_TEXTS    ? OID_TEXT
           : type == HD_P_BYTESS ? OID_BYTEA
           : type == HD_P_UUIDS  ? OID_UUID
           : type == HD_P_I32S   ? OID_INT4
                                 : OID_INT8;
}

// dimensions, has nulls, element type, then length and lower bound of the one dimension, then the elements.
static void encode_array(struct hd_arena *arena, const struct hd_param *param, const char **ret, int *ret_len) {
    size_t size = 5 * 4;
    bool nulls = false;
    for (size_t i = 0; i < param->n; i++) {
        struct hd_bytes item = element(param, i);
        size += 4 + item.len;
        nulls |= !item.data;
    }
    uint8_t *data = hd_arena_alloc(arena, size);
    uint8_t *at = put_be32(data, param->n ? 1 : 0);
    at = put_be32(at, nulls);
    at = put_be32(at, element_oid(param->type));
    if (param->n) {
        at = put_be32(at, (uint32_t)param->n);
        at = put_be32(at, 1);
    }
    for (size_t i = 0; i < param->n; i++)
        at = put_element(at, param, i);
    *ret = (const char *)data;
    *ret_len = (int)(at - data);
}

// --- scalars ---------------------------------------------------------------------------------------------------------

static void encode(struct hd_arena *arena, const struct hd_param *param, const char **ret, int *ret_len,
                   int *ret_format) {
    uint8_t *box;
    *ret_format = 1;
    switch (param->type) {
    case HD_P_NULL:
        *ret = NULL;
        return;
    case HD_P_BOOL:
        box = hd_arena_alloc(arena, 1);
        *box = param->v.b;
        *ret_len = 1;
        break;
    case HD_P_I32:
        box = hd_arena_alloc(arena, 4);
        put_be32(box, (uint32_t)param->v.i32);
        *ret_len = 4;
        break;
    case HD_P_I64:
        box = hd_arena_alloc(arena, 8);
        put_be64(box, (uint64_t)param->v.i64);
        *ret_len = 8;
        break;
    case HD_P_TEXT: // the text format, so that a cast to any type works
        *ret = param->v.text;
        *ret_format = 0;
        return;
    case HD_P_BYTES: // no data with no length is SQL NULL
        box = (uint8_t *)(uintptr_t)param->v.bytes.data;
        *ret_len = (int)param->v.bytes.len;
        break;
    case HD_P_UUID:
        box = hd_arena_memdup(arena, param->v.uuid.b, sizeof(param->v.uuid.b));
        *ret_len = (int)sizeof(param->v.uuid.b);
        break;
    default:
        encode_array(arena, param, ret, ret_len);
        return;
    }
    *ret = (const char *)box;
}

void hd_db_encode(struct hd_arena *arena, const struct hd_param *params, size_t n, struct hd_db_args *ret) {
    ret->n = (int)n;
    ret->values = HD_NEW_ARRAY(arena, n, const char *);
    ret->lengths = HD_NEW_ARRAY(arena, n, int);
    ret->formats = HD_NEW_ARRAY(arena, n, int);
    for (size_t i = 0; i < n; i++)
        encode(arena, &params[i], &ret->values[i], &ret->lengths[i], &ret->formats[i]);
}

// --- results ---------------------------------------------------------------------------------------------------------

void hd_db_decode(struct hd_arena *arena, const PGresult *result, struct hd_rows *ret) {
    int rows = PQntuples(result), columns = PQnfields(result);
    *ret = (struct hd_rows){.n = (size_t)rows, .columns = (size_t)columns};
    if (hd_parse_i64(PQcmdTuples((PGresult *)(uintptr_t)result), &ret->affected) != HD_OK)
        ret->affected = 0; // a statement that changes nothing counts nothing
    size_t total = 0;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            total += (size_t)PQgetlength(result, r, c) + 1;
    struct hd_bytes *cells = HD_NEW_ARRAY(arena, ret->n * ret->columns, struct hd_bytes);
    uint8_t *data = hd_arena_alloc(arena, total); // zeroed: every cell is followed by a NUL
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < columns; c++) {
            if (PQgetisnull(result, r, c))
                continue;
            struct hd_bytes *cell = &cells[(size_t)r * ret->columns + (size_t)c];
            *cell = (struct hd_bytes){data, (size_t)PQgetlength(result, r, c)};
            memcpy(data, PQgetvalue(result, r, c), cell->len);
            data += cell->len + 1;
        }
    }
    ret->cells = cells;
}

static struct hd_bytes cell(const struct hd_rows *rows, size_t row, size_t column) {
    assert(row < rows->n && column < rows->columns);
    return rows->cells[row * rows->columns + column];
}

bool hd_row_null(const struct hd_rows *rows, size_t row, size_t column) {
    return !cell(rows, row, column).data;
}

bool hd_row_bool(const struct hd_rows *rows, size_t row, size_t column) {
    struct hd_bytes value = cell(rows, row, column);
    assert(!value.data || value.len == 1);
    return value.data && value.data[0];
}

int64_t hd_row_int(const struct hd_rows *rows, size_t row, size_t column) {
    struct hd_bytes value = cell(rows, row, column);
    if (!value.data)
        return 0;
    assert(value.len == 2 || value.len == 4 || value.len == 8);
    uint64_t bits = value.data[0] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = 0; i < value.len; i++)
        bits = bits << 8 | value.data[i];
    return (int64_t)bits;
}

const char *hd_row_text(const struct hd_rows *rows, size_t row, size_t column) {
    struct hd_bytes value = cell(rows, row, column);
    return value.data ? (const char *)value.data : "";
}

struct hd_bytes hd_row_bytes(const struct hd_rows *rows, size_t row, size_t column) {
    return cell(rows, row, column);
}

struct hd_uuid hd_row_uuid(const struct hd_rows *rows, size_t row, size_t column) {
    struct hd_bytes value = cell(rows, row, column);
    struct hd_uuid id = {{0}};
    if (value.data) {
        assert(value.len == sizeof(id.b));
        memcpy(id.b, value.data, sizeof(id.b));
    }
    return id;
}
