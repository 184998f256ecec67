UPDATE deliveries SET status = 'pending', due_at = :now, tries = 0, ended_at = NULL
WHERE id = :id AND job_id = :job_id AND taken = 0
