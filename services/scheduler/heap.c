#include "services/scheduler/heap.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"

static size_t *place_of(const struct sch_heap_kind *kind, void *item) {
    return (size_t *)((char *)item + kind->place);
}

static void set(struct sch_heap *heap, const struct sch_heap_kind *kind, size_t pos, void *item) {
    heap->items[pos] = item;
    *place_of(kind, item) = pos;
}

static void sift_up(struct sch_heap *heap, const struct sch_heap_kind *kind, size_t pos, void *item) {
    for (; pos > 0 && kind->before(item, heap->items[(pos - 1) / 2]); pos = (pos - 1) / 2)
        set(heap, kind, pos, heap->items[(pos - 1) / 2]);
    set(heap, kind, pos, item);
}

static void sift_down(struct sch_heap *heap, const struct sch_heap_kind *kind, size_t pos, void *item) {
    for (size_t child; (child = 2 * pos + 1) < heap->n; pos = child) {
        if (child + 1 < heap->n && kind->before(heap->items[child + 1], heap->items[child]))
            child++;
        if (!kind->before(heap->items[child], item))
            break;
        set(heap, kind, pos, heap->items[child]);
    }
    set(heap, kind, pos, item);
}

static void settle(struct sch_heap *heap, const struct sch_heap_kind *kind, size_t pos, void *item) {
    if (pos > 0 && kind->before(item, heap->items[(pos - 1) / 2]))
        sift_up(heap, kind, pos, item);
    else
        sift_down(heap, kind, pos, item);
}

void sch_heap_add(struct sch_heap *heap, const struct sch_heap_kind *kind, void *item) {
    if (heap->n == heap->cap) {
        size_t cap = heap->cap ? heap->cap * 2 : 4;
        void **items = hd_calloc(cap, sizeof(*items));
        if (heap->n)
            memcpy(items, heap->items, heap->n * sizeof(*items));
        free(heap->items);
        heap->items = items;
        heap->cap = cap;
    }
    heap->n++;
    sift_up(heap, kind, heap->n - 1, item);
}

void sch_heap_remove(struct sch_heap *heap, const struct sch_heap_kind *kind, void *item) {
    size_t pos = *place_of(kind, item);
    void *last = heap->items[--heap->n];
    *place_of(kind, item) = SCH_HEAP_OUT;
    if (last != item)
        settle(heap, kind, pos, last);
}

void sch_heap_moved(struct sch_heap *heap, const struct sch_heap_kind *kind, void *item) {
    settle(heap, kind, *place_of(kind, item), item);
}

void sch_heap_rebuild(struct sch_heap *heap, const struct sch_heap_kind *kind) {
    for (size_t i = heap->n / 2; i-- > 0;)
        sift_down(heap, kind, i, heap->items[i]);
}

void sch_heap_release(struct sch_heap *heap) {
    free(heap->items);
    *heap = (struct sch_heap){0};
}
