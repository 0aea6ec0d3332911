-- Whether a tenant may use what others leave of theirs.
alter table tenants add column borrow boolean not null default false;
