// The twin's side of what people do.
#include "services/orchestrator/mem.h"

enum hd_status mem_actions_add(ORC_CALL, const struct orc_done *done) {
    struct orc_mem *mem = store;
    struct orc_done *row = HD_NEW(&mem->base.arena, struct orc_done);
    (void)cx;
    *row = *done;
    row->actor = hd_mem_text(&mem->base, done->actor);
    row->action = hd_mem_text(&mem->base, done->action);
    row->job = hd_mem_text(&mem->base, done->job);
    row->reason = hd_mem_text(&mem->base, done->reason);
    row->result = hd_mem_text(&mem->base, done->result);
    hd_mem_push(&mem->base, &mem->actions, row);
    return HD_OK;
}

enum hd_status mem_actions_list(ORC_CALL, struct hd_uuid run, unsigned limit, struct orc_done **ret, size_t *ret_n) {
    const struct orc_mem *mem = store;
    struct orc_done *list = HD_NEW_ARRAY(cx->arena, mem->actions.n, struct orc_done);
    size_t n = 0;
    for (size_t i = 0; i < mem->actions.n; i++)
        if (hd_uuid_eq(((struct orc_done *)mem->actions.items[i])->run, run))
            list[n++] = *(struct orc_done *)mem->actions.items[i];
    size_t skip = n > limit ? n - limit : 0;
    *ret = list + skip;
    *ret_n = n - skip;
    return HD_OK;
}

static bool is_of(const struct mem_approval *row, const struct orc_job *job) {
    return hd_uuid_eq(row->job.run, job->run->id) && row->job.idx == job->idx;
}

enum hd_status mem_approvals_add(ORC_CALL, const struct orc_job *job, const char *actor) {
    struct orc_mem *mem = store;
    (void)cx;
    for (size_t i = 0; i < mem->approvals.n; i++)
        if (is_of(mem->approvals.items[i], job) &&
            strcmp(((struct mem_approval *)mem->approvals.items[i])->actor, actor) == 0)
            return HD_OK;
    struct mem_approval *row = HD_NEW(&mem->base.arena, struct mem_approval);
    *row = (struct mem_approval){{job->run->id, job->idx}, hd_mem_text(&mem->base, actor)};
    hd_mem_push(&mem->base, &mem->approvals, row);
    return HD_OK;
}

enum hd_status mem_approvals_count(ORC_CALL, struct orc_ws *ws, struct hd_uuid run) {
    const struct orc_mem *mem = store;
    (void)cx;
    for (size_t i = 0; i < mem->approvals.n; i++) {
        const struct mem_approval *row = mem->approvals.items[i];
        struct orc_job *job = hd_uuid_eq(row->job.run, run) ? orc_ws_job(ws, run, row->job.idx) : NULL;
        if (job)
            job->approvals++;
    }
    return HD_OK;
}

enum hd_status mem_approvals_list(ORC_CALL, const struct orc_job *job, const char ***ret, size_t *ret_n) {
    const struct orc_mem *mem = store;
    const char **list = HD_NEW_ARRAY(cx->arena, mem->approvals.n, const char *);
    *ret_n = 0;
    for (size_t i = 0; i < mem->approvals.n; i++)
        if (is_of(mem->approvals.items[i], job))
            list[(*ret_n)++] = ((struct mem_approval *)mem->approvals.items[i])->actor;
    *ret = list;
    return HD_OK;
}

enum hd_status mem_command_find(ORC_CALL, struct orc_command_key *inout) {
    const struct orc_mem *mem = store;
    (void)cx;
    inout->found = false;
    for (size_t i = 0; i < mem->commands.n && !inout->found; i++) {
        const struct mem_command *row = mem->commands.items[i];
        if (row->at_ms && strcmp(row->key.tenant, inout->tenant) == 0 && strcmp(row->key.key, inout->key) == 0) {
            *inout = row->key;
            inout->found = true;
        }
    }
    return HD_OK;
}

enum hd_status mem_command_put(ORC_CALL, const struct orc_command_key *key) {
    struct orc_mem *mem = store;
    struct mem_command *row = HD_NEW(&mem->base.arena, struct mem_command);
    *row = (struct mem_command){*key, cx->now.wall_ms};
    row->key.tenant = hd_mem_text(&mem->base, key->tenant);
    row->key.key = hd_mem_text(&mem->base, key->key);
    row->key.reply = hd_arena_memdup(&mem->base.arena, key->reply, key->reply_len);
    hd_mem_push(&mem->base, &mem->commands, row);
    return HD_OK;
}

enum hd_status mem_commands_prune(ORC_CALL, int64_t before_ms) {
    struct orc_mem *mem = store;
    (void)cx;
    for (size_t i = 0; i < mem->commands.n; i++) {
        struct mem_command *row = mem->commands.items[i];
        if (!row->at_ms || row->at_ms >= before_ms)
            continue;
        hd_mem_touch(&mem->base, row, sizeof(*row));
        row->at_ms = 0;
    }
    return HD_OK;
}
