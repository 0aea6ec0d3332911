#include "services/scheduler/explain.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/buf.h"

#define REASON(x) HODEI__V1__PLACE_REASON__PLACE_REASON_##x
#define MINUTE_MS 60000

// --- texts -----------------------------------------------------------------------------------------------------------

// "1 worker", "3 workers"
static const char *count_of(struct hd_arena *arena, size_t n, const char *what) {
    return hd_arena_printf(arena, "%zu %s%s", n, what, n == 1 ? "" : "s");
}

static const char *amount(struct hd_arena *arena, enum hd_resource resource, int64_t n) {
    HD_AUTO_BUF struct hd_buf out = {0};
    hd_resource_format(resource, n, &out);
    return hd_arena_strdup(arena, out.data);
}

static const char *executor_name(int executor) {
    switch (executor) {
    case HODEI__V1__EXECUTOR__EXECUTOR_SHELL:
        return "shell";
    case HODEI__V1__EXECUTOR__EXECUTOR_DOCKER:
        return "docker";
    case HODEI__V1__EXECUTOR__EXECUTOR_KUBERNETES:
        return "kubernetes";
    case HODEI__V1__EXECUTOR__EXECUTOR_NOOP:
        return "noop";
    default:
        return "that it asks for";
    }
}

static struct sch_verdict verdict(Hodei__V1__PlaceReason reason, const char *text) {
    return (struct sch_verdict){.reason = reason, .text = text};
}

// --- what the workers are --------------------------------------------------------------------------------------------

static bool has_all_but(const struct sch_worker *worker, const struct sch_needs *needs, size_t but) {
    if (!sch_has_executor(worker, needs->executor))
        return false;
    for (size_t i = 0; i < needs->labels.n; i++)
        if (i != but && !sch_has_label(worker, &needs->labels.list[i]))
            return false;
    return true;
}

static bool has_all(const struct sch_worker *worker, const struct sch_needs *needs) {
    return has_all_but(worker, needs, needs->labels.n);
}

// Names the label without which the most workers would do, and before all others one that nobody has.
static struct sch_verdict no_label(struct hd_arena *arena, const struct sch_fleet *fleet,
                                   const struct sch_needs *needs) {
    size_t best = 0, best_near = 0;
    bool best_absent = false;
    for (size_t l = 0; l < needs->labels.n; l++) {
        size_t near = 0, have = 0;
        for (size_t i = 0; i < fleet->n; i++) {
            near += has_all_but(fleet->workers[i], needs, l);
            have += sch_has_label(fleet->workers[i], &needs->labels.list[l]);
        }
        if (l && (best_absent > !have || (best_absent == !have && best_near >= near)))
            continue;
        best = l;
        best_near = near;
        best_absent = !have;
    }
    const struct sch_pair *label = &needs->labels.list[best];
    const char *lacks = best_absent || needs->labels.n == 1 ? "" : " together with the others that the job asks for";
    const char *near = best_near ? hd_arena_printf(arena, "%zu of %s lack%s only that", best_near,
                                                   count_of(arena, fleet->n, "worker"), best_near == 1 ? "s" : "")
                                 : "start one that has";
    return verdict(REASON(LABEL), hd_arena_printf(arena, "no worker of pool \"%s\" has the label %s=%s%s: %s",
                                                  fleet->pool, label->key, label->value, lacks, near));
}

static struct sch_verdict too_large(struct hd_arena *arena, const struct sch_fleet *fleet,
                                    const struct sch_needs *needs, const struct hd_resources *asks) {
    size_t n = 0;
    struct hd_resources most = {0};
    for (size_t i = 0; i < fleet->n; i++) {
        if (!has_all(fleet->workers[i], needs))
            continue;
        n++;
        for (size_t r = 0; r < HD_RESOURCES; r++) {
            int64_t has = fleet->workers[i]->capacity.of[r];
            most.of[r] = has > most.of[r] ? has : most.of[r];
        }
    }
    enum hd_resource lacks = hd_resources_short(asks, &most);
    const char *of = count_of(arena, n, "worker");
    if (lacks == HD_RESOURCES)
        return verdict(REASON(TOO_LARGE),
                       hd_arena_printf(arena,
                                       "none of %s of pool \"%s\" has all that the job asks for at once: ask for less, "
                                       "or start a larger worker",
                                       of, fleet->pool));
    return verdict(REASON(TOO_LARGE),
                   hd_arena_printf(arena,
                                   "the job asks for %s, and the largest of %s of pool \"%s\" has %s: ask for less, or "
                                   "start a larger worker",
                                   amount(arena, lacks, asks->of[lacks]), of, fleet->pool,
                                   amount(arena, lacks, most.of[lacks])));
}

static bool same_pair(const struct sch_pair *a, const struct sch_pair *b) {
    return strcmp(a->key, b->key) == 0 && strcmp(a->value, b->value) == 0;
}

// Names the taint that keeps it from the most workers.
static struct sch_verdict tainted(struct hd_arena *arena, const struct sch_fleet *fleet, const struct sch_needs *needs,
                                  const struct hd_resources *asks) {
    struct {
        const struct sch_pair *taint;
        size_t n;
    } *found = NULL;
    size_t n_found = 0, cap = 0, n = 0, worst = 0;
    for (size_t i = 0; i < fleet->n; i++) {
        const struct sch_worker *worker = fleet->workers[i];
        const struct sch_pair *taint = sch_intolerable(worker, &needs->tolerations);
        size_t k = 0;
        if (!taint || !has_all(worker, needs) || !sch_large_enough(worker, asks))
            continue;
        while (k < n_found && !same_pair(found[k].taint, taint))
            k++;
        if (k == n_found) {
            HD_GROW(arena, found, n_found, cap);
            found[n_found].taint = taint;
            found[n_found++].n = 0;
        }
        n++;
        worst = ++found[k].n > found[worst].n ? k : worst;
    }
    assert(found); // the caller has seen that some would do
    return verdict(REASON(TAINT),
                   hd_arena_printf(
                       arena, "%s of pool \"%s\" would do, and %zu of them %s the taint %s=%s: let the job tolerate it",
                       count_of(arena, n, "worker"), fleet->pool, found[worst].n, found[worst].n == 1 ? "has" : "have",
                       found[worst].taint->key, found[worst].taint->value));
}

struct room_count {
    const struct sch_worker *avoided;          // it has room, and is not taken since others will do
    size_t fit, online, open;                  // open: online and not cordoned
    size_t takes;                              // and its agent takes work
    const struct sch_worker *cordoned, *unfit; // one of each; NULL: none
    int64_t free_slots;
    struct hd_resources most; // free on one worker that has a slot
};

static struct room_count count_room(const struct sch_fleet *fleet, const struct sch_needs *needs,
                                    const struct hd_resources *asks) {
    struct room_count count = {0};
    bool others = false; // that could ever hold it, beside the one to avoid
    for (size_t i = 0; i < fleet->n && needs->avoid; i++)
        others |= sch_large_enough(fleet->workers[i], asks) && sch_fits(fleet->workers[i], needs) &&
                  !sch_avoided(fleet->workers[i], needs);
    for (size_t i = 0; i < fleet->n; i++) {
        const struct sch_worker *worker = fleet->workers[i];
        if (!sch_large_enough(worker, asks) || !sch_fits(worker, needs))
            continue;
        if (others && sch_avoided(worker, needs)) {
            count.avoided = sch_has_room(worker, asks) ? worker : NULL;
            continue;
        }
        struct sch_room room = sch_room_of(worker);
        count.fit++;
        bool online = worker->state == HODEI__V1__WORKER_STATE__WORKER_STATE_ONLINE;
        count.online += online;
        count.open += online && !worker->cordoned;
        count.takes += sch_takes_work(worker);
        if (online && worker->cordoned && !count.cordoned)
            count.cordoned = worker;
        if (online && !worker->cordoned && *worker->unfit && !count.unfit)
            count.unfit = worker;
        count.free_slots += room.slots;
        for (size_t r = 0; r < HD_RESOURCES; r++)
            if (room.slots > 0 && room.amounts.of[r] > count.most.of[r])
                count.most.of[r] = room.amounts.of[r];
    }
    return count;
}

static const char *busy_text(struct hd_arena *arena, const struct sch_fleet *fleet, const struct room_count *count,
                             const struct hd_resources *asks) {
    const char *of = count_of(arena, count->fit, "worker");
    enum hd_resource lacks = hd_resources_short(asks, &count->most);
    if (!count->free_slots)
        return hd_arena_printf(arena, "every slot of %s of pool \"%s\" that can run it is busy", of, fleet->pool);
    if (lacks == HD_RESOURCES)
        return hd_arena_printf(arena, "none of %s of pool \"%s\" that can run it has room for all of it at the moment",
                               of, fleet->pool);
    return hd_arena_printf(arena, "none of %s of pool \"%s\" that can run it has %s free at the moment, the most is %s",
                           of, fleet->pool, amount(arena, lacks, asks->of[lacks]),
                           amount(arena, lacks, count->most.of[lacks]));
}

// Online, and still nothing may go there.
static struct sch_verdict closed(struct hd_arena *arena, const struct sch_fleet *fleet,
                                 const struct room_count *count) {
    const char *of = count_of(arena, count->online, "worker");
    if (!count->open)
        return verdict(REASON(CORDONED),
                       hd_arena_printf(arena,
                                       "%s of pool \"%s\" could run it, and %s %s: hodei worker uncordon %s, or start "
                                       "another one",
                                       of, fleet->pool, count->online == 1 ? "it is" : "all of them are",
                                       count->cordoned->draining ? "being drained" : "cordoned",
                                       count->cordoned->name));
    return verdict(
        REASON(UNFIT),
        hd_arena_printf(arena, "%s of pool \"%s\" could run it, and %s no work at the moment: worker \"%s\" says: %s",
                        of, fleet->pool, count->online == 1 ? "it takes" : "they take", count->unfit->name,
                        count->unfit->unfit));
}

struct sch_verdict sch_explain_class(struct hd_arena *arena, const struct sch_fleet *fleet,
                                     const struct sch_needs *needs, const struct hd_resources *asks) {
    size_t with_executor = 0, with_labels = 0, large = 0;
    for (size_t i = 0; i < fleet->n; i++) {
        const struct sch_worker *worker = fleet->workers[i];
        bool all = has_all(worker, needs);
        with_executor += sch_has_executor(worker, needs->executor);
        with_labels += all;
        large += all && sch_large_enough(worker, asks);
    }
    if (!fleet->n)
        return verdict(REASON(NO_WORKER),
                       hd_arena_printf(arena, "pool \"%s\" has no worker: start an agent for it", fleet->pool));
    if (!with_executor)
        return verdict(REASON(EXECUTOR), hd_arena_printf(arena,
                                                         "none of %s of pool \"%s\" has the executor %s: start one "
                                                         "that has",
                                                         count_of(arena, fleet->n, "worker"), fleet->pool,
                                                         executor_name(needs->executor)));
    if (!with_labels)
        return no_label(arena, fleet, needs);
    if (!large)
        return too_large(arena, fleet, needs, asks);
    struct room_count count = count_room(fleet, needs, asks);
    if (!count.fit)
        return tainted(arena, fleet, needs, asks);
    if (count.avoided)
        return verdict(REASON(AVOID),
                       hd_arena_printf(arena,
                                       "worker \"%s\" has room, and the attempt before ran there (retry.avoid_worker): "
                                       "wait for %s of pool \"%s\" that can run it, or start another one",
                                       count.avoided->name, count_of(arena, count.fit, "other worker"), fleet->pool));
    if (!count.online)
        return verdict(REASON(OFFLINE),
                       hd_arena_printf(arena, "%s of pool \"%s\" could run it, and none is online: look at %s",
                                       count_of(arena, count.fit, "worker"), fleet->pool,
                                       count.fit == 1 ? "its agent" : "their agents"));
    if (!count.takes)
        return closed(arena, fleet, &count);
    return verdict(REASON(BUSY), busy_text(arena, fleet, &count, asks));
}

// --- what goes first -------------------------------------------------------------------------------------------------

void sch_rate_add(struct sch_rate *rate, int64_t n, int64_t mono_ms) {
    int64_t minute = mono_ms / MINUTE_MS;
    if (minute != rate->minute)
        *rate = (struct sch_rate){.minute = minute, .before = minute == rate->minute + 1 ? rate->now : 0};
    rate->now += n;
}

int64_t sch_rate_estimate_ms(const struct sch_rate *rate, size_t n, int64_t mono_ms) {
    struct sch_rate at = *rate;
    sch_rate_add(&at, 0, mono_ms);
    int64_t started = at.now + at.before * (MINUTE_MS - mono_ms % MINUTE_MS) / MINUTE_MS;
    if (started <= 0)
        return 0;
    return n < INT32_MAX ? (int64_t)n * MINUTE_MS / started + 1 : INT64_MAX;
}

static const char *duration(struct hd_arena *arena, int64_t ms) {
    int64_t s = ms / 1000 + 1;
    if (s < 120)
        return hd_arena_printf(arena, "%" PRId64 " s", s);
    return s < 7200 ? hd_arena_printf(arena, "%" PRId64 " min", s / 60)
                    : hd_arena_printf(arena, "%" PRId64 " h", s / 3600);
}

static const char *place_text(struct hd_arena *arena, const struct sch_verdict *v) {
    if (!v->estimate_ms)
        return hd_arena_printf(arena, "it is number %zu of %zu in the queue", v->position, v->queued);
    return hd_arena_printf(arena, "it is number %zu of %zu in the queue, about %s", v->position, v->queued,
                           duration(arena, v->estimate_ms));
}

// At most one worker of a pool is kept free; for this one, or why a free one is not for it.
static struct sch_verdict with_reserved(struct hd_arena *arena, const struct sch_fleet *fleet,
                                        const struct sch_offer *offer, struct sch_verdict v) {
    for (size_t i = 0; i < fleet->n; i++) {
        const struct sch_worker *worker = fleet->workers[i];
        if (worker->reserved_for == offer->key)
            v.text = hd_arena_printf(arena,
                                     "%s; since it has waited long, worker \"%s\" takes nothing else until it has room "
                                     "for it",
                                     v.text, worker->name);
        else if (worker->reserved_for && sch_fits(worker, &offer->class->selector->needs))
            v.text = hd_arena_printf(arena, "%s; worker \"%s\" is kept free for a job that has waited long", v.text,
                                     worker->name);
    }
    return v;
}

struct sch_verdict sch_explain_offer(struct hd_arena *arena, const struct sch_fleet *fleet,
                                     const struct sch_queue *queue, const struct sch_rate *rate,
                                     const struct sch_offer *offer, struct hd_now now) {
    if (offer->state != SCH_WAITING)
        return verdict(REASON(PLACED),
                       offer->worker ? hd_arena_printf(arena, "it has a place on worker \"%s\"", offer->worker->name)
                                     : "it has a place");
    struct sch_verdict v = sch_explain_class(arena, fleet, &offer->class->selector->needs, &offer->asks);
    if (v.reason != REASON(BUSY))
        return v;
    struct sch_standing standing = sch_standing_of(arena, fleet, queue, offer, now.wall_ms);
    v.position = standing.position;
    v.queued = standing.queued;
    v.estimate_ms = sch_rate_estimate_ms(rate, standing.position, now.mono_ms);
    const char *where = place_text(arena, &v);
    if (standing.higher) {
        v.reason = REASON(PRIORITY);
        v.text = hd_arena_printf(arena, "%s, and %s of higher priority go%s first: raise its priority above %d; %s",
                                 v.text, count_of(arena, standing.higher, "job"), standing.higher == 1 ? "es" : "",
                                 offer->priority, where);
    } else if (standing.poorer) {
        v.reason = REASON(FAIR_SHARE);
        v.text = hd_arena_printf(arena,
                                 "%s, and its tenant \"%s\" has %s running: %s of tenants with less go%s first, as the "
                                 "weights of the tenants say; %s",
                                 v.text, offer->tenant->name, count_of(arena, (size_t)offer->tenant->live, "job"),
                                 count_of(arena, standing.poorer, "job"), standing.poorer == 1 ? "es" : "", where);
    } else {
        v.text = hd_arena_printf(arena, "%s: %s; more workers would shorten it", v.text, where);
    }
    return with_reserved(arena, fleet, offer, v);
}
