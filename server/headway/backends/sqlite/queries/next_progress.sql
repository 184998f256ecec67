SELECT max(CASE WHEN status = 'pending' AND taken = 0 THEN due_at ELSE last_attempt_at + :pause_ms END)
FROM deliveries WHERE job_id = :job_id AND event = 'job.progress'
