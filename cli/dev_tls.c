// The CA of `hodei dev --tls`, and the certificate that it gives to the gateway, nats-server and PostgreSQL.
//
// The CA may name this machine alone (RFC 5280, 4.2.1.10), so that trusting it gives nobody a way into other connections. Its key stays
// in tls/ca.key for its owner; who has --cacert tls/ca.crt trusts what it signs. Certificates live 90 days and are made anew, with a new key,
// when 30 are left: at the start and while dev runs.
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "base/uuid.h"
#include "cli/dev.h"

#define DAY_S (24L * 3600)
#define CA_DAYS 3650L
#define LEAF_DAYS 90L
#define RENEW_DAYS 30L
#define RENEW_LOOK_MS 3600000

struct ca {
    X509 *cert;
    EVP_PKEY *key;
};

static void ca_release(struct ca *ca) {
    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
}

static enum hd_status failed(struct dev *dev, const char *path) {
    return hd_err_set(&dev->cli->err, HD_INVALID, "%s: %s", path, strerror(errno));
}

// --- making ----------------------------------------------------------------------------------------------------------

static void must(bool ok) {
    if (!ok)
        abort(); // out of memory, or constants that this OpenSSL does not know
}

static X509 *certificate(EVP_PKEY *key, const char *name, long days) {
    X509 *cert = X509_new();
    uint8_t serial[16];
    X509_NAME *subject = X509_get_subject_name(cert);

    must(RAND_bytes(serial, sizeof(serial)) == 1);
    serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x40); // positive, and of one length (RFC 5280, 4.1.2.2)
    BIGNUM *number = BN_bin2bn(serial, sizeof(serial), NULL);
    must(number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)));
    BN_free(number);
    must(X509_set_version(cert, X509_VERSION_3) && X509_set_pubkey(cert, key) &&
         X509_gmtime_adj(X509_getm_notBefore(cert), -3600) && // clocks differ
         X509_gmtime_adj(X509_getm_notAfter(cert), days * DAY_S) &&
         X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0));
    return cert;
}

static void extend(X509 *cert, X509 *issuer, int nid, const char *value) {
    X509V3_CTX context;

    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *made = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    must(made && X509_add_ext(cert, made, -1));
    X509_EXTENSION_free(made);
}

static void ca_make(struct ca *ret) {
    char name[64];
    uint8_t random[4];

    must(RAND_bytes(random, sizeof(random)) == 1);
    snprintf(name, sizeof(name), "Hodei dev CA %02x%02x%02x%02x", random[0], random[1], random[2], random[3]);
    ret->key = EVP_EC_gen("P-256");
    must(ret->key != NULL);
    ret->cert = certificate(ret->key, name, CA_DAYS);
    must(X509_set_issuer_name(ret->cert, X509_get_subject_name(ret->cert)));
    extend(ret->cert, ret->cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
    extend(ret->cert, ret->cert, NID_key_usage, "critical,keyCertSign");
    extend(ret->cert, ret->cert, NID_subject_key_identifier, "hash");
    extend(ret->cert, ret->cert, NID_name_constraints,
           "critical,permitted;DNS:localhost,permitted;IP:127.0.0.0/255.0.0.0,"
           "permitted;IP:::1/FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF");
    must(X509_sign(ret->cert, ret->key, EVP_sha256()) > 0);
}

static X509 *leaf_make(const struct ca *ca, EVP_PKEY *key) {
    X509 *cert = certificate(key, "hodei dev", LEAF_DAYS);

    must(X509_set_issuer_name(cert, X509_get_subject_name(ca->cert)));
    extend(cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE");
    extend(cert, ca->cert, NID_key_usage, "critical,digitalSignature");
    extend(cert, ca->cert, NID_ext_key_usage, "serverAuth");
    extend(cert, ca->cert, NID_subject_key_identifier, "hash");
    extend(cert, ca->cert, NID_authority_key_identifier, "keyid:always");
    extend(cert, ca->cert, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1,IP:::1");
    must(X509_sign(cert, ca->key, EVP_sha256()) > 0);
    return cert;
}

// --- files -----------------------------------------------------------------------------------------------------------

static enum hd_status write_pem(struct dev *dev, const char *path, mode_t mode, X509 *cert, EVP_PKEY *key) {
    HD_AUTO_BUF struct hd_buf text = {0};
    BIO *bio = BIO_new(BIO_s_secmem());
    char *data;

    must(bio && (!cert || PEM_write_bio_X509(bio, cert)) &&
         (!key || PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)));
    long len = BIO_get_mem_data(bio, &data);
    hd_buf_add(&text, data, (size_t)len);
    enum hd_status status = dev_write(dev, path, mode, &text);
    if (text.data)
        OPENSSL_cleanse(text.data, text.len);
    BIO_free(bio);
    return status;
}

static X509 *read_certificate(const char *path) {
    FILE *file = fopen(path, "re");
    X509 *cert = file ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;

    if (file)
        fclose(file);
    ERR_clear_error();
    return cert;
}

static EVP_PKEY *read_key(const char *path) {
    FILE *file = fopen(path, "re");
    EVP_PKEY *key = file ? PEM_read_PrivateKey(file, NULL, NULL, (void *)(uintptr_t) "") : NULL;

    if (file)
        fclose(file);
    ERR_clear_error();
    return key;
}

static enum hd_status ca_open(struct dev *dev, struct ca *ret) {
    const char *cert = dev_path(dev, "tls/ca.crt"), *key = dev_path(dev, "tls/ca.key");

    if (!dev_exists(cert) && !dev_exists(key)) {
        ca_make(ret);
        HD_TRY(write_pem(dev, key, 0600, NULL, ret->key));
        return write_pem(dev, cert, 0644, ret->cert, NULL);
    }
    ret->cert = read_certificate(cert);
    ret->key = read_key(key);
    if (ret->cert && ret->key && X509_check_private_key(ret->cert, ret->key) == 1)
        return HD_OK;
    ERR_clear_error();
    hd_err_set(&dev->cli->err, HD_INVALID, "%s/tls: ca.crt and ca.key are not a certificate and its key", dev->data);
    hd_err_hint(&dev->cli->err, "remove both: a new CA is made, and clients need its ca.crt");
    return HD_INVALID;
}

static bool leaf_is_fresh(struct dev *dev, const struct ca *ca) {
    X509 *cert = read_certificate(dev_path(dev, "tls/server.crt"));
    time_t soon = time(NULL) + RENEW_DAYS * DAY_S;
    bool fresh = cert && dev_exists(dev_path(dev, "tls/server.key")) &&
                 (!dev->pg_user || dev_exists(dev_path(dev, "tls/postgres.key"))) &&
                 X509_verify(cert, X509_get0_pubkey(ca->cert)) == 1 &&
                 X509_cmp_time(X509_get0_notAfter(cert), &soon) > 0;

    X509_free(cert);
    ERR_clear_error();
    return fresh;
}

// PostgreSQL wants a key of its own user's, so it has a copy. Keys before certificates: who reads between the two sees that
// they do not belong together, and reads again.
static enum hd_status leaf_write(struct dev *dev, const struct ca *ca) {
    const char *postgres = dev_path(dev, "tls/postgres.key");
    EVP_PKEY *key = EVP_EC_gen("P-256");

    must(key != NULL);
    X509 *cert = leaf_make(ca, key);
    enum hd_status status = write_pem(dev, dev_path(dev, "tls/server.key"), 0600, NULL, key);
    if (status == HD_OK)
        status = write_pem(dev, postgres, 0600, NULL, key);
    if (status == HD_OK && dev->pg_user && chown(postgres, dev->pg_uid, dev->pg_gid) < 0)
        status = failed(dev, postgres);
    if (status == HD_OK)
        status = write_pem(dev, dev_path(dev, "tls/server.crt"), 0644, cert, NULL);
    X509_free(cert);
    EVP_PKEY_free(key);
    return status;
}

static enum hd_status renew(struct dev *dev, bool *ret_renewed) {
    struct ca ca = {0};
    enum hd_status status = ca_open(dev, &ca);

    *ret_renewed = status == HD_OK && !leaf_is_fresh(dev, &ca);
    if (*ret_renewed)
        status = leaf_write(dev, &ca);
    ca_release(&ca);
    return status;
}

enum hd_status dev_tls(struct dev *dev) {
    const char *folder = dev_path(dev, "tls");
    bool renewed;

    if (!dev->tls)
        return HD_OK;
    if ((mkdir(folder, 0711) < 0 && errno != EEXIST) || chmod(folder, 0711) < 0)
        return failed(dev, folder);
    HD_TRY(renew(dev, &renewed));
    dev->cli->cacert = dev_path(dev, "tls/ca.crt");
    return HD_OK;
}

// Gateways look at their files themselves; the two servers are told.
void dev_tls_tend(struct dev *dev) {
    bool renewed = false;

    if (!dev->tls || hd_now_read().mono_ms < dev->tls_due_mono_ms)
        return;
    dev->tls_due_mono_ms = hd_now_read().mono_ms + RENEW_LOOK_MS;
    if (renew(dev, &renewed) != HD_OK)
        dev_say(dev, "The certificate could not be renewed: %s", dev->cli->err.text);
    hd_err_clear(&dev->cli->err);
    if (!renewed)
        return;
    dev_signal(dev, DEV_NATS, SIGHUP);
    dev_signal(dev, DEV_POSTGRES, SIGHUP);
    dev_say(dev, "The certificate was renewed.");
}
