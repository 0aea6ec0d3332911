// Users, their passwords, and their sessions.
#ifndef HD_AUTH_USER_H
#define HD_AUTH_USER_H

#include "service/service.h"
#include "services/auth/password.h"
#include "services/auth/throttle.h"

#define AUTH_NAME_MAX 64
#define AUTH_SECRET_BYTES 32

struct auth;

// user.c: what administrators do.
hd_handler auth_create_user;  // CreateUser
hd_handler auth_get_user;     // GetUser
hd_handler auth_list_users;   // ListUsers
hd_handler auth_disable_user; // DisableUser
hd_handler auth_enable_user;  // EnableUser
hd_handler auth_set_password; // SetPassword
hd_handler auth_delete_user;  // DeleteUser
// Fails the item, at `field`, where it is none for the user of that name.
bool auth_password_valid(struct hd_item *item, const char *field, const char *password, const char *name);

// login.c
hd_handler auth_login; // Login
// A derivation for an item: AUTH_DERIVED, or the item is parked (AUTH_DERIVING) or refused (AUTH_DERIVE_FULL).
enum auth_derived auth_derive_for(struct hd_ctx *cx, struct auth_pool *pool, const struct auth_derive *ask,
                                  struct hd_item *item, struct auth_password *ret);
// "10.1.2" of 10.1.2.3; the first 64 bits of an IPv6 address in hexadecimal; the text itself of anything else.
void auth_address_prefix(const char *address, char ret[64]);

// session.c
hd_handler auth_refresh;       // Refresh
hd_handler auth_logout;        // Logout
hd_handler auth_list_sessions; // ListSessions
hd_handler auth_end_session;   // EndSession
hd_handler auth_end_sessions;  // EndSessions
hd_handler auth_sweep;         // timer: sessions that are over, failures that are forgotten
struct auth_user;
// An entry of the audit trail for what a user did himself, in a request that names nobody.
enum hd_status auth_audit_of(struct hd_ctx *cx, const struct hd_item *item, const struct auth_user *user,
                             const char *action) HD_MUST_USE;
// Begins a session and fills the reply (a TokenReply). Unauthenticated where the user's password is another by now, or he is disabled.
enum hd_status auth_session_begin(struct hd_ctx *cx, struct auth *auth, const struct auth_user *user,
                                  struct hd_item *item) HD_MUST_USE;

// user_store.c
struct auth_user {
    const char *tenant, *name, *roles; // separated by blanks
    struct auth_password password;
    bool disabled;
    int64_t created_at_ms, password_at_ms;
};
struct auth_session {
    struct hd_uuid id;
    const char *tenant, *user, *address;
    uint8_t family_sha256[AUTH_SECRET_BYTES], refresh_sha256[AUTH_SECRET_BYTES];
    int64_t created_at_ms, refreshed_at_ms, expires_at_ms;
};
enum {
    AUTH_USER_SQL_FIND,
    AUTH_USER_SQL_LIST,
    AUTH_USER_SQL_ADD,
    AUTH_USER_SQL_SET_DISABLED,
    AUTH_USER_SQL_SET_PASSWORD,
    AUTH_USER_SQL_DELETE,
    AUTH_USER_SQL_GUESSES,
    AUTH_USER_SQL_FAILED,
    AUTH_USER_SQL_GOOD,
    AUTH_SESSION_SQL_ADD,
    AUTH_SESSION_SQL_TRIM,
    AUTH_SESSION_SQL_LOCK,
    AUTH_SESSION_SQL_REFRESH,
    AUTH_SESSION_SQL_DELETE,
    AUTH_SESSION_SQL_OF_USER,
    AUTH_SESSION_SQL_END_OF_USER,
    AUTH_SESSION_SQL_SWEEP,
    AUTH_ADDRESS_SQL_SWEEP,
    AUTH_USER_SQL_COUNT
};
extern const struct hd_sql auth_user_sql[AUTH_USER_SQL_COUNT];
// *ret is NULL where there is none.
enum hd_status auth_user_find(struct hd_ctx *cx, const char *tenant, const char *name,
                              struct auth_user **ret) HD_MUST_USE;
// By name, after `after`.
enum hd_status auth_user_list(struct hd_ctx *cx, const char *tenant, const char *after, int64_t limit,
                              struct auth_user **ret, size_t *ret_n) HD_MUST_USE;
enum hd_status auth_guesses_find(struct hd_ctx *cx, const char *tenant, const char *name, const char *prefix,
                                 struct auth_guesses *ret) HD_MUST_USE;
// Locks it; *ret is NULL where there is none, or its user is disabled.
enum hd_status auth_session_lock(struct hd_ctx *cx, struct hd_uuid id, struct auth_session **ret) HD_MUST_USE;
// Changes `user` too.
enum hd_status auth_user_set_password(struct hd_ctx *cx, struct auth_user *user, const struct auth_password *password,
                                      int64_t at_ms) HD_MUST_USE;
// Ends all sessions of a user.
enum hd_status auth_sessions_end(struct hd_ctx *cx, const char *tenant, const char *user) HD_MUST_USE;
enum hd_status auth_sessions_of(struct hd_ctx *cx, const char *tenant, const char *user, struct auth_session **ret,
                                size_t *ret_n) HD_MUST_USE;

#endif
