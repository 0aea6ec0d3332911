// The twin of store_pg.c. Rows are few here, so everything is looked for from end to end.
#include "services/worker-registry/registry.h"

struct mem_lost {
    const char *worker;
    struct hd_uuid session;
    int64_t at_ms, incarnation, seq;
    bool confirmed, gone;
};
struct mem_worker {
    struct worker w;
    bool gone;
};
struct mem_action {
    const char *worker, *actor, *action, *reason;
    int64_t at_ms;
};
struct registry_mem {
    struct hd_mem base;
    struct hd_mem_list workers, lost, actions;
    int64_t version, next_seq;
};

static struct registry_mem *mem_of(struct hd_ctx *cx) {
    return cx->store;
}

static struct hd_bytes copy_bytes(struct hd_arena *arena, struct hd_bytes bytes) {
    return (struct hd_bytes){bytes.len ? hd_arena_memdup(arena, bytes.data, bytes.len) : NULL, bytes.len};
}

// As it is in the table: nothing of a transaction.
static struct worker kept(struct registry_mem *mem, const struct worker *worker) {
    struct worker row = *worker;
    row.name = hd_mem_text(&mem->base, worker->name);
    row.pool = hd_mem_text(&mem->base, worker->pool);
    row.cordon_actor = hd_mem_text(&mem->base, worker->cordon_actor);
    row.cordon_reason = hd_mem_text(&mem->base, worker->cordon_reason);
    row.unfit = hd_mem_text(&mem->base, worker->unfit);
    row.profile = copy_bytes(&mem->base.arena, worker->profile);
    row.usage = copy_bytes(&mem->base.arena, worker->usage);
    row.loaded_session = worker->session;
    row.fresh = row.beat = row.joined = row.steered = row.changed = false;
    return row;
}

static struct mem_worker *find(const struct registry_mem *mem, const char *name) {
    for (size_t i = 0; i < mem->workers.n; i++) {
        struct mem_worker *row = mem->workers.items[i];
        if (!row->gone && strcmp(row->w.name, name) == 0)
            return row;
    }
    return NULL;
}

static enum hd_status mem_load(struct hd_ctx *cx, const char **names, size_t n, struct workers *ret) {
    registry_by_name(names, n, cx->arena, ret);
    for (size_t i = 0; i < ret->n; i++) {
        const struct mem_worker *row = find(mem_of(cx), ret->rows[i].name);
        if (row)
            ret->rows[i] = row->w;
    }
    return HD_OK;
}

// What a heartbeat writes, a cordon, and the whole of a join: the same columns as the statements.
static void write(struct worker *to, const struct worker *from) {
    struct worker before = *to;
    if (from->joined) {
        *to = *from;
        to->cordon = before.cordon;
        to->cordon_actor = before.cordon_actor;
        to->cordon_reason = before.cordon_reason;
        to->cordon_at_ms = before.cordon_at_ms;
        to->unfit = before.unfit;
        to->usage = before.usage;
    } else if (from->beat) {
        to->state = from->state;
        to->heartbeat_at_ms = from->heartbeat_at_ms;
        to->beats = from->beats;
        to->running = from->running;
        to->stream_ready = from->stream_ready;
        to->unfit = from->unfit;
        to->usage = from->usage;
    }
    if (from->steered) {
        to->cordon = from->cordon;
        to->cordon_actor = from->cordon_actor;
        to->cordon_reason = from->cordon_reason;
        to->cordon_at_ms = from->cordon_at_ms;
    }
}

static enum hd_status mem_save(struct hd_ctx *cx, const struct workers *workers) {
    struct registry_mem *mem = mem_of(cx);
    for (size_t i = 0; i < workers->n; i++) {
        const struct worker *from = &workers->rows[i];
        struct mem_worker *row = find(mem, from->name);
        if (!from->joined && !from->beat && !from->steered)
            continue;
        if (!row && !from->joined)
            continue;
        if (from->joined && row && !hd_uuid_eq(row->w.session, from->loaded_session))
            return hd_fail(cx, HD_CONFLICT, "another session joined with the same name at the same moment");
        if (row) {
            hd_mem_touch(&mem->base, row, sizeof(*row));
        } else {
            row = HD_NEW(&mem->base.arena, struct mem_worker);
            row->w = (struct worker){.cordon = MODE(OPEN), .cordon_actor = "", .cordon_reason = "", .unfit = ""};
            hd_mem_push(&mem->base, &mem->workers, row);
        }
        struct worker as = kept(mem, from);
        as.joined = from->joined;
        as.beat = from->beat;
        as.steered = from->steered;
        write(&row->w, &as);
        row->w = kept(mem, &row->w);
        mem->base.rows_written++;
    }
    return HD_OK;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct worker *)a)->name, ((const struct worker *)b)->name);
}

static bool asked_for(const struct worker *worker, const struct workers_query *query) {
    bool in = !query->n_states;
    for (size_t i = 0; i < query->n_states; i++)
        in |= query->states[i] == (int32_t)worker->state;
    return in && (!*query->pool || strcmp(worker->pool, query->pool) == 0) && strcmp(worker->name, query->after) > 0;
}

static enum hd_status mem_list(struct hd_ctx *cx, const struct workers_query *query, struct workers *ret) {
    const struct registry_mem *mem = mem_of(cx);
    *ret = (struct workers){HD_NEW_ARRAY(cx->arena, mem->workers.n + 1, struct worker), 0};
    for (size_t i = 0; i < mem->workers.n; i++) {
        const struct mem_worker *row = mem->workers.items[i];
        if (!row->gone && asked_for(&row->w, query))
            ret->rows[ret->n++] = row->w;
    }
    qsort(ret->rows, ret->n, sizeof(*ret->rows), by_name);
    if ((int64_t)ret->n > query->limit)
        ret->n = (size_t)query->limit;
    return HD_OK;
}

static const struct workers_query every_one = {.pool = "", .after = "", .limit = INT64_MAX};

static enum hd_status mem_live(struct hd_ctx *cx, struct liveness_row **ret, size_t *ret_n) {
    struct workers all;
    HD_TRY(mem_list(cx, &every_one, &all));
    *ret = HD_NEW_ARRAY(cx->arena, all.n + 1, struct liveness_row);
    *ret_n = 0;
    for (size_t i = 0; i < all.n; i++)
        if (all.rows[i].state == REG_ONLINE || all.rows[i].state == REG_SUSPECT)
            (*ret)[(*ret_n)++] = (struct liveness_row){all.rows[i].name, all.rows[i].session, all.rows[i].beats,
                                                       all.rows[i].state == REG_SUSPECT};
    return HD_OK;
}

static enum hd_status mem_get(struct hd_ctx *cx, const char *name, struct worker *ret) {
    const struct mem_worker *row = find(mem_of(cx), name);
    *ret = row ? row->w : (struct worker){.name = name};
    return HD_OK;
}

static enum hd_status mem_actions(struct hd_ctx *cx, const char *worker, Hodei__V1__WorkerAction ***ret,
                                  size_t *ret_n) {
    const struct registry_mem *mem = mem_of(cx);
    *ret = HD_NEW_ARRAY(cx->arena, mem->actions.n + 1, Hodei__V1__WorkerAction *);
    *ret_n = 0;
    for (size_t i = mem->actions.n; i-- > 0 && *ret_n < 100;) {
        const struct mem_action *row = mem->actions.items[i];
        if (strcmp(row->worker, worker) != 0)
            continue;
        Hodei__V1__WorkerAction *action =
            (Hodei__V1__WorkerAction *)hd_pb_new(cx->arena, &hodei__v1__worker_action__descriptor);
        action->at_ms = row->at_ms;
        action->actor = (char *)(uintptr_t)row->actor;
        action->action = (char *)(uintptr_t)row->action;
        action->reason = (char *)(uintptr_t)row->reason;
        (*ret)[(*ret_n)++] = action;
    }
    return HD_OK;
}

static enum hd_status mem_add_action(struct hd_ctx *cx, const char *worker, const Hodei__V1__WorkerAction *action) {
    struct registry_mem *mem = mem_of(cx);
    struct mem_action *row = HD_NEW(&mem->base.arena, struct mem_action);
    *row = (struct mem_action){hd_mem_text(&mem->base, worker), hd_mem_text(&mem->base, action->actor),
                               hd_mem_text(&mem->base, action->action), hd_mem_text(&mem->base, action->reason),
                               action->at_ms};
    hd_mem_push(&mem->base, &mem->actions, row);
    return HD_OK;
}

// --- losses ----------------------------------------------------------------------------------------------------------

static bool is_untold(const struct registry_mem *mem, const char *worker) {
    for (size_t i = 0; i < mem->lost.n; i++) {
        const struct mem_lost *row = mem->lost.items[i];
        if (!row->gone && !row->confirmed && strcmp(row->worker, worker) == 0)
            return true;
    }
    return false;
}

static enum hd_status mem_forget(struct hd_ctx *cx, int64_t before_ms) {
    struct registry_mem *mem = mem_of(cx);
    for (size_t i = 0; i < mem->workers.n; i++) {
        struct mem_worker *row = mem->workers.items[i];
        if (row->gone || row->w.state != REG_LOST || row->w.heartbeat_at_ms >= before_ms || is_untold(mem, row->w.name))
            continue;
        hd_mem_touch(&mem->base, row, sizeof(*row));
        row->gone = true;
    }
    for (size_t i = 0; i < mem->lost.n; i++) {
        struct mem_lost *row = mem->lost.items[i];
        if (row->gone || !row->confirmed || row->at_ms >= before_ms)
            continue;
        hd_mem_touch(&mem->base, row, sizeof(*row));
        row->gone = true;
    }
    return HD_OK;
}

static enum hd_status mem_fleet_version(struct hd_ctx *cx, int64_t *ret) {
    *ret = mem_of(cx)->version;
    return HD_OK;
}

static enum hd_status mem_fleet_bump(struct hd_ctx *cx, int64_t *ret) {
    struct registry_mem *mem = mem_of(cx);
    hd_mem_touch(&mem->base, &mem->version, sizeof(mem->version));
    *ret = ++mem->version;
    return HD_OK;
}

static enum hd_status mem_lose(struct hd_ctx *cx, const struct lost_list *lost) {
    struct registry_mem *mem = mem_of(cx);
    for (size_t i = 0; i < lost->n; i++) {
        struct mem_lost *row = NULL;
        for (size_t k = 0; k < mem->lost.n; k++) {
            struct mem_lost *old = mem->lost.items[k];
            if (!old->gone && hd_uuid_eq(old->session, lost->sessions[i]) && strcmp(old->worker, lost->workers[i]) == 0)
                row = old;
        }
        if (row) {
            hd_mem_touch(&mem->base, row, sizeof(*row));
        } else {
            row = HD_NEW(&mem->base.arena, struct mem_lost);
            hd_mem_push(&mem->base, &mem->lost, row);
        }
        *row = (struct mem_lost){.worker = hd_mem_text(&mem->base, lost->workers[i]),
                                 .session = lost->sessions[i],
                                 .at_ms = cx->now.wall_ms,
                                 .incarnation = lost->incarnations[i],
                                 .seq = ++mem->next_seq}; // like a sequence: not undone
    }
    return HD_OK;
}

static void add_lost(struct lost_list *list, const struct mem_lost *row) {
    list->workers[list->n] = row->worker;
    list->sessions[list->n] = row->session;
    list->incarnations[list->n++] = row->incarnation;
}

static enum hd_status mem_untold_of(struct hd_ctx *cx, const char **names, size_t n, struct lost_list *ret) {
    const struct registry_mem *mem = mem_of(cx);
    *ret = lost_list_new(cx->arena, mem->lost.n);
    for (size_t i = 0; i < mem->lost.n; i++) {
        const struct mem_lost *row = mem->lost.items[i];
        bool asked = false;
        for (size_t k = 0; k < n; k++)
            asked = asked || strcmp(names[k], row->worker) == 0;
        if (asked && !row->gone && !row->confirmed)
            add_lost(ret, row);
    }
    return HD_OK;
}

static int by_seq(const void *a, const void *b) {
    int64_t first = (*(const struct mem_lost *const *)a)->seq, second = (*(const struct mem_lost *const *)b)->seq;
    return first < second ? -1 : first > second;
}

static enum hd_status mem_untold(struct hd_ctx *cx, unsigned skip, unsigned limit, int64_t *ret_seqs,
                                 struct lost_list *ret) {
    const struct registry_mem *mem = mem_of(cx);
    const struct mem_lost **rows = HD_NEW_ARRAY(cx->arena, mem->lost.n + 1, const struct mem_lost *);
    size_t n = 0;
    for (size_t i = 0; i < mem->lost.n; i++) {
        const struct mem_lost *row = mem->lost.items[i];
        if (!row->gone && !row->confirmed)
            rows[n++] = row;
    }
    qsort(rows, n, sizeof(*rows), by_seq);
    *ret = lost_list_new(cx->arena, n);
    for (size_t i = skip; i < n && ret->n < limit; i++) {
        ret_seqs[ret->n] = rows[i]->seq;
        add_lost(ret, rows[i]);
    }
    return HD_OK;
}

static enum hd_status mem_told(struct hd_ctx *cx, const int64_t *seqs, size_t n) {
    struct registry_mem *mem = mem_of(cx);
    for (size_t i = 0; i < mem->lost.n * n; i++) {
        struct mem_lost *row = mem->lost.items[i / n];
        if (row->gone || row->confirmed || row->seq != seqs[i % n])
            continue;
        hd_mem_touch(&mem->base, row, sizeof(*row));
        row->confirmed = true;
    }
    return HD_OK;
}

// --- work streams ----------------------------------------------------------------------------------------------------

static enum hd_status mem_streams_due(struct hd_ctx *cx, struct registry_stream *ret, size_t max, size_t *ret_n) {
    struct workers all;
    HD_TRY(mem_list(cx, &every_one, &all));
    *ret_n = 0;
    for (size_t i = 0; i < all.n && *ret_n < max; i++) {
        if (all.rows[i].stream_ready || all.rows[i].state == REG_LOST)
            continue;
        hd_strlcpy(ret[*ret_n].worker, all.rows[i].name, sizeof(ret[*ret_n].worker));
        ret[(*ret_n)++].session = all.rows[i].session;
    }
    return HD_OK;
}

static enum hd_status mem_streams_made(struct hd_ctx *cx, const struct registry_stream *made, size_t n) {
    struct registry_mem *mem = mem_of(cx);
    for (size_t i = 0; i < n; i++) {
        struct mem_worker *row = find(mem, made[i].worker);
        if (!row || !hd_uuid_eq(row->w.session, made[i].session))
            continue;
        hd_mem_touch(&mem->base, row, sizeof(*row));
        row->w.stream_ready = true;
    }
    return HD_OK;
}

// Its workers come with the token of the settings.
static enum hd_status mem_tokens_known(struct hd_ctx *cx, const struct hd_bytes *hashes, size_t n,
                                       struct hd_bytes **ret, size_t *ret_n) {
    (void)cx, (void)hashes, (void)n;
    *ret = NULL;
    *ret_n = 0;
    return HD_OK;
}

const struct registry_store registry_mem_store = {
    .load = mem_load,
    .save = mem_save,
    .live = mem_live,
    .list = mem_list,
    .get = mem_get,
    .actions = mem_actions,
    .add_action = mem_add_action,
    .forget = mem_forget,
    .fleet_version = mem_fleet_version,
    .fleet_bump = mem_fleet_bump,
    .lose = mem_lose,
    .untold_of = mem_untold_of,
    .untold = mem_untold,
    .told = mem_told,
    .streams_due = mem_streams_due,
    .streams_made = mem_streams_made,
    .tokens_known = mem_tokens_known,
};

struct registry_mem *registry_mem_new(void) {
    struct registry_mem *mem = hd_calloc(1, sizeof(*mem));
    hd_mem_init(&mem->base, &registry_mem_store);
    mem->version = 1;
    return mem;
}

void registry_mem_free(struct registry_mem *mem) {
    if (!mem)
        return;
    hd_mem_release(&mem->base);
    free(mem);
}

struct hd_mem *registry_mem_base(struct registry_mem *mem) {
    return &mem->base;
}

bool registry_mem_find(const struct registry_mem *mem, const char *name, struct worker *ret) {
    const struct mem_worker *row = find(mem, name);
    if (row)
        *ret = row->w;
    return row;
}
