SELECT run_at, id FROM jobs
WHERE status = 'queued' AND type = :type AND priority = :priority AND run_at <= :now
ORDER BY run_at, id LIMIT :limit
