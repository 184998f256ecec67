-- One statement reads one moment, so it may run beside the writer.
WITH found AS (
    SELECT
        owner, coalesce(key_id, '') AS key_id, type, status, count(*) AS jobs,
        sum(bytes + iif(status IN ('queued', 'running'), checkpoint_bytes, 0)) AS bytes
    FROM jobs GROUP BY 1, 2, 3, 4
),
differing AS (
    SELECT owner, key_id, type, status, jobs, bytes, 0 AS found_jobs, 0 AS found_bytes FROM counts
    UNION ALL
    SELECT owner, key_id, type, status, 0, 0, jobs, bytes FROM found
)
SELECT owner, type, status, sum(jobs), sum(bytes), sum(found_jobs), sum(found_bytes)
FROM differing GROUP BY owner, key_id, type, status
HAVING sum(jobs) <> sum(found_jobs) OR sum(bytes) <> sum(found_bytes)
LIMIT :limit
