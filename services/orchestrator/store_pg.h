// The two halves of the store on PostgreSQL: store_pg.c reads, store_pg_save.c writes.
#ifndef ORC_STORE_PG_H
#define ORC_STORE_PG_H

#include "services/orchestrator/sql.h"
#include "services/orchestrator/store.h"

#define ORC_RUN_SQL(cx, statement, ret, ...) HD_RUN((cx), &orc_sql[(statement)], (ret), __VA_ARGS__)

enum hd_status orc_pg_runs_insert(ORC_CALL, struct orc_ws *ws);
enum hd_status orc_pg_save(ORC_CALL, struct orc_ws *ws);

#endif
