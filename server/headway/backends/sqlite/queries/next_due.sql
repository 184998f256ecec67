SELECT run_at FROM jobs
WHERE status = 'queued' AND type = :type AND priority = :priority AND run_at > :now
ORDER BY run_at LIMIT 1
