// What the gateway's loop does with auth: asks for the policy version, and hands over what was refused.
#include "base/pb.h"
#include "hodei/v1/auth.pb-c.h"
#include "services/api-gateway/gateway.h"

#define VERSION_TIMEOUT_MS 1500
#define RECORD_TIMEOUT_MS 4000

enum hd_status policy_ask(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    Hodei__V1__GetPolicyVersionRequest request = HODEI__V1__GET_POLICY_VERSION_REQUEST__INIT;

    (void)self;
    (void)items;
    (void)n;
    hd_ask_with(cx, &(struct hd_asking){.service = "auth",
                                        .method = "GetPolicyVersion",
                                        .msg = &request.base,
                                        .answer_kind = ANSWER_POLICY,
                                        .timeout_ms = VERSION_TIMEOUT_MS,
                                        .tag = (uint64_t)hd_now_read().mono_ms});
    return HD_OK;
}

enum hd_status policy_answered(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    const struct gateway *gw = self;

    (void)cx;
    for (size_t i = 0; i < n; i++)
        if (items[i].msg)
            auth_cache_confirm(gw->cache, ((const Hodei__V1__GetPolicyVersionReply *)items[i].msg)->version,
                               (int64_t)items[i].tag);
    return HD_OK;
}

void refusal_note(struct exchange *ex) {
    const struct route *route = ex->match.route;
    struct refusal refusal = {.count = 1};

    if (ex->principal) {
        hd_strlcpy(refusal.tenant, ex->principal->tenant, sizeof(refusal.tenant));
        hd_strlcpy(refusal.actor, ex->principal->subject, sizeof(refusal.actor));
    }
    snprintf(refusal.action, sizeof(refusal.action), "%s %s", route->method, route->path);
    // A text that repeats what the request holds would make every one of them another.
    snprintf(refusal.detail, sizeof(refusal.detail), "%s", hd_status_info(ex->err.status)->title);
    hd_strlcpy(refusal.address, ex->info->remote_addr, sizeof(refusal.address));
    hd_strlcpy(refusal.trace, ex->trace, sizeof(refusal.trace));
    refusals_add(ex->gw->refusals, &refusal);
}

static Hodei__V1__AuditEntry *entry_of(struct hd_arena *arena, const struct refusal *refusal) {
    Hodei__V1__AuditEntry *entry = (Hodei__V1__AuditEntry *)hd_pb_new(arena, &hodei__v1__audit_entry__descriptor);

    entry->tenant = hd_arena_strdup(arena, refusal->tenant);
    entry->actor = hd_arena_strdup(arena, refusal->actor);
    entry->action = hd_arena_strdup(arena, refusal->action);
    entry->detail = hd_arena_printf(arena, "%s; the last from %s", refusal->detail, refusal->address);
    entry->trace = hd_arena_strdup(arena, refusal->trace);
    entry->count = refusal->count;
    return entry;
}

enum hd_status refusals_send(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    Hodei__V1__RecordRefusalsRequest request = HODEI__V1__RECORD_REFUSALS_REQUEST__INIT;
    struct gateway *gw = self;

    (void)items;
    (void)n;
    if (gw->n_sent) // the answer is still awaited
        return HD_OK;
    gw->n_sent = refusals_take(gw->refusals, gw->sent);
    if (gw->n_sent == 0)
        return HD_OK;
    request.refusals = HD_NEW_ARRAY(cx->arena, gw->n_sent, Hodei__V1__AuditEntry *);
    for (request.n_refusals = 0; request.n_refusals < gw->n_sent; request.n_refusals++)
        request.refusals[request.n_refusals] = entry_of(cx->arena, &gw->sent[request.n_refusals]);
    hd_ask(cx, "auth", "RecordRefusals", &request.base, ANSWER_RECORDED, RECORD_TIMEOUT_MS);
    return HD_OK;
}

enum hd_status refusals_answered(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct gateway *gw = self;

    (void)cx;
    // Without an answer it may have been written; rather twice in the trail than not at all.
    for (size_t i = 0; !items[n - 1].msg && i < gw->n_sent; i++)
        refusals_add(gw->refusals, &gw->sent[i]);
    gw->n_sent = 0;
    return HD_OK;
}
