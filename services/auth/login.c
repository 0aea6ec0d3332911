// A login: the account's standing, the derivation, the verdict, the session. The same work for names that are nobody's.
#include <arpa/inet.h>

#include "base/log.h"
#include "hodei/v1/auth.pb-c.h"
#include "services/auth/auth.h"

#define LOGIN_WAIT_MS 8000 // less than the gateway waits
#define DERIVE_RETRY_MS 3000

void auth_address_prefix(const char *address, char ret[64]) {
    HD_AUTO_BUF struct hd_buf text = {0};
    uint8_t b[16];
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (inet_pton(AF_INET, address, b) == 1) {
        hd_buf_addf(&text, "%u.%u.%u", b[0], b[1], b[2]);
    } else if (inet_pton(AF_INET6, address, b) == 1) {
        if (memcmp(b, mapped, sizeof(mapped)) == 0)
            hd_buf_addf(&text, "%u.%u.%u", b[12], b[13], b[14]);
        else
            hd_buf_add_hex(&text, b, 8);
    } else {
        hd_buf_adds(&text, address);
    }
    hd_strlcpy(ret, text.data ? text.data : "", 64);
}

enum auth_derived auth_derive_for(struct hd_ctx *cx, struct auth_pool *pool, const struct auth_derive *ask,
                                  struct hd_item *item, struct auth_password *ret) {
    enum auth_derived derived = auth_pool_derive(pool, ask, cx->now.mono_ms, ret);

    if (derived == AUTH_DERIVED || (derived == AUTH_DERIVING && hd_item_park(cx, item, LOGIN_WAIT_MS)))
        return derived;
    hd_item_fail(item, HD_LIMITED, "too many passwords are being checked now");
    hd_err_hint(&item->err, "try again in a few seconds");
    hd_err_retry_after(&item->err, DERIVE_RETRY_MS);
    return AUTH_DERIVE_FULL;
}

static enum hd_status failed(struct hd_ctx *cx, const struct auth_derive *ask, struct hd_item *item) {
    hd_metric_add(&auth_metrics[AUTH_LOGIN_FAILED], 1);
    HD_TRY(HD_RUN(cx, &auth_user_sql[AUTH_USER_SQL_FAILED], NULL, HD_TEXT(ask->tenant), HD_TEXT(ask->name),
                  HD_TEXT(ask->prefix), HD_I64(cx->now.wall_ms), HD_I64(cx->now.wall_ms - AUTH_FAILURES_FORGOTTEN_MS)));
    // The failure is what has been written, and is to be committed.
    hd_item_fail(item, HD_UNAUTHENTICATED, "the name or the password is wrong");
    return HD_OK;
}

static bool same_cost(struct auth_scrypt a, struct auth_scrypt b) {
    return a.log2_n == b.log2_n && a.r == b.r && a.p == b.p;
}

// A password that was made at another cost is made anew, now that it is known. Not at once: not worth waiting for.
static enum hd_status renew(struct hd_ctx *cx, struct auth *auth, const struct auth_derive *ask, struct auth_user *user,
                            struct hd_item *item, bool *ret_waits) {
    struct auth_password fresh;

    if (same_cost(user->password.cost, AUTH_SCRYPT))
        return HD_OK;
    enum auth_derived derived = auth_pool_derive(auth->pool, ask, cx->now.mono_ms, &fresh);
    *ret_waits = derived == AUTH_DERIVING && hd_item_park(cx, item, LOGIN_WAIT_MS);
    if (derived != AUTH_DERIVED)
        return HD_OK;
    return auth_user_set_password(cx, user, &fresh, user->password_at_ms);
}

// Whoever has shown the password may have another. Who else knew the old one has nothing left of it.
static enum hd_status change(struct hd_ctx *cx, struct auth *auth, const struct auth_derive *ask,
                             struct auth_user *user, struct hd_item *item, bool *ret_waits) {
    struct auth_password fresh;

    *ret_waits = auth_derive_for(cx, auth->pool, ask, item, &fresh) != AUTH_DERIVED; // or has failed
    if (*ret_waits)
        return HD_OK;
    HD_TRY(auth_store_lock(cx));
    HD_TRY(auth_user_set_password(cx, user, &fresh, cx->now.wall_ms));
    HD_TRY(auth_sessions_end(cx, user->tenant, user->name));
    return auth_audit_of(cx, item, user, "SetPassword");
}

static enum hd_status verdict(struct hd_ctx *cx, struct auth *auth, const struct auth_derive *ask,
                              struct auth_user *user, const struct auth_password *derived, struct hd_item *item) {
    static const uint8_t nobody[AUTH_PASSWORD_HASH_BYTES];
    const char *new_password = ((const Hodei__V1__LoginRequest *)item->msg)->new_password;
    bool same = auth_password_same(derived->hash, user ? user->password.hash : nobody);
    struct auth_derive anew = *ask;
    bool waits = false;

    if (!same || !user || user->disabled)
        return failed(cx, ask, item);
    anew.purpose = "renew";
    anew.salt = NULL;
    anew.cost = AUTH_SCRYPT;
    anew.delay_ms = 0;
    anew.password = *new_password ? new_password : ask->password;
    HD_TRY((*new_password ? change : renew)(cx, auth, &anew, user, item, &waits));
    if (waits)
        return HD_OK;
    hd_metric_add(&auth_metrics[AUTH_LOGIN_GOOD], 1);
    HD_TRY(HD_RUN(cx, &auth_user_sql[AUTH_USER_SQL_GOOD], NULL, HD_TEXT(ask->tenant), HD_TEXT(ask->name),
                  HD_TEXT(ask->prefix), HD_I64(cx->now.wall_ms)));
    return auth_session_begin(cx, auth, user, item);
}

static void refuse(struct hd_item *item, int64_t wait_ms) {
    hd_metric_add(&auth_metrics[AUTH_LOGIN_REFUSED], 1);
    hd_item_fail(item, HD_LIMITED, "too many logins of this name have failed from your address");
    hd_err_hint(&item->err, "try again in %lld s; other addresses and sessions are not touched by this",
                (long long)(wait_ms + 999) / 1000);
    hd_err_retry_after(&item->err, wait_ms);
}

static bool new_password_valid(struct hd_item *item, const Hodei__V1__LoginRequest *request) {
    if (!auth_password_valid(item, "new_password", request->new_password, request->user))
        return false;
    if (!hd_streq(request->new_password, request->password))
        return true;
    hd_item_fail(item, HD_INVALID, "the new password is the old one");
    hd_err_field(&item->err, "new_password");
    return false;
}

static enum hd_status login(struct hd_ctx *cx, struct auth *auth, struct hd_item *item) {
    static const uint8_t no_salt[AUTH_SALT_BYTES];
    const Hodei__V1__LoginRequest *request = (const Hodei__V1__LoginRequest *)item->msg;
    const char *tenant = *request->tenant ? request->tenant : "default";
    struct auth_guesses guesses;
    struct auth_password derived;
    struct auth_user *user;
    char prefix[64];

    if (!*request->user || strlen(request->user) > AUTH_NAME_MAX || strlen(tenant) > AUTH_NAME_MAX ||
        !*request->password || strlen(request->password) > AUTH_PASSWORD_MAX) {
        hd_item_fail(item, HD_INVALID,
                     "a login has a user and a tenant of at most %d bytes and a password of at most %d", AUTH_NAME_MAX,
                     AUTH_PASSWORD_MAX);
        return HD_OK;
    }
    if (*request->new_password && !new_password_valid(item, request))
        return HD_OK;
    auth_address_prefix(item->client, prefix);
    HD_TRY(auth_user_find(cx, tenant, request->user, &user));
    HD_TRY(auth_guesses_find(cx, tenant, request->user, prefix, &guesses));
    struct auth_throttle throttle = auth_throttle_decide(&guesses, cx->now.wall_ms);
    if (throttle.refuse_ms > 0) {
        refuse(item, throttle.refuse_ms);
        return HD_OK;
    }
    const struct auth_derive ask = {.purpose = "login",
                                    .tenant = tenant,
                                    .name = request->user,
                                    .password = request->password,
                                    .salt = user ? user->password.salt : no_salt,
                                    .cost = user ? user->password.cost : AUTH_SCRYPT,
                                    .prefix = prefix,
                                    .known = throttle.known,
                                    .delay_ms = throttle.delay_ms};
    if (auth_derive_for(cx, auth->pool, &ask, item, &derived) != AUTH_DERIVED)
        return HD_OK;
    return verdict(cx, auth, &ask, user, &derived, item);
}

enum hd_status auth_login(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    for (size_t i = 0; i < n; i++)
        HD_TRY(login(cx, self, &items[i]));
    return HD_OK;
}
