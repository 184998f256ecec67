SELECT id FROM jobs INDEXED BY jobs_by_status
WHERE owner = :owner AND status = 'queued' AND run_at <= :now AND type IN (SELECT value FROM json_each(:types))
ORDER BY priority DESC, turn IS NULL, turn, run_at, id LIMIT :limit
