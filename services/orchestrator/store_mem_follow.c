// The twin's side of runs that start when others end.
#include "services/orchestrator/mem.h"

// Rows of older versions stay: they say nothing.
enum hd_status mem_listeners_put(ORC_CALL, const struct orc_listener *listeners, size_t n,
                                 const struct orc_version *versions, size_t n_versions) {
    struct orc_mem *mem = store;
    (void)cx, (void)versions, (void)n_versions;
    for (size_t i = 0; i < n; i++) {
        struct orc_listener *row = HD_NEW(&mem->base.arena, struct orc_listener);
        *row = listeners[i];
        row->tenant = hd_mem_text(&mem->base, row->tenant);
        row->source = hd_mem_text(&mem->base, row->source);
        row->name = hd_mem_text(&mem->base, row->name);
        hd_mem_push(&mem->base, &mem->listeners, row);
    }
    return HD_OK;
}

static bool is_newest(const struct orc_mem *mem, const struct orc_listener *listener) {
    const struct orc_version *newest = NULL;
    for (size_t i = 0; i < mem->versions.n; i++) {
        const struct orc_version *v = &((struct mem_version *)mem->versions.items[i])->v;
        if (strcmp(v->tenant, listener->tenant) == 0 && strcmp(v->name, listener->name) == 0 &&
            (!newest || v->version > newest->version))
            newest = v;
    }
    return newest && newest->version == listener->version && !newest->deleted;
}

static struct mem_follow_up *follow_up_find(const struct orc_mem *mem, struct hd_uuid run, const char *pipeline) {
    for (size_t i = 0; i < mem->follow_ups.n; i++) {
        struct mem_follow_up *row = mem->follow_ups.items[i];
        if (!row->gone && hd_uuid_eq(row->f.run, run) && strcmp(row->f.pipeline, pipeline) == 0)
            return row;
    }
    return NULL;
}

enum hd_status mem_follow_ups_add(ORC_CALL, const struct orc_ended *ended, size_t n, size_t *ret_added) {
    struct orc_mem *mem = store;
    (void)cx;
    *ret_added = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < mem->listeners.n; k++) {
            const struct orc_listener *l = mem->listeners.items[k];
            if (strcmp(l->tenant, ended[i].tenant) != 0 || strcmp(l->source, ended[i].pipeline) != 0 ||
                !(l->accepts & ended[i].mask) || !is_newest(mem, l) || follow_up_find(mem, ended[i].run, l->name))
                continue;
            struct mem_follow_up *row = HD_NEW(&mem->base.arena, struct mem_follow_up);
            row->f = (struct orc_follow_up){ended[i].run, l->name};
            hd_mem_push(&mem->base, &mem->follow_ups, row);
            ++*ret_added;
        }
    return HD_OK;
}

enum hd_status mem_follow_ups_take(ORC_CALL, unsigned limit, struct orc_follow_up **ret, size_t *ret_n) {
    const struct orc_mem *mem = store;
    struct orc_follow_up *list = HD_NEW_ARRAY(cx->arena, mem->follow_ups.n, struct orc_follow_up);
    size_t n = 0;
    for (size_t i = 0; i < mem->follow_ups.n && n < limit; i++)
        if (!((struct mem_follow_up *)mem->follow_ups.items[i])->gone)
            list[n++] = ((struct mem_follow_up *)mem->follow_ups.items[i])->f;
    *ret = list;
    *ret_n = n;
    return HD_OK;
}

enum hd_status mem_follow_ups_drop(ORC_CALL, const struct orc_follow_up *follow_ups, size_t n) {
    struct orc_mem *mem = store;
    (void)cx;
    for (size_t i = 0; i < n; i++) {
        struct mem_follow_up *row = follow_up_find(mem, follow_ups[i].run, follow_ups[i].pipeline);
        if (!row)
            continue;
        hd_mem_touch(&mem->base, row, sizeof *row);
        row->gone = true;
    }
    return HD_OK;
}
