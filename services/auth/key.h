// The keys that sign access tokens: kept in the table, sealed where a key for that is configured.
#ifndef HD_AUTH_KEY_H
#define HD_AUTH_KEY_H

#include "base/ed25519.h"
#include "service/service.h"
#include "services/auth/keys.h"

struct auth_keyring { // of the settings
    bool has_seal;
    uint8_t seal[32]; // key of AES-256-GCM
    int64_t rotation_ms;
};
struct auth_key {
    const char *kid;
    uint8_t public_key[HD_ED25519_KEY_BYTES];
    struct hd_bytes private_key; // as it is stored
    bool sealed;
};

#define AUTH_KEY_SQL_COUNT 4
enum { AUTH_KEY_SQL_LIST, AUTH_KEY_SQL_ADD, AUTH_KEY_SQL_REMOVE, AUTH_KEY_SQL_LOCK };
extern const struct hd_sql auth_key_sql[AUTH_KEY_SQL_COUNT];

// key.c
enum hd_status auth_keyring_init(const struct hd_settings *settings, struct hd_err *err,
                                 struct auth_keyring *ret) HD_MUST_USE;
hd_handler auth_get_jwks;           // GetJwks
hd_handler auth_list_signing_keys;  // ListSigningKeys
hd_handler auth_rotate_signing_key; // RotateSigningKey
hd_handler auth_tend_keys;          // timer: makes the first key and those that are due, removes those that are over
// The key that signs now, ready to sign; makes one where there is none. The caller cleanses `ret_secret`.
enum hd_status auth_key_now(struct hd_ctx *cx, const struct auth_keyring *ring, const char **ret_kid,
                            uint8_t ret_secret[HD_ED25519_KEY_BYTES]) HD_MUST_USE;

// seal.c: AES-256-GCM of a private key; the kid is bound to it. The result: 12 bytes of nonce, 32, 16 of tag.
#define AUTH_SEALED_BYTES (12 + HD_ED25519_KEY_BYTES + 16)
bool auth_seal(const uint8_t key[32], const char *kid, const uint8_t secret[HD_ED25519_KEY_BYTES],
               uint8_t ret[AUTH_SEALED_BYTES]);
bool auth_unseal(const uint8_t key[32], const char *kid, struct hd_bytes sealed, uint8_t ret[HD_ED25519_KEY_BYTES]);

#endif
