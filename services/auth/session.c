// Sessions: a refresh token of one use each time, access tokens signed from it.
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/log.h"
#include "hodei/v1/auth.pb-c.h"
#include "services/auth/auth.h"

#define PREFIX "hodeir_"
#define SESSIONS_MAX 100                                // of a user; beyond, those that were refreshed longest ago end
#define KNOWN_MS (INT64_C(90) * 24 * 60 * 60 * 1000)    // how long a good address is remembered
#define FAILURES_KEPT_MS (INT64_C(24) * 60 * 60 * 1000) // of addresses that were never good

// What a refresh token says.
struct ticket {
    struct hd_uuid session;
    uint8_t family[16], once[32];
};

static void sha256(const void *data, size_t len, uint8_t ret[AUTH_SECRET_BYTES]) {
    if (EVP_Digest(data, len, ret, NULL, EVP_sha256(), NULL) != 1)
        abort();
}

static char *ticket_text(struct hd_ctx *cx, const struct ticket *ticket) {
    HD_AUTO_BUF struct hd_buf out = {0};

    hd_buf_adds(&out, PREFIX);
    hd_base64url_add(&out, ticket, sizeof(*ticket));
    char *text = hd_arena_strdup(cx->arena, out.data);
    OPENSSL_cleanse(out.data, out.len);
    return text;
}

static bool ticket_read(const char *text, struct ticket *ret) {
    size_t len;

    if (!hd_starts_with(text, PREFIX))
        return false;
    struct hd_str rest = hd_str(text + strlen(PREFIX));
    return hd_base64url_decode(rest, (uint8_t *)ret, sizeof(*ret), &len) == HD_OK && len == sizeof(*ret);
}

static enum hd_status sign(struct hd_ctx *cx, const struct auth *auth, const struct hd_jwt_claims *claims, char **ret) {
    HD_AUTO_BUF struct hd_buf text = {0};
    uint8_t secret[HD_ED25519_KEY_BYTES], signature[HD_JWT_SIGNATURE_BYTES];
    const char *kid;

    HD_TRY(auth_key_now(cx, &auth->ring, &kid, secret));
    hd_jwt_signing_input(kid, claims, &text);
    bool done = hd_ed25519_sign(secret, text.data, text.len, signature);
    OPENSSL_cleanse(secret, sizeof(secret));
    if (!done)
        return hd_fail(cx, HD_INTERNAL, "an access token could not be signed");
    hd_buf_addc(&text, '.');
    hd_base64url_add(&text, signature, sizeof(signature));
    *ret = hd_arena_strdup(cx->arena, text.data);
    return HD_OK;
}

static enum hd_status tokens(struct hd_ctx *cx, const struct auth *auth, const char *tenant, const char *user,
                             const struct ticket *ticket, Hodei__V1__TokenReply *reply) {
    char session[HD_UUID_TEXT];
    struct hd_jwt_claims claims = {.issuer = HD_JWT_ISSUER,
                                   .audience = HD_JWT_AUDIENCE,
                                   .subject = hd_arena_printf(cx->arena, "user:%s", user),
                                   .tenant = tenant,
                                   .session = ticket->session,
                                   .id = hd_new_id(cx),
                                   .issued_s = cx->now.wall_ms / 1000};

    claims.expires_s = claims.issued_s + AUTH_ACCESS_TTL_S;
    HD_TRY(sign(cx, auth, &claims, &reply->access_token));
    hd_uuid_format(ticket->session, session);
    reply->session = hd_arena_strdup(cx->arena, session);
    reply->expires_in_s = AUTH_ACCESS_TTL_S;
    reply->refresh_token = ticket_text(cx, ticket);
    reply->refresh_until_ms = cx->now.wall_ms + auth->session_ttl_ms;
    reply->subject = hd_arena_strdup(cx->arena, claims.subject);
    reply->tenant = hd_arena_strdup(cx->arena, tenant);
    return HD_OK;
}

enum hd_status auth_audit_of(struct hd_ctx *cx, const struct hd_item *item, const struct auth_user *user,
                             const char *action) {
    Hodei__V1__Principal who = HODEI__V1__PRINCIPAL__INIT;
    struct hd_item as = *item;

    who.tenant = hd_arena_strdup(cx->arena, user->tenant);
    who.subject = hd_arena_printf(cx->arena, "user:%s", user->name);
    as.principal = &who;
    return auth_audit(cx, &as, action, who.subject, hd_arena_printf(cx->arena, "from %s", item->client));
}

static void not_known(struct hd_item *item, const char *text) {
    hd_item_fail(item, HD_UNAUTHENTICATED, "%s", text);
    hd_err_hint(&item->err, "log in again");
}

enum hd_status auth_session_begin(struct hd_ctx *cx, struct auth *auth, const struct auth_user *user,
                                  struct hd_item *item) {
    struct ticket ticket = {.session = hd_new_id(cx)};
    uint8_t family[AUTH_SECRET_BYTES], once[AUTH_SECRET_BYTES];
    const char *tenant = user->tenant, *name = user->name;
    struct hd_rows rows;

    hd_random_bytes(ticket.family, sizeof(ticket.family));
    hd_random_bytes(ticket.once, sizeof(ticket.once));
    sha256(ticket.family, sizeof(ticket.family), family);
    sha256(ticket.once, sizeof(ticket.once), once);
    HD_TRY(HD_RUN(cx, &auth_user_sql[AUTH_SESSION_SQL_ADD], &rows, HD_UUID(ticket.session), HD_TEXT(tenant),
                  HD_TEXT(name), HD_BYTES(family, sizeof(family)), HD_BYTES(once, sizeof(once)), HD_TEXT(item->client),
                  HD_I64(cx->now.wall_ms), HD_I64(cx->now.wall_ms + auth->session_ttl_ms),
                  HD_I64(user->password_at_ms)));
    if (rows.affected == 0) {
        not_known(item, "the user was changed meanwhile");
        return HD_OK;
    }
    HD_TRY(
        HD_RUN(cx, &auth_user_sql[AUTH_SESSION_SQL_TRIM], NULL, HD_TEXT(tenant), HD_TEXT(name), HD_I64(SESSIONS_MAX)));
    HD_TRY(tokens(cx, auth, tenant, name, &ticket, (Hodei__V1__TokenReply *)item->reply));
    return auth_audit_of(cx, item, user, "Login");
}

// --- refresh and logout ----------------------------------------------------------------------------------------------

static bool same(const void *secret, size_t len, const uint8_t sha[AUTH_SECRET_BYTES]) {
    uint8_t digest[AUTH_SECRET_BYTES];

    sha256(secret, len, digest);
    return CRYPTO_memcmp(digest, sha, sizeof(digest)) == 0;
}

// The session that the token is of, locked; NULL where it is of none.
static enum hd_status session_of(struct hd_ctx *cx, const char *token, struct ticket *ret_ticket,
                                 struct auth_session **ret) {
    *ret = NULL;
    if (!ticket_read(token, ret_ticket))
        return HD_OK;
    HD_TRY(auth_session_lock(cx, ret_ticket->session, ret));
    if (*ret && ((*ret)->expires_at_ms <= cx->now.wall_ms ||
                 !same(ret_ticket->family, sizeof(ret_ticket->family), (*ret)->family_sha256)))
        *ret = NULL;
    return HD_OK;
}

// Two hold the same token, and one of them is a thief: which one cannot be told, so neither goes on.
static enum hd_status reused(struct hd_ctx *cx, const struct auth_session *session, struct hd_item *item) {
    hd_metric_add(&auth_metrics[AUTH_REFRESH_REUSED], 1);
    hd_log(HD_LOG_WARN, &(struct hd_log_fields){.tenant = session->tenant, .trace = item->trace},
           "a session of user %s ends: a refresh token was used twice", session->user);
    HD_TRY(HD_RUN(cx, &auth_user_sql[AUTH_SESSION_SQL_DELETE], NULL, HD_UUID(session->id)));
    not_known(item, "the refresh token was used before: the session has ended");
    return HD_OK;
}

static enum hd_status refresh(struct hd_ctx *cx, struct auth *auth, struct hd_item *item) {
    const Hodei__V1__RefreshRequest *request = (const Hodei__V1__RefreshRequest *)item->msg;
    uint8_t once[AUTH_SECRET_BYTES];
    struct auth_session *session;
    struct ticket ticket;

    HD_TRY(session_of(cx, request->refresh_token, &ticket, &session));
    if (!session) {
        not_known(item, "the refresh token is of no session");
        return HD_OK;
    }
    if (!same(ticket.once, sizeof(ticket.once), session->refresh_sha256))
        return reused(cx, session, item);
    hd_random_bytes(ticket.once, sizeof(ticket.once));
    sha256(ticket.once, sizeof(ticket.once), once);
    HD_TRY(HD_RUN(cx, &auth_user_sql[AUTH_SESSION_SQL_REFRESH], NULL, HD_UUID(session->id),
                  HD_BYTES(once, sizeof(once)), HD_I64(cx->now.wall_ms),
                  HD_I64(cx->now.wall_ms + auth->session_ttl_ms)));
    return tokens(cx, auth, session->tenant, session->user, &ticket, (Hodei__V1__TokenReply *)item->reply);
}

enum hd_status auth_refresh(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    for (size_t i = 0; i < n; i++)
        HD_TRY(refresh(cx, self, &items[i]));
    return HD_OK;
}

enum hd_status auth_logout(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__LogoutRequest *request = (const Hodei__V1__LogoutRequest *)items[i].msg;
        struct auth_session *session;
        struct ticket ticket;
        HD_TRY(session_of(cx, request->refresh_token, &ticket, &session));
        if (session) // what is not there has ended already
            HD_TRY(HD_RUN(cx, &auth_user_sql[AUTH_SESSION_SQL_DELETE], NULL, HD_UUID(session->id)));
    }
    return HD_OK;
}

// --- looking at them and ending them ---------------------------------------------------------------------------------

// The name of the user who asks; NULL where it is no user.
static const char *caller(const struct hd_item *item) {
    const char *subject = item->principal->subject;

    return hd_starts_with(subject, "user:") ? subject + 5 : NULL;
}

static enum hd_status list(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__ListSessionsRequest *request = (const Hodei__V1__ListSessionsRequest *)item->msg;
    Hodei__V1__ListSessionsReply *reply = (Hodei__V1__ListSessionsReply *)item->reply;
    const char *user = *request->user ? request->user : caller(item);
    struct auth_session *sessions;
    struct auth_user *known;
    size_t n;

    if (!user)
        return HD_OK; // who is no user has none
    HD_TRY(auth_user_find(cx, item->principal->tenant, user, &known));
    if (!known && *request->user) {
        hd_item_fail(item, HD_MISSING, "there is no user %.64s", user);
        return HD_OK;
    }
    HD_TRY(auth_sessions_of(cx, item->principal->tenant, user, &sessions, &n));
    reply->sessions = HD_NEW_ARRAY(cx->arena, n + 1, Hodei__V1__Session *);
    reply->n_sessions = n;
    for (size_t i = 0; i < n; i++) {
        Hodei__V1__Session *to = (Hodei__V1__Session *)hd_pb_new(cx->arena, &hodei__v1__session__descriptor);
        to->id = HD_NEW_ARRAY(cx->arena, HD_UUID_TEXT, char);
        hd_uuid_format(sessions[i].id, to->id);
        to->address = hd_arena_strdup(cx->arena, sessions[i].address);
        to->created_at_ms = sessions[i].created_at_ms;
        to->refreshed_at_ms = sessions[i].refreshed_at_ms;
        to->expires_at_ms = sessions[i].expires_at_ms;
        reply->sessions[i] = to;
    }
    return HD_OK;
}

enum hd_status auth_list_sessions(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++)
        HD_TRY(list(cx, &items[i]));
    return HD_OK;
}

enum hd_status auth_end_session(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__EndSessionRequest *request = (const Hodei__V1__EndSessionRequest *)items[i].msg;
        const char *user = caller(&items[i]);
        struct hd_rows rows = {.n = 0};
        struct hd_uuid id;
        if (user && hd_uuid_parse(request->id, &id) == HD_OK)
            HD_TRY(HD_RUN(cx, &auth_user_sql[AUTH_SESSION_SQL_END_OF_USER], &rows, HD_TEXT(items[i].principal->tenant),
                          HD_TEXT(user), HD_UUID(id)));
        if (rows.affected == 0)
            hd_item_fail(&items[i], HD_MISSING, "you have no session %.40s", request->id);
    }
    return HD_OK;
}

enum hd_status auth_end_sessions(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__EndSessionsRequest *request = (const Hodei__V1__EndSessionsRequest *)items[i].msg;
        const char *tenant = items[i].principal->tenant;
        struct auth_user *user;
        HD_TRY(auth_user_find(cx, tenant, request->user, &user));
        if (user)
            HD_TRY(HD_RUN(cx, &auth_user_sql[AUTH_SESSION_SQL_END_OF_USER], NULL, HD_TEXT(tenant),
                          HD_TEXT(request->user), (struct hd_param){.type = HD_P_NULL}));
        if (user)
            HD_TRY(
                auth_audit(cx, &items[i], "EndSessions", hd_arena_printf(cx->arena, "user:%s", request->user), NULL));
        else
            hd_item_fail(&items[i], HD_MISSING, "there is no user %.64s", request->user);
    }
    return HD_OK;
}

enum hd_status auth_sweep(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    (void)items;
    (void)n;
    HD_TRY(HD_RUN(cx, &auth_user_sql[AUTH_SESSION_SQL_SWEEP], NULL, HD_I64(cx->now.wall_ms)));
    return HD_RUN(cx, &auth_user_sql[AUTH_ADDRESS_SQL_SWEEP], NULL, HD_I64(cx->now.wall_ms - FAILURES_KEPT_MS),
                  HD_I64(cx->now.wall_ms - KNOWN_MS));
}
