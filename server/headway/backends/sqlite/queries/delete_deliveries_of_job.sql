DELETE FROM deliveries WHERE job_id = :job_id AND status <> 'pending'
