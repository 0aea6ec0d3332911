-- Whether a tenant may use what others leave of theirs.
ALTER TABLE limits ADD COLUMN borrow boolean NOT NULL DEFAULT false;
