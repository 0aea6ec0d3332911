-- Pipelines are in projects, and a run is in the one where its pipeline was when it started.
alter table pipeline_versions add column project text not null default 'default';
alter table runs add column project text not null default 'default';
-- Who has no projects pays nothing for them.
create index runs_by_project on runs (tenant, project, id desc) where project <> 'default';
