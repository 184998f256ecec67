SELECT run_at FROM jobs WHERE status = 'queued' AND turn IS NULL ORDER BY run_at, id LIMIT 1
