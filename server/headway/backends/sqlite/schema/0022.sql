-- How often a job was edited. The column comes after the large ones, like the webhook in 0007.

ALTER TABLE jobs ADD COLUMN edits INTEGER;           -- NULL: never
