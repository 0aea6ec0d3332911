// What the registry knows of workers: the attempts that live ones hold, and sessions that are gone. And the sweep.
#include "base/names.h"
#include "hodei/v1/common.pb-c.h"
#include "services/orchestrator/finish.h"

#define ASSIGN_AGAIN_MS 3000 // an assignment may be on its way for that long
#define MISSED_MS 10000      // a RUNNING attempt that its worker does not name for that long is lost
#define SWEEP_AT_ONCE 500
#define LOST_KEPT_MS (24 * 3600 * 1000)

#define ATT(x) HODEI__V1__ATTEMPT_STATE__ATTEMPT_STATE_##x
#define CANCELLING HODEI__V1__JOB_STATE__JOB_STATE_CANCELLING

// --- lost attempts ------------------------------------------------------------------------------------------------------------
struct loss { // what is known of attempts, without a word from their workers
    enum orc_attempt_event event;
    int cause;
    const char *message;
    bool of_lost; // only of what the table says is lost: a loss may be told again after the worker came back
    const struct holdings *all; // of whom was heard; NULL: of nobody
};
static const struct loss worker_lost = {ORC_ATTEMPT_GONE, HODEI__V1__CAUSE__CAUSE_WORKER_LOST, "the worker was lost",
                                        .of_lost = true};
static const struct loss state_lost = {ORC_ATTEMPT_LOSE, HODEI__V1__CAUSE__CAUSE_STATE_LOST,
                                       "the worker no longer knows the attempt"};

struct held { // one attempt that a worker named
    struct hd_uuid attempt;
    const char *text;
    const Hodei__V1__HeldByWorker *by;
    struct hd_uuid session;
};
struct worker {
    struct hd_uuid session;
    const Hodei__V1__HeldByWorker *by;
};
struct holdings {
    struct held *held;
    struct worker *workers;
    size_t n_held, n_workers, cap_held, cap_workers;
};

static const struct worker *worker_of(const struct holdings *all, const struct orc_attempt *attempt) {
    for (size_t i = 0; i < all->n_workers; i++)
        if (hd_uuid_eq(all->workers[i].session, attempt->session) &&
            strcmp(all->workers[i].by->worker, attempt->worker) == 0)
            return &all->workers[i];
    return NULL;
}

// Those that were placed with an incarnation that is gone, and those that were held for it. They are locked, so that nobody adopts them
// meanwhile.
static enum hd_status keep_lost(struct hd_ctx *cx, struct orchestrator *orc, const struct orc_ws *ws,
                                struct orc_news_item *items, size_t *inout_n) {
    struct hd_uuid *sessions = HD_NEW_ARRAY(cx->arena, ws->attempts.n, struct hd_uuid);
    struct orc_life *lost = NULL;
    size_t n_lost, kept = 0;
    for (size_t i = 0; i < ws->attempts.n; i++)
        sessions[i] = ws->attempts.items[i]->session;
    HD_TRY(ORC_DO(cx, orc, sessions_lost, sessions, orc_uuids_unique(sessions, ws->attempts.n), &lost, &n_lost));
    for (size_t i = 0; i < *inout_n; i++) {
        const struct orc_attempt *attempt = orc_ws_attempt(ws, items[i].attempt);
        bool gone = attempt && attempt->gone_ms;
        for (size_t k = 0; attempt && k < n_lost && !gone; k++)
            gone = orc_life_gone(lost[k], attempt->session, attempt->incarnation);
        if (gone)
            items[kept++] = items[i];
    }
    *inout_n = kept;
    return HD_OK;
}

static enum hd_status lose(struct hd_ctx *cx, struct orchestrator *orc, const struct orc_attempt_ref *refs, size_t n,
                           const struct loss *loss, struct orc_out *out) {
    struct orc_ws ws;
    if (n == 0) {
        orc_out_flush(cx, out);
        return HD_OK;
    }
    orc_ws_init(&ws, cx->arena);
    HD_TRY(orc_load_attempts(cx, orc, &ws, refs, n));
    struct orc_news_item *items = HD_NEW_ARRAY(cx->arena, n, struct orc_news_item);
    bool *final = HD_NEW_ARRAY(cx->arena, n, bool);
    for (size_t i = 0; i < n; i++) {
        const struct orc_attempt *attempt = orc_ws_attempt(&ws, refs[i].id);
        const struct worker *worker = loss->all && attempt ? worker_of(loss->all, attempt) : NULL;
        struct orc_attempt_news news = {.event = loss->event, .cause = loss->cause, .message = loss->message};
        news.incarnation = worker ? worker->by->incarnation : 0;
        items[i] = (struct orc_news_item){.attempt = refs[i].id, .worker = "", .news = news};
    }
    if (loss->of_lost)
        HD_TRY(keep_lost(cx, orc, &ws, items, &n));
    HD_TRY(orc_apply_news(cx, &ws, items, n, final));
    return orc_finish(cx, orc, &ws, out);
}

static int life_order(const void *a, const void *b) {
    const struct orc_life *x = a, *y = b;
    int cmp = hd_uuid_cmp(x->session, y->session);
    return cmp ? cmp : (x->incarnation > y->incarnation) - (x->incarnation < y->incarnation);
}

// Each session once, with the latest incarnation, in order. Returns how many stay.
static size_t latest(struct orc_life *lives, size_t n) {
    size_t kept = 0;
    if (n > 1)
        qsort(lives, n, sizeof *lives, life_order);
    for (size_t i = 0; i < n; i++)
        if (i + 1 == n || !hd_uuid_eq(lives[i].session, lives[i + 1].session))
            lives[kept++] = lives[i];
    return kept;
}

enum hd_status orc_sessions_lost(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct orchestrator *orc = self;
    struct orc_life *lives = NULL;
    size_t count = 0, cap = 0;
    orc_versions_trim(&orc->versions);
    for (size_t i = 0; i < n; i++) {
        const Hodei__V1__SessionsLostRequest *request = (const Hodei__V1__SessionsLostRequest *)items[i].msg;
        for (size_t k = 0; k < request->n_sessions; k++) {
            struct orc_life life = {.incarnation = request->sessions[k]->incarnation};
            if (hd_uuid_parse(request->sessions[k]->session, &life.session) != HD_OK)
                continue; // none of ours can have it
            HD_GROW(cx->arena, lives, count, cap);
            lives[count++] = life;
        }
    }
    count = latest(lives, count);
    if (count == 0)
        return HD_OK;
    struct hd_uuid *sessions = HD_NEW_ARRAY(cx->arena, count, struct hd_uuid);
    struct orc_attempt_ref *refs;
    struct orc_out out = {0};
    size_t n_refs;
    for (size_t i = 0; i < count; i++)
        sessions[i] = lives[i].session;
    HD_TRY(ORC_DO(cx, orc, sessions_lose, lives, count));
    HD_TRY(ORC_DO(cx, orc, attempts_find_live, sessions, count, &refs, &n_refs));
    return lose(cx, orc, refs, n_refs, &worker_lost, &out);
}

// --- what has a time that has come ------------------------------------------------------------------------------------------------
static enum hd_status jobs_due(struct hd_ctx *cx, struct orchestrator *orc) {
    struct orc_chance chance = orc_chance(cx);
    struct orc_out out = {0};
    struct orc_job_ref *refs;
    struct orc_ws ws;
    size_t n;
    HD_TRY(ORC_DO(cx, orc, jobs_due, cx->now.wall_ms, SWEEP_AT_ONCE, &refs, &n));
    if (n == 0)
        return HD_OK;
    struct hd_uuid *ids = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    orc_ws_init(&ws, cx->arena);
    for (size_t i = 0; i < n; i++)
        ids[i] = refs[i].run;
    HD_TRY(ORC_DO(cx, orc, runs_load, &ws, ids, orc_uuids_unique(ids, n), true));
    HD_TRY(orc_plans(cx, orc, &ws));
    HD_TRY(ORC_DO(cx, orc, jobs_load, &ws, refs, orc_refs_unique(refs, n)));
    for (size_t i = 0; i < ws.jobs.n; i++)
        orc_job_due(ws.jobs.items[i], &chance);
    return orc_finish(cx, orc, &ws, &out);
}

static enum hd_status runs_due(struct hd_ctx *cx, struct orchestrator *orc) {
    struct orc_chance chance = orc_chance(cx);
    struct orc_out out = {0};
    struct hd_uuid *ids;
    struct orc_ws ws;
    size_t n;
    HD_TRY(ORC_DO(cx, orc, runs_due, cx->now.wall_ms, SWEEP_AT_ONCE, &ids, &n));
    if (n == 0)
        return HD_OK;
    orc_ws_init(&ws, cx->arena);
    HD_TRY(ORC_DO(cx, orc, runs_load, &ws, ids, orc_uuids_unique(ids, n), true));
    HD_TRY(orc_load_open(cx, orc, &ws, ids, n));
    for (size_t i = 0; i < ws.runs.n; i++) {
        struct orc_run *run = ws.runs.items[i];
        if (!run->due_ms || run->due_ms > chance.now_ms)
            continue;
        run->cause = HODEI__V1__CAUSE__CAUSE_RUN_TIMEOUT;
        orc_run_cancel(&ws, run, 0, &chance);
    }
    return orc_finish(cx, orc, &ws, &out);
}

enum hd_status orc_sweep(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct orchestrator *orc = self;
    struct orc_attempt_ref *refs;
    struct orc_out lost_out = {0}, out = {0};
    struct orc_ws ws;
    const char **names;
    size_t n_refs, n_names;
    (void)items, (void)n;
    orc_versions_trim(&orc->versions);
    HD_TRY(ORC_DO(cx, orc, attempts_orphaned, SWEEP_AT_ONCE, &refs, &n_refs));
    HD_TRY(lose(cx, orc, refs, n_refs, &worker_lost, &lost_out));
    HD_TRY(ORC_DO(cx, orc, commands_prune, cx->now.wall_ms - LOST_KEPT_MS));
    HD_TRY(orc_groups_sweep(cx, orc));
    HD_TRY(runs_due(cx, orc));
    HD_TRY(jobs_due(cx, orc));
    HD_TRY(ORC_DO(cx, orc, sessions_prune, cx->now.wall_ms - LOST_KEPT_MS));
    HD_TRY(ORC_DO(cx, orc, tenants_waiting, SWEEP_AT_ONCE, &names, &n_names));
    if (n_names == 0)
        return HD_OK;
    orc_ws_init(&ws, cx->arena);
    HD_TRY(ORC_DO(cx, orc, tenants_load, &ws, names, orc_texts_unique(names, n_names)));
    return orc_finish(cx, orc, &ws, &out);
}

// --- what live workers hold --------------------------------------------------------------------------------------------------------
static int held_order(const void *a, const void *b) {
    const struct held *x = a, *y = b;
    return hd_uuid_cmp(x->attempt, y->attempt);
}

static void collect(struct hd_ctx *cx, const Hodei__V1__ReconcileRequest *request, struct holdings *all) {
    for (size_t i = 0; i < request->n_workers; i++) {
        const Hodei__V1__HeldByWorker *by = request->workers[i];
        struct held one = {.by = by};
        if (!hd_token_valid(by->worker) || hd_uuid_parse(by->session, &one.session) != HD_OK)
            continue; // the registry took it in; nothing here can be of it
        HD_GROW(cx->arena, all->workers, all->n_workers, all->cap_workers);
        all->workers[all->n_workers++] = (struct worker){one.session, by};
        for (size_t k = 0; k < by->n_attempts; k++) {
            one.text = by->attempts[k];
            if (hd_uuid_parse(one.text, &one.attempt) != HD_OK)
                continue;
            HD_GROW(cx->arena, all->held, all->n_held, all->cap_held);
            all->held[all->n_held++] = one;
        }
    }
}

// Placed with an earlier incarnation than the one that is heard of now, and not decided by its loss: it is this one's from now on.
static bool outlived(const struct orc_attempt *attempt, const struct worker *worker) {
    return attempt->incarnation && attempt->incarnation < worker->by->incarnation;
}

// RUNNING, and its worker does not name it. When it started and when the list was made are of one clock, the worker's: what the clocks of
// others say of it may be wrong by anything, and the list may be late.
static bool is_missed(const struct hd_ctx *cx, const struct orc_attempt *attempt, const struct worker *worker) {
    if (worker->by->sent_at_ms && attempt->started_ms)
        return worker->by->sent_at_ms - attempt->started_ms > MISSED_MS;
    return cx->now.wall_ms - attempt->changed_ms > MISSED_MS;
}

// An attempt that should be there and is not named, or is to be cancelled. True: it is lost. What is said again needs no exact clock:
// once too often does no harm.
static bool missing(struct hd_ctx *cx, struct orc_out *out, struct orc_ws *ws, const struct holdings *all,
                    struct orc_attempt *attempt) {
    const struct held key = {.attempt = attempt->id};
    const struct worker *worker = worker_of(all, attempt);
    bool is_held = all->n_held && bsearch(&key, all->held, all->n_held, sizeof key, held_order);
    bool current = hd_uuid_eq(attempt->job->attempt, attempt->id);
    if (!worker || orc_attempt_ended(attempt->state))
        return false;
    if (worker->by->incarnation && attempt->incarnation > worker->by->incarnation) // an old list, come late
        return false;
    if (!is_held && attempt->state == ATT(RUNNING) && is_missed(cx, attempt, worker))
        return true;
    if (cx->now.wall_ms - attempt->changed_ms <= ASSIGN_AGAIN_MS)
        return false;
    if (attempt->job->state == CANCELLING)
        orc_out_cancel(out, cx, attempt->worker, orc_id_text(cx->arena, attempt->id), false);
    else if (!is_held && attempt->state == ATT(ASSIGNED) && current && !outlived(attempt, worker)) {
        attempt->incarnation = worker->by->incarnation;
        orc_out_assign(out, cx, ws, attempt);
    }
    return false;
}

// It was held for its worker, which has been heard of since; or the worker came back before anything was decided of it.
static bool is_back(const struct holdings *all, const struct orc_attempt *attempt) {
    const struct worker *worker = worker_of(all, attempt);
    if (!worker || orc_attempt_ended(attempt->state))
        return false;
    if (attempt->incarnation && worker->by->incarnation)
        return outlived(attempt, worker);
    return attempt->gone_ms && worker->by->received_at_ms > attempt->gone_ms;
}

// Held, but not live for this session: it stops, and nobody wants to hear of it. What ended a moment ago is being acknowledged.
static void surplus(struct hd_ctx *cx, struct orc_out *out, const struct orc_ws *ws, const struct held *held) {
    const struct orc_attempt *attempt = orc_ws_attempt(ws, held->attempt);
    bool ours =
        attempt && hd_uuid_eq(attempt->session, held->session) && strcmp(attempt->worker, held->by->worker) == 0;
    if (ours && (!orc_attempt_ended(attempt->state) || attempt->changed_ms > cx->now.wall_ms - ASSIGN_AGAIN_MS))
        return;
    orc_out_cancel(out, cx, held->by->worker, held->text, true);
}

// Reads all attempts of these workers, live or named, without locks: nothing is decided here that a row would show.
static enum hd_status look(struct hd_ctx *cx, struct orchestrator *orc, struct orc_ws *ws, const struct holdings *all) {
    struct hd_uuid *sessions = HD_NEW_ARRAY(cx->arena, all->n_workers, struct hd_uuid);
    struct hd_uuid *ids = HD_NEW_ARRAY(cx->arena, all->n_held, struct hd_uuid);
    struct orc_attempt_ref *live, *named = NULL;
    size_t n_live, n_named = 0;
    for (size_t i = 0; i < all->n_workers; i++)
        sessions[i] = all->workers[i].session;
    for (size_t i = 0; i < all->n_held; i++)
        ids[i] = all->held[i].attempt;
    HD_TRY(ORC_DO(cx, orc, attempts_find_live, sessions, orc_uuids_unique(sessions, all->n_workers), &live, &n_live));
    size_t n_ids = orc_uuids_unique(ids, all->n_held);
    if (n_ids)
        HD_TRY(ORC_DO(cx, orc, attempts_find, ids, n_ids, &named, &n_named));
    size_t n = n_live + n_named;
    struct hd_uuid *runs = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid),
                   *attempts = HD_NEW_ARRAY(cx->arena, n, struct hd_uuid);
    struct orc_job_ref *jobs = HD_NEW_ARRAY(cx->arena, n, struct orc_job_ref);
    for (size_t i = 0; i < n; i++) {
        const struct orc_attempt_ref *ref = i < n_live ? &live[i] : &named[i - n_live];
        attempts[i] = ref->id;
        jobs[i] = ref->job;
        runs[i] = ref->job.run;
    }
    if (n == 0)
        return HD_OK;
    HD_TRY(ORC_DO(cx, orc, runs_load, ws, runs, orc_uuids_unique(runs, n), false));
    HD_TRY(orc_plans(cx, orc, ws));
    HD_TRY(ORC_DO(cx, orc, jobs_load, ws, jobs, orc_refs_unique(jobs, n)));
    HD_TRY(ORC_DO(cx, orc, attempts_load, ws, attempts, orc_uuids_unique(attempts, n)));
    return orc_load_context(cx, orc, ws);
}

static enum hd_status revive(struct hd_ctx *cx, struct orchestrator *orc, const struct holdings *all) {
    struct orc_life *lives = HD_NEW_ARRAY(cx->arena, all->n_workers, struct orc_life);
    int64_t *seen_ms = HD_NEW_ARRAY(cx->arena, all->n_workers, int64_t);
    for (size_t i = 0; i < all->n_workers; i++) {
        lives[i] = (struct orc_life){all->workers[i].session, all->workers[i].by->incarnation};
        seen_ms[i] = all->workers[i].by->received_at_ms;
    }
    return ORC_DO(cx, orc, sessions_revive, lives, seen_ms, all->n_workers);
}

enum hd_status orc_reconcile(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct orchestrator *orc = self;
    struct holdings all = {0};
    struct orc_out out = {0}, back_out = {0};
    struct orc_ws ws;
    orc_versions_trim(&orc->versions);
    orc_ws_init(&ws, cx->arena);
    for (size_t i = 0; i < n; i++)
        collect(cx, (const Hodei__V1__ReconcileRequest *)items[i].msg, &all);
    if (all.n_workers == 0)
        return HD_OK;
    if (all.n_held > 1)
        qsort(all.held, all.n_held, sizeof *all.held, held_order);
    HD_TRY(revive(cx, orc, &all));
    HD_TRY(look(cx, orc, &ws, &all));
    struct orc_attempt_ref *lost = HD_NEW_ARRAY(cx->arena, ws.attempts.n, struct orc_attempt_ref),
                           *back = HD_NEW_ARRAY(cx->arena, ws.attempts.n, struct orc_attempt_ref);
    size_t n_lost = 0, n_back = 0;
    for (size_t i = 0; i < ws.attempts.n; i++) {
        struct orc_attempt *attempt = ws.attempts.items[i];
        const struct orc_attempt_ref ref = {attempt->id, {attempt->job->run->id, attempt->job->idx}};
        if (missing(cx, &out, &ws, &all, attempt))
            lost[n_lost++] = ref;
        else if (is_back(&all, attempt))
            back[n_back++] = ref;
    }
    for (size_t i = 0; i < all.n_held; i++)
        surplus(cx, &out, &ws, &all.held[i]);
    const struct loss worker_back = {.event = ORC_ATTEMPT_BACK, .all = &all};
    HD_TRY(lose(cx, orc, back, n_back, &worker_back, &back_out));
    return lose(cx, orc, lost, n_lost, &state_lost, &out);
}
