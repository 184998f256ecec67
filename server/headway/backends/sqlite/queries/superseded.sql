SELECT 1 FROM deliveries WHERE job_id = :job_id AND id > :id LIMIT 1
