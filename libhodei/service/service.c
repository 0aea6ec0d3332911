// The turn, the timers, and what handlers may call.
#include "service/service.h"

#include <assert.h>
#include <sys/epoll.h>

#include "base/buf.h"
#include "base/map.h"
#include "service/runner.h"
#include "service/service_impl.h"

#define LAST_TURNS 100 // for what was in the queue when it left

// The library's table: each service has its own copy.
static const struct hd_metric metric_rows[RM_COUNT] = {
    [RM_TURNS] = {"hodei_runner_turns_total", NULL, "Turns of the loop that did something", HD_COUNTER},
    [RM_COMMITS] = {"hodei_runner_commits_total", NULL, "Transactions", HD_COUNTER},
    [RM_RETRIES] = {"hodei_runner_retries_total", NULL, "Transactions run again after a conflict", HD_COUNTER},
    [RM_ITEMS_RPC] = {"hodei_runner_items_total", "kind=\"rpc\"", "Items taken", HD_COUNTER},
    [RM_ITEMS_FEED] = {"hodei_runner_items_total", "kind=\"feed\"", "Items taken", HD_COUNTER},
    [RM_ITEMS_OTHER] = {"hodei_runner_items_total", "kind=\"other\"", "Items taken", HD_COUNTER},
    [RM_FAILED] = {"hodei_runner_items_failed_total", NULL, "Items that failed for their content", HD_COUNTER},
    [RM_DEAD] = {"hodei_runner_dead_letters_total", NULL, "Stream messages given up", HD_COUNTER},
    [RM_PUBLISHED] = {"hodei_runner_published_total", NULL, "Messages that are in their streams", HD_COUNTER},
    [RM_PUBLISH_FAILED] = {"hodei_runner_publish_failed_total", NULL, "Publications to try again", HD_COUNTER},
    [RM_OUTBOX] = {"hodei_runner_outbox_rows", NULL, "Outbox rows on their way", HD_GAUGE},
    [RM_PARKED] = {"hodei_runner_parked_items", NULL, "Requests that wait", HD_GAUGE},
};

// --- life ------------------------------------------------------------------------------------------------------------

struct hd_service *service_make(const struct hd_service_def *def, const struct hd_service_env *env) {
    struct hd_service *service = hd_calloc(1, sizeof(*service));
    service->def = def;
    service->env = *env;
    service->epoll_fd = -1;
    hd_arena_init(&service->arena);
    service->cx =
        (struct hd_ctx){.arena = &service->arena, .db = env->db, .store = env->store, .bus = env->bus, .rng = env->rng};
    service->timer_due_mono_ms = hd_calloc(def->n_timers, sizeof(*service->timer_due_mono_ms));
    service->arrived = hd_calloc(TURN_MAX, sizeof(*service->arrived));
    service->works = hd_calloc(TURN_MAX + PARKED_MAX + def->n_timers, sizeof(*service->works));
    service->outbox.direct_id = hd_rng_next(env->rng);
    memcpy(service->metrics, metric_rows, sizeof(metric_rows));
    return service;
}

struct hd_service *hd_service_new(const struct hd_service_def *def, const struct hd_service_env *env, void *self) {
    struct hd_service *service = service_make(def, env);
    service->self = self;
    service_open(service);
    return service;
}

void hd_service_free(struct hd_service *service) {
    if (!service)
        return;
    for (size_t i = 0; i < service->n_parked; i++)
        service->env.bus->ops->done(service->env.bus, &service->parked[i].arrived);
    outbox_release(service);
    hd_arena_release(&service->arena);
    free(service->timer_due_mono_ms);
    free(service->arrived);
    free(service->works);
    free(service->watchers);
    free(service);
}

static void log_open(const char *what, const char *name, enum hd_status status, const struct hd_err *err) {
    if (status != HD_OK && status != HD_UNAVAILABLE) // a server that is away is tried again by the bus
        hd_error("%s %s: %s", what, name, err->text);
}

void service_open(struct hd_service *service) {
    const struct hd_service_def *def = service->def;
    struct hd_bus *bus = service->env.bus;
    struct hd_err err = {0};
    log_open("streams", "", bus->ops->ensure_streams(bus, &err), &err);
    for (size_t i = 0; i < def->n_feeds; i++) {
        const struct hd_feed *feed = &def->feeds[i];
        if (feed->stream)
            log_open("feed", feed->consumer,
                     hd_service_feed_open(service, (int)i, feed->stream, feed->consumer, feed->filter, true, &err),
                     &err);
    }
    for (size_t i = 0; i < def->n_hints; i++)
        log_open("subject", def->hints[i].subject,
                 bus->ops->listen(bus, def->hints[i].subject, def->hints[i].queue, (int)i, &err), &err);
    for (size_t i = 0; i < def->n_rpcs; i++) {
        const struct hd_rpc *rpc = &def->rpcs[i];
        log_open(
            "request", rpc->method,
            (rpc->every_replica ? bus->ops->serve_every : bus->ops->serve)(bus, def->name, rpc->method, (int)i, &err),
            &err);
    }
}

// --- the turn --------------------------------------------------------------------------------------------------------

static void start_turn(struct hd_service *service, struct hd_now now) {
    service->crashed = service->committed = false;
    hd_arena_reset(&service->arena);
    hd_bus_unstage(service->env.bus);
    service->cx.now = now;
    service->cx.deadline_mono_ms = now.mono_ms + TURN_DEADLINE_MS;
    hd_err_clear(&service->cx.err);
    service->n_works = 0;
    service->items = NULL;
}

// What has changed may be what they wait for.
static void wake_parked(struct hd_service *service) {
    int64_t now = service->cx.now.mono_ms;
    int64_t pause = PARKED_PAUSE_MS + (int64_t)service->n_parked / 2;
    for (size_t i = 0; i < service->n_parked; i++) {
        struct parked *parked = &service->parked[i];
        int64_t soonest = parked->ran_mono_ms + pause;
        int64_t again = soonest > now ? soonest : now;
        if (again < parked->again_mono_ms)
            parked->again_mono_ms = again;
    }
}

bool hd_service_turn(struct hd_service *service, struct hd_now now) {
    start_turn(service, now);
    bool did = take_arrivals(service);
    take_parked(service);
    take_timers(service);
    take_sort(service);
    did |= service->n_works > 0;
    batch_run(service, 0, service->n_works);
    if (service->committed && !service->crashed)
        wake_parked(service);
    if (!service->crashed)
        did |= outbox_tend(service);
    settle_leftovers(service);
    hd_bus_unstage(service->env.bus);
    service->env.bus->ops->flush(service->env.bus);
    hd_metric_add(&service->metrics[RM_TURNS], did);
    hd_metric_set(&service->metrics[RM_OUTBOX], (int64_t)service->outbox.n_rows);
    hd_metric_set(&service->metrics[RM_PARKED], (int64_t)service->n_parked);
    return did;
}

int64_t service_due_mono_ms(const struct hd_service *service) {
    int64_t due = outbox_due_mono_ms(service);
    for (size_t i = 0; i < service->def->n_timers; i++)
        if (service->timer_due_mono_ms[i] < due)
            due = service->timer_due_mono_ms[i];
    for (size_t i = 0; i < service->n_parked; i++)
        if (service->parked[i].again_mono_ms < due)
            due = service->parked[i].again_mono_ms;
    return due;
}

static enum hd_status stopping_inside(struct hd_service *service) {
    service->def->stopping(&service->cx, service->self);
    return HD_OK;
}

void service_drain(struct hd_service *service, struct hd_now now) {
    service->stopping = true;
    service->env.bus->ops->leave(service->env.bus);
    for (size_t i = 0; i < service->n_parked; i++)
        service->parked[i].wait_until_mono_ms = service->parked[i].again_mono_ms = now.mono_ms;
    for (int i = 0; i < LAST_TURNS && hd_service_turn(service, now); i++)
        ;
    if (!service->def->stopping)
        return;
    start_turn(service, now);
    if (batch_alone(service, stopping_inside) != HD_OK) { // the store is away; the bus may be there
        hd_warn("stopping: %s", service->cx.err.text);
        service->def->stopping(&service->cx, service->self);
        settle_said(service);
    }
    service->env.bus->ops->flush(service->env.bus);
}

// --- for handlers and init -------------------------------------------------------------------------------------------

enum hd_status hd_item_fail(struct hd_item *item, enum hd_status status, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    hd_err_setv(&item->err, status, fmt, ap);
    va_end(ap);
    return status;
}

bool hd_item_park(struct hd_ctx *cx, struct hd_item *item, int64_t wait_ms) {
    if (item->no_parking)
        return false;
    if (!item->wait_until_mono_ms)
        item->wait_until_mono_ms = cx->now.mono_ms + wait_ms;
    if (cx->now.mono_ms >= item->wait_until_mono_ms)
        return false;
    item->parked = true;
    return true;
}

const struct hd_settings *hd_service_settings(const struct hd_service *service) {
    return service->settings;
}

struct hd_bus *hd_service_bus(struct hd_service *service) {
    return service->env.bus;
}

void hd_service_kick(struct hd_service *service, const char *timer) {
    for (size_t i = 0; i < service->def->n_timers; i++) {
        if (hd_streq(service->def->timers[i].name, timer)) {
            service->timer_due_mono_ms[i] = 0;
            return;
        }
    }
    assert(!"no such timer");
}

enum hd_status hd_service_feed_open(struct hd_service *service, int feed, const char *stream, const char *consumer,
                                    const char *filter, bool make, struct hd_err *err) {
    unsigned window = service->def->feeds[feed].window;
    return service->env.bus->ops->feed_open(service->env.bus, stream, consumer, filter, make, window ? window : 1024,
                                            feed, err);
}

void hd_service_feed_close(struct hd_service *service, const char *consumer) {
    service->env.bus->ops->feed_close(service->env.bus, consumer);
}

void hd_service_stop(struct hd_service *service) {
    service->stopping = true;
}

// --- file descriptors ------------------------------------------------------------------------------------------------

static struct watcher *watcher_of(struct hd_service *service, int fd) {
    for (size_t i = 0; i < service->n_watchers; i++)
        if (service->watchers[i].fd == fd)
            return &service->watchers[i];
    return NULL;
}

void hd_service_watch_fd(struct hd_service *service, int fd, uint32_t events,
                         void (*ready)(struct hd_ctx *cx, void *self, int fd, uint32_t events)) {
    struct watcher *watcher = watcher_of(service, fd);
    struct epoll_event event = {.events = events, .data.u64 = loop_key(LOOP_WATCH, fd)};
    if (!events) {
        if (!watcher)
            return;
        *watcher = service->watchers[--service->n_watchers];
        if (service->epoll_fd >= 0) // it may be closed already
            (void)epoll_ctl(service->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        return;
    }
    if (!watcher) {
        service->watchers = realloc(service->watchers, (service->n_watchers + 1) * sizeof(*service->watchers));
        if (!service->watchers)
            abort();
        watcher = &service->watchers[service->n_watchers++];
        watcher->fd = fd;
    }
    watcher->ready = ready;
    if (service->epoll_fd >= 0 && epoll_ctl(service->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        (void)epoll_ctl(service->epoll_fd, EPOLL_CTL_MOD, fd, &event);
}

void service_fd_ready(struct hd_service *service, int fd, uint32_t events, struct hd_now now) {
    const struct watcher *watcher = watcher_of(service, fd);
    if (!watcher) // taken away by one that was ready before it
        return;
    start_turn(service, now);
    watcher->ready(&service->cx, service->self, fd, events);
    settle_said(service);
    service->env.bus->ops->flush(service->env.bus);
}
