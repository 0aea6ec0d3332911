-- More of what a tenant may use; -1: no limit.
ALTER TABLE limits
    ADD COLUMN cpu_milli         bigint  NOT NULL DEFAULT -1 CHECK (cpu_milli >= -1),
    ADD COLUMN memory_bytes      bigint  NOT NULL DEFAULT -1 CHECK (memory_bytes >= -1),
    ADD COLUMN gpu               bigint  NOT NULL DEFAULT -1 CHECK (gpu >= -1),
    ADD COLUMN queued_jobs       bigint  NOT NULL DEFAULT -1 CHECK (queued_jobs >= -1),
    ADD COLUMN runs_day          bigint  NOT NULL DEFAULT -1 CHECK (runs_day >= -1),
    ADD COLUMN job_minutes_month bigint  NOT NULL DEFAULT -1 CHECK (job_minutes_month >= -1),
    ADD COLUMN weight            integer NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 1000);
