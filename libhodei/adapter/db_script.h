// A script for an administrator of PostgreSQL, once: what `hodei dev` does to a cluster before services use it.
#ifndef HD_ADAPTER_DB_SCRIPT_H
#define HD_ADAPTER_DB_SCRIPT_H

#include "base/arena.h"
#include "base/status.h"

// Connects, and unless `probe` (NULL: none) gives a row runs `sql` (statements without parameters) in one transaction. What is in it, passwords
// too, does not reach the server's log. Waits for the server; `conninfo` may bound that.
enum hd_status hd_db_script(const char *conninfo, const char *probe, const char *sql, struct hd_err *err) HD_MUST_USE;
// How to reach a server, for programs of PostgreSQL: NAME=value for each setting of `conninfo` that has a variable, ended by NULL, in the
// arena. HD_INVALID.
enum hd_status hd_db_environment(const char *conninfo, struct hd_arena *arena, const char ***ret,
                                 struct hd_err *err) HD_MUST_USE;

#endif
