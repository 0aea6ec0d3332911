-- How many bytes of logs a tenant may write a day, which observability enforces; -1: no limit.
ALTER TABLE limits
    ADD COLUMN log_bytes_day  bigint  NOT NULL DEFAULT -1 CHECK (log_bytes_day >= -1),
    ADD COLUMN logs_confirmed boolean NOT NULL DEFAULT true;   -- observability has what is its of this version

CREATE INDEX limits_logs_unconfirmed ON limits (tenant) WHERE NOT logs_confirmed;
