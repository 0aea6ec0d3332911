-- Runs, jobs, attempts, what admission counts, and the copies of what other services own. Times are Unix milliseconds.

-- Compiled versions, pushed by the pipelines service; packed hodei.v1.CompiledPipeline. Never changed, but for the tombstone.
create table pipeline_versions (
    tenant text not null,
    name text not null,
    version integer not null,
    deleted boolean not null,
    data bytea not null,
    primary key (tenant, name, version)
);

create table runs (
    id uuid primary key,
    tenant text not null,
    pipeline text not null,
    version integer not null,
    state integer not null,
    created_ms bigint not null,
    started_ms bigint not null default 0,
    ended_ms bigint not null default 0,
    total integer not null,
    ended integer not null default 0,
    succeeded integer not null default 0,
    failed integer not null default 0,
    revision bigint not null,
    idem_key text,
    fingerprint bigint not null,
    request bytea
) with (fillfactor = 70);
create unique index runs_idem_key on runs (tenant, idem_key) where idem_key is not null;
create index runs_by_tenant on runs (tenant, id desc);
create index runs_by_pipeline on runs (tenant, pipeline, id desc);

create table jobs (
    run_id uuid not null,
    idx integer not null,
    tenant text not null,
    pool text not null,
    priority integer not null,
    state integer not null,
    deps_left integer not null,
    key bigint not null default 0,
    attempts integer not null default 0,
    losses integer not null default 0,
    attempt uuid not null,
    queued_ms bigint not null default 0,
    ready_ms bigint not null default 0,
    started_ms bigint not null default 0,
    ended_ms bigint not null default 0,
    primary key (run_id, idx)
) with (fillfactor = 70);
-- QUEUED, in the order of admission.
create index jobs_queued on jobs (tenant, priority desc, queued_ms, run_id, idx) where state = 2;
-- READY, ACTIVE, CANCELLING.
create index jobs_counted on jobs (pool) where state in (3, 4, 5);

create table attempts (
    id uuid primary key,
    run_id uuid not null,
    idx integer not null,
    number integer not null,
    state integer not null,
    worker text not null,
    session uuid not null,
    key bigint not null,
    assigned_ms bigint not null,
    changed_ms bigint not null,
    started_ms bigint not null default 0,
    ended_ms bigint not null default 0,
    exit_code integer not null default 0,
    signal integer not null default 0,
    cause integer not null default 0,
    message text not null default '',
    user_ms bigint not null default 0,
    system_ms bigint not null default 0,
    max_rss_bytes bigint not null default 0,
    log_frames bigint not null default 0
) with (fillfactor = 70);
create index attempts_of_job on attempts (run_id, idx);
create index attempts_live on attempts (session) where state in (1, 2);

-- What a tenant may use (version 0: its grant is not known yet), and what it uses.
create table tenants (
    name text primary key,
    granted boolean not null default false,
    version bigint not null default 0,
    job_limit bigint not null default 0,
    used bigint not null default 0,
    queued bigint not null default 0
) with (fillfactor = 50);

create table pool_leases (
    pool text primary key,
    holder text not null,
    epoch bigint not null,
    expires_at timestamptz not null
) with (fillfactor = 50);

create table lost_sessions (
    session uuid primary key,
    lost_ms bigint not null
);
