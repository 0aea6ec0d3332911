// The scheduler's tables: what it hears, asks and counts.
#include "base/buf.h"
#include "services/scheduler/scheduler.h"

#define N(table) (sizeof(table) / sizeof((table)[0]))

struct hd_metric sch_metrics[SCH_METRIC_COUNT] = {
    [SCH_M_OFFERS] = {"hodei_scheduler_offers_total", NULL, "offers taken", HD_COUNTER},
    [SCH_M_WAITING] = {"hodei_scheduler_waiting_jobs", NULL, "offers that wait for a place", HD_GAUGE},
    [SCH_M_PLACED] = {"hodei_scheduler_placed_total", NULL, "placements decided", HD_COUNTER},
    [SCH_M_ACCEPTED] = {"hodei_scheduler_results_total", "result=\"accepted\"", "answers to placements", HD_COUNTER},
    [SCH_M_STALE] = {"hodei_scheduler_results_total", "result=\"stale\"", "answers to placements", HD_COUNTER},
    [SCH_M_REFUSED] = {"hodei_scheduler_refused_total", NULL, "jobs that agents had no room for", HD_COUNTER},
    [SCH_M_RESENT] = {"hodei_scheduler_resent_total", NULL, "placements said again", HD_COUNTER},
    [SCH_M_RESERVED] = {"hodei_scheduler_reserved_total", NULL, "workers kept free for a job that had waited long",
                        HD_COUNTER},
    [SCH_M_POOLS] = {"hodei_scheduler_led_pools", NULL, "pools that this process leads", HD_GAUGE},
    [SCH_M_WORKERS] = {"hodei_scheduler_workers", NULL, "workers known", HD_GAUGE},
};

static const struct hd_feed feeds[] = {
    {.message = &hodei__v1__pool_feed__descriptor, .handle = sch_feed}, // opened for each pool that is led
};
static const struct hd_answer answers[] = {
    [SCH_A_LEASE] = {"lease", &hodei__v1__lease_pool_reply__descriptor, sch_lease_answered},
    [SCH_A_FLEET] = {"fleet", &hodei__v1__fleet__descriptor, sch_fleet_answered},
};
static const struct hd_hint hints[] = {
    {"hodei.evt.system.worker.changed", NULL, &hodei__v1__fleet__descriptor, sch_fleet_changed},
};
static const struct hd_timer timers[] = {
    {SCH_TIMER_FLEET, 2000, sch_fleet_due},
    {SCH_TIMER_LEASE, 1000, sch_lease_due},
    {SCH_TIMER_TEND, 500, sch_tend},
};

static const struct hd_rpc rpcs[] = {
    {"ExplainJobs", &hodei__v1__explain_jobs_request__descriptor, &hodei__v1__explain_jobs_reply__descriptor,
     sch_explain_jobs, .every_replica = true},
};
static const struct hd_setting settings[] = {
    {"placement", HD_SET_TEXT, "pack",
     "pack: fill one worker after another; spread: the worker with the greatest free share"},
    {"spread-pools", HD_SET_TEXT, NULL, "pools that are spread whatever --placement says, separated by commas"},
    {"ageing", HD_SET_DURATION, "10m", "a job that has waited that long counts as one point of priority more; 0: never",
     .min = 0, .max = 86400000},
    {"reserve-after", HD_SET_DURATION, "1m",
     "for a job that has waited that long a worker that could hold it is kept free; 0: never", .min = 0,
     .max = 86400000},
    {"tenant-weights", HD_SET_TEXT, NULL, "tenant=1..1000, separated by commas; who is not named has 1"},
};

struct scheduler *sch_new(struct hd_uuid holder) {
    struct scheduler *scheduler = hd_calloc(1, sizeof(*scheduler));
    hd_uuid_format(holder, scheduler->holder);
    scheduler->rules.ageing_ms = SCH_AGEING_MS;
    scheduler->rules.reserve_ms = SCH_RESERVE_MS;
    return scheduler;
}

void sch_attach(struct scheduler *scheduler, struct hd_service *service) {
    scheduler->service = service;
}

static enum hd_status init(struct hd_service *service, const struct hd_settings *values, void **ret_self,
                           struct hd_err *err) {
    struct hd_rng rng;
    hd_rng_seed_os(&rng);
    struct scheduler *scheduler = sch_new(hd_uuid7(hd_now_read().wall_ms, &rng));
    enum hd_status status = sch_configure(scheduler, values, err);
    if (status != HD_OK) {
        sch_free(scheduler);
        return status;
    }
    sch_attach(scheduler, service);
    *ret_self = scheduler;
    return HD_OK;
}

void sch_free(void *self) {
    struct scheduler *scheduler = self;
    if (!scheduler)
        return;
    for (struct sch_pool *pool = scheduler->pools, *next; pool; pool = next) {
        next = pool->next;
        sch_pool_forget(scheduler, pool);
        sch_pool_release(pool);
        free(pool);
    }
    size_t pos = 0;
    for (struct sch_worker *worker; (worker = hd_map_next(&scheduler->workers, &pos, NULL));)
        sch_worker_free(worker);
    hd_map_release(&scheduler->workers);
    sch_configure_release(scheduler);
    free(scheduler);
}

const struct hd_service_def sch_def = {
    .name = "scheduler",
    .about = "decides which ready job goes to which worker",
    .settings = settings,
    .n_settings = N(settings),
    .rpcs = rpcs,
    .n_rpcs = N(rpcs),
    .feeds = feeds,
    .n_feeds = N(feeds),
    .answers = answers,
    .n_answers = N(answers),
    .hints = hints,
    .n_hints = N(hints),
    .timers = timers,
    .n_timers = N(timers),
    .metrics = sch_metrics,
    .n_metrics = SCH_METRIC_COUNT,
    .init = init,
    .release = sch_free,
    .stopping = sch_stopping,
};
