DELETE FROM deliveries
WHERE id = :id AND status <> 'pending' AND NOT EXISTS (SELECT 1 FROM jobs WHERE id = :job_id)
