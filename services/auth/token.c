#include "services/auth/token.h"

#include <string.h>

#define PREFIX "hodei_"
#define SECRET_CHARS 43

static bool base64url(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool auth_token_valid(const char *text) {
    if (!text || strncmp(text, PREFIX, sizeof(PREFIX) - 1) != 0)
        return false;
    text += sizeof(PREFIX) - 1;
    for (size_t i = 0; i < SECRET_CHARS; i++)
        if (!base64url(text[i])) // the end of the text is none either
            return false;
    return text[SECRET_CHARS] == '\0';
}

void auth_token_format(const uint8_t random[AUTH_TOKEN_RANDOM_BYTES], char ret[AUTH_TOKEN_TEXT]) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t n = sizeof(PREFIX) - 1;
    unsigned bits = 0, have = 0;

    memcpy(ret, PREFIX, n);
    for (size_t i = 0; i < AUTH_TOKEN_RANDOM_BYTES; i++) {
        bits = bits << 8 | random[i];
        for (have += 8; have >= 6; have -= 6)
            ret[n++] = digits[bits >> (have - 6) & 63];
    }
    ret[n++] = digits[bits << (6 - have) & 63];
    ret[n] = '\0';
}

int64_t auth_ttl_ms(int64_t expires_at_ms, int64_t now_wall_ms) {
    if (expires_at_ms == 0)
        return AUTH_TTL_MS;
    if (expires_at_ms <= now_wall_ms)
        return 0;
    int64_t left_ms = expires_at_ms - now_wall_ms;
    return left_ms < AUTH_TTL_MS ? left_ms : AUTH_TTL_MS;
}

bool auth_touch_due(int64_t last_used_at_ms, int64_t now_wall_ms) {
    return last_used_at_ms <= now_wall_ms - AUTH_TOUCH_MS;
}
