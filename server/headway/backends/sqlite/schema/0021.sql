-- The job types that a worker with this key may do, separated by spaces; * stands for all.

ALTER TABLE api_keys ADD COLUMN works_on TEXT NOT NULL DEFAULT '';
