#include "services/orchestrator/mem.h"

void mem_undo_push(struct orc_mem *mem, enum mem_undo_kind kind, void *at) {
    if (mem->n_undo == mem->cap_undo) {
        size_t cap = mem->cap_undo ? mem->cap_undo * 2 : 64;
        struct mem_undo *grown = hd_calloc(cap, sizeof *grown);
        if (mem->n_undo)
            memcpy(grown, mem->undo, mem->n_undo * sizeof *grown);
        free(mem->undo);
        mem->undo = grown;
        mem->cap_undo = cap;
    }
    mem->undo[mem->n_undo++] = (struct mem_undo){.kind = kind, .at = at};
}

void mem_touch(struct orc_mem *mem, void *at, size_t size) {
    mem_undo_push(mem, MEM_IMAGE, at);
    struct mem_undo *undo = &mem->undo[mem->n_undo - 1];
    undo->before = hd_calloc(1, size);
    undo->size = size;
    memcpy(undo->before, at, size);
}

void mem_push(struct orc_mem *mem, struct mem_list *list, void *item) {
    HD_GROW(&mem->arena, list->items, list->n, list->cap);
    list->items[list->n++] = item;
    mem_undo_push(mem, MEM_POP_LIST, list);
}

const char *mem_text(struct orc_mem *mem, const char *text) {
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

// The last one added is the first of its bucket, since buckets are filled in order.
#define POP(table)                                                                                                     \
    do {                                                                                                               \
        void *last_ = (table)->items[(table)->n - 1];                                                                  \
        for (size_t i_ = 0; i_ < (table)->n_buckets; i_++)                                                             \
            if ((table)->buckets[i_] == last_)                                                                         \
                (table)->buckets[i_] = (table)->items[(table)->n - 1]->chain;                                          \
        (table)->n--;                                                                                                  \
    } while (0)

static void undo_one(struct orc_mem *mem, const struct mem_undo *undo) {
    switch (undo->kind) {
    case MEM_IMAGE:
        memcpy(undo->at, undo->before, undo->size);
        break;
    case MEM_POP_LIST:
        ((struct mem_list *)undo->at)->n--;
        break;
    case MEM_POP_RUN:
        POP(&mem->all.runs);
        break;
    case MEM_POP_JOB:
        POP(&mem->all.jobs);
        break;
    case MEM_POP_ATTEMPT:
        POP(&mem->all.attempts);
        break;
    case MEM_POP_TENANT:
        mem->all.n_tenants--;
        break;
    }
}

static void end(struct orc_mem *mem, bool undo) {
    while (mem->n_undo > 0) {
        struct mem_undo *last = &mem->undo[--mem->n_undo];
        if (undo)
            undo_one(mem, last);
        free(last->before);
    }
    mem->open = false;
}

static enum hd_status tx_begin(struct hd_ctx *cx, void *store) {
    struct orc_mem *mem = store;
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
    struct orc_mem *mem = store;
    struct mem_outbox *row = HD_NEW(&mem->arena, struct mem_outbox);
    *row = (struct mem_outbox){.id = ++mem->next_outbox, // like a sequence: not undone
                               .at_ms = cx->now.wall_ms,
                               .data = hd_arena_memdup(&mem->arena, data, len),
                               .len = len};
    mem_push(mem, &mem->outbox, row);
    mem->rows_written++;
    *ret_id = row->id;
    return HD_OK;
}

static enum hd_status tx_outbox_done(struct hd_ctx *cx, void *store, const int64_t *ids, size_t n) {
    struct orc_mem *mem = store;
    (void)cx;
    for (size_t k = mem->outbox.n; k-- > 0;) {
        struct mem_outbox *row = mem->outbox.items[k];
        for (size_t i = 0; i < n && !row->done; i++) {
            if (row->id == ids[i]) {
                mem_touch(mem, row, sizeof *row);
                row->done = true;
            }
        }
    }
    return HD_OK;
}

static enum hd_status tx_outbox_stale(struct hd_ctx *cx, void *store, int64_t before_ms, struct hd_rows *ret) {
    struct orc_mem *mem = store;
    struct hd_bytes *cells = HD_NEW_ARRAY(cx->arena, mem->outbox.n * 2 + 1, struct hd_bytes);
    size_t n = 0;
    for (size_t i = 0; i < mem->outbox.n; i++) {
        const struct mem_outbox *row = mem->outbox.items[i];
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
    struct orc_mem *mem = store;
    (void)cx, (void)data, (void)len;
    struct mem_dead *row = HD_NEW(&mem->arena, struct mem_dead);
    *row = (struct mem_dead){mem_text(mem, subject), mem_text(mem, why->text)};
    mem_push(mem, &mem->dead, row);
    return HD_OK;
}

const struct hd_tx_ops orc_mem_tx = {tx_begin,       tx_outbox_add, tx_outbox_done, tx_outbox_stale,
                                     tx_dead_letter, tx_commit,     tx_rollback};

struct orc_mem *orc_mem_new(void) {
    struct orc_mem *mem = hd_calloc(1, sizeof *mem);
    hd_arena_init(&mem->arena);
    orc_ws_init(&mem->all, &mem->arena);
    return mem;
}

void orc_mem_free(struct orc_mem *mem) {
    if (!mem)
        return;
    end(mem, false);
    free(mem->undo);
    hd_map_release(&mem->texts);
    hd_arena_release(&mem->arena);
    free(mem);
}

struct orc_mem_counts orc_mem_count(const struct orc_mem *mem) {
    struct orc_mem_counts counts = {.runs = mem->all.runs.n,
                                    .jobs = mem->all.jobs.n,
                                    .attempts = mem->all.attempts.n,
                                    .tenants = mem->all.n_tenants,
                                    .dead_letters = mem->dead.n,
                                    .rows_written = mem->rows_written};
    for (size_t i = 0; i < mem->outbox.n; i++)
        counts.outbox_waiting += !((const struct mem_outbox *)mem->outbox.items[i])->done;
    return counts;
}

const char *orc_mem_dead_letter(const struct orc_mem *mem, size_t i) {
    return i < mem->dead.n ? ((const struct mem_dead *)mem->dead.items[i])->why : NULL;
}

uint64_t orc_mem_epoch(const struct orc_mem *mem, const char *pool) {
    for (size_t i = 0; i < mem->leases.n; i++)
        if (strcmp(((const struct mem_lease *)mem->leases.items[i])->pool, pool) == 0)
            return ((const struct mem_lease *)mem->leases.items[i])->epoch;
    return 0;
}
