// Inside of the twin: its tables are one working set that lives as long as it does.
#ifndef ORC_MEM_H
#define ORC_MEM_H

#include "service/mem.h"
#include "services/orchestrator/store.h"

struct mem_version {
    struct orc_version v;
};
struct mem_lease {
    const char *pool, *holder;
    uint64_t epoch;
    int64_t expires_mono_ms;
};
struct mem_lost {
    struct hd_uuid session;
    int64_t at_ms, incarnation;
    bool gone;
};
struct mem_member {
    const char *tenant, *name;
    struct orc_member m;
    bool gone;
};
struct mem_approval {
    struct orc_job_ref job;
    const char *actor;
};
struct mem_command {
    struct orc_command_key key;
    int64_t at_ms;
};
struct mem_follow_up {
    struct orc_follow_up f;
    bool gone;
};

struct orc_mem {
    struct hd_mem base;
    struct orc_ws all;
    struct hd_mem_list versions, leases, lost, actions, approvals, commands, groups, members, listeners, follow_ups;
    int64_t turns;
};

#define MEM_TOUCH_ROW(mem, row)                                                                                        \
    hd_mem_touch(&(mem)->base, (row), offsetof(__typeof__(*(row)), chain)) // the index is not a row's content
// What was added last is taken away again; of a struct orc_mem.
void mem_pop_run(void *mem), mem_pop_job(void *mem), mem_pop_attempt(void *mem), mem_pop_tenant(void *mem);

static inline struct orc_attempt_ref mem_ref_of(const struct orc_attempt *attempt) {
    return (struct orc_attempt_ref){attempt->id, {attempt->job->run->id, attempt->job->idx}};
}

// store_mem_pool.c
enum hd_status mem_attempts_find_live(ORC_CALL, const struct hd_uuid *sessions, size_t n, struct orc_attempt_ref **ret,
                                      size_t *ret_n);
enum hd_status mem_lease_take(ORC_CALL, struct orc_lease *inout, int64_t ttl_ms, bool release);
enum hd_status mem_leases_hold(ORC_CALL, struct orc_lease *inout, size_t n);
enum hd_status mem_pool_entries(ORC_CALL, const char *pool, unsigned limit, struct orc_pool_entry **ret, size_t *ret_n);
enum hd_status mem_sessions_lose(ORC_CALL, const struct orc_life *lives, size_t n);
enum hd_status mem_sessions_revive(ORC_CALL, const struct orc_life *lives, const int64_t *seen_ms, size_t n);
enum hd_status mem_sessions_lost(ORC_CALL, const struct hd_uuid *sessions, size_t n, struct orc_life **ret,
                                 size_t *ret_n);
enum hd_status mem_sessions_prune(ORC_CALL, int64_t before_ms);
enum hd_status mem_attempts_orphaned(ORC_CALL, unsigned limit, struct orc_attempt_ref **ret, size_t *ret_n);

// store_mem_steer.c
enum hd_status mem_actions_add(ORC_CALL, const struct orc_done *done);
enum hd_status mem_actions_list(ORC_CALL, struct hd_uuid run, unsigned limit, struct orc_done **ret, size_t *ret_n);
enum hd_status mem_approvals_add(ORC_CALL, const struct orc_job *job, const char *actor);
enum hd_status mem_approvals_count(ORC_CALL, struct orc_ws *ws, struct hd_uuid run);
enum hd_status mem_approvals_list(ORC_CALL, const struct orc_job *job, const char ***ret, size_t *ret_n);
enum hd_status mem_command_find(ORC_CALL, struct orc_command_key *inout);
enum hd_status mem_command_put(ORC_CALL, const struct orc_command_key *key);
enum hd_status mem_commands_prune(ORC_CALL, int64_t before_ms);

// store_mem_follow.c
enum hd_status mem_listeners_put(ORC_CALL, const struct orc_listener *listeners, size_t n,
                                 const struct orc_version *versions, size_t n_versions);
enum hd_status mem_follow_ups_add(ORC_CALL, const struct orc_ended *ended, size_t n, size_t *ret_added);
enum hd_status mem_follow_ups_take(ORC_CALL, unsigned limit, struct orc_follow_up **ret, size_t *ret_n);
enum hd_status mem_follow_ups_drop(ORC_CALL, const struct orc_follow_up *follow_ups, size_t n);

// store_mem_usage.c
enum hd_status mem_tenants_spare(ORC_CALL, const char **names, size_t n, struct hd_quota *ret, bool *ret_waiting);
enum hd_status mem_usage_count(ORC_CALL, const char **names, size_t n, struct orc_usage **ret, size_t *ret_n);

// store_mem_groups.c
enum hd_status mem_groups_enter(ORC_CALL, struct orc_group_entry *entries, size_t n);
enum hd_status mem_groups_leave(ORC_CALL, const struct orc_job_ref *refs, size_t n, size_t *ret_left);
enum hd_status mem_group_members(ORC_CALL, struct orc_group *inout, bool lock, struct orc_member **ret, size_t *ret_n);
enum hd_status mem_group_hold(ORC_CALL, const struct orc_group *group, const struct orc_member *member);
enum hd_status mem_group_doom(ORC_CALL, const struct orc_group *group, const struct orc_member *member);
enum hd_status mem_groups_of(ORC_CALL, const struct orc_job_ref *refs, size_t n, struct orc_group *ret);
enum hd_status mem_groups_waiting(ORC_CALL, unsigned limit, struct orc_group **ret, size_t *ret_n);

#endif
