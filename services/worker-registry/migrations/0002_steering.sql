-- What people keep away from a worker, what its agent says against new work, and how busy it is.
ALTER TABLE workers
    ADD COLUMN cordon        integer NOT NULL DEFAULT 1,          -- hodei.v1.CordonMode
    ADD COLUMN cordon_actor  text    NOT NULL DEFAULT '',
    ADD COLUMN cordon_reason text    NOT NULL DEFAULT '',
    ADD COLUMN cordon_at_ms  bigint  NOT NULL DEFAULT 0,
    ADD COLUMN unfit         text    NOT NULL DEFAULT '',
    ADD COLUMN usage         bytea   NOT NULL DEFAULT ''::bytea;  -- hodei.v1.Worker with load and jobs of the last heartbeat

-- What people did to workers. It outlives the worker's row.
CREATE TABLE actions (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    worker text COLLATE "C" NOT NULL,
    at_ms  bigint NOT NULL,
    actor  text   NOT NULL,
    action text   NOT NULL,
    reason text   NOT NULL
);
CREATE INDEX actions_of_worker ON actions (worker, id);
