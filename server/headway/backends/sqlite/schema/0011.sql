-- The turn of a queued job, by which owners share slots; NULL until the job falls due.

ALTER TABLE jobs ADD COLUMN turn INTEGER;

-- Waiting jobs get the turns of a queue in which nothing has been claimed: an owner's first job the first, and so on.
UPDATE jobs SET turn = waiting.place
FROM (
    SELECT id, row_number() OVER (PARTITION BY owner, priority ORDER BY run_at, id) AS place
    FROM jobs WHERE status = 'queued' AND run_at <= 1000 * CAST(strftime('%s', 'now') AS INTEGER)
) AS waiting
WHERE jobs.id = waiting.id;

-- For claims: one seek for each type and priority, in the order of turns. Jobs that are not due come first, by time.
DROP INDEX jobs_queued;
CREATE INDEX jobs_queued ON jobs (type, priority DESC, turn, run_at, id) WHERE status = 'queued';
-- For jobs that fall due, whatever their types.
CREATE INDEX jobs_not_due ON jobs (run_at, id) WHERE status = 'queued' AND turn IS NULL;
