-- Concurrency groups. The row of a group is the lock of its members; a member is a job, or with idx -1 a run.

create table groups (
    tenant text not null,
    name text not null,
    capacity integer not null,
    by_ready boolean not null,
    primary key (tenant, name)
);

create table group_members (
    tenant text not null,
    name text not null,
    run_id uuid not null,
    idx integer not null,
    state integer not null,                           -- 0 will come, 1 waits, 2 holds a slot
    seq bigint not null default 0,                    -- when it began to wait, in order
    doomed boolean not null default false,            -- a later one wants its place: it is to be cancelled
    primary key (tenant, name, run_id, idx)
);
create index group_members_of_run on group_members (run_id, idx);
create index group_members_waiting on group_members (tenant, name) where state = 1 or doomed;
create sequence group_turns;

alter table runs add column held boolean not null default false;  -- waits for its group: no job of it is decided
