#include "services/auth/permission.h"

#include <string.h>

#include "base/buf.h"

const struct auth_builtin_role auth_builtin_roles[AUTH_BUILTIN_COUNT] = {
    [AUTH_VIEWER] = {"viewer", "sees pipelines, runs, logs, workers and quotas"},
    [AUTH_DEVELOPER] = {"developer", "a viewer who changes pipelines, and starts and steers runs"},
    [AUTH_OPERATOR] = {"operator", "a viewer who starts, steers and approves runs, and looks after workers"},
    [AUTH_ADMIN] = {"admin", "everything in the tenant; in the tenant \"default\": everything in every tenant"},
    [AUTH_AUDITOR] = {"auditor", "a viewer who sees the audit trail, and who may do what"},
};

#define V (1u << AUTH_VIEWER)
#define D (1u << AUTH_DEVELOPER)
#define O (1u << AUTH_OPERATOR)
#define A (1u << AUTH_ADMIN)
#define U (1u << AUTH_AUDITOR)
#define EVERYBODY (V | D | O | A | U)

const struct auth_permission auth_permissions[] = {
    {"pipeline.read", "see pipelines, their versions and schedules", EVERYBODY, .part = true},
    {"pipeline.write", "make, change and delete pipelines; pause schedules", D | A, .part = true},
    {"run.read", "see runs and jobs", EVERYBODY, .part = true},
    {"run.start", "start runs, and run them again", D | O | A, .part = true},
    {"run.cancel", "cancel runs and jobs", D | O | A, .part = true},
    {"run.steer", "pause and prioritize runs; retry, skip and mark jobs", D | O | A, .part = true},
    {"run.approve", "approve and reject jobs", O | A, .part = true},
    {"log.read", "read logs", EVERYBODY, .part = true},
    {"worker.read", "see workers", EVERYBODY},
    {"worker.write", "cordon and drain workers, which all tenants share", O | A, .platform = true},
    {"quota.read", "see quotas", EVERYBODY},
    {"quota.write", "set quotas", A, .platform = true},
    {"project.write", "limit what projects may use of what the tenant may", A},
    {"role.read", "see roles, bindings and groups", A | U},
    {"role.write", "change roles, bindings and groups, as far as one's own permissions go", A},
    {"token.read", "see service accounts and tokens", A | U},
    {"token.write", "make and end service accounts and their tokens, as far as one's own permissions go", A},
    {"audit.read", "read the audit trail", A | U},
    {"user.read", "see users and their sessions", A | U},
    {"user.write", "make, change, disable and delete users, as far as one's own permissions go", A},
    {"key.read", "see the keys that sign access tokens", A | U, .platform = true},
    {"key.write", "make a new key that signs access tokens", A, .platform = true},
    {"tenant.read", "see all tenants", A, .platform = true},
    {"tenant.write", "make, suspend and delete tenants", A, .platform = true},
};
const size_t auth_permissions_len = sizeof(auth_permissions) / sizeof(auth_permissions[0]);
_Static_assert(sizeof(auth_permissions) / sizeof(auth_permissions[0]) < 64,
               "a set is one number, and all of its bits are \"*\"");

static uint64_t bit_of(const char *name, size_t len) {
    if (len == 1 && *name == '*')
        return AUTH_ALL;
    for (size_t i = 0; i < auth_permissions_len; i++)
        if (strlen(auth_permissions[i].name) == len && memcmp(auth_permissions[i].name, name, len) == 0)
            return UINT64_C(1) << i;
    return 0;
}

uint64_t auth_permission_bits(struct hd_arena *arena, const char *names, const char **ret_unknown) {
    const char *unknown = NULL;
    uint64_t bits = 0;

    while (*names) {
        size_t len = strcspn(names, " ");
        uint64_t bit = bit_of(names, len);
        if (len && !bit && !unknown)
            unknown = hd_arena_strndup(arena, names, len);
        bits |= bit;
        names += len + (names[len] == ' ');
    }
    if (ret_unknown)
        *ret_unknown = unknown;
    return bits;
}

char **auth_permission_names(struct hd_arena *arena, uint64_t bits, size_t *ret_n) {
    char **names = HD_NEW_ARRAY(arena, auth_permissions_len + 1, char *);
    size_t n = 0;

    if (bits == AUTH_ALL)
        names[n++] = hd_arena_strdup(arena, "*");
    for (size_t i = 0; i < auth_permissions_len && bits != AUTH_ALL; i++)
        if (bits & UINT64_C(1) << i)
            names[n++] = hd_arena_strdup(arena, auth_permissions[i].name);
    *ret_n = n;
    return names;
}

uint64_t auth_bits_in(uint64_t bits, const char *tenant) {
    if (hd_streq(tenant, AUTH_HOME_TENANT))
        return bits;
    uint64_t kept = 0;
    for (size_t i = 0; i < auth_permissions_len; i++)
        if (!auth_permissions[i].platform)
            kept |= bits & UINT64_C(1) << i;
    return kept;
}

uint64_t auth_bits_in_part(uint64_t bits) {
    uint64_t kept = 0;
    for (size_t i = 0; i < auth_permissions_len; i++)
        if (auth_permissions[i].part)
            kept |= bits & UINT64_C(1) << i;
    return kept;
}

bool auth_builtin_bits(const char *role, const char *tenant, uint64_t *ret) {
    for (unsigned i = 0; i < AUTH_BUILTIN_COUNT; i++) {
        if (!hd_streq(auth_builtin_roles[i].name, role))
            continue;
        uint64_t bits = 0;
        for (size_t j = 0; j < auth_permissions_len; j++)
            if (auth_permissions[j].roles & 1u << i)
                bits |= UINT64_C(1) << j;
        *ret = i == AUTH_ADMIN && hd_streq(tenant, AUTH_HOME_TENANT) ? AUTH_ALL : auth_bits_in(bits, tenant);
        return true;
    }
    return false;
}

const char *auth_bits_beyond(uint64_t wanted, uint64_t held) {
    if (wanted == AUTH_ALL && held != AUTH_ALL)
        return "*";
    for (size_t i = 0; i < auth_permissions_len; i++)
        if (wanted & ~held & UINT64_C(1) << i)
            return auth_permissions[i].name;
    return NULL;
}
