// Prints the state machines as docs/ARCHITECTURE.md has them; tests/lint/docs.py holds the two against each other.
#include <stdio.h>

#include "services/orchestrator/machine.h"
#include "services/worker-registry/machine.h"

static void print_worker(void) {
    static const char *const states[] = {"[*]", "ONLINE", "SUSPECT", "LOST"};
    static const char *const events[] = {"join", "join of another session", "heartbeat", "silent", "expired"};
    static const char *const guards[] = {"", ", once the lease is over", ", once its loss is known"};
    printf("worker\nstateDiagram-v2\n");
    for (size_t i = 0; i < registry_machine_len; i++) {
        const struct registry_row *row = &registry_machine[i];
        printf("    %s --> %s: %s%s (%s)\n", states[row->from], states[row->to], events[row->event], guards[row->guard],
               row->note);
    }
}

int main(void) {
    const struct orc_machine *const machines[] = {&orc_run_machine, &orc_job_machine, &orc_attempt_machine};
    for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {
        HD_AUTO_BUF struct hd_buf out = {0};
        orc_machine_print(machines[i], &out);
        printf("%s\n%s", machines[i]->name, out.data);
    }
    print_worker();
    return 0;
}
