// Answers to commands by their idempotency key, kept for a day: the same command again is answered as it was, another one is refused.
#include "base/map.h"
#include "services/pipelines/pipelines.h"

#define KEPT_MS (24 * 3600 * 1000)

// Of what is asked. The method is told apart by the type of the message.
static uint64_t fingerprint(struct hd_ctx *cx, const struct hd_item *item) {
    const char *type = item->msg->descriptor->name;
    uint8_t *packed;
    size_t len;
    hd_pb_pack(cx->arena, item->msg, &packed, &len);
    return hd_hash(packed, len, hd_hash(type, strlen(type), 0));
}

// An answer may tell more than everybody may see: who sees parts of the tenant gets his own answers alone.
static struct pip_command command_of(struct hd_ctx *cx, const struct hd_item *item) {
    const Hodei__V1__Principal *who = item->principal;
    const char *key = item->idempotency_key;

    if (*key && who->narrowed)
        key = hd_arena_printf(cx->arena, "%s %s", who->subject, key);
    return (struct pip_command){.tenant = who->tenant, .key = key};
}

enum hd_status pip_command_known(struct hd_ctx *cx, struct hd_item *item, bool *ret) {
    struct pip_command kept = command_of(cx, item);
    ProtobufCMessage *msg;
    *ret = false;
    if (!*kept.key)
        return HD_OK;
    HD_TRY(pip_store_command(cx, &kept));
    *ret = kept.found;
    if (!kept.found)
        return HD_OK;
    if (kept.fingerprint != fingerprint(cx, item)) {
        hd_item_fail(item, HD_CONFLICT, "this idempotency key was used for another command");
        hd_err_field(&item->err, "idempotency_key");
        hd_err_hint(&item->err, "repeat the command as it was, or take a new key");
        return HD_OK;
    }
    HD_TRY(hd_pb_unpack(cx->arena, item->reply->descriptor, kept.reply.data, kept.reply.len, &cx->err, &msg));
    memcpy(item->reply, msg, item->reply->descriptor->sizeof_message);
    return HD_OK;
}

enum hd_status pip_command_keep(struct hd_ctx *cx, const struct hd_item *item, const ProtobufCMessage *reply) {
    struct pip_command keep = command_of(cx, item);
    uint8_t *packed;
    if (!*keep.key)
        return HD_OK;
    keep.fingerprint = fingerprint(cx, item);
    hd_pb_pack(cx->arena, reply, &packed, &keep.reply.len);
    keep.reply.data = packed;
    return pip_store_keep_command(cx, &keep);
}

enum hd_status pip_commands_prune(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self, (void)items, (void)n;
    return pip_store_prune_commands(cx, cx->now.wall_ms - KEPT_MS);
}
