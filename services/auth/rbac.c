// Roles, bindings and groups: who may do what in a tenant.
#include "services/auth/auth.h"

#define ROLES_MAX 100

enum hd_status auth_list_permissions(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++) {
        Hodei__V1__ListPermissionsReply *reply = (Hodei__V1__ListPermissionsReply *)items[i].reply;
        reply->permissions = HD_NEW_ARRAY(cx->arena, auth_permissions_len, Hodei__V1__Permission *);
        for (size_t j = 0; j < auth_permissions_len; j++) {
            const struct auth_permission *from = &auth_permissions[j];
            Hodei__V1__Permission *to =
                (Hodei__V1__Permission *)hd_pb_new(cx->arena, &hodei__v1__permission__descriptor);
            to->name = hd_arena_strdup(cx->arena, from->name);
            to->description = hd_arena_strdup(cx->arena, from->about);
            to->platform = from->platform;
            to->part = from->part;
            to->roles = HD_NEW_ARRAY(cx->arena, AUTH_BUILTIN_COUNT, char *);
            for (unsigned k = 0; k < AUTH_BUILTIN_COUNT; k++)
                if (from->roles & 1u << k)
                    to->roles[to->n_roles++] = hd_arena_strdup(cx->arena, auth_builtin_roles[k].name);
            reply->permissions[reply->n_permissions++] = to;
        }
    }
    return HD_OK;
}

static Hodei__V1__Role *builtin(struct hd_ctx *cx, const struct auth_builtin_role *from, const char *tenant) {
    Hodei__V1__Role *role = (Hodei__V1__Role *)hd_pb_new(cx->arena, &hodei__v1__role__descriptor);
    uint64_t bits = 0;

    if (auth_builtin_bits(from->name, tenant, &bits))
        role->permissions = auth_permission_names(cx->arena, bits, &role->n_permissions);
    role->name = hd_arena_strdup(cx->arena, from->name);
    role->description = hd_arena_strdup(cx->arena, from->about);
    role->builtin = true;
    return role;
}

enum hd_status auth_list_roles(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    for (size_t i = 0; i < n; i++) {
        Hodei__V1__ListRolesReply *reply = (Hodei__V1__ListRolesReply *)items[i].reply;
        const char *tenant = items[i].principal->tenant;
        struct hd_rows rows;
        HD_TRY(HD_RUN(cx, &auth_sql[SQL_ROLES], &rows, HD_TEXT(tenant)));
        reply->roles = HD_NEW_ARRAY(cx->arena, AUTH_BUILTIN_COUNT + rows.n, Hodei__V1__Role *);
        for (unsigned j = 0; j < AUTH_BUILTIN_COUNT; j++)
            reply->roles[reply->n_roles++] = builtin(cx, &auth_builtin_roles[j], tenant);
        for (size_t j = 0; j < rows.n; j++)
            reply->roles[reply->n_roles++] = (Hodei__V1__Role *)auth_row(cx, &rows, j, &hodei__v1__role__descriptor);
    }
    return HD_OK;
}

static enum hd_status custom_only(struct hd_ctx *cx, const char *name) {
    uint64_t bits;

    HD_TRY(auth_name_check(cx, "name", name));
    if (!auth_builtin_bits(name, "", &bits))
        return HD_OK;
    hd_fail(cx, HD_PRECONDITION, "the role \"%s\" is built in, and stays as it is", name);
    hd_err_field(&cx->err, "name");
    hd_err_hint(&cx->err, "choose another name");
    return HD_PRECONDITION;
}

// What a role has now is taken away by its change: the caller must have that too.
static enum hd_status may_change(struct hd_ctx *cx, const struct hd_item *item, const char *name, bool must_exist) {
    struct hd_rows rows;

    HD_TRY(HD_RUN(cx, &auth_sql[SQL_ROLE], &rows, HD_TEXT(item->principal->tenant), HD_TEXT(name)));
    if (rows.n)
        return auth_may_give(
            cx, item,
            auth_bits_in(auth_permission_bits(cx->arena, hd_row_text(&rows, 0, 0), NULL), item->principal->tenant));
    if (!must_exist)
        return HD_OK;
    hd_fail(cx, HD_MISSING, "there is no role \"%s\"", name);
    hd_err_field(&cx->err, "name");
    return HD_MISSING;
}

static enum hd_status role_room(struct hd_ctx *cx, const struct hd_item *item, const char *name) {
    struct hd_rows rows;

    HD_TRY(HD_RUN(cx, &auth_sql[SQL_ROLE_COUNT], &rows, HD_TEXT(item->principal->tenant), HD_TEXT(name)));
    if (hd_row_int(&rows, 0, 0) < ROLES_MAX)
        return HD_OK;
    hd_fail(cx, HD_LIMITED, "the tenant has %d roles already", ROLES_MAX);
    hd_err_hint(&cx->err, "delete one that nobody is bound to");
    return HD_LIMITED;
}

static enum hd_status put_role(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__PutRoleRequest *request = (const Hodei__V1__PutRoleRequest *)item->msg;
    Hodei__V1__Role *reply = (Hodei__V1__Role *)item->reply;
    const char *tenant = item->principal->tenant;
    uint64_t bits;
    size_t n;

    HD_TRY(custom_only(cx, request->name));
    HD_TRY(auth_text_check(cx, "description", request->description));
    HD_TRY(auth_bits_read(cx, request->permissions, request->n_permissions, &bits));
    if (bits == AUTH_ALL || auth_bits_in(bits, tenant) != bits) {
        hd_fail(cx, HD_INVALID,
                "a custom role cannot have *, nor outside of the tenant \"default\" what concerns all tenants");
        hd_err_field(&cx->err, "permissions");
        return HD_INVALID;
    }
    HD_TRY(may_change(cx, item, request->name, false));
    HD_TRY(auth_may_give(cx, item, bits));
    HD_TRY(role_room(cx, item, request->name));
    char **names = auth_permission_names(cx->arena, bits, &n);
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_PUT_ROLE], NULL, HD_TEXT(tenant), HD_TEXT(request->name),
                  HD_TEXT(request->description), HD_TEXTS((const char *const *)names, n)));
    reply->name = request->name;
    reply->description = request->description;
    reply->permissions = names;
    reply->n_permissions = n;
    return auth_audit(cx, item, "PutRole", request->name, NULL);
}
AUTH_CHANGE(auth_put_role, put_role)

static enum hd_status delete_role(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__DeleteRoleRequest *request = (const Hodei__V1__DeleteRoleRequest *)item->msg;
    const char *tenant = item->principal->tenant;
    struct hd_rows rows;

    HD_TRY(custom_only(cx, request->name));
    HD_TRY(may_change(cx, item, request->name, true));
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_ROLE_USED], &rows, HD_TEXT(tenant), HD_TEXT(request->name)));
    if (rows.n) {
        hd_fail(cx, HD_PRECONDITION, "%.140s is bound to the role \"%s\"", hd_row_text(&rows, 0, 0), request->name);
        hd_err_hint(&cx->err, "delete the bindings first: hodei binding list");
        return HD_PRECONDITION;
    }
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_DELETE_ROLE], NULL, HD_TEXT(tenant), HD_TEXT(request->name)));
    return auth_audit(cx, item, "DeleteRole", request->name, NULL);
}
AUTH_CHANGE(auth_delete_role, delete_role)

static enum hd_status put_binding(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__PutBindingRequest *request = (const Hodei__V1__PutBindingRequest *)item->msg;
    Hodei__V1__Binding *reply = (Hodei__V1__Binding *)item->reply;
    struct hd_rows rows;

    HD_TRY(auth_principal_check(cx, item, "principal", request->principal, true));
    HD_TRY(auth_bind(cx, item, request, &rows));
    const Hodei__V1__Binding *made = (void *)auth_row(cx, &rows, 0, &hodei__v1__binding__descriptor);
    reply->id = made->id;
    reply->principal = made->principal;
    reply->role = made->role;
    reply->created_by = made->created_by;
    reply->created_at_ms = made->created_at_ms;
    reply->project = made->project;
    reply->pipeline = made->pipeline;
    return HD_OK;
}
AUTH_CHANGE(auth_put_binding, put_binding)

static enum hd_status admins(struct hd_ctx *cx, const struct hd_item *item, int64_t *ret) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_ADMINS], &rows, HD_TEXT(item->principal->tenant)));
    *ret = hd_row_int(&rows, 0, 0);
    return HD_OK;
}

static enum hd_status delete_binding(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__DeleteBindingRequest *request = (const Hodei__V1__DeleteBindingRequest *)item->msg;
    const char *tenant = item->principal->tenant;
    struct hd_rows rows = {0};
    struct hd_uuid id;
    uint64_t bits = 0;
    int64_t before;

    if (hd_uuid_parse(request->id, &id) == HD_OK)
        HD_TRY(HD_RUN(cx, &auth_sql[SQL_BINDING], &rows, HD_TEXT(tenant), HD_UUID(id)));
    if (rows.n == 0) {
        hd_fail(cx, HD_MISSING, "there is no binding %.40s", request->id);
        hd_err_field(&cx->err, "id");
        return HD_MISSING;
    }
    const char *principal = hd_row_text(&rows, 0, 1), *role = hd_row_text(&rows, 0, 2);
    const char *project = hd_row_text(&rows, 0, 5), *pipeline = hd_row_text(&rows, 0, 6);
    HD_TRY(auth_role_bits(cx, item, role, &bits));
    if (*project || *pipeline)
        bits = auth_bits_in_part(bits);
    HD_TRY(auth_may_give(cx, item, bits));
    HD_TRY(admins(cx, item, &before));
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_DELETE_BINDING], NULL, HD_TEXT(tenant), HD_UUID(id)));
    HD_TRY(auth_admin_left(cx, item, before));
    return auth_audit(cx, item, "DeleteBinding", principal, auth_binding_text(cx->arena, role, project, pipeline));
}
AUTH_CHANGE(auth_delete_binding, delete_binding)

// A group's member has the group's roles.
static enum hd_status may_change_group(struct hd_ctx *cx, const struct hd_item *item, const char *group) {
    struct hd_rows rows;
    uint64_t all = 0, bits = 0;

    HD_TRY(HD_RUN(cx, &auth_sql[SQL_GROUP_ROLES], &rows, HD_TEXT(item->principal->tenant), HD_TEXT(group)));
    for (size_t i = 0; i < rows.n; i++) {
        HD_TRY(auth_role_bits(cx, item, hd_row_text(&rows, i, 0), &bits));
        all |= bits;
    }
    return auth_may_give(cx, item, all);
}

static enum hd_status group_add(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__ChangeGroupRequest *request = (const Hodei__V1__ChangeGroupRequest *)item->msg;
    const Hodei__V1__Principal *caller = item->principal;
    struct hd_rows rows;

    HD_TRY(auth_name_check(cx, "group", request->group));
    HD_TRY(auth_principal_check(cx, item, "member", request->member, false));
    HD_TRY(may_change_group(cx, item, request->group));
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_GROUP_ADD], &rows, HD_TEXT(caller->tenant), HD_TEXT(request->group),
                  HD_TEXT(request->member), HD_TEXT(caller->subject), HD_I64(cx->now.wall_ms)));
    if (rows.affected == 0)
        return HD_OK; // it was there
    return auth_audit(cx, item, "AddGroupMember", hd_arena_printf(cx->arena, "group:%s", request->group),
                      request->member);
}
AUTH_CHANGE(auth_change_group_add, group_add)

static enum hd_status group_remove(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__ChangeGroupRequest *request = (const Hodei__V1__ChangeGroupRequest *)item->msg;
    struct hd_rows rows;
    int64_t before;

    HD_TRY(may_change_group(cx, item, request->group));
    HD_TRY(admins(cx, item, &before));
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_GROUP_REMOVE], &rows, HD_TEXT(item->principal->tenant), HD_TEXT(request->group),
                  HD_TEXT(request->member)));
    if (rows.affected == 0) {
        hd_fail(cx, HD_MISSING, "\"%.140s\" is not in the group \"%.64s\"", request->member, request->group);
        hd_err_field(&cx->err, "member");
        return HD_MISSING;
    }
    HD_TRY(auth_admin_left(cx, item, before));
    return auth_audit(cx, item, "RemoveGroupMember", hd_arena_printf(cx->arena, "group:%s", request->group),
                      request->member);
}
AUTH_CHANGE(auth_change_group_remove, group_remove)
