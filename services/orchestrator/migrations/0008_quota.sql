-- More dimensions of what a tenant may use (-1: no limit) and uses. What stands at 0 and is not, is mended by the check of the counters.

alter table tenants
    add column cpu_limit bigint not null default -1,        -- millicores of admitted jobs
    add column memory_limit bigint not null default -1,     -- bytes
    add column gpu_limit bigint not null default -1,
    add column queued_limit bigint not null default -1,     -- jobs that are not admitted yet
    add column runs_limit bigint not null default -1,       -- a day
    add column minutes_limit bigint not null default -1,    -- of jobs, a month
    add column cpu_used bigint not null default 0,
    add column memory_used bigint not null default 0,
    add column gpu_used bigint not null default 0,
    add column pending bigint not null default 0,           -- jobs WAITING or QUEUED, held ones too
    add column day bigint not null default 0,               -- that `runs` counts, by its number
    add column runs bigint not null default 0,
    add column month bigint not null default 0,             -- that `job_ms` counts, by its number
    add column job_ms bigint not null default 0,
    add column marks integer not null default 0,            -- which were crossed, two bits a dimension
    add column marked_ms bigint not null default 0,         -- when the last one was
    add column weight integer not null default 1;           -- in fair sharing
-- Runs that have not ended, for the check of the counters.
create index runs_open on runs (tenant) where state < 3;
