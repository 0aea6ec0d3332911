CREATE TABLE job_stats (
    tenant    text   NOT NULL,
    pipeline  text   NOT NULL,
    job       text   NOT NULL,
    succeeded bigint NOT NULL,
    failed    bigint NOT NULL,
    queued_ms bigint NOT NULL,
    ran_ms    bigint NOT NULL,
    PRIMARY KEY (tenant, pipeline, job)
) WITH (fillfactor = 70);

-- Event messages that are counted already, by the hash of subject and content: a message that is said again is the same bytes.
CREATE TABLE seen_events (
    digest     bytea  PRIMARY KEY,
    seen_at_ms bigint NOT NULL
);
CREATE INDEX seen_events_at ON seen_events USING brin (seen_at_ms);
