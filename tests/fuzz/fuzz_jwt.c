// A bearer token: what the parser takes has one spelling, so that writing its header and claims again gives the same bytes wherever
// they have the members and the order that this platform writes.
#include "base/jwt.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct hd_arena arena;
    struct hd_err err = {0};
    struct hd_jwt jwt;

    hd_arena_init(&arena);
    if (hd_jwt_parse(&arena, (const char *)data, size, &err, &jwt) != HD_OK) {
        if (err.status != HD_UNAUTHENTICATED || !*err.text)
            abort();
    } else {
        HD_AUTO_BUF struct hd_buf again = {0};
        struct hd_jwt second;
        if (strlen(jwt.kid) != HD_JWT_KID_CHARS || jwt.signed_part.len >= size)
            abort();
        hd_jwt_signing_input(jwt.kid, &jwt.claims, &again);
        hd_buf_addc(&again, '.');
        hd_base64url_add(&again, jwt.signature, sizeof(jwt.signature));
        if (again.len <= HD_JWT_MAX_BYTES &&
            (hd_jwt_parse(&arena, again.data, again.len, &err, &second) != HD_OK ||
             memcmp(&second.claims.session, &jwt.claims.session, sizeof(second.claims.session)) != 0 ||
             strcmp(second.claims.subject, jwt.claims.subject) != 0 || second.claims.expires_s != jwt.claims.expires_s))
            abort();
        (void)hd_jwt_check(&jwt.claims, INT64_C(1800000000000), &err);
    }
    hd_arena_release(&arena);
    return 0;
}
