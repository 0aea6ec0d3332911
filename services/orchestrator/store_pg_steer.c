// What people do: actions, approvals, answers by idempotency key.
#include "services/orchestrator/store_pg.h"

enum hd_status orc_pg_actions_add(ORC_CALL, const struct orc_done *done) {
    (void)store;
    return ORC_RUN_SQL(cx, ORC_SQL_ACTIONS_ADD, NULL, HD_UUID(done->run), HD_I64(done->at_ms), HD_TEXT(done->actor),
                       HD_TEXT(done->action), HD_TEXT(done->job), HD_TEXT(done->reason), HD_TEXT(done->result));
}

enum hd_status orc_pg_actions_list(ORC_CALL, struct hd_uuid run, unsigned limit, struct orc_done **ret, size_t *ret_n) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_ACTIONS_LIST, &rows, HD_UUID(run), HD_I64(limit)));
    struct orc_done *list = HD_NEW_ARRAY(cx->arena, rows.n, struct orc_done);
    for (size_t i = 0; i < rows.n; i++)
        list[i] = (struct orc_done){.run = run,
                                    .at_ms = hd_row_int(&rows, i, 0),
                                    .actor = hd_row_text(&rows, i, 1),
                                    .action = hd_row_text(&rows, i, 2),
                                    .job = hd_row_text(&rows, i, 3),
                                    .reason = hd_row_text(&rows, i, 4),
                                    .result = hd_row_text(&rows, i, 5)};
    *ret = list;
    *ret_n = rows.n;
    return HD_OK;
}

enum hd_status orc_pg_approvals_add(ORC_CALL, const struct orc_job *job, const char *actor) {
    (void)store;
    return ORC_RUN_SQL(cx, ORC_SQL_APPROVALS_ADD, NULL, HD_UUID(job->run->id), HD_I32((int32_t)job->idx),
                       HD_TEXT(actor), HD_I64(cx->now.wall_ms));
}

enum hd_status orc_pg_approvals_count(ORC_CALL, struct orc_ws *ws, struct hd_uuid run) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_APPROVALS_COUNT, &rows, HD_UUID(run)));
    for (size_t i = 0; i < rows.n; i++) {
        struct orc_job *job = orc_ws_job(ws, run, (uint32_t)hd_row_int(&rows, i, 0));
        if (job)
            job->approvals = (uint32_t)hd_row_int(&rows, i, 1);
    }
    return HD_OK;
}

enum hd_status orc_pg_approvals_list(ORC_CALL, const struct orc_job *job, const char ***ret, size_t *ret_n) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_APPROVALS_LIST, &rows, HD_UUID(job->run->id), HD_I32((int32_t)job->idx)));
    const char **list = HD_NEW_ARRAY(cx->arena, rows.n, const char *);
    for (size_t i = 0; i < rows.n; i++)
        list[i] = hd_row_text(&rows, i, 0);
    *ret = list;
    *ret_n = rows.n;
    return HD_OK;
}

enum hd_status orc_pg_command_find(ORC_CALL, struct orc_command_key *inout) {
    struct hd_rows rows;
    (void)store;
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_COMMAND_LOCK, &rows, HD_TEXT(inout->tenant), HD_TEXT(inout->key)));
    HD_TRY(ORC_RUN_SQL(cx, ORC_SQL_COMMAND_FIND, &rows, HD_TEXT(inout->tenant), HD_TEXT(inout->key)));
    inout->found = rows.n > 0;
    if (!inout->found)
        return HD_OK;
    struct hd_bytes reply = hd_row_bytes(&rows, 0, 1);
    inout->fingerprint = (uint64_t)hd_row_int(&rows, 0, 0);
    inout->reply = reply.data;
    inout->reply_len = reply.len;
    return HD_OK;
}

enum hd_status orc_pg_command_put(ORC_CALL, const struct orc_command_key *key) {
    (void)store;
    return ORC_RUN_SQL(cx, ORC_SQL_COMMAND_PUT, NULL, HD_TEXT(key->tenant), HD_TEXT(key->key),
                       HD_I64((int64_t)key->fingerprint), HD_BYTES(key->reply, key->reply_len),
                       HD_I64(cx->now.wall_ms));
}

enum hd_status orc_pg_commands_prune(ORC_CALL, int64_t before_ms) {
    (void)store;
    return ORC_RUN_SQL(cx, ORC_SQL_COMMANDS_PRUNE, NULL, HD_I64(before_ms));
}
