// The auth service on a real PostgreSQL.
#include "tests/integration/twin.h"

#include <openssl/evp.h>

#include "services/auth/auth.h"
#include "tests/integration/servers.h"

#define MSG(name) &hodei__v1__##name##__descriptor

struct world {
    struct twin twin;
    struct auth auth;
    struct hd_err err;
};
static void world_init(struct world *w) {
    memset(w, 0, sizeof(*w));
    servers_pg_clean();
    twin_init(&w->twin);
    w->auth.has_admin = true;
    EVP_Digest("admin", 5, w->auth.admin_sha256, NULL, EVP_sha256(), NULL);
    twin_add(&w->twin, &auth_def, servers_pg(), &w->auth);
}

static const Hodei__V1__AuthenticateReply *authenticate(struct world *w, const char *token) {
    Hodei__V1__AuthenticateRequest request = HODEI__V1__AUTHENTICATE_REQUEST__INIT;
    Hodei__V1__AuthenticateReply *reply;
    uint8_t hash[32];
    EVP_Digest(token, strlen(token), hash, NULL, EVP_sha256(), NULL);
    request.token_sha256.data = hash;
    request.token_sha256.len = sizeof(hash);
    twin_call(&w->twin, "", "auth", "Authenticate", &request.base, MSG(authenticate_reply), &w->err, &reply);
    return reply;
}

TEST(the_admin_token_is_known_from_the_first_request_on) {
    struct world w;
    world_init(&w);
    const Hodei__V1__AuthenticateReply *reply = authenticate(&w, "admin");
    CHECK(reply && reply->principal);
    if (reply && reply->principal) {
        CHECK_STR(reply->principal->subject, "admin");
        CHECK_STR(reply->principal->tenant, "default");
        CHECK_INT(reply->principal->n_permissions, 1);
        CHECK_STR(reply->principal->permissions[0], "*");
        CHECK_INT(reply->ttl_ms, AUTH_TTL_MS);
        CHECK_INT(reply->policy_version, 1);
    }
    CHECK(!authenticate(&w, "Admin"));
    CHECK_INT(w.err.status, HD_UNAUTHENTICATED);
    twin_release(&w.twin);
}

TEST(tokens_of_the_table) {
    struct world w;
    world_init(&w);
    twin_pass(&w.twin, 0); // makes the tables
    servers_pg_sql("INSERT INTO auth.tokens (sha256, subject, tenant, permissions, expires_at_ms, created_at_ms) VALUES"
                   " (sha256('viewer'), 'token:v', 'acme', '{run.read,log.read}', 1700000001500, 0),"
                   " (sha256('old'), 'token:o', 'acme', '{}', 1699999999999, 0)");
    const Hodei__V1__AuthenticateReply *reply = authenticate(&w, "viewer");
    CHECK(reply && reply->principal);
    if (reply && reply->principal) {
        CHECK_STR(reply->principal->tenant, "acme");
        CHECK_INT(reply->principal->n_permissions, 2);
        CHECK_STR(reply->principal->permissions[1], "log.read");
        CHECK_INT(reply->ttl_ms, 1500); // not beyond its end
    }
    CHECK(!authenticate(&w, "old"));
    CHECK_INT(w.err.status, HD_UNAUTHENTICATED);
    CHECK(strstr(w.err.text, "expired") != NULL);
    twin_pass(&w.twin, 2000);
    CHECK(!authenticate(&w, "viewer"));
    CHECK_INT(servers_pg_int("SELECT count(*) FROM auth.tokens WHERE last_used_at_ms IS NOT NULL"), 2);
    servers_pg_sql("DELETE FROM auth.tokens WHERE subject = 'token:v'");
    CHECK(!authenticate(&w, "viewer"));
    twin_release(&w.twin);
}

TEST(a_hash_of_the_wrong_size_is_refused_alone) {
    struct world w;
    Hodei__V1__AuthenticateRequest request = HODEI__V1__AUTHENTICATE_REQUEST__INIT;
    Hodei__V1__AuthenticateReply *reply;
    world_init(&w);
    int bad = twin_ask(&w.twin, "", "auth", "Authenticate", &request.base);
    request.token_sha256.data = w.auth.admin_sha256;
    request.token_sha256.len = 32;
    int good = twin_ask(&w.twin, "", "auth", "Authenticate", &request.base);
    twin_pass(&w.twin, 0);
    CHECK(twin_answered(&w.twin, bad, MSG(authenticate_reply), &w.err, &reply));
    CHECK_INT(w.err.status, HD_INVALID);
    CHECK(twin_answered(&w.twin, good, MSG(authenticate_reply), &w.err, &reply));
    CHECK(reply != NULL);
    twin_release(&w.twin);
}

TEST(who_am_i) {
    struct world w;
    Hodei__V1__WhoAmIRequest request = HODEI__V1__WHO_AM_IREQUEST__INIT;
    Hodei__V1__WhoAmIReply *reply;
    world_init(&w);
    CHECK_INT(twin_call(&w.twin, "acme", "auth", "WhoAmI", &request.base, MSG(who_am_ireply), &w.err, &reply), HD_OK);
    CHECK(reply && strcmp(reply->subject, "test") == 0 && strcmp(reply->tenant, "acme") == 0);
    twin_release(&w.twin);
}

// --- who may do what -----------------------------------------------------------------------------------------------------

// Asks for somebody of a tenant with these permissions (separated by blanks).
static enum hd_status call_as(struct world *w, const char *subject, const char *tenant, const char *permissions,
                              const char *method, const ProtobufCMessage *msg, const ProtobufCMessageDescriptor *type,
                              void *ret) {
    Hodei__V1__RpcRequest request = HODEI__V1__RPC_REQUEST__INIT;
    Hodei__V1__Principal principal = HODEI__V1__PRINCIPAL__INIT;
    uint8_t *data;
    size_t len;
    principal.subject = hd_arena_strdup(&w->twin.arena, subject);
    principal.tenant = hd_arena_strdup(&w->twin.arena, tenant);
    principal.permissions = auth_words(&w->twin.arena, permissions, &principal.n_permissions);
    request.principal = &principal;
    request.timeout_ms = 30000;
    hd_pb_pack(&w->twin.arena, msg, &request.body.data, &request.body.len);
    hd_pb_pack(&w->twin.arena, &request.base, &data, &len);
    int call = ++w->twin.last_call;
    w->twin.bus->ops->ask(w->twin.bus, hd_subject_rpc(&w->twin.arena, "auth", method), data, len, call, 0, 60000);
    for (int i = 0; i < 20; i++) {
        twin_pass(&w->twin, i ? 100 : 0);
        if (twin_answered(&w->twin, call, type, &w->err, ret))
            return w->err.status;
    }
    return hd_err_set(&w->err, HD_TIMEOUT, "no answer from auth.%s", method);
}

static enum hd_status bind_as(struct world *w, const char *permissions, const char *principal, const char *role,
                              Hodei__V1__Binding **ret) {
    Hodei__V1__PutBindingRequest request = HODEI__V1__PUT_BINDING_REQUEST__INIT;
    request.principal = (char *)(uintptr_t)principal;
    request.role = (char *)(uintptr_t)role;
    return call_as(w, "user:boss", "acme", permissions, "PutBinding", &request.base, MSG(binding), ret);
}

static enum hd_status unbind(struct world *w, const char *id) {
    Hodei__V1__DeleteBindingRequest request = HODEI__V1__DELETE_BINDING_REQUEST__INIT;
    void *none;
    request.id = (char *)(uintptr_t)id;
    return call_as(w, "user:boss", "acme", "*", "DeleteBinding", &request.base, MSG(empty), &none);
}

static Hodei__V1__CreateTokenReply *token_for(struct world *w, const char *permissions, const char *name,
                                              const char *subject) {
    Hodei__V1__CreateTokenRequest request = HODEI__V1__CREATE_TOKEN_REQUEST__INIT;
    Hodei__V1__CreateTokenReply *reply;
    request.name = (char *)(uintptr_t)name;
    request.subject = (char *)(uintptr_t)subject;
    call_as(w, "user:boss", "acme", permissions, "CreateToken", &request.base, MSG(create_token_reply), &reply);
    return reply;
}

static void account(struct world *w, const char *name) {
    Hodei__V1__PutServiceAccountRequest request = HODEI__V1__PUT_SERVICE_ACCOUNT_REQUEST__INIT;
    void *reply;
    request.name = (char *)(uintptr_t)name;
    CHECK_INT(call_as(w, "user:boss", "acme", "*", "PutServiceAccount", &request.base, MSG(service_account), &reply),
              HD_OK);
}

static int64_t version(void) {
    return servers_pg_int("SELECT version FROM auth.policy");
}

static bool permits(const Hodei__V1__AuthenticateReply *reply, const char *permission) {
    for (size_t i = 0; reply && i < reply->principal->n_permissions; i++)
        if (strcmp(reply->principal->permissions[i], permission) == 0)
            return true;
    return false;
}

TEST(a_token_may_what_its_account_may_as_far_as_it_is_scoped) {
    struct world w;
    Hodei__V1__Binding *binding;
    world_init(&w);
    twin_pass(&w.twin, 0);
    account(&w, "ci");
    Hodei__V1__CreateTokenReply *token = token_for(&w, "run.start run.read", "deploy", "service-account:ci");
    CHECK(token && auth_token_valid(token->token));
    if (!token)
        return;
    const Hodei__V1__AuthenticateReply *reply = authenticate(&w, token->token);
    CHECK(reply && reply->principal->n_permissions == 0); // the account has no role yet
    int64_t before = version();
    CHECK_INT(bind_as(&w, "*", "service-account:ci", "developer", &binding), HD_OK);
    CHECK(version() > before);
    reply = authenticate(&w, token->token);
    CHECK(reply && reply->policy_version == version());
    CHECK(permits(reply, "run.start") && permits(reply, "run.read"));
    CHECK(!permits(reply, "pipeline.write")); // of the role, and not of the token
    CHECK_INT(unbind(&w, binding->id), HD_OK);
    CHECK(!permits(authenticate(&w, token->token), "run.start"));
    CHECK_INT(servers_pg_int("SELECT count(*) FROM auth.tokens WHERE encode(sha256, 'escape') LIKE 'hodei_%'"), 0);
    twin_release(&w.twin);
}

TEST(nobody_gives_what_he_has_not) {
    struct world w;
    Hodei__V1__Binding *binding;
    Hodei__V1__PutRoleRequest role = HODEI__V1__PUT_ROLE_REQUEST__INIT;
    Hodei__V1__ChangeGroupRequest group = HODEI__V1__CHANGE_GROUP_REQUEST__INIT;
    void *reply;
    world_init(&w);
    twin_pass(&w.twin, 0);
    CHECK_INT(bind_as(&w, "role.write run.read", "user:mary", "viewer", &binding), HD_DENIED);
    CHECK(strstr(w.err.text, "pipeline.read") != NULL);
    CHECK_INT(bind_as(&w, "role.write pipeline.read run.read log.read worker.read quota.read", "user:mary", "viewer",
                      &binding),
              HD_OK);
    char *wanted[] = {"run.start"};
    role.name = "starter";
    role.permissions = wanted;
    role.n_permissions = 1;
    CHECK_INT(call_as(&w, "user:boss", "acme", "role.write", "PutRole", &role.base, MSG(role), &reply), HD_DENIED);
    CHECK_INT(call_as(&w, "user:boss", "acme", "role.write run.start", "PutRole", &role.base, MSG(role), &reply),
              HD_OK);
    wanted[0] = "worker.write"; // of all tenants: not even by somebody who has it
    CHECK_INT(call_as(&w, "user:boss", "acme", "*", "PutRole", &role.base, MSG(role), &reply), HD_INVALID);
    CHECK_INT(bind_as(&w, "*", "group:heads", "admin", &binding), HD_OK);
    group.group = "heads";
    group.member = "user:eve";
    CHECK_INT(call_as(&w, "user:eve", "acme", "role.write", "AddGroupMember", &group.base, MSG(empty), &reply),
              HD_DENIED);
    account(&w, "ci");
    CHECK_INT(bind_as(&w, "*", "service-account:ci", "admin", &binding), HD_OK);
    CHECK(!token_for(&w, "token.write", "x", "user:mary")); // nobody makes one for another person
    Hodei__V1__CreateTokenReply *token = token_for(&w, "token.write", "x", "service-account:ci");
    CHECK(token && token->about->n_permissions == 1); // not more than the caller has, though the account is an admin
    CHECK_INT(servers_pg_int("SELECT count(*) FROM auth.group_members"), 0);
    twin_release(&w.twin);
}

TEST(the_last_admin_stays) {
    struct world w;
    Hodei__V1__Binding *mary, *heads;
    Hodei__V1__ChangeGroupRequest group = HODEI__V1__CHANGE_GROUP_REQUEST__INIT;
    void *reply;
    world_init(&w);
    twin_pass(&w.twin, 0);
    CHECK_INT(bind_as(&w, "*", "user:mary", "admin", &mary), HD_OK);
    CHECK_INT(bind_as(&w, "*", "group:heads", "admin", &heads), HD_OK);
    CHECK_INT(unbind(&w, mary->id), HD_PRECONDITION); // the group is empty
    CHECK(strstr(w.err.text, "no admin") != NULL);
    group.group = "heads";
    group.member = "user:jim";
    CHECK_INT(call_as(&w, "user:boss", "acme", "*", "AddGroupMember", &group.base, MSG(empty), &reply), HD_OK);
    CHECK_INT(unbind(&w, mary->id), HD_OK);
    CHECK_INT(call_as(&w, "user:boss", "acme", "*", "RemoveGroupMember", &group.base, MSG(empty), &reply),
              HD_PRECONDITION);
    CHECK_INT(unbind(&w, heads->id), HD_PRECONDITION);
    CHECK_INT(servers_pg_int("SELECT count(*) FROM auth.group_members"), 1);
    twin_release(&w.twin);
}

TEST(a_token_is_rotated_with_an_overlap_and_revoked) {
    struct world w;
    Hodei__V1__RotateTokenRequest rotate = HODEI__V1__ROTATE_TOKEN_REQUEST__INIT;
    Hodei__V1__RevokeTokenRequest revoke = HODEI__V1__REVOKE_TOKEN_REQUEST__INIT;
    Hodei__V1__CreateTokenReply *next;
    void *reply;
    world_init(&w);
    twin_pass(&w.twin, 0);
    account(&w, "ci");
    Hodei__V1__CreateTokenReply *token = token_for(&w, "*", "deploy", "service-account:ci");
    CHECK(token != NULL);
    if (!token)
        return;
    CHECK(!token_for(&w, "*", "deploy", "service-account:ci"));
    CHECK_INT(w.err.status, HD_CONFLICT);
    rotate.id = token->about->id;
    rotate.overlap_ms = 10000;
    CHECK_INT(call_as(&w, "user:boss", "other", "*", "RotateToken", &rotate.base, MSG(create_token_reply), &next),
              HD_MISSING);
    CHECK_INT(call_as(&w, "user:boss", "acme", "*", "RotateToken", &rotate.base, MSG(create_token_reply), &next),
              HD_OK);
    const Hodei__V1__AuthenticateReply *old = authenticate(&w, token->token);
    CHECK(old && old->ttl_ms <= 10000); // the gateway keeps it no longer than the overlap
    CHECK(authenticate(&w, next->token) != NULL);
    twin_pass(&w.twin, 10001);
    CHECK(!authenticate(&w, token->token));
    CHECK(authenticate(&w, next->token) != NULL);
    int64_t before = version();
    revoke.id = next->about->id;
    CHECK_INT(call_as(&w, "user:boss", "other", "*", "RevokeToken", &revoke.base, MSG(empty), &reply), HD_MISSING);
    CHECK_INT(call_as(&w, "user:boss", "acme", "*", "RevokeToken", &revoke.base, MSG(empty), &reply), HD_OK);
    CHECK(version() > before);
    CHECK(!authenticate(&w, next->token));
    twin_release(&w.twin);
}

TEST(the_audit_trail_only_grows) {
    struct world w;
    Hodei__V1__Binding *binding;
    Hodei__V1__ListAuditRequest list = HODEI__V1__LIST_AUDIT_REQUEST__INIT;
    Hodei__V1__ListAuditReply *reply;
    world_init(&w);
    twin_pass(&w.twin, 0);
    CHECK_INT(bind_as(&w, "*", "user:mary", "viewer", &binding), HD_OK);
    CHECK_INT(bind_as(&w, "*", "user:mary", "viewer", &binding), HD_OK); // changes nothing
    CHECK_INT(call_as(&w, "user:boss", "acme", "*", "ListAudit", &list.base, MSG(list_audit_reply), &reply), HD_OK);
    CHECK_INT(reply->n_entries, 1);
    CHECK_STR(reply->entries[0]->actor, "user:boss");
    CHECK_STR(reply->entries[0]->target, "user:mary");
    CHECK_INT(call_as(&w, "user:boss", "other", "*", "ListAudit", &list.base, MSG(list_audit_reply), &reply), HD_OK);
    CHECK_INT(reply->n_entries, 0);
    servers_pg_sql("DO $$ BEGIN UPDATE auth.audit SET actor = 'x'; RAISE 'changed'; EXCEPTION WHEN OTHERS THEN"
                   " IF sqlerrm NOT LIKE '%only ever added to%' THEN RAISE; END IF; END $$");
    servers_pg_sql("DO $$ BEGIN DELETE FROM auth.audit; RAISE 'deleted'; EXCEPTION WHEN OTHERS THEN"
                   " IF sqlerrm NOT LIKE '%only ever added to%' THEN RAISE; END IF; END $$");
    servers_pg_sql("DO $$ BEGIN TRUNCATE auth.audit; RAISE 'truncated'; EXCEPTION WHEN OTHERS THEN"
                   " IF sqlerrm NOT LIKE '%only ever added to%' THEN RAISE; END IF; END $$");
    twin_release(&w.twin);
}

TEST(a_flood_of_refusals_is_counted_and_not_kept) {
    struct world w;
    Hodei__V1__RecordRefusalsRequest request = HODEI__V1__RECORD_REFUSALS_REQUEST__INIT;
    Hodei__V1__AuditEntry entries[64], *list[64];
    void *reply;
    world_init(&w);
    twin_pass(&w.twin, 0);
    request.refusals = list;
    request.n_refusals = 64;
    for (int i = 0; i < 64; i++) {
        hodei__v1__audit_entry__init(&entries[i]);
        entries[i].actor = hd_arena_printf(&w.twin.arena, "user:%d", i);
        entries[i].action = "GET /v1/runs";
        entries[i].count = 1000;
        list[i] = &entries[i];
    }
    entries[0].detail = hd_arena_alloc(&w.twin.arena, 602); // cut, and not within a character
    memset(entries[0].detail, 'x', 1);
    for (int i = 0; i < 300; i++)
        memcpy(entries[0].detail + 1 + 2 * i, "\xc3\xa9", 2);
    CHECK_INT(call_as(&w, "user:eve", "acme", "*", "RecordRefusals", &request.base, MSG(empty), &reply), HD_DENIED);
    for (int i = 0; i < 40; i++)
        CHECK_INT(call_as(&w, "", "", "", "RecordRefusals", &request.base, MSG(empty), &reply), HD_OK);
    CHECK_INT(servers_pg_int("SELECT sum(count) FROM auth.audit"), 40 * 64 * 1000);
    CHECK(servers_pg_int("SELECT count(*) FROM auth.audit") < 1100);
    CHECK_INT(servers_pg_int("SELECT max(octet_length(detail)) FROM auth.audit"), 255);
    twin_release(&w.twin);
}

TEST(a_tenant_is_suspended_deleted_and_gone_after_its_grace) {
    struct world w;
    Hodei__V1__CreateTenantRequest create = HODEI__V1__CREATE_TENANT_REQUEST__INIT;
    Hodei__V1__SteerTenantRequest steer = HODEI__V1__STEER_TENANT_REQUEST__INIT;
    Hodei__V1__Tenant *tenant;
    world_init(&w);
    twin_pass(&w.twin, 0);
    create.name = steer.name = "acme";
    CHECK_INT(call_as(&w, "admin", "other", "*", "CreateTenant", &create.base, MSG(tenant), &tenant), HD_MISSING);
    CHECK_INT(call_as(&w, "admin", "default", "*", "CreateTenant", &create.base, MSG(tenant), &tenant), HD_OK);
    account(&w, "ci");
    Hodei__V1__CreateTokenReply *token = token_for(&w, "*", "deploy", "service-account:ci");
    steer.reason = "not paid";
    CHECK_INT(call_as(&w, "admin", "default", "*", "SuspendTenant", &steer.base, MSG(tenant), &tenant), HD_OK);
    const Hodei__V1__AuthenticateReply *reply = token ? authenticate(&w, token->token) : NULL;
    CHECK(reply && (int)reply->refusal == HD_DENIED && strstr(reply->refusal_text, "suspended: not paid"));
    CHECK_INT(call_as(&w, "admin", "default", "*", "ResumeTenant", &steer.base, MSG(tenant), &tenant), HD_OK);
    reply = token ? authenticate(&w, token->token) : NULL;
    CHECK(reply && (int)reply->refusal == HD_OK);
    steer.grace_ms = 60000;
    CHECK_INT(call_as(&w, "admin", "default", "*", "DeleteTenant", &steer.base, MSG(tenant), &tenant), HD_OK);
    CHECK_INT(call_as(&w, "admin", "default", "*", "UndeleteTenant", &steer.base, MSG(tenant), &tenant), HD_OK);
    CHECK_STR(tenant->state, "active");
    CHECK_INT(call_as(&w, "admin", "default", "*", "DeleteTenant", &steer.base, MSG(tenant), &tenant), HD_OK);
    twin_pass(&w.twin, 61000);
    twin_pass(&w.twin, 11000);
    CHECK(!token || !authenticate(&w, token->token));
    CHECK_INT(servers_pg_int("SELECT count(*) FROM auth.service_accounts"), 0);
    CHECK_INT(call_as(&w, "admin", "default", "*", "CreateTenant", &create.base, MSG(tenant), &tenant), HD_CONFLICT);
    steer.name = "default";
    CHECK_INT(call_as(&w, "admin", "default", "*", "DeleteTenant", &steer.base, MSG(tenant), &tenant), HD_PRECONDITION);
    twin_release(&w.twin);
}

TEST_MAIN
