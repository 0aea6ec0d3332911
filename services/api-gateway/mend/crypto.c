// The name "libcrypto.so", which civetweb opens, belongs to the development package of OpenSSL: where that is not installed, this
// library has it, and passes on the real one.
#include <openssl/crypto.h>

const char *hodei_openssl_version(void);
const char *hodei_openssl_version(void) {
    return OpenSSL_version(OPENSSL_VERSION);
}
