// The runner on the in-memory bus and a small store: what is committed is said once it is committed, and nothing else.
#include "service/service.h"

#include "adapter/bus.h"
#include "base/buf.h"
#include "tests/unit/test.h"

#define SUBJECT "hodei.flow.ready.pool"

// --- a store ---------------------------------------------------------------------------------------------------------

struct row {
    int64_t id, at_ms;
    uint8_t *data;
    size_t len;
    bool gone;
};
struct store {
    int value, value_before; // committed and rolled back
    struct row rows[64];
    size_t n_rows, n_rows_before;
    bool was_gone[64];
    unsigned dead, begins, commits;
    bool away;
};

static void keep(struct store *store) {
    store->value_before = store->value;
    store->n_rows_before = store->n_rows;
    for (size_t i = 0; i < store->n_rows; i++)
        store->was_gone[i] = store->rows[i].gone;
}
static void undo(struct store *store) {
    store->value = store->value_before;
    while (store->n_rows > store->n_rows_before)
        free(store->rows[--store->n_rows].data);
    for (size_t i = 0; i < store->n_rows; i++)
        store->rows[i].gone = store->was_gone[i];
}
static enum hd_status store_begin(struct hd_ctx *cx, void *self) {
    struct store *store = self;
    store->begins++;
    if (store->away)
        return hd_fail(cx, HD_UNAVAILABLE, "away");
    keep(store);
    return HD_OK;
}
static enum hd_status store_add(struct hd_ctx *cx, void *self, const uint8_t *data, size_t len, int64_t *ret_id) {
    struct store *store = self;
    struct row *row = &store->rows[store->n_rows++];
    *row = (struct row){.id = (int64_t)store->n_rows, .at_ms = cx->now.wall_ms, .data = malloc(len), .len = len};
    memcpy(row->data, data, len);
    *ret_id = row->id;
    return HD_OK;
}
static enum hd_status store_done(struct hd_ctx *cx, void *self, const int64_t *ids, size_t n) {
    struct store *store = self;
    (void)cx;
    for (size_t i = 0; i < n; i++)
        store->rows[ids[i] - 1].gone = true;
    return HD_OK;
}
static enum hd_status store_stale(struct hd_ctx *cx, void *self, int64_t before_ms, struct hd_rows *ret) {
    struct store *store = self;
    struct hd_bytes *cells = HD_NEW_ARRAY(cx->arena, store->n_rows * 2, struct hd_bytes);
    *ret = (struct hd_rows){.columns = 2, .cells = cells};
    for (size_t i = 0; i < store->n_rows; i++) {
        struct row *row = &store->rows[i];
        if (row->gone || row->at_ms >= before_ms)
            continue;
        row->at_ms = cx->now.wall_ms;
        uint8_t *id = hd_arena_alloc(cx->arena, 8);
        for (int byte = 0; byte < 8; byte++)
            id[byte] = (uint8_t)((uint64_t)row->id >> (56 - 8 * byte));
        cells[ret->n * 2] = (struct hd_bytes){id, 8};
        cells[ret->n * 2 + 1] = (struct hd_bytes){row->data, row->len};
        ret->n++;
    }
    return HD_OK;
}
static enum hd_status store_dead(struct hd_ctx *cx, void *self, const char *subject, const uint8_t *data, size_t len,
                                 const struct hd_err *why) {
    (void)cx, (void)subject, (void)data, (void)len, (void)why;
    ((struct store *)self)->dead++;
    return HD_OK;
}
static enum hd_status store_commit(struct hd_ctx *cx, void *self) {
    (void)cx;
    struct store *store = self;
    store->commits++;
    keep(store);
    return HD_OK;
}
static void store_rollback(struct hd_ctx *cx, void *self) {
    (void)cx;
    if (!((struct store *)self)->away)
        undo(self);
}
static const struct hd_tx_ops store_tx = {store_begin, store_add,    store_done,    store_stale,
                                          store_dead,  store_commit, store_rollback};

// --- a service: adds what it is told, and says each number ------------------------------------------------------------

static enum hd_status one(struct hd_ctx *cx, struct store *store, struct hd_item *item) {
    const Hodei__V1__OutboxMessage *said = (const Hodei__V1__OutboxMessage *)item->msg;
    if (strcmp(said->subject, "refuse") == 0)
        return hd_item_fail(item, HD_PRECONDITION, "refused"), HD_OK;
    if (strcmp(said->subject, "wait") == 0 && store->value < 10 && hd_item_park(cx, item, 1000))
        return HD_OK;
    store->value++;
    if (strcmp(said->subject, "poison") == 0) // after it has written
        return hd_fail(cx, HD_INVALID, "poisoned");
    Hodei__V1__OutboxMessage out = HODEI__V1__OUTBOX_MESSAGE__INIT;
    out.subject = said->subject;
    hd_publish(cx, SUBJECT, &out.base);
    if (item->reply)
        ((Hodei__V1__OutboxMessage *)item->reply)->subject = hd_arena_printf(cx->arena, "%d", store->value);
    return HD_OK;
}
static enum hd_status put(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    for (size_t i = 0; i < n; i++)
        HD_TRY(one(cx, self, &items[i]));
    return HD_OK;
}
static const struct hd_rpc rpcs[] = {
    {"Put", &hodei__v1__outbox_message__descriptor, &hodei__v1__outbox_message__descriptor, put}};
static const struct hd_feed feeds[] = {{.stream = "REPORTS",
                                        .consumer = "test",
                                        .filter = "hodei.report.>",
                                        .message = &hodei__v1__outbox_message__descriptor,
                                        .handle = put}};
static const struct hd_service_def def = {.name = "test", .rpcs = rpcs, .n_rpcs = 1, .feeds = feeds, .n_feeds = 1};

// --- a world ---------------------------------------------------------------------------------------------------------

struct world {
    struct hd_rng rng;
    struct hd_arena arena;
    struct hd_memnet *net;
    struct hd_bus *bus, *client;
    struct hd_service *service;
    struct store store;
    struct hd_now now;
    const char *crash_at; // the point of the next crash
    int answers, oks, last_status, said;
    char last[64];
};

static bool crash_at(void *arg, const char *point) {
    struct world *world = arg;
    if (!world->crash_at || strcmp(world->crash_at, point) != 0)
        return false;
    world->crash_at = NULL;
    return true;
}
static void boot(struct world *world) {
    world->bus = hd_bus_mem_new(world->net, "test");
    struct hd_service_env env = {.bus = world->bus,
                                 .tx = &store_tx,
                                 .store = &world->store,
                                 .rng = &world->rng,
                                 .crash_at = crash_at,
                                 .arg = world};
    world->service = hd_service_new(&def, &env, &world->store);
}
static void shut(struct world *world) {
    hd_service_free(world->service);
    world->bus->ops->free(world->bus);
}
static void start(struct world *world) {
    struct hd_err err;
    memset(world, 0, sizeof(*world));
    hd_rng_seed(&world->rng, 1);
    hd_arena_init(&world->arena);
    world->net = hd_memnet_new(&world->rng);
    world->now = (struct hd_now){.wall_ms = 1700000000000, .mono_ms = 1000000};
    world->client = hd_bus_mem_new(world->net, "client");
    boot(world);
    hd_memnet_tick(world->net, world->now.mono_ms);
    CHECK_INT(world->client->ops->feed_open(world->client, "FLOW", "reader", SUBJECT, true, 100, 0, &err), HD_OK);
}
static void end(struct world *world) {
    shut(world);
    world->client->ops->free(world->client);
    hd_memnet_free(world->net);
    hd_arena_release(&world->arena);
    for (size_t i = 0; i < world->store.n_rows; i++)
        free(world->store.rows[i].data);
}
static void pack(struct world *world, const ProtobufCMessage *msg, uint8_t **data, size_t *len) {
    hd_pb_pack(&world->arena, msg, data, len);
}
static Hodei__V1__OutboxMessage text(const char *word) {
    Hodei__V1__OutboxMessage msg = HODEI__V1__OUTBOX_MESSAGE__INIT;
    msg.subject = (char *)(uintptr_t)word;
    return msg;
}
static void ask(struct world *world, const char *word) {
    Hodei__V1__OutboxMessage msg = text(word);
    Hodei__V1__RpcRequest request = HODEI__V1__RPC_REQUEST__INIT;
    uint8_t *data;
    size_t len;
    pack(world, &msg.base, &request.body.data, &request.body.len);
    pack(world, &request.base, &data, &len);
    world->client->ops->ask(world->client, "hodei.rpc.test.Put", data, len, 0, 0, 5000);
}
static void report(struct world *world, const char *word, const char *id) {
    Hodei__V1__OutboxMessage msg = text(word);
    uint8_t *data;
    size_t len;
    pack(world, &msg.base, &data, &len);
    world->client->ops->publish(world->client, "hodei.report.w.attempts", data, len, id, 0);
}
static void hear(struct world *world) {
    struct hd_arrived arrived[64];
    size_t n = world->client->ops->receive(world->client, arrived, 64);
    for (size_t i = 0; i < n; i++) {
        ProtobufCMessage *msg;
        struct hd_err err;
        if (arrived[i].kind == HD_ARRIVED_FEED) {
            world->said++;
            world->client->ops->ack(world->client, &arrived[i]);
        } else if (arrived[i].kind == HD_ARRIVED_ANSWER) {
            world->answers++;
            world->last_status = HD_UNAVAILABLE;
            if (!arrived[i].failed && hd_pb_unpack(&world->arena, &hodei__v1__rpc_reply__descriptor, arrived[i].data,
                                                   arrived[i].len, &err, &msg) == HD_OK) {
                world->last_status = (int)((Hodei__V1__RpcReply *)msg)->status;
                world->oks += world->last_status == HD_OK;
            }
        }
        world->client->ops->done(world->client, &arrived[i]);
    }
}
// One turn after ms.
static void turn(struct world *world, int64_t ms) {
    world->now.mono_ms += ms;
    world->now.wall_ms += ms;
    hd_memnet_tick(world->net, world->now.mono_ms);
    hd_service_turn(world->service, world->now);
    hear(world);
}
static void turns(struct world *world, int n, int64_t ms) {
    while (n-- > 0)
        turn(world, ms);
}
static size_t rows_left(const struct store *store) {
    size_t n = 0;
    for (size_t i = 0; i < store->n_rows; i++)
        n += !store->rows[i].gone;
    return n;
}

// --- tests -----------------------------------------------------------------------------------------------------------

TEST(a_batch_is_one_transaction_and_one_outbox_row) {
    struct world world;
    start(&world);
    turn(&world, 0); // the first turn sweeps
    unsigned before = world.store.commits;
    for (int i = 0; i < 20; i++)
        ask(&world, "a");
    turn(&world, 1);
    CHECK_INT(world.store.commits - before, 1);
    CHECK_INT(world.store.value, 20);
    CHECK_INT(world.store.n_rows, 1);
    CHECK_INT(world.oks, 20);
    CHECK_INT(world.said, 20);
    turns(&world, 4, 600); // the row goes once its messages are in their stream
    CHECK_INT(rows_left(&world.store), 0);
    end(&world);
}

TEST(a_poisoned_item_hurts_only_itself) {
    struct world world;
    start(&world);
    ask(&world, "a");
    ask(&world, "poison");
    ask(&world, "b");
    ask(&world, "refuse");
    turns(&world, 3, 1);
    CHECK_INT(world.answers, 4);
    CHECK_INT(world.oks, 2);
    CHECK_INT(world.store.value, 2);
    CHECK_INT(world.said, 2);
    end(&world);
}

TEST(a_poisoned_stream_message_becomes_a_dead_letter) {
    struct world world;
    start(&world);
    report(&world, "a", "1");
    report(&world, "poison", "2");
    report(&world, "b", "3");
    world.client->ops->publish(world.client, "hodei.report.w.attempts", "\xff\xff\xff", 3, "4", 0);
    turns(&world, 20, 1000);
    CHECK_INT(world.store.value, 2);
    CHECK_INT(world.store.dead, 2);
    CHECK_INT(world.said, 2);
    unsigned begins = world.store.begins;
    turns(&world, 3, 20000);
    CHECK_INT(world.store.dead, 2);
    CHECK(world.store.begins - begins < 20); // nothing is asked for again
    end(&world);
}

TEST(a_store_that_is_away_is_said_and_loses_nothing) {
    struct world world;
    start(&world);
    turn(&world, 0);
    world.store.away = true;
    ask(&world, "a");
    report(&world, "b", "1");
    turns(&world, 3, 1);
    CHECK_INT(world.answers, 1);
    CHECK_INT(world.last_status, HD_UNAVAILABLE);
    world.store.away = false;
    turns(&world, 10, 1000);
    CHECK_INT(world.store.value, 1); // the report; the caller was told
    CHECK_INT(world.store.dead, 0);
    end(&world);
}

TEST(a_crash_at_any_point_loses_nothing_of_a_stream) {
    static const char *const points[] = {"begun", "handled", "committed", "published", "replied"};
    for (size_t i = 0; i < sizeof(points) / sizeof(*points); i++) {
        struct world world;
        start(&world);
        turn(&world, 0);
        report(&world, "a", "1");
        world.crash_at = points[i];
        turn(&world, 1);
        CHECK(!world.crash_at); // it did crash there
        shut(&world);
        undo(&world.store); // what was open is rolled back by the server
        boot(&world);
        turns(&world, 100, 1000);
        bool committed = i >= 2; // then it is delivered again, and this handler adds again
        CHECK_INT(world.store.value, committed ? 2 : 1);
        CHECK(world.said >= world.store.value); // each commit was said at least once
        CHECK_INT(rows_left(&world.store), 0);
        end(&world);
    }
}

TEST(a_request_waits_without_holding_a_transaction) {
    struct world world;
    start(&world);
    ask(&world, "wait");
    turn(&world, 1);
    CHECK_INT(world.answers, 0);
    for (int i = 0; i < 10; i++)
        ask(&world, "a");
    turn(&world, 1);
    CHECK_INT(world.answers, 10);
    turns(&world, 3, 30); // woken by the commit
    CHECK_INT(world.answers, 11);
    CHECK_INT(world.store.value, 11);
    end(&world);
}

TEST(a_wait_ends_at_its_time) {
    struct world world;
    start(&world);
    ask(&world, "wait");
    turns(&world, 9, 100);
    CHECK_INT(world.answers, 0);
    turns(&world, 3, 100);
    CHECK_INT(world.answers, 1);
    CHECK_INT(world.store.value, 1);
    end(&world);
}

TEST(hostile_requests_get_an_error) {
    struct world world;
    start(&world);
    world.client->ops->ask(world.client, "hodei.rpc.test.Put", "\x0a\xff\xff\xff\xff\x0f", 6, 0, 0, 5000);
    turn(&world, 1);
    CHECK_INT(world.answers, 1);
    CHECK_INT(world.last_status, HD_INVALID);
    end(&world);
}

TEST_MAIN
