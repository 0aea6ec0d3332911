// What administrators do to users of their tenant.
#include <ctype.h>

#include "hodei/v1/auth.pb-c.h"
#include "services/auth/auth.h"

static bool name_valid(const char *name) {
    size_t len = strlen(name);

    if (len == 0 || len > AUTH_NAME_MAX || !isalnum((unsigned char)name[0]) || !isalnum((unsigned char)name[len - 1]))
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

static void missing(struct hd_item *item, const char *name) {
    hd_item_fail(item, HD_MISSING, "there is no user %.64s", name);
}

bool auth_password_valid(struct hd_item *item, const char *field, const char *password, const char *name) {
    size_t len = strlen(password);

    if (len >= AUTH_PASSWORD_MIN && len <= AUTH_PASSWORD_MAX && !hd_streq(password, name))
        return true;
    hd_item_fail(item, HD_INVALID, "a password has %d to %d bytes, and is not the name", AUTH_PASSWORD_MIN,
                 AUTH_PASSWORD_MAX);
    hd_err_field(&item->err, "%s", field);
    return false;
}

static void user_fill(struct hd_ctx *cx, const struct auth_user *user, Hodei__V1__User *ret) {
    ret->name = hd_arena_strdup(cx->arena, user->name);
    ret->roles = auth_words(cx->arena, user->roles, &ret->n_roles);
    ret->disabled = user->disabled;
    ret->created_at_ms = user->created_at_ms;
    ret->password_at_ms = user->password_at_ms;
}

// The user as it is now is the answer.
static enum hd_status reply_user(struct hd_ctx *cx, struct hd_item *item, const char *name) {
    struct auth_user *user;

    HD_TRY(auth_user_find(cx, item->principal->tenant, name, &user));
    if (user)
        user_fill(cx, user, (Hodei__V1__User *)item->reply);
    else
        missing(item, name);
    return HD_OK;
}

// --- making ----------------------------------------------------------------------------------------------------------

static bool create_valid(struct hd_item *item, const Hodei__V1__CreateUserRequest *request) {
    if (!name_valid(request->name)) {
        hd_item_fail(item, HD_INVALID, "\"%.80s\" is not a name for a user", request->name);
        hd_err_field(&item->err, "name");
        hd_err_hint(&item->err, "lower case, digits, and . _ - between, at most %d", AUTH_NAME_MAX);
        return false;
    }
    return auth_password_valid(item, "password", request->password, request->name);
}

static const char *subject_of(struct hd_ctx *cx, const char *name) {
    return hd_arena_printf(cx->arena, "user:%s", name);
}

// Whoever has the password of a user, or decides whether he can log in, has what he has.
static enum hd_status may_change(struct hd_ctx *cx, const struct hd_item *item, const char *name) {
    uint64_t bits;

    HD_TRY(auth_subject_bits(cx, item, subject_of(cx, name), &bits));
    return auth_may_give(cx, item, bits);
}

static enum hd_status bind(struct hd_ctx *cx, const struct hd_item *item, const Hodei__V1__CreateUserRequest *request) {
    struct hd_rows rows;

    for (size_t i = 0; i < request->n_roles; i++) {
        Hodei__V1__PutBindingRequest binding = HODEI__V1__PUT_BINDING_REQUEST__INIT;
        binding.principal = hd_arena_strdup(cx->arena, subject_of(cx, request->name));
        binding.role = request->roles[i];
        enum hd_status status = auth_bind(cx, item, &binding, &rows);
        if (status != HD_OK)
            hd_err_field(&cx->err, "roles[%zu]", i);
        HD_TRY(status);
    }
    return HD_OK;
}

static enum hd_status create(struct hd_ctx *cx, struct auth *auth, struct hd_item *item) {
    const Hodei__V1__CreateUserRequest *request = (const Hodei__V1__CreateUserRequest *)item->msg;
    const char *tenant = item->principal->tenant;
    struct auth_password made;
    struct hd_rows rows;
    char prefix[64];

    if (!create_valid(item, request))
        return HD_OK;
    HD_TRY(may_change(cx, item, request->name)); // he may be in a group, or have a role already
    auth_address_prefix(item->client, prefix);
    const struct auth_derive ask = {.purpose = "create",
                                    .tenant = tenant,
                                    .name = request->name,
                                    .password = request->password,
                                    .cost = AUTH_SCRYPT,
                                    .prefix = prefix,
                                    .known = true};
    if (auth_derive_for(cx, auth->pool, &ask, item, &made) != AUTH_DERIVED)
        return HD_OK;
    HD_TRY(auth_store_lock(cx));
    HD_TRY(HD_RUN(cx, &auth_user_sql[AUTH_USER_SQL_ADD], &rows, HD_TEXT(tenant), HD_TEXT(request->name),
                  HD_BYTES(made.hash, sizeof(made.hash)), HD_BYTES(made.salt, sizeof(made.salt)),
                  HD_I32(made.cost.log2_n), HD_I32(made.cost.r), HD_I32(made.cost.p), HD_I64(cx->now.wall_ms)));
    if (rows.affected == 0) {
        hd_item_fail(item, HD_CONFLICT, "there is a user %s already", request->name);
        hd_err_field(&item->err, "name");
        return HD_OK;
    }
    HD_TRY(auth_audit(cx, item, "CreateUser", subject_of(cx, request->name), NULL));
    HD_TRY(bind(cx, item, request));
    return reply_user(cx, item, request->name);
}

enum hd_status auth_create_user(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    for (size_t i = 0; i < n; i++)
        HD_TRY(create(cx, self, &items[i]));
    return HD_OK;
}

// --- looking ---------------------------------------------------------------------------------------------------------

enum hd_status auth_get_user(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++)
        HD_TRY(reply_user(cx, &items[i], ((const Hodei__V1__GetUserRequest *)items[i].msg)->name));
    return HD_OK;
}

static enum hd_status list(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__ListUsersRequest *request = (const Hodei__V1__ListUsersRequest *)item->msg;
    Hodei__V1__ListUsersReply *reply = (Hodei__V1__ListUsersReply *)item->reply;
    unsigned page;
    struct auth_user *users;
    size_t n;

    if (!hd_item_page(item, request->page_size, &page))
        return HD_OK;
    HD_TRY(auth_user_list(cx, item->principal->tenant, request->page_token, (int64_t)page + 1, &users, &n));
    reply->n_users = n > page ? page : n;
    reply->users = HD_NEW_ARRAY(cx->arena, n + 1, Hodei__V1__User *);
    for (size_t i = 0; i < reply->n_users; i++) {
        reply->users[i] = (Hodei__V1__User *)hd_pb_new(cx->arena, &hodei__v1__user__descriptor);
        user_fill(cx, &users[i], reply->users[i]);
    }
    if (n > (size_t)page)
        reply->next_page_token = hd_arena_strdup(cx->arena, users[page - 1].name);
    return HD_OK;
}

enum hd_status auth_list_users(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++)
        HD_TRY(list(cx, &items[i]));
    return HD_OK;
}

// --- changing --------------------------------------------------------------------------------------------------------

static enum hd_status set_disabled(struct hd_ctx *cx, struct hd_item *item, bool disabled) {
    const char *name = ((const Hodei__V1__SteerUserRequest *)item->msg)->name, *tenant = item->principal->tenant;
    struct hd_rows rows;

    HD_TRY(may_change(cx, item, name));
    HD_TRY(HD_RUN(cx, &auth_user_sql[AUTH_USER_SQL_SET_DISABLED], &rows, HD_TEXT(tenant), HD_TEXT(name),
                  HD_BOOL(disabled)));
    if (rows.affected == 0) {
        missing(item, name);
        return HD_OK;
    }
    if (disabled)
        HD_TRY(auth_sessions_end(cx, tenant, name));
    HD_TRY(auth_audit(cx, item, disabled ? "DisableUser" : "EnableUser", subject_of(cx, name), NULL));
    return reply_user(cx, item, name);
}

static enum hd_status disable(struct hd_ctx *cx, struct hd_item *item) {
    return set_disabled(cx, item, true);
}
AUTH_CHANGE(auth_disable_user, disable)

static enum hd_status enable(struct hd_ctx *cx, struct hd_item *item) {
    return set_disabled(cx, item, false);
}
AUTH_CHANGE(auth_enable_user, enable)

static enum hd_status set_password(struct hd_ctx *cx, struct auth *auth, struct hd_item *item) {
    const Hodei__V1__SetPasswordRequest *request = (const Hodei__V1__SetPasswordRequest *)item->msg;
    const char *tenant = item->principal->tenant;
    struct auth_password made;
    struct auth_user *user;
    char prefix[64];

    HD_TRY(auth_user_find(cx, tenant, request->name, &user));
    if (!user)
        missing(item, request->name);
    if (!user || !auth_password_valid(item, "password", request->password, request->name))
        return HD_OK;
    HD_TRY(may_change(cx, item, request->name));
    auth_address_prefix(item->client, prefix);
    const struct auth_derive ask = {.purpose = "set",
                                    .tenant = tenant,
                                    .name = request->name,
                                    .password = request->password,
                                    .cost = AUTH_SCRYPT,
                                    .prefix = prefix,
                                    .known = true};
    if (auth_derive_for(cx, auth->pool, &ask, item, &made) != AUTH_DERIVED)
        return HD_OK;
    HD_TRY(auth_store_lock(cx));
    HD_TRY(auth_user_set_password(cx, user, &made, cx->now.wall_ms));
    HD_TRY(auth_sessions_end(cx, tenant, request->name));
    HD_TRY(auth_audit(cx, item, "SetPassword", subject_of(cx, request->name), NULL));
    return reply_user(cx, item, request->name);
}

enum hd_status auth_set_password(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    for (size_t i = 0; i < n; i++)
        HD_TRY(set_password(cx, self, &items[i]));
    return HD_OK;
}

static enum hd_status remove_user(struct hd_ctx *cx, struct hd_item *item) {
    const char *name = ((const Hodei__V1__DeleteUserRequest *)item->msg)->name, *tenant = item->principal->tenant;
    struct hd_rows rows;

    HD_TRY(may_change(cx, item, name));
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_ADMINS], &rows, HD_TEXT(tenant)));
    int64_t before = hd_row_int(&rows, 0, 0);
    HD_TRY(HD_RUN(cx, &auth_user_sql[AUTH_USER_SQL_DELETE], &rows, HD_TEXT(tenant), HD_TEXT(name),
                  HD_I64(cx->now.wall_ms)));
    if (rows.affected == 0) {
        missing(item, name);
        return HD_OK;
    }
    HD_TRY(auth_admin_left(cx, item, before));
    return auth_audit(cx, item, "DeleteUser", subject_of(cx, name), NULL);
}
AUTH_CHANGE(auth_delete_user, remove_user)
