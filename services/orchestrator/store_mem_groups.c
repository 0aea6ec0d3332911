// The twin's concurrency groups.
#include "services/orchestrator/mem.h"

static struct orc_group *find_group(struct orc_mem *mem, const char *tenant, const char *name) {
    for (size_t i = 0; i < mem->groups.n; i++) {
        struct orc_group *row = mem->groups.items[i];
        if (strcmp(row->tenant, tenant) == 0 && strcmp(row->name, name) == 0)
            return row;
    }
    return NULL;
}

static struct mem_member *find_member(struct orc_mem *mem, const struct orc_group *group, struct hd_uuid run,
                                      uint32_t idx) {
    for (size_t i = 0; i < mem->members.n; i++) {
        struct mem_member *row = mem->members.items[i];
        if (!row->gone && row->m.idx == idx && hd_uuid_eq(row->m.run, run) && strcmp(row->tenant, group->tenant) == 0 &&
            strcmp(row->name, group->name) == 0)
            return row;
    }
    return NULL;
}

static void enter_one(struct orc_mem *mem, const struct orc_group_entry *entry) {
    struct orc_group *group = find_group(mem, entry->group.tenant, entry->group.name);
    if (group) {
        hd_mem_touch(&mem->base, group, sizeof(*group));
    } else {
        group = HD_NEW(&mem->base.arena, struct orc_group);
        group->tenant = hd_mem_text(&mem->base, entry->group.tenant);
        group->name = hd_mem_text(&mem->base, entry->group.name);
        hd_mem_push(&mem->base, &mem->groups, group);
    }
    group->capacity = entry->group.capacity;
    group->by_ready = entry->group.by_ready;
    struct mem_member *row = find_member(mem, group, entry->run, entry->idx);
    int64_t seq = entry->state == ORC_MEMBER_PLANNED ? 0 : ++mem->turns;
    if (!row) {
        row = HD_NEW(&mem->base.arena, struct mem_member);
        *row = (struct mem_member){.tenant = group->tenant, .name = group->name};
        row->m = (struct orc_member){.run = entry->run, .idx = entry->idx, .state = entry->state, .seq = seq};
        hd_mem_push(&mem->base, &mem->members, row);
        return;
    }
    hd_mem_touch(&mem->base, row, sizeof(*row));
    row->m.state = row->m.state > entry->state ? row->m.state : entry->state;
    row->m.seq = row->m.seq ? row->m.seq : seq;
}

enum hd_status mem_groups_enter(ORC_CALL, struct orc_group_entry *entries, size_t n) {
    (void)cx;
    for (size_t i = 0; i < n; i++)
        enter_one(store, &entries[i]);
    return HD_OK;
}

enum hd_status mem_groups_leave(ORC_CALL, const struct orc_job_ref *refs, size_t n, size_t *ret_left) {
    struct orc_mem *mem = store;
    (void)cx;
    *ret_left = 0;
    for (size_t i = 0; i < mem->members.n; i++) {
        struct mem_member *row = mem->members.items[i];
        for (size_t k = 0; k < n && !row->gone; k++) {
            if (row->m.idx != refs[k].idx || !hd_uuid_eq(row->m.run, refs[k].run))
                continue;
            hd_mem_touch(&mem->base, row, sizeof(*row));
            row->gone = true;
            (*ret_left)++;
        }
    }
    return HD_OK;
}

enum hd_status mem_group_members(ORC_CALL, struct orc_group *inout, bool lock, struct orc_member **ret, size_t *ret_n) {
    struct orc_mem *mem = store;
    const struct orc_group *group = find_group(mem, inout->tenant, inout->name);
    struct orc_member *list = HD_NEW_ARRAY(cx->arena, mem->members.n, struct orc_member);
    (void)lock;
    *ret_n = 0;
    inout->capacity = group ? group->capacity : 0;
    inout->by_ready = group && group->by_ready;
    for (size_t i = 0; i < mem->members.n; i++) {
        const struct mem_member *row = mem->members.items[i];
        if (!row->gone && strcmp(row->tenant, inout->tenant) == 0 && strcmp(row->name, inout->name) == 0)
            list[(*ret_n)++] = row->m;
    }
    *ret = list;
    return HD_OK;
}

static enum hd_status change(struct orc_mem *mem, const struct orc_group *group, const struct orc_member *member,
                             bool doom) {
    struct mem_member *row = find_member(mem, group, member->run, member->idx);
    if (!row)
        return HD_OK;
    hd_mem_touch(&mem->base, row, sizeof(*row));
    if (doom)
        row->m.doomed = true;
    else
        row->m.state = ORC_MEMBER_HOLDING;
    return HD_OK;
}

enum hd_status mem_group_hold(ORC_CALL, const struct orc_group *group, const struct orc_member *member) {
    (void)cx;
    return change(store, group, member, false);
}

enum hd_status mem_group_doom(ORC_CALL, const struct orc_group *group, const struct orc_member *member) {
    (void)cx;
    return change(store, group, member, true);
}

enum hd_status mem_groups_of(ORC_CALL, const struct orc_job_ref *refs, size_t n, struct orc_group *ret) {
    const struct orc_mem *mem = store;
    (void)cx;
    for (size_t k = 0; k < n; k++) {
        ret[k] = (struct orc_group){.tenant = "", .name = ""};
        for (size_t i = 0; i < mem->members.n; i++) {
            const struct mem_member *row = mem->members.items[i];
            if (!row->gone && row->m.idx == refs[k].idx && hd_uuid_eq(row->m.run, refs[k].run))
                ret[k] = (struct orc_group){.tenant = row->tenant, .name = row->name};
        }
    }
    return HD_OK;
}

enum hd_status mem_groups_waiting(ORC_CALL, unsigned limit, struct orc_group **ret, size_t *ret_n) {
    const struct orc_mem *mem = store;
    struct orc_group *list = HD_NEW_ARRAY(cx->arena, mem->groups.n, struct orc_group);
    *ret_n = 0;
    for (size_t g = 0; g < mem->groups.n && *ret_n < limit; g++) {
        const struct orc_group *group = mem->groups.items[g];
        bool any = false;
        for (size_t i = 0; i < mem->members.n && !any; i++) {
            const struct mem_member *row = mem->members.items[i];
            any = !row->gone && (row->m.state == ORC_MEMBER_WAITING || row->m.doomed) &&
                  strcmp(row->tenant, group->tenant) == 0 && strcmp(row->name, group->name) == 0;
        }
        if (any)
            list[(*ret_n)++] = *group;
    }
    *ret = list;
    return HD_OK;
}
