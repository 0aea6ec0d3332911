#include "services/api-gateway/tls.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/map.h"

#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"
#define GROUPS "X25519:P-256:P-384"

struct pair {
    X509 *leaf;
    STACK_OF(X509) * chain; // without the leaf
    EVP_PKEY *key;
    int64_t not_after_s;
};
struct stamp { // of both files: when it differs, they have changed
    int64_t mtime_ns[2], size[2];
    uint64_t inode[2];
};
struct tls {
    SSL_CTX *ctx;
    char *cert_path, *key_path;
    pthread_mutex_t mutex;
    struct pair pair; // under the mutex
    struct stamp stamp;
};

static void pair_release(struct pair *pair) {
    X509_free(pair->leaf);
    sk_X509_pop_free(pair->chain, X509_free);
    EVP_PKEY_free(pair->key);
    *pair = (struct pair){0};
}

// --- the files -------------------------------------------------------------------------------------------------------

static bool stamp_read(const struct tls *tls, struct stamp *ret) {
    const char *paths[2] = {tls->cert_path, tls->key_path};
    struct stat st;

    for (int i = 0; i < 2; i++) {
        if (stat(paths[i], &st) != 0)
            return false;
        ret->mtime_ns[i] = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
        ret->size[i] = st.st_size;
        ret->inode[i] = st.st_ino;
    }
    return true;
}

static enum hd_status refuse(struct hd_err *err, const char *setting, const char *path, const char *why) {
    ERR_clear_error();
    return hd_err_set(err, HD_INVALID, "%s: %.200s: %s", setting, path, why);
}

static enum hd_status read_certificates(const char *path, struct pair *pair, struct hd_err *err) {
    FILE *file = fopen(path, "re");

    if (!file)
        return refuse(err, "tls-cert", path, strerror(errno));
    pair->leaf = PEM_read_X509(file, NULL, NULL, NULL);
    pair->chain = sk_X509_new_null();
    for (X509 *more; pair->leaf && (more = PEM_read_X509(file, NULL, NULL, NULL));)
        if (!sk_X509_push(pair->chain, more))
            abort();
    fclose(file);
    ERR_clear_error(); // the end of the file is one
    if (!pair->leaf)
        return refuse(err, "tls-cert", path, "there is no certificate in PEM form in it");
    struct tm end;
    if (!ASN1_TIME_to_tm(X509_get0_notAfter(pair->leaf), &end))
        return refuse(err, "tls-cert", path, "the end of its validity cannot be read");
    pair->not_after_s = timegm(&end);
    return HD_OK;
}

static int no_passphrase(char *buf, int size, int writing, void *arg) {
    (void)buf, (void)size, (void)writing, (void)arg;
    return -1;
}

static enum hd_status read_key(const char *path, struct pair *pair, struct hd_err *err) {
    FILE *file = fopen(path, "re");

    if (!file)
        return refuse(err, "tls-key", path, strerror(errno));
    pair->key = PEM_read_PrivateKey(file, NULL, no_passphrase, NULL);
    fclose(file);
    if (!pair->key)
        return refuse(err, "tls-key", path, "there is no private key in PEM form, without passphrase, in it");
    if (X509_check_private_key(pair->leaf, pair->key) != 1)
        return refuse(err, "tls-key", path, "the key is not the one of the certificate in tls-cert");
    return HD_OK;
}

static enum hd_status pair_read(const struct tls *tls, struct hd_err *err, struct pair *ret) {
    struct pair pair = {0};
    enum hd_status status = read_certificates(tls->cert_path, &pair, err);

    if (status == HD_OK)
        status = read_key(tls->key_path, &pair, err);
    if (status != HD_OK) {
        pair_release(&pair);
        return status;
    }
    if (pair.not_after_s < time(NULL))
        hd_warn("tls-cert: %s: the certificate is no longer valid; clients will refuse it", tls->cert_path);
    *ret = pair;
    return HD_OK;
}

// --- the context -----------------------------------------------------------------------------------------------------

// Of civetweb's workers, at every handshake.
static int on_certificate(SSL *ssl, void *arg) {
    struct tls *tls = arg;

    pthread_mutex_lock(&tls->mutex);
    int ok = SSL_use_cert_and_key(ssl, tls->pair.leaf, tls->pair.key, tls->pair.chain, 1);
    pthread_mutex_unlock(&tls->mutex);
    return ok;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                   unsigned int in_len, void *arg) {
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;
    (void)ssl, (void)arg;

    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(ours) - 1, in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; // RFC 7301, 3.2
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *context_make(struct tls *tls) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) || !SSL_CTX_set_cipher_list(ctx, CIPHERS) ||
        !SSL_CTX_set1_groups_list(ctx, GROUPS) ||
        !SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"hodei", 5))
        abort(); // constants that this OpenSSL does not know
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_cert_cb(ctx, on_certificate, tls);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    return ctx;
}

enum hd_status tls_new(const char *cert, const char *key, struct hd_err *err, struct tls **ret) {
    struct tls *tls = hd_calloc(1, sizeof(*tls));

    pthread_mutex_init(&tls->mutex, NULL);
    tls->cert_path = strdup(cert);
    tls->key_path = strdup(key);
    if (!tls->cert_path || !tls->key_path)
        abort();
    stamp_read(tls, &tls->stamp); // before the files: what changes meanwhile is seen
    enum hd_status status = pair_read(tls, err, &tls->pair);
    if (status != HD_OK) {
        tls_free(tls);
        return status;
    }
    tls->ctx = context_make(tls);
    *ret = tls;
    return HD_OK;
}

void tls_free(struct tls *tls) {
    if (!tls)
        return;
    SSL_CTX_free(tls->ctx);
    pair_release(&tls->pair);
    pthread_mutex_destroy(&tls->mutex);
    free(tls->cert_path);
    free(tls->key_path);
    free(tls);
}

SSL_CTX *tls_context(struct tls *tls) {
    return tls->ctx;
}

bool tls_reload(struct tls *tls) {
    struct stamp stamp = {0};
    struct pair pair, old;
    struct hd_err err;

    if (!stamp_read(tls, &stamp) || memcmp(&stamp, &tls->stamp, sizeof(stamp)) == 0)
        return false;
    tls->stamp = stamp;
    if (pair_read(tls, &err, &pair) != HD_OK) {
        hd_error("the certificate of the API was not changed: %s", err.text);
        return false;
    }
    pthread_mutex_lock(&tls->mutex);
    old = tls->pair;
    tls->pair = pair;
    pthread_mutex_unlock(&tls->mutex);
    pair_release(&old);
    hd_info("the certificate of the API was taken anew from %s", tls->cert_path);
    return true;
}

int64_t tls_not_after_s(struct tls *tls) {
    return tls->pair.not_after_s; // of the loop, which alone changes it
}
