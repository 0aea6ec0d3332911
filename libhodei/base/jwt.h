// Access tokens: JSON Web Tokens (RFC 7519) signed with Ed25519 (RFC 8037), as this platform issues them and nothing wider. Pure.
//
// A token is three parts of base64url with dots between. Only the canonical form of everything is read: no padding, no stray bits, no
// blanks, escapes or nesting in the JSON, each member once, nothing behind the end. The header has "alg" ("EdDSA"), "kid" and
// perhaps "typ" ("JWT"), and no other member: what "crit", "jwk", "jku" or "zip" would ask for is not done, so a token with them is
// refused. Claims that are not known here are ignored, so that a later release can add some.
//
// hd_jwt_parse proves nothing: a token counts once its signature is that of the key named by `kid` (base/ed25519.h) and hd_jwt_check
// is content. Texts of errors name what is wrong and never repeat the token. Bounds: HD_JWT_MAX_BYTES, HD_JWT_MEMBERS_MAX a part.
#ifndef HD_BASE_JWT_H
#define HD_BASE_JWT_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/uuid.h"

#define HD_JWT_MAX_BYTES 2048
#define HD_JWT_MEMBERS_MAX 16
#define HD_JWT_KID_CHARS 43 // base64url of 32 bytes: the key's thumbprint
#define HD_JWT_SIGNATURE_BYTES 64
#define HD_JWT_AUDIENCE "hodei"
#define HD_JWT_ISSUER "hodei-auth"
#define HD_JWT_LIFE_MAX_S 3600 // what lasts longer is none of ours
#define HD_JWT_SKEW_S 60       // clocks of issuer and reader may differ by so much; the end is exact

struct hd_jwt_claims {
    const char *issuer, *audience, *subject, *tenant; // iss, aud, sub, tenant
    struct hd_uuid session, id;                       // sid, jti
    int64_t issued_s, not_before_s, expires_s;        // iat, nbf (0: none), exp
};
struct hd_jwt {
    char kid[HD_JWT_KID_CHARS + 1];
    struct hd_jwt_claims claims; // texts live in the arena
    struct hd_str signed_part;   // of the caller's text
    uint8_t signature[HD_JWT_SIGNATURE_BYTES];
};

// Whether a bearer token has the outline of a JWT; an API token has no dot.
bool hd_jwt_outline(const char *text);
// HD_UNAUTHENTICATED: not a token of this form. `text` must stay while ret is used.
enum hd_status hd_jwt_parse(struct hd_arena *arena, const char *text, size_t len, struct hd_err *err,
                            struct hd_jwt *ret) HD_MUST_USE;
// Issuer, audience and times. Says nothing of the signature.
enum hd_status hd_jwt_check(const struct hd_jwt_claims *claims, int64_t now_wall_ms, struct hd_err *err) HD_MUST_USE;
// What is signed: header and claims. Behind it go a dot and the signature in base64url.
void hd_jwt_signing_input(const char *kid, const struct hd_jwt_claims *claims, struct hd_buf *out);

void hd_base64url_add(struct hd_buf *out, const void *data, size_t len); // no padding
// The canonical form only; HD_INVALID otherwise, or where it has more than `cap` bytes.
enum hd_status hd_base64url_decode(struct hd_str text, uint8_t *ret, size_t cap, size_t *ret_len) HD_MUST_USE;

#endif
