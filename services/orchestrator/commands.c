// Answers to commands by their idempotency key, kept for a day: the same command again is answered as it was, another one is refused.
#include "services/orchestrator/finish.h"

struct orc_command_key orc_command_key(struct hd_ctx *cx, const struct hd_item *item, const char *method) {
    struct orc_command_key key = {.tenant = item->principal->tenant, .key = item->idempotency_key};
    uint8_t *packed;
    size_t len;
    if (*key.key) {
        hd_pb_pack(cx->arena, item->msg, &packed, &len);
        key.fingerprint = hd_hash(packed, len, hd_hash(method, strlen(method), 0));
    }
    return key;
}

enum hd_status orc_command_known(struct hd_ctx *cx, struct orchestrator *orc, struct hd_item *item,
                                 const struct orc_command_key *key, bool *ret) {
    struct orc_command_key found = *key;
    ProtobufCMessage *msg = NULL;
    *ret = false;
    if (!*key->key)
        return HD_OK;
    HD_TRY(ORC_DO(cx, orc, command_find, &found));
    *ret = found.found;
    if (!found.found)
        return HD_OK;
    if (found.fingerprint != key->fingerprint) {
        hd_item_fail(item, HD_CONFLICT, "this idempotency key was used for another command");
        hd_err_field(&item->err, "idempotency_key");
        hd_err_hint(&item->err, "repeat the command as it was, or take a new key");
        return HD_OK;
    }
    HD_TRY(hd_pb_unpack(cx->arena, item->reply->descriptor, found.reply, found.reply_len, &cx->err, &msg));
    memcpy(item->reply, msg, item->reply->descriptor->sizeof_message);
    return HD_OK;
}

enum hd_status orc_command_keep(struct hd_ctx *cx, struct orchestrator *orc, const struct hd_item *item,
                                struct orc_command_key *key) {
    uint8_t *packed;
    if (!*key->key)
        return HD_OK;
    hd_pb_pack(cx->arena, item->reply, &packed, &key->reply_len);
    key->reply = packed;
    return ORC_DO(cx, orc, command_put, key);
}
