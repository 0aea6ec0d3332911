// The worker registry on a real PostgreSQL, and on its twin: joining, leases, silence, losses, the fleet's versions.
#include "tests/integration/twin.h"

#include "hodei/v1/flow.pb-c.h"
#include "services/worker-registry/registry.h"
#include "tests/integration/servers.h"

#define S1 "01890a5d-ac96-774b-bcce-b302099a8001"
#define S2 "01890a5d-ac96-774b-bcce-b302099a8002"
#define A1 "01890a5d-ac96-774b-bcce-b302099a80a1"
#define MSG(name) &hodei__v1__##name##__descriptor
enum { RECONCILE, SESSIONS_LOST }; // what the test serves
enum { CHANGED };                  // what it listens to

struct world {
    struct twin twin;
    struct registry *registry[2];
    struct registry_mem *mem; // NULL: PostgreSQL
    struct hd_err err;
};

static void add_registry(struct world *w, size_t i) {
    struct registry *registry = w->registry[i] =
        registry_new(&(struct liveness_times){5000, 15000, 5000, 30}, 3600000, "join me");
    registry_attach(registry, w->mem ? twin_add_mem(&w->twin, &registry_def, w->mem, registry)
                                     : twin_add(&w->twin, &registry_def, servers_pg(), registry));
}

static void world_init(struct world *w, bool mem) {
    struct hd_err err;
    memset(w, 0, sizeof(*w));
    if (mem)
        w->mem = registry_mem_new();
    else
        servers_pg_clean();
    twin_init(&w->twin);
    struct hd_bus *bus = w->twin.bus;
    CHECK_INT(bus->ops->serve(bus, "orchestrator", "Reconcile", RECONCILE, &err), HD_OK);
    CHECK_INT(bus->ops->serve(bus, "orchestrator", "SessionsLost", SESSIONS_LOST, &err), HD_OK);
    CHECK_INT(bus->ops->listen(bus, "hodei.evt.system.worker.changed", NULL, CHANGED, &err), HD_OK);
    add_registry(w, 0);
}
static void world_release(struct world *w) {
    twin_release(&w->twin);
    for (size_t i = 0; i < 2; i++)
        registry_release(w->registry[i]);
    registry_mem_free(w->mem);
}

static int64_t incarnation_of(struct world *w, const char *name);

static enum hd_status join(struct world *w, const char *name, const char *session, const char *token) {
    static Hodei__V1__Executor executors[] = {HODEI__V1__EXECUTOR__EXECUTOR_SHELL};
    Hodei__V1__JoinRequest request = HODEI__V1__JOIN_REQUEST__INIT;
    Hodei__V1__JoinReply *reply;
    request.token = hd_arena_strdup(&w->twin.arena, token);
    request.name = hd_arena_strdup(&w->twin.arena, name);
    request.session = hd_arena_strdup(&w->twin.arena, session);
    request.pool = "default";
    request.slots = 4;
    request.executors = executors;
    request.n_executors = 1;
    enum hd_status status =
        twin_call(&w->twin, "", "worker-registry", "Join", &request.base, MSG(join_reply), &w->err, &reply);
    if (status == HD_OK) {
        CHECK_INT(reply->lease_ms, 15000);
        CHECK_INT(reply->heartbeat_ms, 5000);
        CHECK_STR(reply->stream, hd_arena_printf(&w->twin.arena, "WORK_%s", name));
        CHECK_STR(reply->consumer, session);
        CHECK_INT(reply->incarnation, incarnation_of(w, name));
    }
    return status;
}

// True where the session has a lease.
static bool beat(struct world *w, const char *name, const char *session, bool stream_missing) {
    Hodei__V1__HeartbeatRequest request = HODEI__V1__HEARTBEAT_REQUEST__INIT;
    Hodei__V1__HeartbeatReply *reply;
    char *attempts[] = {A1};
    request.worker = hd_arena_strdup(&w->twin.arena, name);
    request.session = hd_arena_strdup(&w->twin.arena, session);
    request.attempts = attempts;
    request.n_attempts = 1;
    request.stream_missing = stream_missing;
    CHECK_INT(
        twin_call(&w->twin, "", "worker-registry", "Heartbeat", &request.base, MSG(heartbeat_reply), &w->err, &reply),
        HD_OK);
    if (!reply)
        return false;
    CHECK(reply->rejoin == (reply->lease_ms == 0));
    return !reply->rejoin;
}

static Hodei__V1__Fleet *fleet(struct world *w, uint64_t have) {
    Hodei__V1__GetFleetRequest request = HODEI__V1__GET_FLEET_REQUEST__INIT;
    Hodei__V1__Fleet *reply;
    request.version = have;
    CHECK_INT(twin_call(&w->twin, "", "worker-registry", "GetFleet", &request.base, MSG(fleet), &w->err, &reply),
              HD_OK);
    return reply;
}
static int64_t incarnation_of(struct world *w, const char *name) {
    const Hodei__V1__Fleet *all = fleet(w, 0);
    for (size_t i = 0; all && i < all->n_workers; i++)
        if (strcmp(all->workers[i]->name, name) == 0)
            return all->workers[i]->incarnation;
    return 0;
}
static int state_of(struct world *w, const char *name) {
    const Hodei__V1__Fleet *all = fleet(w, 0);
    for (size_t i = 0; all && i < all->n_workers; i++)
        if (strcmp(all->workers[i]->name, name) == 0)
            return (int)all->workers[i]->state;
    return REG_NONE;
}

// A feed of the test on the worker's stream is found only where stream and consumer are there.
static bool stream_there(struct world *w, const char *worker, const char *session) {
    struct hd_bus *bus = w->twin.bus;
    struct hd_err err;
    const char *stream = hd_arena_printf(&w->twin.arena, "WORK_%s", worker);
    CHECK_INT(bus->ops->feed_open(bus, stream, session, NULL, false, 1, 9, &err), HD_OK);
    bool there = !bus->ops->feed_missing(bus, session);
    bus->ops->feed_close(bus, session);
    return there;
}

ON_BOTH(joins_and_is_known) {
    CHECK_INT(join(w, "w1", S1, "wrong"), HD_UNAUTHENTICATED);
    CHECK(strstr(w->err.text, "wrong") == NULL); // a token is never said again
    CHECK_INT(join(w, "a.>", S1, "join me"), HD_INVALID);
    CHECK_STR(w->err.field, "name");
    CHECK_INT(fleet(w, 0)->n_workers, 0);
    CHECK_INT(join(w, "w1", S1, "join me"), HD_OK);
    CHECK(stream_there(w, "w1", S1));
    const Hodei__V1__Fleet *difference = twin_take(&w->twin, HD_ARRIVED_HINT, CHANGED, MSG(fleet));
    CHECK(difference && difference->n_workers == 1 && difference->version == difference->previous + 1);
    const Hodei__V1__Fleet *all = fleet(w, 0);
    CHECK_INT(all->version, difference ? difference->version : 0);
    CHECK_INT(all->n_workers, 1);
    CHECK_STR(all->workers[0]->session, S1);
    CHECK_INT(all->workers[0]->slots, 4);
    CHECK_INT(all->workers[0]->state, HODEI__V1__WORKER_STATE__WORKER_STATE_ONLINE);
    CHECK_INT(fleet(w, all->version)->n_workers, 0); // nothing new
}

ON_BOTH(heartbeats_are_leases_and_no_change) {
    CHECK_INT(join(w, "w1", S1, "join me"), HD_OK);
    uint64_t version = fleet(w, 0)->version;
    twin_forget(&w->twin);
    for (int i = 0; i < 10; i++) {
        CHECK(beat(w, "w1", S1, false));
        twin_pass_s(&w->twin, 5);
    }
    CHECK(!beat(w, "w1", S2, false)); // another session
    CHECK(!beat(w, "w9", S1, false)); // nobody
    CHECK_INT(fleet(w, 0)->version, version);
    const Hodei__V1__ReconcileRequest *held = twin_take(&w->twin, HD_ARRIVED_RPC, RECONCILE, MSG(reconcile_request));
    CHECK(held && held->n_workers == 1 && held->workers[0]->n_attempts == 1);
    if (held && held->n_workers == 1) {
        CHECK_STR(held->workers[0]->worker, "w1");
        CHECK_STR(held->workers[0]->session, S1);
        CHECK_STR(held->workers[0]->attempts[0], A1);
        CHECK(held->workers[0]->received_at_ms > 1700000000000 - 1);
    }
    Hodei__V1__ListWorkersRequest list = HODEI__V1__LIST_WORKERS_REQUEST__INIT;
    Hodei__V1__ListWorkersReply *workers;
    CHECK_INT(twin_call(&w->twin, "acme", "worker-registry", "ListWorkers", &list.base, MSG(list_workers_reply),
                        &w->err, &workers),
              HD_OK);
    CHECK(workers && workers->n_workers == 1 && workers->workers[0]->running == 1);
    list.pool = "other";
    CHECK_INT(twin_call(&w->twin, "acme", "worker-registry", "ListWorkers", &list.base, MSG(list_workers_reply),
                        &w->err, &workers),
              HD_OK);
    CHECK(workers && workers->n_workers == 0);
}

static Hodei__V1__Worker *get_worker(struct world *w, const char *name) {
    Hodei__V1__GetWorkerRequest request = HODEI__V1__GET_WORKER_REQUEST__INIT;
    Hodei__V1__Worker *reply = NULL;
    request.name = (char *)(uintptr_t)name;
    enum hd_status status =
        twin_call(&w->twin, "", "worker-registry", "GetWorker", &request.base, MSG(worker), &w->err, &reply);
    return status == HD_OK ? reply : NULL;
}

static enum hd_status steer(struct world *w, const char *method, const char *name, const char *reason) {
    Hodei__V1__SteerWorkerRequest request = HODEI__V1__STEER_WORKER_REQUEST__INIT;
    Hodei__V1__Worker *reply;
    request.name = (char *)(uintptr_t)name;
    request.reason = (char *)(uintptr_t)reason;
    return twin_call(&w->twin, "default", "worker-registry", method, &request.base, MSG(worker), &w->err, &reply);
}

// A heartbeat with nothing held, a load and a word against new work.
static void beat_with(struct world *w, const char *unfit) {
    Hodei__V1__HeartbeatRequest request = HODEI__V1__HEARTBEAT_REQUEST__INIT;
    Hodei__V1__WorkerLoad load = HODEI__V1__WORKER_LOAD__INIT;
    Hodei__V1__JobUsage job = HODEI__V1__JOB_USAGE__INIT, *jobs = &job;
    Hodei__V1__HeartbeatReply *reply;
    request.worker = "w1";
    request.session = S1;
    request.unfit = (char *)(uintptr_t)unfit;
    load.disk_bytes_free = 4711;
    request.load = &load;
    job.attempt = A1;
    job.cpu_ms = 99;
    request.jobs = &jobs;
    request.n_jobs = 1;
    CHECK_INT(
        twin_call(&w->twin, "", "worker-registry", "Heartbeat", &request.base, MSG(heartbeat_reply), &w->err, &reply),
        HD_OK);
    CHECK_INT(reply->now_ms, w->twin.now.wall_ms);
}

ON_BOTH(people_cordon_and_drain) {
    CHECK_INT(steer(w, "Cordon", "w1", ""), HD_MISSING);
    CHECK_INT(join(w, "w1", S1, "join me"), HD_OK);
    uint64_t version = fleet(w, 0)->version;
    CHECK_INT(steer(w, "Cordon", "w1", "new kernel"), HD_OK);
    CHECK_INT(steer(w, "Cordon", "w1", "new kernel"), HD_OK); // said again
    const Hodei__V1__Fleet *seen = fleet(w, version);
    CHECK_INT(seen->version, version + 1);
    CHECK_INT(seen->workers[0]->cordon->mode, MODE(CORDONED));
    const Hodei__V1__Worker *worker = get_worker(w, "w1");
    CHECK_INT(worker->cordon->mode, MODE(CORDONED));
    CHECK_STR(worker->cordon->reason, "new kernel");
    CHECK_STR(worker->cordon->actor, worker->actions[0]->actor);
    CHECK(*worker->cordon->actor);
    CHECK_INT(worker->n_actions, 1);
    CHECK_INT(join(w, "w1", S1, "join me"), HD_OK); // its agent was started again
    CHECK_INT(get_worker(w, "w1")->cordon->mode, MODE(CORDONED));
    // Drained: it holds nothing, and what was on its way has had time to arrive.
    CHECK_INT(steer(w, "Drain", "w1", ""), HD_OK);
    beat_with(w, "");
    CHECK_INT(get_worker(w, "w1")->cordon->mode, MODE(DRAINING));
    twin_pass(&w->twin, 11000);
    CHECK(beat(w, "w1", S1, false)); // holds one
    CHECK_INT(get_worker(w, "w1")->cordon->mode, MODE(DRAINING));
    beat_with(w, "");
    CHECK_INT(get_worker(w, "w1")->cordon->mode, MODE(DRAINED));
    CHECK_INT(steer(w, "Drain", "w1", ""), HD_OK);
    CHECK_INT(get_worker(w, "w1")->cordon->mode, MODE(DRAINED));
    CHECK_INT(steer(w, "Uncordon", "w1", "done"), HD_OK);
    worker = get_worker(w, "w1");
    CHECK(!worker->cordon);
    CHECK_INT(worker->n_actions, 3);
    CHECK_STR(worker->actions[2]->action, "uncordon");
    CHECK_STR(worker->actions[2]->reason, "done");
}

ON_BOTH(what_an_agent_says_of_itself_is_shown) {
    CHECK_INT(join(w, "w1", S1, "join me"), HD_OK);
    uint64_t version = fleet(w, 0)->version;
    beat_with(w, "");
    CHECK_INT(fleet(w, 0)->version, version); // a load alone is no change
    beat_with(w, "9 MiB of disk are free");
    const Hodei__V1__Fleet *seen = fleet(w, version);
    CHECK_STR(seen->workers[0]->unfit, "9 MiB of disk are free");
    CHECK(!seen->workers[0]->load);
    const Hodei__V1__Worker *worker = get_worker(w, "w1");
    CHECK_INT(worker->load->disk_bytes_free, 4711);
    CHECK_INT(worker->n_jobs, 1);
    CHECK_INT(worker->jobs[0]->cpu_ms, 99);
    CHECK(!get_worker(w, "w2"));
}

ON_BOTH(silence_ends_in_loss_that_is_told_until_answered) {
    CHECK_INT(join(w, "w1", S1, "join me"), HD_OK);
    twin_pass_s(&w->twin, 8);
    CHECK_INT(state_of(w, "w1"), REG_ONLINE);
    twin_pass_s(&w->twin, 4);
    CHECK_INT(state_of(w, "w1"), REG_SUSPECT);
    CHECK(beat(w, "w1", S1, false));
    CHECK_INT(state_of(w, "w1"), REG_ONLINE);
    twin_pass_s(&w->twin, 18);
    CHECK_INT(state_of(w, "w1"), REG_SUSPECT); // the lease is over, the margin is not
    w->twin.silent = true;
    twin_pass_s(&w->twin, 4);
    CHECK_INT(state_of(w, "w1"), REG_LOST);
    const Hodei__V1__SessionsLostRequest *lost =
        twin_take(&w->twin, HD_ARRIVED_RPC, SESSIONS_LOST, MSG(sessions_lost_request));
    CHECK(lost && lost->n_sessions == 1 && strcmp(lost->sessions[0]->session, S1) == 0);
    CHECK(!beat(w, "w1", S1, false));                        // a lost session gets no lease
    CHECK_INT(join(w, "w1", S1, "join me"), HD_UNAVAILABLE); // nor may it join before its loss is known
    CHECK(*w->err.hint);
    twin_pass_s(&w->twin, 8); // the question times out
    w->twin.silent = false;
    twin_forget(&w->twin);
    twin_pass_s(&w->twin, 8); // it is asked again, and answered
    lost = twin_take(&w->twin, HD_ARRIVED_RPC, SESSIONS_LOST, MSG(sessions_lost_request));
    CHECK(lost && lost->n_sessions == 1);
    twin_forget(&w->twin);
    twin_pass_s(&w->twin, 20);
    CHECK(!twin_take(&w->twin, HD_ARRIVED_RPC, SESSIONS_LOST, MSG(sessions_lost_request))); // and then no more
    CHECK_INT(join(w, "w1", S1, "join me"), HD_OK);
    CHECK_INT(state_of(w, "w1"), REG_ONLINE);
}

ON_BOTH(a_session_that_comes_back_from_a_loss_is_another_incarnation) {
    CHECK_INT(join(w, "w1", S1, "join me"), HD_OK);
    int64_t first = incarnation_of(w, "w1");
    CHECK(first > 0);
    twin_pass_s(&w->twin, 1);
    CHECK_INT(join(w, "w1", S1, "join me"), HD_OK); // its agent was started again: what was assigned to it holds
    CHECK_INT(incarnation_of(w, "w1"), first);
    twin_pass_s(&w->twin, 12);
    CHECK_INT(state_of(w, "w1"), REG_SUSPECT);
    CHECK_INT(join(w, "w1", S1, "join me"), HD_OK);
    CHECK_INT(incarnation_of(w, "w1"), first);
    twin_pass_s(&w->twin, 24);
    CHECK_INT(state_of(w, "w1"), REG_LOST);
    CHECK_INT(join(w, "w1", S1, "join me"), HD_OK);
    CHECK(incarnation_of(w, "w1") > first);
    twin_forget(&w->twin);
    CHECK(beat(w, "w1", S1, false)); // and the orchestrator hears of it
    const Hodei__V1__ReconcileRequest *held = twin_take(&w->twin, HD_ARRIVED_RPC, RECONCILE, MSG(reconcile_request));
    CHECK(held && held->n_workers == 1 && held->workers[0]->incarnation == incarnation_of(w, "w1"));
}

ON_BOTH(a_name_changes_hands_after_its_lease) {
    CHECK_INT(join(w, "w1", S1, "join me"), HD_OK);
    CHECK_INT(join(w, "w1", S1, "join me"), HD_OK); // its agent was started again
    CHECK_INT(join(w, "w1", S2, "join me"), HD_UNAVAILABLE);
    CHECK(strstr(w->err.hint, "lease") != NULL);
    twin_pass_s(&w->twin, 13);
    CHECK_INT(join(w, "w1", S2, "join me"), HD_UNAVAILABLE);
    CHECK(beat(w, "w1", S1, false));
    twin_pass_s(&w->twin, 10);
    CHECK_INT(join(w, "w1", S2, "join me"), HD_UNAVAILABLE); // it has a new lease
    twin_pass_s(&w->twin, 7);
    twin_forget(&w->twin);
    CHECK_INT(join(w, "w1", S2, "join me"), HD_OK);
    twin_pass_s(&w->twin, 2);
    const Hodei__V1__SessionsLostRequest *lost =
        twin_take(&w->twin, HD_ARRIVED_RPC, SESSIONS_LOST, MSG(sessions_lost_request));
    CHECK(lost && lost->n_sessions == 1 && strcmp(lost->sessions[0]->session, S1) == 0);
    CHECK(!beat(w, "w1", S1, false));
    CHECK(beat(w, "w1", S2, false));
    CHECK(stream_there(w, "w1", S2));
}

ON_BOTH(two_sessions_join_at_once) {
    static Hodei__V1__Executor executors[] = {HODEI__V1__EXECUTOR__EXECUTOR_SHELL};
    Hodei__V1__JoinRequest request = HODEI__V1__JOIN_REQUEST__INIT;
    Hodei__V1__JoinReply *reply;
    request.token = "join me";
    request.name = "w1";
    request.pool = "default";
    request.slots = 1;
    request.executors = executors;
    request.n_executors = 1;
    request.session = S1;
    int first = twin_ask(&w->twin, "", "worker-registry", "Join", &request.base);
    request.session = S2;
    int second = twin_ask(&w->twin, "", "worker-registry", "Join", &request.base);
    twin_pass_s(&w->twin, 2);
    CHECK(twin_answered(&w->twin, first, MSG(join_reply), &w->err, &reply));
    CHECK_INT(w->err.status, HD_OK);
    CHECK(twin_answered(&w->twin, second, MSG(join_reply), &w->err, &reply));
    CHECK_INT(w->err.status, HD_UNAVAILABLE);
}

ON_BOTH(a_stream_that_is_missing_is_made_again) {
    CHECK_INT(join(w, "w1", S1, "join me"), HD_OK);
    CHECK(!stream_there(w, "w1", S2)); // not made by looking
    twin_forget(&w->twin);
    CHECK(beat(w, "w1", S1, true));
    twin_pass_s(&w->twin, 2);
    CHECK(stream_there(w, "w1", S1));
    CHECK_INT(w->registry[0]->n_due, 0);
}

ON_BOTH(too_many_at_once_are_spared) {
    for (int i = 0; i < 10; i++)
        CHECK_INT(join(w, hd_arena_printf(&w->twin.arena, "w%d", i), S1, "join me"), HD_OK);
    for (int s = 0; s < 8; s++) {
        for (int i = 4; i < 10; i++)
            CHECK(beat(w, hd_arena_printf(&w->twin.arena, "w%d", i), S1, false));
        twin_pass_s(&w->twin, 5);
    }
    CHECK(w->registry[0]->alarm);
    CHECK_INT(atomic_load(&registry_metrics[REG_M_ALARM].value), 1);
    for (int i = 0; i < 4; i++)
        CHECK_INT(state_of(w, hd_arena_printf(&w->twin.arena, "w%d", i)), REG_SUSPECT);
    CHECK(beat(w, "w3", S1, false)); // now they are three of ten
    twin_pass_s(&w->twin, 2);
    CHECK(!w->registry[0]->alarm);
    CHECK_INT(state_of(w, "w0"), REG_LOST);
    CHECK_INT(state_of(w, "w3"), REG_ONLINE);
}

static const char *listed(struct world *w, const char *pool, int state, unsigned size) { // names of all pages: "a b|c"
    Hodei__V1__ListWorkersRequest list = HODEI__V1__LIST_WORKERS_REQUEST__INIT;
    Hodei__V1__WorkerState states[] = {(Hodei__V1__WorkerState)state};
    Hodei__V1__ListWorkersReply *reply;
    const char *all = "";
    list.pool = (char *)(uintptr_t)pool;
    list.state = states;
    list.n_state = state != 0;
    list.page_size = size;
    do {
        if (twin_call(&w->twin, "acme", "worker-registry", "ListWorkers", &list.base, MSG(list_workers_reply), &w->err,
                      &reply) != HD_OK)
            return w->err.field;
        for (size_t i = 0; i < reply->n_workers; i++)
            all = hd_arena_printf(&w->twin.arena, "%s%s%s", all, i ? " " : "", reply->workers[i]->name);
        list.page_token = reply->next_page_token;
        all = *list.page_token ? hd_arena_printf(&w->twin.arena, "%s|", all) : all;
    } while (*list.page_token);
    return all;
}

ON_BOTH(workers_are_listed_by_page_and_state) {
    static const char *const names[] = {"w3", "w1", "w5", "w2", "w4"};
    CHECK_STR(listed(w, "", 0, 0), "");
    for (size_t i = 0; i < 5; i++)
        CHECK_INT(join(w, names[i], S1, "join me"), HD_OK);
    CHECK_STR(listed(w, "", 0, 0), "w1 w2 w3 w4 w5");
    CHECK_STR(listed(w, "", 0, 2), "w1 w2|w3 w4|w5");
    CHECK_STR(listed(w, "default", 0, 5), "w1 w2 w3 w4 w5");
    CHECK_STR(listed(w, "other", 0, 1), "");
    CHECK_STR(listed(w, "", 0, 1001), "page_size");
    twin_pass_s(&w->twin, 12);
    CHECK(beat(w, "w2", S1, false));
    CHECK(beat(w, "w5", S1, false));
    CHECK_STR(listed(w, "", REG_ONLINE, 1), "w2|w5");
    CHECK_STR(listed(w, "", REG_SUSPECT, 2), "w1 w3|w4");
    CHECK_STR(listed(w, "", REG_LOST, 0), "");
}

ON_BOTH(replicas_share_the_truth) {
    add_registry(w, 1);
    CHECK_INT(join(w, "w1", S1, "join me"), HD_OK);
    for (int i = 0; i < 12; i++) { // requests go to either
        twin_pass_s(&w->twin, 5);
        CHECK(beat(w, "w1", S1, false));
    }
    CHECK_INT(state_of(w, "w1"), REG_ONLINE);
    uint64_t version = fleet(w, 0)->version;
    twin_pass_s(&w->twin, 25);
    CHECK_INT(state_of(w, "w1"), REG_LOST);
    CHECK_INT(fleet(w, 0)->version, version + 2); // suspect and lost, each once
}

TEST_MAIN
