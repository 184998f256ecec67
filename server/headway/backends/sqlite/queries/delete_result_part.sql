-- The first part goes last, and nothing of a result that a job has.
DELETE FROM result_parts WHERE rowid = (
    SELECT rowid FROM result_parts WHERE job_id = :job_id AND attempt = :attempt ORDER BY number DESC LIMIT 1
) AND NOT EXISTS (
    SELECT 1 FROM jobs
    WHERE id = :job_id AND attempt = :attempt AND result_bytes IS NOT NULL AND status NOT IN ('queued', 'running')
)
