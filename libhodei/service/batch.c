// One transaction around the handlers of a batch.
//
// A conflict of transactions is tried again at once. A batch that fails for its content is run again item by item, so that a
// poisoned one hurts only itself. When the store is away, all of it is answered UNAVAILABLE or asked for again later.
#include "base/buf.h"
#include "service/runner.h"

enum phase { PHASE_BEGIN, PHASE_HANDLERS, PHASE_COMMIT };

bool batch_crash(struct hd_service *service, const char *point) {
    if (!service->crashed && service->env.crash_at)
        service->crashed = service->env.crash_at(service->env.arg, point);
    return service->crashed;
}

// --- the steps of a transaction --------------------------------------------------------------------------------------

static hd_handler *handler_of(const struct hd_service_def *def, const struct work *work) {
    switch (work->kind) {
    case ROW_RPC:
        return def->rpcs[work->row].handle;
    case ROW_FEED:
        return def->feeds[work->row].handle;
    case ROW_ANSWER:
        return def->answers[work->row].handle;
    case ROW_HINT:
        return def->hints[work->row].handle;
    case ROW_TIMER:
        return def->timers[work->row].handle;
    default:
        return NULL;
    }
}

static enum hd_status call_handlers(struct hd_service *service, size_t from, size_t n) {
    for (size_t i = from; i < from + n; i++)
        take_item(service, i);
    for (size_t i = from, next; i < from + n; i = next) {
        const struct work *work = &service->works[i];
        for (next = i + 1;
             next < from + n && service->works[next].kind == work->kind && service->works[next].row == work->row;)
            next++;
        hd_handler *handle = handler_of(service->def, work);
        if (!handle) // the bad ones stand last
            break;
        service->cx.log =
            (struct hd_log_fields){.trace = next == i + 1 && *service->items[i].trace ? service->items[i].trace : NULL};
        hd_err_clear(&service->cx.err);
        enum hd_status status = handle(&service->cx, service->self, &service->items[i], next - i);
        service->cx.log = (struct hd_log_fields){0};
        if (status != HD_OK) {
            if (service->cx.err.status == HD_OK)
                hd_fail(&service->cx, status, "%s", hd_status_info(status)->title);
            return status;
        }
    }
    return HD_OK;
}

static enum hd_status write_dead_letters(struct hd_service *service, size_t from, size_t n) {
    for (size_t i = from; i < from + n; i++) {
        const struct work *work = &service->works[i];
        const struct hd_err *why = &service->items[i].err;
        if (work->was != ROW_FEED || why->status == HD_OK || settle_verdict(work, why) != VERDICT_DEAD)
            continue;
        if (service->env.tx)
            HD_TRY(service->env.tx->dead_letter(&service->cx, service->env.store, work->arrived.subject,
                                                work->arrived.data, work->arrived.len, why));
    }
    return HD_OK;
}

static enum hd_status run_inside(struct hd_service *service, size_t from, size_t n) {
    HD_TRY(call_handlers(service, from, n));
    HD_TRY(write_dead_letters(service, from, n));
    return HD_OK;
}

// begin → inside → outbox → commit. Without a store only `inside`.
static enum hd_status transact(struct hd_service *service, size_t from, size_t n,
                               enum hd_status (*alone)(struct hd_service *), enum phase *ret_phase) {
    const struct hd_tx_ops *tx = service->env.tx;
    struct hd_ctx *cx = &service->cx;
    *ret_phase = PHASE_BEGIN;
    hd_err_clear(&cx->err);
    if (tx)
        HD_TRY(tx->begin(cx, service->env.store));
    if (batch_crash(service, "begun"))
        return HD_UNAVAILABLE;
    *ret_phase = PHASE_HANDLERS;
    HD_TRY(alone ? alone(service) : run_inside(service, from, n));
    if (batch_crash(service, "handled"))
        return HD_UNAVAILABLE;
    if (!tx)
        return HD_OK;
    HD_TRY(outbox_write(service));
    *ret_phase = PHASE_COMMIT;
    HD_TRY(tx->commit(cx, service->env.store));
    hd_metric_add(&service->metrics[RM_COMMITS], 1);
    return HD_OK;
}

static void undo(struct hd_service *service) {
    if (service->env.tx)
        service->env.tx->rollback(&service->cx, service->env.store);
    outbox_forget(service);
    hd_bus_unstage(service->env.bus);
}

static bool retryable(const struct hd_service *service, enum hd_status status) {
    if (status != HD_CONFLICT || !service->env.tx)
        return false;
    // A twin has no SQLSTATE: there a conflict of a whole call is one of transactions.
    return service->env.db ? hd_db_retryable(service->env.db) : false;
}

static enum hd_status transact_retrying(struct hd_service *service, size_t from, size_t n,
                                        enum hd_status (*alone)(struct hd_service *), enum phase *ret_phase) {
    for (unsigned tries = 0;; tries++) {
        enum hd_status status = transact(service, from, n, alone, ret_phase);
        if (status == HD_OK || service->crashed)
            return status;
        bool again = retryable(service, status) && tries < CONFLICT_RETRIES;
        undo(service);
        if (!again)
            return status;
        hd_metric_add(&service->metrics[RM_RETRIES], 1);
    }
}

// --- batches ---------------------------------------------------------------------------------------------------------

// True when trying the items alone cannot help: the store is away, or the outcome is not known.
static bool is_away(const struct hd_service *service, enum hd_status status, enum phase phase) {
    if (phase == PHASE_BEGIN)
        return true;
    if (phase == PHASE_COMMIT && (status == HD_TIMEOUT || status == HD_UNAVAILABLE))
        return true;
    return service->env.db && !hd_db_connected(service->env.db);
}

static void log_away(struct hd_service *service, const struct hd_err *why) {
    if (service->cx.now.mono_ms < service->away_logged_mono_ms)
        return;
    service->away_logged_mono_ms = service->cx.now.mono_ms + 5000; // one line a while, not one a batch
    hd_warn("a batch failed and is asked for again: %s", why->text);
}

// What callers get when the store is away says so, and not what the store said.
static void fail_away(struct hd_service *service, size_t from, size_t n, enum hd_status status) {
    log_away(service, &service->cx.err);
    struct hd_err why = {0};
    if (status == HD_TIMEOUT)
        hd_err_set(&why, HD_TIMEOUT, "the outcome is not known, the storage of %s did not answer", service->def->name);
    else
        hd_err_set(&why, HD_UNAVAILABLE, "the storage of %s is away", service->def->name);
    hd_err_hint(&why, "try again in a moment");
    settle_failed(service, from, n, &why);
}

static enum hd_status write_letter_alone(struct hd_service *service) {
    return write_dead_letters(service, 0, service->n_works);
}

// The item's own error. A dead letter needs a transaction of its own, since the item's was rolled back.
static void fail_single(struct hd_service *service, size_t i) {
    struct work *work = &service->works[i];
    struct hd_err why = service->items[i].err.status != HD_OK ? service->items[i].err : service->cx.err;
    if (work->was == ROW_FEED && service->env.tx && settle_verdict(work, &why) == VERDICT_DEAD) {
        for (size_t k = 0; k < service->n_works; k++)
            hd_err_clear(&service->items[k].err);
        service->items[i].err = why;
        if (batch_alone(service, write_letter_alone) != HD_OK) {
            if (service->crashed)
                return;
            struct hd_err away = {.status = HD_UNAVAILABLE};
            settle_failed(service, i, 1, &away);
            return;
        }
    }
    settle_failed(service, i, 1, &why);
}

static bool run_part(struct hd_service *service, size_t from, size_t n);

static bool run_singly(struct hd_service *service, size_t from, size_t n) {
    for (size_t i = 0; i < n && !service->crashed; i++) {
        if (run_part(service, from + i, 1))
            continue;
        // The store went away meanwhile: the rest would wait for the same.
        if (i + 1 < n && !service->crashed)
            fail_away(service, from + i + 1, n - i - 1, HD_UNAVAILABLE);
        return false;
    }
    return !service->crashed;
}

// False when the store is away.
static bool run_part(struct hd_service *service, size_t from, size_t n) {
    enum phase phase;
    enum hd_status status = transact_retrying(service, from, n, NULL, &phase);
    if (service->crashed)
        return false;
    if (status == HD_OK) {
        settle_committed(service, from, n);
        return !service->crashed;
    }
    if (is_away(service, status, phase)) {
        fail_away(service, from, n, status);
        return false;
    }
    if (n > 1)
        return run_singly(service, from, n);
    fail_single(service, from);
    return status != HD_TIMEOUT && status != HD_UNAVAILABLE;
}

void batch_run(struct hd_service *service, size_t from, size_t n) {
    if (service->env.tx || n <= 1) {
        if (n)
            run_part(service, from, n);
        return;
    }
    // Without a transaction nothing binds the rows together, and nothing could undo what another row's handler did.
    for (size_t i = from, next; i < from + n && !service->crashed; i = next) {
        const struct work *work = &service->works[i];
        for (next = i + 1;
             next < from + n && service->works[next].kind == work->kind && service->works[next].row == work->row;)
            next++;
        run_part(service, i, next - i);
    }
}

enum hd_status batch_alone(struct hd_service *service, enum hd_status (*inside)(struct hd_service *service)) {
    enum phase phase;
    HD_TRY(transact_retrying(service, 0, 0, inside, &phase));
    outbox_committed(service);
    settle_said(service);
    return HD_OK;
}
