-- One row a run that has written anything. Who stores chunks of a run holds its row locked until the commit, so a run's
-- sequence has no gaps that are filled later: a reader that has seen n has seen all below n.
CREATE TABLE log_runs (
    run           uuid   PRIMARY KEY,
    tenant        text   NOT NULL,
    last_seq      bigint NOT NULL,
    created_at_ms bigint NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX log_runs_created ON log_runs (created_at_ms);

-- How far each attempt's frames are stored without a gap.
CREATE TABLE log_attempts (
    run        uuid    NOT NULL,
    job_index  integer NOT NULL,
    attempt    uuid    NOT NULL,
    next_frame bigint  NOT NULL,
    PRIMARY KEY (run, job_index, attempt)
) WITH (fillfactor = 70);

-- What readers see: in the order of seq, frames of an attempt rise by one and never overlap.
CREATE TABLE log_chunks (
    run            uuid    NOT NULL,
    seq            bigint  NOT NULL,
    job_index      integer NOT NULL,
    attempt        uuid    NOT NULL,
    attempt_number integer NOT NULL,
    first_frame    bigint  NOT NULL,
    n_frames       integer NOT NULL,
    bytes          bigint  NOT NULL,   -- of the frames, as they count in an answer
    arrived_at_ms  bigint  NOT NULL,
    job            text    NOT NULL,
    frames         bytea   NOT NULL,   -- hodei.v1.LogChunk with nothing but its frames
    PRIMARY KEY (run, seq)
);
CREATE INDEX log_chunks_arrived ON log_chunks USING brin (arrived_at_ms);

-- Chunks that came before what goes before them. Mostly empty.
CREATE TABLE log_early (
    run         uuid    NOT NULL,
    job_index   integer NOT NULL,
    attempt     uuid    NOT NULL,
    first_frame bigint  NOT NULL,
    n_frames    integer NOT NULL,
    chunk       bytea   NOT NULL,      -- hodei.v1.LogChunk
    PRIMARY KEY (run, job_index, attempt, first_frame)
);
