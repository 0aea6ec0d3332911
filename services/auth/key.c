#include "services/auth/key.h"

#include <openssl/crypto.h>

#include "hodei/v1/auth.pb-c.h"
#include "services/auth/auth.h"

const struct hd_sql auth_key_sql[AUTH_KEY_SQL_COUNT] = {
    [AUTH_KEY_SQL_LIST] = {"auth_key_list", "SELECT kid, public_key, private_key, sealed, created_at_ms, signs_from_ms"
                                            " FROM signing_keys ORDER BY signs_from_ms, kid"},
    [AUTH_KEY_SQL_ADD] =
        {"auth_key_add", "INSERT INTO signing_keys (kid, public_key, private_key, sealed, created_at_ms, signs_from_ms)"
                         " VALUES ($1::text, $2::bytea, $3::bytea, $4::boolean, $5::bigint, $6::bigint)"},
    [AUTH_KEY_SQL_REMOVE] = {"auth_key_remove", "DELETE FROM signing_keys WHERE kid = ANY ($1::text[])"},
    // One replica at a time makes keys.
    [AUTH_KEY_SQL_LOCK] = {"auth_key_lock", "SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0))"},
};

struct keys {
    size_t n;
    struct auth_key *list;
    struct auth_key_times *times; // beside them
};

enum hd_status auth_keyring_init(const struct hd_settings *settings, struct hd_err *err, struct auth_keyring *ret) {
    const char *text = hd_settings_text(settings, "key-encryption-key");
    struct auth_keyring ring = {.has_seal = *text != '\0', .rotation_ms = hd_settings_int(settings, "key-rotation")};
    size_t len = 0;

    if (ring.has_seal &&
        (hd_base64url_decode(hd_str(text), ring.seal, sizeof(ring.seal), &len) != HD_OK || len != sizeof(ring.seal))) {
        hd_err_set(err, HD_INVALID, "key-encryption-key is not 32 bytes in base64url (43 characters)");
        hd_err_hint(err, "make one: openssl rand 32 | basenc --base64url | tr -d =");
        return HD_INVALID;
    }
    *ret = ring;
    return HD_OK;
}

static enum hd_status load(struct hd_ctx *cx, struct keys *ret) {
    struct hd_rows rows;

    HD_TRY(hd_db_run(cx, &auth_key_sql[AUTH_KEY_SQL_LIST], NULL, 0, &rows));
    struct keys keys = {rows.n, HD_NEW_ARRAY(cx->arena, rows.n + 1, struct auth_key),
                        HD_NEW_ARRAY(cx->arena, rows.n + 1, struct auth_key_times)};
    for (size_t i = 0; i < rows.n; i++) {
        struct hd_bytes public_key = hd_row_bytes(&rows, i, 1);
        keys.list[i].kid = hd_row_text(&rows, i, 0);
        memcpy(keys.list[i].public_key, public_key.data, HD_ED25519_KEY_BYTES); // the length is a CHECK of the table
        keys.list[i].private_key = hd_row_bytes(&rows, i, 2);
        keys.list[i].sealed = hd_row_bool(&rows, i, 3);
        keys.times[i] = (struct auth_key_times){hd_row_int(&rows, i, 4), hd_row_int(&rows, i, 5)};
    }
    *ret = keys;
    return HD_OK;
}

static enum hd_status lock_and_load(struct hd_ctx *cx, struct keys *ret) {
    struct hd_rows rows;

    HD_TRY(HD_RUN(cx, &auth_key_sql[AUTH_KEY_SQL_LOCK], &rows, HD_TEXT("hodei.auth.signing_keys")));
    return load(cx, ret);
}

static enum hd_status add(struct hd_ctx *cx, const struct auth_keyring *ring, int64_t signs_from_ms) {
    uint8_t secret[HD_ED25519_KEY_BYTES], public_key[HD_ED25519_KEY_BYTES], sealed[AUTH_SEALED_BYTES];
    char kid[HD_JWT_KID_CHARS + 1];

    hd_random_bytes(secret, sizeof(secret));
    bool made = hd_ed25519_public(secret, public_key);
    hd_ed25519_kid(public_key, kid);
    struct hd_bytes stored = {secret, sizeof(secret)};
    if (made && ring->has_seal) {
        made = auth_seal(ring->seal, kid, secret, sealed);
        stored = (struct hd_bytes){sealed, sizeof(sealed)};
    }
    enum hd_status status = made ? HD_RUN(cx, &auth_key_sql[AUTH_KEY_SQL_ADD], NULL, HD_TEXT(kid),
                                          HD_BYTES(public_key, sizeof(public_key)), HD_BYTES(stored.data, stored.len),
                                          HD_BOOL(ring->has_seal), HD_I64(cx->now.wall_ms), HD_I64(signs_from_ms))
                                 : hd_fail(cx, HD_INTERNAL, "a key could not be made");
    OPENSSL_cleanse(secret, sizeof(secret));
    return status;
}

// The first key signs at once: nobody has an older one.
static enum hd_status first(struct hd_ctx *cx, const struct auth_keyring *ring, struct keys *keys) {
    if (auth_key_signer(keys->times, keys->n, cx->now.wall_ms) >= 0)
        return HD_OK;
    HD_TRY(lock_and_load(cx, keys));
    if (auth_key_signer(keys->times, keys->n, cx->now.wall_ms) >= 0)
        return HD_OK;
    HD_TRY(add(cx, ring, cx->now.wall_ms));
    return load(cx, keys);
}

static enum hd_status open_key(struct hd_ctx *cx, const struct auth_keyring *ring, const struct auth_key *key,
                               uint8_t ret[HD_ED25519_KEY_BYTES]) {
    if (!key->sealed && key->private_key.len == HD_ED25519_KEY_BYTES) {
        memcpy(ret, key->private_key.data, HD_ED25519_KEY_BYTES);
        return HD_OK;
    }
    if (ring->has_seal && auth_unseal(ring->seal, key->kid, key->private_key, ret))
        return HD_OK;
    hd_fail(cx, HD_INTERNAL, "the signing key %s cannot be opened: key-encryption-key is not the one that sealed it",
            key->kid);
    return HD_INTERNAL;
}

enum hd_status auth_key_now(struct hd_ctx *cx, const struct auth_keyring *ring, const char **ret_kid,
                            uint8_t ret_secret[HD_ED25519_KEY_BYTES]) {
    struct keys keys;

    HD_TRY(load(cx, &keys));
    HD_TRY(first(cx, ring, &keys));
    int signer = auth_key_signer(keys.times, keys.n, cx->now.wall_ms);
    if (signer < 0)
        return hd_fail(cx, HD_UNAVAILABLE, "no key signs yet");
    HD_TRY(open_key(cx, ring, &keys.list[signer], ret_secret));
    *ret_kid = keys.list[signer].kid;
    return HD_OK;
}

// --- requests --------------------------------------------------------------------------------------------------------

static Hodei__V1__SigningKey **keys_message(struct hd_ctx *cx, const struct keys *keys) {
    Hodei__V1__SigningKey **list = HD_NEW_ARRAY(cx->arena, keys->n + 1, Hodei__V1__SigningKey *);
    int signer = auth_key_signer(keys->times, keys->n, cx->now.wall_ms);

    for (size_t i = 0; i < keys->n; i++) {
        list[i] = (Hodei__V1__SigningKey *)hd_pb_new(cx->arena, &hodei__v1__signing_key__descriptor);
        list[i]->kid = hd_arena_strdup(cx->arena, keys->list[i].kid);
        list[i]->public_key = (ProtobufCBinaryData){HD_ED25519_KEY_BYTES, keys->list[i].public_key};
        list[i]->signs_from_ms = keys->times[i].signs_from_ms;
        list[i]->created_at_ms = keys->times[i].created_ms;
        list[i]->signs = (int)i == signer;
    }
    return list;
}

static char *jwks_text(struct hd_ctx *cx, const struct keys *keys) {
    HD_AUTO_BUF struct hd_buf out = {0};

    hd_buf_adds(&out, "{\"keys\":[");
    for (size_t i = 0; i < keys->n; i++) {
        hd_buf_addf(&out,
                    "%s{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"EdDSA\",\"use\":\"sig\",\"kid\":\"%s\",\"x\":\"",
                    i ? "," : "", keys->list[i].kid);
        hd_base64url_add(&out, keys->list[i].public_key, HD_ED25519_KEY_BYTES);
        hd_buf_adds(&out, "\"}");
    }
    hd_buf_adds(&out, "]}");
    return hd_arena_strdup(cx->arena, out.data);
}

enum hd_status auth_get_jwks(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    const struct auth *auth = self;
    struct keys keys;

    HD_TRY(load(cx, &keys));
    HD_TRY(first(cx, &auth->ring, &keys));
    Hodei__V1__SigningKey **list = keys_message(cx, &keys);
    char *jwks = jwks_text(cx, &keys);
    for (size_t i = 0; i < n; i++) {
        Hodei__V1__GetJwksReply *reply = (Hodei__V1__GetJwksReply *)items[i].reply;
        reply->jwks = jwks;
        reply->keys = list;
        reply->n_keys = keys.n;
    }
    return HD_OK;
}

enum hd_status auth_list_signing_keys(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct keys keys;

    (void)self;
    HD_TRY(load(cx, &keys));
    for (size_t i = 0; i < n; i++) {
        Hodei__V1__ListSigningKeysReply *reply = (Hodei__V1__ListSigningKeysReply *)items[i].reply;
        reply->keys = keys_message(cx, &keys);
        reply->n_keys = keys.n;
    }
    return HD_OK;
}

static enum hd_status rotate(struct hd_ctx *cx, const struct auth_keyring *ring, struct hd_item *item) {
    struct keys keys;

    HD_TRY(lock_and_load(cx, &keys));
    if (keys.n && keys.times[keys.n - 1].signs_from_ms > cx->now.wall_ms) {
        hd_item_fail(item, HD_PRECONDITION, "the key %.8s… was made a moment ago and does not sign yet",
                     keys.list[keys.n - 1].kid);
        hd_err_hint(&item->err, "two minutes after it was made it signs; then make another");
        return HD_OK;
    }
    if (keys.n >= AUTH_KEYS_MAX) {
        hd_item_fail(item, HD_LIMITED, "%d keys are known already", AUTH_KEYS_MAX);
        hd_err_hint(&item->err, "the oldest goes when its last token is over, within %d minutes",
                    AUTH_KEY_LINGER_MS / 60000);
        return HD_OK;
    }
    HD_TRY(add(cx, ring, keys.n ? cx->now.wall_ms + AUTH_KEY_LEAD_MS : cx->now.wall_ms));
    HD_TRY(load(cx, &keys));
    Hodei__V1__ListSigningKeysReply *reply = (Hodei__V1__ListSigningKeysReply *)item->reply;
    reply->keys = keys_message(cx, &keys);
    reply->n_keys = keys.n;
    return HD_OK;
}

enum hd_status auth_rotate_signing_key(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    const struct auth *auth = self;

    for (size_t i = 0; i < n; i++)
        HD_TRY(rotate(cx, &auth->ring, &items[i]));
    for (size_t i = 0; i < n; i++)
        HD_TRY(auth_audit(cx, &items[i], "RotateSigningKey", "", NULL));
    return HD_OK;
}

enum hd_status auth_tend_keys(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    const struct auth *auth = self;
    struct keys keys;

    (void)items;
    (void)n;
    HD_TRY(lock_and_load(cx, &keys));
    HD_TRY(first(cx, &auth->ring, &keys));
    size_t over = auth_keys_over(keys.times, keys.n, cx->now.wall_ms);
    const char **kids = HD_NEW_ARRAY(cx->arena, over + 1, const char *);
    for (size_t i = 0; i < over; i++)
        kids[i] = keys.list[i].kid;
    if (over)
        HD_TRY(HD_RUN(cx, &auth_key_sql[AUTH_KEY_SQL_REMOVE], NULL, HD_TEXTS(kids, over)));
    if (auth_key_due(keys.times, keys.n, auth->ring.rotation_ms, cx->now.wall_ms))
        return add(cx, &auth->ring, cx->now.wall_ms + AUTH_KEY_LEAD_MS);
    return HD_OK;
}
