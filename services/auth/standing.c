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

// --- parts of the tenant -----------------------------------------------------------------------------------------------

struct part {
    const char *project, *pipeline;
    uint64_t bits;
};

static const char *until(struct hd_arena *arena, const char **at, const char *end) {
    size_t len = strcspn(*at, end);
    const char *text = hd_arena_strndup(arena, *at, len);
    *at += len + ((*at)[len] != '\0');
    return text;
}

// One of the row's: project/pipeline/role/permission,permission
static struct part read_part(struct hd_ctx *cx, const struct auth_standing *standing, const char **at) {
    const char *text = until(cx->arena, at, " ");
    struct part part = {.project = until(cx->arena, &text, "/"), .pipeline = until(cx->arena, &text, "/")};
    const char *role = until(cx->arena, &text, "/");
    char *custom = hd_arena_strdup(cx->arena, text);

    if (!auth_builtin_bits(role, standing->wanted, &part.bits)) {
        for (char *comma = custom; *comma; comma++)
            *comma = *comma == ',' ? ' ' : *comma;
        part.bits = auth_permission_bits(cx->arena, custom, NULL);
    }
    part.bits = auth_bits_in_part(part.bits & auth_permission_bits(cx->arena, standing->scope, NULL));
    return part;
}

static Hodei__V1__ScopedPermissions *of_bits(struct hd_ctx *cx, Hodei__V1__Principal *principal, uint64_t *bits,
                                             uint64_t wanted) {
    for (size_t i = 0; i < principal->n_scoped; i++)
        if (bits[i] == wanted)
            return principal->scoped[i];
    Hodei__V1__ScopedPermissions *fresh =
        (Hodei__V1__ScopedPermissions *)hd_pb_new(cx->arena, &hodei__v1__scoped_permissions__descriptor);
    fresh->permissions = auth_permission_names(cx->arena, wanted, &fresh->n_permissions);
    bits[principal->n_scoped] = wanted;
    return principal->scoped[principal->n_scoped++] = fresh;
}

// Parts where the same may be done stand together, so that the answer stays short.
static void fill_parts(struct hd_ctx *cx, const struct auth_standing *standing, Hodei__V1__Principal *principal) {
    size_t most = 0, n = 0;

    for (const char *at = standing->parts; *at; at++)
        most += *at == ' ' || !at[1];
    struct part *parts = HD_NEW_ARRAY(cx->arena, most, struct part);
    for (const char *at = standing->parts; *at;) {
        struct part part = read_part(cx, standing, &at);
        if (n && hd_streq(parts[n - 1].project, part.project) && hd_streq(parts[n - 1].pipeline, part.pipeline))
            parts[n - 1].bits |= part.bits;
        else
            parts[n++] = part;
    }
    uint64_t *bits = HD_NEW_ARRAY(cx->arena, n, uint64_t);
    principal->scoped = HD_NEW_ARRAY(cx->arena, n, Hodei__V1__ScopedPermissions *);
    for (size_t i = 0; i < n; i++) {
        if (!parts[i].bits)
            continue;
        Hodei__V1__ScopedPermissions *to = of_bits(cx, principal, bits, parts[i].bits);
        if (!to->within)
            to->within = HD_NEW_ARRAY(cx->arena, n, Hodei__V1__Scope *);
        Hodei__V1__Scope *scope = to->within[to->n_within++] =
            (Hodei__V1__Scope *)hd_pb_new(cx->arena, &hodei__v1__scope__descriptor);
        scope->project = hd_arena_strdup(cx->arena, parts[i].project);
        scope->pipeline = hd_arena_strdup(cx->arena, parts[i].pipeline);
    }
}

// --- the decision -------------------------------------------------------------------------------------------------------

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
    return *standing->state && (is_root(standing) || (!standing->exactly && (standing->platform_admin ||
                                                                             *standing->roles || *standing->parts)));
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
    else {
        principal->permissions = auth_permission_names(
            cx->arena, role_bits(cx, standing) & auth_permission_bits(cx->arena, standing->scope, NULL),
            &principal->n_permissions);
        fill_parts(cx, standing, principal);
    }
}
