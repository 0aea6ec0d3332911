// Tenants: made, suspended, and deleted after a grace. The gateway lets administrators of the platform alone come here.
#include "services/auth/auth.h"

#define DAY_MS (INT64_C(24) * 60 * 60 * 1000)
#define GRACE_DEFAULT_MS (7 * DAY_MS)
#define GRACE_MAX_MS (90 * DAY_MS)

static enum hd_status tenant_get(struct hd_ctx *cx, const char *name, Hodei__V1__Tenant **ret) {
    struct hd_rows rows;

    HD_TRY(HD_RUN(cx, &auth_sql[SQL_TENANT], &rows, HD_TEXT(name)));
    if (rows.n) {
        *ret = (Hodei__V1__Tenant *)auth_row(cx, &rows, 0, &hodei__v1__tenant__descriptor);
        return HD_OK;
    }
    hd_fail(cx, HD_MISSING, "there is no tenant \"%.64s\"", name);
    hd_err_field(&cx->err, "name");
    return HD_MISSING;
}

static void tenant_copy(const Hodei__V1__Tenant *from, struct hd_item *item) {
    Hodei__V1__Tenant *reply = (Hodei__V1__Tenant *)item->reply;
    reply->name = from->name;
    reply->state = from->state;
    reply->reason = from->reason;
    reply->created_at_ms = from->created_at_ms;
    reply->delete_at_ms = from->delete_at_ms;
}

// Only of the platform: the gateway has looked already, and a mistake there must not be enough.
static enum hd_status platform_only(struct hd_ctx *cx, const struct hd_item *item) {
    if (hd_streq(item->principal->tenant, AUTH_HOME_TENANT))
        return HD_OK;
    return hd_fail(cx, HD_MISSING, "there is nothing here");
}

static enum hd_status create_tenant(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__CreateTenantRequest *request = (const Hodei__V1__CreateTenantRequest *)item->msg;
    Hodei__V1__Tenant *tenant;
    struct hd_rows rows;

    HD_TRY(platform_only(cx, item));
    HD_TRY(auth_name_check(cx, "name", request->name));
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_ADD_TENANT], &rows, HD_TEXT(request->name), HD_I64(cx->now.wall_ms)));
    HD_TRY(tenant_get(cx, request->name, &tenant));
    if (rows.affected == 0 && hd_streq(tenant->state, "deleted")) {
        hd_fail(cx, HD_CONFLICT, "a tenant \"%s\" was there before, and its name is not given again", request->name);
        hd_err_field(&cx->err, "name");
        hd_err_hint(&cx->err, "choose another name");
        return HD_CONFLICT;
    }
    tenant_copy(tenant, item);
    return rows.affected ? auth_audit(cx, item, "CreateTenant", request->name, NULL) : HD_OK;
}
AUTH_CHANGE(auth_create_tenant, create_tenant)

struct step {
    const char *action, *from, *also_from, *to; // also_from NULL: from that state only
};

// From a state to another one. Where it is there already, nothing changes.
static enum hd_status steer(struct hd_ctx *cx, struct hd_item *item, const struct step *step, int64_t delete_at_ms) {
    const Hodei__V1__SteerTenantRequest *request = (const Hodei__V1__SteerTenantRequest *)item->msg;
    Hodei__V1__Tenant *tenant;

    HD_TRY(platform_only(cx, item));
    HD_TRY(auth_text_check(cx, "reason", request->reason));
    HD_TRY(tenant_get(cx, request->name, &tenant));
    if (hd_streq(tenant->name, AUTH_HOME_TENANT))
        return hd_fail(cx, HD_PRECONDITION, "the tenant \"default\" is that of the platform, and stays as it is");
    if (!hd_streq(tenant->state, step->to)) {
        if (!hd_streq(tenant->state, step->from) && !(step->also_from && hd_streq(tenant->state, step->also_from)))
            return hd_fail(cx, HD_PRECONDITION, "the tenant \"%s\" is %s, not %s", tenant->name, tenant->state,
                           step->from);
        HD_TRY(HD_RUN(cx, &auth_sql[SQL_SET_TENANT], NULL, HD_TEXT(tenant->name), HD_TEXT(step->to),
                      HD_TEXT(request->reason), HD_I64(delete_at_ms)));
        HD_TRY(auth_audit(cx, item, step->action, tenant->name, request->reason));
        HD_TRY(tenant_get(cx, request->name, &tenant));
    }
    tenant_copy(tenant, item);
    return HD_OK;
}

static enum hd_status suspend_tenant(struct hd_ctx *cx, struct hd_item *item) {
    return steer(cx, item, &(struct step){"SuspendTenant", "active", NULL, "suspended"}, 0);
}
AUTH_CHANGE(auth_suspend_tenant, suspend_tenant)

static enum hd_status resume_tenant(struct hd_ctx *cx, struct hd_item *item) {
    return steer(cx, item, &(struct step){"ResumeTenant", "suspended", NULL, "active"}, 0);
}
AUTH_CHANGE(auth_resume_tenant, resume_tenant)

static enum hd_status delete_tenant(struct hd_ctx *cx, struct hd_item *item) {
    const Hodei__V1__SteerTenantRequest *request = (const Hodei__V1__SteerTenantRequest *)item->msg;

    if (request->grace_ms < 0 || request->grace_ms > GRACE_MAX_MS) {
        hd_fail(cx, HD_INVALID, "a tenant can be undeleted for 90 days at most");
        hd_err_field(&cx->err, "grace_ms");
        return HD_INVALID;
    }
    int64_t at_ms = cx->now.wall_ms + (request->grace_ms ? request->grace_ms : GRACE_DEFAULT_MS);
    return steer(cx, item, &(struct step){"DeleteTenant", "active", "suspended", "deleting"}, at_ms);
}
AUTH_CHANGE(auth_delete_tenant, delete_tenant)

static enum hd_status undelete_tenant(struct hd_ctx *cx, struct hd_item *item) {
    return steer(cx, item, &(struct step){"UndeleteTenant", "deleting", NULL, "active"}, 0);
}
AUTH_CHANGE(auth_undelete_tenant, undelete_tenant)

enum hd_status auth_purge(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    Hodei__V1__Principal nobody = HODEI__V1__PRINCIPAL__INIT;
    struct hd_item by_timer = {.principal = &nobody, .trace = ""};
    struct hd_rows rows;

    (void)self;
    (void)items;
    (void)n;
    nobody.subject = "timer";
    nobody.tenant = AUTH_HOME_TENANT;
    HD_TRY(auth_store_lock(cx));
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_PURGE], &rows, HD_I64(cx->now.wall_ms)));
    for (size_t i = 0; i < rows.n; i++)
        HD_TRY(auth_audit(cx, &by_timer, "PurgeTenant", hd_row_text(&rows, i, 0), "the grace is over"));
    return HD_OK;
}
