// Services on the in-memory bus, a real PostgreSQL and a clock of the test: leases run out in no time, and nothing is left to chance.
//
// The test is everybody else: it calls, hears what is said, and answers as the orchestrator does. Everything is freed by
// twin_release.
#ifndef HD_TESTS_INTEGRATION_TWIN_H
#define HD_TESTS_INTEGRATION_TWIN_H

#include "base/buf.h"
#include "service/mem.h"
#include "tests/unit/test.h"

#define TWIN_SERVICES 4
#define TWIN_HEARD 512

struct twin_heard { // something that reached the test
    enum hd_arrival kind;
    int table;
    bool failed;
    const char *subject;
    const uint8_t *data;
    size_t len;
};
struct twin {
    struct hd_rng rng;
    struct hd_arena arena; // of the test: everything that it makes and hears
    struct hd_memnet *net;
    struct hd_bus *bus; // the test's
    struct hd_now now;
    struct hd_service *services[TWIN_SERVICES];
    struct hd_bus *buses[TWIN_SERVICES];
    struct hd_db *dbs[TWIN_SERVICES];
    size_t n_services;
    bool silent; // requests to the test are heard and not answered
    struct twin_heard heard[TWIN_HEARD];
    size_t n_heard;
    int last_call;
};

static inline void twin_init(struct twin *twin) {
    memset(twin, 0, sizeof(*twin));
    hd_rng_seed(&twin->rng, 7);
    hd_arena_init(&twin->arena);
    twin->net = hd_memnet_new(&twin->rng);
    twin->bus = hd_bus_mem_new(twin->net, "test");
    twin->now = (struct hd_now){.wall_ms = 1700000000000, .mono_ms = 1000000};
    hd_memnet_tick(twin->net, twin->now.mono_ms); // asks are timed from here
}

// The service's state must outlive the twin.
static inline struct hd_service *twin_add_env(struct twin *twin, const struct hd_service_def *def,
                                              struct hd_service_env env, void *self) {
    size_t i = twin->n_services++;
    env.bus = twin->buses[i] = hd_bus_mem_new(twin->net, def->name);
    env.rng = &twin->rng;
    twin->dbs[i] = env.db;
    twin->services[i] = hd_service_new(def, &env, self);
    return twin->services[i];
}
static inline struct hd_service *twin_add(struct twin *twin, const struct hd_service_def *def, const char *conninfo,
                                          void *self) {
    return twin_add_env(twin, def, (struct hd_service_env){.tx = &hd_tx_pg, .db = hd_service_db_new(def, conninfo)},
                        self);
}
static inline struct hd_service *twin_add_mem(struct twin *twin, const struct hd_service_def *def, void *mem,
                                              void *self) { // begins with a struct hd_mem
    return twin_add_env(twin, def, (struct hd_service_env){.tx = &hd_mem_tx, .store = mem}, self);
}

static inline void twin_release(struct twin *twin) {
    for (size_t i = 0; i < twin->n_services; i++) {
        hd_service_free(twin->services[i]);
        twin->buses[i]->ops->free(twin->buses[i]);
        hd_db_free(twin->dbs[i]);
    }
    twin->bus->ops->free(twin->bus);
    hd_memnet_free(twin->net);
    hd_arena_release(&twin->arena);
}

static inline void twin_answer(struct twin *twin, const struct hd_arrived *arrived) {
    Hodei__V1__RpcReply reply = HODEI__V1__RPC_REPLY__INIT;
    uint8_t *data;
    size_t len;
    hd_pb_pack(&twin->arena, &reply.base, &data, &len);
    twin->bus->ops->send(twin->bus, arrived->reply, data, len);
}

static inline bool twin_hear(struct twin *twin) {
    struct hd_arrived arrived[16];
    size_t n = twin->bus->ops->receive(twin->bus, arrived, 16);
    for (size_t i = 0; i < n; i++) {
        if (twin->n_heard < TWIN_HEARD && arrived[i].kind != HD_ARRIVED_PUBLISHED)
            twin->heard[twin->n_heard++] = (struct twin_heard){
                .kind = arrived[i].kind,
                .table = arrived[i].table,
                .failed = arrived[i].failed,
                .subject = hd_arena_strdup(&twin->arena, arrived[i].subject),
                .data = hd_arena_memdup(&twin->arena, arrived[i].data, arrived[i].len),
                .len = arrived[i].len,
            };
        if (arrived[i].kind == HD_ARRIVED_RPC && !twin->silent)
            twin_answer(twin, &arrived[i]);
        twin->bus->ops->done(twin->bus, &arrived[i]);
    }
    return n > 0;
}

// Lets time pass and everything happen that is due.
static inline void twin_pass(struct twin *twin, int64_t ms) {
    twin->now.wall_ms += ms;
    twin->now.mono_ms += ms;
    hd_memnet_tick(twin->net, twin->now.mono_ms);
    bool any = true;
    for (int turns = 0; any && turns < 40; turns++) {
        any = twin_hear(twin);
        for (size_t i = 0; i < twin->n_services; i++)
            any |= hd_service_turn(twin->services[i], twin->now);
    }
}
static inline void twin_pass_s(struct twin *twin, unsigned seconds) {
    for (unsigned i = 0; i < seconds * 2; i++)
        twin_pass(twin, 500);
}

// The next thing heard of a kind and row, unpacked and forgotten; NULL where there is none. `type` NULL: only whether.
static inline void *twin_take(struct twin *twin, enum hd_arrival kind, int table,
                              const ProtobufCMessageDescriptor *type) {
    for (size_t i = 0; i < twin->n_heard; i++) {
        struct twin_heard heard = twin->heard[i];
        struct hd_err err = {0};
        ProtobufCMessage *msg = NULL;
        if (heard.kind != kind || heard.table != table)
            continue;
        memmove(&twin->heard[i], &twin->heard[i + 1], (twin->n_heard - i - 1) * sizeof(heard));
        twin->n_heard--;
        if (kind == HD_ARRIVED_RPC) {
            if (hd_pb_unpack(&twin->arena, &hodei__v1__rpc_request__descriptor, heard.data, heard.len, &err, &msg) !=
                HD_OK)
                return NULL;
            const Hodei__V1__RpcRequest *request = (const Hodei__V1__RpcRequest *)msg;
            heard.data = request->body.data;
            heard.len = request->body.len;
        }
        if (hd_pb_unpack(&twin->arena, type, heard.data, heard.len, &err, &msg) != HD_OK)
            return NULL;
        return msg;
    }
    return NULL;
}
static inline void twin_forget(struct twin *twin) {
    twin->n_heard = 0;
}

// Sends a request; its answer comes by twin_answered with the number that is returned.
static inline int twin_ask(struct twin *twin, const char *tenant, const char *service, const char *method,
                           const ProtobufCMessage *msg) {
    Hodei__V1__RpcRequest request = HODEI__V1__RPC_REQUEST__INIT;
    Hodei__V1__Principal principal = HODEI__V1__PRINCIPAL__INIT;
    uint8_t *data;
    size_t len;
    principal.subject = *tenant ? (char *)(uintptr_t) "test" : principal.subject; // for no tenant: a service
    principal.tenant = hd_arena_strdup(&twin->arena, tenant);
    request.principal = &principal;
    request.timeout_ms = 30000;
    hd_pb_pack(&twin->arena, msg, &request.body.data, &request.body.len);
    hd_pb_pack(&twin->arena, &request.base, &data, &len);
    twin->bus->ops->ask(twin->bus, hd_subject_rpc(&twin->arena, service, method), data, len, ++twin->last_call, 0,
                        60000);
    return twin->last_call;
}
// False where there is no answer yet. *err is the answer's; *ret its body, NULL where it failed.
static inline bool twin_answered(struct twin *twin, int call, const ProtobufCMessageDescriptor *type,
                                 struct hd_err *err, void *ret) {
    ProtobufCMessage *body = NULL;
    const Hodei__V1__RpcReply *reply = twin_take(twin, HD_ARRIVED_ANSWER, call, &hodei__v1__rpc_reply__descriptor);
    *(void **)ret = NULL;
    hd_err_clear(err);
    if (!reply)
        return false;
    if (reply->status != HODEI__V1__STATUS__STATUS_OK) {
        hd_err_set(err, (enum hd_status)reply->status, "%s", reply->problem ? reply->problem->text : "");
        if (reply->problem) {
            hd_err_field(err, "%s", reply->problem->field);
            hd_err_hint(err, "%s", reply->problem->hint);
        }
        return true;
    }
    if (hd_pb_unpack(&twin->arena, type, reply->body.data, reply->body.len, err, &body) == HD_OK)
        *(ProtobufCMessage **)ret = body;
    return true;
}
// Asks and waits, at most two seconds of the test's clock.
static inline enum hd_status twin_call(struct twin *twin, const char *tenant, const char *service, const char *method,
                                       const ProtobufCMessage *msg, const ProtobufCMessageDescriptor *type,
                                       struct hd_err *err, void *ret) {
    int call = twin_ask(twin, tenant, service, method, msg);
    for (int i = 0; i < 20; i++) {
        twin_pass(twin, i ? 100 : 0);
        if (twin_answered(twin, call, type, err, ret))
            return err->status;
    }
    return hd_err_set(err, HD_TIMEOUT, "no answer from %s.%s", service, method);
}

static inline void twin_publish(struct twin *twin, const char *subject, const ProtobufCMessage *msg,
                                const char *msg_id) {
    uint8_t *data;
    size_t len;
    hd_pb_pack(&twin->arena, msg, &data, &len);
    twin->bus->ops->publish(twin->bus, subject, data, len, msg_id, 0);
}

// A test that runs on a real PostgreSQL and on the twin of the store, which the simulator has. Its file has a struct world with
// world_init(w, mem) and world_release(w).
#define ON_BOTH(name)                                                                                                  \
    static void name##_on(struct world *w);                                                                            \
    TEST(name) {                                                                                                       \
        for (int mem = 0; mem < 2; mem++) {                                                                            \
            struct world w;                                                                                            \
            world_init(&w, mem);                                                                                       \
            name##_on(&w);                                                                                             \
            world_release(&w);                                                                                         \
        }                                                                                                              \
    }                                                                                                                  \
    static void name##_on(struct world *w)

#endif
