-- Jobs with on_worker_lost: hold, while their worker is gone.
alter table attempts add column gone_ms bigint not null default 0;  -- when its worker was lost and it was held; 0: it is not
create index attempts_gone on attempts (run_id, idx) where gone_ms > 0 and state in (1, 2);
