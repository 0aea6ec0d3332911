-- Matrices, conditions, retries, outputs, runs that end in time. New columns have defaults, so that the release before can go on.

alter table runs
    add column rows integer not null default 0,       -- how many jobs it has rows for: idx of the next
    add column main_left integer not null default 0,  -- jobs of the definition, without finally, that have not ended
    add column due_ms bigint not null default 0,      -- its timeout; 0: none
    add column cause integer not null default 0,
    add column origin text not null default 'api',    -- what started it
    add column actor text not null default '';
update runs set rows = total;
create index runs_due on runs (due_ms) where due_ms > 0;

alter table jobs
    add column spec integer not null default -1,      -- index in the compiled pipeline; -1: the same as idx
    add column parent integer not null default -1,    -- idx of the job whose matrix it is of
    add column ordinal integer not null default 0,    -- in its matrix, from 1
    add column matrix text not null default '',       -- its values, JSON
    add column flags integer not null default 0,
    add column hold integer not null default 0,       -- QUEUED, and what else it waits for
    add column due_ms bigint not null default 0,      -- when a timer looks at it; 0: never
    add column retries integer not null default 0,
    add column children integer not null default 0,
    add column first_child integer not null default 0,
    add column next_child integer not null default 0,
    add column open_children integer not null default 0,
    add column cause integer not null default 0,
    add column message text not null default '';
create index jobs_due on jobs (due_ms) where due_ms > 0;
drop index jobs_queued;
create index jobs_queued on jobs (tenant, priority desc, queued_ms, run_id, idx) where state = 2 and hold = 0;

create table job_outputs (
    run_id uuid not null,
    idx integer not null,
    data text not null,                               -- JSON: a map of texts
    primary key (run_id, idx)
);
