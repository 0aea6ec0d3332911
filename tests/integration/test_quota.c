// The quota service on a real PostgreSQL, and on its twin: versions of limits, and who has confirmed them.
#include "tests/integration/twin.h"

#include "services/quota/quota.h"
#include "tests/integration/servers.h"

#define MSG(name) &hodei__v1__##name##__descriptor
enum { TO_ORCHESTRATOR, TO_PIPELINES, TO_LOGS }; // what the test serves

struct world {
    struct twin twin;
    struct quota *quota[2];
    struct quota_mem *mem; // NULL: PostgreSQL
    struct hd_err err;
};

static void add_quota(struct world *w, size_t i) {
    struct quota *quota = w->quota[i] = quota_new(500);
    quota_attach(quota, w->mem ? twin_add_mem(&w->twin, &quota_def, w->mem, quota)
                               : twin_add(&w->twin, &quota_def, servers_pg(), quota));
}

static void world_init(struct world *w, bool mem) {
    static const char *const holders[] = {"orchestrator", "pipelines", "observability"};
    struct hd_err err;
    memset(w, 0, sizeof(*w));
    if (mem)
        w->mem = quota_mem_new();
    else
        servers_pg_clean();
    twin_init(&w->twin);
    for (int i = 0; i < 3; i++)
        CHECK_INT(w->twin.bus->ops->serve(w->twin.bus, holders[i], "PutGrants", i, &err), HD_OK);
    add_quota(w, 0);
    add_quota(w, 1);
}
static void world_release(struct world *w) {
    twin_release(&w->twin);
    for (size_t i = 0; i < 2; i++)
        quota_release(w->quota[i]);
    quota_mem_free(w->mem);
}

static enum hd_status set(struct world *w, const char *tenant, Hodei__V1__SetQuotaRequest request,
                          Hodei__V1__Quota **ret) {
    return twin_call(&w->twin, tenant, "quota", "SetQuota", &request.base, MSG(quota), &w->err, ret);
}

static Hodei__V1__SetQuotaRequest limits(int64_t jobs) {
    Hodei__V1__SetQuotaRequest request = HODEI__V1__SET_QUOTA_REQUEST__INIT;
    request.concurrent_jobs = jobs;
    return request;
}

static const Hodei__V1__Quota *get(struct world *w, const char *tenant, const char *project) {
    Hodei__V1__GetQuotaRequest request = HODEI__V1__GET_QUOTA_REQUEST__INIT;
    Hodei__V1__Quota *reply = NULL;
    request.project = (char *)(uintptr_t)project;
    request.limits_only = true;
    CHECK_INT(twin_call(&w->twin, tenant, "quota", "GetQuota", &request.base, MSG(quota), &w->err, &reply), HD_OK);
    return reply;
}

static const Hodei__V1__PutGrantsRequest *put(struct world *w, int holder) {
    return twin_take(&w->twin, HD_ARRIVED_RPC, holder, MSG(put_grants_request));
}

ON_BOTH(a_change_is_a_version_and_the_same_is_none) {
    Hodei__V1__Quota *quota;
    CHECK_INT(get(w, "acme", "")->version, 0);
    CHECK_INT(get(w, "acme", "")->concurrent_jobs, 500);
    CHECK_INT(set(w, "acme", limits(7), &quota), HD_OK);
    CHECK_INT(quota->version, 1);
    CHECK_INT(set(w, "acme", limits(7), &quota), HD_OK);
    CHECK_INT(quota->version, 1);
    Hodei__V1__SetQuotaRequest more = limits(7);
    more.cpu_milli = 2500;
    more.cpu_milli_limit_case = HODEI__V1__SET_QUOTA_REQUEST__CPU_MILLI_LIMIT_CPU_MILLI;
    more.weight = 3;
    more.if_version = 9;
    CHECK_INT(set(w, "acme", more, &quota), HD_CONFLICT);
    CHECK_STR(w->err.field, "if_version");
    more.if_version = 1;
    CHECK_INT(set(w, "acme", more, &quota), HD_OK);
    CHECK_INT(quota->version, 2);
    CHECK_INT(quota->cpu_milli, 2500);
    CHECK_INT(get(w, "acme", "")->weight, 3);
    more.if_version = 5; // of what is not there
    CHECK_INT(set(w, "other", more, &quota), HD_CONFLICT);
    CHECK_INT(get(w, "other", "")->version, 0);
}

ON_BOTH(only_whom_it_concerns_is_told_until_it_answers) {
    Hodei__V1__Quota *quota;
    w->twin.silent = true;
    CHECK_INT(set(w, "acme", limits(7), &quota), HD_OK);
    twin_pass_s(&w->twin, 2);
    const Hodei__V1__PutGrantsRequest *told = put(w, TO_ORCHESTRATOR);
    CHECK(told && told->n_grants == 1 && told->grants[0]->version == 1 && told->grants[0]->concurrent_jobs == 7);
    CHECK(!put(w, TO_PIPELINES) && !put(w, TO_LOGS));
    CHECK(!get(w, "acme", "")->enforced);
    w->twin.silent = false;
    twin_forget(&w->twin);
    twin_pass_s(&w->twin, 8);
    CHECK(put(w, TO_ORCHESTRATOR));
    CHECK(get(w, "acme", "")->enforced);
    twin_forget(&w->twin);
    twin_pass_s(&w->twin, 8);
    CHECK(!put(w, TO_ORCHESTRATOR)); // and then no more
    Hodei__V1__SetQuotaRequest more = limits(7);
    more.pipelines = 3;
    more.pipelines_limit_case = HODEI__V1__SET_QUOTA_REQUEST__PIPELINES_LIMIT_PIPELINES;
    more.project = "part";
    CHECK_INT(set(w, "acme", more, &quota), HD_OK);
    twin_pass_s(&w->twin, 2);
    told = put(w, TO_PIPELINES);
    CHECK(told && told->n_grants == 1);
    CHECK_STR(told ? told->grants[0]->tenant : "", "acme/part");
    CHECK(put(w, TO_ORCHESTRATOR) && !put(w, TO_LOGS));
    CHECK(get(w, "acme", "part")->enforced);
}

ON_BOTH(an_answer_to_an_older_version_confirms_nothing_new) {
    Hodei__V1__Quota *quota;
    w->twin.silent = true;
    CHECK_INT(set(w, "acme", limits(7), &quota), HD_OK);
    twin_pass(&w->twin, 100);
    CHECK(put(w, TO_ORCHESTRATOR)); // version 1 is on its way
    CHECK_INT(set(w, "acme", limits(8), &quota), HD_OK);
    struct hd_ctx cx = {.arena = &w->twin.arena, .store = w->mem, .db = w->twin.dbs[0], .now = w->twin.now};
    const char *tenants[] = {"acme"};
    int64_t versions[] = {1};
    const struct hd_tx_ops *tx = w->mem ? &hd_mem_tx : &hd_tx_pg;
    CHECK_INT(tx->begin(&cx, w->mem), HD_OK);
    CHECK_INT(quota_store(&cx)->confirm(&cx, QUOTA_ORCHESTRATOR, &(struct hd_push_keys){1, tenants, NULL, versions}),
              HD_OK);
    CHECK_INT(tx->commit(&cx, w->mem), HD_OK);
    CHECK(!get(w, "acme", "")->enforced);
    w->twin.silent = false;
    twin_pass_s(&w->twin, 8);
    CHECK(get(w, "acme", "")->enforced);
}

ON_BOTH(who_is_asked_about_first_gets_the_default) {
    Hodei__V1__GetGrantsRequest request = HODEI__V1__GET_GRANTS_REQUEST__INIT;
    Hodei__V1__GetGrantsReply *grants;
    Hodei__V1__Quota *quota;
    char *tenants[] = {"zeta", "acme", "zeta"};
    CHECK_INT(set(w, "acme", limits(7), &quota), HD_OK);
    request.tenants = tenants;
    request.n_tenants = 3;
    CHECK_INT(twin_call(&w->twin, "", "quota", "GetGrants", &request.base, MSG(get_grants_reply), &w->err, &grants),
              HD_OK);
    CHECK_INT(grants->n_grants, 2);
    CHECK_STR(grants->grants[0]->tenant, "acme");
    CHECK_INT(grants->grants[0]->concurrent_jobs, 7);
    CHECK_STR(grants->grants[1]->tenant, "zeta");
    CHECK_INT(grants->grants[1]->concurrent_jobs, 500);
    CHECK_INT(grants->grants[1]->version, 1);
    CHECK_INT(twin_call(&w->twin, "acme", "quota", "GetGrants", &request.base, MSG(get_grants_reply), &w->err, &grants),
              HD_DENIED);
}

// What a transaction that did not commit has done is not there.
ON_BOTH(what_is_rolled_back_is_not_there) {
    struct hd_ctx cx = {.arena = &w->twin.arena, .store = w->mem, .db = w->twin.dbs[0], .now = w->twin.now};
    const struct hd_tx_ops *tx = w->mem ? &hd_mem_tx : &hd_tx_pg;
    struct quota_limit limit = {.tenant = "acme", .limit = hd_quota_unlimited(), .weight = 1};
    Hodei__V1__Quota *quota;
    bool stale;
    limit.limit.of[HD_QUOTA_JOBS] = 9;
    for (int known = 0; known < 2; known++) {
        CHECK_INT(tx->begin(&cx, w->mem), HD_OK);
        CHECK_INT(quota_store(&cx)->set(&cx, &limit, 0, &stale), HD_OK);
        tx->rollback(&cx, w->mem);
        CHECK_INT(get(w, "acme", "")->version, known);
        CHECK_INT(get(w, "acme", "")->concurrent_jobs, known ? 7 : 500);
        CHECK_INT(set(w, "acme", limits(7), &quota), HD_OK);
    }
}

TEST_MAIN
