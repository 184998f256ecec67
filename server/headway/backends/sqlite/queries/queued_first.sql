SELECT priority, run_at, id FROM jobs
WHERE status = 'queued' AND type = :type AND run_at <= :now
ORDER BY priority DESC, run_at, id LIMIT :limit
