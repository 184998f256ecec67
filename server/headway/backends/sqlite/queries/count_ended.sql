SELECT count(*) FROM jobs
WHERE completed_at <= :before AND status IN (SELECT value FROM json_each(:statuses))
