SELECT type, completed_at - started_at FROM (
    SELECT type, status, completed_at, started_at FROM jobs ORDER BY id DESC LIMIT :limit
) WHERE status = 'completed' AND started_at IS NOT NULL
