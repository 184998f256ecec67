SELECT {delivery} FROM deliveries WHERE job_id = :job_id ORDER BY id DESC LIMIT :limit
