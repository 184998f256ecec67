-- What became of each job of a batch. A key of a batch stands for all of them: its `job_id` is empty.

ALTER TABLE idempotency_keys ADD COLUMN outcomes TEXT; -- JSON; NULL for a single job
