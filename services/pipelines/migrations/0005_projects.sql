-- A pipeline is in a project, whose name is all that there is of it.
ALTER TABLE pipelines ADD COLUMN project text NOT NULL DEFAULT 'default' COLLATE "C";
