#include "services/auth/keys.h"

int auth_key_signer(const struct auth_key_times *keys, size_t n, int64_t now_ms) {
    int found = -1;

    for (size_t i = 0; i < n; i++)
        if (keys[i].signs_from_ms <= now_ms)
            found = (int)i;
    return found;
}

size_t auth_keys_over(const struct auth_key_times *keys, size_t n, int64_t now_ms) {
    size_t over = 0;

    while (over + 1 < n && keys[over + 1].signs_from_ms + AUTH_KEY_LINGER_MS <= now_ms)
        over++;
    return over;
}

bool auth_key_due(const struct auth_key_times *keys, size_t n, int64_t age_ms, int64_t now_ms) {
    return n == 0 || (age_ms > 0 && keys[n - 1].created_ms + age_ms <= now_ms);
}
