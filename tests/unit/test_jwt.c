#include "base/ed25519.h"
#include "base/jwt.h"
#include "test.h"

#define NOW_MS INT64_C(1800000000000)
#define NOW_S (NOW_MS / 1000)

static struct hd_arena arena;
static struct hd_err err;
static struct hd_jwt jwt;
static const char kid[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

static struct hd_jwt_claims claims_make(void) {
    return (struct hd_jwt_claims){.issuer = HD_JWT_ISSUER,
                                  .audience = HD_JWT_AUDIENCE,
                                  .subject = "user:ane",
                                  .tenant = "default",
                                  .session = {{1, 2, 3}},
                                  .id = {{9}},
                                  .issued_s = NOW_S,
                                  .expires_s = NOW_S + 300};
}

// A token of these two JSON texts with a signature of zeros.
static enum hd_status parse_json(const char *header, const char *payload) {
    HD_AUTO_BUF struct hd_buf text = {0};
    uint8_t zeros[HD_JWT_SIGNATURE_BYTES] = {0};

    hd_base64url_add(&text, header, strlen(header));
    hd_buf_addc(&text, '.');
    hd_base64url_add(&text, payload, strlen(payload));
    hd_buf_addc(&text, '.');
    hd_base64url_add(&text, zeros, sizeof(zeros));
    return hd_jwt_parse(&arena, text.data, text.len, &err, &jwt);
}

#define HEADER "{\"alg\":\"EdDSA\",\"kid\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"typ\":\"JWT\"}"
#define UUID "\"01020300-0000-7000-8000-000000000000\""
#define REST                                                                                                           \
    "\"iss\":\"hodei-auth\",\"aud\":\"hodei\",\"tenant\":\"default\",\"sid\":" UUID ",\"jti\":" UUID                   \
    ",\"iat\":1,\"exp\":2}"
#define PAYLOAD "{\"sub\":\"user:ane\"," REST

TEST(what_is_written_is_read) {
    HD_AUTO_BUF struct hd_buf text = {0};
    uint8_t secret[32] = {7}, key[32], other[32], signature[64];
    char name[HD_JWT_KID_CHARS + 1];

    hd_arena_init(&arena);
    struct hd_jwt_claims claims = claims_make();
    CHECK(hd_ed25519_public(secret, key));
    hd_ed25519_kid(key, name);
    CHECK_INT(strlen(name), HD_JWT_KID_CHARS);
    hd_jwt_signing_input(name, &claims, &text);
    size_t signed_len = text.len;
    CHECK(hd_ed25519_sign(secret, text.data, text.len, signature));
    hd_buf_addc(&text, '.');
    hd_base64url_add(&text, signature, sizeof(signature));
    CHECK_INT(hd_jwt_parse(&arena, text.data, text.len, &err, &jwt), HD_OK);
    CHECK_STR(jwt.kid, name);
    CHECK_STR(jwt.claims.subject, "user:ane");
    CHECK_STR(jwt.claims.tenant, "default");
    CHECK_INT(jwt.claims.session.b[2], 3);
    CHECK_INT(jwt.claims.expires_s, NOW_S + 300);
    CHECK_INT(jwt.signed_part.len, signed_len);
    CHECK(hd_ed25519_verify(key, jwt.signed_part.ptr, jwt.signed_part.len, jwt.signature));
    // another key, another text, another signature
    secret[0] = 8;
    CHECK(hd_ed25519_public(secret, other));
    CHECK(!hd_ed25519_verify(other, jwt.signed_part.ptr, jwt.signed_part.len, jwt.signature));
    CHECK(!hd_ed25519_verify(key, jwt.signed_part.ptr, jwt.signed_part.len - 1, jwt.signature));
    jwt.signature[63] ^= 1;
    CHECK(!hd_ed25519_verify(key, jwt.signed_part.ptr, jwt.signed_part.len, jwt.signature));
    hd_arena_release(&arena);
}

// The key pair of RFC 8037, appendix A: its thumbprint stands there.
TEST(the_thumbprint_of_the_standard) {
    static const char x[] = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    char name[HD_JWT_KID_CHARS + 1];
    uint8_t key[32];
    size_t len;

    CHECK_INT(hd_base64url_decode(HD_STR(x), key, sizeof(key), &len), HD_OK);
    hd_ed25519_kid(key, name);
    CHECK_STR(name, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

TEST(base64url_has_one_spelling) {
    static const char *const bad[] = {"A", "AA==", "AB", "AAB", "A+AA", "A/AA", "A AA", "AA\n", "AAAAA"};
    uint8_t bytes[4];
    size_t len;

    CHECK_INT(hd_base64url_decode(HD_STR("-_8"), bytes, sizeof(bytes), &len), HD_OK);
    CHECK_INT(len, 2);
    CHECK_INT(bytes[0], 0xfb);
    CHECK_INT(bytes[1], 0xff);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK_INT(hd_base64url_decode(hd_str(bad[i]), bytes, sizeof(bytes), &len), HD_INVALID);
    CHECK_INT(hd_base64url_decode(HD_STR("AAAAAAA"), bytes, sizeof(bytes), &len), HD_INVALID); // five bytes
}

TEST(headers_that_are_refused) {
    static const char *const bad[] = {
        "{\"alg\":\"none\",\"kid\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        "{\"alg\":\"HS256\",\"kid\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        "{\"alg\":\"eddsa\",\"kid\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        "{\"alg\":\"EdDSA\"}",
        "{\"kid\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        "{\"alg\":\"EdDSA\",\"kid\":\"\"}",
        "{\"alg\":\"EdDSA\",\"kid\":\"../../../../../../../../../../../../etc/host\"}",
        "{\"alg\":\"EdDSA\",\"kid\":\"x' OR '1'='1' --AAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        "{\"alg\":\"EdDSA\",\"kid\":7}",
        "{\"alg\":\"EdDSA\",\"kid\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB\"}", // stray bits
        "{\"alg\":\"EdDSA\",\"kid\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"crit\":\"exp\"}",
        "{\"alg\":\"EdDSA\",\"kid\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"crit\":[\"exp\"]}",
        "{\"alg\":\"EdDSA\",\"kid\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"jku\":\"http://x/\"}",
        "{\"alg\":\"EdDSA\",\"kid\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"typ\":\"at+jwt\"}",
        "{\"alg\":\"none\",\"alg\":\"EdDSA\",\"kid\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        (HEADER " "),
        (" " HEADER),
        (HEADER "{}"),
        "{}",
        "[]",
        "",
        "{\"alg\":\"EdDSA\",\"k\\u0069d\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
    };
    hd_arena_init(&arena);
    CHECK_INT(parse_json(HEADER, PAYLOAD), HD_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (parse_json(bad[i], PAYLOAD) != HD_UNAUTHENTICATED) {
            CHECK(!"refused");
            printf("taken: %s\n", bad[i]);
        }
        CHECK(!strstr(err.text, "AAAA"));
    }
    hd_arena_release(&arena);
}

TEST(payloads_that_are_refused) {
    static const char *const bad[] = {
        "{" REST,                                            // no sub
        "{\"sub\":7," REST,                                  // of another type
        "{\"sub\":\"\"," REST,                               // empty
        "{\"sub\":\"user:ane\",\"sub\":\"user:root\"," REST, // twice
        "{\"sub\":\"user:ane\",\"exp\":9," REST,             // twice
        "{\"sub\":\"user:\\u0061ne\"," REST,                 // escapes
        "{\"sub\":\"user:\xc3\xb1\"," REST,                  // not ASCII
        "{\"sub\":\"user:ane\",\"x\":null," REST,            // null
        "{\"sub\":\"user:ane\",\"x\":{\"y\":1}," REST,       // nested
        "{\"sub\":\"user:ane\",\"x\":1.5," REST,             // no integer
        "{\"sub\":\"user:ane\",\"x\":-1," REST,              // negative
        "{\"sub\":\"user:ane\",\"x\":01," REST,              // another spelling
        "{\"sub\":\"user:ane\",\"x\":99999999999999999999," REST,
        "{\"sub\":\"user:ane\",\"nbf\":\"1\"," REST,
        "{\"sub\":\"user:ane\",,\"x\":1," REST,
        PAYLOAD "}",
        PAYLOAD "\n",
        "{\"sub\":\"user:ane\"",
        "{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,\"j\":1,\"sub\":\"user:"
        "ane\"," REST, // 18
    };
    hd_arena_init(&arena);
    CHECK_INT(parse_json(HEADER, "{\"sub\":\"user:ane\",\"later\":\"x\",\"nbf\":0," REST),
              HD_OK); // claims may be added
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (parse_json(HEADER, bad[i]) != HD_UNAUTHENTICATED) {
            CHECK(!"refused");
            printf("taken: %s\n", bad[i]);
        }
    hd_arena_release(&arena);
}

TEST(outlines) {
    static const char *const bad[] = {"", ".", "..", "...", "a.b", "a.b.c.d", "e30.e30."};
    HD_AUTO_BUF struct hd_buf text = {0};

    hd_arena_init(&arena);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK_INT(hd_jwt_parse(&arena, bad[i], strlen(bad[i]), &err, &jwt), HD_UNAUTHENTICATED);
    struct hd_jwt_claims claims = claims_make();
    uint8_t zeros[65] = {0};
    hd_jwt_signing_input(kid, &claims, &text);
    hd_buf_addc(&text, '.');
    size_t bare = text.len;
    for (size_t n = 0; n <= 65; n += n == 0 ? 63 : 1) { // no signature, one too short, one too long
        text.len = bare;
        hd_base64url_add(&text, zeros, n);
        CHECK_INT(hd_jwt_parse(&arena, text.data, text.len, &err, &jwt), n == 64 ? HD_OK : HD_UNAUTHENTICATED);
    }
    text.len = bare;
    hd_base64url_add(&text, zeros, 64);
    hd_buf_addc(&text, '.');
    CHECK_INT(hd_jwt_parse(&arena, text.data, text.len, &err, &jwt), HD_UNAUTHENTICATED);
    hd_buf_clear(&text);
    for (int i = 0; i < 3000; i++)
        hd_buf_addc(&text, 'A');
    CHECK_INT(hd_jwt_parse(&arena, text.data, text.len, &err, &jwt), HD_UNAUTHENTICATED);
    CHECK(hd_jwt_outline("a.b.c"));
    CHECK(!hd_jwt_outline("hodei_0123456789abcdefghijklmnopqrstuvwxyzABCDE-_"));
    hd_arena_release(&arena);
}

TEST(claims_are_checked) {
    struct hd_jwt_claims claims = claims_make();
    CHECK_INT(hd_jwt_check(&claims, NOW_MS, &err), HD_OK);
    CHECK_INT(hd_jwt_check(&claims, NOW_MS + 299999, &err), HD_OK);
    CHECK_INT(hd_jwt_check(&claims, NOW_MS + 300000, &err), HD_UNAUTHENTICATED);
    CHECK(strstr(err.text, "expired") != NULL);
    CHECK_INT(hd_jwt_check(&claims, NOW_MS - 60000, &err), HD_OK); // the issuer's clock is ahead
    CHECK_INT(hd_jwt_check(&claims, NOW_MS - 61000, &err), HD_UNAUTHENTICATED);
    claims.not_before_s = NOW_S + 61;
    CHECK_INT(hd_jwt_check(&claims, NOW_MS, &err), HD_UNAUTHENTICATED);
    CHECK(strstr(err.text, "yet") != NULL);
    claims = claims_make();
    claims.audience = "hodei2";
    CHECK_INT(hd_jwt_check(&claims, NOW_MS, &err), HD_UNAUTHENTICATED);
    claims = claims_make();
    claims.issuer = "https://hodei-auth";
    CHECK_INT(hd_jwt_check(&claims, NOW_MS, &err), HD_UNAUTHENTICATED);
    claims = claims_make();
    claims.expires_s = claims.issued_s + 3601;
    CHECK_INT(hd_jwt_check(&claims, NOW_MS, &err), HD_UNAUTHENTICATED);
}

TEST_MAIN
