// Hash map from uint64_t to a pointer: open addressing, linear probing, no tombstones.
//
// The map owns its table and nothing else; values are the caller's and never NULL. A zeroed struct is an empty map. Pointers
// to values stay good for ever, positions of hd_map_next only until the next change. Keys are mixed, so they may be counters;
// they are not protected against somebody who chooses them to collide: use random keys, or texts by hd_hash.
#ifndef HD_BASE_MAP_H
#define HD_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hd_map_slot {
    uint64_t key;
    void *value; // NULL: empty
};
struct hd_map {
    struct hd_map_slot *slots;
    size_t n;   // entries
    size_t cap; // slots, a power of two, or 0
};

void hd_map_release(struct hd_map *map);                         // of a zeroed one: does nothing
void *hd_map_get(const struct hd_map *map, uint64_t key);        // NULL: not there
void *hd_map_put(struct hd_map *map, uint64_t key, void *value); // returns what was there, or NULL
void *hd_map_remove(struct hd_map *map, uint64_t key);           // returns what was there, or NULL
// Walks all entries in no order: start with *pos = 0; NULL at the end. No change of the map on the way.
void *hd_map_next(const struct hd_map *map, size_t *pos, uint64_t *ret_key); // ret_key may be NULL

uint64_t hd_hash(const void *data, size_t len, uint64_t seed); // of bytes; for keys made from texts
void *hd_calloc(size_t n, size_t size);                        // zeroed; out of memory ends the process; free() it

#endif
