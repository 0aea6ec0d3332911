#include "base/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN 16
#define FIRST_BLOCK (16u << 10)
#define LARGEST_BLOCK (1u << 20) // blocks double up to here; a larger allocation gets a block of its own
#define KEEP_AT_RESET (1u << 20) // a block above this is not kept, or one big message would be paid for ever

struct hd_arena_block {
    struct hd_arena_block *next;
    size_t size; // of data
    size_t used;
    _Alignas(ALIGN) unsigned char data[];
};

static void out_of_memory(size_t size) {
    fprintf(stderr, "out of memory: %zu bytes\n", size);
    abort();
}

static void *pb_alloc(void *data, size_t size) {
    return hd_arena_try_alloc(data, size);
}

static void pb_free(void *data, void *ptr) {
    (void)data;
    (void)ptr;
}

void hd_arena_init(struct hd_arena *arena) {
    *arena = (struct hd_arena){.pb = {.alloc = pb_alloc, .free = pb_free, .allocator_data = arena}};
}

void hd_arena_release(struct hd_arena *arena) {
    struct hd_arena_block *block = arena->head;
    while (block) {
        struct hd_arena_block *next = block->next;
        free(block);
        block = next;
    }
    arena->head = NULL;
    arena->used_bytes = 0;
}

void hd_arena_reset(struct hd_arena *arena) {
    struct hd_arena_block *keep = NULL, *block = arena->head;
    while (block) {
        struct hd_arena_block *next = block->next;
        if (block->size <= KEEP_AT_RESET && (!keep || block->size > keep->size)) {
            free(keep);
            keep = block;
        } else {
            free(block);
        }
        block = next;
    }
    if (keep) {
        keep->next = NULL;
        keep->used = 0;
    }
    arena->head = keep;
    arena->used_bytes = 0;
}

static struct hd_arena_block *add_block(struct hd_arena *arena, size_t size) {
    size_t want = FIRST_BLOCK;
    if (arena->head)
        want = arena->head->size < LARGEST_BLOCK / 2 ? arena->head->size * 2 : LARGEST_BLOCK;
    if (want < size)
        want = size;
    struct hd_arena_block *block = malloc(sizeof(*block) + want);
    if (!block)
        out_of_memory(want);
    block->size = want;
    block->used = 0;
    // A block made for one large piece is full at once: it goes behind the head, which keeps its room.
    if (arena->head && size > LARGEST_BLOCK) {
        block->next = arena->head->next;
        arena->head->next = block;
    } else {
        block->next = arena->head;
        arena->head = block;
    }
    return block;
}

void *hd_arena_alloc(struct hd_arena *arena, size_t size) {
    if (size > SIZE_MAX / 2)
        out_of_memory(size);
    size_t room = size ? (size + ALIGN - 1) & ~(size_t)(ALIGN - 1) : ALIGN;
    struct hd_arena_block *block = arena->head;
    if (!block || block->size - block->used < room)
        block = add_block(arena, room);
    void *ptr = block->data + block->used;
    block->used += room;
    arena->used_bytes += room;
    return memset(ptr, 0, room);
}

void *hd_arena_alloc_array(struct hd_arena *arena, size_t n, size_t size) {
    size_t total;
    if (__builtin_mul_overflow(n, size, &total))
        out_of_memory(SIZE_MAX);
    return hd_arena_alloc(arena, total);
}

void *hd_arena_try_alloc(struct hd_arena *arena, size_t size) {
    if (arena->budget_bytes) {
        if (size > arena->budget_bytes || arena->used_bytes > arena->budget_bytes - size) {
            arena->over_budget = true;
            return NULL;
        }
    }
    return hd_arena_alloc(arena, size);
}

char *hd_arena_strdup(struct hd_arena *arena, const char *text) {
    return hd_arena_strndup(arena, text, text ? strlen(text) : 0);
}

char *hd_arena_strndup(struct hd_arena *arena, const char *text, size_t len) {
    char *copy = hd_arena_alloc(arena, len + 1);
    if (len)
        memcpy(copy, text, len);
    return copy;
}

void *hd_arena_memdup(struct hd_arena *arena, const void *data, size_t len) {
    void *copy = hd_arena_alloc(arena, len);
    if (len)
        memcpy(copy, data, len);
    return copy;
}

char *hd_arena_printf(struct hd_arena *arena, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return hd_arena_strdup(arena, "");
    char *text = hd_arena_alloc(arena, (size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return text;
}

void *hd_arena_grow(struct hd_arena *arena, void *items, size_t n, size_t *cap, size_t size) {
    if (n < *cap)
        return items;
    size_t want = *cap ? *cap * 2 : 8;
    while (want <= n)
        want *= 2;
    void *grown = hd_arena_alloc_array(arena, want, size);
    if (n)
        memcpy(grown, items, n * size);
    *cap = want;
    return grown;
}
