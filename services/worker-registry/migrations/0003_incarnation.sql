-- Which life of a session it is: begun by a join that was no return to a lease. Assignments of another are not started.
ALTER TABLE workers ADD COLUMN incarnation bigint NOT NULL DEFAULT 0;
ALTER TABLE lost_sessions ADD COLUMN incarnation bigint NOT NULL DEFAULT 0;
