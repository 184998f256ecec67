SELECT id, owner, coalesce(key_id, ''), type, priority FROM jobs
WHERE status = 'queued' AND turn IS NULL AND run_at <= :now
ORDER BY run_at, id LIMIT :limit
