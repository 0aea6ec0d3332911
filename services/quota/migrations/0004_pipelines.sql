-- How many pipelines a tenant may have, which the pipelines service enforces; -1: no limit.
ALTER TABLE limits
    ADD COLUMN pipelines           bigint  NOT NULL DEFAULT -1 CHECK (pipelines >= -1),
    ADD COLUMN pipelines_confirmed boolean NOT NULL DEFAULT true;   -- the pipelines service has what is its of this version

CREATE INDEX limits_pipelines_unconfirmed ON limits (tenant) WHERE NOT pipelines_confirmed;
