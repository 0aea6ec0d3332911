// The state machine of a worker. Pure; the table in machine.c is the machine.
//
// An event that has no row in a state is refused: nothing changes. A row with a guard is refused while the guard does not
// hold. The states are those of hodei.v1.WorkerState; 0 is a name that nobody has joined with.
#ifndef HD_REGISTRY_MACHINE_H
#define HD_REGISTRY_MACHINE_H

#include <stdbool.h>
#include <stddef.h>

enum registry_state { REG_NONE, REG_ONLINE, REG_SUSPECT, REG_LOST, REG_STATE_COUNT };
enum registry_event {
    REG_JOIN_SAME,  // Join by the session that the row has
    REG_JOIN_OTHER, // Join by another session, or the first
    REG_BEAT,       // Heartbeat by the session that the row has
    REG_SILENT,     // two heartbeats are missing
    REG_EXPIRED,    // lease and margin are over
    REG_EVENT_COUNT
};
enum registry_guard {
    REG_ALWAYS,
    REG_LEASE_OVER, // the lease of the row's session has run out
    REG_LOSS_TOLD   // the orchestrator has confirmed the loss of that session
};
struct registry_row {
    enum registry_state from;
    enum registry_event event;
    enum registry_guard guard;
    enum registry_state to;
    bool loses_session; // the row's session (before the event) is lost
    const char *note;
};
extern const struct registry_row registry_machine[];
extern const size_t registry_machine_len;

struct registry_facts {
    bool lease_over, loss_told;
};
enum registry_answer { REG_STEP, REG_REFUSED, REG_GUARDED };
struct registry_step {
    enum registry_answer answer;
    const struct registry_row *row; // NULL where refused
};
struct registry_step registry_step(enum registry_state from, enum registry_event event, struct registry_facts facts);

#endif
