// The auth service on a real PostgreSQL.
#include "tests/integration/twin.h"

#include <openssl/evp.h>

#include "hodei/v1/auth.pb-c.h"
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
        CHECK_INT(reply->ttl_ms, 2000);
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

TEST_MAIN
