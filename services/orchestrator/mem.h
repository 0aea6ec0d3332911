// Inside of the twin: its tables are one working set that lives as long as it does, and an undo log with before-images.
#ifndef ORC_MEM_H
#define ORC_MEM_H

#include "base/map.h"
#include "services/orchestrator/store.h"

struct mem_list {
    void **items;
    size_t n, cap;
};
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
struct mem_outbox {
    int64_t id, at_ms;
    const uint8_t *data;
    size_t len;
    bool done;
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
struct mem_dead {
    const char *subject, *why;
};

enum mem_undo_kind { MEM_IMAGE, MEM_POP_LIST, MEM_POP_RUN, MEM_POP_JOB, MEM_POP_ATTEMPT, MEM_POP_TENANT };
struct mem_undo {
    enum mem_undo_kind kind;
    void *at;
    void *before; // owned
    size_t size;
};

struct orc_mem {
    struct hd_arena arena; // of everything but the undo log
    struct orc_ws all;
    struct mem_list versions, leases, lost, outbox, dead, actions, approvals, commands, groups, members, listeners,
        follow_ups;
    int64_t turns;
    struct hd_map texts;
    struct mem_undo *undo;
    size_t n_undo, cap_undo;
    bool open;
    int64_t next_outbox;
    int64_t rows_written;
};

// Before a change: remembers what is there.
void mem_touch(struct orc_mem *mem, void *at, size_t size);
#define MEM_TOUCH_ROW(mem, row)                                                                                        \
    mem_touch((mem), (row), offsetof(__typeof__(*(row)), chain)) // the index is not a row's content
void mem_undo_push(struct orc_mem *mem, enum mem_undo_kind kind, void *at);
void mem_push(struct orc_mem *mem, struct mem_list *list, void *item);
const char *mem_text(struct orc_mem *mem, const char *text); // lives as long as the twin

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
