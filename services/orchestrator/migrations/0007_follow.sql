-- Runs that start when runs of other pipelines end (on.pipeline).

-- Which pipelines listen to which; of versions that are not the newest a row says nothing.
create table listeners (
    tenant text not null,
    source text not null,                             -- the pipeline whose runs end
    name text not null,                               -- the one that is started
    version integer not null,
    accepts integer not null,                         -- which ends count: bits of NeedAccept
    primary key (tenant, source, name, version)
);
create index listeners_by_name on listeners (tenant, name);

-- A run that has ended, and a pipeline that is to be started for it; made by the transaction that ended it.
create table follow_ups (
    run_id uuid not null,
    name text not null,
    primary key (run_id, name)
);

alter table runs
    add column started_by uuid,                       -- the run whose end started it
    add column depth integer not null default 0;      -- how many stand before it in such a chain
