// The auth service: which token stands for whom, who may do what in which tenant, and what was done about it.
//
// Tokens are kept as SHA-256 only. Authenticate is a read: one statement for all requests of a batch. Whoever changes something takes the
// policy row first (auth_store_lock): so changes come one after another, and what was checked still holds when it is written.
//
// Handlers of changes return the error of an item for the whole call; the runner then goes item by item.
#ifndef HD_AUTH_AUTH_H
#define HD_AUTH_AUTH_H

#include "hodei/v1/auth.pb-c.h"
#include "service/service.h"
#include "services/auth/key.h"
#include "services/auth/permission.h"
#include "services/auth/token.h"
#include "services/auth/user.h"

extern const struct hd_service_def auth_def; // service.c

struct auth {
    bool has_admin; // an admin token is configured
    uint8_t admin_sha256[AUTH_SHA256_BYTES];
    struct auth_keyring ring;
    struct hd_service *service; // borrowed
    struct auth_pool *pool;     // of threads that derive from passwords
    int64_t session_ttl_ms;
};

// auth.c
enum hd_status auth_init(struct hd_service *service, const struct hd_settings *settings, void **ret_self,
                         struct hd_err *err);
void auth_release(void *self);
hd_handler auth_authenticate;       // Authenticate
hd_handler auth_get_policy_version; // GetPolicyVersion
hd_handler auth_who_am_i;           // WhoAmI
hd_handler auth_seed;               // timer: the configured admin token is in the table

hd_handler auth_derived; // timer, kicked when a password was derived: its commit wakes the items that wait

enum auth_metric {
    AUTH_KNOWN,
    AUTH_UNKNOWN,
    AUTH_EXPIRED,
    AUTH_REFUSALS,
    AUTH_REFUSALS_FOLDED,
    AUTH_LOGIN_GOOD,
    AUTH_LOGIN_FAILED,
    AUTH_LOGIN_REFUSED,
    AUTH_REFRESH_REUSED,
    AUTH_METRIC_COUNT
};
extern struct hd_metric auth_metrics[AUTH_METRIC_COUNT];

// standing.c: what somebody may do in a tenant, whatever he has shown that he is. The policy version of the answer must be read before.
struct auth_standing {
    const char *subject, *home; // who, and the tenant where he belongs: of the same name elsewhere is somebody else
    const char *wanted;         // the tenant that the request names; never empty
    const char *scope;          // separated by blanks: no more than these; "*": all
    bool exactly;               // the scope is what he may do, whatever roles he has
    // Filled by auth_store_hold:
    const char *home_state, *home_reason, *state, *reason; // of the two tenants; "" where one is not known
    const char *roles, *custom; // in `wanted`; the permissions of those that are not built in
    const char
        *parts; // project/pipeline/role/permissions of a custom one, separated by commas; separated by blanks, by part
    bool platform_admin; // admin of the tenant "default", and at home there
};
// Sets principal, or refusal.
void auth_standing_decide(struct hd_ctx *cx, const struct auth_standing *standing, Hodei__V1__AuthenticateReply *reply);

// rbac.c: roles, bindings, groups
hd_handler auth_list_permissions, auth_list_roles, auth_put_role, auth_delete_role;
hd_handler auth_put_binding, auth_delete_binding, auth_change_group_add, auth_change_group_remove;
// account.c: service accounts and tokens
hd_handler auth_put_service_account, auth_delete_service_account;
hd_handler auth_create_token, auth_rotate_token, auth_revoke_token;
// list.c: everything that is listed in pages
hd_handler auth_list_bindings, auth_list_groups, auth_list_service_accounts, auth_list_tokens, auth_list_tenants,
    auth_list_audit;
// tenant.c
hd_handler auth_create_tenant, auth_suspend_tenant, auth_resume_tenant, auth_delete_tenant, auth_undelete_tenant;
hd_handler auth_purge; // timer: what has been deleted for long enough
// audit.c
hd_handler auth_record_refusals; // RecordRefusals
// One entry of the trail, of the item's principal. `detail` NULL: none.
enum hd_status auth_audit(struct hd_ctx *cx, const struct hd_item *item, const char *action, const char *target,
                          const char *detail) HD_MUST_USE;

// check.c: what the changes have in common. Each fails cx.
// The set of a request's or a row's permissions; an unknown one is refused.
enum hd_status auth_bits_read(struct hd_ctx *cx, char *const *names, size_t n, uint64_t *ret) HD_MUST_USE;
uint64_t auth_caller_bits(struct hd_ctx *cx, const struct hd_item *item);
// Nobody gives, or takes away, what he has not himself.
enum hd_status auth_may_give(struct hd_ctx *cx, const struct hd_item *item, uint64_t bits) HD_MUST_USE;
// The permissions of a role of the caller's tenant.
enum hd_status auth_role_bits(struct hd_ctx *cx, const struct hd_item *item, const char *role,
                              uint64_t *ret) HD_MUST_USE;
enum hd_status auth_name_check(struct hd_ctx *cx, const char *field, const char *name) HD_MUST_USE;
enum hd_status auth_text_check(struct hd_ctx *cx, const char *field, const char *text) HD_MUST_USE;
// "user:NAME" and the like; `group` says whether "group:NAME" is one too. A service account must be there.
enum hd_status auth_principal_check(struct hd_ctx *cx, const struct hd_item *item, const char *field, const char *text,
                                    bool group) HD_MUST_USE;
// What the roles of somebody of the caller's tenant allow.
enum hd_status auth_subject_bits(struct hd_ctx *cx, const struct hd_item *item, const char *subject,
                                 uint64_t *ret) HD_MUST_USE;
// Gives somebody of the caller's tenant a role that the caller may give; *ret_row is the binding.
enum hd_status auth_bind(struct hd_ctx *cx, const struct hd_item *item, const Hodei__V1__PutBindingRequest *binding,
                         struct hd_rows *ret_row) HD_MUST_USE;
// For the audit trail.
const char *auth_binding_text(struct hd_arena *arena, const char *role, const char *project, const char *pipeline);
// After a change: fails where the tenant had an admin (before > 0) and has none now.
enum hd_status auth_admin_left(struct hd_ctx *cx, const struct hd_item *item, int64_t before) HD_MUST_USE;

// A handler of one item at a time, under the lock of the policy.
typedef enum hd_status auth_change(struct hd_ctx *cx, struct hd_item *item);
enum hd_status auth_each(struct hd_ctx *cx, struct hd_item *items, size_t n, auth_change *change) HD_MUST_USE;
#define AUTH_CHANGE(name, change)                                                                                      \
    enum hd_status name(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {                              \
        (void)self;                                                                                                    \
        return auth_each(cx, items, n, change);                                                                        \
    }

// store.c: the only file with SQL
struct auth_token { // or a session, which may do all that its user may
    const char *subject, *tenant;
    const char *permissions; // separated by blanks
    bool scoped;             // it may do what its subject may, as far as it is among them; else exactly those
    int64_t expires_at_ms;   // 0: never
    int64_t last_used_at_ms; // 0: never
    int64_t revoked_at_ms;   // 0: not
    int64_t policy_version;
    int64_t asked; // 1-based position in the request
};
enum auth_statement {
    SQL_FIND,
    SQL_HOLD,
    SQL_TOUCH,
    SQL_ADD_ADMIN,
    SQL_VERSION,
    SQL_LOCK,
    SQL_AUDIT,
    SQL_REFUSED_SINCE,
    SQL_ROLES,
    SQL_ROLE,
    SQL_ROLE_COUNT,
    SQL_PUT_ROLE,
    SQL_DELETE_ROLE,
    SQL_ROLE_USED,
    SQL_PUT_BINDING,
    SQL_BINDING_COUNT,
    SQL_BINDING,
    SQL_DELETE_BINDING,
    SQL_ADMINS,
    SQL_GROUP_ROLES,
    SQL_GROUP_ADD,
    SQL_GROUP_REMOVE,
    SQL_ACCOUNT,
    SQL_PUT_ACCOUNT,
    SQL_DELETE_ACCOUNT,
    SQL_SUBJECT_ROLES,
    SQL_ADD_TOKEN,
    SQL_TOKEN,
    SQL_END_TOKEN,
    SQL_TENANT,
    SQL_ADD_TENANT,
    SQL_SET_TENANT,
    SQL_PURGE,
    SQL_LIST_BINDINGS,
    SQL_LIST_GROUPS,
    SQL_LIST_ACCOUNTS,
    SQL_LIST_TOKENS,
    SQL_LIST_TENANTS,
    SQL_LIST_AUDIT,
    AUTH_SQL_COUNT
};
extern const struct hd_sql auth_sql[AUTH_SQL_COUNT];
struct auth_asked { // at each position a hash, or an empty one and a session
    struct hd_bytes *hashes;
    struct hd_uuid *sessions;
    size_t n;
};
// Those that are there, by position.
enum hd_status auth_store_find(struct hd_ctx *cx, const struct auth_asked *asked, struct auth_token **ret,
                               size_t *ret_n) HD_MUST_USE;
// Fills the rest of each.
enum hd_status auth_store_hold(struct hd_ctx *cx, struct auth_standing *all, size_t n) HD_MUST_USE;
enum hd_status auth_store_touch(struct hd_ctx *cx, const struct hd_bytes *hashes, size_t n) HD_MUST_USE;
enum hd_status auth_store_add_admin(struct hd_ctx *cx, const uint8_t *sha256) HD_MUST_USE;
enum hd_status auth_store_lock(struct hd_ctx *cx) HD_MUST_USE;
char **auth_words(struct hd_arena *arena, const char *text, size_t *ret_n); // separated by blanks
// One row becomes one message: the columns are its fields, by number. Words separated by blanks become a list.
ProtobufCMessage *auth_row(struct hd_ctx *cx, const struct hd_rows *rows, size_t row,
                           const ProtobufCMessageDescriptor *type);

#endif
