// Lost sessions are told to the orchestrator until it has answered.
#include "hodei/v1/flow.pb-c.h"
#include "services/worker-registry/registry.h"

#define TOLD_AT_ONCE 500
#define ASK_TIMEOUT_MS 5000

static enum hd_status load(struct hd_ctx *cx, unsigned skip, unsigned limit, struct hd_push_keys *ret_keys,
                           const ProtobufCMessage **ret_request) {
    int64_t *seqs = HD_NEW_ARRAY(cx->arena, limit, int64_t);
    Hodei__V1__SessionsLostRequest *request =
        (Hodei__V1__SessionsLostRequest *)hd_pb_new(cx->arena, &hodei__v1__sessions_lost_request__descriptor);
    struct lost_list lost;

    HD_TRY(registry_store(cx)->untold(cx, skip, limit, seqs, &lost));
    request->sessions = HD_NEW_ARRAY(cx->arena, lost.n + 1, Hodei__V1__LostSession *);
    for (size_t i = 0; i < lost.n; i++) {
        Hodei__V1__LostSession *session =
            (Hodei__V1__LostSession *)hd_pb_new(cx->arena, &hodei__v1__lost_session__descriptor);
        char text[HD_UUID_TEXT];
        hd_uuid_format(lost.sessions[i], text);
        session->worker = hd_arena_strdup(cx->arena, lost.workers[i]);
        session->session = hd_arena_strdup(cx->arena, text);
        session->incarnation = lost.incarnations[i];
        request->sessions[request->n_sessions++] = session;
    }
    // The sequence number alone is the key: it is new at each loss.
    *ret_keys = (struct hd_push_keys){.n = lost.n, .tenants = lost.workers, .versions = seqs};
    *ret_request = &request->base;
    return HD_OK;
}

static enum hd_status confirm(struct hd_ctx *cx, const struct hd_push_keys *keys) {
    return registry_store(cx)->told(cx, keys->versions, keys->n);
}

const struct hd_push_def registry_push_lost = {
    .service = "orchestrator",
    .method = "SessionsLost",
    .answer = REG_A_LOST,
    .timer = "tell_lost",
    .timeout_ms = ASK_TIMEOUT_MS,
    .max = TOLD_AT_ONCE,
    .load = load,
    .confirm = confirm,
    .confirmed = &registry_metrics[REG_M_LOST_TOLD],
    .failed = &registry_metrics[REG_M_ASKS_FAILED],
};

enum hd_status registry_tell_lost(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)items;
    (void)n;
    return hd_push_due(cx, &((struct registry *)self)->push_lost);
}

enum hd_status registry_lost_told(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    return hd_push_answered(cx, &((struct registry *)self)->push_lost, items, n);
}
