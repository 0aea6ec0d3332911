// What a machine offers: found in the control groups, and what of it an agent gives away.
#include <fcntl.h>
#include <unistd.h>

#include "agent/executor/executor.h"
#include "agent/monitor/capacity.h"
#include "base/pb.h"
#include "tests/unit/test.h"

static void group_of(const char *text, const char *want, bool want_v2) {
    char path[64] = "";
    bool v2 = !want_v2;
    CHECK(capacity_cgroup(text, path, sizeof(path), &v2));
    CHECK_STR(path, want);
    CHECK(v2 == want_v2);
}

TEST(the_group_that_limits) {
    char path[8];
    bool v2;
    group_of("0::/\n", "/", true);
    group_of("0::/system.slice/a.service\n", "/system.slice/a.service", true);
    group_of("12:cpu:/x\n11:memory:/docker/abc\n0::/y\n", "/docker/abc", false);
    group_of("12:cpu:/x\n0::/y", "/y", true);
    CHECK(!capacity_cgroup("", path, sizeof(path), &v2));
    CHECK(!capacity_cgroup("12:cpu:/x\n", path, sizeof(path), &v2));
    CHECK(!capacity_cgroup("0::/far/too/long\n", path, sizeof(path), &v2));
}

TEST(something_is_found_here) {
    struct hd_resources found;
    capacity_detect(-1, &found);
    CHECK(found.of[HD_CPU_MILLI] > 0);
    CHECK(found.of[HD_MEMORY_BYTES] > 1 << 20);
    CHECK_INT(found.of[HD_DISK_BYTES], 0); // no folder
    CHECK_INT(found.of[HD_GPU], 0);
}

TEST(gpus_are_their_devices) {
    static const char *const names[] = {"nvidia0",    "nvidia1", "nvidia12", "nvidiactl",
                                        "nvidia-uvm", "nvidia",  "xnvidia3"};
    char folder[] = "/tmp/hodei-gpus-XXXXXX", path[64];
    CHECK(mkdtemp(folder) != NULL);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        CHECK_INT(close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)), 0);
    }
    CHECK_INT(capacity_gpus(folder), 3);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        CHECK_INT(unlink(path), 0);
    }
    CHECK_INT(rmdir(folder), 0);
    CHECK_INT(capacity_gpus(folder), 0);
}

static struct hd_now now = {1800000000000, 1000};

static void assign(struct session *session, struct hd_rng *rng, int64_t cpu_milli, Hodei__V1__Executor executor) {
    Hodei__V1__Work work = HODEI__V1__WORK__INIT;
    Hodei__V1__Assignment one = HODEI__V1__ASSIGNMENT__INIT, *list[] = {&one};
    Hodei__V1__Resources resources = HODEI__V1__RESOURCES__INIT;
    char id[HD_UUID_TEXT];
    hd_uuid_format(hd_uuid7(now.wall_ms, rng), id);
    resources.cpu_milli = cpu_milli;
    one.attempt = id;
    one.session = session->text;
    one.tenant = "acme";
    one.run = "01900000-0000-7000-8000-00000000abcd";
    one.job = "build";
    one.executor = executor;
    one.resources = &resources;
    work.assignments = list;
    work.n_assignments = 1;
    CHECK(session_work(session, &work, true));
}

static const char *refusal(const struct session *session) {
    struct attempt *attempt;
    for (size_t pos = 0; (attempt = hd_map_next(&session->attempts, &pos, NULL));)
        if (attempt->ended && attempt->cause == HODEI__V1__CAUSE__CAUSE_NO_ROOM)
            return attempt->message;
    return "";
}

static bool refused(const struct session *session, const char *why) {
    struct attempt *attempt;
    for (size_t pos = 0; (attempt = hd_map_next(&session->attempts, &pos, NULL));)
        if (attempt->ended && attempt->cause == HODEI__V1__CAUSE__CAUSE_NO_ROOM && strcmp(attempt->message, why) == 0)
            return true;
    return false;
}

TEST(the_agent_has_the_last_word) {
    struct session session;
    struct hd_arena arena;
    struct hd_rng rng;
    hd_rng_seed(&rng, 1);
    hd_arena_init(&arena);
    session_init(&session, hd_uuid7(now.wall_ms - 5000, &rng), "w1", 4, &(struct executor_env){"/s", "/bin", "/h"});
    session.capacity.of[HD_CPU_MILLI] = 4000;
    session.shim_up = true;
    session_begin(&session, &arena, now);
    assign(&session, &rng, 3000, HODEI__V1__EXECUTOR__EXECUTOR_SHELL);
    assign(&session, &rng, 0, HODEI__V1__EXECUTOR__EXECUTOR_SHELL);
    CHECK_INT(session.live, 2);
    CHECK_INT(session.occupied.of[HD_CPU_MILLI], 3000);
    assign(&session, &rng, 1500, HODEI__V1__EXECUTOR__EXECUTOR_SHELL);
    CHECK_STR(refusal(&session), "the job asks for 1.5 CPUs, and the worker has 1 CPU left");
    assign(&session, &rng, 1000, HODEI__V1__EXECUTOR__EXECUTOR_NOOP); // ends at once, and gives back what it took
    CHECK_INT(session.live, 2);
    CHECK_INT(session.occupied.of[HD_CPU_MILLI], 3000);
    session.unfit = "there is no disk"; // what it cannot hold it refuses, whatever its slots say
    assign(&session, &rng, 0, HODEI__V1__EXECUTOR__EXECUTOR_SHELL);
    CHECK_INT(session.live, 2);
    CHECK(refused(&session, "there is no disk"));
    session_undo(&session);
    CHECK_INT(session.live, 0);
    CHECK_INT(session.occupied.of[HD_CPU_MILLI], 0);
    session_begin(&session, &arena, now); // frees what was taken back
    session_release(&session);
    hd_arena_release(&arena);
}

TEST(what_is_held_counts_after_a_restart) {
    struct session session, again;
    struct hd_arena arena;
    struct hd_rng rng;
    struct executor_env env = {"/s", "/bin", "/h"};
    hd_rng_seed(&rng, 1);
    hd_arena_init(&arena);
    struct hd_uuid id = hd_uuid7(now.wall_ms - 5000, &rng);
    session_init(&session, id, "w1", 4, &env);
    session.capacity.of[HD_CPU_MILLI] = 4000;
    session.shim_up = true;
    session_begin(&session, &arena, now);
    assign(&session, &rng, 2500, HODEI__V1__EXECUTOR__EXECUTOR_SHELL);
    session_init(&again, id, "w1", 4, &env);
    session_begin(&again, &arena, now);
    Hodei__V1__JournalRecord record = HODEI__V1__JOURNAL_RECORD__INIT;
    size_t pos = 0;
    const struct attempt *held = hd_map_next(&session.attempts, &pos, NULL);
    record.kind = HODEI__V1__JOURNAL_RECORD__KIND__KIND_TAKEN;
    record.attempt = (char *)(uintptr_t)held->text;
    record.assignment = (ProtobufCBinaryData){held->detail_len, held->detail};
    session_replay(&again, &record);
    CHECK_INT(again.occupied.of[HD_CPU_MILLI], 2500);
    session_release(&again);
    session_release(&session);
    hd_arena_release(&arena);
}

TEST_MAIN
