// The service runner: one loop a process, one table a service.
//
// Each turn drains what has arrived (requests, stream messages, answers, due timers) up to a bound, opens one transaction, runs
// the handlers grouped by table row, writes what they said as one outbox row, commits, then publishes, replies and
// acknowledges. A batch that fails for its content is run again item by item; one that fails for a lost connection is
// requeued whole; serialization failures are retried. State in memory must change only after the commit: use
// `after_commit`, or keep it a cache of what never changes.
//
// Options, signals (SIGTERM: stop taking, finish the turn, leave), /livez, /readyz, /metrics, reconnection: all here.
#ifndef HD_SERVICE_SERVICE_H
#define HD_SERVICE_SERVICE_H

#include "adapter/bus.h"
#include "adapter/db.h"
#include "base/metrics.h"
#include "base/pb.h"
#include "base/settings.h"
#include "hodei/v1/common.pb-c.h"

// One message for a handler. All memory is the batch's arena; `msg` is never changed by a handler, since it may be run again.
struct hd_item {
    const ProtobufCMessage *msg;           // of the row's type; for a failed answer NULL; for a timer NULL
    ProtobufCMessage *reply;               // of a request: empty, to be filled; replace its fields, not the pointer
    const Hodei__V1__Principal *principal; // of a request; never NULL there (empty between services)
    const char *idempotency_key;           // "" where there is none
    const char *subject;
    const char *client; // address of who called the API; "" where nobody did
    const char *trace;
    uint64_t tag;               // of an answer: that of its hd_ask_with
    int64_t deadline_mono_ms;   // of a request
    int64_t wait_until_mono_ms; // set by the first hd_item_park; 0 before
    struct hd_err err;          // err.status not HD_OK: this item failed, the others go on; of a failed answer: why
    bool silent;                // of a request that every replica hears: another one answers
    bool parked;
    bool no_parking; // set by the runner: too many are parked
};

// Handles n items (n >= 1) of one row. HD_OK with some items failed by hd_item_fail is the usual way to refuse; anything else
// fails the whole call and rolls back. A handler that has written for an item must not fail that item afterwards by
// hd_item_fail; it returns the error instead, and the runner goes item by item.
typedef enum hd_status hd_handler(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n);

enum hd_status hd_item_fail(struct hd_item *item, enum hd_status status, const char *fmt, ...) HD_PRINTF(3, 4);
// Answer later: the handler is run again for the item after later commits of this process and at least every 250 ms, until it
// no longer parks. The first call fixes the end of the wait, at most wait_ms from now; when it is over, hd_item_park
// returns false and the handler answers with what it has. At most 256 parked items; above that it returns false at once.
bool hd_item_park(struct hd_ctx *cx, struct hd_item *item, int64_t wait_ms);

// Lists come in pages, by the key of the last item of the page before. Both are false where they have failed the item.
#define HD_PAGE 100 // where nobody says how many
#define HD_PAGE_MAX 1000
bool hd_item_page(struct hd_item *item, int64_t asked, unsigned *ret); // asked: 0 or 1..HD_PAGE_MAX
bool hd_item_page_token_wrong(struct hd_item *item);

struct hd_rpc {
    const char *method;
    const ProtobufCMessageDescriptor *request, *reply;
    hd_handler *handle;
    bool narrow; // it keeps to a principal's parts of the tenant; those whose rights are narrowed are refused elsewhere
    bool every_replica; // all of them hear it, and those that cannot answer set item->silent; else one of them does
};
struct hd_feed {
    const char *stream; // NULL: opened at run time by hd_service_feed_open
    const char *consumer;
    const char *filter;
    const ProtobufCMessageDescriptor *message;
    hd_handler *handle;
    unsigned window; // 0: 1024
};
struct hd_answer { // to hd_ask; the index is the answer_kind
    const char *name;
    const ProtobufCMessageDescriptor *message;
    hd_handler *handle;
};
struct hd_hint { // a core subscription; best effort
    const char *subject;
    const char *queue; // NULL: every replica hears it
    const ProtobufCMessageDescriptor *message;
    hd_handler *handle;
};
struct hd_timer {
    const char *name;
    int64_t every_ms;   // also run once at the start
    hd_handler *handle; // items == one item with msg NULL
};

struct hd_service;
// A transaction, with two implementations: PostgreSQL, and the twin of the simulator.
struct hd_tx_ops {
    enum hd_status (*begin)(struct hd_ctx *cx, void *store);
    // Adds the outbox row; the id is part of the message ids.
    enum hd_status (*outbox_add)(struct hd_ctx *cx, void *store, const uint8_t *data, size_t len, int64_t *ret_id);
    enum hd_status (*outbox_done)(struct hd_ctx *cx, void *store, const int64_t *ids, size_t n);
    // Rows that have waited since before `before_ms` (wall): a crash was between commit and publish.
    enum hd_status (*outbox_stale)(struct hd_ctx *cx, void *store, int64_t before_ms, struct hd_rows *ret); // id, data
    enum hd_status (*dead_letter)(struct hd_ctx *cx, void *store, const char *subject, const uint8_t *data, size_t len,
                                  const struct hd_err *why);
    enum hd_status (*commit)(struct hd_ctx *cx, void *store);
    void (*rollback)(struct hd_ctx *cx, void *store);
};
extern const struct hd_tx_ops hd_tx_pg; // its store is unused: it works on cx->db

struct hd_service_def {
    const char *name;  // "orchestrator": also the queue group and the schema
    const char *about; // one line for --help
    const struct hd_setting *settings;
    size_t n_settings;
    const struct hd_rpc *rpcs;
    size_t n_rpcs;
    const struct hd_feed *feeds;
    size_t n_feeds;
    const struct hd_answer *answers;
    size_t n_answers;
    const struct hd_hint *hints;
    size_t n_hints;
    const struct hd_timer *timers;
    size_t n_timers;
    struct hd_metric *metrics;
    size_t n_metrics;
    const struct hd_sql *sql; // NULL: the service owns nothing
    size_t n_sql;
    const struct hd_sql_table *more_sql; // of a service whose statements stand in several files; at most 6
    size_t n_more_sql;
    const struct hd_migration *migrations;
    size_t n_migrations;
    // Makes the service's state; runs before anything is taken. `service` stays valid.
    enum hd_status (*init)(struct hd_service *service, const struct hd_settings *settings, void **ret_self,
                           struct hd_err *err);
    void (*release)(void *self);
    // Runs on the loop after each commit (or turn, without a store); NULL: nothing.
    void (*after_commit)(struct hd_ctx *cx, void *self);
    // Runs on the loop before leaving, with the bus still there (release a lease, answer what waits); NULL: nothing.
    void (*stopping)(struct hd_ctx *cx, void *self);
    // Asked to end: for how long it goes on, said to be not ready, so that who sends it work hears of it; ms. NULL: 0.
    int64_t (*leaving)(void *self);
};

// Everything from argv to the exit code. Also understands the settings of every service: --nats, --nats-user, --nats-password(-file),
// --postgres, --listen (host:port of /livez, /readyz, /metrics; port 0 takes a free one and logs it), --log-level, --config.
int hd_service_main(const struct hd_service_def *def, int argc, char **argv);

// For handlers and init.
const struct hd_settings *hd_service_settings(const struct hd_service *service);
struct hd_bus *hd_service_bus(struct hd_service *service);
void hd_service_kick(struct hd_service *service, const char *timer); // runs a timer in the next turn
// Opens or closes a feed row whose stream is NULL.
enum hd_status hd_service_feed_open(struct hd_service *service, int feed, const char *stream, const char *consumer,
                                    const char *filter, bool make, struct hd_err *err);
void hd_service_feed_close(struct hd_service *service, const char *consumer);
// Watches a file descriptor (the agent's shim socket) on the loop, level-triggered. events: EPOLLIN | EPOLLOUT; 0 takes it away.
void hd_service_watch_fd(struct hd_service *service, int fd, uint32_t events,
                         void (*ready)(struct hd_ctx *cx, void *self, int fd, uint32_t events));
void hd_service_stop(struct hd_service *service); // as SIGTERM

// For the simulator and tests: a service without a process, on a given bus, store and clock.
struct hd_service_env {
    struct hd_bus *bus;         // borrowed
    const struct hd_tx_ops *tx; // NULL: owns nothing
    void *store;
    struct hd_rng *rng;
    struct hd_db *db; // for tests on a real PostgreSQL; else NULL
    // Called at each named point of a turn ("begun", "handled", "committed", "published", "replied"); true ends the turn there, as
    // a crash would: nothing after it happens. NULL: never.
    bool (*crash_at)(void *arg, const char *point);
    void *arg;
};
struct hd_service *hd_service_new(const struct hd_service_def *def, const struct hd_service_env *env, void *self);
void hd_service_free(struct hd_service *service);
bool hd_service_turn(struct hd_service *service, struct hd_now now); // one turn; true when it did something
// A database with the service's statements and migrations and those of hd_tx_pg; for env.db.
struct hd_db *hd_service_db_new(const struct hd_service_def *def, const char *conninfo);

#endif
