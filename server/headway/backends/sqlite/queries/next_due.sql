SELECT run_at FROM jobs
WHERE status = 'queued' AND type = :type AND priority = :priority AND turn IS NULL
ORDER BY run_at LIMIT 1
