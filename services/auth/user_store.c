#include "services/auth/auth.h"

#define USER                                                                                                           \
    "tenant, name, password_hash, password_salt, scrypt_log2_n, scrypt_r, scrypt_p, coalesce((SELECT string_agg(role," \
    " ' ' ORDER BY role) FROM holdings h WHERE h.tenant = users.tenant AND h.subject = 'user:' || users.name), ''),"   \
    " disabled, created_at_ms, password_at_ms"
#define SESSION                                                                                                        \
    "s.id, s.tenant, s.user_name, s.address, s.family_sha256, s.refresh_sha256, s.created_at_ms, s.refreshed_at_ms,"   \
    " s.expires_at_ms"

const struct hd_sql auth_user_sql[AUTH_USER_SQL_COUNT] = {
    [AUTH_USER_SQL_FIND] = {"auth_user_find", "SELECT " USER " FROM users WHERE tenant = $1::text AND name = $2::text"},
    [AUTH_USER_SQL_LIST] = {"auth_user_list", "SELECT " USER " FROM users WHERE tenant = $1::text AND name > $2::text"
                                              " ORDER BY name LIMIT $3::bigint"},
    [AUTH_USER_SQL_ADD] = {"auth_user_add",
                           "INSERT INTO users (tenant, name, password_hash, password_salt, scrypt_log2_n, scrypt_r,"
                           " scrypt_p, created_at_ms, password_at_ms) VALUES ($1::text, $2::text, $3::bytea,"
                           " $4::bytea, $5::integer, $6::integer, $7::integer, $8::bigint, $8::bigint)"
                           " ON CONFLICT DO NOTHING"},
    [AUTH_USER_SQL_SET_DISABLED] = {"auth_user_set_disabled", "UPDATE users SET disabled = $3::boolean"
                                                              " WHERE tenant = $1::text AND name = $2::text"},
    [AUTH_USER_SQL_SET_PASSWORD] = {"auth_user_set_password",
                                    "UPDATE users SET password_hash = $3::bytea, password_salt = $4::bytea,"
                                    " scrypt_log2_n = $5::integer, scrypt_r = $6::integer, scrypt_p = $7::integer,"
                                    " password_at_ms = $8::bigint WHERE tenant = $1::text AND name = $2::text"},
    // Whoever comes after under that name begins with nothing.
    [AUTH_USER_SQL_DELETE] =
        {"auth_user_delete",
         "WITH t AS (UPDATE tokens SET revoked_at_ms = $3::bigint WHERE revoked_at_ms IS NULL AND (tenant = $1::text "
         "AND"
         " subject = 'user:' || $2::text OR subject = 'user:' || $2::text || '@' || $1::text)),"
         " b AS (DELETE FROM bindings WHERE tenant = $1::text AND principal = 'user:' || $2::text OR"
         " principal = 'user:' || $2::text || '@' || $1::text),"
         " g AS (DELETE FROM group_members WHERE tenant = $1::text AND member = 'user:' || $2::text OR"
         " member = 'user:' || $2::text || '@' || $1::text)"
         " DELETE FROM users WHERE tenant = $1::text AND name = $2::text"},
    // Of all places at most 100 count: more say nothing more.
    [AUTH_USER_SQL_GUESSES] =
        {"auth_guesses",
         "SELECT coalesce(max(failures) FILTER (WHERE prefix = $3::text), 0), coalesce(max(failed_at_ms)"
         " FILTER (WHERE prefix = $3::text), 0), coalesce(max(good_at_ms) FILTER (WHERE prefix = $3::text), 0),"
         " coalesce(sum(failures) FILTER (WHERE failed_at_ms > $4::bigint), 0)::bigint FROM ((SELECT * FROM"
         " login_addresses WHERE tenant = $1::text AND name = $2::text AND prefix <> $3::text LIMIT 100) UNION ALL"
         " SELECT * FROM login_addresses WHERE tenant = $1::text AND name = $2::text AND prefix = $3::text) AS a"},
    [AUTH_USER_SQL_FAILED] =
        {"auth_login_failed",
         "INSERT INTO login_addresses AS a (tenant, name, prefix, failures, failed_at_ms) VALUES ($1::text, $2::text,"
         " $3::text, 1, $4::bigint) ON CONFLICT (tenant, name, prefix) DO UPDATE SET failures ="
         " CASE WHEN a.failed_at_ms > $5::bigint THEN least(a.failures + 1, 1000) ELSE 1 END, failed_at_ms = "
         "$4::bigint"},
    [AUTH_USER_SQL_GOOD] =
        {"auth_login_good",
         "INSERT INTO login_addresses (tenant, name, prefix, failures, failed_at_ms, good_at_ms) VALUES ($1::text,"
         " $2::text, $3::text, 0, $4::bigint, $4::bigint) ON CONFLICT (tenant, name, prefix) DO UPDATE"
         " SET failures = 0, good_at_ms = $4::bigint"},
    // Whoever changes the password ends what he sees; a login that he does not see waits here for him, and finds another password.
    [AUTH_SESSION_SQL_ADD] = {"auth_session_add",
                              "INSERT INTO sessions (id, tenant, user_name, family_sha256, refresh_sha256, address,"
                              " created_at_ms, refreshed_at_ms, expires_at_ms) SELECT $1::uuid, tenant, name,"
                              " $4::bytea, $5::bytea, $6::text, $7::bigint, $7::bigint, $8::bigint FROM users"
                              " WHERE tenant = $2::text AND name = $3::text AND password_at_ms = $9::bigint"
                              " AND NOT disabled FOR SHARE"},
    [AUTH_SESSION_SQL_TRIM] = {"auth_session_trim",
                               "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE tenant = $1::text AND"
                               " user_name = $2::text ORDER BY refreshed_at_ms DESC, id OFFSET $3::bigint)"},
    [AUTH_SESSION_SQL_LOCK] = {"auth_session_lock",
                               "SELECT " SESSION " FROM sessions s JOIN users u ON u.tenant = s.tenant AND u.name ="
                               " s.user_name WHERE s.id = $1::uuid AND NOT u.disabled FOR UPDATE OF s"},
    [AUTH_SESSION_SQL_REFRESH] = {"auth_session_refresh",
                                  "UPDATE sessions SET refresh_sha256 = $2::bytea, refreshed_at_ms = $3::bigint,"
                                  " expires_at_ms = $4::bigint WHERE id = $1::uuid"},
    [AUTH_SESSION_SQL_DELETE] = {"auth_session_delete", "DELETE FROM sessions WHERE id = $1::uuid"},
    [AUTH_SESSION_SQL_OF_USER] = {"auth_sessions_of_user",
                                  "SELECT " SESSION " FROM sessions s WHERE s.tenant = $1::text AND s.user_name ="
                                  " $2::text AND s.expires_at_ms > $3::bigint ORDER BY s.created_at_ms DESC, s.id"},
    // $3 NULL: all of them.
    [AUTH_SESSION_SQL_END_OF_USER] = {"auth_sessions_end",
                                      "DELETE FROM sessions WHERE tenant = $1::text AND user_name = $2::text"
                                      " AND ($3::uuid IS NULL OR id = $3::uuid)"},
    [AUTH_SESSION_SQL_SWEEP] = {"auth_session_sweep", "DELETE FROM sessions WHERE expires_at_ms <= $1::bigint"},
    [AUTH_ADDRESS_SQL_SWEEP] = {"auth_address_sweep", "DELETE FROM login_addresses WHERE failed_at_ms <= $1::bigint"
                                                      " AND (good_at_ms IS NULL OR good_at_ms <= $2::bigint)"},
};

static void copy_exactly(uint8_t *to, struct hd_bytes from, size_t len) {
    memcpy(to, from.data, len); // the length is a CHECK of the table
}

static void user_read(const struct hd_rows *rows, size_t i, struct auth_user *ret) {
    ret->tenant = hd_row_text(rows, i, 0);
    ret->name = hd_row_text(rows, i, 1);
    copy_exactly(ret->password.hash, hd_row_bytes(rows, i, 2), AUTH_PASSWORD_HASH_BYTES);
    copy_exactly(ret->password.salt, hd_row_bytes(rows, i, 3), AUTH_SALT_BYTES);
    ret->password.cost =
        (struct auth_scrypt){(int)hd_row_int(rows, i, 4), (int)hd_row_int(rows, i, 5), (int)hd_row_int(rows, i, 6)};
    ret->roles = hd_row_text(rows, i, 7);
    ret->disabled = hd_row_bool(rows, i, 8);
    ret->created_at_ms = hd_row_int(rows, i, 9);
    ret->password_at_ms = hd_row_int(rows, i, 10);
}

enum hd_status auth_user_find(struct hd_ctx *cx, const char *tenant, const char *name, struct auth_user **ret) {
    struct hd_rows rows;

    HD_TRY(HD_RUN(cx, &auth_user_sql[AUTH_USER_SQL_FIND], &rows, HD_TEXT(tenant), HD_TEXT(name)));
    *ret = rows.n ? HD_NEW(cx->arena, struct auth_user) : NULL;
    if (rows.n)
        user_read(&rows, 0, *ret);
    return HD_OK;
}

enum hd_status auth_user_list(struct hd_ctx *cx, const char *tenant, const char *after, int64_t limit,
                              struct auth_user **ret, size_t *ret_n) {
    struct hd_rows rows;

    HD_TRY(HD_RUN(cx, &auth_user_sql[AUTH_USER_SQL_LIST], &rows, HD_TEXT(tenant), HD_TEXT(after), HD_I64(limit)));
    *ret = HD_NEW_ARRAY(cx->arena, rows.n + 1, struct auth_user);
    for (size_t i = 0; i < rows.n; i++)
        user_read(&rows, i, &(*ret)[i]);
    *ret_n = rows.n;
    return HD_OK;
}

enum hd_status auth_user_set_password(struct hd_ctx *cx, struct auth_user *user, const struct auth_password *password,
                                      int64_t at_ms) {
    user->password = *password;
    user->password_at_ms = at_ms;
    return HD_RUN(cx, &auth_user_sql[AUTH_USER_SQL_SET_PASSWORD], NULL, HD_TEXT(user->tenant), HD_TEXT(user->name),
                  HD_BYTES(password->hash, sizeof(password->hash)), HD_BYTES(password->salt, sizeof(password->salt)),
                  HD_I32(password->cost.log2_n), HD_I32(password->cost.r), HD_I32(password->cost.p), HD_I64(at_ms));
}

enum hd_status auth_sessions_end(struct hd_ctx *cx, const char *tenant, const char *user) {
    return HD_RUN(cx, &auth_user_sql[AUTH_SESSION_SQL_END_OF_USER], NULL, HD_TEXT(tenant), HD_TEXT(user),
                  (struct hd_param){.type = HD_P_NULL});
}

enum hd_status auth_guesses_find(struct hd_ctx *cx, const char *tenant, const char *name, const char *prefix,
                                 struct auth_guesses *ret) {
    struct hd_rows rows;

    HD_TRY(HD_RUN(cx, &auth_user_sql[AUTH_USER_SQL_GUESSES], &rows, HD_TEXT(tenant), HD_TEXT(name), HD_TEXT(prefix),
                  HD_I64(cx->now.wall_ms - AUTH_FAILURES_FORGOTTEN_MS)));
    *ret = (struct auth_guesses){hd_row_int(&rows, 0, 0), hd_row_int(&rows, 0, 1), hd_row_int(&rows, 0, 2),
                                 hd_row_int(&rows, 0, 3)};
    return HD_OK;
}

static void session_read(const struct hd_rows *rows, size_t i, struct auth_session *ret) {
    ret->id = hd_row_uuid(rows, i, 0);
    ret->tenant = hd_row_text(rows, i, 1);
    ret->user = hd_row_text(rows, i, 2);
    ret->address = hd_row_text(rows, i, 3);
    copy_exactly(ret->family_sha256, hd_row_bytes(rows, i, 4), AUTH_SECRET_BYTES);
    copy_exactly(ret->refresh_sha256, hd_row_bytes(rows, i, 5), AUTH_SECRET_BYTES);
    ret->created_at_ms = hd_row_int(rows, i, 6);
    ret->refreshed_at_ms = hd_row_int(rows, i, 7);
    ret->expires_at_ms = hd_row_int(rows, i, 8);
}

enum hd_status auth_session_lock(struct hd_ctx *cx, struct hd_uuid id, struct auth_session **ret) {
    struct hd_rows rows;

    HD_TRY(HD_RUN(cx, &auth_user_sql[AUTH_SESSION_SQL_LOCK], &rows, HD_UUID(id)));
    *ret = rows.n ? HD_NEW(cx->arena, struct auth_session) : NULL;
    if (rows.n)
        session_read(&rows, 0, *ret);
    return HD_OK;
}

enum hd_status auth_sessions_of(struct hd_ctx *cx, const char *tenant, const char *user, struct auth_session **ret,
                                size_t *ret_n) {
    struct hd_rows rows;

    HD_TRY(HD_RUN(cx, &auth_user_sql[AUTH_SESSION_SQL_OF_USER], &rows, HD_TEXT(tenant), HD_TEXT(user),
                  HD_I64(cx->now.wall_ms)));
    *ret = HD_NEW_ARRAY(cx->arena, rows.n + 1, struct auth_session);
    for (size_t i = 0; i < rows.n; i++)
        session_read(&rows, i, &(*ret)[i]);
    *ret_n = rows.n;
    return HD_OK;
}
