SELECT priority FROM jobs
WHERE status = 'queued' AND type = :type AND priority < :below
ORDER BY priority DESC LIMIT 1
