// The auth service: which token stands for whom.
//
// Tokens are kept as SHA-256 only. Authenticate is a read: one statement for all requests of a batch.
#ifndef HD_AUTH_AUTH_H
#define HD_AUTH_AUTH_H

#include "service/service.h"
#include "services/auth/key.h"
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
hd_handler auth_authenticate; // Authenticate
hd_handler auth_who_am_i;     // WhoAmI
hd_handler auth_seed;         // timer: the configured admin token is in the table

hd_handler auth_derived; // timer, kicked when a password was derived: its commit wakes the items that wait
char **auth_split_permissions(struct hd_arena *arena, const char *text, size_t *ret_n); // at blanks

enum auth_metric {
    AUTH_KNOWN,
    AUTH_UNKNOWN,
    AUTH_EXPIRED,
    AUTH_LOGIN_GOOD,
    AUTH_LOGIN_FAILED,
    AUTH_LOGIN_REFUSED,
    AUTH_REFRESH_REUSED,
    AUTH_METRIC_COUNT
};
extern struct hd_metric auth_metrics[AUTH_METRIC_COUNT];

// store.c
struct auth_token {
    const char *subject, *tenant;
    const char *permissions; // separated by blanks
    int64_t expires_at_ms;   // 0: never
    int64_t last_used_at_ms; // 0: never
    uint8_t sha256[AUTH_SHA256_BYTES];
};
#define AUTH_SQL_COUNT 3
extern const struct hd_sql auth_sql[AUTH_SQL_COUNT];
// In the order of the hashes' bytes.
enum hd_status auth_store_find(struct hd_ctx *cx, const struct hd_bytes *hashes, size_t n, struct auth_token **ret,
                               size_t *ret_n) HD_MUST_USE;
enum hd_status auth_store_touch(struct hd_ctx *cx, const struct hd_bytes *hashes, size_t n) HD_MUST_USE;
enum hd_status auth_store_add_admin(struct hd_ctx *cx, const uint8_t *sha256) HD_MUST_USE;

#endif
