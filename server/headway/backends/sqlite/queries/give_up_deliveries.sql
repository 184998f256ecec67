UPDATE deliveries SET status = 'failed', ended_at = :now, last_error = :last_error
WHERE id IN (
    SELECT id FROM deliveries
    WHERE status = 'pending' AND owner = :owner AND url = :url AND taken = 0 AND created_at <= :now LIMIT :limit
)
RETURNING job_id, id
