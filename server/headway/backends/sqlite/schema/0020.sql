-- What lists are filtered and sorted by. Each index ends with the id, so that a page goes on where the last one ended.

-- The metadata of jobs, whose rows have it as JSON. What is damaged there is not found by it.
CREATE TABLE job_metadata (
    owner  TEXT NOT NULL,
    name   TEXT NOT NULL,
    value  TEXT NOT NULL,
    job_id TEXT NOT NULL,
    PRIMARY KEY (owner, name, value, job_id)
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO job_metadata
SELECT jobs.owner, pair.key, pair.value, jobs.id
FROM jobs, json_each(iif(json_valid(jobs.metadata), jobs.metadata, '{}')) AS pair
WHERE jobs.metadata IS NOT NULL AND pair.type = 'text' AND typeof(jobs.owner) = 'text' AND typeof(jobs.id) = 'text'
ORDER BY 1, 2, 3, 4;

DROP INDEX jobs_ended;
CREATE INDEX jobs_by_end ON jobs (owner, completed_at, id) WHERE completed_at IS NOT NULL;
CREATE INDEX jobs_by_update ON jobs (owner, updated_at, id);
CREATE INDEX jobs_by_priority ON jobs (owner, priority, id);
