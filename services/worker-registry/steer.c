// What people do to a worker: cordon, drain, uncordon. Written down with who and why in the same transaction; the scheduler hears of
// it as a change of the fleet. A drained worker is one that was to be drained and holds nothing any more (heartbeat.c).
#include "services/worker-registry/registry.h"

#define REASON_BYTES 1000

static enum hd_status check(struct hd_item *item, const Hodei__V1__SteerWorkerRequest *request) {
    if (!hd_token_valid(request->name)) {
        hd_item_fail(item, HD_INVALID, "a worker's name is 1 to 64 of A-Z a-z 0-9 _ -");
        hd_err_field(&item->err, "name");
    } else if (strlen(request->reason) > REASON_BYTES) {
        hd_item_fail(item, HD_INVALID, "a reason has at most %d bytes", REASON_BYTES);
        hd_err_field(&item->err, "reason");
    }
    return item->err.status;
}

// Said again, nothing changes and nothing is written down: one that is drained stays so.
static bool is_so(const struct worker *worker, int32_t mode, const char *reason) {
    bool same = worker->cordon == mode || (mode == MODE(DRAINING) && worker->cordon == MODE(DRAINED));
    return same && (mode == MODE(OPEN) || strcmp(worker->cordon_reason, reason) == 0);
}

static enum hd_status steer_one(struct hd_ctx *cx, struct hd_item *item, struct workers *workers, const char *action,
                                int32_t mode) {
    const Hodei__V1__SteerWorkerRequest *request = (const Hodei__V1__SteerWorkerRequest *)item->msg;
    struct worker *worker = workers_find(workers, request->name);

    if (worker->state == REG_NONE) {
        hd_item_fail(item, HD_MISSING, "there is no worker \"%s\"", request->name);
        return HD_OK;
    }
    if (is_so(worker, mode, request->reason))
        return worker_full_message(cx, worker, (Hodei__V1__Worker *)item->reply);
    Hodei__V1__WorkerAction done = HODEI__V1__WORKER_ACTION__INIT;
    done.at_ms = cx->now.wall_ms;
    done.actor = item->principal->subject;
    done.action = (char *)(uintptr_t)action;
    done.reason = request->reason;
    worker->cordon = mode;
    worker->cordon_actor = item->principal->subject;
    worker->cordon_reason = request->reason;
    worker->cordon_at_ms = cx->now.wall_ms;
    worker->steered = worker->changed = true;
    HD_TRY(registry_store(cx)->add_action(cx, worker->name, &done));
    return worker_full_message(cx, worker, (Hodei__V1__Worker *)item->reply);
}

static enum hd_status steer(struct hd_ctx *cx, struct hd_item *items, size_t n, const char *action, int32_t mode) {
    const char **names = HD_NEW_ARRAY(cx->arena, n + 1, const char *);
    struct workers workers;
    size_t n_names = 0;

    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__SteerWorkerRequest *request = (const Hodei__V1__SteerWorkerRequest *)items[i].msg;
        if (check(&items[i], request) == HD_OK)
            names[n_names++] = request->name;
    }
    if (n_names == 0)
        return HD_OK;
    HD_TRY(registry_store(cx)->load(cx, names, n_names, &workers));
    for (size_t i = 0; i < n; i++)
        if (items[i].err.status == HD_OK)
            HD_TRY(steer_one(cx, &items[i], &workers, action, mode));
    return registry_save(cx, &workers, &(struct lost_list){0});
}

enum hd_status registry_cordon(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    return steer(cx, items, n, "cordon", MODE(CORDONED));
}

enum hd_status registry_drain(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    return steer(cx, items, n, "drain", MODE(DRAINING));
}

enum hd_status registry_uncordon(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    (void)self;
    return steer(cx, items, n, "uncordon", MODE(OPEN));
}
