#include "services/auth/auth.h"

#define TOKEN_COLUMNS                                                                                                  \
    "id::text, name, subject, array_to_string(permissions, ' '), created_by, created_at_ms,"                           \
    " coalesce(expires_at_ms, 0), coalesce(last_used_at_ms, 0), CASE WHEN revoked_at_ms IS NOT NULL THEN 'revoked'"    \
    " WHEN expires_at_ms <= $2::bigint THEN 'expired' ELSE 'active' END"

#define BINDING_COLUMNS "id::text, principal, role, created_by, created_at_ms, project, pipeline"

const struct hd_sql auth_sql[AUTH_SQL_COUNT] = {
    // A token of a user rests while he is disabled.
    [SQL_FIND] =
        {"auth_find",
         "WITH given AS (SELECT * FROM unnest($1::bytea[], $2::uuid[]) WITH ORDINALITY AS g (sha256, session, asked))"
         " SELECT g.asked, t.subject, t.tenant, array_to_string(t.permissions, ' '), t.scoped,"
         " coalesce(t.expires_at_ms, 0), coalesce(t.last_used_at_ms, 0), coalesce(t.revoked_at_ms, 0),"
         " (SELECT version FROM policy) FROM given g JOIN tokens t USING (sha256) WHERE NOT EXISTS (SELECT FROM users u"
         " WHERE u.disabled AND (t.subject = 'user:' || u.name AND t.tenant = u.tenant OR t.subject = 'user:' || u.name"
         " || '@' || u.tenant)) UNION ALL"
         " SELECT g.asked, 'user:' || s.user_name, s.tenant, '*', true, s.expires_at_ms, 0, 0,"
         " (SELECT version FROM policy) FROM given g JOIN sessions s ON s.id = g.session JOIN users u ON u.tenant ="
         " s.tenant AND u.name = s.user_name AND NOT u.disabled ORDER BY 1"},
    // A subject is one of its own tenant. In another one it is named with it: user:NAME@TENANT.
    [SQL_HOLD] =
        {"auth_hold",
         "WITH asked AS (SELECT a.asked, a.subject, a.home, a.wanted, CASE WHEN a.wanted = a.home THEN a.subject ELSE"
         " a.subject || '@' || a.home END AS named FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY"
         " AS a (subject, home, wanted, asked))"
         " SELECT coalesce(o.state, ''), coalesce(o.reason, ''), coalesce(n.state, ''), coalesce(n.reason, ''),"
         " (SELECT string_agg(h.role, ' ') FROM holdings h WHERE h.subject = a.named AND h.tenant = a.wanted),"
         " (SELECT string_agg(array_to_string(r.permissions, ' '), ' ') FROM holdings h JOIN roles r ON r.tenant ="
         " h.tenant AND r.name = h.role WHERE h.subject = a.named AND h.tenant = a.wanted),"
         " a.home = 'default' AND EXISTS (SELECT FROM holdings h WHERE h.subject = a.subject AND h.tenant = 'default'"
         " AND h.role = 'admin'), (SELECT string_agg(h.project || '/' || h.pipeline || '/' || h.role || '/' ||"
         " coalesce(array_to_string(r.permissions, ','), ''), ' ' ORDER BY h.project, h.pipeline) FROM part_holdings h"
         " LEFT JOIN roles r ON r.tenant = h.tenant AND r.name = h.role WHERE h.subject = a.named AND h.tenant ="
         " a.wanted) FROM asked a LEFT JOIN tenants o ON o.name = a.home"
         " LEFT JOIN tenants n ON n.name = a.wanted ORDER BY a.asked"},
    [SQL_TOUCH] = {"auth_touch",
                   "UPDATE tokens SET last_used_at_ms = $2::bigint WHERE sha256 IN"
                   " (SELECT sha256 FROM tokens WHERE sha256 = ANY ($1::bytea[]) ORDER BY sha256 FOR UPDATE)"},
    [SQL_ADD_ADMIN] =
        {"auth_add_admin",
         "INSERT INTO tokens (sha256, subject, tenant, permissions, created_at_ms, name) VALUES ($1::bytea, 'admin',"
         " 'default', '{*}', $2::bigint, 'the admin token of the settings') ON CONFLICT DO NOTHING"},
    [SQL_VERSION] = {"auth_version", "SELECT version FROM policy"},
    [SQL_LOCK] = {"auth_lock", "SELECT version FROM policy FOR UPDATE"},
    [SQL_AUDIT] = {"auth_audit",
                   "INSERT INTO audit (at_ms, tenant, actor, action, target, outcome, detail, count, trace) SELECT *"
                   " FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],"
                   " $8::bigint[], $9::text[])"},
    [SQL_REFUSED_SINCE] = {"auth_refused_since",
                           "SELECT count(*) FROM audit WHERE outcome = 'refused' AND at_ms >= $1::bigint"},
    [SQL_ROLES] = {"auth_roles", "SELECT name, description, array_to_string(permissions, ' ') FROM roles"
                                 " WHERE tenant = $1::text ORDER BY name"},
    [SQL_ROLE] = {"auth_role", "SELECT array_to_string(permissions, ' ') FROM roles"
                               " WHERE tenant = $1::text AND name = $2::text"},
    [SQL_ROLE_COUNT] = {"auth_role_count", "SELECT count(*) FROM roles WHERE tenant = $1::text AND name <> $2::text"},
    [SQL_PUT_ROLE] = {"auth_put_role", "INSERT INTO roles (tenant, name, description, permissions) VALUES ($1::text,"
                                       " $2::text, $3::text, $4::text[]) ON CONFLICT (tenant, name) DO UPDATE SET"
                                       " description = excluded.description, permissions = excluded.permissions"},
    [SQL_DELETE_ROLE] = {"auth_delete_role", "DELETE FROM roles WHERE tenant = $1::text AND name = $2::text"},
    [SQL_ROLE_USED] = {"auth_role_used",
                       "SELECT principal FROM bindings WHERE tenant = $1::text AND role = $2::text LIMIT 1"},
    [SQL_PUT_BINDING] =
        {"auth_put_binding",
         "WITH made AS (INSERT INTO bindings (id, tenant, principal, role, created_by, created_at_ms, project,"
         " pipeline) VALUES ($1::uuid, $2::text, $3::text, $4::text, $5::text, $6::bigint, $7::text, $8::text)"
         " ON CONFLICT DO NOTHING RETURNING *) SELECT " BINDING_COLUMNS ", true FROM made UNION ALL"
         " SELECT " BINDING_COLUMNS ", false FROM bindings WHERE tenant = $2::text AND principal = $3::text"
         " AND role = $4::text AND project = $7::text AND pipeline = $8::text"},
    [SQL_BINDING_COUNT] = {"auth_binding_count",
                           "SELECT count(*) FROM bindings WHERE tenant = $1::text AND principal = $2::text"},
    [SQL_BINDING] = {"auth_binding",
                     "SELECT " BINDING_COLUMNS " FROM bindings WHERE tenant = $1::text AND id = $2::uuid"},
    [SQL_DELETE_BINDING] = {"auth_delete_binding", "DELETE FROM bindings WHERE tenant = $1::text AND id = $2::uuid"},
    [SQL_ADMINS] = {"auth_admins", "SELECT count(*) FROM holdings WHERE tenant = $1::text AND role = 'admin'"
                                   " AND subject NOT LIKE 'group:%'"},
    [SQL_GROUP_ROLES] = {"auth_group_roles",
                         "SELECT role FROM bindings WHERE tenant = $1::text AND principal = 'group:' || $2::text"},
    [SQL_GROUP_ADD] = {"auth_group_add",
                       "INSERT INTO group_members (tenant, group_name, member, added_by, added_at_ms) VALUES"
                       " ($1::text, $2::text, $3::text, $4::text, $5::bigint) ON CONFLICT DO NOTHING"},
    [SQL_GROUP_REMOVE] = {"auth_group_remove", "DELETE FROM group_members WHERE tenant = $1::text AND"
                                               " group_name = $2::text AND member = $3::text"},
    [SQL_ACCOUNT] = {"auth_account", "SELECT name, description, created_by, created_at_ms FROM service_accounts"
                                     " WHERE tenant = $1::text AND name = $2::text"},
    [SQL_PUT_ACCOUNT] = {"auth_put_account",
                         "INSERT INTO service_accounts (tenant, name, description, created_by, created_at_ms) VALUES"
                         " ($1::text, $2::text, $3::text, $4::text, $5::bigint) ON CONFLICT (tenant, name) DO UPDATE"
                         " SET description = excluded.description RETURNING name, description, created_by,"
                         " created_at_ms"},
    [SQL_DELETE_ACCOUNT] =
        {"auth_delete_account",
         "WITH t AS (UPDATE tokens SET revoked_at_ms = $3::bigint WHERE tenant = $1::text AND subject ="
         " 'service-account:' || $2::text AND revoked_at_ms IS NULL),"
         " b AS (DELETE FROM bindings WHERE tenant = $1::text AND principal = 'service-account:' || $2::text),"
         " g AS (DELETE FROM group_members WHERE tenant = $1::text AND member = 'service-account:' || $2::text)"
         " DELETE FROM service_accounts WHERE tenant = $1::text AND name = $2::text"},
    [SQL_SUBJECT_ROLES] = {"auth_subject_roles",
                           "SELECT role FROM holdings WHERE tenant = $1::text AND subject = $2::text UNION"
                           " SELECT role FROM part_holdings WHERE tenant = $1::text AND subject = $2::text"},
    [SQL_ADD_TOKEN] =
        {"auth_add_token",
         "INSERT INTO tokens (sha256, subject, tenant, permissions, expires_at_ms, created_at_ms, id, name, scoped,"
         " created_by) SELECT $1::bytea, $3::text, $4::text, $5::text[], $6::bigint, $2::bigint, $7::uuid, $8::text,"
         " true, $9::text WHERE $10::boolean OR NOT EXISTS (SELECT FROM tokens WHERE tenant = $4::text AND subject ="
         " $3::text AND name = $8::text AND revoked_at_ms IS NULL AND (expires_at_ms IS NULL OR expires_at_ms >"
         " $2::bigint)) RETURNING " TOKEN_COLUMNS},
    [SQL_TOKEN] = {"auth_token", "SELECT " TOKEN_COLUMNS " FROM tokens WHERE tenant = $1::text AND id = $3::uuid"
                                 " AND subject <> 'admin'"},
    [SQL_END_TOKEN] = {"auth_end_token",
                       "UPDATE tokens SET revoked_at_ms = CASE WHEN $3::bigint <= $4::bigint THEN $4::bigint END,"
                       " expires_at_ms = least(expires_at_ms, $3::bigint) WHERE tenant = $1::text AND id = $2::uuid"},
    [SQL_TENANT] = {"auth_tenant", "SELECT name, state, reason, created_at_ms, coalesce(delete_at_ms, 0) FROM tenants"
                                   " WHERE name = $1::text"},
    [SQL_ADD_TENANT] = {"auth_add_tenant", "INSERT INTO tenants (name, state, created_at_ms) VALUES ($1::text,"
                                           " 'active', $2::bigint) ON CONFLICT DO NOTHING"},
    [SQL_SET_TENANT] = {"auth_set_tenant", "UPDATE tenants SET state = $2::text, reason = $3::text, delete_at_ms ="
                                           " nullif($4::bigint, 0) WHERE name = $1::text"},
    [SQL_PURGE] =
        {"auth_purge",
         "WITH due AS (UPDATE tenants SET state = 'deleted' WHERE state = 'deleting' AND delete_at_ms <= $1::bigint"
         " RETURNING name), t AS (DELETE FROM tokens WHERE tenant IN (SELECT name FROM due)),"
         " b AS (DELETE FROM bindings WHERE tenant IN (SELECT name FROM due)),"
         " g AS (DELETE FROM group_members WHERE tenant IN (SELECT name FROM due)),"
         " r AS (DELETE FROM roles WHERE tenant IN (SELECT name FROM due)),"
         " s AS (DELETE FROM service_accounts WHERE tenant IN (SELECT name FROM due)),"
         " u AS (DELETE FROM users WHERE tenant IN (SELECT name FROM due)),"
         " l AS (DELETE FROM login_addresses WHERE tenant IN (SELECT name FROM due)) SELECT name FROM due"},
    [SQL_LIST_BINDINGS] = {"auth_list_bindings",
                           "SELECT " BINDING_COLUMNS " FROM bindings"
                           " WHERE tenant = $1::text AND id::text > $3::text AND ($5::text = '' OR principal ="
                           " $5::text) AND $2::bigint > 0 ORDER BY id::text LIMIT $4::bigint"},
    [SQL_LIST_GROUPS] =
        {"auth_list_groups",
         "SELECT group_name || '/' || member AS key, group_name, member, added_by, added_at_ms FROM group_members WHERE"
         " tenant = $1::text AND (group_name || '/' || member) COLLATE \"C\" > $3::text AND ($5::text = '' OR"
         " group_name = $5::text) AND $2::bigint > 0 ORDER BY (group_name || '/' || member) COLLATE \"C\""
         " LIMIT $4::bigint"},
    [SQL_LIST_ACCOUNTS] = {"auth_list_accounts",
                           "SELECT name, description, created_by, created_at_ms FROM service_accounts WHERE tenant ="
                           " $1::text AND name COLLATE \"C\" > $3::text AND $5::text = '' AND $2::bigint > 0"
                           " ORDER BY name COLLATE \"C\" LIMIT $4::bigint"},
    [SQL_LIST_TOKENS] = {"auth_list_tokens",
                         "SELECT " TOKEN_COLUMNS " FROM tokens WHERE tenant = $1::text AND id::text > $3::text AND"
                         " ($5::text = '' OR subject = $5::text) AND subject <> 'admin' ORDER BY id::text"
                         " LIMIT $4::bigint"},
    [SQL_LIST_TENANTS] = {"auth_list_tenants",
                          "SELECT name, state, reason, created_at_ms, coalesce(delete_at_ms, 0) FROM tenants WHERE"
                          " name COLLATE \"C\" > $3::text AND $1::text <> '' AND $5::text = '' AND $2::bigint > 0"
                          " ORDER BY name COLLATE \"C\" LIMIT $4::bigint"},
    [SQL_LIST_AUDIT] =
        {"auth_list_audit",
         "SELECT id::text, at_ms, tenant, actor, action, target, outcome, detail, count, trace FROM audit WHERE tenant "
         "="
         " ANY ($1::text[]) AND id < $2::bigint AND at_ms >= $3::bigint AND at_ms < $4::bigint AND ($5::text = '' OR"
         " actor = $5::text) AND ($6::text = '' OR action = $6::text) AND starts_with(target, $7::text) AND ($8::text ="
         " '' OR outcome = $8::text) ORDER BY id DESC LIMIT $9::bigint"},
};

enum hd_status auth_store_find(struct hd_ctx *cx, const struct auth_asked *asked, struct auth_token **ret,
                               size_t *ret_n) {
    struct hd_rows rows;
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_FIND], &rows, HD_BYTESS(asked->hashes, asked->n),
                  HD_UUIDS(asked->sessions, asked->n)));
    struct auth_token *tokens = HD_NEW_ARRAY(cx->arena, rows.n + 1, struct auth_token);
    for (size_t i = 0; i < rows.n; i++)
        tokens[i] = (struct auth_token){
            .asked = hd_row_int(&rows, i, 0),
            .subject = hd_row_text(&rows, i, 1),
            .tenant = hd_row_text(&rows, i, 2),
            .permissions = hd_row_text(&rows, i, 3),
            .scoped = hd_row_bool(&rows, i, 4),
            .expires_at_ms = hd_row_int(&rows, i, 5),
            .last_used_at_ms = hd_row_int(&rows, i, 6),
            .revoked_at_ms = hd_row_int(&rows, i, 7),
            .policy_version = hd_row_int(&rows, i, 8),
        };
    *ret = tokens;
    *ret_n = rows.n;
    return HD_OK;
}

enum hd_status auth_store_hold(struct hd_ctx *cx, struct auth_standing *all, size_t n) {
    const char **subjects = HD_NEW_ARRAY(cx->arena, n, const char *),
               **homes = HD_NEW_ARRAY(cx->arena, n, const char *), **wanted = HD_NEW_ARRAY(cx->arena, n, const char *);
    struct hd_rows rows;
    for (size_t i = 0; i < n; i++) {
        subjects[i] = all[i].subject;
        homes[i] = all[i].home;
        wanted[i] = all[i].wanted;
    }
    if (n == 0)
        return HD_OK;
    HD_TRY(HD_RUN(cx, &auth_sql[SQL_HOLD], &rows, HD_TEXTS(subjects, n), HD_TEXTS(homes, n), HD_TEXTS(wanted, n)));
    for (size_t i = 0; i < rows.n && i < n; i++) {
        all[i].home_state = hd_row_text(&rows, i, 0);
        all[i].home_reason = hd_row_text(&rows, i, 1);
        all[i].state = hd_row_text(&rows, i, 2);
        all[i].reason = hd_row_text(&rows, i, 3);
        all[i].roles = hd_row_text(&rows, i, 4);
        all[i].custom = hd_row_text(&rows, i, 5);
        all[i].platform_admin = hd_row_bool(&rows, i, 6);
        all[i].parts = hd_row_text(&rows, i, 7);
    }
    return HD_OK;
}

enum hd_status auth_store_touch(struct hd_ctx *cx, const struct hd_bytes *hashes, size_t n) {
    return HD_RUN(cx, &auth_sql[SQL_TOUCH], NULL, HD_BYTESS(hashes, n), HD_I64(cx->now.wall_ms));
}

enum hd_status auth_store_add_admin(struct hd_ctx *cx, const uint8_t *sha256) {
    return HD_RUN(cx, &auth_sql[SQL_ADD_ADMIN], NULL, HD_BYTES(sha256, AUTH_SHA256_BYTES), HD_I64(cx->now.wall_ms));
}

enum hd_status auth_store_lock(struct hd_ctx *cx) {
    return hd_db_run(cx, &auth_sql[SQL_LOCK], NULL, 0, NULL);
}

char **auth_words(struct hd_arena *arena, const char *text, size_t *ret_n) {
    size_t n = 0, most = 1;
    for (const char *p = text; *p; p++)
        most += *p == ' ';
    char **list = HD_NEW_ARRAY(arena, most, char *);
    while (*text) {
        size_t len = strcspn(text, " ");
        if (len)
            list[n++] = hd_arena_strndup(arena, text, len);
        text += len + (text[len] == ' ');
    }
    *ret_n = n;
    return list;
}

ProtobufCMessage *auth_row(struct hd_ctx *cx, const struct hd_rows *rows, size_t row,
                           const ProtobufCMessageDescriptor *type) {
    ProtobufCMessage *msg = hd_pb_new(cx->arena, type);
    for (unsigned i = 0; i < type->n_fields && i < rows->columns; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i]; // by number
        void *member = (char *)msg + field->offset;
        if (field->label == PROTOBUF_C_LABEL_REPEATED)
            *(char ***)member = auth_words(cx->arena, hd_row_text(rows, row, i),
                                           (size_t *)(void *)((char *)msg + field->quantifier_offset));
        else if (field->type == PROTOBUF_C_TYPE_STRING)
            *(char **)member = hd_arena_strdup(cx->arena, hd_row_text(rows, row, i));
        else
            *(int64_t *)member = hd_row_int(rows, row, i);
    }
    return msg;
}
