// Token buckets in a table of fixed size. Pure: time comes in, and whoever shares a table between threads locks it.
//
// A key has `burst` requests at once and `per_s` a second from then on. The table never grows: where it is full the bucket that is
// nearest to full makes room, so that whoever is slowed down stays so, and a stranger who brings many keys slows down nobody
// else. Keys are hashes with a secret seed, or somebody could choose whom to displace.
#ifndef HD_GATEWAY_RATE_H
#define HD_GATEWAY_RATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RATE_SETS 2048
#define RATE_WAYS 4

struct rate_bucket {
    uint64_t key; // 0: empty
    int64_t milli, at_mono_ms;
};
struct rate {
    int64_t per_s, burst; // per_s 0: no limit
    struct rate_bucket buckets[RATE_SETS][RATE_WAYS];
};

// Takes one request of the key's. 0: it may go on; else after how many milliseconds the next one may.
int64_t rate_take(struct rate *rate, uint64_t key, int64_t now_mono_ms);

// What counts as one address: an IPv4 address, or the /64 network of an IPv6 one, since that is what one machine is given. Bytes of it;
// what is no address is an empty one. An IPv4 address written as IPv6 is the same.
size_t rate_address(const char *text, uint8_t ret[8]);
bool rate_listed(const char *list, const char *address); // of a list that is separated by commas
// Who is at the other end: `remote`, or, where that is one of the `trusted` proxies (separated by commas), the last address of
// `forwarded`, which that proxy has written. `forwarded` may be NULL. Into ret.
void rate_client(const char *remote, const char *trusted, const char *forwarded, char ret[64]);

#endif
