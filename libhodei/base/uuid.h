// UUIDv7 (RFC 9562, section 5.7), clocks and randomness as values.
//
// Pure code gets all three as arguments, so that a test is exact and the simulator can drive them.
#ifndef HD_BASE_UUID_H
#define HD_BASE_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct hd_now {
    int64_t wall_ms; // Unix milliseconds, for people
    int64_t mono_ms; // monotonic milliseconds, for leases and timeouts
};
struct hd_now hd_now_read(void); // the real clocks

// xoshiro256** (Blackman, Vigna 2018); not for secrets.
struct hd_rng {
    uint64_t s[4];
};
void hd_rng_seed(struct hd_rng *rng, uint64_t seed);
void hd_rng_seed_os(struct hd_rng *rng); // from the kernel
uint64_t hd_rng_next(struct hd_rng *rng);
uint64_t hd_rng_below(struct hd_rng *rng, uint64_t bound); // 0..bound-1; bound > 0
void hd_random_bytes(void *ret, size_t len);               // from the kernel, for secrets

struct hd_uuid {
    uint8_t b[16];
};
#define HD_UUID_TEXT 37 // with the NUL
struct hd_uuid hd_uuid7(int64_t wall_ms, struct hd_rng *rng);
int64_t hd_uuid_time_ms(struct hd_uuid id); // the time in a UUIDv7
struct hd_uuid
hd_uuid_from_ms(int64_t ms); // not greater than any UUIDv7 of that time, greater than all before; ms 0..2^48-1
bool hd_uuid_eq(struct hd_uuid a, struct hd_uuid b);
int hd_uuid_cmp(struct hd_uuid a, struct hd_uuid b);
bool hd_uuid_zero(struct hd_uuid id);
void hd_uuid_format(struct hd_uuid id, char ret[HD_UUID_TEXT]);                  // lower case, with hyphens
enum hd_status hd_uuid_parse(const char *text, struct hd_uuid *ret) HD_MUST_USE; // HD_INVALID; NULL is invalid

#endif
