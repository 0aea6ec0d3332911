// ExplainJobs: why jobs wait. Every replica hears it, and the one that leads the pool answers; where the pool has no worker nobody
// leads it, and any replica that knows the fleet may say so.
#include "base/buf.h"
#include "base/names.h"
#include "services/scheduler/scheduler.h"

#define JOBS_MAX 1000
#define REASON(x) HODEI__V1__PLACE_REASON__PLACE_REASON_##x

static uint64_t job_key(const char *run, uint32_t job) {
    return hd_hash(run, strlen(run), UINT64_C(0x100) + job);
}

// The offers that are asked for, by run and job. One walk, however many are asked for: there is no index for what is rare.
static void find_offers(const struct sch_pool *pool, const Hodei__V1__ExplainJobsRequest *request,
                        struct hd_map *ret_offers) {
    struct hd_map wanted = {0};
    size_t pos = 0;
    for (size_t i = 0; i < request->n_jobs; i++)
        hd_map_put(&wanted, job_key(request->jobs[i]->run, request->jobs[i]->job), request->jobs[i]);
    for (struct sch_offer *offer; (offer = hd_map_next(&pool->offers, &pos, NULL));) {
        uint64_t key = job_key(offer->run, offer->job);
        const Hodei__V1__QueuedJob *job = hd_map_get(&wanted, key);
        if (job && job->job == offer->job && hd_streq(job->run, offer->run))
            hd_map_put(ret_offers, key, offer);
    }
    hd_map_release(&wanted);
}

static struct sch_verdict explain(struct hd_ctx *cx, const struct sch_pool *pool, const char *name,
                                  const struct sch_offer *offer) {
    if (offer)
        return sch_pool_explain(cx->arena, pool, offer, cx->now);
    if (!pool || !pool->n_workers)
        return sch_explain_class(cx->arena, &(struct sch_fleet){.pool = name}, &(struct sch_needs){0},
                                 &(struct hd_resources){0});
    return (struct sch_verdict){
        .reason = REASON(UNKNOWN),
        .text = pool->told ? "the scheduler has not been told of it yet: look again in a few seconds"
                           : "the scheduler has only just started to lead the pool: look again in a few seconds"};
}

static void answer(struct hd_ctx *cx, const struct sch_pool *pool, const Hodei__V1__ExplainJobsRequest *request,
                   Hodei__V1__ExplainJobsReply *reply) {
    struct hd_map offers = {0};
    if (pool)
        find_offers(pool, request, &offers);
    reply->verdicts = HD_NEW_ARRAY(cx->arena, request->n_jobs, Hodei__V1__PlaceVerdict *);
    for (size_t i = 0; i < request->n_jobs; i++) {
        const Hodei__V1__QueuedJob *job = request->jobs[i];
        struct sch_verdict found = explain(cx, pool, request->pool, hd_map_get(&offers, job_key(job->run, job->job)));
        Hodei__V1__PlaceVerdict *verdict = HD_NEW(cx->arena, Hodei__V1__PlaceVerdict);
        *verdict = (Hodei__V1__PlaceVerdict)HODEI__V1__PLACE_VERDICT__INIT;
        verdict->run = job->run;
        verdict->job = job->job;
        verdict->reason = found.reason;
        verdict->text = (char *)(uintptr_t)found.text;
        verdict->position = (uint32_t)found.position;
        verdict->queued = (uint32_t)found.queued;
        verdict->estimate_ms = found.estimate_ms;
        reply->verdicts[reply->n_verdicts++] = verdict;
    }
    hd_map_release(&offers);
}

enum hd_status sch_explain_jobs(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    const struct scheduler *scheduler = self;
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__ExplainJobsRequest *request = (const Hodei__V1__ExplainJobsRequest *)items[i].msg;
        const struct sch_pool *pool = sch_pool_find(scheduler, request->pool);
        bool leads = pool && sch_leads(pool, cx->now.mono_ms);
        bool empty = scheduler->fleet_version && (!pool || !pool->n_workers);
        if (!hd_token_valid(request->pool) || request->n_jobs > JOBS_MAX) {
            hd_item_fail(&items[i], HD_INVALID, "a pool's name and at most %d jobs are wanted", JOBS_MAX);
            hd_err_field(&items[i].err, hd_token_valid(request->pool) ? "jobs" : "pool");
        } else if (leads || empty) {
            answer(cx, pool, request, (Hodei__V1__ExplainJobsReply *)items[i].reply);
        } else {
            items[i].silent = true;
        }
    }
    return HD_OK;
}
