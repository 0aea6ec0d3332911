#include "base/names.h"
#include "services/auth/auth.h"

#define TEXT_MAX 200

enum hd_status auth_each(struct hd_ctx *cx, struct hd_item *items, size_t n, auth_change *change) {
    HD_TRY(auth_store_lock(cx));
    for (size_t i = 0; i < n; i++) {
        if (!hd_token_valid(items[i].principal->tenant))
            return hd_fail(cx, HD_DENIED, "the request stands for no tenant");
        HD_TRY(change(cx, &items[i]));
    }
    return HD_OK;
}

enum hd_status auth_bits_read(struct hd_ctx *cx, char *const *names, size_t n, uint64_t *ret) {
    uint64_t bits = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t one = strchr(names[i], ' ') ? 0 : auth_permission_bits(cx->arena, names[i], NULL);
        if (!one) {
            hd_fail(cx, HD_INVALID, "there is no permission \"%.60s\"", names[i]);
            hd_err_field(&cx->err, "permissions[%zu]", i);
            hd_err_hint(&cx->err, "GET /v1/permissions, or hodei auth permissions, lists them");
            return HD_INVALID;
        }
        bits |= one;
    }
    *ret = bits;
    return HD_OK;
}

uint64_t auth_caller_bits(struct hd_ctx *cx, const struct hd_item *item) {
    uint64_t bits = 0;
    for (size_t i = 0; i < item->principal->n_permissions; i++)
        bits |= auth_permission_bits(cx->arena, item->principal->permissions[i], NULL);
    return bits;
}

enum hd_status auth_may_give(struct hd_ctx *cx, const struct hd_item *item, uint64_t bits) {
    const char *beyond = auth_bits_beyond(bits, auth_caller_bits(cx, item));

    if (!beyond)
        return HD_OK;
    hd_fail(cx, HD_DENIED, "%.100s has not the permission %s, and can neither give nor take it",
            item->principal->subject, hd_streq(beyond, "*") ? "* (everything)" : beyond);
    hd_err_hint(&cx->err, "ask somebody who has it");
    return HD_DENIED;
}

enum hd_status auth_role_bits(struct hd_ctx *cx, const struct hd_item *item, const char *role, uint64_t *ret) {
    const char *tenant = item->principal->tenant;
    struct hd_rows rows;

    if (auth_builtin_bits(role, tenant, ret))
        return HD_OK;
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_ROLE], &rows, HD_TEXT(tenant), HD_TEXT(role)));
    if (rows.n == 0) {
        hd_fail(cx, HD_MISSING, "there is no role \"%.64s\"", role);
        hd_err_field(&cx->err, "role");
        hd_err_hint(&cx->err, "hodei role list shows them");
        return HD_MISSING;
    }
    *ret = auth_bits_in(auth_permission_bits(cx->arena, hd_row_text(&rows, 0, 0), NULL), tenant);
    return HD_OK;
}

enum hd_status auth_name_check(struct hd_ctx *cx, const char *field, const char *name) {
    if (hd_token_valid(name))
        return HD_OK;
    hd_fail(cx, HD_INVALID, "\"%.80s\" is not a name", name);
    hd_err_field(&cx->err, "%s", field);
    hd_err_hint(&cx->err, "1 to 64 letters, digits, - and _");
    return HD_INVALID;
}

enum hd_status auth_text_check(struct hd_ctx *cx, const char *field, const char *text) {
    if (strlen(text) <= TEXT_MAX)
        return HD_OK;
    hd_fail(cx, HD_INVALID, "it is longer than %d bytes", TEXT_MAX);
    hd_err_field(&cx->err, "%s", field);
    return HD_INVALID;
}

static enum hd_status account_check(struct hd_ctx *cx, const struct hd_item *item, const char *field,
                                    const char *name) {
    struct hd_rows rows;

    HD_TRY(HD_RUN(cx, &auth_sql[SQL_ACCOUNT], &rows, HD_TEXT(item->principal->tenant), HD_TEXT(name)));
    if (rows.n)
        return HD_OK;
    hd_fail(cx, HD_MISSING, "there is no service account \"%.64s\"", name);
    hd_err_field(&cx->err, "%s", field);
    hd_err_hint(&cx->err, "hodei service-account create makes one");
    return HD_MISSING;
}

// NAME, or NAME@TENANT of somebody who belongs to another tenant. Users may have dots in their names.
static bool person_valid(struct hd_ctx *cx, const char *text, bool group) {
    const char *at = strchr(text, '@');

    if (at && (group || !hd_token_valid(at + 1)))
        return false;
    return hd_name_valid(hd_arena_strndup(cx->arena, text, at ? (size_t)(at - text) : strlen(text)));
}

enum hd_status auth_principal_check(struct hd_ctx *cx, const struct hd_item *item, const char *field, const char *text,
                                    bool group) {
    bool account = hd_starts_with(text, "service-account:"), is_group = hd_starts_with(text, "group:");
    const char *colon = strchr(text, ':');

    bool kind = account || hd_starts_with(text, "user:") || (group && is_group);
    if (!kind || !person_valid(cx, colon + 1, is_group)) {
        hd_fail(cx, HD_INVALID, "\"%.140s\" is nobody", text);
        hd_err_field(&cx->err, "%s", field);
        hd_err_hint(&cx->err, "user:NAME%s or service-account:NAME; NAME@TENANT for one of another tenant",
                    group ? ", group:NAME" : "");
        return HD_INVALID;
    }
    // Whether one of another tenant is there is not for this one to know.
    return account && !strchr(text, '@') ? account_check(cx, item, field, colon + 1) : HD_OK;
}

enum hd_status auth_subject_bits(struct hd_ctx *cx, const struct hd_item *item, const char *subject, uint64_t *ret) {
    struct hd_rows rows;
    uint64_t all = 0, bits = 0;

    HD_TRY(HD_RUN(cx, &auth_sql[SQL_SUBJECT_ROLES], &rows, HD_TEXT(item->principal->tenant), HD_TEXT(subject)));
    for (size_t i = 0; i < rows.n; i++) {
        HD_TRY(auth_role_bits(cx, item, hd_row_text(&rows, i, 0), &bits));
        all |= bits;
    }
    *ret = all;
    return HD_OK;
}

enum hd_status auth_bind(struct hd_ctx *cx, const struct hd_item *item, const char *principal, const char *role,
                         struct hd_rows *ret_row) {
    const Hodei__V1__Principal *caller = item->principal;
    uint64_t bits;

    HD_TRY(auth_role_bits(cx, item, role, &bits));
    HD_TRY(auth_may_give(cx, item, bits));
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_PUT_BINDING], ret_row, HD_UUID(hd_new_id(cx)), HD_TEXT(caller->tenant),
                  HD_TEXT(principal), HD_TEXT(role), HD_TEXT(caller->subject), HD_I64(cx->now.wall_ms)));
    if (!hd_row_bool(ret_row, 0, 5))
        return HD_OK; // it was there
    return auth_audit(cx, item, "PutBinding", principal, hd_arena_printf(cx->arena, "role %s", role));
}

enum hd_status auth_admin_left(struct hd_ctx *cx, const struct hd_item *item, int64_t before) {
    struct hd_rows rows;

    HD_TRY(HD_RUN(cx, &auth_sql[SQL_ADMINS], &rows, HD_TEXT(item->principal->tenant)));
    if (before == 0 || hd_row_int(&rows, 0, 0) > 0)
        return HD_OK;
    hd_fail(cx, HD_PRECONDITION, "the tenant \"%s\" would have no admin any more", item->principal->tenant);
    hd_err_hint(&cx->err, "give somebody else the role admin first");
    return HD_PRECONDITION;
}
