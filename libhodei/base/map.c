#include "base/map.h"

#include <stdlib.h>
#include <string.h>

static uint64_t mix(uint64_t x) {
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

void *hd_calloc(size_t n, size_t size) {
    void *mem = calloc(n ? n : 1, size ? size : 1);
    if (!mem)
        abort();
    return mem;
}

uint64_t hd_hash(const void *data, size_t len, uint64_t seed) {
    const uint8_t *p = data;
    uint64_t h = mix(seed + 0x9e3779b97f4a7c15u) ^ len;
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        h = mix(h ^ word);
    }
    uint64_t rest = 0;
    if (len)
        memcpy(&rest, p, len);
    return mix(h ^ rest);
}

void hd_map_release(struct hd_map *map) {
    free(map->slots);
    *map = (struct hd_map){0};
}

// The slot of the key, or the empty one where it belongs. The table is never full.
static size_t find(const struct hd_map *map, uint64_t key) {
    size_t mask = map->cap - 1, i = mix(key) & mask;
    while (map->slots[i].value && map->slots[i].key != key)
        i = (i + 1) & mask;
    return i;
}

void *hd_map_get(const struct hd_map *map, uint64_t key) {
    return map->cap ? map->slots[find(map, key)].value : NULL;
}

static void grow(struct hd_map *map) {
    struct hd_map old = *map;
    map->cap = old.cap ? old.cap * 2 : 16;
    map->slots = hd_calloc(map->cap, sizeof(*map->slots));
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].value)
            map->slots[find(map, old.slots[i].key)] = old.slots[i];
    free(old.slots);
}

void *hd_map_put(struct hd_map *map, uint64_t key, void *value) {
    if ((map->n + 1) * 4 > map->cap * 3)
        grow(map);
    struct hd_map_slot *slot = &map->slots[find(map, key)];
    void *was = slot->value;
    map->n += !was;
    *slot = (struct hd_map_slot){key, value};
    return was;
}

void *hd_map_remove(struct hd_map *map, uint64_t key) {
    if (!map->cap)
        return NULL;
    size_t mask = map->cap - 1, hole = find(map, key);
    void *was = map->slots[hole].value;
    if (!was)
        return NULL;
    // Entries behind the hole move up where their own place is not between hole and them: so no tombstones.
    for (size_t i = (hole + 1) & mask; map->slots[i].value; i = (i + 1) & mask) {
        size_t home = mix(map->slots[i].key) & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        map->slots[hole] = map->slots[i];
        hole = i;
    }
    map->slots[hole].value = NULL;
    map->n--;
    return was;
}

void *hd_map_next(const struct hd_map *map, size_t *pos, uint64_t *ret_key) {
    while (*pos < map->cap) {
        const struct hd_map_slot *slot = &map->slots[(*pos)++];
        if (!slot->value)
            continue;
        if (ret_key)
            *ret_key = slot->key;
        return slot->value;
    }
    return NULL;
}
