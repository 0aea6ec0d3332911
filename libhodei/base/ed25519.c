#include "base/ed25519.h"

#include <stdlib.h>

#include <openssl/evp.h>

bool hd_ed25519_public(const uint8_t secret[HD_ED25519_KEY_BYTES], uint8_t ret[HD_ED25519_KEY_BYTES]) {
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, HD_ED25519_KEY_BYTES);
    size_t len = HD_ED25519_KEY_BYTES;
    bool done = key && EVP_PKEY_get_raw_public_key(key, ret, &len) == 1 && len == HD_ED25519_KEY_BYTES;

    EVP_PKEY_free(key);
    return done;
}

bool hd_ed25519_sign(const uint8_t secret[HD_ED25519_KEY_BYTES], const void *data, size_t len,
                     uint8_t ret[HD_JWT_SIGNATURE_BYTES]) {
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, HD_ED25519_KEY_BYTES);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    size_t n = HD_JWT_SIGNATURE_BYTES;
    bool done = key && md && EVP_DigestSignInit(md, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestSign(md, ret, &n, data, len) == 1 && n == HD_JWT_SIGNATURE_BYTES;

    EVP_MD_CTX_free(md);
    EVP_PKEY_free(key);
    return done;
}

bool hd_ed25519_verify(const uint8_t key[HD_ED25519_KEY_BYTES], const void *data, size_t len,
                       const uint8_t signature[HD_JWT_SIGNATURE_BYTES]) {
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, HD_ED25519_KEY_BYTES);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool good = pkey && md && EVP_DigestVerifyInit(md, NULL, NULL, NULL, pkey) == 1 &&
                EVP_DigestVerify(md, signature, HD_JWT_SIGNATURE_BYTES, data, len) == 1;

    EVP_MD_CTX_free(md);
    EVP_PKEY_free(pkey);
    return good;
}

void hd_ed25519_kid(const uint8_t key[HD_ED25519_KEY_BYTES], char ret[HD_JWT_KID_CHARS + 1]) {
    HD_AUTO_BUF struct hd_buf json = {0}, kid = {0};
    uint8_t digest[32];

    hd_buf_adds(&json, "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"");
    hd_base64url_add(&json, key, HD_ED25519_KEY_BYTES);
    hd_buf_adds(&json, "\"}");
    if (EVP_Digest(json.data, json.len, digest, NULL, EVP_sha256(), NULL) != 1)
        abort();
    hd_base64url_add(&kid, digest, sizeof(digest));
    hd_strlcpy(ret, kid.data, HD_JWT_KID_CHARS + 1);
}
