// Admission: which QUEUED jobs a tenant's grant lets through. Pure.
#include "services/orchestrator/advance.h"

#define MARK_AGAIN_MS                                                                                                  \
    60000 // a mark that was crossed stays so long at least: small limits are full and free with every job
#define DAY_MS 86400000
#define TOO_LARGE_AGAIN_MS 15000 // until a job that is larger than the limit is looked at again

// WAITING or QUEUED: it counts as queued for those who look at it from outside.
static bool pending(int state) {
    return state == HODEI__V1__JOB_STATE__JOB_STATE_WAITING || state == HODEI__V1__JOB_STATE__JOB_STATE_QUEUED;
}

struct hd_quota orc_job_asks(const struct orc_job *job) {
    return hd_quota_of_job(job->run->plan ? orc_job_spec(job)->resources : NULL);
}

bool orc_tenant_touched(const struct orc_job *job) {
    return orc_job_counted(job->state) != orc_job_counted(job->was) || pending(job->state) != pending(job->was) ||
           orc_job_admissible(job->state, job->hold) != orc_job_admissible(job->was, job->was_hold);
}

int64_t orc_attempt_spent_ms(const struct orc_attempt *attempt, int64_t now_ms) {
    if (!orc_attempt_ended(attempt->state) || orc_attempt_ended(attempt->was) || !attempt->started_ms)
        return 0;
    int64_t ms = attempt->ended_ms - attempt->started_ms, most = now_ms - attempt->assigned_ms; // it says so, we saw it
    ms = ms < most ? ms : most;
    return ms > 0 ? ms : 0;
}

void orc_tenant_turn(struct orc_tenant *tenant, int64_t now_ms) {
    int64_t day = hd_quota_day(now_ms), month = hd_quota_month(now_ms);
    if (day > tenant->day) { // a replica whose clock is behind counts on in the new day
        tenant->day = day;
        tenant->used.of[HD_QUOTA_RUNS_DAY] = 0;
    }
    if (month > tenant->month) {
        tenant->month = month;
        tenant->job_ms = tenant->used.of[HD_QUOTA_MINUTES_MONTH] = 0;
    }
}

static void count_jobs(const struct orc_ws *ws, struct orc_tenant *tenant) {
    for (size_t i = 0; i < ws->jobs.n; i++) {
        const struct orc_job *job = ws->jobs.items[i];
        if (!orc_tenant_touched(job) || !orc_tenant_counts(tenant, job->run))
            continue;
        int64_t counted = orc_job_counted(job->state) - orc_job_counted(job->was);
        if (counted) {
            struct hd_quota asks = orc_job_asks(job);
            hd_quota_add(&tenant->used, &asks, counted);
        }
        tenant->used.of[HD_QUOTA_QUEUED] += pending(job->state) - pending(job->was);
        int64_t queued = orc_job_admissible(job->state, job->hold) - orc_job_admissible(job->was, job->was_hold);
        tenant->queued += queued;
        if (!*tenant->project && orc_in_project(job->run))
            tenant->parts += queued;
        tenant->dirty = true;
    }
}

void orc_tenant_count(const struct orc_ws *ws, struct orc_tenant *tenant, int64_t now_ms) {
    orc_tenant_turn(tenant, now_ms);
    count_jobs(ws, tenant);
    for (size_t i = 0; i < ws->runs.n; i++) {
        const struct orc_run *run = ws->runs.items[i];
        if (run->was == 0 && !run->duplicate && orc_tenant_counts(tenant, run))
            tenant->started++;
    }
    for (size_t i = 0; i < ws->attempts.n; i++) {
        const struct orc_attempt *attempt = ws->attempts.items[i];
        int64_t ms = orc_attempt_spent_ms(attempt, now_ms);
        if (ms == 0 || !orc_tenant_counts(tenant, attempt->job->run))
            continue;
        tenant->job_ms += ms;
        tenant->dirty = true;
    }
    tenant->dirty |= tenant->started > 0;
    tenant->used.of[HD_QUOTA_RUNS_DAY] += (int64_t)tenant->started;
    tenant->used.of[HD_QUOTA_MINUTES_MONTH] = tenant->job_ms / HD_QUOTA_MS_A_MINUTE;
}

bool orc_tenant_open(const struct orc_tenant *tenant) {
    for (size_t i = 0; i < HD_QUOTA_CONCURRENT && tenant->granted; i++)
        if (i != HD_QUOTA_GPU && hd_quota_room(tenant->limit.of[i], tenant->used.of[i]) == 0)
            return false;
    return tenant->granted;
}

size_t orc_tenant_wanted(const struct orc_tenant *tenant, size_t most) {
    int64_t jobs = tenant->used.of[HD_QUOTA_JOBS], room = hd_quota_room(tenant->limit.of[HD_QUOTA_JOBS], jobs);
    int64_t wanted = room < (int64_t)most ? room : (int64_t)most;
    for (size_t i = HD_QUOTA_CPU; i < HD_QUOTA_CONCURRENT; i++) {
        int64_t used = tenant->used.of[i], left = hd_quota_room(tenant->limit.of[i], used);
        if (left == INT64_MAX || jobs == 0 || used < jobs)
            continue;
        int64_t guess = left / (used / jobs) * 2 + 16; // as if the next ones were like those that are admitted
        wanted = guess < wanted ? guess : wanted;
    }
    return (size_t)wanted;
}

static void leave_queue(struct orc_tenant *tenant, struct orc_tenant *part) {
    tenant->queued--;
    tenant->dirty = true;
    if (!part)
        return;
    tenant->parts--;
    part->queued--;
    part->dirty = true;
}

// It cannot be admitted as things stand, and hides nobody while it waits for the limit to change.
static void put_aside(struct orc_job *job, struct orc_tenant *tenant, struct orc_tenant *part, int64_t now_ms) {
    job->hold |= ORC_HOLD_TOO_LARGE;
    job->due_ms = now_ms + TOO_LARGE_AGAIN_MS;
    job->dirty = job->run->dirty = true;
    leave_queue(tenant, part);
}

static bool never_fits(const struct orc_tenant *tenant, const struct hd_quota *asks) {
    return hd_quota_never(&tenant->limit, asks) != HD_QUOTA_DIMS;
}

static bool fits(const struct orc_tenant *tenant, const struct hd_quota *asks) {
    return hd_quota_short(&tenant->limit, &tenant->used, asks) == HD_QUOTA_DIMS;
}

static void take(struct orc_tenant *tenant, const struct hd_quota *asks) {
    hd_quota_add(&tenant->used, asks, 1);
    tenant->used.of[HD_QUOTA_QUEUED]--;
}

static size_t candidates_of(const struct orc_ws *ws, const struct orc_tenant *tenant, struct orc_job **ret) {
    size_t n = 0;
    for (size_t i = 0; i < ws->jobs.n; i++)
        if (orc_job_admissible(ws->jobs.items[i]->state, ws->jobs.items[i]->hold) &&
            orc_tenant_counts(tenant, ws->jobs.items[i]->run))
            ret[n++] = ws->jobs.items[i];
    if (n > 1)
        qsort(ret, n, sizeof ret[0], orc_admission_order);
    for (size_t i = 0; i < ws->n_tenants; i++)
        ws->tenants[i]->blocked = false;
    return n;
}

size_t orc_tenant_admit(struct orc_ws *ws, struct orc_tenant *tenant, struct orc_chance *chance) {
    if (!orc_tenant_open(tenant))
        return 0;
    struct orc_job **candidates = HD_NEW_ARRAY(ws->arena, ws->jobs.n, struct orc_job *);
    size_t n = candidates_of(ws, tenant, candidates), admitted = 0;
    for (size_t i = 0; i < n; i++) {
        struct hd_quota asks = orc_job_asks(candidates[i]);
        struct orc_tenant *part = orc_in_project(candidates[i]->run) ? orc_ws_part(ws, candidates[i]->run) : NULL;
        if (part && part->blocked)
            continue;
        if (never_fits(tenant, &asks) || (part && never_fits(part, &asks))) {
            put_aside(candidates[i], tenant, part, chance->now_ms);
            continue;
        }
        if (!fits(tenant, &asks))
            break; // who comes later waits behind it, so that a large job is not passed for ever
        if (part && !fits(part, &asks)) {
            part->blocked = true; // likewise, but for its project alone
            continue;
        }
        orc_job_change(candidates[i], ORC_JOB_ADMIT, 0, chance);
        candidates[i]->run->dirty = true;
        take(tenant, &asks);
        if (part)
            take(part, &asks);
        leave_queue(tenant, part);
        admitted++;
    }
    return admitted;
}

void orc_tenant_lend(const struct orc_tenant *tenant, struct hd_quota *spare, bool *waiting) {
    if (*tenant->project) // what it leaves is its tenant's
        return;
    for (size_t i = 0; i < HD_QUOTA_CONCURRENT; i++)
        if (tenant->limit.of[i] >= 0)
            spare->of[i] += tenant->limit.of[i] - tenant->used.of[i]; // less where it borrows itself
    *waiting |= tenant->queued > 0 && orc_tenant_open(tenant);
}

struct hd_quota orc_tenant_borrow(const struct orc_tenant *tenant, const struct hd_quota *spare) {
    struct hd_quota limit = tenant->limit;
    for (size_t i = 0; i < HD_QUOTA_CONCURRENT; i++)
        if (limit.of[i] >= 0 && spare->of[i] > 0)
            limit.of[i] += spare->of[i];
    return limit;
}

void orc_tenant_mark(struct orc_tenant *tenant, int64_t now_ms) {
    if (!tenant->granted)
        return;
    uint32_t marks = hd_quota_marks(&tenant->limit, &tenant->used, tenant->marks);
    if (now_ms < tenant->marked_ms + MARK_AGAIN_MS)
        marks |= tenant->marks;
    tenant->crossed = marks & ~tenant->marks;
    tenant->marked_ms = tenant->crossed ? now_ms : tenant->marked_ms;
    tenant->dirty |= marks != tenant->marks;
    tenant->marks = marks;
}

// --- starts ------------------------------------------------------------------------------------------------------------

static enum hd_quota_dim stock_over(const struct orc_tenant *tenant, int64_t runs, int64_t jobs, int64_t *ret_wants) {
    const int64_t wants[HD_QUOTA_DIMS] = {
        [HD_QUOTA_QUEUED] = jobs, [HD_QUOTA_RUNS_DAY] = runs, [HD_QUOTA_MINUTES_MONTH] = 1};
    for (unsigned i = HD_QUOTA_CONCURRENT; i < HD_QUOTA_DIMS; i++) {
        *ret_wants = wants[i];
        if (wants[i] > hd_quota_room(tenant->limit.of[i], tenant->used.of[i]))
            return (enum hd_quota_dim)i;
    }
    return HD_QUOTA_DIMS;
}

static const char *amount(struct hd_arena *arena, enum hd_quota_dim dim, int64_t value) {
    HD_AUTO_BUF struct hd_buf text = {0};
    hd_quota_format(dim, value, &text);
    return hd_arena_strdup(arena, text.data);
}

static const char *who(struct hd_arena *arena, const struct orc_tenant *tenant) {
    return *tenant->project ? hd_arena_printf(arena, "the project %s", tenant->project) : "the tenant";
}

static const char *too_large(struct hd_arena *arena, enum hd_quota_dim dim, const struct hd_quota *asks,
                             const struct orc_tenant *tenant) {
    return hd_arena_printf(arena, "it asks for %s, and %s may use %s in all", amount(arena, dim, asks->of[dim]),
                           who(arena, tenant), amount(arena, dim, tenant->limit.of[dim]));
}

static bool jobs_fit(struct hd_arena *arena, const struct orc_tenant *tenant, const Hodei__V1__CompiledPipeline *plan,
                     struct hd_err *err) {
    for (size_t i = 0; i < plan->n_jobs; i++) {
        struct hd_quota asks = hd_quota_of_job(plan->jobs[i]->resources);
        enum hd_quota_dim dim = hd_quota_never(&tenant->limit, &asks);
        if (dim == HD_QUOTA_DIMS)
            continue;
        hd_err_set(err, HD_PRECONDITION, "job %.100s can never start: %s", plan->jobs[i]->name,
                   too_large(arena, dim, &asks, tenant));
        hd_err_field(err, "pipeline");
        hd_err_hint(err, "let it ask for less, or have %s of the quota of %s raised", hd_quota_field(dim),
                    who(arena, tenant));
        return false;
    }
    return true;
}

// Until what is counted for a day or a month begins anew; -1: nobody knows.
static int64_t refill_ms(enum hd_quota_dim dim, int64_t now_ms) {
    int64_t until = (now_ms / DAY_MS + 1) * DAY_MS;

    if (dim != HD_QUOTA_RUNS_DAY && dim != HD_QUOTA_MINUTES_MONTH)
        return -1;
    while (dim == HD_QUOTA_MINUTES_MONTH && hd_quota_month(until) == hd_quota_month(now_ms))
        until += DAY_MS;
    return until - now_ms;
}

static void stock_refuse(struct hd_arena *arena, const struct orc_tenant *tenant, enum hd_quota_dim dim, int64_t wants,
                         int64_t now_ms, struct hd_err *err) {
    static const char *const ways[HD_QUOTA_DIMS] = {[HD_QUOTA_QUEUED] = "wait until jobs have started",
                                                    [HD_QUOTA_RUNS_DAY] = "wait for midnight UTC",
                                                    [HD_QUOTA_MINUTES_MONTH] = "wait for the next month (UTC)"};
    hd_err_set(err, HD_LIMITED, "%s has used %lld of its %s, and this needs %lld more", who(arena, tenant),
               (long long)tenant->used.of[dim], amount(arena, dim, tenant->limit.of[dim]), (long long)wants);
    hd_err_field(err, "quota.%s", hd_quota_field(dim));
    hd_err_hint(err, "%s, or have %s of the quota raised (hodei quota set)", ways[dim], hd_quota_field(dim));
    if (refill_ms(dim, now_ms) >= 0)
        hd_err_retry_after(err, refill_ms(dim, now_ms));
}

bool orc_start_allowed(struct hd_arena *arena, struct orc_tenant *tenant, const Hodei__V1__CompiledPipeline *plan,
                       int64_t now_ms, struct hd_err *err) {
    int64_t jobs = (int64_t)plan->n_jobs, wants;
    orc_tenant_turn(tenant, now_ms);
    if (!tenant->granted)
        return true;
    if (!jobs_fit(arena, tenant, plan, err))
        return false;
    enum hd_quota_dim dim = stock_over(tenant, 1, jobs, &wants);
    if (dim != HD_QUOTA_DIMS) {
        stock_refuse(arena, tenant, dim, wants, now_ms, err);
        return false;
    }
    tenant->used.of[HD_QUOTA_RUNS_DAY]++;
    tenant->used.of[HD_QUOTA_QUEUED] += jobs;
    return true;
}

bool orc_tenant_within(struct hd_arena *arena, const struct orc_tenant *tenant, int64_t now_ms, struct hd_err *err) {
    for (unsigned i = HD_QUOTA_CONCURRENT; i < HD_QUOTA_DIMS && tenant->granted && tenant->started; i++) {
        int64_t limit = tenant->limit.of[i], over = tenant->used.of[i] - limit + (i == HD_QUOTA_MINUTES_MONTH);
        if (limit < 0 || over <= 0)
            continue;
        struct orc_tenant before = *tenant;
        before.used.of[i] = limit;
        stock_refuse(arena, &before, (enum hd_quota_dim)i, over, now_ms, err);
        return false;
    }
    return true;
}

const char *orc_quota_why(struct hd_arena *arena, const struct orc_job *job, const struct orc_tenant *tenant) {
    struct hd_quota asks = orc_job_asks(job);
    enum hd_quota_dim dim = hd_quota_never(&tenant->limit, &asks);
    if (dim != HD_QUOTA_DIMS)
        return hd_arena_printf(arena, "%s: it can never start; let it ask for less, or raise the quota",
                               too_large(arena, dim, &asks, tenant));
    dim = hd_quota_short(&tenant->limit, &tenant->used, &asks);
    if (dim == HD_QUOTA_JOBS)
        return hd_arena_printf(
            arena,
            "%s has %lld of its %lld concurrent jobs admitted and %lld wait: wait for one to end, or raise the quota",
            who(arena, tenant), (long long)tenant->used.of[dim], (long long)tenant->limit.of[dim],
            (long long)tenant->queued);
    if (dim != HD_QUOTA_DIMS)
        return hd_arena_printf(arena,
                               "it asks for %s, and jobs of %s have %s of its %s: wait for one to end, or raise "
                               "the quota",
                               amount(arena, dim, asks.of[dim]), who(arena, tenant),
                               amount(arena, dim, tenant->used.of[dim]), amount(arena, dim, tenant->limit.of[dim]));
    return hd_arena_printf(arena,
                           "it waits behind %lld others of %s, the first of which does not fit into its quota "
                           "yet: wait for a job to end, or raise the quota",
                           (long long)(tenant->queued > 0 ? tenant->queued - 1 : 0), who(arena, tenant));
}

const struct orc_tenant *orc_quota_of(const struct orc_job *job, const struct orc_tenant *tenant,
                                      const struct orc_tenant *part) {
    struct hd_quota asks = orc_job_asks(job);
    return part && (never_fits(part, &asks) || !fits(part, &asks)) ? part : tenant;
}
