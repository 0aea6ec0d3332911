-- A version never changes, but for `confirmed`. A deletion is a version too: the tombstone.
CREATE TABLE pipelines (
    tenant        text    NOT NULL COLLATE "C",
    name          text    NOT NULL COLLATE "C",
    version       integer NOT NULL,            -- the newest; 0 only within the transaction that makes the row
    deleted       boolean NOT NULL,            -- the newest is a tombstone
    created_at_ms bigint  NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE versions (
    tenant        text    NOT NULL COLLATE "C",
    name          text    NOT NULL COLLATE "C",
    version       integer NOT NULL CHECK (version > 0),
    deleted       boolean NOT NULL,
    jobs          integer NOT NULL,
    source        text    NOT NULL,            -- the YAML; empty in a tombstone
    digest        text    NOT NULL,            -- SHA-256 of the source, hex; empty in a tombstone
    compiled      bytea   NOT NULL,            -- a packed CompiledPipeline
    confirmed     boolean NOT NULL,            -- the orchestrator has it
    made_by       text    NOT NULL,
    trace         text    NOT NULL,            -- of the request that made it
    created_at_ms bigint  NOT NULL,
    PRIMARY KEY (tenant, name, version),
    FOREIGN KEY (tenant, name) REFERENCES pipelines
);

CREATE INDEX versions_unconfirmed ON versions (tenant, name, version) WHERE NOT confirmed;
