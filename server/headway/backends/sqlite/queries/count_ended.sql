SELECT count(*) FROM jobs
WHERE completed_at <= :before AND status NOT IN ('queued', 'running')
AND iif(status IN ('completed', 'cancelled'), status, 'failed') IN (SELECT value FROM json_each(:statuses))
