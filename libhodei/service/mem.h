// What the in-memory twins of the stores stand on: tables that live as long as the twin, an undo log with before-images, outbox and
// dead letters. A twin begins with a struct hd_mem, so that hd_mem_tx can be its transaction.
//
// One transaction at a time: begin, when one is open, is a crash of who had it, and takes back what that had done.
#ifndef HD_SERVICE_MEM_H
#define HD_SERVICE_MEM_H

#include "base/map.h"
#include "service/service.h"

struct hd_mem_list {
    void **items;
    size_t n, cap;
};
struct hd_mem_outbox {
    int64_t id, at_ms;
    const uint8_t *data;
    size_t len;
    bool done;
};
struct hd_mem_dead {
    const char *subject, *why;
};
struct hd_mem_undo {
    void (*pop)(void *at); // NULL: a before-image
    void *at;
    void *before; // owned
    size_t size;
};
struct hd_mem {
    const void *ops;       // what the service calls on its store, where it takes it from hd_ctx.store
    struct hd_arena arena; // of everything but the undo log
    struct hd_mem_list outbox, dead;
    struct hd_map texts;
    struct hd_mem_undo *undo;
    size_t n_undo, cap_undo;
    bool open;
    int64_t next_outbox;
    int64_t rows_written;
    uint64_t changes; // so many, and takings back of them
};

extern const struct hd_tx_ops hd_mem_tx; // its store is a struct hd_mem

void hd_mem_init(struct hd_mem *mem, const void *ops);
void hd_mem_release(struct hd_mem *mem);
// Before a change: remembers what is there.
void hd_mem_touch(struct hd_mem *mem, void *at, size_t size);
// After something was added: how it is taken away again.
void hd_mem_added(struct hd_mem *mem, void (*pop)(void *at), void *at);
void hd_mem_push(struct hd_mem *mem, struct hd_mem_list *list, void *item);
const char *hd_mem_text(struct hd_mem *mem, const char *text); // lives as long as the twin

#endif
