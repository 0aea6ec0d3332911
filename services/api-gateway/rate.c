#include "services/api-gateway/rate.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/buf.h"

static void refill(const struct rate *rate, struct rate_bucket *bucket, int64_t now) {
    int64_t most = rate->burst * 1000, passed = now - bucket->at_mono_ms, lacks = most - bucket->milli;

    bucket->at_mono_ms = now;
    if (passed > 0)
        bucket->milli = passed > lacks / rate->per_s ? most : bucket->milli + passed * rate->per_s;
}

int64_t rate_take(struct rate *rate, uint64_t key, int64_t now_mono_ms) {
    struct rate_bucket *set = rate->buckets[key % RATE_SETS], *found = NULL;

    if (rate->per_s <= 0)
        return 0;
    key = key ? key : 1;
    for (size_t i = 0; i < RATE_WAYS; i++) {
        if (set[i].key == key) {
            found = &set[i];
            break;
        }
        if (set[i].key)
            refill(rate, &set[i], now_mono_ms);
        if (!found || !set[i].key || (found->key && set[i].milli > found->milli))
            found = &set[i];
    }
    if (found->key != key)
        *found = (struct rate_bucket){key, rate->burst * 1000, now_mono_ms};
    refill(rate, found, now_mono_ms);
    if (found->milli < 1000)
        return (1000 - found->milli + rate->per_s - 1) / rate->per_s;
    found->milli -= 1000;
    return 0;
}

size_t rate_address(const char *text, uint8_t ret[8]) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct in6_addr six;

    if (inet_pton(AF_INET, text, ret) == 1)
        return 4;
    if (inet_pton(AF_INET6, text, &six) != 1)
        return 0;
    bool four = memcmp(&six, mapped, sizeof(mapped)) == 0;
    memcpy(ret, (const uint8_t *)&six + (four ? sizeof(mapped) : 0), four ? 4 : 8);
    return four ? 4 : 8;
}

bool rate_listed(const char *list, const char *word) {
    size_t len = strlen(word);

    for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',') {
        at += strspn(at, " ");
        if (strncmp(at, word, len) == 0 && (at[len] == ',' || at[len] == ' ' || !at[len]))
            return true;
    }
    return false;
}

void rate_client(const char *remote, const char *trusted, const char *forwarded, char ret[64]) {
    uint8_t bytes[8];

    hd_strlcpy(ret, remote, 64);
    if (!forwarded || !rate_listed(trusted, remote))
        return;
    const char *comma = strrchr(forwarded, ','), *last = comma ? comma + 1 : forwarded;
    char text[64] = "";
    last += strspn(last, " ");
    hd_strlcpy(text, last, sizeof(text));
    text[strcspn(text, " ")] = '\0';
    if (rate_address(text, bytes))
        hd_strlcpy(ret, text, 64);
}
