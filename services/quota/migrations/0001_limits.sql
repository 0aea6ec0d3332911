-- What each tenant may use. A row is made by the first SetQuota, or when the orchestrator asks for the tenant.
CREATE TABLE limits (
    tenant          text    PRIMARY KEY COLLATE "C",
    concurrent_jobs bigint  NOT NULL CHECK (concurrent_jobs BETWEEN 0 AND 1000000),
    version         bigint  NOT NULL CHECK (version > 0),
    confirmed       boolean NOT NULL                       -- the orchestrator has this version
);

CREATE INDEX limits_unconfirmed ON limits (tenant) WHERE NOT confirmed;
