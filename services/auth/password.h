// Passwords: scrypt (RFC 7914), off the service's loop.
//
// Deriving takes tens of milliseconds and 32 MiB, so a few threads of their own do it. The loop asks for a derivation, parks its item, and
// asks the same again when the pool's descriptor was ready: the same question finds its slot. The slots are the hand-over queue,
// and bounded: AUTH_SLOTS in all, AUTH_SLOTS_STRANGERS of them for callers not seen before, AUTH_SLOTS_PREFIX for one address
// prefix (twice that for those who are known), so that no flood of guesses keeps those out who have logged in before. A passwords' copy lives from the question to its answer.
#ifndef HD_AUTH_PASSWORD_H
#define HD_AUTH_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define AUTH_PASSWORD_MIN 10
#define AUTH_PASSWORD_MAX 1024
#define AUTH_SALT_BYTES 16
#define AUTH_PASSWORD_HASH_BYTES 32
#define AUTH_SLOTS 32
#define AUTH_SLOTS_STRANGERS 20
#define AUTH_SLOTS_PREFIX 4

struct auth_scrypt {
    int log2_n, r, p;
};
#define AUTH_SCRYPT                                                                                                    \
    ((struct auth_scrypt){15, 8, 3}) // of new passwords; one that was made otherwise is made anew at its next login

struct auth_password {
    uint8_t salt[AUTH_SALT_BYTES], hash[AUTH_PASSWORD_HASH_BYTES];
    struct auth_scrypt cost;
};
struct auth_derive {
    const char *purpose, *tenant, *name; // with the password: which question it is
    const char *password;
    const uint8_t *salt; // NULL: a new random one
    struct auth_scrypt cost;
    const char *prefix; // of the caller's address
    bool known;         // not a stranger
    int64_t delay_ms;   // the answer comes no sooner
};
enum auth_derived { AUTH_DERIVED, AUTH_DERIVING, AUTH_DERIVE_FULL };

struct auth_pool;
// HD_UNAVAILABLE: no threads. `threads` is at least 1.
enum hd_status auth_pool_new(int threads, struct hd_err *err, struct auth_pool **ret) HD_MUST_USE;
void auth_pool_free(struct auth_pool *pool);    // NULL: nothing
int auth_pool_fd(const struct auth_pool *pool); // readable when something was derived
void auth_pool_seen(struct auth_pool *pool);    // makes it unreadable
enum auth_derived auth_pool_derive(struct auth_pool *pool, const struct auth_derive *ask, int64_t now_mono_ms,
                                   struct auth_password *ret);
// Whether two hashes are the same, in equal time.
bool auth_password_same(const uint8_t a[AUTH_PASSWORD_HASH_BYTES], const uint8_t b[AUTH_PASSWORD_HASH_BYTES]);

#endif
