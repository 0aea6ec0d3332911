// Schedules of two pipelines services on a real PostgreSQL. The test plays the orchestrator: runs go on until it ends them.
#include "tests/integration/twin.h"

#include "base/calendar.h"
#include "hodei/v1/run.pb-c.h"
#include "services/pipelines/schedules.h"
#include "tests/integration/servers.h"

#define MSG(name) &hodei__v1__##name##__descriptor
#define REPLICAS 2
#define RUNS_MAX 300

enum method { PUT_VERSIONS, START_RUN, GET_RUN, CANCEL_RUN };
struct run {
    char key[128], id[HD_UUID_TEXT], tenant[64], pipeline[64];
    Hodei__V1__RunState state;
};
struct world {
    struct twin twin;
    struct pipelines *services[REPLICAS];
    struct hd_bus *orchestrator;
    struct run runs[RUNS_MAX];
    size_t n_runs, n_asked[CANCEL_RUN + 1];
    bool deaf;               // requests get no answer
    bool loses_answers;      // they are carried out, and the answer is lost
    enum hd_status refusing; // StartRun
    struct hd_err err;
};

static void world_init(struct world *w) {
    static const char *const methods[] = {"PutVersions", "StartRun", "GetRun", "CancelRun"};
    memset(w, 0, sizeof(*w));
    servers_pg_clean();
    twin_init(&w->twin);
    w->twin.now.wall_ms =
        (hd_date_days((struct hd_date){2030, 5, 1}) * HD_DAY_S + 10 * 3600 + 30) * 1000; // 30 s past 10:00, a Wednesday
    w->orchestrator = hd_bus_mem_new(w->twin.net, "orchestrator");
    for (int i = 0; i < 4; i++)
        CHECK(w->orchestrator->ops->serve(w->orchestrator, "orchestrator", methods[i], i, &w->err) == HD_OK);
    for (int i = 0; i < REPLICAS; i++) {
        w->services[i] = pip_new();
        pip_attach(w->services[i], twin_add(&w->twin, &pip_def, servers_pg(), w->services[i]));
    }
}

static void world_release(struct world *w) {
    w->orchestrator->ops->free(w->orchestrator);
    twin_release(&w->twin);
    for (int i = 0; i < REPLICAS; i++)
        pip_release(w->services[i]);
}

// --- the orchestrator -------------------------------------------------------------------------------------------------

static struct run *run_of(struct world *w, const char *id) {
    for (size_t i = 0; i < w->n_runs; i++)
        if (strcmp(w->runs[i].id, id) == 0)
            return &w->runs[i];
    return NULL;
}

static const ProtobufCMessage *start_run(struct world *w, const Hodei__V1__RpcRequest *request,
                                         const Hodei__V1__StartRunRequest *body) {
    Hodei__V1__StartRunReply *reply = (Hodei__V1__StartRunReply *)hd_pb_new(&w->twin.arena, MSG(start_run_reply));
    size_t i = 0;
    while (i < w->n_runs && strcmp(w->runs[i].key, request->idempotency_key) != 0)
        i++;
    struct run *run = &w->runs[i];
    if (i == w->n_runs) {
        w->n_runs++;
        hd_strlcpy(run->key, request->idempotency_key, sizeof(run->key));
        hd_strlcpy(run->tenant, request->principal ? request->principal->tenant : "", sizeof(run->tenant));
        hd_strlcpy(run->pipeline, body->pipeline, sizeof(run->pipeline));
        hd_uuid_format(hd_uuid7(w->twin.now.wall_ms, &w->twin.rng), run->id);
        run->state = HODEI__V1__RUN_STATE__RUN_STATE_RUNNING;
    }
    reply->id = run->id;
    return &reply->base;
}

static const ProtobufCMessage *get_or_cancel(struct world *w, const Hodei__V1__GetRunRequest *body, bool cancel) {
    Hodei__V1__Run *run = (Hodei__V1__Run *)hd_pb_new(&w->twin.arena, MSG(run));
    Hodei__V1__CancelRunReply *reply = (Hodei__V1__CancelRunReply *)hd_pb_new(&w->twin.arena, MSG(cancel_run_reply));
    struct run *known = run_of(w, body->id);
    if (!known)
        return NULL;
    if (cancel)
        known->state = HODEI__V1__RUN_STATE__RUN_STATE_CANCELLING;
    run->state = reply->state = known->state;
    return cancel ? &reply->base : &run->base;
}

static ProtobufCMessage *unpack(struct world *w, const ProtobufCMessageDescriptor *type, const void *data, size_t len) {
    ProtobufCMessage *msg = NULL;
    CHECK(hd_pb_unpack(&w->twin.arena, type, data, len, &w->err, &msg) == HD_OK);
    return msg;
}

static void answer(struct world *w, const struct hd_arrived *arrived) {
    static const ProtobufCMessageDescriptor *const types[] = {MSG(put_versions_request), MSG(start_run_request),
                                                              MSG(get_run_request), MSG(get_run_request)};
    const Hodei__V1__RpcRequest *request =
        (const Hodei__V1__RpcRequest *)unpack(w, MSG(rpc_request), arrived->data, arrived->len);
    const ProtobufCMessage *body = unpack(w, types[arrived->table], request->body.data, request->body.len),
                           *said = NULL;
    Hodei__V1__RpcReply reply = HODEI__V1__RPC_REPLY__INIT;
    Hodei__V1__Problem problem = HODEI__V1__PROBLEM__INIT;
    Hodei__V1__Empty empty = HODEI__V1__EMPTY__INIT;
    uint8_t *data;
    size_t len;
    w->n_asked[arrived->table]++;
    if (w->deaf)
        return;
    problem.text = "not today";
    if (arrived->table == PUT_VERSIONS)
        said = &empty.base;
    else if (arrived->table == START_RUN && !w->refusing)
        said = start_run(w, request, (const Hodei__V1__StartRunRequest *)body);
    else if (arrived->table != START_RUN)
        said = get_or_cancel(w, (const Hodei__V1__GetRunRequest *)body, arrived->table == CANCEL_RUN);
    if (w->loses_answers)
        return;
    if (said) {
        hd_pb_pack(&w->twin.arena, said, &reply.body.data, &reply.body.len);
    } else {
        reply.status = (Hodei__V1__Status)(w->refusing ? w->refusing : HD_MISSING);
        reply.problem = &problem;
    }
    hd_pb_pack(&w->twin.arena, &reply.base, &data, &len);
    w->orchestrator->ops->send(w->orchestrator, arrived->reply, data, len);
}

static bool orchestrate(struct world *w) {
    struct hd_arrived arrived[16];
    size_t n = w->orchestrator->ops->receive(w->orchestrator, arrived, 16);
    for (size_t i = 0; i < n; i++) {
        answer(w, &arrived[i]);
        w->orchestrator->ops->done(w->orchestrator, &arrived[i]);
    }
    return n > 0;
}

// --- time and requests ------------------------------------------------------------------------------------------------

static void pass(struct world *w, int64_t ms) {
    bool any = true;
    w->twin.now.wall_ms += ms;
    w->twin.now.mono_ms += ms;
    hd_memnet_tick(w->twin.net, w->twin.now.mono_ms);
    for (int turns = 0; any && turns < 400; turns++) {
        any = orchestrate(w) | twin_hear(&w->twin);
        for (size_t i = 0; i < w->twin.n_services; i++)
            any |= hd_service_turn(w->twin.services[i], w->twin.now);
    }
}
static void pass_minutes(struct world *w, int minutes) {
    for (int i = 0; i < minutes * 30; i++)
        pass(w, 2000);
}

static void *call(struct world *w, const char *tenant, const char *method, const ProtobufCMessage *msg,
                  const ProtobufCMessageDescriptor *type) {
    void *ret = NULL;
    int number = twin_ask(&w->twin, tenant, "pipelines", method, msg);
    for (int i = 0; i < 40; i++) {
        pass(w, i ? 100 : 0);
        if (twin_answered(&w->twin, number, type, &w->err, &ret))
            return ret;
    }
    CHECK(!"answered");
    return NULL;
}

static void apply(struct world *w, const char *name, const char *crons) {
    Hodei__V1__ApplyPipelineRequest request = HODEI__V1__APPLY_PIPELINE_REQUEST__INIT;
    request.source =
        hd_arena_printf(&w->twin.arena, "hodei: v1\nname: %s\njobs: { a: { run: x } }\non:\n  cron:\n%s", name, crons);
    call(w, "acme", "ApplyPipeline", &request.base, MSG(apply_pipeline_reply));
}

static const Hodei__V1__ListSchedulesReply *list(struct world *w, const char *tenant) {
    Hodei__V1__ListSchedulesRequest request = HODEI__V1__LIST_SCHEDULES_REQUEST__INIT;
    const Hodei__V1__ListSchedulesReply *reply =
        call(w, tenant, "ListSchedules", &request.base, MSG(list_schedules_reply));
    static const Hodei__V1__ListSchedulesReply none = HODEI__V1__LIST_SCHEDULES_REPLY__INIT;
    CHECK(reply != NULL);
    return reply ? reply : &none;
}

// The only schedule.
static const Hodei__V1__Schedule *only(struct world *w) {
    static const Hodei__V1__Schedule none = HODEI__V1__SCHEDULE__INIT;
    const Hodei__V1__ListSchedulesReply *reply = list(w, "acme");
    CHECK_INT(reply->n_schedules, 1);
    return reply->n_schedules ? reply->schedules[0] : &none;
}

static const Hodei__V1__Schedule *pause_it(struct world *w, const char *id, const char *reason) {
    Hodei__V1__PauseScheduleRequest request = HODEI__V1__PAUSE_SCHEDULE_REQUEST__INIT;
    request.id = hd_arena_strdup(&w->twin.arena, id);
    request.reason = hd_arena_strdup(&w->twin.arena, reason);
    return call(w, "acme", "PauseSchedule", &request.base, MSG(schedule));
}

static const Hodei__V1__Schedule *resume(struct world *w, const char *id) {
    Hodei__V1__ResumeScheduleRequest request = HODEI__V1__RESUME_SCHEDULE_REQUEST__INIT;
    request.id = hd_arena_strdup(&w->twin.arena, id);
    return call(w, "acme", "ResumeSchedule", &request.base, MSG(schedule));
}

static int64_t clock_ms(int hour, int minute) {
    return (hd_date_days((struct hd_date){2030, 5, 1}) * HD_DAY_S + hour * 3600 + minute * 60) * 1000;
}

// --- the tests --------------------------------------------------------------------------------------------------------

TEST(each_tick_starts_one_run_whatever_the_number_of_replicas) {
    struct world w;
    world_init(&w);
    apply(&w, "p", "  - { expr: \"*/5 * * * *\", overlap: queue }\n");
    const Hodei__V1__Schedule *schedule = only(&w);
    CHECK_STR(schedule->pipeline, "p");
    CHECK_STR(schedule->trigger->expr, "*/5 * * * *");
    CHECK_STR(schedule->trigger->timezone, "UTC");
    CHECK_INT(schedule->n_next_at_ms, 5);
    CHECK_INT(schedule->next_at_ms[0], clock_ms(10, 5));
    CHECK_INT(schedule->next_at_ms[4], clock_ms(10, 25));
    pass_minutes(&w, 4);
    CHECK_INT(w.n_runs, 0);
    pass_minutes(&w, 57);
    CHECK_INT(w.n_runs, 12);
    CHECK_INT(w.n_asked[START_RUN], 12);
    CHECK_STR(w.runs[0].tenant, "acme");
    CHECK_STR(w.runs[0].pipeline, "p");
    schedule = only(&w);
    CHECK_INT(schedule->last_tick_at_ms, clock_ms(11, 0));
    CHECK_INT(schedule->last_outcome, HODEI__V1__TICK_OUTCOME__TICK_OUTCOME_STARTED);
    CHECK_STR(schedule->last_run, w.runs[11].id);
    CHECK_INT(list(&w, "other")->n_schedules, 0);
    world_release(&w);
}

TEST(a_lost_answer_starts_no_second_run) {
    struct world w;
    world_init(&w);
    apply(&w, "p", "  - { expr: \"5 * * * *\" }\n");
    w.loses_answers = true;
    pass_minutes(&w, 6);
    CHECK(w.n_asked[START_RUN] > 3);
    CHECK_INT(w.n_runs, 1);
    CHECK_INT(only(&w)->last_outcome, 0);
    w.loses_answers = false;
    pass_minutes(&w, 2);
    CHECK_INT(w.n_runs, 1);
    CHECK_STR(only(&w)->last_run, w.runs[0].id);
    CHECK_INT(only(&w)->next_at_ms[0], clock_ms(11, 5));
    world_release(&w);
}

TEST(overlap_skip_waits_for_the_run_before) {
    struct world w;
    world_init(&w);
    apply(&w, "p", "  - { expr: \"* * * * *\" }\n");
    pass_minutes(&w, 3);
    CHECK_INT(w.n_runs, 1);
    CHECK_INT(only(&w)->last_outcome, HODEI__V1__TICK_OUTCOME__TICK_OUTCOME_SKIPPED);
    w.runs[0].state = HODEI__V1__RUN_STATE__RUN_STATE_FAILED;
    pass_minutes(&w, 1);
    CHECK_INT(w.n_runs, 2);
    CHECK_INT(w.n_asked[CANCEL_RUN], 0);
    world_release(&w);
}

TEST(overlap_cancel_stops_the_run_before) {
    struct world w;
    world_init(&w);
    apply(&w, "p", "  - { expr: \"* * * * *\", overlap: cancel }\n");
    pass_minutes(&w, 2);
    CHECK_INT(w.n_runs, 2);
    CHECK_INT(w.runs[0].state, HODEI__V1__RUN_STATE__RUN_STATE_CANCELLING);
    CHECK_INT(w.runs[1].state, HODEI__V1__RUN_STATE__RUN_STATE_RUNNING);
    CHECK_INT(w.n_asked[GET_RUN], 0);
    world_release(&w);
}

TEST(pause_and_resume) {
    struct world w;
    world_init(&w);
    apply(&w, "p", "  - { expr: \"* * * * *\", overlap: queue, catch_up: true }\n");
    pass_minutes(&w, 2);
    CHECK_INT(w.n_runs, 2);
    const char *id = only(&w)->id;
    const Hodei__V1__Schedule *schedule = pause_it(&w, id, "the disk is full");
    CHECK(schedule && schedule->paused);
    if (schedule)
        CHECK_STR(schedule->paused_reason, "by test: the disk is full");
    pass_minutes(&w, 10);
    CHECK_INT(w.n_runs, 2);
    CHECK_INT(only(&w)->n_next_at_ms, 0);
    apply(&w, "p", "  - { expr: \"* * * * *\", overlap: queue }\n"); // somebody's pause outlives it
    CHECK(only(&w)->paused);
    CHECK_STR(only(&w)->id, id);
    schedule = resume(&w, id);
    CHECK(schedule && !schedule->paused);
    pass_minutes(&w, 2); // what passed meanwhile is not made up for
    CHECK_INT(w.n_runs, 4);
    CHECK(!pause_it(&w, "no-uuid", ""));
    CHECK_INT(w.err.status, HD_INVALID);
    CHECK(!pause_it(&w, "019a0000-0000-7000-8000-000000000000", ""));
    CHECK_INT(w.err.status, HD_MISSING);
    world_release(&w);
}

TEST(refusals_pause_and_an_apply_starts_anew) {
    struct world w;
    world_init(&w);
    apply(&w, "p", "  - { expr: \"* * * * *\" }\n");
    w.refusing = HD_UNAVAILABLE;
    pass_minutes(&w, 15);
    CHECK(!only(&w)->paused);
    w.refusing = HD_PRECONDITION;
    pass_minutes(&w, 8);
    CHECK(!only(&w)->paused);
    CHECK_STR(only(&w)->last_error, "not today");
    pass_minutes(&w, 3);
    CHECK(only(&w)->paused);
    CHECK_STR(only(&w)->paused_reason, "10 runs in a row were refused; the last: not today");
    size_t asked = w.n_asked[START_RUN];
    pass_minutes(&w, 3);
    CHECK_INT(w.n_asked[START_RUN], asked);
    w.refusing = 0;
    apply(&w, "p", "  - { expr: \"* * * * *\", overlap: queue }\n");
    CHECK(!only(&w)->paused);
    pass_minutes(&w, 2);
    CHECK_INT(w.n_runs, 2);
    world_release(&w);
}

TEST(what_an_outage_missed) {
    struct world w;
    world_init(&w);
    apply(&w, "every", "  - { expr: \"*/10 * * * *\", overlap: queue, catch_up: true }\n");
    apply(&w, "newest", "  - { expr: \"*/10 * * * *\", overlap: queue }\n");
    apply(&w, "daily", "  - { expr: \"30 10 * * *\", overlap: queue }\n"); // more than an hour ago when it is back
    w.deaf = true;
    pass_minutes(&w, 125); // 12:05
    CHECK_INT(w.n_runs, 0);
    w.deaf = false;
    pass_minutes(&w, 2);
    size_t every = 0, newest = 0;
    for (size_t i = 0; i < w.n_runs; i++) {
        every += strcmp(w.runs[i].pipeline, "every") == 0;
        newest += strcmp(w.runs[i].pipeline, "newest") == 0;
    }
    CHECK_INT(every, 12); // 10:10 to 12:00
    CHECK_INT(newest, 1);
    CHECK_INT(w.n_runs, 13);
    const Hodei__V1__ListSchedulesReply *reply = list(&w, "acme");
    CHECK_INT(reply->n_schedules, 3);
    if (reply->n_schedules == 3) {
        CHECK_STR(reply->schedules[0]->pipeline, "daily");
        CHECK_INT(reply->schedules[0]->next_at_ms[0], clock_ms(24 + 10, 30));
        CHECK_INT(reply->schedules[2]->last_tick_at_ms, clock_ms(12, 0));
    }
    world_release(&w);
}

TEST(schedules_follow_the_newest_version) {
    struct world w;
    world_init(&w);
    apply(&w, "p", "  - { expr: \"0 4 * * *\" }\n  - { expr: \"0 5 * * *\", timezone: Europe/Madrid }\n");
    const Hodei__V1__ListSchedulesReply *reply = list(&w, "acme");
    CHECK_INT(reply->n_schedules, 2);
    if (reply->n_schedules < 2)
        return;
    const Hodei__V1__Schedule *madrid = reply->schedules[strcmp(reply->schedules[0]->trigger->timezone, "UTC") == 0];
    CHECK_INT(madrid->next_at_ms[0], clock_ms(24 + 3, 0));
    apply(&w, "p", "  - { expr: \"0 5 * * *\", timezone: Europe/Madrid, overlap: queue }\n");
    CHECK_STR(only(&w)->id, madrid->id);
    CHECK_INT(only(&w)->trigger->overlap, HODEI__V1__OVERLAP__OVERLAP_QUEUE);
    apply(&w, "p", "  - { expr: \"0 5 * * *\", timezone: Mars/Phobos }\n");
    CHECK_INT(w.err.status, HD_INVALID);
    CHECK_STR(w.err.field, "on.cron[0].timezone");
    Hodei__V1__DeletePipelineRequest gone = HODEI__V1__DELETE_PIPELINE_REQUEST__INIT;
    gone.name = "p";
    call(&w, "acme", "DeletePipeline", &gone.base, MSG(empty));
    CHECK_INT(list(&w, "acme")->n_schedules, 0);
    world_release(&w);
}

TEST(pages) {
    struct world w;
    Hodei__V1__ListSchedulesRequest request = HODEI__V1__LIST_SCHEDULES_REQUEST__INIT;
    size_t seen = 0, pages = 0;
    world_init(&w);
    apply(&w, "a", "  - { expr: \"0 1 * * *\" }\n  - { expr: \"0 2 * * *\" }\n  - { expr: \"0 3 * * *\" }\n");
    apply(&w, "b.c", "  - { expr: \"0 1 * * *\" }\n  - { expr: \"0 2 * * *\" }\n");
    request.page_size = 2;
    do {
        const Hodei__V1__ListSchedulesReply *reply =
            call(&w, "acme", "ListSchedules", &request.base, MSG(list_schedules_reply));
        CHECK(reply && ++pages < 9);
        if (!reply || pages > 9)
            break;
        seen += reply->n_schedules;
        request.page_token = reply->next_page_token;
    } while (*request.page_token);
    CHECK_INT(pages, 3);
    CHECK_INT(seen, 5);
    request.page_token = "x";
    CHECK(!call(&w, "acme", "ListSchedules", &request.base, MSG(list_schedules_reply)));
    CHECK_INT(w.err.status, HD_INVALID);
    world_release(&w);
}

TEST_MAIN
