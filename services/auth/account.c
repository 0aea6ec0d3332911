// Service accounts and API tokens.
#include <openssl/evp.h>

#include "services/auth/auth.h"

#define DAY_MS (INT64_C(24) * 60 * 60 * 1000)
#define TTL_DEFAULT_MS (90 * DAY_MS)
#define TTL_MAX_MS (366 * DAY_MS)
#define OVERLAP_MAX_MS (30 * DAY_MS)
#define ACCOUNT "service-account:"

static enum hd_status put_service_account(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__PutServiceAccountRequest *request = (const Hodei__V1__PutServiceAccountRequest *)item->msg;
    Hodei__V1__ServiceAccount *reply = (Hodei__V1__ServiceAccount *)item->reply;
    struct hd_rows rows;

    HD_TRY(auth_name_check(cx, "name", request->name));
    HD_TRY(auth_text_check(cx, "description", request->description));
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_PUT_ACCOUNT], &rows, HD_TEXT(item->principal->tenant), HD_TEXT(request->name),
                  HD_TEXT(request->description), HD_TEXT(item->principal->subject), HD_I64(cx->now.wall_ms)));
    const Hodei__V1__ServiceAccount *made = (void *)auth_row(cx, &rows, 0, &hodei__v1__service_account__descriptor);
    reply->name = made->name;
    reply->description = made->description;
    reply->created_by = made->created_by;
    reply->created_at_ms = made->created_at_ms;
    return auth_audit(cx, item, "PutServiceAccount", request->name, NULL);
}
AUTH_CHANGE(auth_put_service_account, put_service_account)

static enum hd_status delete_service_account(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__DeleteServiceAccountRequest *request = (const Hodei__V1__DeleteServiceAccountRequest *)item->msg;
    const char *tenant = item->principal->tenant;
    struct hd_rows rows;
    uint64_t bits;

    HD_TRY(auth_subject_bits(cx, item, hd_arena_printf(cx->arena, ACCOUNT "%s", request->name), &bits));
    HD_TRY(auth_may_give(cx, item, bits));
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_ADMINS], &rows, HD_TEXT(tenant)));
    int64_t before = hd_row_int(&rows, 0, 0);
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_DELETE_ACCOUNT], &rows, HD_TEXT(tenant), HD_TEXT(request->name),
                  HD_I64(cx->now.wall_ms)));
    if (rows.affected == 0) {
        hd_fail(cx, HD_MISSING, "there is no service account \"%.64s\"", request->name);
        hd_err_field(&cx->err, "name");
        return HD_MISSING;
    }
    HD_TRY(auth_admin_left(cx, item, before));
    return auth_audit(cx, item, "DeleteServiceAccount", request->name, NULL);
}
AUTH_CHANGE(auth_delete_service_account, delete_service_account)

// --- tokens ----------------------------------------------------------------------------------------------------------

struct new_token {
    const char *name, *subject;
    uint64_t bits;
    int64_t ttl_ms;
    bool twin; // another living one of that name is there, and may be
};

static enum hd_status token_make(struct hd_ctx *cx, const struct hd_item *item, const struct new_token *what,
                                 Hodei__V1__CreateTokenReply *reply) {
    uint8_t sha256[AUTH_SHA256_BYTES], random[AUTH_TOKEN_RANDOM_BYTES];
    char *token = hd_arena_alloc(cx->arena, AUTH_TOKEN_TEXT);
    struct hd_rows rows;
    size_t n;

    hd_random_bytes(random, sizeof(random));
    auth_token_format(random, token);
    if (EVP_Digest(token, strlen(token), sha256, NULL, EVP_sha256(), NULL) != 1)
        return hd_fail(cx, HD_INTERNAL, "SHA-256 of the new token could not be computed");
    char **names = auth_permission_names(cx->arena, what->bits, &n);
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_ADD_TOKEN], &rows, HD_BYTES(sha256, sizeof(sha256)), HD_I64(cx->now.wall_ms),
                  HD_TEXT(what->subject), HD_TEXT(item->principal->tenant), HD_TEXTS((const char *const *)names, n),
                  HD_I64(cx->now.wall_ms + what->ttl_ms), HD_UUID(hd_new_id(cx)), HD_TEXT(what->name),
                  HD_TEXT(item->principal->subject), HD_BOOL(what->twin)));
    if (rows.n == 0) {
        hd_fail(cx, HD_CONFLICT, "%.140s has a token \"%.64s\" already", what->subject, what->name);
        hd_err_field(&cx->err, "name");
        hd_err_hint(&cx->err, "choose another name, or rotate or revoke that one: hodei token list");
        return HD_CONFLICT;
    }
    reply->token = token;
    reply->about = (Hodei__V1__ApiToken *)auth_row(cx, &rows, 0, &hodei__v1__api_token__descriptor);
    return HD_OK;
}

static enum hd_status ttl_check(struct hd_ctx *cx, int64_t ttl_ms) {
    if (ttl_ms >= 0 && ttl_ms <= TTL_MAX_MS)
        return HD_OK;
    hd_fail(cx, HD_INVALID, "a token lives for a year at most");
    hd_err_field(&cx->err, "ttl_ms");
    return HD_INVALID;
}

// A token is for the caller, or for a service account of the tenant; nobody makes one that stands for another person.
static enum hd_status owner_of(struct hd_ctx *cx, const struct hd_item *item, const char *named, const char **ret) {
    *ret = *named ? named : item->principal->subject;
    if (hd_streq(*ret, "admin")) {
        hd_fail(cx, HD_PRECONDITION, "the admin token of the settings makes no tokens for itself");
        hd_err_field(&cx->err, "subject");
        hd_err_hint(&cx->err, "name a service account: service-account:NAME");
        return HD_PRECONDITION;
    }
    if (hd_starts_with(*ret, ACCOUNT) && !strchr(*ret, '@'))
        return auth_principal_check(cx, item, "subject", *ret, false);
    if (hd_streq(*ret, item->principal->subject))
        return HD_OK;
    hd_fail(cx, HD_DENIED, "a token for \"%.140s\" can be made by nobody else", *ret);
    hd_err_field(&cx->err, "subject");
    hd_err_hint(&cx->err, "name a service account (service-account:NAME), or nobody for yourself");
    return HD_DENIED;
}

static enum hd_status create_token(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__CreateTokenRequest *request = (const Hodei__V1__CreateTokenRequest *)item->msg;
    Hodei__V1__CreateTokenReply *reply = (Hodei__V1__CreateTokenReply *)item->reply;
    struct new_token what = {.name = request->name,
                             .bits = auth_caller_bits(cx, item),
                             .ttl_ms = request->ttl_ms ? request->ttl_ms : TTL_DEFAULT_MS};

    HD_TRY(auth_name_check(cx, "name", request->name));
    HD_TRY(ttl_check(cx, request->ttl_ms));
    HD_TRY(owner_of(cx, item, request->subject, &what.subject));
    if (request->n_permissions)
        HD_TRY(auth_bits_read(cx, request->permissions, request->n_permissions, &what.bits));
    HD_TRY(auth_may_give(cx, item, what.bits));
    HD_TRY(token_make(cx, item, &what, reply));
    return auth_audit(cx, item, "CreateToken", reply->about->id,
                      hd_arena_printf(cx->arena, "\"%s\" for %s", what.name, what.subject));
}
AUTH_CHANGE(auth_create_token, create_token)

static enum hd_status token_missing(struct hd_ctx *cx, const char *id) {
    hd_fail(cx, HD_MISSING, "there is no token %.40s", id);
    hd_err_field(&cx->err, "id");
    return HD_MISSING;
}

static enum hd_status token_get(struct hd_ctx *cx, const struct hd_item *item, const char *text, struct hd_uuid *ret_id,
                                Hodei__V1__ApiToken **ret) {
    struct hd_rows rows = {0};

    if (hd_uuid_parse(text, ret_id) == HD_OK)
        HD_TRY(HD_RUN(cx, &auth_sql[SQL_TOKEN], &rows, HD_TEXT(item->principal->tenant), HD_I64(cx->now.wall_ms),
                      HD_UUID(*ret_id)));
    if (rows.n == 0)
        return token_missing(cx, text);
    *ret = (Hodei__V1__ApiToken *)auth_row(cx, &rows, 0, &hodei__v1__api_token__descriptor);
    return HD_OK;
}

static enum hd_status end_at(struct hd_ctx *cx, const struct hd_item *item, struct hd_uuid id, int64_t at_ms) {
    return HD_RUN(cx, &auth_sql[SQL_END_TOKEN], NULL, HD_TEXT(item->principal->tenant), HD_UUID(id), HD_I64(at_ms),
                  HD_I64(cx->now.wall_ms));
}

static enum hd_status rotate_token(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__RotateTokenRequest *request = (const Hodei__V1__RotateTokenRequest *)item->msg;
    Hodei__V1__CreateTokenReply *reply = (Hodei__V1__CreateTokenReply *)item->reply;
    Hodei__V1__ApiToken *old;
    struct hd_uuid id;
    const char *subject;
    struct new_token what = {.twin = true, .ttl_ms = TTL_DEFAULT_MS};

    if (request->overlap_ms < 0 || request->overlap_ms > OVERLAP_MAX_MS) {
        hd_fail(cx, HD_INVALID, "the old token goes on for 30 days at most");
        hd_err_field(&cx->err, "overlap_ms");
        return HD_INVALID;
    }
    HD_TRY(token_get(cx, item, request->id, &id, &old));
    if (!hd_streq(old->state, "active")) {
        hd_fail(cx, HD_PRECONDITION, "the token %s is %s", old->id, old->state);
        hd_err_hint(&cx->err, "make a new one");
        return HD_PRECONDITION;
    }
    HD_TRY(owner_of(cx, item, old->subject, &subject));
    HD_TRY(auth_bits_read(cx, old->permissions, old->n_permissions, &what.bits));
    HD_TRY(auth_may_give(cx, item, what.bits));
    what.name = old->name;
    what.subject = subject;
    if (old->expires_at_ms > old->created_at_ms)
        what.ttl_ms = old->expires_at_ms - old->created_at_ms;
    HD_TRY(end_at(cx, item, id, cx->now.wall_ms + request->overlap_ms));
    HD_TRY(token_make(cx, item, &what, reply));
    return auth_audit(cx, item, "RotateToken", old->id, hd_arena_printf(cx->arena, "successor %s", reply->about->id));
}
AUTH_CHANGE(auth_rotate_token, rotate_token)

// Whoever may change tokens may end any: that gives nobody anything.
static enum hd_status revoke_token(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__RevokeTokenRequest *request = (const Hodei__V1__RevokeTokenRequest *)item->msg;
    Hodei__V1__ApiToken *token;
    struct hd_uuid id;

    HD_TRY(token_get(cx, item, request->id, &id, &token));
    if (hd_streq(token->state, "revoked"))
        return HD_OK;
    HD_TRY(end_at(cx, item, id, cx->now.wall_ms));
    return auth_audit(cx, item, "RevokeToken", token->id,
                      hd_arena_printf(cx->arena, "\"%s\" of %s", token->name, token->subject));
}
AUTH_CHANGE(auth_revoke_token, revoke_token)
