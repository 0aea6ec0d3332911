-- One row a worker's name; the session says which state folder is behind it now.
CREATE TABLE workers (
    name            text COLLATE "C" PRIMARY KEY,
    session         uuid    NOT NULL,
    state           integer NOT NULL,          -- hodei.v1.WorkerState
    pool            text    NOT NULL,
    profile         bytea   NOT NULL,          -- hodei.v1.Worker as it joined: labels, slots, executors, version
    joined_at_ms    bigint  NOT NULL,
    heartbeat_at_ms bigint  NOT NULL,          -- wall time, for people
    beats           bigint  NOT NULL,          -- signs of life; that it rises is what counts, not when by which clock
    running         integer NOT NULL,
    stream_ready    boolean NOT NULL           -- WORK_<name> is there, as far as is known
) WITH (fillfactor = 70);
CREATE INDEX workers_stream ON workers (name) WHERE NOT stream_ready AND state <> 3;

-- The version of the fleet: rises with every change that a scheduler must know.
CREATE TABLE fleet (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    version  bigint NOT NULL
);
INSERT INTO fleet (version) VALUES (1);

-- Sessions that are gone. A row is told to the orchestrator until it has answered.
CREATE TABLE lost_sessions (
    seq       bigint  GENERATED ALWAYS AS IDENTITY,
    worker    text COLLATE "C" NOT NULL,
    session   uuid    NOT NULL,
    lost_at_ms bigint NOT NULL,
    confirmed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (worker, session)
);
CREATE INDEX lost_sessions_untold ON lost_sessions (seq) WHERE NOT confirmed;

CREATE TABLE join_tokens (
    sha256        bytea  PRIMARY KEY CHECK (octet_length(sha256) = 32),
    created_at_ms bigint NOT NULL
);
