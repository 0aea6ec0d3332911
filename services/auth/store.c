#include "services/auth/auth.h"

enum { FIND, TOUCH, ADD, SQL_COUNT };
_Static_assert(SQL_COUNT == AUTH_SQL_COUNT, "the header says how many");

const struct hd_sql auth_sql[AUTH_SQL_COUNT] = {
    [FIND] = {"auth_find", "SELECT sha256, subject, tenant, array_to_string(permissions, ' '), expires_at_ms,"
                           " last_used_at_ms FROM tokens WHERE sha256 = ANY ($1::bytea[]) ORDER BY sha256"},
    [TOUCH] = {"auth_touch",
               "UPDATE tokens SET last_used_at_ms = $2::bigint WHERE sha256 IN"
               " (SELECT sha256 FROM tokens WHERE sha256 = ANY ($1::bytea[]) ORDER BY sha256 FOR UPDATE)"},
    [ADD] = {"auth_add", "INSERT INTO tokens (sha256, subject, tenant, permissions, created_at_ms)"
                         " VALUES ($1::bytea, $2::text, $3::text, $4::text[], $5::bigint) ON CONFLICT DO NOTHING"},
};

enum hd_status auth_store_find(struct hd_ctx *cx, const struct hd_bytes *hashes, size_t n, struct auth_token **ret,
                               size_t *ret_n) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &auth_sql[FIND], &rows, HD_BYTESS(hashes, n)));
    struct auth_token *tokens = HD_NEW_ARRAY(cx->arena, rows.n + 1, struct auth_token);
    for (size_t i = 0; i < rows.n; i++) {
        struct hd_bytes hash = hd_row_bytes(&rows, i, 0);
        memcpy(tokens[i].sha256, hash.data, sizeof(tokens[i].sha256)); // the length is a CHECK of the table
        tokens[i].subject = hd_row_text(&rows, i, 1);
        tokens[i].tenant = hd_row_text(&rows, i, 2);
        tokens[i].permissions = hd_row_text(&rows, i, 3);
        tokens[i].expires_at_ms = hd_row_int(&rows, i, 4);
        tokens[i].last_used_at_ms = hd_row_int(&rows, i, 5);
    }
    *ret = tokens;
    *ret_n = rows.n;
    return HD_OK;
}

enum hd_status auth_store_touch(struct hd_ctx *cx, const struct hd_bytes *hashes, size_t n) {
    return HD_RUN(cx, &auth_sql[TOUCH], NULL, HD_BYTESS(hashes, n), HD_I64(cx->now.wall_ms));
}

enum hd_status auth_store_add_admin(struct hd_ctx *cx, const uint8_t *sha256) {
    static const char *const everything[] = {"*"};
    return HD_RUN(cx, &auth_sql[ADD], NULL, HD_BYTES(sha256, AUTH_SHA256_BYTES), HD_TEXT("admin"), HD_TEXT("default"),
                  HD_TEXTS(everything, 1), HD_I64(cx->now.wall_ms));
}
