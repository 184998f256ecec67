-- A job whose status is none is shown as failed, and counts as such.
SELECT id, rowid FROM jobs
WHERE completed_at <= :before AND status NOT IN ('queued', 'running')
AND iif(status IN ('completed', 'cancelled'), status, 'failed') IN (SELECT value FROM json_each(:statuses))
ORDER BY completed_at LIMIT :limit
