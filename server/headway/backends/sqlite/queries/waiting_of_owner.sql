SELECT owner, coalesce(key_id, '') AS key, type, priority, turn < 0 AS parked, count(*) FROM jobs
WHERE status = 'queued' AND turn IS NOT NULL AND owner = :name
GROUP BY 1, 2, 3, 4, 5
