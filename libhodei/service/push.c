#include "service/push.h"

// A question that was dropped with its transaction gets no answer; after the timeout and this long it is given up.
#define GRACE_MS 1000
// So many refused rows are passed at once to reach those behind them; beyond that one each time the timer runs.
#define REFUSED_AT_ONCE 16

void hd_push_init(struct hd_push *push, const struct hd_push_def *def, struct hd_service *service) {
    *push = (struct hd_push){.def = def, .service = service};
    hd_arena_init(&push->arena);
}

void hd_push_release(struct hd_push *push) {
    hd_arena_release(&push->arena);
}

static void remember(struct hd_push *push, const struct hd_push_keys *keys) {
    struct hd_arena *arena = &push->arena;

    hd_arena_reset(arena);
    push->asked = (struct hd_push_keys){.n = keys->n,
                                        .tenants = HD_NEW_ARRAY(arena, keys->n, const char *),
                                        .names = keys->names ? HD_NEW_ARRAY(arena, keys->n, const char *) : NULL,
                                        .versions = HD_NEW_ARRAY(arena, keys->n, int64_t)};
    for (size_t i = 0; i < keys->n; i++) {
        push->asked.tenants[i] = hd_arena_strdup(arena, keys->tenants[i]);
        if (keys->names)
            push->asked.names[i] = hd_arena_strdup(arena, keys->names[i]);
        push->asked.versions[i] = keys->versions[i];
    }
}

enum hd_status hd_push_due(struct hd_ctx *cx, struct hd_push *push) {
    const struct hd_push_def *def = push->def;
    const ProtobufCMessage *request = NULL;
    struct hd_push_keys keys = {0};

    if (push->given_up_mono_ms) {
        // When it is given up, an answer that waits in this turn must not be taken for that of the next question.
        if (cx->now.mono_ms >= push->given_up_mono_ms) {
            push->given_up_mono_ms = 0;
            hd_service_kick(push->service, def->timer);
        }
        return HD_OK;
    }
    HD_TRY(def->load(cx, push->skip, push->one_by_one ? 1 : def->max, &keys, &request));
    if (keys.n == 0) {
        push->one_by_one = false; // the next turn asks about all of them again
        push->skip = 0;
        return HD_OK;
    }
    hd_ask(cx, def->service, def->method, request, def->answer, def->timeout_ms);
    remember(push, &keys);
    push->given_up_mono_ms = cx->now.mono_ms + def->timeout_ms + GRACE_MS;
    return HD_OK;
}

// A refusal concerns a row; anything else all of them.
static void failed(struct hd_push *push, const struct hd_err *err) {
    const struct hd_push_keys *asked = &push->asked;

    hd_metric_add(push->def->failed, 1);
    if (err->status == HD_UNAVAILABLE || err->status == HD_TIMEOUT)
        return;
    push->skip += push->one_by_one;
    push->one_by_one = true;
    if (push->skip < REFUSED_AT_ONCE)
        hd_service_kick(push->service, push->def->timer);
    if (asked->n == 1)
        hd_warn("%s.%s refuses %s%s%s version %lld: %s", push->def->service, push->def->method, asked->tenants[0],
                asked->names ? "/" : "", asked->names ? asked->names[0] : "", (long long)asked->versions[0], err->text);
}

enum hd_status hd_push_answered(struct hd_ctx *cx, struct hd_push *push, const struct hd_item *items, size_t n) {
    const struct hd_item *item = &items[n - 1]; // one question, one answer

    if (!push->given_up_mono_ms)
        return HD_OK; // given up before; it is asked again
    if (item->msg) {
        HD_TRY(push->def->confirm(cx, &push->asked));
        hd_metric_add(push->def->confirmed, (int64_t)push->asked.n);
        hd_service_kick(push->service, push->def->timer); // there may be more
    } else {
        failed(push, &item->err);
    }
    // If the transaction fails the rows stay unconfirmed and are asked about again.
    push->given_up_mono_ms = 0;
    return HD_OK;
}
