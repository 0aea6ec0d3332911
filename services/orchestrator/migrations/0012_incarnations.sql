-- Which incarnation of its worker's session an attempt was placed with, and which was lost: those up to it. 0: a release that knows none; any.
alter table attempts add column incarnation bigint not null default 0;
alter table lost_sessions add column incarnation bigint not null default 0;
