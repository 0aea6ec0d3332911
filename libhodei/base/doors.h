// Who may do what inside the platform: one row for each process that talks to NATS or PostgreSQL. `hodei dev` makes its servers' users of this
// table, `hodei access` prints it for an installation, services take from it which streams are theirs, and tests/integration/doors.py
// shows what each row leaves out.
//
// A NATS user may publish what `publish` lists and `deny` does not, and subscribe to what `subscribe` lists; in subjects of the
// agent "<worker>" stands for the name of its worker. A row with `schema` has a PostgreSQL role, "hodei-" and its name, which owns the schema
// of its name and may use no other. All is constant; nothing is to be freed.
#ifndef HD_BASE_DOORS_H
#define HD_BASE_DOORS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct hd_door {
    const char
        *name; // of the service and of its user; "agent": one user for each worker, "agent-" and the worker's name
    bool schema;
    unsigned makes;   // bits (1 << HD_STREAM_…): streams that it makes where they are missing
    unsigned changes; // those whose settings it may change, as their owner
    const char *const *publish, *const *deny, *const *subscribe; // up to a NULL; `deny` may be NULL
};
extern const struct hd_door hd_doors[];
extern const size_t hd_doors_len;

// NULL: there is no such row.
const struct hd_door *hd_door_find(const char *name);
// A user of nats-server's settings. `worker` is of an agent, else NULL; `password` is written as it is: a quoted text, or $VARIABLE.
void hd_door_nats(struct hd_buf *out, const struct hd_door *door, const char *worker, const char *password);
// What a PostgreSQL superuser runs, once or again: roles, their schemas, what is taken from everybody. What an earlier version has made
// passes to its role. passwords[i] is of hd_doors[i], written as it is (an SQL literal, or a variable of psql); unused without a schema.
void hd_doors_sql(struct hd_buf *out, const char *const *passwords);

#endif
