#include "base/uuid.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static int64_t clock_ms(clockid_t id) {
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

struct hd_now hd_now_read(void) {
    return (struct hd_now){.wall_ms = clock_ms(CLOCK_REALTIME), .mono_ms = clock_ms(CLOCK_MONOTONIC)};
}

// splitmix64 spreads one seed over the state, which must not be all zero.
void hd_rng_seed(struct hd_rng *rng, uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        uint64_t z = (seed += 0x9E3779B97F4A7C15u);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        rng->s[i] = z ^ (z >> 31);
    }
}

void hd_rng_seed_os(struct hd_rng *rng) {
    do
        hd_random_bytes(rng->s, sizeof(rng->s));
    while (!(rng->s[0] | rng->s[1] | rng->s[2] | rng->s[3]));
}

static uint64_t rotate(uint64_t x, int k) {
    return (x << k) | (x >> (64 - k));
}

uint64_t hd_rng_next(struct hd_rng *rng) {
    uint64_t *s = rng->s;
    uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t hd_rng_below(struct hd_rng *rng, uint64_t bound) {
    // Values below 2^64 mod bound are refused, so that every remainder is equally likely.
    uint64_t floor = (0 - bound) % bound, value;
    do
        value = hd_rng_next(rng);
    while (value < floor);
    return value % bound;
}

void hd_random_bytes(void *ret, size_t len) {
    unsigned char *p = ret;
    while (len) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            fprintf(stderr, "the kernel gives no random bytes\n");
            abort();
        }
        p += n;
        len -= (size_t)n;
    }
}

struct hd_uuid hd_uuid7(int64_t wall_ms, struct hd_rng *rng) {
    struct hd_uuid id;
    uint64_t time = (uint64_t)wall_ms, high = hd_rng_next(rng), low = hd_rng_next(rng);
    for (int i = 0; i < 6; i++)
        id.b[i] = (uint8_t)(time >> (40 - 8 * i));
    id.b[6] = (uint8_t)(0x70 | ((high >> 8) & 0x0F));
    id.b[7] = (uint8_t)high;
    for (int i = 0; i < 8; i++)
        id.b[8 + i] = (uint8_t)(low >> (56 - 8 * i));
    id.b[8] = (uint8_t)(0x80 | (id.b[8] & 0x3F));
    return id;
}

struct hd_uuid hd_uuid_from_ms(int64_t ms) {
    struct hd_uuid id = {{0}};
    for (int i = 0; i < 6; i++)
        id.b[i] = (uint8_t)((uint64_t)ms >> (40 - 8 * i));
    return id;
}

int64_t hd_uuid_time_ms(struct hd_uuid id) {
    int64_t time = 0;
    for (int i = 0; i < 6; i++)
        time = time << 8 | id.b[i];
    return time;
}

bool hd_uuid_eq(struct hd_uuid a, struct hd_uuid b) {
    return memcmp(a.b, b.b, sizeof(a.b)) == 0;
}

int hd_uuid_cmp(struct hd_uuid a, struct hd_uuid b) {
    return memcmp(a.b, b.b, sizeof(a.b));
}

bool hd_uuid_zero(struct hd_uuid id) {
    return hd_uuid_eq(id, (struct hd_uuid){0});
}

static bool hyphen_before(int byte) {
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void hd_uuid_format(struct hd_uuid id, char ret[HD_UUID_TEXT]) {
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        if (hyphen_before(i))
            *ret++ = '-';
        *ret++ = digits[id.b[i] >> 4];
        *ret++ = digits[id.b[i] & 15];
    }
    *ret = '\0';
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

enum hd_status hd_uuid_parse(const char *text, struct hd_uuid *ret) {
    struct hd_uuid id;
    if (!text)
        return HD_INVALID;
    for (int i = 0; i < 16; i++) {
        if (hyphen_before(i) && *text++ != '-')
            return HD_INVALID;
        int high = hex_digit(text[0]);
        int low = high < 0 ? -1 : hex_digit(text[1]);
        if (low < 0)
            return HD_INVALID;
        id.b[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    if (*text)
        return HD_INVALID;
    *ret = id;
    return HD_OK;
}
