-- Marks of the limit (80 %, 100 %) that have been told of.
ALTER TABLE grants ADD COLUMN marks integer NOT NULL DEFAULT 0;
