-- The worker that the next attempt should not be placed on: that of the attempt before, where the job's retry rule says so.
alter table jobs add column avoid_worker text not null default '';
