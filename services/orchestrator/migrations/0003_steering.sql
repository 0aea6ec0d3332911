-- What people do to runs.

alter table runs
    add column paused boolean not null default false,
    add column rerun_of uuid;

create table actions (
    id bigint generated always as identity primary key,
    run_id uuid not null,
    at_ms bigint not null,
    actor text not null,
    action text not null,
    job text not null,
    reason text not null,
    result text not null
);
create index actions_of_run on actions (run_id, id);

-- Who approved a job; the same one twice is one.
create table approvals (
    run_id uuid not null,
    idx integer not null,
    actor text not null,
    at_ms bigint not null,
    primary key (run_id, idx, actor)
);

-- Answers to commands by their idempotency key, for a day.
create table commands (
    tenant text not null,
    idem_key text not null,
    fingerprint bigint not null,
    reply bytea not null,
    at_ms bigint not null,
    primary key (tenant, idem_key)
);
create index commands_by_time on commands (at_ms);
