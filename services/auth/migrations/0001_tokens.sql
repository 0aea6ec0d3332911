-- Tokens are shown once, when they are made; here is only their hash.
CREATE TABLE tokens (
    sha256          bytea  PRIMARY KEY CHECK (octet_length(sha256) = 32),
    subject         text   NOT NULL,
    tenant          text   NOT NULL,
    permissions     text[] NOT NULL,
    expires_at_ms   bigint,              -- NULL: never
    created_at_ms   bigint NOT NULL,
    last_used_at_ms bigint               -- coarse: written at most every five minutes
);
