#include "services/orchestrator/sql.h"

// Columns in the order in which store_pg.c reads them.
#define RUN                                                                                                            \
    "r.id, r.tenant, r.pipeline, r.version, r.state, r.created_ms, r.started_ms, r.ended_ms, r.total, r.ended, "       \
    "r.succeeded, r.failed, r.revision, r.request, r.rows, r.main_left, r.due_ms, r.cause, r.origin, r.actor, "        \
    "r.paused, r.rerun_of, r.held, r.started_by, r.depth, r.project"
#define JOB                                                                                                            \
    "j.run_id, j.idx, j.pool, j.priority, j.state, j.deps_left, j.key, j.attempts, j.losses, j.attempt, j.queued_ms, " \
    "j.ready_ms, j.started_ms, j.ended_ms, j.spec, j.parent, j.ordinal, j.matrix, j.flags, j.hold, j.due_ms, "         \
    "j.retries, j.children, j.first_child, j.next_child, j.open_children, j.cause, j.message, j.avoid_worker"
#define ATTEMPT                                                                                                        \
    "a.id, a.run_id, a.idx, a.number, a.state, a.worker, a.session, a.key, a.assigned_ms, a.changed_ms, "              \
    "a.started_ms, "                                                                                                   \
    "a.ended_ms, a.exit_code, a.signal, a.cause, a.message, a.user_ms, a.system_ms, a.max_rss_bytes, a.log_frames, "   \
    "a.gone_ms, a.incarnation"

#define TENANT                                                                                                         \
    "t.name, t.granted, t.version, t.queued, t.day, t.month, t.job_ms, t.marks, t.job_limit, t.cpu_limit, "            \
    "t.memory_limit, t.gpu_limit, t.queued_limit, t.runs_limit, t.minutes_limit, t.used, t.cpu_used, t.memory_used, "  \
    "t.gpu_used, t.pending, t.runs, t.marked_ms, t.weight, t.borrow, t.parts"

#define WANTED                                                                                                         \
    " and r.id >= $8::uuid and (cardinality($9::int[]) = 0 or r.state = any ($9::int[]))"                              \
    " and ($6::text = '' or r.pipeline = $6::text) and ($7::text = '' or r.project = $7::text)"                        \
    " order by r.id desc limit $3::bigint"

// Runs of some states, each by its own index: those that are open are few, those that have failed or were cancelled have one, and most
// have succeeded.
#define IN_STATE(which)                                                                                                \
    "(select r.id from runs r where r.tenant = $1::text and " which                                                    \
    " and r.id < $2::uuid and r.id >= $4::uuid order by r.id desc limit $3::bigint)"

const struct hd_sql orc_sql[ORC_SQL_COUNT] = {
    [ORC_SQL_VERSIONS_PUT] = {"orc_versions_put",
                              "insert into pipeline_versions (tenant, name, version, deleted, data, project)"
                              " select distinct on (t, n, v) t, n, v, d <> 0, b, p"
                              " from unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::bytea[], $6::text[]) "
                              "as u (t, n, v, d, b, p)"
                              " order by t, n, v, d desc"
                              " on conflict (tenant, name, version) do update set deleted = true"
                              " where excluded.deleted and not pipeline_versions.deleted"},
    [ORC_SQL_VERSIONS_NEWEST] = {"orc_versions_newest",
                                 "select u.i, v.version, v.deleted, ''::bytea, v.project"
                                 " from unnest($1::text[], $2::text[]) with ordinality as u (t, n, i)"
                                 " cross join lateral (select p.version, p.deleted, p.project from pipeline_versions p"
                                 " where p.tenant = u.t and p.name = u.n order by p.version desc limit 1) v"},
    [ORC_SQL_VERSIONS_GET] = {"orc_versions_get",
                              "select u.i, v.version, v.deleted, v.data, v.project"
                              " from unnest($1::text[], $2::text[], $3::int[]) with ordinality as u (t, n, v, i)"
                              " join pipeline_versions v on v.tenant = u.t and v.name = u.n and v.version = u.v"},
    [ORC_SQL_RUNS_LOCK] = {"orc_runs_lock",
                           "select " RUN " from runs r where r.id = any ($1::uuid[]) order by r.id for update"},
    [ORC_SQL_RUNS_READ] = {"orc_runs_read", "select " RUN " from runs r where r.id = any ($1::uuid[])"},
    [ORC_SQL_RUNS_BY_KEY] = {"orc_runs_by_key", "select u.i, r.id, r.fingerprint"
                                                " from unnest($1::text[], $2::text[]) with ordinality as u (t, k, i)"
                                                " join runs r on r.tenant = u.t and r.idem_key = u.k"},
    [ORC_SQL_RUNS_LIST] = {"orc_runs_list", "select " RUN " from runs r where r.tenant = $1::text and r.id < $2::uuid"
                                            " and r.id >= $4::uuid order by r.id desc limit $3::bigint"},
    [ORC_SQL_RUNS_LIST_PIPELINE] =
        {"orc_runs_list_pipeline", "select " RUN " from runs r where r.tenant = $1::text and r.id < $2::uuid"
                                   " and r.id >= $4::uuid and (cardinality($5::int[]) = 0 or r.state = any ($5::int[]))"
                                   " and r.pipeline = $6::text order by r.id desc limit $3::bigint"},
    [ORC_SQL_RUNS_LIST_STATES] =
        {"orc_runs_list_states",
         "select " RUN " from runs r where r.id in (select id from (" IN_STATE(
             "r.state < 3 and r.state = any "
             "($5::int[])") " union all " IN_STATE("r"
                                                   "."
                                                   "s"
                                                   "t"
                                                   "a"
                                                   "t"
                                                   "e"
                                                   " "
                                                   "="
                                                   " "
                                                   "3"
                                                   " "
                                                   "a"
                                                   "n"
                                                   "d"
                                                   " "
                                                   "3"
                                                   " "
                                                   "="
                                                   " "
                                                   "a"
                                                   "n"
                                                   "y"
                                                   " "
                                                   "("
                                                   "$"
                                                   "5"
                                                   ":"
                                                   ":"
                                                   "i"
                                                   "n"
                                                   "t"
                                                   "["
                                                   "]"
                                                   ")") " union all " IN_STATE("r.state = 4 and 4 = any "
                                                                               "($5::int[])") " union "
                                                                                              "all " IN_STATE(
                                                                                                  "r."
                                                                                                  "stat"
                                                                                                  "e = "
                                                                                                  "5 "
                                                                                                  "and "
                                                                                                  "5 = "
                                                                                                  "any "
                                                                                                  "($5:"
                                                                                                  ":int"
                                                                                                  "[])") ") s "
                                                                                                         "orde"
                                                                                                         "r "
                                                                                                         "by "
                                                                                                         "id "
                                                                                                         "desc"
                                                                                                         " lim"
                                                                                                         "it "
                                                                                                         "$3::"
                                                                                                         "bigi"
                                                                                                         "nt) "
                                                                                                         "orde"
                                                                                                         "r "
                                                                                                         "by "
                                                                                                         "r."
                                                                                                         "id "
                                                                                                         "des"
                                                                                                         "c"},
    // Each part by its index, then the newest of all. What nobody has put into a project has no index of its own.
    [ORC_SQL_RUNS_LIST_PARTS] =
        {"orc_runs_list_parts",
         "select " RUN " from runs r where r.id in (select id from ("
         "select p.id from unnest($4::text[]) as u (name) cross join lateral (select r.id from runs r"
         " where r.tenant = $1::text and r.pipeline = u.name and r.id < $2::uuid" WANTED ") p union"
         " select p.id from unnest($5::text[]) as u (name) cross join lateral (select r.id from runs r"
         " where r.tenant = $1::text and r.project = u.name and r.project <> 'default' and r.id < $2::uuid" WANTED
         ") p union select p.id from (select r.id from runs r where 'default' = any ($5::text[])"
         " and r.tenant = $1::text and r.project = 'default' and r.id < $2::uuid" WANTED ") p) s"
         " order by id desc limit $3::bigint) order by r.id desc"},
    [ORC_SQL_JOBS_LOAD] = {"orc_jobs_load", "select " JOB " from unnest($1::uuid[], $2::int[]) as u (r, i)"
                                            " join jobs j on j.run_id = u.r and j.idx = u.i"},
    [ORC_SQL_JOBS_OPEN] = {"orc_jobs_open",
                           "select " JOB " from jobs j where j.run_id = any ($1::uuid[]) and j.state < 6"
                           " order by j.run_id, j.idx"},
    [ORC_SQL_JOBS_PAGE] = {"orc_jobs_page", "select " JOB " from jobs j where j.run_id = $1::uuid and j.idx >= $2::int"
                                            " order by j.idx limit $3::bigint"},
    // Both rows are locked: the lock of the run keeps others out, that of the job makes PostgreSQL look at its newest state.
    [ORC_SQL_JOBS_QUEUED] = {"orc_jobs_queued",
                             "select " JOB ", " RUN " from jobs j join runs r on r.id = j.run_id"
                             " where j.tenant = $1::text and j.state = 2 and j.hold = 0"
                             " order by j.priority desc, j.queued_ms, j.run_id, j.idx limit $2::bigint"
                             " for update of j, r skip locked"},
    [ORC_SQL_ATTEMPTS_FIND] = {"orc_attempts_find",
                               "select a.id, a.run_id, a.idx from attempts a where a.id = any ($1::uuid[])"},
    [ORC_SQL_ATTEMPTS_FIND_LIVE] = {"orc_attempts_find_live",
                                    "select a.id, a.run_id, a.idx from attempts a"
                                    " where a.session = any ($1::uuid[]) and a.state in (1, 2)"},
    [ORC_SQL_ATTEMPTS_LOAD] = {"orc_attempts_load", "select " ATTEMPT " from attempts a where a.id = any ($1::uuid[])"},
    [ORC_SQL_ATTEMPTS_PAGE] = {"orc_attempts_page",
                               "select " ATTEMPT " from attempts a join jobs j on j.run_id = a.run_id and j.idx = a.idx"
                               " where a.run_id = $1::uuid and a.idx >= $2::int and a.idx < $3::int"
                               " and a.number > j.attempts - 20 order by a.idx, a.number"},
    [ORC_SQL_ATTEMPTS_ORPHANED] = {"orc_attempts_orphaned",
                                   "(select a.id, a.run_id, a.idx from lost_sessions l join attempts a"
                                   " on a.session = l.session and a.state in (1, 2) and a.gone_ms = 0"
                                   " and (l.incarnation = 0 or a.incarnation <= l.incarnation)"
                                   " limit $1::bigint)"
                                   " union all (select a.id, a.run_id, a.idx from attempts a"
                                   " join jobs j on j.run_id = a.run_id and j.idx = a.idx and j.state = 5"
                                   " where a.gone_ms > 0 and a.state in (1, 2) limit $1::bigint)"},
    [ORC_SQL_TENANTS_LOCK] = {"orc_tenants_lock", "select " TENANT " from tenants t"
                                                  " where t.name = any ($1::text[]) order by t.name for update"},
    [ORC_SQL_TENANTS_READ] = {"orc_tenants_read", "select " TENANT " from tenants t where t.name = any ($1::text[])"},
    // One borrower at a time: the next one sees what this one has taken.
    [ORC_SQL_BORROW_LOCK] = {"orc_borrow_lock", "select pg_advisory_xact_lock(hashtextextended('borrow', 2)) is null"},
    [ORC_SQL_TENANTS_SPARE] =
        {"orc_tenants_spare",
         "select coalesce(sum(t.job_limit - t.used), 0)::bigint,"
         " coalesce(sum(t.cpu_limit - t.cpu_used) filter (where t.cpu_limit >= 0), 0)::bigint,"
         " coalesce(sum(t.memory_limit - t.memory_used) filter (where t.memory_limit >= 0), 0)::bigint,"
         " coalesce(sum(t.gpu_limit - t.gpu_used) filter (where t.gpu_limit >= 0), 0)::bigint,"
         " coalesce(bool_or(t.queued > 0 and t.used < t.job_limit"
         " and (t.cpu_limit < 0 or t.cpu_used < t.cpu_limit)"
         " and (t.memory_limit < 0 or t.memory_used < t.memory_limit)), false)"
         " from tenants t where t.granted and position('/' in t.name) = 0 and t.name <> all ($1::text[])"},
    [ORC_SQL_USAGE_COUNT] =
        {"orc_usage_count",
         "select t.name, t.used, t.cpu_used, t.memory_used, t.gpu_used, t.pending, t.queued, t.parts,"
         " coalesce(c.pipeline, ''), coalesce(c.version, 0), coalesce(c.spec, 0), coalesce(c.counted, 0),"
         " coalesce(c.pending, 0), coalesce(c.queued, 0), case when position('/' in t.name) = 0"
         " and c.project <> 'default' then c.queued else 0 end from tenants t"
         " left join (select r.tenant, r.project, r.pipeline, r.version,"
         " case when j.spec < 0 then j.idx else j.spec end as spec,"
         " count(*) filter (where j.state in (3, 4, 5)) as counted,"
         " count(*) filter (where j.state in (1, 2)) as pending,"
         " count(*) filter (where j.state = 2 and j.hold = 0) as queued"
         " from runs r join jobs j on j.run_id = r.id where r.state < 3 and j.state < 6 and ($1::int <> 0"
         " or r.tenant = any (array (select split_part(n, '/', 1) from unnest($2::text[]) as u (n))))"
         " group by 1, 2, 3, 4, 5) c on c.tenant = split_part(t.name, '/', 1)"
         " and (position('/' in t.name) = 0 or c.project = split_part(t.name, '/', 2))"
         " where $1::int <> 0 or t.name = any ($2::text[]) order by t.name"},
    [ORC_SQL_TENANTS_MAKE] = {"orc_tenants_make",
                              "insert into tenants (name) select u.n from unnest($1::text[]) as u (n) order by 1"
                              " on conflict do nothing"},
    [ORC_SQL_PARTS_WAITING] = {"orc_parts_waiting", "select t.name from tenants t where t.queued > 0"
                                                    " and starts_with(t.name, $1::text || '/') order by t.name"},
    [ORC_SQL_TENANTS_WAITING] = {"orc_tenants_waiting",
                                 "select t.name from tenants t where t.queued > 0 and position('/' in t.name) = 0"
                                 " and (not t.granted or t.borrow or (t.used < t.job_limit"
                                 " and (t.cpu_limit < 0 or t.cpu_used < t.cpu_limit)"
                                 " and (t.memory_limit < 0 or t.memory_used < t.memory_limit)))"
                                 " order by random() limit $1::bigint"},
    [ORC_SQL_RUNS_INSERT] = {"orc_runs_insert",
                             "insert into runs (id, tenant, pipeline, version, state, created_ms, total, revision,"
                             " idem_key, fingerprint, request, rows, main_left, due_ms, origin, actor, rerun_of,"
                             " started_by, depth, project)"
                             " select * from unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::int[],"
                             " $6::bigint[], $7::int[], $8::bigint[], $9::text[], $10::bigint[], $11::bytea[],"
                             " $12::int[], $13::int[], $14::bigint[], $15::text[], $16::text[], $17::uuid[],"
                             " $18::uuid[], $19::int[], $20::text[])"
                             " as u (id, tenant, pipeline, version, state, created_ms, total, revision, idem_key,"
                             " fingerprint, request, rows, main_left, due_ms, origin, actor, rerun_of, started_by,"
                             " depth, project)"
                             " order by tenant, idem_key"
                             " on conflict (tenant, idem_key) where idem_key is not null do nothing returning id"},
    [ORC_SQL_RUNS_UPDATE] = {"orc_runs_update",
                             "update runs r set state = u.state, started_ms = u.started_ms, ended_ms = u.ended_ms,"
                             " ended = u.ended, succeeded = u.succeeded, failed = u.failed, revision = u.revision,"
                             " total = u.total, rows = u.rows, main_left = u.main_left, due_ms = u.due_ms,"
                             " cause = u.cause, paused = u.paused <> 0, held = u.held <> 0"
                             " from unnest($1::uuid[], $2::int[], $3::bigint[], $4::bigint[], $5::int[], $6::int[],"
                             " $7::int[], $8::bigint[], $9::int[], $10::int[], $11::int[], $12::bigint[], $13::int[],"
                             " $14::int[], $15::int[])"
                             " as u (id, state, started_ms, ended_ms, ended, succeeded, failed, revision, total, rows,"
                             " main_left, due_ms, cause, paused, held) where r.id = u.id"},
    [ORC_SQL_JOBS_PRIORITY] = {"orc_jobs_priority",
                               "update jobs j set priority = u.priority"
                               " from unnest($1::uuid[], $2::int[], $3::int[]) as u (run_id, idx, priority)"
                               " where j.run_id = u.run_id and j.idx = u.idx"},
    [ORC_SQL_ACTIONS_ADD] = {"orc_actions_add",
                             "insert into actions (run_id, at_ms, actor, action, job, reason, result)"
                             " values ($1::uuid, $2::bigint, $3::text, $4::text, $5::text, $6::text, $7::text)"},
    [ORC_SQL_ACTIONS_LIST] = {"orc_actions_list",
                              "select at_ms, actor, action, job, reason, result from (select * from actions"
                              " where run_id = $1::uuid order by id desc limit $2::bigint) a order by id"},
    [ORC_SQL_APPROVALS_ADD] = {"orc_approvals_add",
                               "insert into approvals (run_id, idx, actor, at_ms)"
                               " values ($1::uuid, $2::int, $3::text, $4::bigint) on conflict do nothing"},
    [ORC_SQL_APPROVALS_COUNT] = {"orc_approvals_count",
                                 "select idx, count(*) from approvals where run_id = $1::uuid group by idx"},
    [ORC_SQL_APPROVALS_LIST] = {"orc_approvals_list", "select actor from approvals where run_id = $1::uuid"
                                                      " and idx = $2::int order by at_ms"},
    [ORC_SQL_GROUPS_MAKE] =
        {"orc_groups_make", "insert into groups as g (tenant, name, capacity, by_ready)"
                            " select distinct on (t, n) t, n, c, r <> 0"
                            " from unnest($1::text[], $2::text[], $3::int[], $4::int[]) as u (t, n, c, r) order by t, n"
                            " on conflict (tenant, name) do update set capacity = excluded.capacity,"
                            " by_ready = excluded.by_ready"},
    [ORC_SQL_GROUPS_LOCK] = {"orc_groups_lock", "select g.capacity, g.by_ready from groups g"
                                                " where g.tenant = $1::text and g.name = $2::text for update"},
    [ORC_SQL_GROUPS_READ] = {"orc_groups_read", "select g.capacity, g.by_ready from groups g"
                                                " where g.tenant = $1::text and g.name = $2::text"},
    [ORC_SQL_GROUPS_ENTER] =
        {"orc_groups_enter",
         "insert into group_members as m (tenant, name, run_id, idx, state, seq)"
         " select t, n, r, i, s, case when s = 0 then 0 else nextval('group_turns') end"
         " from unnest($1::text[], $2::text[], $3::uuid[], $4::int[], $5::int[]) as u (t, n, r, i, s)"
         " on conflict (tenant, name, run_id, idx) do update set state = greatest(m.state, excluded.state),"
         " seq = case when m.seq = 0 then excluded.seq else m.seq end"},
    [ORC_SQL_GROUPS_LEAVE] = {"orc_groups_leave",
                              "delete from group_members m using unnest($1::uuid[], $2::int[]) as u (r, i)"
                              " where m.run_id = u.r and m.idx = u.i returning 1"},
    [ORC_SQL_GROUP_MEMBERS] = {"orc_group_members",
                               "select m.run_id, m.idx, m.state, m.seq, m.doomed from group_members m"
                               " where m.tenant = $1::text and m.name = $2::text"},
    [ORC_SQL_GROUP_HOLD] = {"orc_group_hold",
                            "update group_members m set state = 2 where m.tenant = $1::text and m.name = $2::text"
                            " and m.run_id = $3::uuid and m.idx = $4::int"},
    [ORC_SQL_GROUP_DOOM] = {"orc_group_doom",
                            "update group_members m set doomed = true where m.tenant = $1::text and m.name = $2::text"
                            " and m.run_id = $3::uuid and m.idx = $4::int"},
    [ORC_SQL_GROUPS_OF] =
        {"orc_groups_of",
         "select u.o, m.tenant, m.name from unnest($1::uuid[], $2::int[]) with ordinality as u (r, i, o)"
         " join group_members m on m.run_id = u.r and m.idx = u.i"},
    [ORC_SQL_GROUPS_WAITING] = {"orc_groups_waiting",
                                "select distinct m.tenant, m.name from group_members m where m.state = 1 or m.doomed"
                                " order by m.tenant, m.name limit $1::bigint"},
    [ORC_SQL_COMMAND_LOCK] = {"orc_command_lock",
                              "select pg_advisory_xact_lock(hashtextextended($1::text || ' ' || $2::text, 1)) is null"},
    [ORC_SQL_COMMAND_FIND] = {"orc_command_find", "select fingerprint, reply from commands"
                                                  " where tenant = $1::text and idem_key = $2::text"},
    [ORC_SQL_COMMAND_PUT] = {"orc_command_put", "insert into commands (tenant, idem_key, fingerprint, reply, at_ms)"
                                                " values ($1::text, $2::text, $3::bigint, $4::bytea, $5::bigint)"},
    [ORC_SQL_COMMANDS_PRUNE] = {"orc_commands_prune", "delete from commands where at_ms < $1::bigint"},
    [ORC_SQL_LISTENERS_PUT] = {"orc_listeners_put",
                               "insert into listeners (tenant, source, name, version, accepts)"
                               " select * from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::int[])"
                               " on conflict do nothing"},
    [ORC_SQL_LISTENERS_PRUNE] = {"orc_listeners_prune",
                                 "delete from listeners l using unnest($1::text[], $2::text[], $3::int[])"
                                 " as u (t, n, v) where l.tenant = u.t and l.name = u.n and l.version < u.v"},
    [ORC_SQL_FOLLOW_UPS_ADD] =
        {"orc_follow_ups_add",
         "insert into follow_ups (run_id, name) select u.id, l.name"
         " from unnest($1::uuid[], $2::text[], $3::text[], $4::int[]) as u (id, tenant, pipeline, mask)"
         " join listeners l on l.tenant = u.tenant and l.source = u.pipeline and l.accepts & u.mask <> 0"
         " cross join lateral (select p.version, p.deleted, p.project from pipeline_versions p"
         " where p.tenant = l.tenant and p.name = l.name order by p.version desc limit 1) v"
         " where v.version = l.version and not v.deleted order by u.id, l.name on conflict do nothing returning 1"},
    [ORC_SQL_FOLLOW_UPS_TAKE] = {"orc_follow_ups_take", "select f.run_id, f.name from follow_ups f"
                                                        " order by f.run_id, f.name limit $1::bigint"
                                                        " for update skip locked"},
    [ORC_SQL_FOLLOW_UPS_DROP] = {"orc_follow_ups_drop",
                                 "delete from follow_ups f using unnest($1::uuid[], $2::text[]) as u (r, n)"
                                 " where f.run_id = u.r and f.name = u.n"},
    [ORC_SQL_RUNS_DUE] = {"orc_runs_due", "select r.id from runs r where r.due_ms > 0 and r.due_ms <= $1::bigint"
                                          " order by r.due_ms limit $2::bigint"},
    [ORC_SQL_JOBS_DUE] = {"orc_jobs_due", "select j.run_id, j.idx from jobs j where j.due_ms > 0"
                                          " and j.due_ms <= $1::bigint order by j.due_ms limit $2::bigint"},
    [ORC_SQL_JOBS_INSERT] =
        {"orc_jobs_insert",
         "insert into jobs (run_id, idx, tenant, pool, priority, state, deps_left, key, attempt, queued_ms, "
         "ready_ms,"
         " ended_ms, started_ms, spec, parent, ordinal, matrix, flags, hold, due_ms, children, first_child, "
         "next_child,"
         " open_children, cause, message)"
         " select * from unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::int[], $6::int[],"
         " $7::int[], $8::bigint[], $9::uuid[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], "
         "$14::int[],"
         " $15::int[], $16::int[], $17::text[], $18::int[], $19::int[], $20::bigint[], $21::int[], $22::int[],"
         " $23::int[], $24::int[], $25::int[], $26::text[])"},
    [ORC_SQL_JOBS_UPDATE] =
        {"orc_jobs_update", "update jobs j set state = u.state, deps_left = u.deps_left, key = u.key,"
                            " attempts = u.attempts, losses = u.losses, attempt = u.attempt, queued_ms = u.queued_ms,"
                            " ready_ms = u.ready_ms, started_ms = u.started_ms, ended_ms = u.ended_ms,"
                            " flags = u.flags, hold = u.hold, due_ms = u.due_ms, retries = u.retries"
                            " from unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::bigint[], $6::int[],"
                            " $7::int[], $8::uuid[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],"
                            " $13::int[], $14::int[], $15::bigint[], $16::int[])"
                            " as u (run_id, idx, state, deps_left, key, attempts, losses, attempt, queued_ms, ready_ms,"
                            " started_ms, ended_ms, flags, hold, due_ms, retries)"
                            " where j.run_id = u.run_id and j.idx = u.idx"},
    [ORC_SQL_JOBS_UPDATE_MORE] =
        {"orc_jobs_update_more",
         "update jobs j set children = u.children, first_child = u.first_child, next_child = u.next_child,"
         " open_children = u.open_children, cause = u.cause, message = u.message, avoid_worker = u.avoid_worker"
         " from unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::int[], $6::int[], $7::int[], $8::text[],"
         " $9::text[])"
         " as u (run_id, idx, children, first_child, next_child, open_children, cause, message, avoid_worker)"
         " where j.run_id = u.run_id and j.idx = u.idx"},
    [ORC_SQL_OUTPUTS_PUT] = {"orc_outputs_put", "insert into job_outputs (run_id, idx, data)"
                                                " select * from unnest($1::uuid[], $2::int[], $3::text[])"
                                                " on conflict (run_id, idx) do update set data = excluded.data"},
    [ORC_SQL_OUTPUTS_LOAD] = {"orc_outputs_load", "select o.run_id, o.idx, o.data"
                                                  " from unnest($1::uuid[], $2::int[]) as u (r, i)"
                                                  " join job_outputs o on o.run_id = u.r and o.idx = u.i"},
    [ORC_SQL_ATTEMPTS_INSERT] = {"orc_attempts_insert",
                                 "insert into attempts (id, run_id, idx, number, state, worker, session, key,"
                                 " assigned_ms, changed_ms, incarnation)"
                                 " select * from unnest($1::uuid[], $2::uuid[], $3::int[], $4::int[], $5::int[],"
                                 " $6::text[], $7::uuid[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[])"},
    [ORC_SQL_ATTEMPTS_UPDATE] =
        {"orc_attempts_update", "update attempts a set state = u.state, changed_ms = u.changed_ms,"
                                " started_ms = u.started_ms, ended_ms = u.ended_ms, exit_code = u.exit_code,"
                                " signal = u.signal, cause = u.cause, message = u.message, user_ms = u.user_ms,"
                                " system_ms = u.system_ms, max_rss_bytes = u.max_rss_bytes, log_frames = u.log_frames,"
                                " gone_ms = u.gone_ms, incarnation = u.incarnation"
                                " from unnest($1::uuid[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[],"
                                " $6::int[], $7::int[], $8::int[], $9::text[], $10::bigint[], $11::bigint[],"
                                " $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[])"
                                " as u (id, state, changed_ms, started_ms, ended_ms, exit_code, signal, cause, message,"
                                " user_ms, system_ms, max_rss_bytes, log_frames, gone_ms, incarnation)"
                                " where a.id = u.id"},
    [ORC_SQL_TENANTS_UPDATE] =
        {"orc_tenants_update",
         "update tenants t set used = u.used, cpu_used = u.cpu, memory_used = u.memory,"
         " gpu_used = u.gpu, pending = u.pending, runs = u.runs, queued = u.queued,"
         " day = u.day, month = u.month, job_ms = u.job_ms, marks = u.marks,"
         " marked_ms = u.marked_ms, parts = u.parts"
         " from unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],"
         " $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[],"
         " $11::bigint[], $12::int[], $13::bigint[], $14::bigint[]) as u (name, used, cpu, memory,"
         " gpu, pending, runs, queued, day, month, job_ms, marks, marked_ms, parts) where t.name = u.name"},
    [ORC_SQL_TENANTS_GRANT] =
        {"orc_tenants_grant",
         "update tenants t set granted = true, version = u.version, job_limit = u.jobs,"
         " cpu_limit = u.cpu, memory_limit = u.memory, gpu_limit = u.gpu,"
         " queued_limit = u.queued, runs_limit = u.runs, minutes_limit = u.minutes,"
         " weight = u.weight, borrow = u.borrow <> 0"
         " from unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],"
         " $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::int[], $11::int[]) as u (name,"
         " version, jobs, cpu, memory, gpu, queued, runs, minutes, weight, borrow) where t.name = u.name"},
    [ORC_SQL_LEASE_TAKE] = {"orc_lease_take",
                            "insert into pool_leases (pool, holder, epoch, expires_at)"
                            " values ($1::text, $2::text, 1, clock_timestamp() + $4::bigint * interval '1 ms')"
                            " on conflict (pool) do update set holder = excluded.holder, epoch = pool_leases.epoch +"
                            " case when pool_leases.holder = excluded.holder and pool_leases.epoch = $3::bigint"
                            " then 0 else 1 end, expires_at = excluded.expires_at"
                            " where pool_leases.holder = excluded.holder or pool_leases.expires_at <= clock_timestamp()"
                            " returning epoch"},
    [ORC_SQL_LEASE_RELEASE] = {"orc_lease_release",
                               "update pool_leases set expires_at = '-infinity'"
                               " where pool = $1::text and holder = $2::text and epoch = $3::bigint"},
    [ORC_SQL_LEASE_READ] = {"orc_lease_read", "select epoch from pool_leases where pool = $1::text"},
    [ORC_SQL_LEASES_HOLD] = {"orc_leases_hold",
                             "select l.pool, l.holder, l.epoch from pool_leases l where l.pool = any ($1::text[])"
                             " order by l.pool for share"},
    [ORC_SQL_POOL_ENTRIES] = {"orc_pool_entries",
                              "select j.run_id, j.idx, j.state, j.key, coalesce(a.changed_ms, j.ready_ms),"
                              " coalesce(a.worker, '') from jobs j"
                              " left join attempts a on a.id = j.attempt and j.state in (4, 5)"
                              " where j.pool = $1::text and j.state in (3, 4, 5)"
                              " order by j.state = 3 desc, j.priority desc, row_number() over (partition by j.state"
                              " = 3, j.priority, j.tenant order by j.ready_ms), j.ready_ms limit $2::bigint"},
    [ORC_SQL_SESSIONS_LOSE] =
        {"orc_sessions_lose",
         "insert into lost_sessions as l (session, lost_ms, incarnation) select u.s, $3::bigint, u.i"
         " from unnest($1::uuid[], $2::bigint[]) as u (s, i) order by 1 on conflict (session) do update"
         " set incarnation = excluded.incarnation, lost_ms = excluded.lost_ms where excluded.incarnation > "
         "l.incarnation"},
    [ORC_SQL_SESSIONS_REVIVE] = {"orc_sessions_revive",
                                 "delete from lost_sessions l using unnest($1::uuid[], $2::bigint[], $3::bigint[]) as"
                                 " u (s, i, seen_ms) where l.session = u.s and case when l.incarnation = 0 or u.i = 0"
                                 " then l.lost_ms < u.seen_ms else l.incarnation < u.i end"},
    [ORC_SQL_SESSIONS_LOST] = {"orc_sessions_lost", "select l.session, l.incarnation from lost_sessions l"
                                                    " where l.session = any ($1::uuid[])"},
    [ORC_SQL_SESSIONS_PRUNE] = {"orc_sessions_prune", "delete from lost_sessions where lost_ms < $1::bigint"},
};
