#include "services/api-gateway/gateway.h"

#include <strings.h>

#include "base/names.h"
#include "base/pb.h"
#include "hodei/v1/auth.pb-c.h"

#define TOKEN_MAX HD_JWT_MAX_BYTES
#define UNKNOWN_TTL_MS 1000
#define REFUSED_TTL_MS 2000
#define TENANT_MAX 64
#define HOME_TENANT "default" // of the platform's administrators
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
    auth_cache_hash(ex->gw->cache, header, len, ret);
    *ret_token = (struct hd_str){header, len};
    return HD_OK;
}

// What auth is asked for: the hash of an API token; the session of an access token, once that is verified. Answers are good until
// *ret_until_ms, wall clock.
static enum hd_status question(struct exchange *ex, struct hd_str token, uint8_t *hash,
                               Hodei__V1__AuthenticateRequest *ret, int64_t *ret_until_ms) {
    struct hd_jwt jwt;

    *ret_until_ms = INT64_MAX;
    if (!hd_jwt_outline(token.ptr)) {
        ret->token_sha256 = (ProtobufCBinaryData){.len = TOKEN_HASH_BYTES, .data = hash};
        return HD_OK;
    }
    enum hd_status status = jwt_check(ex, token.ptr, token.len, &jwt);
    if (status == HD_UNAUTHENTICATED)
        hd_err_hint(&ex->err, "take a new one by POST /v1/refresh or POST /v1/login");
    HD_TRY(status);
    *ret_until_ms = jwt.claims.expires_s * 1000;
    ret->session.data = hd_arena_memdup(&ex->arena, jwt.claims.session.b, sizeof(jwt.claims.session.b));
    ret->session.len = sizeof(jwt.claims.session.b);
    return HD_OK;
}

static void keep(struct exchange *ex, const uint8_t *hash, const Hodei__V1__AuthenticateReply *answer, int64_t until_ms,
                 int64_t asked_ms, struct hd_str *ret) {
    struct auth_answer kept = {.ttl_ms = answer->ttl_ms, .version = answer->policy_version};
    int64_t left_ms = until_ms - hd_now_read().wall_ms;
    uint8_t *packed;

    if (kept.ttl_ms > left_ms)
        kept.ttl_ms = left_ms;

    if (answer->refusal != HODEI__V1__STATUS__STATUS_OK && kept.ttl_ms > REFUSED_TTL_MS)
        kept.ttl_ms = REFUSED_TTL_MS;
    hd_pb_pack(&ex->arena, &answer->base, &packed, &ret->len);
    ret->ptr = (const char *)packed;
    kept.data = packed;
    kept.len = ret->len;
    auth_cache_put(ex->gw->cache, hash, hd_now_read().mono_ms, &kept);
    auth_cache_confirm(ex->gw->cache, answer->policy_version, asked_ms);
}

static enum hd_status ask_auth(struct exchange *ex, struct hd_str token, uint8_t *hash, const char *tenant,
                               const uint8_t *key, struct hd_str *ret) {
    Hodei__V1__AuthenticateRequest request = HODEI__V1__AUTHENTICATE_REQUEST__INIT;
    ProtobufCMessage *reply;
    int64_t until_ms;

    HD_TRY(question(ex, token, hash, &request, &until_ms));
    request.tenant = hd_arena_strdup(&ex->arena, tenant);
    int64_t asked = hd_now_read().mono_ms, until = asked + ex->gw->request_timeout_ms, left = until - asked;
    enum hd_status status;
    do {
        asked = hd_now_read().mono_ms;
        status = bus_call(ex, "auth", "Authenticate", &request.base, &hodei__v1__authenticate_reply__descriptor,
                          left < ASK_MS ? left : ASK_MS, &reply);
        left = until - hd_now_read().mono_ms;
    } while (status == HD_TIMEOUT && left > 0);
    if (status == HD_UNAUTHENTICATED) {
        auth_cache_put(ex->gw->cache, key, hd_now_read().mono_ms, &(struct auth_answer){.ttl_ms = UNKNOWN_TTL_MS});
        return unauthenticated(ex, "the token is not known, or no longer valid");
    }
    if (status == HD_TIMEOUT || status == HD_UNAVAILABLE) {
        hd_err_set(&ex->err, HD_UNAVAILABLE,
                   "who may do what cannot be asked now: the service \"auth\" does not answer");
        hd_err_hint(&ex->err, "nothing was done; try again");
        return HD_UNAVAILABLE;
    }
    HD_TRY(status);
    const Hodei__V1__AuthenticateReply *answer = (const void *)reply;
    if (!answer->principal)
        return hd_err_set(&ex->err, HD_INTERNAL, "auth answered without a principal");
    keep(ex, key, answer, until_ms, asked, ret);
    return HD_OK;
}

// The tenant that the request names has a decision of its own.
static void cache_key(const struct exchange *ex, const uint8_t *token, const char *tenant,
                      uint8_t ret[TOKEN_HASH_BYTES]) {
    uint8_t both[TOKEN_HASH_BYTES + TENANT_MAX];
    size_t len = strlen(tenant);

    memcpy(both, token, TOKEN_HASH_BYTES);
    memcpy(both + TOKEN_HASH_BYTES, tenant, len);
    if (len)
        auth_cache_hash(ex->gw->cache, both, TOKEN_HASH_BYTES + len, ret);
    else
        memcpy(ret, token, TOKEN_HASH_BYTES);
}

static enum hd_status refused(struct exchange *ex, enum hd_status status, const char *text) {
    hd_err_set(&ex->err, status, "%s", text);
    if (status == HD_MISSING)
        hd_err_hint(&ex->err, "the header Hodei-Tenant names one where you have a role");
    return status;
}

static enum hd_status decide(struct exchange *ex) {
    const char *named = mg_get_header(ex->conn, "Hodei-Tenant");
    const char *tenant = named && hd_token_valid(named) ? named : "";
    uint8_t hash[TOKEN_HASH_BYTES], key[TOKEN_HASH_BYTES];
    struct hd_str packed = {0}, token;
    ProtobufCMessage *msg;

    HD_TRY(token_hash(ex, &token, hash));
    cache_key(ex, hash, tenant, key);
    enum auth_cached cached = auth_cache_get(ex->gw->cache, key, hd_now_read().mono_ms, &ex->arena, &packed);
    hd_metric_add(&gateway_metrics[cached == AUTH_CACHE_MISS ? METRIC_CACHE_MISS : METRIC_CACHE_HIT], 1);
    if (cached == AUTH_CACHE_UNKNOWN)
        return unauthenticated(ex, "the token is not known, or no longer valid");
    if (cached == AUTH_CACHE_MISS)
        HD_TRY(ask_auth(ex, token, hash, tenant, key, &packed));
    HD_TRY(
        hd_pb_unpack(&ex->arena, &hodei__v1__authenticate_reply__descriptor, packed.ptr, packed.len, &ex->err, &msg));
    const Hodei__V1__AuthenticateReply *answer = (const void *)msg;
    ex->principal = answer->principal;
    if (named && !*tenant && *named)
        return refused(ex, HD_MISSING, hd_arena_printf(&ex->arena, "there is no tenant \"%.64s\"", named));
    if (answer->refusal != HODEI__V1__STATUS__STATUS_OK)
        return refused(ex, (enum hd_status)answer->refusal, answer->refusal_text);
    return HD_OK;
}

enum hd_status exchange_authenticate(struct exchange *ex) {
    enum hd_status status = decide(ex);

    if (status == HD_UNAUTHENTICATED || status == HD_DENIED || status == HD_MISSING)
        refusal_note(ex);
    return status;
}

static bool has(const Hodei__V1__Principal *principal, const char *wanted) {
    for (size_t i = 0; i < principal->n_permissions; i++)
        if (hd_streq(principal->permissions[i], "*") || hd_streq(principal->permissions[i], wanted))
            return true;
    return false;
}

// Where somebody may do it who may not do it in the whole tenant: the service keeps to that.
static bool narrow(struct exchange *ex, const char *wanted) {
    Hodei__V1__Principal *principal = ex->principal;
    size_t most = 0;

    for (size_t i = 0; i < principal->n_scoped; i++)
        most += principal->scoped[i]->n_within;
    if (most == 0)
        return false;
    principal->within = HD_NEW_ARRAY(&ex->arena, most, Hodei__V1__Scope *);
    principal->n_within = 0;
    for (size_t i = 0; i < principal->n_scoped; i++) {
        const Hodei__V1__ScopedPermissions *scoped = principal->scoped[i];
        bool may = false;
        for (size_t k = 0; k < scoped->n_permissions; k++)
            may |= hd_streq(scoped->permissions[k], wanted);
        for (size_t k = 0; may && k < scoped->n_within; k++)
            principal->within[principal->n_within++] = scoped->within[k];
    }
    principal->narrowed = principal->n_within > 0;
    return principal->narrowed;
}

enum hd_status exchange_authorize(struct exchange *ex) {
    const struct route *route = ex->match.route;

    if (!route->permission)
        return HD_OK;
    if (route->platform ? has(ex->principal, route->permission) && hd_streq(ex->principal->tenant, HOME_TENANT)
                        : has(ex->principal, route->permission) || narrow(ex, route->permission))
        return HD_OK;
    if (route->platform) {
        route_missing(ex->info->local_uri_raw, &ex->err);
    } else {
        hd_err_set(&ex->err, HD_DENIED, "%.100s may not do this", ex->principal->subject);
        hd_err_hint(&ex->err, "it needs the permission %s in the tenant %s", route->permission, ex->principal->tenant);
    }
    refusal_note(ex);
    return ex->err.status;
}
