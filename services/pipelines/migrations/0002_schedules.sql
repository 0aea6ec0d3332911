-- Cron triggers of the newest versions, one row each. A row goes with the version that no longer has it.
CREATE TABLE schedules (
    id            uuid    PRIMARY KEY,
    tenant        text    NOT NULL COLLATE "C",
    pipeline      text    NOT NULL COLLATE "C",
    expr          text    NOT NULL,
    timezone      text    NOT NULL,
    overlap       integer NOT NULL,
    catch_up      boolean NOT NULL,
    tick_ms       bigint  NOT NULL,            -- the tick to be started next
    again_ms      bigint  NOT NULL,            -- not looked at before; -1: never (paused)
    step          integer NOT NULL,            -- what is asked of the orchestrator for that tick
    tag           bigint  NOT NULL,            -- of the question under way; 0: none
    tries         integer NOT NULL,
    refusals      integer NOT NULL,            -- in a row
    paused        integer NOT NULL,            -- 1: by a user, 2: after refusals
    paused_reason text    NOT NULL,
    last_tick_ms  bigint  NOT NULL,
    last_outcome  integer NOT NULL,
    last_error    text    NOT NULL,
    last_run      text    NOT NULL,
    UNIQUE (tenant, pipeline, expr, timezone),
    FOREIGN KEY (tenant, pipeline) REFERENCES pipelines
);

CREATE INDEX schedules_due ON schedules (again_ms) WHERE again_ms >= 0;
CREATE INDEX schedules_asked ON schedules (tag) WHERE tag <> 0;
