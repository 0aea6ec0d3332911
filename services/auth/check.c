#include "base/names.h"
#include "services/auth/auth.h"

#define TEXT_MAX 200
#define BINDINGS_MAX 200

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

static enum hd_status part_check(struct hd_ctx *cx, const Hodei__V1__PutBindingRequest *binding) {
    const char *project = binding->project, *pipeline = binding->pipeline, *field = NULL;

    if (*project && *pipeline) {
        hd_fail(cx, HD_INVALID, "a role holds in a project or in a pipeline, not in both");
        hd_err_hint(&cx->err, "give it twice");
        return HD_INVALID;
    }
    if (*project && !hd_token_valid(project))
        field = "project";
    if (*pipeline && !hd_name_valid(pipeline))
        field = "pipeline";
    if (!field)
        return HD_OK;
    hd_fail(cx, HD_INVALID, "\"%.80s\" is not the name of a %s", *project ? project : pipeline, field);
    hd_err_field(&cx->err, "%s", field);
    return HD_INVALID;
}

static enum hd_status part_bits(struct hd_ctx *cx, const char *role, uint64_t *inout) {
    *inout = auth_bits_in_part(*inout);
    if (*inout)
        return HD_OK;
    hd_fail(cx, HD_INVALID, "the role %.64s allows nothing that can be allowed in a part of the tenant", role);
    hd_err_field(&cx->err, "role");
    hd_err_hint(&cx->err, "hodei auth permissions shows what can");
    return HD_INVALID;
}

// Decisions carry what somebody may in which part, so there is a bound.
static enum hd_status room_check(struct hd_ctx *cx, const struct hd_item *item, const char *principal) {
    struct hd_rows rows;

    HD_TRY(HD_RUN(cx, &auth_sql[SQL_BINDING_COUNT], &rows, HD_TEXT(item->principal->tenant), HD_TEXT(principal)));
    if (hd_row_int(&rows, 0, 0) < BINDINGS_MAX)
        return HD_OK;
    hd_fail(cx, HD_LIMITED, "%.100s has %d bindings already", principal, BINDINGS_MAX);
    hd_err_hint(&cx->err, "give a role for a project in place of many for its pipelines");
    return HD_LIMITED;
}

static const char *where(struct hd_arena *arena, const char *project, const char *pipeline) {
    return *project    ? hd_arena_printf(arena, " in the project %s", project)
           : *pipeline ? hd_arena_printf(arena, " for the pipeline %s", pipeline)
                       : "";
}

const char *auth_binding_text(struct hd_arena *arena, const char *role, const char *project, const char *pipeline) {
    return hd_arena_printf(arena, "role %s%s", role, where(arena, project, pipeline));
}

enum hd_status auth_bind(struct hd_ctx *cx, const struct hd_item *item, const Hodei__V1__PutBindingRequest *binding,
                         struct hd_rows *ret_row) {
    const Hodei__V1__Principal *caller = item->principal;
    uint64_t bits;

    HD_TRY(part_check(cx, binding));
    HD_TRY(auth_role_bits(cx, item, binding->role, &bits));
    if (*binding->project || *binding->pipeline)
        HD_TRY(part_bits(cx, binding->role, &bits));
    HD_TRY(auth_may_give(cx, item, bits));
    HD_TRY(room_check(cx, item, binding->principal));
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_PUT_BINDING], ret_row, HD_UUID(hd_new_id(cx)), HD_TEXT(caller->tenant),
                  HD_TEXT(binding->principal), HD_TEXT(binding->role), HD_TEXT(caller->subject),
                  HD_I64(cx->now.wall_ms), HD_TEXT(binding->project), HD_TEXT(binding->pipeline)));
    if (!hd_row_bool(ret_row, 0, 7))
        return HD_OK; // it was there
    return auth_audit(cx, item, "PutBinding", binding->principal,
                      auth_binding_text(cx->arena, binding->role, binding->project, binding->pipeline));
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
