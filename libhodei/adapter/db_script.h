// A script for an administrator of PostgreSQL, once: what `hodei dev` does to a cluster before services use it.
#ifndef HD_ADAPTER_DB_SCRIPT_H
#define HD_ADAPTER_DB_SCRIPT_H

#include "base/status.h"

// Connects, and unless `probe` gives a row runs `sql` (statements without parameters) in one transaction. What is in it, passwords
// too, does not reach the server's log. Waits for the server; `conninfo` may bound that.
enum hd_status hd_db_script(const char *conninfo, const char *probe, const char *sql, struct hd_err *err) HD_MUST_USE;

#endif
