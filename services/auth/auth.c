#include "services/auth/auth.h"

#include <sys/epoll.h>

#include <openssl/evp.h>

#include "hodei/v1/auth.pb-c.h"

struct hd_metric auth_metrics[AUTH_METRIC_COUNT] = {
    [AUTH_KNOWN] = {"hodei_auth_tokens_total", "result=\"known\"", "Tokens that were asked for", HD_COUNTER, 0},
    [AUTH_UNKNOWN] = {"hodei_auth_tokens_total", "result=\"unknown\"", "Tokens that were asked for", HD_COUNTER, 0},
    [AUTH_EXPIRED] = {"hodei_auth_tokens_total", "result=\"expired\"", "Tokens that were asked for", HD_COUNTER, 0},
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

static int by_hash(const void *hash, const void *token) {
    return memcmp(hash, ((const struct auth_token *)token)->sha256, AUTH_SHA256_BYTES);
}

char **auth_split_permissions(struct hd_arena *arena, const char *text, size_t *ret_n) {
    size_t n = 0, words = 1;
    for (const char *p = text; *p; p++)
        words += *p == ' ';
    char **permissions = HD_NEW_ARRAY(arena, words, char *);
    while (*text) {
        size_t len = strcspn(text, " ");
        if (len)
            permissions[n++] = hd_arena_strndup(arena, text, len);
        text += len + (text[len] == ' ');
    }
    *ret_n = n;
    return permissions;
}

static void answer(struct hd_ctx *cx, struct hd_item *item, const struct auth_token *token) {
    int64_t ttl_ms = token ? auth_ttl_ms(token->expires_at_ms, cx->now.wall_ms) : 0;

    hd_metric_add(&auth_metrics[!token ? AUTH_UNKNOWN : ttl_ms <= 0 ? AUTH_EXPIRED : AUTH_KNOWN], 1);
    if (ttl_ms <= 0) {
        hd_item_fail(item, HD_UNAUTHENTICATED, token ? "the token has expired" : "the token is not known");
        return;
    }
    Hodei__V1__AuthenticateReply *reply = (Hodei__V1__AuthenticateReply *)item->reply;
    reply->principal = (Hodei__V1__Principal *)hd_pb_new(cx->arena, &hodei__v1__principal__descriptor);
    reply->principal->subject = hd_arena_strdup(cx->arena, token->subject);
    reply->principal->tenant = hd_arena_strdup(cx->arena, token->tenant);
    reply->principal->permissions =
        auth_split_permissions(cx->arena, token->permissions, &reply->principal->n_permissions);
    reply->ttl_ms = ttl_ms;
}

// Finds the tokens. The configured admin token is put into the table where it is asked for before the timer has come to it.
static enum hd_status find(struct hd_ctx *cx, const struct auth *auth, const struct hd_bytes *hashes, size_t n,
                           struct auth_token **ret, size_t *ret_n) {
    bool admin_asked = false;
    for (size_t i = 0; i < n; i++)
        if (auth->has_admin && memcmp(hashes[i].data, auth->admin_sha256, AUTH_SHA256_BYTES) == 0)
            admin_asked = true;
    HD_TRY(auth_store_find(cx, hashes, n, ret, ret_n));
    if (!admin_asked || bsearch(auth->admin_sha256, *ret, *ret_n, sizeof(**ret), by_hash))
        return HD_OK;
    HD_TRY(auth_store_add_admin(cx, auth->admin_sha256));
    return auth_store_find(cx, hashes, n, ret, ret_n);
}

enum hd_status auth_authenticate(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct hd_bytes *hashes = HD_NEW_ARRAY(cx->arena, n, struct hd_bytes);
    struct hd_bytes *touched = HD_NEW_ARRAY(cx->arena, n, struct hd_bytes);
    size_t n_hashes = 0, n_touched = 0, n_tokens;
    struct auth_token *tokens;

    HD_TRY(auth_session_authenticate(cx, items, n));
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__AuthenticateRequest *request = (const Hodei__V1__AuthenticateRequest *)items[i].msg;
        if (auth_asks_session(&items[i]))
            continue;
        if (request->token_sha256.len == AUTH_SHA256_BYTES)
            hashes[n_hashes++] = (struct hd_bytes){request->token_sha256.data, AUTH_SHA256_BYTES};
        else
            hd_item_fail(&items[i], HD_INVALID, "token_sha256 has %zu bytes, not %d", request->token_sha256.len,
                         AUTH_SHA256_BYTES);
    }
    HD_TRY(find(cx, self, hashes, n_hashes, &tokens, &n_tokens));
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__AuthenticateRequest *request = (const Hodei__V1__AuthenticateRequest *)items[i].msg;
        if (items[i].err.status == HD_OK && !auth_asks_session(&items[i]))
            answer(cx, &items[i], bsearch(request->token_sha256.data, tokens, n_tokens, sizeof(*tokens), by_hash));
    }
    for (size_t i = 0; i < n_tokens; i++)
        if (auth_touch_due(tokens[i].last_used_at_ms, cx->now.wall_ms))
            touched[n_touched++] = (struct hd_bytes){tokens[i].sha256, AUTH_SHA256_BYTES};
    return n_touched ? auth_store_touch(cx, touched, n_touched) : HD_OK;
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
    }
    return HD_OK;
}

enum hd_status auth_seed(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    const struct auth *auth = self;
    (void)items;
    (void)n;
    return auth->has_admin ? auth_store_add_admin(cx, auth->admin_sha256) : HD_OK;
}
