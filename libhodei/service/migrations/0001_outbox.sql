-- What was said in a transaction and is not yet in its stream; a row goes once it is.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    said_ms bigint NOT NULL, -- wall time of the last attempt to publish
    data bytea NOT NULL      -- hodei.v1.OutboxBatch
);
-- Messages whose content always fails, alone, with the error; for people.
CREATE TABLE dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms bigint NOT NULL,
    subject text NOT NULL,
    data bytea NOT NULL,
    status text NOT NULL,
    error text NOT NULL
);
