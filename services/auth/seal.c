#include <openssl/evp.h>

#include "services/auth/key.h"

#define NONCE 12
#define TAG 16

bool auth_seal(const uint8_t key[32], const char *kid, const uint8_t secret[HD_ED25519_KEY_BYTES],
               uint8_t ret[AUTH_SEALED_BYTES]) {
    EVP_CIPHER_CTX *aes = EVP_CIPHER_CTX_new();
    uint8_t *body = ret + NONCE, *tag = body + HD_ED25519_KEY_BYTES;
    int n;

    hd_random_bytes(ret, NONCE);
    bool done = aes && EVP_EncryptInit_ex(aes, EVP_aes_256_gcm(), NULL, key, ret) == 1 &&
                EVP_EncryptUpdate(aes, NULL, &n, (const uint8_t *)kid, (int)strlen(kid)) == 1 &&
                EVP_EncryptUpdate(aes, body, &n, secret, HD_ED25519_KEY_BYTES) == 1 &&
                EVP_EncryptFinal_ex(aes, tag, &n) == 1 && EVP_CIPHER_CTX_ctrl(aes, EVP_CTRL_GCM_GET_TAG, TAG, tag) == 1;
    EVP_CIPHER_CTX_free(aes);
    return done;
}

bool auth_unseal(const uint8_t key[32], const char *kid, struct hd_bytes sealed, uint8_t ret[HD_ED25519_KEY_BYTES]) {
    uint8_t tag[TAG], rest[16];
    int n;

    if (sealed.len != AUTH_SEALED_BYTES)
        return false;
    const uint8_t *body = sealed.data + NONCE;
    memcpy(tag, body + HD_ED25519_KEY_BYTES, TAG);
    EVP_CIPHER_CTX *aes = EVP_CIPHER_CTX_new();
    bool done = aes && EVP_DecryptInit_ex(aes, EVP_aes_256_gcm(), NULL, key, sealed.data) == 1 &&
                EVP_DecryptUpdate(aes, NULL, &n, (const uint8_t *)kid, (int)strlen(kid)) == 1 &&
                EVP_DecryptUpdate(aes, ret, &n, body, HD_ED25519_KEY_BYTES) == 1 &&
                EVP_CIPHER_CTX_ctrl(aes, EVP_CTRL_GCM_SET_TAG, TAG, tag) == 1 &&
                EVP_DecryptFinal_ex(aes, rest, &n) == 1;
    EVP_CIPHER_CTX_free(aes);
    return done;
}
