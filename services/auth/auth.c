#include "services/auth/auth.h"

#include <sys/epoll.h>

#include <openssl/evp.h>

struct hd_metric auth_metrics[AUTH_METRIC_COUNT] = {
    [AUTH_KNOWN] = {"hodei_auth_tokens_total", "result=\"known\"", "Tokens that were asked for", HD_COUNTER, 0},
    [AUTH_UNKNOWN] = {"hodei_auth_tokens_total", "result=\"unknown\"", "Tokens that were asked for", HD_COUNTER, 0},
    [AUTH_EXPIRED] = {"hodei_auth_tokens_total", "result=\"expired\"", "Tokens that were asked for", HD_COUNTER, 0},
    [AUTH_REFUSALS] = {"hodei_auth_refusals_total", NULL, "Requests that gateways have refused", HD_COUNTER, 0},
    [AUTH_REFUSALS_FOLDED] = {"hodei_auth_refusals_folded_total", NULL,
                              "Of those, the ones that are in the audit trail as a number only", HD_COUNTER, 0},
    [AUTH_LOGIN_GOOD] = {"hodei_auth_logins_total", "result=\"good\"", "Logins", HD_COUNTER, 0},
    [AUTH_LOGIN_FAILED] = {"hodei_auth_logins_total", "result=\"failed\"", "Logins", HD_COUNTER, 0},
    [AUTH_LOGIN_REFUSED] = {"hodei_auth_logins_total", "result=\"refused\"", "Logins", HD_COUNTER, 0},
    [AUTH_REFRESH_REUSED] = {"hodei_auth_refresh_reused_total", NULL, "Sessions ended since a refresh token came twice",
                             HD_COUNTER, 0},
};

static void derived_ready(struct hd_ctx *cx, void *self, int fd, uint32_t events) {
    struct auth *auth = self;

    (void)cx;
    (void)fd;
    (void)events;
    auth_pool_seen(auth->pool);
    hd_service_kick(auth->service, "derived");
}

enum hd_status auth_derived(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)cx;
    (void)self;
    (void)items;
    (void)n;
    return HD_OK;
}

enum hd_status auth_init(struct hd_service *service, const struct hd_settings *settings, void **ret_self,
                         struct hd_err *err) {
    const char *token = hd_settings_text(settings, "admin-token");
    struct auth auth = {
        .has_admin = *token != '\0', .service = service, .session_ttl_ms = hd_settings_int(settings, "session-ttl")};

    if (auth.has_admin) {
        if (!auth_token_valid(token)) {
            hd_err_set(err, HD_INVALID, "the admin token does not have the form of a token");
            hd_err_hint(err, "hodei_ and 43 characters of base64url (32 random bytes)");
            return HD_INVALID;
        }
        if (EVP_Digest(token, strlen(token), auth.admin_sha256, NULL, EVP_sha256(), NULL) != 1)
            return hd_err_set(err, HD_INTERNAL, "SHA-256 of the admin token could not be computed");
    }
    HD_TRY(auth_keyring_init(settings, err, &auth.ring));
    HD_TRY(auth_pool_new((int)hd_settings_int(settings, "password-threads"), err, &auth.pool));
    hd_service_watch_fd(service, auth_pool_fd(auth.pool), EPOLLIN, derived_ready);
    struct auth *self = malloc(sizeof(*self));
    if (!self)
        abort();
    *self = auth;
    *ret_self = self;
    return HD_OK;
}

void auth_release(void *self) {
    struct auth *auth = self;

    auth_pool_free(auth->pool);
    free(auth);
}

// What is known of the token, before it is asked what its subject may do. False: the item has failed.
static bool token_good(struct hd_ctx *cx, struct hd_item *item, const struct auth_token *token) {
    Hodei__V1__AuthenticateReply *reply = (Hodei__V1__AuthenticateReply *)item->reply;
    int64_t ttl_ms = token ? auth_ttl_ms(token->expires_at_ms, cx->now.wall_ms) : 0;
    bool known = token && !token->revoked_at_ms;

    hd_metric_add(&auth_metrics[!known ? AUTH_UNKNOWN : ttl_ms <= 0 ? AUTH_EXPIRED : AUTH_KNOWN], 1);
    if (!known || ttl_ms <= 0) {
        hd_item_fail(item, HD_UNAUTHENTICATED,
                     known ? "the token has expired" : "the token is not known, or its session has ended");
        return false;
    }
    reply->ttl_ms = ttl_ms;
    reply->policy_version = token->policy_version;
    return true;
}

static bool is_admin_token(const struct auth *auth, struct hd_bytes hash) {
    return auth->has_admin && hash.len == AUTH_SHA256_BYTES &&
           memcmp(hash.data, auth->admin_sha256, AUTH_SHA256_BYTES) == 0;
}

// Finds tokens and sessions. The configured admin token is put into the table where it is asked for before the timer has come to it.
static enum hd_status find(struct hd_ctx *cx, const struct auth *auth, const struct auth_asked *asked,
                           struct auth_token **ret, size_t *ret_n) {
    size_t of_admin = 0, found = 0;
    for (size_t i = 0; i < asked->n; i++)
        of_admin += is_admin_token(auth, asked->hashes[i]);
    HD_TRY(auth_store_find(cx, asked, ret, ret_n));
    for (size_t i = 0; i < *ret_n && of_admin; i++)
        found += is_admin_token(auth, asked->hashes[(*ret)[i].asked - 1]);
    if (found == of_admin)
        return HD_OK;
    HD_TRY(auth_store_add_admin(cx, auth->admin_sha256));
    return auth_store_find(cx, asked, ret, ret_n);
}

// One of the two is asked for. False: the item has failed.
static bool ask(struct hd_item *item, struct auth_asked *to) {
    const Hodei__V1__AuthenticateRequest *request = (const Hodei__V1__AuthenticateRequest *)item->msg;
    size_t hash = request->token_sha256.len, session = request->session.len;

    if (!(hash == AUTH_SHA256_BYTES && session == 0) && !(hash == 0 && session == sizeof(struct hd_uuid))) {
        hd_item_fail(item, HD_INVALID, "token_sha256 has %zu bytes and session %zu, not %d and 0 or 0 and 16", hash,
                     session, AUTH_SHA256_BYTES);
        return false;
    }
    to->hashes[to->n] = (struct hd_bytes){request->token_sha256.data, hash};
    if (session)
        memcpy(to->sessions[to->n].b, request->session.data, sizeof(struct hd_uuid));
    to->n++;
    return true;
}

static struct auth_standing standing_of(const struct auth_token *token, const struct hd_item *item) {
    const char *named = ((const Hodei__V1__AuthenticateRequest *)item->msg)->tenant;
    return (struct auth_standing){.subject = token->subject,
                                  .home = token->tenant,
                                  .wanted = *named ? named : token->tenant,
                                  .scope = token->permissions,
                                  .exactly = !token->scoped};
}

enum hd_status auth_authenticate(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct auth_asked asked = {.hashes = HD_NEW_ARRAY(cx->arena, n, struct hd_bytes),
                               .sessions = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid)};
    struct hd_bytes *touched = HD_NEW_ARRAY(cx->arena, n, struct hd_bytes);
    struct hd_item **asking = HD_NEW_ARRAY(cx->arena, n, struct hd_item *);
    struct auth_standing *standings = HD_NEW_ARRAY(cx->arena, n, struct auth_standing);
    size_t n_good = 0, n_touched = 0, n_tokens;
    struct auth_token *tokens;

    for (size_t i = 0; i < n; i++)
        if (ask(&items[i], &asked))
            asking[asked.n - 1] = &items[i];
    HD_TRY(find(cx, self, &asked, &tokens, &n_tokens));
    for (size_t i = 0, next = 0; i < asked.n; i++) {
        const struct auth_token *token = NULL;
        if (next < n_tokens && tokens[next].asked == (int64_t)i + 1)
            token = &tokens[next++];
        if (token && asked.hashes[i].len && auth_touch_due(token->last_used_at_ms, cx->now.wall_ms))
            touched[n_touched++] = asked.hashes[i];
        if (!token_good(cx, asking[i], token) || !token)
            continue;
        standings[n_good] = standing_of(token, asking[i]);
        asking[n_good++] = asking[i]; // those that are good move to the front
    }
    HD_TRY(auth_store_hold(cx, standings, n_good));
    for (size_t i = 0; i < n_good; i++)
        auth_standing_decide(cx, &standings[i], (Hodei__V1__AuthenticateReply *)asking[i]->reply);
    return n_touched ? auth_store_touch(cx, touched, n_touched) : HD_OK;
}

enum hd_status auth_get_policy_version(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct hd_rows rows;

    (void)self;
    HD_TRY(hd_db_run(cx, &auth_sql[SQL_VERSION], NULL, 0, &rows));
    if (rows.n != 1)
        return hd_fail(cx, HD_INTERNAL, "the table policy has %zu rows", rows.n);
    for (size_t i = 0; i < n; i++)
        ((Hodei__V1__GetPolicyVersionReply *)items[i].reply)->version = hd_row_int(&rows, 0, 0);
    return HD_OK;
}

enum hd_status auth_who_am_i(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)cx;
    (void)self;
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__Principal *principal = items[i].principal;
        Hodei__V1__WhoAmIReply *reply = (Hodei__V1__WhoAmIReply *)items[i].reply;
        if (!*principal->subject) {
            hd_item_fail(&items[i], HD_UNAUTHENTICATED, "the request names nobody");
            continue;
        }
        reply->subject = principal->subject;
        reply->tenant = principal->tenant;
        reply->permissions = principal->permissions;
        reply->n_permissions = principal->n_permissions;
        reply->scoped = principal->scoped;
        reply->n_scoped = principal->n_scoped;
    }
    return HD_OK;
}

enum hd_status auth_seed(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    const struct auth *auth = self;
    (void)items;
    (void)n;
    return auth->has_admin ? auth_store_add_admin(cx, auth->admin_sha256) : HD_OK;
}
