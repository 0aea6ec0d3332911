// Permissions, and the roles that are built in: tables, and sets of permissions as bits. Pure.
//
// A permission belongs to one or more routes of the gateway. `*` is every one, those of later releases included. One that concerns all
// tenants (platform) is given by roles of the tenant "default" only.
#ifndef HD_AUTH_PERMISSION_H
#define HD_AUTH_PERMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

#define AUTH_HOME_TENANT "default" // of the platform's administrators
#define AUTH_ALL UINT64_MAX        // "*"

enum auth_builtin { AUTH_VIEWER, AUTH_DEVELOPER, AUTH_OPERATOR, AUTH_ADMIN, AUTH_AUDITOR, AUTH_BUILTIN_COUNT };
struct auth_builtin_role {
    const char *name, *about;
};
extern const struct auth_builtin_role auth_builtin_roles[AUTH_BUILTIN_COUNT];

struct auth_permission {
    const char *name, *about;
    unsigned roles; // bits of enum auth_builtin
    bool platform;
    bool part; // can be had in a project or a pipeline: all of its routes keep to it
};
extern const struct auth_permission auth_permissions[];
extern const size_t auth_permissions_len; // below 64

// Of names separated by blanks; `*ret_unknown` (in the arena, or NULL) is the first that is none. An unknown one has no bit.
uint64_t auth_permission_bits(struct hd_arena *arena, const char *names, const char **ret_unknown);
// The names of a set: "*" alone for AUTH_ALL.
char **auth_permission_names(struct hd_arena *arena, uint64_t bits, size_t *ret_n);
// The permissions of a built-in role in a tenant; false: there is none of that name.
bool auth_builtin_bits(const char *role, const char *tenant, uint64_t *ret);
// Without those that roles of this tenant cannot give.
uint64_t auth_bits_in(uint64_t bits, const char *tenant);
// Those of them that can be had in a part of the tenant.
uint64_t auth_bits_in_part(uint64_t bits);
// The name of the first permission of `wanted` that `held` has not; NULL where there is none.
const char *auth_bits_beyond(uint64_t wanted, uint64_t held);

#endif
