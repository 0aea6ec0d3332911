#include "services/worker-registry/registry.h"
#include "test.h"

// What the machine should do, written apart from its table. '.' refused, else the new state; '!' after it: the session is lost.
static const char *const want[REG_STATE_COUNT][REG_EVENT_COUNT] = {
    //              JOIN_SAME JOIN_OTHER BEAT SILENT EXPIRED
    [REG_NONE] = {".", "O", ".", ".", "."},
    [REG_ONLINE] = {"O", "O!", "O", "S", "L!"},
    [REG_SUSPECT] = {"O", "O!", "O", ".", "L!"},
    [REG_LOST] = {"O", "O", ".", ".", "."},
};

TEST(every_pair) {
    const struct registry_facts all = {.lease_over = true, .loss_told = true};
    const char letters[REG_STATE_COUNT] = {'N', 'O', 'S', 'L'};
    for (int from = 0; from < REG_STATE_COUNT; from++)
        for (int event = 0; event < REG_EVENT_COUNT; event++) {
            struct registry_step step = registry_step(from, event, all);
            const char *w = want[from][event];
            if (*w == '.') {
                CHECK_INT(step.answer, REG_REFUSED);
                CHECK(step.row == NULL);
                continue;
            }
            CHECK_INT(step.answer, REG_STEP);
            CHECK_INT(letters[step.row->to], *w);
            CHECK_INT(step.row->loses_session, w[1] == '!');
            CHECK(step.row->note && *step.row->note);
        }
}

TEST(one_row_a_pair) {
    for (size_t i = 0; i < registry_machine_len; i++)
        for (size_t j = 0; j < i; j++)
            CHECK(registry_machine[i].from != registry_machine[j].from ||
                  registry_machine[i].event != registry_machine[j].event);
}

TEST(guards) {
    const struct registry_facts none = {0}, told = {.loss_told = true}, over = {.lease_over = true};
    // A name is not taken over while its lease may run, however silent it is.
    CHECK_INT(registry_step(REG_ONLINE, REG_JOIN_OTHER, told).answer, REG_GUARDED);
    CHECK_INT(registry_step(REG_SUSPECT, REG_JOIN_OTHER, none).answer, REG_GUARDED);
    CHECK_INT(registry_step(REG_SUSPECT, REG_JOIN_OTHER, over).answer, REG_STEP);
    // A lost session comes back only when its loss is confirmed, another one at once.
    CHECK_INT(registry_step(REG_LOST, REG_JOIN_SAME, over).answer, REG_GUARDED);
    CHECK_INT(registry_step(REG_LOST, REG_JOIN_SAME, told).answer, REG_STEP);
    CHECK_INT(registry_step(REG_LOST, REG_JOIN_OTHER, none).answer, REG_STEP);
}

TEST(step_writes_state_and_lost) {
    struct hd_arena arena;
    hd_arena_init(&arena);
    struct lost_list lost = lost_list_new(&arena, 2);
    struct worker worker = {.name = "w1", .state = REG_ONLINE, .session = {{7}}};
    CHECK_INT(worker_step(&worker, REG_BEAT, (struct registry_facts){0}, &lost).answer, REG_STEP);
    CHECK(worker.beat && !worker.changed); // a heartbeat alone is no change of the fleet
    CHECK_INT(worker_step(&worker, REG_JOIN_OTHER, (struct registry_facts){0}, &lost).answer, REG_GUARDED);
    CHECK_INT(worker.state, REG_ONLINE);
    CHECK_INT(lost.n, 0);
    CHECK_INT(worker_step(&worker, REG_EXPIRED, (struct registry_facts){0}, &lost).answer, REG_STEP);
    CHECK_INT(worker.state, REG_LOST);
    CHECK(worker.changed);
    CHECK_INT(lost.n, 1);
    CHECK_STR(lost.workers[0], "w1");
    CHECK_INT(lost.sessions[0].b[0], 7);
    hd_arena_release(&arena);
}

static enum hd_status check_join(void (*change)(Hodei__V1__JoinRequest *), struct hd_err *err) {
    static Hodei__V1__Executor executors[9] = {HODEI__V1__EXECUTOR__EXECUTOR_SHELL, HODEI__V1__EXECUTOR__EXECUTOR_NOOP};
    Hodei__V1__JoinRequest request = HODEI__V1__JOIN_REQUEST__INIT;
    struct hd_uuid session;
    request.name = "worker-1";
    request.session = "01890a5d-ac96-774b-bcce-b302099a8057";
    request.pool = "default";
    request.slots = 4;
    request.executors = executors;
    request.n_executors = 2;
    if (change)
        change(&request);
    return registry_check_join(&request, err, &session);
}
static void no_name(Hodei__V1__JoinRequest *r) {
    r->name = "";
}
static void wild_name(Hodei__V1__JoinRequest *r) {
    r->name = "a.>";
}
static void bad_session(Hodei__V1__JoinRequest *r) {
    r->session = "1";
}
static void no_slots(Hodei__V1__JoinRequest *r) {
    r->slots = 0;
}
static void many_slots(Hodei__V1__JoinRequest *r) {
    r->slots = 10001;
}
static void bad_pool(Hodei__V1__JoinRequest *r) {
    r->pool = "a b";
}
static void no_executors(Hodei__V1__JoinRequest *r) {
    r->n_executors = 0;
}
static void many_executors(Hodei__V1__JoinRequest *r) {
    r->n_executors = 9;
}
static Hodei__V1__Label label_a = HODEI__V1__LABEL__INIT, label_b = HODEI__V1__LABEL__INIT;
static Hodei__V1__Label *labels[33];
static void twin_labels(Hodei__V1__JoinRequest *r) {
    label_a.key = label_b.key = "os";
    labels[0] = &label_a;
    labels[1] = &label_b;
    r->labels = labels;
    r->n_labels = 2;
}
static void many_labels(Hodei__V1__JoinRequest *r) {
    r->n_labels = 33;
}
static void newline_label(Hodei__V1__JoinRequest *r) {
    label_a.key = "a\nb";
    labels[0] = &label_a;
    r->labels = labels;
    r->n_labels = 1;
}

static Hodei__V1__Taint taint = HODEI__V1__TAINT__INIT, *taints[] = {&taint};
static void no_key_taint(Hodei__V1__JoinRequest *r) {
    r->taints = taints;
    r->n_taints = 1;
}
static void many_taints(Hodei__V1__JoinRequest *r) {
    r->n_taints = 33;
}
static Hodei__V1__Resources capacity = HODEI__V1__RESOURCES__INIT;
static void negative_capacity(Hodei__V1__JoinRequest *r) {
    capacity.memory_bytes = -1;
    r->capacity = &capacity;
}

TEST(join_is_checked) {
    const struct {
        void (*change)(Hodei__V1__JoinRequest *);
        const char *field;
    } bad[] = {{no_name, "name"},
               {wild_name, "name"},
               {bad_session, "session"},
               {no_slots, "slots"},
               {many_slots, "slots"},
               {bad_pool, "pool"},
               {no_executors, "executors"},
               {many_executors, "executors"},
               {twin_labels, "labels[1]"},
               {many_labels, "labels"},
               {newline_label, "labels[0]"},
               {no_key_taint, "taints[0]"},
               {many_taints, "taints"},
               {negative_capacity, "capacity"}};
    struct hd_err err = {0};
    CHECK_INT(check_join(NULL, &err), HD_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        hd_err_clear(&err);
        CHECK_INT(check_join(bad[i].change, &err), HD_INVALID);
        CHECK_STR(err.field, bad[i].field);
    }
}

TEST_MAIN
