// The two halves of the store on PostgreSQL: store_pg.c and its parts read, store_pg_save.c writes.
#ifndef ORC_STORE_PG_H
#define ORC_STORE_PG_H

#include "services/orchestrator/sql.h"
#include "services/orchestrator/store.h"

#define ORC_RUN_SQL(cx, statement, ret, ...) HD_RUN((cx), &orc_sql[(statement)], (ret), __VA_ARGS__)

enum hd_status orc_pg_runs_insert(ORC_CALL, struct orc_ws *ws);
enum hd_status orc_pg_save(ORC_CALL, struct orc_ws *ws);

// store_pg_steer.c
enum hd_status orc_pg_actions_add(ORC_CALL, const struct orc_done *done);
enum hd_status orc_pg_actions_list(ORC_CALL, struct hd_uuid run, unsigned limit, struct orc_done **ret, size_t *ret_n);
enum hd_status orc_pg_approvals_add(ORC_CALL, const struct orc_job *job, const char *actor);
enum hd_status orc_pg_approvals_count(ORC_CALL, struct orc_ws *ws, struct hd_uuid run);
enum hd_status orc_pg_approvals_list(ORC_CALL, const struct orc_job *job, const char ***ret, size_t *ret_n);
enum hd_status orc_pg_command_find(ORC_CALL, struct orc_command_key *inout);
enum hd_status orc_pg_command_put(ORC_CALL, const struct orc_command_key *key);
enum hd_status orc_pg_commands_prune(ORC_CALL, int64_t before_ms);

// store_pg_follow.c
enum hd_status orc_pg_listeners_put(ORC_CALL, const struct orc_listener *listeners, size_t n,
                                    const struct orc_version *versions, size_t n_versions);
enum hd_status orc_pg_follow_ups_add(ORC_CALL, const struct orc_ended *ended, size_t n, size_t *ret_added);
enum hd_status orc_pg_follow_ups_take(ORC_CALL, unsigned limit, struct orc_follow_up **ret, size_t *ret_n);
enum hd_status orc_pg_follow_ups_drop(ORC_CALL, const struct orc_follow_up *follow_ups, size_t n);

// store_pg_groups.c
enum hd_status orc_pg_groups_enter(ORC_CALL, struct orc_group_entry *entries, size_t n);
enum hd_status orc_pg_groups_leave(ORC_CALL, const struct orc_job_ref *refs, size_t n, size_t *ret_left);
enum hd_status orc_pg_group_members(ORC_CALL, struct orc_group *inout, bool lock, struct orc_member **ret,
                                    size_t *ret_n);
enum hd_status orc_pg_group_hold(ORC_CALL, const struct orc_group *group, const struct orc_member *member);
enum hd_status orc_pg_group_doom(ORC_CALL, const struct orc_group *group, const struct orc_member *member);
enum hd_status orc_pg_groups_of(ORC_CALL, const struct orc_job_ref *refs, size_t n, struct orc_group *ret);
enum hd_status orc_pg_groups_waiting(ORC_CALL, unsigned limit, struct orc_group **ret, size_t *ret_n);

// store_pg_pool.c
enum hd_status orc_pg_lease_take(ORC_CALL, struct orc_lease *inout, int64_t ttl_ms, bool release);
enum hd_status orc_pg_leases_hold(ORC_CALL, struct orc_lease *inout, size_t n);
enum hd_status orc_pg_pool_entries(ORC_CALL, const char *pool, unsigned limit, struct orc_pool_entry **ret,
                                   size_t *ret_n);
enum hd_status orc_pg_sessions_lose(ORC_CALL, const struct orc_life *lives, size_t n);
enum hd_status orc_pg_sessions_revive(ORC_CALL, const struct orc_life *lives, const int64_t *seen_ms, size_t n);
enum hd_status orc_pg_sessions_lost(ORC_CALL, const struct hd_uuid *sessions, size_t n, struct orc_life **ret,
                                    size_t *ret_n);
enum hd_status orc_pg_sessions_prune(ORC_CALL, int64_t before_ms);

#endif
