// Ed25519 signatures (RFC 8032) by OpenSSL, and the name of a key: its thumbprint (RFC 7638, RFC 8037).
#ifndef HD_BASE_ED25519_H
#define HD_BASE_ED25519_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/jwt.h"

#define HD_ED25519_KEY_BYTES 32

// The public key of a private one; false where OpenSSL fails.
bool hd_ed25519_public(const uint8_t secret[HD_ED25519_KEY_BYTES], uint8_t ret[HD_ED25519_KEY_BYTES]);
bool hd_ed25519_sign(const uint8_t secret[HD_ED25519_KEY_BYTES], const void *data, size_t len,
                     uint8_t ret[HD_JWT_SIGNATURE_BYTES]);
// True only for a signature of that key over exactly these bytes.
bool hd_ed25519_verify(const uint8_t key[HD_ED25519_KEY_BYTES], const void *data, size_t len,
                       const uint8_t signature[HD_JWT_SIGNATURE_BYTES]);
// The `kid` of a public key.
void hd_ed25519_kid(const uint8_t key[HD_ED25519_KEY_BYTES], char ret[HD_JWT_KID_CHARS + 1]);

#endif
