// The agent as it is, with its shim and a real nats-server. The test is registry, orchestrator and observability.
#include "tests/integration/agent_world.h"

TEST(a_job_runs_and_its_log_and_result_arrive) {
    struct world w;
    world_init(&w);
    room_for(&w, 10);
    struct attempt *good = start(&w, "echo hello; echo $HODEI_JOB");
    UNTIL(&w, over(good));
    CHECK_INT(good->state, STATE(SUCCEEDED));
    log_text(&w, "hello\nbuild\n");
    struct attempt *bad = start(&w, "exit 7");
    UNTIL(&w, over(bad));
    CHECK_INT(bad->state, STATE(FAILED));
    CHECK_INT(bad->exit_code, 7);
    struct attempt *slow = start(&w, "sleep 100");
    UNTIL(&w, slow->state == STATE(RUNNING));
    cancel(&w, slow);
    UNTIL(&w, over(slow));
    CHECK_INT(slow->state, STATE(CANCELLED));
    world_release(&w);
}

TEST(an_agent_that_was_killed_adopts_its_jobs) {
    struct world w;
    char fifo[128], script[400];
    world_init(&w);
    room_for(&w, 10);
    snprintf(fifo, sizeof(fifo), "%s/go", w.folder);
    CHECK_INT(mkfifo(fifo, 0600), 0);
    snprintf(script, sizeof(script), "for i in 1 2 3; do echo before $i; done; cat %s; echo after; exit 3", fifo);
    struct attempt *job = start(&w, script);
    struct attempt *quick = start(&w, "echo quick");
    UNTIL(&w, job->state == STATE(RUNNING) && job->frames > 0 && over(quick));
    end(w.agent, SIGKILL);
    HD_AUTO_FD int go = open(fifo, O_WRONLY); // it runs on: it reads this
    CHECK(write(go, "alone\n", 6) == 6);
    hd_close_fd(&go);
    go = -1;
    unsigned joins = w.joins;
    agent_start(&w);
    UNTIL(&w, w.joins > joins && over(job));
    CHECK_INT(job->state, STATE(FAILED));
    CHECK_INT(job->exit_code, 3);
    hd_buf_addc(&w.log, '\0');
    CHECK(strstr(w.log.data, "before 3\n") && strstr(w.log.data, "alone\nafter\n"));
    world_release(&w);
}

TEST(results_wait_for_a_server_that_was_away) {
    struct world w;
    char fifo[128], script[200];
    world_init(&w);
    room_for(&w, 10);
    snprintf(fifo, sizeof(fifo), "%s/go", w.folder);
    CHECK_INT(mkfifo(fifo, 0600), 0);
    snprintf(script, sizeof(script), "echo begin; cat %s; exit 4", fifo);
    struct attempt *job = start(&w, script);
    UNTIL(&w, job->state == STATE(RUNNING) && job->frames == 1);
    end(w.nats, SIGKILL); // its work stream was in memory
    HD_AUTO_FD int go = open(fifo, O_WRONLY);
    CHECK(write(go, "cut off\n", 8) == 8);
    hd_close_fd(&go);
    go = -1;
    CHECK(nats_start(&w, w.port));
    UNTIL(&w, over(job));
    CHECK_INT(job->exit_code, 4);
    log_text(&w, "begin\ncut off\n");
    unsigned beats = w.beats;
    UNTIL(&w, w.beats > beats + 6); // it says that its stream is missing, and has it again
    struct attempt *next = start(&w, "exit 0");
    UNTIL(&w, over(next));
    CHECK_INT(w.joins, 1);
    world_release(&w);
}

TEST(many_jobs_end_once_each) {
    struct world w;
    world_init(&w);
    room_for(&w, 30000);
    int64_t noop_ms = measure(&w, EXEC(NOOP), NULL, 20000), true_ms = measure(&w, EXEC(SHELL), "/bin/true", 3000);
    printf("20000 no-ops in %" PRId64 " ms, 3000 of /bin/true in %" PRId64 " ms\n", noop_ms, true_ms);
    world_release(&w);
}

TEST_MAIN
