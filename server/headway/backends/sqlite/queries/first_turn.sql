SELECT turn FROM jobs
WHERE status = 'queued' AND type = :type AND priority = :priority AND turn > 0
ORDER BY turn LIMIT 1
