#include "services/api-gateway/gateway.h"

#include <strings.h>

#include <openssl/sha.h>

#include "base/pb.h"
#include "hodei/v1/auth.pb-c.h"

#define TOKEN_MAX HD_JWT_MAX_BYTES
#define KNOWN_TTL_MAX_MS 2000 // a token that is taken back works no longer than this
#define UNKNOWN_TTL_MS 1000
#define ASK_MS 1000 // a replica that died with the question is not waited for: it only reads, so it may be asked again

static enum hd_status unauthenticated(struct exchange *ex, const char *text) {
    hd_err_set(&ex->err, HD_UNAUTHENTICATED, "%s", text);
    hd_err_hint(&ex->err, "send the header Authorization: Bearer <token>");
    return HD_UNAUTHENTICATED;
}

static enum hd_status token_hash(struct exchange *ex, struct hd_str *ret_token, uint8_t ret[TOKEN_HASH_BYTES]) {
    const char *header = mg_get_header(ex->conn, "Authorization");

    if (!header)
        return unauthenticated(ex, "the request has no token");
    if (strncasecmp(header, "Bearer ", 7) != 0)
        return unauthenticated(ex, "the Authorization header is not a bearer token");
    header += 7 + strspn(header + 7, " ");
    size_t len = strcspn(header, " \t");
    if (len == 0 || len > TOKEN_MAX || header[len])
        return unauthenticated(ex, "the token is not well formed");
    SHA256((const unsigned char *)header, len, ret);
    *ret_token = (struct hd_str){header, len};
    return HD_OK;
}

// What auth is asked for: the hash of an API token; the session of an access token, once that is verified.
static enum hd_status question(struct exchange *ex, struct hd_str token, uint8_t *hash,
                               Hodei__V1__AuthenticateRequest *ret, int64_t *ret_ttl_ms) {
    struct hd_jwt jwt;

    *ret_ttl_ms = KNOWN_TTL_MAX_MS;
    if (!hd_jwt_outline(token.ptr)) {
        ret->token_sha256 = (ProtobufCBinaryData){.len = TOKEN_HASH_BYTES, .data = hash};
        return HD_OK;
    }
    enum hd_status status = jwt_check(ex, token.ptr, token.len, &jwt);
    if (status == HD_UNAUTHENTICATED)
        hd_err_hint(&ex->err, "take a new one by POST /v1/refresh or POST /v1/login");
    HD_TRY(status);
    int64_t left_ms = jwt.claims.expires_s * 1000 - hd_now_read().wall_ms;
    *ret_ttl_ms = left_ms < KNOWN_TTL_MAX_MS ? left_ms : KNOWN_TTL_MAX_MS;
    ret->session.data = hd_arena_memdup(&ex->arena, jwt.claims.session.b, sizeof(jwt.claims.session.b));
    ret->session.len = sizeof(jwt.claims.session.b);
    return HD_OK;
}

static enum hd_status ask_auth(struct exchange *ex, struct hd_str token, uint8_t *hash, struct hd_str *ret) {
    Hodei__V1__AuthenticateRequest request = HODEI__V1__AUTHENTICATE_REQUEST__INIT;
    ProtobufCMessage *reply;
    uint8_t *packed;
    int64_t ttl_max_ms;

    HD_TRY(question(ex, token, hash, &request, &ttl_max_ms));
    int64_t until = hd_now_read().mono_ms + ex->gw->request_timeout_ms, left = ex->gw->request_timeout_ms;
    enum hd_status status;
    do {
        status = bus_call(ex, "auth", "Authenticate", &request.base, &hodei__v1__authenticate_reply__descriptor,
                          left < ASK_MS ? left : ASK_MS, &reply);
        left = until - hd_now_read().mono_ms;
    } while (status == HD_TIMEOUT && left > 0);
    int64_t now = hd_now_read().mono_ms;
    if (status == HD_UNAUTHENTICATED) {
        auth_cache_put(ex->gw->cache, hash, now, UNKNOWN_TTL_MS, NULL, 0);
        return unauthenticated(ex, "the token is not known, or no longer valid");
    }
    HD_TRY(status);
    const Hodei__V1__AuthenticateReply *answer = (const void *)reply;
    if (!answer->principal)
        return hd_err_set(&ex->err, HD_INTERNAL, "auth answered without a principal");
    hd_pb_pack(&ex->arena, &answer->principal->base, &packed, &ret->len);
    ret->ptr = (const char *)packed;
    int64_t ttl = answer->ttl_ms < ttl_max_ms ? answer->ttl_ms : ttl_max_ms;
    auth_cache_put(ex->gw->cache, hash, now, ttl, packed, ret->len);
    return HD_OK;
}

enum hd_status exchange_authenticate(struct exchange *ex) {
    uint8_t hash[TOKEN_HASH_BYTES];
    struct hd_str packed = {0}, token;
    ProtobufCMessage *principal;

    HD_TRY(token_hash(ex, &token, hash));
    enum auth_cached cached = auth_cache_get(ex->gw->cache, hash, hd_now_read().mono_ms, &ex->arena, &packed);
    hd_metric_add(&gateway_metrics[cached == AUTH_CACHE_MISS ? METRIC_CACHE_MISS : METRIC_CACHE_HIT], 1);
    if (cached == AUTH_CACHE_UNKNOWN)
        return unauthenticated(ex, "the token is not known, or no longer valid");
    if (cached == AUTH_CACHE_MISS)
        HD_TRY(ask_auth(ex, token, hash, &packed));
    HD_TRY(hd_pb_unpack(&ex->arena, &hodei__v1__principal__descriptor, packed.ptr, packed.len, &ex->err, &principal));
    ex->principal = (Hodei__V1__Principal *)principal;
    return HD_OK;
}

enum hd_status exchange_authorize(struct exchange *ex) {
    const char *wanted = ex->match.route->permission;

    if (!wanted)
        return HD_OK;
    for (size_t i = 0; i < ex->principal->n_permissions; i++)
        if (hd_streq(ex->principal->permissions[i], "*") || hd_streq(ex->principal->permissions[i], wanted))
            return HD_OK;
    hd_err_set(&ex->err, HD_DENIED, "%.100s may not do this", ex->principal->subject);
    hd_err_hint(&ex->err, "it needs the permission %s", wanted);
    return HD_DENIED;
}
