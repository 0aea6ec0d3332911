#include "services/worker-registry/machine.h"

// clang-format off
const struct registry_row registry_machine[] = {
    {REG_NONE,    REG_JOIN_OTHER, REG_ALWAYS,     REG_ONLINE,  false, "a new worker"},
    {REG_ONLINE,  REG_JOIN_SAME,  REG_ALWAYS,     REG_ONLINE,  false, "its agent was started again"},
    {REG_ONLINE,  REG_JOIN_OTHER, REG_LEASE_OVER, REG_ONLINE,  true,  "a new state folder takes the name"},
    {REG_ONLINE,  REG_BEAT,       REG_ALWAYS,     REG_ONLINE,  false, "the lease goes on"},
    {REG_ONLINE,  REG_SILENT,     REG_ALWAYS,     REG_SUSPECT, false, "nothing new is placed there"},
    {REG_ONLINE,  REG_EXPIRED,    REG_ALWAYS,     REG_LOST,    true,  "lease and margin are over"},
    {REG_SUSPECT, REG_JOIN_SAME,  REG_ALWAYS,     REG_ONLINE,  false, "its agent was started again"},
    {REG_SUSPECT, REG_JOIN_OTHER, REG_LEASE_OVER, REG_ONLINE,  true,  "a new state folder takes the name"},
    {REG_SUSPECT, REG_BEAT,       REG_ALWAYS,     REG_ONLINE,  false, "it was only slow"},
    {REG_SUSPECT, REG_EXPIRED,    REG_ALWAYS,     REG_LOST,    true,  "lease and margin are over"},
    {REG_LOST,    REG_JOIN_SAME,  REG_LOSS_TOLD,  REG_ONLINE,  false, "it came back; its old attempts are decided"},
    {REG_LOST,    REG_JOIN_OTHER, REG_ALWAYS,     REG_ONLINE,  false, "a new state folder takes the name"},
};
// clang-format on
const size_t registry_machine_len = sizeof(registry_machine) / sizeof(registry_machine[0]);

static bool holds(enum registry_guard guard, struct registry_facts facts) {
    switch (guard) {
    case REG_ALWAYS:
        return true;
    case REG_LEASE_OVER:
        return facts.lease_over;
    case REG_LOSS_TOLD:
        return facts.loss_told;
    }
    return false;
}

struct registry_step registry_step(enum registry_state from, enum registry_event event, struct registry_facts facts) {
    for (size_t i = 0; i < registry_machine_len; i++) {
        const struct registry_row *row = &registry_machine[i];
        if (row->from == from && row->event == event)
            return (struct registry_step){holds(row->guard, facts) ? REG_STEP : REG_GUARDED, row};
    }
    return (struct registry_step){REG_REFUSED, NULL};
}
