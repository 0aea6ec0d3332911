// Permissions and built-in roles.
#include "tests/unit/test.h"

#include "services/auth/permission.h"

static bool gives(const char *role, const char *tenant, const char *permission) {
    struct hd_arena arena;
    uint64_t bits = 0;
    hd_arena_init(&arena);
    uint64_t one = auth_permission_bits(&arena, permission, NULL);
    bool given = auth_builtin_bits(role, tenant, &bits) && one && (bits & one) == one;
    hd_arena_release(&arena);
    return given;
}

TEST(what_roles_are_for) {
    CHECK(gives("viewer", "acme", "run.read") && !gives("viewer", "acme", "run.start"));
    CHECK(gives("developer", "acme", "pipeline.write") && !gives("developer", "acme", "run.approve"));
    CHECK(gives("operator", "acme", "run.approve") && !gives("operator", "acme", "pipeline.write"));
    CHECK(gives("auditor", "acme", "audit.read") && !gives("auditor", "acme", "run.cancel"));
    CHECK(gives("admin", "acme", "role.write") && !gives("viewer", "acme", "token.read"));
    CHECK(!gives("Admin", "acme", "role.write"));
}

TEST(what_concerns_all_tenants_is_given_at_home_only) {
    CHECK(!gives("operator", "acme", "worker.write") && gives("operator", "default", "worker.write"));
    CHECK(!gives("admin", "acme", "tenant.write") && !gives("admin", "acme", "*"));
    CHECK(gives("admin", "default", "*"));
    for (size_t i = 0; i < auth_permissions_len; i++)
        CHECK(gives("admin", "default", auth_permissions[i].name));
}

TEST(sets_and_names) {
    struct hd_arena arena;
    const char *unknown;
    size_t n;
    hd_arena_init(&arena);
    uint64_t bits = auth_permission_bits(&arena, "run.read  nonsense log.read", &unknown);
    CHECK_STR(unknown, "nonsense");
    char **names = auth_permission_names(&arena, bits, &n);
    CHECK_INT(n, 2);
    CHECK_STR(names[0], "run.read");
    names = auth_permission_names(&arena, AUTH_ALL, &n);
    CHECK(n == 1 && strcmp(names[0], "*") == 0);
    CHECK_STR(auth_bits_beyond(bits, auth_permission_bits(&arena, "run.read", NULL)), "log.read");
    CHECK(!auth_bits_beyond(bits, AUTH_ALL));
    CHECK_STR(auth_bits_beyond(AUTH_ALL, AUTH_ALL >> 1), "*"); // every one that there is now is not everything
    CHECK_INT(auth_permission_bits(&arena, "", NULL), 0);
    hd_arena_release(&arena);
}

TEST_MAIN
