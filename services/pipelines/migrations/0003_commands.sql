-- Answers to commands by their idempotency key, for a day.
CREATE TABLE commands (
    tenant      text   NOT NULL,
    idem_key    text   NOT NULL,
    fingerprint bigint NOT NULL,
    reply       bytea  NOT NULL,
    at_ms       bigint NOT NULL,
    PRIMARY KEY (tenant, idem_key)
);
CREATE INDEX commands_by_time ON commands (at_ms);
