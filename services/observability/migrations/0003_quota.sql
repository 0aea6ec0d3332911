-- What a tenant's jobs have written today, and what they may. Whoever stores for a tenant with a limit holds its row until the commit.
CREATE TABLE log_quota (
    tenant       text    PRIMARY KEY COLLATE "C",
    version      bigint  NOT NULL,            -- of quota's grant; 0: none
    log_bytes    bigint  NOT NULL,            -- a day; -1: no limit
    day          bigint  NOT NULL,            -- days since 1970, UTC
    bytes        bigint  NOT NULL,            -- of that day
    marks        integer NOT NULL,            -- of the limit (80 %, 100 %) that have been told of
    closed_limit bigint  NOT NULL,            -- the limit under which something did not fit that day, so that nothing more is kept; -1: none
    closings     bigint  NOT NULL             -- how often that has happened
) WITH (fillfactor = 70);

ALTER TABLE log_attempts ADD COLUMN closing bigint NOT NULL DEFAULT 0; -- which one its log has told of
