SELECT turn, run_at, id, owner FROM jobs
WHERE status = 'queued' AND type = :type AND priority = :priority AND turn >= 0
ORDER BY turn, run_at, id LIMIT :limit
