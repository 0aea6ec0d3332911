// TLS of the API: the certificate and its key, from PEM files, taken anew when the files have changed.
//
// TLS 1.2 and 1.3, ciphers with forward secrecy and authentication, no renegotiation, no compression. New connections get the newest
// pair that was good; a pair that is not (half written, key of another certificate) is said once and changes nothing.
//
// Threads: civetweb's workers take the pair at each handshake, the loop puts it: a mutex, held for a few references.
#ifndef HD_GATEWAY_TLS_H
#define HD_GATEWAY_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "base/status.h"

struct tls;
// `cert` may hold a chain, leaf first. Errors: HD_INVALID, with the file and what is wrong with it.
enum hd_status tls_new(const char *cert, const char *key, struct hd_err *err, struct tls **ret) HD_MUST_USE;
void tls_free(struct tls *tls);        // NULL: nothing
SSL_CTX *tls_context(struct tls *tls); // borrowed
// Looks whether the files have changed. True: they had, and were taken.
bool tls_reload(struct tls *tls);
int64_t tls_not_after_s(struct tls *tls); // since 1970, of the certificate that is served

#endif
