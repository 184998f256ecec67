DELETE FROM deliveries WHERE job_id = :job_id AND event = 'job.progress' AND taken = 0
