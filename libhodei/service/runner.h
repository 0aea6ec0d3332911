// Inside the runner only: what one service holds, and how a turn is made of parts.
//
//   take    arrivals, parked items and due timers become work, unpacked, in table order        take.c
//   batch   one transaction around the handlers; retried, or item by item                      batch.c
//   settle  after the commit: publish, reply, acknowledge, park                                settle.c
//   outbox  what was said, until it is in its stream                                           outbox.c
//   service the turn, timers, what handlers may call                                           service.c
//   main    argv to exit code; loop                                                            service_main.c
#ifndef HD_SERVICE_RUNNER_H
#define HD_SERVICE_RUNNER_H

#include "service/service.h"

#define TURN_MAX 512        // arrivals a turn
#define PARKED_MAX 256      // items
#define PARKED_AGAIN_MS 250 // without a commit
#define PARKED_PAUSE_MS                                                                                                \
    2 // at least, and half a millisecond more for each that waits, so that waiting costs little under load
#define RPC_TIMEOUT_MS 5000 // where the caller names none
#define RPC_TIMEOUT_MAX_MS 120000
#define TURN_DEADLINE_MS 10000 // for statements
#define TIMER_AGAIN_MS 1000    // after a failure
#define DELIVERIES_MAX 5       // of an item whose content fails, before it is a dead letter
#define DELIVERIES_MAX_AWAY 50 // the same, where something is away or too slow
#define CONFLICT_RETRIES 5

enum row_kind { ROW_RPC, ROW_FEED, ROW_ANSWER, ROW_HINT, ROW_TIMER, ROW_BAD };

// One thing taken in this turn. It owns its arrival until it is settled.
struct work {
    enum row_kind kind; // ROW_BAD: never given to a handler; `why` says it, `was` what it was
    enum row_kind was;
    int row;
    unsigned order; // of arrival
    struct hd_arrived arrived;
    int64_t wait_until_mono_ms; // of one that was parked
    int64_t deadline_mono_ms;
    const ProtobufCMessage *msg;
    const Hodei__V1__RpcRequest *request; // of an rpc, where it could be read
    struct hd_err why;
    bool settled;
};

struct parked {
    struct hd_arrived arrived;
    enum row_kind kind;
    int row;
    int64_t wait_until_mono_ms, ran_mono_ms, again_mono_ms;
};

struct watcher {
    int fd;
    void (*ready)(struct hd_ctx *cx, void *self, int fd, uint32_t events);
};

// One row of the outbox on its way, or (id 0) what a service without a store has said.
struct outbox_row {
    uint64_t seq; // the upper part of the tags of its messages
    int64_t id;
    uint32_t n, left, failed;
    bool *is_failed; // n
    unsigned tries;
    int64_t retry_mono_ms;
    uint8_t *data; // packed OutboxBatch
    size_t len;
};
struct outbox_fresh { // written in the transaction under way
    int64_t id;
    const uint8_t *data;
    size_t len;
    const struct hd_staged *first;
    uint32_t n;
};
struct outbox {
    struct outbox_row *rows;
    size_t n_rows, cap_rows, bytes;
    uint64_t last_seq;
    struct outbox_fresh *fresh; // of the arena
    size_t n_fresh, cap_fresh;
    int64_t *done; // ids whose messages are all in their streams
    size_t n_done, cap_done, n_done_in_tx;
    int64_t done_mono_ms;  // when the first of them was
    int64_t sweep_mono_ms; // the next look for rows left by a crash
    struct hd_rows stale;  // what it found, in the turn's arena
    uint64_t direct_id;    // of this process, for what has no row
};

enum runner_metric {
    RM_TURNS,
    RM_COMMITS,
    RM_RETRIES,
    RM_ITEMS_RPC,
    RM_ITEMS_FEED,
    RM_ITEMS_OTHER,
    RM_FAILED,
    RM_DEAD,
    RM_PUBLISHED,
    RM_PUBLISH_FAILED,
    RM_OUTBOX,
    RM_PARKED,
    RM_COUNT
};

struct hd_service {
    const struct hd_service_def *def;
    struct hd_service_env env;
    const struct hd_settings *settings; // NULL without a process
    void *self;
    struct hd_arena arena;
    struct hd_ctx cx;
    int64_t *timer_due_mono_ms;
    struct hd_arrived *arrived; // room for TURN_MAX
    struct work *works;         // of this turn: TURN_MAX + PARKED_MAX + timers
    size_t n_works;
    struct hd_item *items; // beside them, in the same order
    struct parked parked[PARKED_MAX];
    size_t n_parked;
    struct outbox outbox;
    struct watcher *watchers;
    size_t n_watchers;
    int epoll_fd; // -1 without a process
    bool crashed; // by env.crash_at, until the next turn
    bool stopping;
    int64_t leave_mono_ms; // asked to end: goes on until then; 0: not asked
    bool committed;        // in this turn, something that parked items may wait for
    int64_t away_logged_mono_ms;
    struct hd_metric metrics[RM_COUNT];
};

// take.c
bool take_arrivals(struct hd_service *service);
void take_parked(struct hd_service *service);
void take_timers(struct hd_service *service);
void take_sort(struct hd_service *service);
void take_item(struct hd_service *service, size_t i); // (re)makes items[i] from works[i]

// batch.c
void batch_run(struct hd_service *service, size_t from, size_t n);
bool batch_crash(struct hd_service *service, const char *point);
// A transaction of the runner's own around `inside`; said things are published as usual.
enum hd_status batch_alone(struct hd_service *service,
                           enum hd_status (*inside)(struct hd_service *service)) HD_MUST_USE;

// settle.c
enum verdict { VERDICT_ACK, VERDICT_AGAIN, VERDICT_DEAD };
enum verdict settle_verdict(const struct work *work, const struct hd_err *err);
void settle_committed(struct hd_service *service, size_t from, size_t n);
void settle_failed(struct hd_service *service, size_t from, size_t n, const struct hd_err *why);
void settle_said(struct hd_service *service); // what was said outside of a transaction leaves now
void settle_leftovers(struct hd_service *service);

// outbox.c
enum hd_status outbox_write(struct hd_service *service) HD_MUST_USE; // within the transaction
void outbox_committed(struct hd_service *service);                   // publishes what outbox_write wrote
void outbox_direct(struct hd_service *service);                      // publishes what is staged, without a row
void outbox_forget(struct hd_service *service);                      // the transaction did not happen
void outbox_published(struct hd_service *service, uint64_t tag, bool failed);
bool outbox_tend(struct hd_service *service); // retries, deletes, sweeps
int64_t outbox_due_mono_ms(const struct hd_service *service);
void outbox_release(struct hd_service *service);

// service.c
int64_t service_due_mono_ms(const struct hd_service *service); // when the next turn has something to do
void service_open(struct hd_service *service);                 // streams, requests, feeds, hints
void service_fd_ready(struct hd_service *service, int fd, uint32_t events, struct hd_now now);
void service_drain(struct hd_service *service, struct hd_now now); // last turn, `stopping`

// tx_pg.c
extern const struct hd_sql tx_pg_sql[];
extern const size_t tx_pg_sql_len;

#endif
