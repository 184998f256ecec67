SELECT {columns}, rowid FROM jobs
WHERE expires_at <= :now AND status NOT IN ('queued', 'running')
ORDER BY expires_at LIMIT :limit
