// A binary heap of pointers whose items know their place in it, so that any of them can be moved or taken out. Pure.
//
// One item may be in several heaps, with a place for each. The heap owns its array, not the items; a zeroed one is empty.
#ifndef SCH_HEAP_H
#define SCH_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCH_HEAP_OUT SIZE_MAX // the place of an item that is in no heap

struct sch_heap {
    void **items; // the first is the best
    size_t n, cap;
};
struct sch_heap_kind {
    bool (*before)(const void *a, const void *b); // a total order
    size_t place;                                 // offset of a size_t in the item
};

void sch_heap_add(struct sch_heap *heap, const struct sch_heap_kind *kind, void *item);
void sch_heap_remove(struct sch_heap *heap, const struct sch_heap_kind *kind, void *item);
// Its rank has changed, and nobody else's has.
void sch_heap_moved(struct sch_heap *heap, const struct sch_heap_kind *kind, void *item);
// Any rank may have changed.
void sch_heap_rebuild(struct sch_heap *heap, const struct sch_heap_kind *kind);
void sch_heap_release(struct sch_heap *heap);

#endif
