// What a tenant uses: those who enforce the limits count it, and are asked when somebody wants to see it.
#include "adapter/bus.h"
#include "base/map.h"
#include "base/names.h"
#include "services/quota/quota.h"

#define ASK_TIMEOUT_MS 1000

static const char *const holders[QUOTA_HOLDERS] = {
    [QUOTA_ORCHESTRATOR] = "orchestrator", [QUOTA_PIPELINES] = "pipelines", [QUOTA_LOGS] = "observability"};

static uint64_t tag_of(const char *tenant, enum quota_holder holder) {
    return hd_hash(tenant, strlen(tenant), (uint64_t)holder + 1);
}

static void keep(struct quota *self, uint64_t tag, int64_t mono_ms, const Hodei__V1__GetUsageReply *reply) {
    struct quota_usage *to = &self->usage[self->next_usage++ % QUOTA_USAGE_KEPT];
    free(HD_STEAL(to->data));
    *to = (struct quota_usage){.tag = tag, .at_mono_ms = mono_ms};
    if (!reply || !reply->usage || strlen(reply->tenant) >= sizeof(to->tenant))
        return;
    hd_strlcpy(to->tenant, reply->tenant, sizeof(to->tenant));
    to->len = protobuf_c_message_get_packed_size(&reply->usage->base);
    to->data = hd_calloc(1, to->len + 1);
    protobuf_c_message_pack(&reply->usage->base, to->data);
    to->known = true;
}

// A failed answer is kept too: who waits for it is answered without.
enum hd_status quota_usage_answered(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    for (size_t i = 0; i < n; i++)
        keep(self, items[i].tag, cx->now.mono_ms, (const Hodei__V1__GetUsageReply *)items[i].msg);
    return HD_OK;
}

// An answer that came after the request did: who looks sees what he has just done.
static const struct quota_usage *find(const struct quota *self, uint64_t tag, const struct hd_item *item) {
    for (size_t i = 0; i < QUOTA_USAGE_KEPT && item->wait_until_mono_ms; i++)
        if (self->usage[i].tag == tag && self->usage[i].at_mono_ms >= item->wait_until_mono_ms - ASK_TIMEOUT_MS)
            return &self->usage[i];
    return NULL;
}

static void ask(struct hd_ctx *cx, const char *tenant, enum quota_holder holder) {
    Hodei__V1__GetUsageRequest request = HODEI__V1__GET_USAGE_REQUEST__INIT;
    request.tenant = (char *)(uintptr_t)tenant;
    hd_ask_with(cx, &(struct hd_asking){.service = holders[holder],
                                        .method = "GetUsage",
                                        .msg = &request.base,
                                        .answer_kind = QUOTA_A_USAGE,
                                        .tag = tag_of(tenant, holder),
                                        .timeout_ms = ASK_TIMEOUT_MS});
}

static Hodei__V1__QuotaUsage *unpack(struct hd_ctx *cx, const struct quota_usage *kept, const char *tenant) {
    ProtobufCMessage *msg = NULL;
    if (!kept || !kept->known || !hd_streq(kept->tenant, tenant) ||
        hd_pb_unpack(cx->arena, &hodei__v1__quota_usage__descriptor, kept->data, kept->len, NULL, &msg) != HD_OK)
        return NULL;
    return (Hodei__V1__QuotaUsage *)msg;
}

static void add_names(struct hd_ctx *cx, char **more, size_t n_more, char ***names, size_t *n) {
    char **all = HD_NEW_ARRAY(cx->arena, *n + n_more, char *);
    for (size_t i = 0; i < *n + n_more; i++)
        all[i] = i < *n ? (*names)[i] : more[i - *n];
    *names = all;
    *n += n_more;
}

bool quota_usage_fill(struct hd_ctx *cx, struct quota *self, struct hd_item *item) {
    const char *tenant = quota_owner(cx->arena, item);
    const struct quota_usage *kept[QUOTA_HOLDERS];
    bool all = true;
    if (((const Hodei__V1__GetQuotaRequest *)item->msg)->limits_only)
        return false;
    for (int i = 0; i < QUOTA_HOLDERS; i++) {
        kept[i] = find(self, tag_of(tenant, (enum quota_holder)i), item);
        all = all && kept[i];
        if (!item->wait_until_mono_ms)
            ask(cx, tenant, (enum quota_holder)i);
    }
    if (!all && hd_item_park(cx, item, ASK_TIMEOUT_MS))
        return true;
    Hodei__V1__QuotaUsage *usage = unpack(cx, kept[QUOTA_ORCHESTRATOR], tenant);
    for (int i = QUOTA_ORCHESTRATOR + 1; usage && i < QUOTA_HOLDERS; i++) {
        const Hodei__V1__QuotaUsage *more = unpack(cx, kept[i], tenant);
        if (!more)
            continue;
        usage->pipelines += more->pipelines;
        usage->log_bytes_day += more->log_bytes_day;
        add_names(cx, more->near, more->n_near, &usage->near, &usage->n_near);
        add_names(cx, more->reached, more->n_reached, &usage->reached, &usage->n_reached);
    }
    ((Hodei__V1__Quota *)item->reply)->usage = usage;
    return false;
}

void quota_usage_release(struct quota *self) {
    for (size_t i = 0; i < QUOTA_USAGE_KEPT; i++)
        free(self->usage[i].data);
}
