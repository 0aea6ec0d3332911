// Lost sessions are told to the orchestrator until it has answered. One question at a time, so that its answer is known to
// stand for the rows in `asked`.
#include "hodei/v1/flow.pb-c.h"
#include "services/worker-registry/registry.h"

#define ASK_TIMEOUT_MS 5000
// A question that was dropped with its transaction is never answered; after that long another one is asked.
#define ASK_GIVEN_UP_MS (ASK_TIMEOUT_MS + 1000)

enum hd_status registry_tell_lost(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct registry *registry = self;
    int64_t *seqs = HD_NEW_ARRAY(cx->arena, REGISTRY_LOST_MAX, int64_t);
    Hodei__V1__SessionsLostRequest request = HODEI__V1__SESSIONS_LOST_REQUEST__INIT;
    struct lost_list lost;
    (void)items;
    (void)n;

    if (registry->asked_mono_ms && cx->now.mono_ms - registry->asked_mono_ms < ASK_GIVEN_UP_MS)
        return HD_OK;
    HD_TRY(store_untold(cx, REGISTRY_LOST_MAX, seqs, &lost));
    if (lost.n == 0)
        return HD_OK;
    request.sessions = HD_NEW_ARRAY(cx->arena, lost.n, Hodei__V1__LostSession *);
    for (size_t i = 0; i < lost.n; i++) {
        Hodei__V1__LostSession *session =
            (Hodei__V1__LostSession *)hd_pb_new(cx->arena, &hodei__v1__lost_session__descriptor);
        char text[HD_UUID_TEXT];
        hd_uuid_format(lost.sessions[i], text);
        session->worker = hd_arena_strdup(cx->arena, lost.workers[i]);
        session->session = hd_arena_strdup(cx->arena, text);
        request.sessions[request.n_sessions++] = session;
    }
    hd_ask(cx, "orchestrator", "SessionsLost", &request.base, REG_A_LOST, ASK_TIMEOUT_MS);
    memcpy(registry->asked, seqs, lost.n * sizeof(*seqs));
    registry->n_asked = lost.n;
    registry->asked_mono_ms = cx->now.mono_ms;
    return HD_OK;
}

enum hd_status registry_lost_told(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct registry *registry = self;
    bool told = false;

    for (size_t i = 0; i < n; i++) {
        if (items[i].msg)
            told = true;
        else
            hd_metric_add(&registry_metrics[REG_M_ASKS_FAILED], 1);
    }
    registry->asked_mono_ms = 0;
    if (!told)
        return HD_OK; // the timer asks again
    if (registry->n_asked == REGISTRY_LOST_MAX)
        hd_service_kick(registry->service, "tell_lost"); // there may be more
    return store_told(cx, registry->asked, registry->n_asked);
}
