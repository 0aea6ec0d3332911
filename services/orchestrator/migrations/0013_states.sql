-- Runs by how they ended, newest first, for lists: only those that are looked for among many. A run that succeeds costs nothing here.
create index runs_ended_badly on runs (tenant, state, id desc) where state in (4, 5);
