// Every pair of state and event of the three machines, against matrices written by hand.
#include "test.h"

#include "services/orchestrator/machine.h"

// One letter a state, in the order of the enum from 1; one column an event. '-' refuses.
static void walk(const struct orc_machine *machine, const char *letters, const char *const *matrix, unsigned facts) {
    int n_states = (int)strlen(letters);
    for (int from = 0; from <= n_states + 1; from++) {
        for (int event = 0; event < machine->n_events; event++) {
            const struct orc_rule *rule = orc_machine_next(machine, from, event, facts);
            char got = rule ? letters[rule->to - 1] : '-';
            char want = from >= 1 && from <= n_states ? matrix[from - 1][event] : '-';
            if (got != want)
                printf("%s: from %d by %s: %c, not %c\n", machine->name, from, machine->events[event], got, want);
            CHECK(got == want);
        }
    }
}

// Waiting Queued Ready Active cancellinG Succeeded Failed Cancelled sKipped Timed_out
static const char job_letters[] = "WQRAGSFCKT";
// met skip break matrix hold retry mark reset admit place cancel succeed fail stop time_out lose refuse
#define ENDED "-----------------", "-----QS----------", "-----QS----------", "-------W---------", "-----QS----------"
#define QUEUED_READY "-KF-----R-C------", "-KF-Q----AC------"
#define CANCELLING "----------GSFCTCC"
static const char *const job_matrix[] = {"QKFS------C------", QUEUED_READY, "----------GSFCTFF", CANCELLING, ENDED};
static const char *const job_matrix_again[] = {"QKFS------C------", QUEUED_READY, "----------GSQCQRR", CANCELLING,
                                               ENDED};
static const char *const job_matrix_failed[] = {"QKFF------C------", QUEUED_READY, "----------GSFCTFF", CANCELLING,
                                                ENDED};
static const char *const job_matrix_cancelled[] = {"QKFC------C------", QUEUED_READY, "----------GSFCTFF", CANCELLING,
                                                   ENDED};

static const char *const job_matrix_held[] = {"QKFS------C------", QUEUED_READY, "-----QS---GSFCTFF", CANCELLING,
                                              ENDED};

TEST(job_pairs) {
    walk(&orc_job_machine, job_letters, job_matrix, 0);
    walk(&orc_job_machine, job_letters, job_matrix_again, ORC_MAY_TRY_AGAIN);
    walk(&orc_job_machine, job_letters, job_matrix_held, ORC_IS_HELD);
    walk(&orc_job_machine, job_letters, job_matrix_failed, ORC_SOME_FAILED | ORC_SOME_CANCELLED);
    walk(&orc_job_machine, job_letters, job_matrix_cancelled, ORC_SOME_CANCELLED);
}

TEST(attempt_pairs) { // Assigned Running Succeeded Failed Cancelled Timed_out Lost rEfused
#define ATTEMPT_ENDED "---------", "---------", "---------", "---------", "---------", "---------"
    static const char *const matrix[] = {"RSFCTLEA-", "-SFCTL-R-", ATTEMPT_ENDED};
    static const char *const held[] = {"RSFCTLEAA", "-SFCTL-RR", ATTEMPT_ENDED};
    walk(&orc_attempt_machine, "ARSFCTLE", matrix, 0);
    walk(&orc_attempt_machine, "ARSFCTLE", held, ORC_IS_HELD);
    walk(&orc_attempt_machine, "ARSFCTLE", matrix, ORC_MAY_TRY_AGAIN | ORC_ALL_SUCCEEDED | ORC_SOME_FAILED);
}

TEST(run_pairs) { // Running cancellinG Succeeded Failed Cancelled
    static const char *const stopped[] = {"GC", "-C", "--", "--", "--"};
    static const char *const succeeded[] = {"GS", "-C", "--", "--", "--"};
    static const char *const failed[] = {"GF", "-C", "--", "--", "--"};
    walk(&orc_run_machine, "RGSFC", stopped, 0);
    walk(&orc_run_machine, "RGSFC", succeeded, ORC_ALL_SUCCEEDED);
    static const char *const late[] = {"GF", "-F", "--", "--", "--"};
    walk(&orc_run_machine, "RGSFC", failed, ORC_SOME_FAILED);
    walk(&orc_run_machine, "RGSFC", late, ORC_SOME_FAILED | ORC_OUT_OF_TIME);
}

TEST(ends_are_final) {
    CHECK(orc_machine_final(&orc_job_machine, 6)); // other ends of a job can be overridden while its run goes on
    for (int state = 1; state <= 8; state++)
        CHECK_INT(orc_machine_final(&orc_attempt_machine, state), orc_attempt_ended(state));
    for (int state = 1; state <= 5; state++)
        CHECK_INT(orc_machine_final(&orc_run_machine, state), orc_run_ended(state));
}

TEST(diagram) {
    HD_AUTO_BUF struct hd_buf out = {0};
    orc_machine_print(&orc_run_machine, &out);
    CHECK(strstr(out.data, "stateDiagram-v2\n    [*] --> RUNNING\n") == out.data);
    CHECK(strstr(out.data, "    RUNNING --> CANCELLING: cancel (a user asks)\n") != NULL);
    CHECK(strstr(out.data, "    FAILED --> [*]\n") != NULL);
    CHECK(strstr(out.data, "    CANCELLING --> [*]\n") == NULL);
}

TEST_MAIN
