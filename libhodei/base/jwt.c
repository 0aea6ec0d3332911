#include "base/jwt.h"

#include <string.h>

#include "base/pb.h"

#define NUMBER_DIGITS_MAX 12
#define NAME_MAX_CHARS 32

// --- base64url -------------------------------------------------------------------------------------------------------

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void hd_base64url_add(struct hd_buf *out, const void *data, size_t len) {
    const uint8_t *bytes = data;
    uint32_t bits = 0;
    unsigned n = 0;

    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | bytes[i];
        for (n += 8; n >= 6; n -= 6)
            hd_buf_addc(out, alphabet[bits >> (n - 6) & 63]);
    }
    if (n)
        hd_buf_addc(out, alphabet[bits << (6 - n) & 63]);
}

static int sextet(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

enum hd_status hd_base64url_decode(struct hd_str text, uint8_t *ret, size_t cap, size_t *ret_len) {
    uint32_t bits = 0;
    unsigned n = 0;
    size_t len = 0;

    if (text.len % 4 == 1)
        return HD_INVALID;
    for (size_t i = 0; i < text.len; i++) {
        int value = sextet(text.ptr[i]);
        if (value < 0)
            return HD_INVALID;
        bits = bits << 6 | (uint32_t)value;
        if ((n += 6) < 8)
            continue;
        if (len == cap)
            return HD_INVALID;
        n -= 8;
        ret[len++] = (uint8_t)(bits >> n);
    }
    if (bits & ((1u << n) - 1)) // bits that carry nothing: another spelling of the same bytes
        return HD_INVALID;
    *ret_len = len;
    return HD_OK;
}

// --- JSON: one flat object -------------------------------------------------------------------------------------------

struct member {
    struct hd_str name, text; // text: NULL where it is a number
    int64_t number;
};
struct object {
    struct member members[HD_JWT_MEMBERS_MAX];
    size_t n;
};
struct cursor {
    const char *at, *end;
};

static bool take(struct cursor *cursor, char c) {
    if (cursor->at == cursor->end || *cursor->at != c)
        return false;
    cursor->at++;
    return true;
}

// Printable ASCII without escapes: no name here needs more.
static bool take_text(struct cursor *cursor, struct hd_str *ret) {
    if (!take(cursor, '"'))
        return false;
    const char *from = cursor->at;
    while (cursor->at < cursor->end && *cursor->at >= ' ' && *cursor->at < 0x7f && *cursor->at != '"' &&
           *cursor->at != '\\')
        cursor->at++;
    *ret = (struct hd_str){from, (size_t)(cursor->at - from)};
    return take(cursor, '"');
}

static bool take_number(struct cursor *cursor, int64_t *ret) {
    const char *from = cursor->at;
    int64_t value = 0;

    while (cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9' &&
           cursor->at - from <= NUMBER_DIGITS_MAX)
        value = value * 10 + (*cursor->at++ - '0');
    size_t digits = (size_t)(cursor->at - from);
    *ret = value;
    return digits && digits <= NUMBER_DIGITS_MAX && (*from != '0' || digits == 1);
}

static const struct member *member_of(const struct object *object, struct hd_str name) {
    for (size_t i = 0; i < object->n; i++)
        if (object->members[i].name.len == name.len && memcmp(object->members[i].name.ptr, name.ptr, name.len) == 0)
            return &object->members[i];
    return NULL;
}

static bool take_member(struct cursor *cursor, struct object *object) {
    struct member member = {0};

    if (object->n == HD_JWT_MEMBERS_MAX || !take_text(cursor, &member.name) || !take(cursor, ':'))
        return false;
    if (member.name.len > NAME_MAX_CHARS || member_of(object, member.name))
        return false;
    bool is_text = cursor->at < cursor->end && *cursor->at == '"';
    if (!(is_text ? take_text(cursor, &member.text) : take_number(cursor, &member.number)))
        return false;
    object->members[object->n++] = member;
    return true;
}

static bool object_parse(const uint8_t *json, size_t len, struct object *ret) {
    struct cursor cursor = {(const char *)json, (const char *)json + len};

    ret->n = 0;
    if (!take(&cursor, '{'))
        return false;
    do {
        if (!take_member(&cursor, ret))
            return false;
    } while (take(&cursor, ','));
    return take(&cursor, '}') && cursor.at == cursor.end;
}

static enum hd_status wrong(struct hd_err *err, const char *what) {
    return hd_err_set(err, HD_UNAUTHENTICATED, "the access token %s", what);
}

// --- the parts -------------------------------------------------------------------------------------------------------

static enum hd_status header_read(const struct object *object, struct hd_err *err, struct hd_jwt *ret) {
    bool has_alg = false, has_kid = false;
    uint8_t thumbprint[32];
    size_t len;

    for (size_t i = 0; i < object->n; i++) {
        const struct member *member = &object->members[i];
        if (hd_str_eq(member->name, "alg") && hd_str_eq(member->text, "EdDSA")) {
            has_alg = true;
        } else if (hd_str_eq(member->name, "kid") && member->text.len == HD_JWT_KID_CHARS &&
                   hd_base64url_decode(member->text, thumbprint, sizeof(thumbprint), &len) == HD_OK) {
            memcpy(ret->kid, member->text.ptr, HD_JWT_KID_CHARS);
            ret->kid[HD_JWT_KID_CHARS] = '\0';
            has_kid = true;
        } else if (!hd_str_eq(member->name, "typ") || !hd_str_eq(member->text, "JWT")) {
            return wrong(err, "has a header that is not taken here");
        }
    }
    return has_alg && has_kid ? HD_OK : wrong(err, "does not say which key signed it, and how");
}

static bool claim_text(struct hd_arena *arena, const struct object *object, struct hd_str name, const char **ret) {
    const struct member *member = member_of(object, name);

    if (!member || !member->text.len)
        return false;
    *ret = hd_arena_strndup(arena, member->text.ptr, member->text.len);
    return true;
}

static bool claim_uuid(struct hd_arena *arena, const struct object *object, struct hd_str name, struct hd_uuid *ret) {
    const char *text;

    return claim_text(arena, object, name, &text) && hd_uuid_parse(text, ret) == HD_OK;
}

static bool claim_number(const struct object *object, struct hd_str name, bool needed, int64_t *ret) {
    const struct member *member = member_of(object, name);

    if (!member)
        return !needed;
    *ret = member->number;
    return !member->text.ptr;
}

static enum hd_status claims_read(struct hd_arena *arena, const struct object *object, struct hd_err *err,
                                  struct hd_jwt_claims *ret) {
    bool whole = claim_text(arena, object, HD_STR("iss"), &ret->issuer) &&
                 claim_text(arena, object, HD_STR("aud"), &ret->audience) &&
                 claim_text(arena, object, HD_STR("sub"), &ret->subject) &&
                 claim_text(arena, object, HD_STR("tenant"), &ret->tenant) &&
                 claim_uuid(arena, object, HD_STR("sid"), &ret->session) &&
                 claim_uuid(arena, object, HD_STR("jti"), &ret->id) &&
                 claim_number(object, HD_STR("iat"), true, &ret->issued_s) &&
                 claim_number(object, HD_STR("nbf"), false, &ret->not_before_s) &&
                 claim_number(object, HD_STR("exp"), true, &ret->expires_s);

    return whole ? HD_OK : wrong(err, "lacks a claim, or has one of the wrong form");
}

bool hd_jwt_outline(const char *text) {
    return strchr(text, '.') != NULL;
}

static bool split(const char *text, size_t len, struct hd_str ret[3]) {
    const char *first = memchr(text, '.', len);
    const char *second = first ? memchr(first + 1, '.', len - (size_t)(first + 1 - text)) : NULL;

    if (!second)
        return false;
    ret[0] = (struct hd_str){text, (size_t)(first - text)};
    ret[1] = (struct hd_str){first + 1, (size_t)(second - first - 1)};
    ret[2] = (struct hd_str){second + 1, len - (size_t)(second + 1 - text)}; // a third dot is not in the alphabet
    return true;
}

enum hd_status hd_jwt_parse(struct hd_arena *arena, const char *text, size_t len, struct hd_err *err,
                            struct hd_jwt *ret) {
    struct hd_jwt jwt = {.claims = {.not_before_s = 0}};
    uint8_t json[HD_JWT_MAX_BYTES];
    struct object object;
    struct hd_str parts[3];
    size_t n;

    if (len > HD_JWT_MAX_BYTES || !split(text, len, parts))
        return wrong(err, "is too long, or not three parts");
    if (hd_base64url_decode(parts[0], json, sizeof(json), &n) != HD_OK || !object_parse(json, n, &object))
        return wrong(err, "has a header that cannot be read");
    HD_TRY(header_read(&object, err, &jwt));
    if (hd_base64url_decode(parts[1], json, sizeof(json), &n) != HD_OK || !object_parse(json, n, &object))
        return wrong(err, "has claims that cannot be read");
    HD_TRY(claims_read(arena, &object, err, &jwt.claims));
    if (hd_base64url_decode(parts[2], jwt.signature, sizeof(jwt.signature), &n) != HD_OK || n != sizeof(jwt.signature))
        return wrong(err, "has a signature that cannot be read");
    jwt.signed_part = (struct hd_str){text, parts[0].len + 1 + parts[1].len};
    *ret = jwt;
    return HD_OK;
}

enum hd_status hd_jwt_check(const struct hd_jwt_claims *claims, int64_t now_wall_ms, struct hd_err *err) {
    int64_t now_s = now_wall_ms / 1000;

    if (!hd_streq(claims->issuer, HD_JWT_ISSUER) || !hd_streq(claims->audience, HD_JWT_AUDIENCE))
        return wrong(err, "is not for this platform");
    if (claims->expires_s <= now_s)
        return wrong(err, "has expired");
    if (claims->issued_s > now_s + HD_JWT_SKEW_S || claims->not_before_s > now_s + HD_JWT_SKEW_S)
        return wrong(err, "is not valid yet");
    if (claims->expires_s - claims->issued_s > HD_JWT_LIFE_MAX_S)
        return wrong(err, "lasts longer than any of this platform");
    return HD_OK;
}

// --- writing ---------------------------------------------------------------------------------------------------------

static void add_text(struct hd_buf *out, const char *name, const char *text) {
    hd_buf_addf(out, "\"%s\":", name);
    hd_json_add_string(out, text, strlen(text));
    hd_buf_addc(out, ',');
}

static void add_uuid(struct hd_buf *out, const char *name, struct hd_uuid id) {
    char text[HD_UUID_TEXT];

    hd_uuid_format(id, text);
    add_text(out, name, text);
}

void hd_jwt_signing_input(const char *kid, const struct hd_jwt_claims *claims, struct hd_buf *out) {
    HD_AUTO_BUF struct hd_buf json = {0};

    hd_buf_addf(&json, "{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"typ\":\"JWT\"}", kid);
    hd_base64url_add(out, json.data, json.len);
    hd_buf_clear(&json);
    hd_buf_addc(&json, '{');
    add_text(&json, "iss", claims->issuer);
    add_text(&json, "aud", claims->audience);
    add_text(&json, "sub", claims->subject);
    add_text(&json, "tenant", claims->tenant);
    add_uuid(&json, "sid", claims->session);
    add_uuid(&json, "jti", claims->id);
    if (claims->not_before_s)
        hd_buf_addf(&json, "\"nbf\":%lld,", (long long)claims->not_before_s);
    hd_buf_addf(&json, "\"iat\":%lld,\"exp\":%lld}", (long long)claims->issued_s, (long long)claims->expires_s);
    hd_buf_addc(out, '.');
    hd_base64url_add(out, json.data, json.len);
}
