#include "service/mem.h"

#include "base/buf.h"

void hd_mem_added(struct hd_mem *mem, void (*pop)(void *at), void *at) {
    if (mem->n_undo == mem->cap_undo) {
        size_t cap = mem->cap_undo ? mem->cap_undo * 2 : 64;
        struct hd_mem_undo *grown = hd_calloc(cap, sizeof *grown);
        if (mem->n_undo)
            memcpy(grown, mem->undo, mem->n_undo * sizeof *grown);
        free(mem->undo);
        mem->undo = grown;
        mem->cap_undo = cap;
    }
    mem->changes++;
    mem->undo[mem->n_undo++] = (struct hd_mem_undo){.pop = pop, .at = at};
}

void hd_mem_touch(struct hd_mem *mem, void *at, size_t size) {
    hd_mem_added(mem, NULL, at);
    struct hd_mem_undo *undo = &mem->undo[mem->n_undo - 1];
    undo->before = hd_calloc(1, size);
    undo->size = size;
    memcpy(undo->before, at, size);
}

static void pop_list(void *at) {
    ((struct hd_mem_list *)at)->n--;
}

void hd_mem_push(struct hd_mem *mem, struct hd_mem_list *list, void *item) {
    HD_GROW(&mem->arena, list->items, list->n, list->cap);
    list->items[list->n++] = item;
    hd_mem_added(mem, pop_list, list);
}

const char *hd_mem_text(struct hd_mem *mem, const char *text) {
    if (!text || !*text)
        return "";
    uint64_t key = hd_hash(text, strlen(text), 0);
    const char *known = hd_map_get(&mem->texts, key);
    if (known && strcmp(known, text) == 0)
        return known;
    char *copy = hd_arena_strdup(&mem->arena, text);
    hd_map_put(&mem->texts, key, copy);
    return copy;
}

static void end(struct hd_mem *mem, bool undo) {
    while (mem->n_undo > 0) {
        struct hd_mem_undo *last = &mem->undo[--mem->n_undo];
        mem->changes += undo;
        if (undo && last->pop)
            last->pop(last->at);
        else if (undo)
            memcpy(last->at, last->before, last->size);
        free(last->before);
    }
    mem->open = false;
}

static enum hd_status tx_begin(struct hd_ctx *cx, void *store) {
    struct hd_mem *mem = store;
    (void)cx;
    if (mem->open) // a crash
        end(mem, true);
    mem->open = true;
    return HD_OK;
}
static enum hd_status tx_commit(struct hd_ctx *cx, void *store) {
    (void)cx;
    end(store, false);
    return HD_OK;
}
static void tx_rollback(struct hd_ctx *cx, void *store) {
    (void)cx;
    end(store, true);
}

static enum hd_status tx_outbox_add(struct hd_ctx *cx, void *store, const uint8_t *data, size_t len, int64_t *ret_id) {
    struct hd_mem *mem = store;
    struct hd_mem_outbox *row = HD_NEW(&mem->arena, struct hd_mem_outbox);
    *row = (struct hd_mem_outbox){.id = ++mem->next_outbox, // like a sequence: not undone
                                  .at_ms = cx->now.wall_ms,
                                  .data = hd_arena_memdup(&mem->arena, data, len),
                                  .len = len};
    hd_mem_push(mem, &mem->outbox, row);
    mem->rows_written++;
    *ret_id = row->id;
    return HD_OK;
}

static enum hd_status tx_outbox_done(struct hd_ctx *cx, void *store, const int64_t *ids, size_t n) {
    struct hd_mem *mem = store;
    (void)cx;
    for (size_t k = mem->outbox.n; k-- > 0;) {
        struct hd_mem_outbox *row = mem->outbox.items[k];
        for (size_t i = 0; i < n && !row->done; i++) {
            if (row->id == ids[i]) {
                hd_mem_touch(mem, row, sizeof *row);
                row->done = true;
            }
        }
    }
    return HD_OK;
}

static enum hd_status tx_outbox_stale(struct hd_ctx *cx, void *store, int64_t before_ms, struct hd_rows *ret) {
    struct hd_mem *mem = store;
    struct hd_bytes *cells = HD_NEW_ARRAY(cx->arena, mem->outbox.n * 2 + 1, struct hd_bytes);
    size_t n = 0;
    for (size_t i = 0; i < mem->outbox.n; i++) {
        const struct hd_mem_outbox *row = mem->outbox.items[i];
        if (row->done || row->at_ms >= before_ms)
            continue;
        uint8_t *id = hd_arena_alloc(cx->arena, 8);
        for (int b = 0; b < 8; b++) // as PostgreSQL's binary format has it
            id[b] = (uint8_t)((uint64_t)row->id >> (56 - 8 * b));
        cells[2 * n] = (struct hd_bytes){id, 8};
        cells[2 * n + 1] = (struct hd_bytes){row->data, row->len};
        n++;
    }
    *ret = (struct hd_rows){.n = n, .columns = 2, .cells = cells};
    return HD_OK;
}

static enum hd_status tx_dead_letter(struct hd_ctx *cx, void *store, const char *subject, const uint8_t *data,
                                     size_t len, const struct hd_err *why) {
    struct hd_mem *mem = store;
    (void)cx, (void)data, (void)len;
    struct hd_mem_dead *row = HD_NEW(&mem->arena, struct hd_mem_dead);
    *row = (struct hd_mem_dead){hd_mem_text(mem, subject), hd_mem_text(mem, why->text)};
    hd_mem_push(mem, &mem->dead, row);
    return HD_OK;
}

const struct hd_tx_ops hd_mem_tx = {tx_begin,       tx_outbox_add, tx_outbox_done, tx_outbox_stale,
                                    tx_dead_letter, tx_commit,     tx_rollback};

void hd_mem_init(struct hd_mem *mem, const void *ops) {
    *mem = (struct hd_mem){.ops = ops};
    hd_arena_init(&mem->arena);
}

void hd_mem_release(struct hd_mem *mem) {
    end(mem, false);
    free(mem->undo);
    hd_map_release(&mem->texts);
    hd_arena_release(&mem->arena);
}
