-- A project has a row of its own among the tenants, `<tenant>/<project>`, with limits of its own where there are any; what its jobs take counts in
-- both. The project "default" is the tenant itself. jobs.tenant is the name of the row in whose queue a job stands.
alter table tenants add column parts bigint not null default 0; -- of `queued`, those of the tenant's projects
