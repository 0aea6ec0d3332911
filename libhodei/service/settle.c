// What follows a transaction: publish, reply, acknowledge, park; or the answer to a failure.
#include "base/buf.h"
#include "service/runner.h"

static bool is_away(enum hd_status status) {
    return status == HD_UNAVAILABLE || status == HD_TIMEOUT;
}

enum verdict settle_verdict(const struct work *work, const struct hd_err *err) {
    if (err->status == HD_OK)
        return VERDICT_ACK;
    enum hd_delivery delivery = hd_status_info(err->status)->delivery;
    uint64_t most = is_away(err->status) ? DELIVERIES_MAX_AWAY : DELIVERIES_MAX;
    if (delivery == HD_DELIVER_ACK)
        return VERDICT_ACK;
    return delivery == HD_DELIVER_DEAD_LETTER || work->arrived.deliveries >= most ? VERDICT_DEAD : VERDICT_AGAIN;
}

static int64_t again_delay_ms(const struct work *work, enum hd_status status) {
    int64_t delay = hd_status_info(status)->retry_delay_ms;
    if (delay < 200)
        delay = 200;
    for (uint64_t i = 1; i < work->arrived.deliveries && delay < 10000; i++)
        delay *= 2;
    return delay < 10000 ? delay : 10000;
}

// --- replies ---------------------------------------------------------------------------------------------------------

static void send_reply(struct hd_service *service, const struct work *work, const struct hd_err *err,
                       const ProtobufCMessage *body) {
    struct hd_bus *bus = service->env.bus;
    Hodei__V1__RpcReply reply = HODEI__V1__RPC_REPLY__INIT;
    Hodei__V1__Problem problem = HODEI__V1__PROBLEM__INIT;
    struct hd_err text = *err; // mutable, as the generated structs want it
    uint8_t *data;
    size_t len;
    if (!work->arrived.reply || !*work->arrived.reply)
        return;
    if (err->status != HD_OK) {
        problem.text = text.text;
        problem.field = text.field;
        problem.hint = text.hint;
        problem.line = text.line;
        problem.column = text.column;
        problem.retry_after_s = text.retry_after_s;
        reply.status = (Hodei__V1__Status)err->status;
        reply.problem = &problem;
    } else {
        hd_pb_pack(&service->arena, body, &reply.body.data, &reply.body.len);
    }
    hd_pb_pack(&service->arena, &reply.base, &data, &len);
    bus->ops->send(bus, work->arrived.reply, data, len);
}

// The one place where an item's error is logged.
static void log_failure(struct hd_service *service, const struct work *work, const struct hd_err *err) {
    enum hd_log_level level = err->status == HD_INTERNAL ? HD_LOG_ERROR
                              : work->was == ROW_RPC     ? HD_LOG_DEBUG
                                                         : HD_LOG_WARN;
    const char *what = work->was == ROW_TIMER ? service->def->timers[work->row].name : work->arrived.subject;
    const char *trace = work->request ? work->request->trace : NULL;
    hd_metric_add(&service->metrics[RM_FAILED], 1);
    hd_log(level, &(struct hd_log_fields){.trace = trace && *trace ? trace : NULL}, "%s: %s: %s", what ? what : "",
           hd_status_info(err->status)->name, err->text);
}

static void finish(struct hd_service *service, struct work *work) {
    if (work->arrived.handle)
        service->env.bus->ops->done(service->env.bus, &work->arrived);
    work->settled = true;
}

// --- after a commit --------------------------------------------------------------------------------------------------

static void park(struct hd_service *service, struct work *work, const struct hd_item *item) {
    struct parked *parked = &service->parked[service->n_parked++];
    int64_t again = service->cx.now.mono_ms + PARKED_AGAIN_MS;
    *parked = (struct parked){
        .arrived = work->arrived,
        .kind = work->kind,
        .row = work->row,
        .wait_until_mono_ms = item->wait_until_mono_ms,
        .ran_mono_ms = service->cx.now.mono_ms,
        .again_mono_ms = again < item->wait_until_mono_ms ? again : item->wait_until_mono_ms,
    };
    work->settled = true;
}

static void settle_reply(struct hd_service *service, size_t i) {
    struct work *work = &service->works[i];
    struct hd_item *item = &service->items[i];
    if (work->was != ROW_RPC || item->parked || item->silent)
        return;
    send_reply(service, work, &item->err, item->reply);
}

static void settle_feed(struct hd_service *service, const struct work *work, const struct hd_err *err) {
    struct hd_bus *bus = service->env.bus;
    enum verdict verdict = settle_verdict(work, err);
    if (verdict == VERDICT_AGAIN) {
        bus->ops->nak(bus, &work->arrived, again_delay_ms(work, err->status));
        return;
    }
    if (verdict == VERDICT_DEAD)
        hd_metric_add(&service->metrics[RM_DEAD], 1);
    bus->ops->ack(bus, &work->arrived);
}

static void settle_item(struct hd_service *service, size_t i) {
    struct work *work = &service->works[i];
    struct hd_item *item = &service->items[i];
    if (item->parked && (work->kind == ROW_RPC || work->kind == ROW_FEED)) {
        park(service, work, item);
        return;
    }
    if (item->err.status != HD_OK && work->was != ROW_ANSWER)
        log_failure(service, work, &item->err);
    if (work->was == ROW_FEED)
        settle_feed(service, work, &item->err);
    finish(service, work);
}

void settle_said(struct hd_service *service) {
    struct hd_bus *bus = service->env.bus;
    outbox_direct(service);
    for (const struct hd_staged *staged = bus->staged; staged; staged = staged->next) {
        if (staged->say == HD_SAY_TELL)
            bus->ops->send(bus, staged->subject, staged->data, staged->len);
        else if (staged->say == HD_SAY_ASK)
            bus->ops->ask(bus, staged->subject, staged->data, staged->len, staged->answer_kind, staged->tag,
                          staged->timeout_ms);
    }
    hd_bus_unstage(bus);
}

void settle_committed(struct hd_service *service, size_t from, size_t n) {
    if (batch_crash(service, "committed"))
        return;
    for (size_t i = from; i < from + n; i++)
        service->committed |= !service->works[i].wait_until_mono_ms && !service->items[i].parked;
    outbox_committed(service);
    settle_said(service);
    if (batch_crash(service, "published"))
        return;
    for (size_t i = from; i < from + n; i++)
        settle_reply(service, i);
    if (batch_crash(service, "replied"))
        return;
    for (size_t i = from; i < from + n; i++)
        settle_item(service, i);
    if (service->def->after_commit) {
        service->def->after_commit(&service->cx, service->self);
        settle_said(service);
    }
}

// --- after a failure -------------------------------------------------------------------------------------------------

void settle_failed(struct hd_service *service, size_t from, size_t n, const struct hd_err *why) {
    for (size_t i = from; i < from + n; i++) {
        struct work *work = &service->works[i];
        // One that could not be read keeps its own error; its dead letter waits for the store.
        const struct hd_err *err = work->kind == ROW_BAD && work->was == ROW_RPC ? &work->why : why;
        // The batch's failure is logged once; only an item that failed alone has a line of its own.
        if (!is_away(err->status) || work->kind == ROW_BAD)
            log_failure(service, work, err);
        if (work->was == ROW_RPC)
            send_reply(service, work, err, NULL);
        else if (work->was == ROW_FEED && is_away(err->status))
            service->env.bus->ops->nak(service->env.bus, &work->arrived, again_delay_ms(work, err->status));
        else if (work->was == ROW_FEED)
            settle_feed(service, work, err);
        else if (work->was == ROW_TIMER &&
                 service->timer_due_mono_ms[work->row] > service->cx.now.mono_ms + TIMER_AGAIN_MS)
            service->timer_due_mono_ms[work->row] = service->cx.now.mono_ms + TIMER_AGAIN_MS;
        finish(service, work);
    }
}

// Only after a crash that the simulator asked for: nothing is answered, nothing acknowledged.
void settle_leftovers(struct hd_service *service) {
    for (size_t i = 0; i < service->n_works; i++)
        if (!service->works[i].settled)
            finish(service, &service->works[i]);
    service->n_works = 0;
}
