// What somebody may do in a tenant.
#include "services/auth/auth.h"

static uint64_t role_bits(struct hd_ctx *cx, const struct auth_standing *standing) {
    uint64_t held = auth_permission_bits(cx->arena, standing->custom, NULL);

    for (const char *p = standing->roles; *p;) {
        size_t len = strcspn(p, " ");
        uint64_t bits = 0;
        if (auth_builtin_bits(hd_arena_strndup(cx->arena, p, len), standing->wanted, &bits))
            held |= bits;
        p += len + (p[len] == ' ');
    }
    if (standing->platform_admin)
        return AUTH_ALL;
    return held == AUTH_ALL ? held : auth_bits_in(held, standing->wanted);
}

static bool at_home(const struct auth_standing *standing) {
    return hd_streq(standing->wanted, standing->home);
}

// The admin token of the settings, and what was made before there were roles.
static bool is_root(const struct auth_standing *standing) {
    return standing->exactly && hd_streq(standing->home, AUTH_HOME_TENANT) && hd_streq(standing->scope, "*");
}

// At home always; elsewhere administrators of the platform in every tenant that there is, others where they have a role.
static bool is_let_in(const struct auth_standing *standing) {
    if (hd_streq(standing->state, "deleted"))
        return false;
    if (at_home(standing))
        return true;
    return *standing->state &&
           (is_root(standing) || (!standing->exactly && (standing->platform_admin || *standing->roles)));
}

static bool is_stopped(const char *state) {
    return hd_streq(state, "suspended") || hd_streq(state, "deleting");
}

static void refuse(struct hd_ctx *cx, Hodei__V1__AuthenticateReply *reply, enum hd_status status, const char *text) {
    reply->refusal = (Hodei__V1__Status)status;
    reply->refusal_text = hd_arena_strdup(cx->arena, text);
}

static void refuse_stopped(struct hd_ctx *cx, Hodei__V1__AuthenticateReply *reply, const char *tenant,
                           const char *state, const char *reason) {
    refuse(cx, reply, HD_DENIED,
           hd_arena_printf(cx->arena, "the tenant \"%s\" is %s%s%s", tenant,
                           hd_streq(state, "deleting") ? "being deleted" : state, *reason ? ": " : "", reason));
}

void auth_standing_decide(struct hd_ctx *cx, const struct auth_standing *standing,
                          Hodei__V1__AuthenticateReply *reply) {
    Hodei__V1__Principal *principal = (Hodei__V1__Principal *)hd_pb_new(cx->arena, &hodei__v1__principal__descriptor);
    bool let_in = is_let_in(standing);

    reply->principal = principal;
    principal->tenant = hd_arena_strdup(cx->arena, let_in ? standing->wanted : standing->home);
    principal->subject = at_home(standing) || !let_in || hd_streq(standing->subject, "admin")
                             ? hd_arena_strdup(cx->arena, standing->subject)
                             : hd_arena_printf(cx->arena, "%s@%s", standing->subject, standing->home);
    if (is_stopped(standing->home_state))
        refuse_stopped(cx, reply, standing->home, standing->home_state, standing->home_reason);
    else if (!let_in)
        refuse(cx, reply, HD_MISSING, hd_arena_printf(cx->arena, "there is no tenant \"%s\"", standing->wanted));
    else if (is_stopped(standing->state))
        refuse_stopped(cx, reply, standing->wanted, standing->state, standing->reason);
    else if (standing->exactly)
        principal->permissions = auth_words(cx->arena, standing->scope, &principal->n_permissions);
    else
        principal->permissions = auth_permission_names(
            cx->arena, role_bits(cx, standing) & auth_permission_bits(cx->arena, standing->scope, NULL),
            &principal->n_permissions);
}
