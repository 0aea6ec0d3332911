// Arena: memory of one message or request, freed at once.
//
// Everything that a handler allocates comes from its arena; nobody frees a piece. Out of memory ends the process, so
// no call here returns NULL. A budget, where one is set, is for what comes from outside: only hd_arena_try_alloc and the
// protobuf allocator respect it, by returning NULL.
#ifndef HD_BASE_ARENA_H
#define HD_BASE_ARENA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "base/status.h"

struct hd_arena_block;
struct hd_arena {
    struct hd_arena_block *head;
    size_t used_bytes;   // handed out since init or reset
    size_t budget_bytes; // 0: none
    bool over_budget;    // something was not handed out for the budget, since init
    ProtobufCAllocator pb;
};

void hd_arena_init(struct hd_arena *arena);
void hd_arena_release(struct hd_arena *arena); // of a zeroed one: does nothing
void hd_arena_reset(struct hd_arena *arena);   // keeps one block for the next use

void *hd_arena_alloc(struct hd_arena *arena, size_t size);                 // zeroed, aligned to 16
void *hd_arena_alloc_array(struct hd_arena *arena, size_t n, size_t size); // zeroed; overflow ends the process
void *hd_arena_try_alloc(struct hd_arena *arena, size_t size);             // NULL when over the budget
char *hd_arena_strdup(struct hd_arena *arena, const char *text);           // of NULL: ""
char *hd_arena_strndup(struct hd_arena *arena, const char *text, size_t len);
void *hd_arena_memdup(struct hd_arena *arena, const void *data, size_t len);
char *hd_arena_printf(struct hd_arena *arena, const char *fmt, ...) HD_PRINTF(2, 3);

#define HD_NEW(arena, type) ((type *)hd_arena_alloc((arena), sizeof(type)))
#define HD_NEW_ARRAY(arena, n, type) ((type *)hd_arena_alloc_array((arena), (n), sizeof(type)))

// Grows an arena array by doubling: `items` (a pointer lvalue), `n` in use, `cap` lvalue; room for one more afterwards.
void *hd_arena_grow(struct hd_arena *arena, void *items, size_t n, size_t *cap, size_t size);
#define HD_GROW(arena, items, n, cap) ((items) = hd_arena_grow((arena), (items), (n), &(cap), sizeof(*(items))))

#endif
