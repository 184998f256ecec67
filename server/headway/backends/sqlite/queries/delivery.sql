SELECT {delivery} FROM deliveries WHERE id = :id AND job_id = :job_id
