// Replicas, time and faults. Every step lets a little time pass and gives everybody a turn, in a random order.
#include "tests/sim/sim.h"

#define FAULTS_MIN_MS 15000
#define FAULTS_MAX_MS 60000
#define QUIET_MAX_MS 1200000 // all must have ended by then

// --- replicas --------------------------------------------------------------------------------------------------------

static bool crash_at(void *arg, const char *point) {
    struct replica *replica = arg;
    if (!sim_chance(replica->sim, 300))
        return false;
    replica->crashed = true;
    replica->sim->crashes++;
    sim_event(replica->sim, "%s: crashes when it has %s", replica->name, point);
    return true;
}

static const struct liveness_times liveness = {5000, SIM_LEASE_MS, SIM_LOST_MS - SIM_LEASE_MS, 30};

static struct hd_mem *store_of(const struct replica *replica) { // NULL: it has none, or a real one
    struct sim *sim = replica->sim;
    switch (replica->kind) {
    case SIM_ORCHESTRATOR:
        return sim->postgres ? NULL : &sim->mem->base;
    case SIM_REGISTRY:
        return registry_mem_base(sim->registry);
    case SIM_QUOTA:
        return quota_mem_base(sim->quota);
    default:
        return NULL;
    }
}

static void replica_start(struct replica *replica) {
    struct sim *sim = replica->sim;
    struct hd_service_env env = {.rng = &replica->rng, .crash_at = crash_at, .arg = replica};
    replica->crashed = false;
    env.bus = replica->bus = hd_bus_mem_new(sim->net, replica->name);
    env.store = store_of(replica);
    env.tx = env.store ? &hd_mem_tx : NULL;
    switch (replica->kind) {
    case SIM_SCHEDULER:
        replica->sch = sch_new(hd_uuid7(sim->now.wall_ms, &replica->rng));
        replica->service = hd_service_new(&sch_def, &env, replica->sch);
        sch_attach(replica->sch, replica->service);
        break;
    case SIM_REGISTRY:
        replica->reg = registry_new(&liveness, 24 * 3600000LL, SIM_TOKEN);
        replica->service = hd_service_new(&registry_def, &env, replica->reg);
        registry_attach(replica->reg, replica->service);
        break;
    case SIM_QUOTA:
        replica->quota = quota_new(500);
        replica->service = hd_service_new(&quota_def, &env, replica->quota);
        quota_attach(replica->quota, replica->service);
        break;
    default:
        env.tx = sim->postgres ? &hd_tx_pg : &hd_mem_tx;
        env.db = replica->db = sim->postgres ? hd_service_db_new(&orc_def, sim->postgres) : NULL;
        replica->orc = sim->postgres ? orc_new(&orc_pg_store, NULL) : orc_new(&sim->store_ops, sim->mem);
        replica->service = hd_service_new(&orc_def, &env, replica->orc);
    }
}

static void replica_stop(struct replica *replica) {
    if (!replica->service)
        return;
    hd_service_free(HD_STEAL(replica->service));
    sch_free(HD_STEAL(replica->sch));
    orc_free(HD_STEAL(replica->orc));
    registry_release(HD_STEAL(replica->reg));
    quota_release(HD_STEAL(replica->quota));
    hd_db_free(HD_STEAL(replica->db));
    replica->bus->ops->free(HD_STEAL(replica->bus));
}

void replica_turn(struct replica *replica) {
    struct sim *sim = replica->sim;
    struct hd_now now = {sim->now.wall_ms + replica->skew_ms, sim->now.mono_ms};
    if (now.mono_ms < replica->back_ms)
        return;
    if (!replica->service)
        replica_start(replica);
    hd_service_turn(replica->service, now);
    if (!replica->crashed)
        return;
    replica_stop(replica);
    if (store_of(replica))
        hd_mem_tx.rollback(NULL, store_of(replica)); // what was open is gone with its connection
    replica->back_ms = now.mono_ms + sim_between(sim, 5, 4000);
}

// --- mutants of the store --------------------------------------------------------------------------------------------

static struct hd_rng mutant_rng;
static enum hd_status save_forgetful(struct hd_ctx *cx, void *store, struct orc_ws *ws) {
    for (size_t i = 0; i < ws->jobs.n; i++)
        if (ws->jobs.items[i]->dirty && hd_rng_below(&mutant_rng, 10) == 0)
            ws->jobs.items[i]->dirty = false;
    return orc_mem_store.save(cx, store, ws);
}
static enum hd_status save_countless(struct hd_ctx *cx, void *store, struct orc_ws *ws) {
    for (size_t i = 0; i < ws->n_tenants; i++)
        if (hd_rng_below(&mutant_rng, 10) == 0)
            ws->tenants[i]->dirty = false;
    return orc_mem_store.save(cx, store, ws);
}
static enum hd_status load_generous(struct hd_ctx *cx, void *store, struct orc_ws *ws, const char **names, size_t n) {
    enum hd_status status = orc_mem_store.tenants_load(cx, store, ws, names, n);
    for (size_t i = 0; i < ws->n_tenants; i++)
        ws->tenants[i]->limit.of[HD_QUOTA_MEMORY] *= ws->tenants[i]->limit.of[HD_QUOTA_MEMORY] > 0 ? 2 : 1;
    return status;
}
static enum hd_status load_boundless(struct hd_ctx *cx, void *store, struct orc_ws *ws, const char **names, size_t n) {
    enum hd_status status = orc_mem_store.tenants_load(cx, store, ws, names, n);
    for (size_t i = 0; i < ws->n_tenants; i++)
        if (*ws->tenants[i]->project && !ws->tenants[i]->regranted)
            ws->tenants[i]->limit = hd_quota_unlimited();
    return status;
}
static enum hd_status save_bounds(struct hd_ctx *cx, void *store, struct orc_ws *ws) {
    for (size_t i = 0; i < ws->n_tenants; i++) // the limit itself stays what it is
        if (*ws->tenants[i]->project && !ws->tenants[i]->regranted)
            ws->tenants[i]->limit = orc_ws_tenant(&((struct orc_mem *)store)->all, ws->tenants[i]->name)->limit;
    return orc_mem_store.save(cx, store, ws);
}
static enum hd_status save_meant(struct hd_ctx *cx, void *store, struct orc_ws *ws) {
    for (size_t i = 0; i < ws->n_tenants; i++) // the limit itself stays what it is
        if (!ws->tenants[i]->regranted && ws->tenants[i]->limit.of[HD_QUOTA_MEMORY] > 0)
            ws->tenants[i]->limit.of[HD_QUOTA_MEMORY] /= 2;
    return orc_mem_store.save(cx, store, ws);
}
static enum hd_status follow_forgetful(struct hd_ctx *cx, void *store, const struct orc_ended *ended, size_t n,
                                       size_t *ret_added) {
    return orc_mem_store.follow_ups_add(cx, store, ended, hd_rng_below(&mutant_rng, 4) ? n : 0, ret_added);
}
static enum hd_status untold_none(struct hd_ctx *cx, unsigned skip, unsigned limit, int64_t *ret_seqs,
                                  struct lost_list *ret) {
    (void)skip, (void)limit, (void)ret_seqs;
    *ret = lost_list_new(cx->arena, 0);
    return HD_OK;
}
static enum hd_status insert_keyless(struct hd_ctx *cx, void *store, struct orc_ws *ws) {
    for (size_t i = 0; i < ws->runs.n; i++)
        if (ws->runs.items[i]->was == 0)
            ws->runs.items[i]->key = "";
    return orc_mem_store.runs_insert(cx, store, ws);
}

// --- the world -------------------------------------------------------------------------------------------------------

void sim_init(struct sim *sim, uint64_t seed, enum sim_mutant mutant) {
    static const char *const names[] = {"orchestrator-1",    "orchestrator-2",    "scheduler-1", "scheduler-2",
                                        "worker-registry-1", "worker-registry-2", "quota-1",     "quota-2"};
    bool trace = sim->trace;
    const char *postgres = sim->postgres;
    memset(sim, 0, sizeof(*sim));
    sim->seed = seed;
    sim->trace = trace;
    sim->postgres = postgres;
    sim->mutant = mutant;
    hd_rng_seed(&sim->rng, seed);
    hd_rng_seed(&mutant_rng, seed);
    hd_arena_init(&sim->arena);
    sim->net = hd_memnet_new(&sim->rng);
    sim->now = (struct hd_now){.wall_ms = 1800000000000, .mono_ms = 1000000};
    sim->began_ms = sim->now.mono_ms;
    hd_memnet_tick(sim->net, sim->now.mono_ms);
    sim->mem = orc_mem_new();
    sim->registry = registry_mem_new();
    sim->quota = quota_mem_new();
    sim->registry_ops = registry_mem_store;
    registry_mem_base(sim->registry)->ops = &sim->registry_ops;
    if (mutant == MUTANT_SESSIONS)
        sim->registry_ops.untold = untold_none;
    if (postgres)
        real_begin(sim);
    sim->store_ops = orc_mem_store;
    if (mutant == MUTANT_LOST_UPDATE)
        sim->store_ops.save = save_forgetful;
    if (mutant == MUTANT_COUNTERS)
        sim->store_ops.save = save_countless;
    if (mutant == MUTANT_LIMITS) {
        sim->store_ops.tenants_load = load_generous;
        sim->store_ops.save = save_meant;
    }
    if (mutant == MUTANT_PARTS) {
        sim->store_ops.tenants_load = load_boundless;
        sim->store_ops.save = save_bounds;
    }
    if (mutant == MUTANT_FOLLOW)
        sim->store_ops.follow_ups_add = follow_forgetful;
    if (mutant == MUTANT_KEYS)
        sim->store_ops.runs_insert = insert_keyless;
    sim->peer = hd_bus_mem_new(sim->net, "peer");
    peers_init(sim);
    sim->n_workers = (size_t)sim_between(sim, 1, SIM_WORKERS);
    for (size_t i = 0; i < sim->n_workers; i++)
        worker_init(sim, i);
    for (size_t i = 0; i < SIM_SERVICES; i++) {
        enum sim_kind kind = (enum sim_kind)(i / SIM_REPLICAS);
        sim->replicas[i] =
            (struct replica){.sim = sim,
                             .kind = kind,
                             .name = names[i],
                             .skew_ms = kind < SIM_REGISTRY ? sim_between(sim, -400, 400) : sim_skew(sim)};
        hd_rng_seed(&sim->replicas[i].rng, hd_rng_next(&sim->rng));
    }
    hd_memnet_faults(sim->net, (struct hd_memnet_faults){.duplicate = (unsigned)sim_between(sim, 0, 10),
                                                         .reorder = (unsigned)sim_between(sim, 0, 20),
                                                         .drop_core = (unsigned)sim_between(sim, 0, 10),
                                                         .redeliver_acked = (unsigned)sim_between(sim, 0, 10)});
}

void sim_release(struct sim *sim) {
    for (size_t i = 0; i < SIM_SERVICES; i++)
        replica_stop(&sim->replicas[i]);
    for (size_t i = 0; i < sim->n_workers; i++)
        worker_release(&sim->workers[i]);
    sim->peer->ops->free(sim->peer);
    hd_memnet_free(sim->net);
    orc_mem_free(sim->mem);
    registry_mem_free(sim->registry);
    quota_mem_free(sim->quota);
    hd_map_release(&sim->starts);
    hd_map_release(&sim->outcomes);
    hd_map_release(&sim->ends);
    hd_map_release(&sim->written);
    hd_map_release(&sim->stored);
    hd_arena_release(&sim->arena);
}

static void inject(struct sim *sim) {
    if (sim_chance(sim, 2000)) {
        sim->wipes++;
        sim_event(sim, "all streams are wiped");
        hd_memnet_wipe(sim->net);
        if (hd_rng_below(&sim->rng, 2))
            hd_memnet_forget(sim->net, "WORK_");
    }
    if (sim_chance(sim, 300)) { // deaf for a while: a pause of the process, or a cut
        struct replica *replica = &sim->replicas[hd_rng_below(&sim->rng, SIM_SERVICES)];
        replica->back_ms = sim->now.mono_ms + sim_between(sim, 100, 6000);
        sim_event(sim, "%s: deaf until %" PRId64, replica->name, replica->back_ms - sim->began_ms);
    }
    struct sim_worker *worker = &sim->workers[hd_rng_below(&sim->rng, sim->n_workers)];
    if (sim_chance(sim, 300))
        worker_crash(worker, hd_rng_below(&sim->rng, 3) == 0);
    if (sim_chance(sim, 500)) {
        worker->back_ms = sim->now.mono_ms + sim_between(sim, 1000, 40000);
        sim_event(sim, "%s: cut off until %" PRId64, worker->name, worker->back_ms - sim->began_ms);
    }
}

static void step(struct sim *sim) {
    unsigned fine = sim->quiet ? 2 : 10; // of so many steps one is a long one
    int64_t ms = hd_rng_below(&sim->rng, fine) ? sim_between(sim, 1, 20) : sim_between(sim, 20, 300);
    size_t n = SIM_SERVICES + sim->n_workers + 1, order[SIM_SERVICES + SIM_WORKERS + 1] = {0};
    bool turned = false; // both of them at once
    sim->now.mono_ms += ms;
    sim->now.wall_ms += ms;
    hd_memnet_tick(sim->net, sim->now.mono_ms);
    inject(sim);
    for (size_t i = 0; i < n; i++) {
        size_t at = hd_rng_below(&sim->rng, i + 1);
        order[i] = order[at];
        order[at] = i;
    }
    for (size_t i = 0; i < n && !sim->failed; i++) {
        if (sim->postgres && order[i] < SIM_REPLICAS) {
            if (!turned)
                real_turns(sim);
            turned = true;
        } else if (order[i] < SIM_SERVICES)
            replica_turn(&sim->replicas[order[i]]);
        else if (order[i] < n - 1)
            worker_turn(&sim->workers[order[i] - SIM_SERVICES]);
        else
            peers_turn(sim);
        check_step(sim);
    }
}

void sim_run(struct sim *sim) {
    int64_t faults_end = sim->now.mono_ms + sim_between(sim, FAULTS_MIN_MS, FAULTS_MAX_MS);
    while (!sim->failed && sim->now.mono_ms < faults_end)
        step(sim);
    sim->quiet = true;
    sim->quiet_ms = sim->now.mono_ms;
    sim_event(sim, "the faults end");
    hd_memnet_faults(sim->net, (struct hd_memnet_faults){0});
    for (size_t i = 0; i < SIM_SERVICES; i++)
        sim->replicas[i].back_ms = 0;
    for (size_t i = 0; i < sim->n_workers; i++)
        if (sim->workers[i].back_ms > sim->now.mono_ms + 5000)
            sim->workers[i].back_ms = sim->now.mono_ms + 5000;
    if (sim->n_workers > 1 && hd_rng_below(&sim->rng, 4) == 0) { // one machine is gone for good
        worker_crash(&sim->workers[0], true);
        sim->workers[0].back_ms = INT64_MAX;
    }
    int64_t end = sim->now.mono_ms + QUIET_MAX_MS;
    while (!sim->failed && sim->now.mono_ms < end &&
           !(peers_done(sim) && check_all_ended(sim) && check_all_stored(sim)))
        step(sim);
    if (!sim->failed)
        check_end(sim);
}
