// civetweb 1.15 opens "libssl.so" and asks it for SSL_get_peer_certificate, a name that OpenSSL 3 has only as a macro; it does not check
// what it gets. This library has the name that civetweb opens and the function that it misses; everything else comes from the real libssl,
// with which it is linked.
#include <openssl/ssl.h>

#undef SSL_get_peer_certificate
X509 *SSL_get_peer_certificate(const SSL *ssl);
X509 *SSL_get_peer_certificate(const SSL *ssl) {
    return SSL_get1_peer_certificate(ssl);
}
